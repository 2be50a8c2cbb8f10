"""minproto: network protocols to read, to run, and to test with.

    import asyncio
    from minproto import Response, serve

    async def app(request):
        return Response.text("Hello, World!")

    asyncio.run(serve(app, port=8000))

One level down are the connections in ``minproto.aio``, two levels down the cores: ``minproto.http1`` and its siblings.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minproto.public import *

__all__ = [
    "ASGI",
    "AccessLog",
    "Answer",
    "App",
    "Broker",
    "BrokerServer",
    "Client",
    "ClientConnection",
    "ClientResponse",
    "Compression",
    "ConnectionClosed",
    "EventSource",
    "EventStream",
    "Gap",
    "HandshakeRefused",
    "Http2Limits",
    "Limits",
    "LocalProtocolError",
    "Message",
    "Metrics",
    "ProtocolError",
    "RemoteBroker",
    "RemoteProtocolError",
    "RemoteSubscription",
    "Request",
    "RequestRefused",
    "Response",
    "Server",
    "ServerSentEvent",
    "StatusError",
    "StreamRefused",
    "Subscription",
    "Timeouts",
    "Upgrade",
    "WebSocket",
    "WebSocketLimits",
    "broadcast",
    "connect",
    "connect_http",
    "connect_http2",
    "not_allowed",
    "reconnecting",
    "same_origin",
    "serve",
    "tls_context",
    "upgrade",
]


def __getattr__(name: str) -> Any:
    """Import the public names when one of them is first used (PEP 562).

    So ``import minproto.http1`` loads the core alone: no asyncio, no ssl, no hpack.
    """
    if name not in __all__:
        raise AttributeError(f"module 'minproto' has no attribute {name!r}")
    from minproto import public

    return getattr(public, name)
