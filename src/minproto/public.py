"""The public names of the package, and the modules that define them.

``import minproto`` does not import this module; the first use of a public name does (``minproto.__getattr__``).
"""

from minproto.aio.asgi import ASGI
from minproto.aio.broker import Broker, Gap, Message, Subscription
from minproto.aio.client import Client
from minproto.aio.http import Answer, App, Request, Response, Upgrade, not_allowed
from minproto.aio.http1_client import ClientConnection, connect_http
from minproto.aio.http2_client import connect_http2
from minproto.aio.http_client import ClientResponse, RequestRefused, StatusError
from minproto.aio.observe import AccessLog, Metrics
from minproto.aio.options import Timeouts
from minproto.aio.reconnect import reconnecting
from minproto.aio.remote import RemoteBroker
from minproto.aio.remote_subscription import RemoteSubscription
from minproto.aio.resp import BrokerServer
from minproto.aio.server import Server, serve, tls_context
from minproto.aio.sse import EventSource, EventStream, StreamRefused
from minproto.aio.websocket import ConnectionClosed, WebSocket, broadcast
from minproto.aio.websocket_client import HandshakeRefused, connect
from minproto.aio.websocket_server import same_origin, upgrade
from minproto.core import LocalProtocolError, ProtocolError, RemoteProtocolError
from minproto.deflate import Compression
from minproto.http1 import Limits
from minproto.http2 import Limits as Http2Limits
from minproto.sse import ServerSentEvent
from minproto.websocket import Limits as WebSocketLimits

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
