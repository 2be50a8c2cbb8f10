"""Our own cores as subjects of the laws, each with an owner that answers, small limits, and suitable streams."""

from minproto import http2, resp, sse, websocket
from minproto.core import Core, Event, Role
from minproto.deflate import Parameters
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http1 import DONE, IDLE, Connection, Limits
from minproto.http2_frames import HEADER_SIZE, MAX_FRAME
from minproto.testing import strategies
from minproto.testing.laws import Subject
from minproto.websocket_handshake import Agreement

SMALL = Limits(max_start_line=64, max_head=256, max_headers=3, max_body=1_000, max_chunk_line=32)
"""Limits so small that the generated streams reach them."""


def _refuse(core: Core, event: Event) -> None:
    """Answer each complete request with a 404, as the owner of a server's core does."""
    if isinstance(core, Connection) and core.request == DONE:
        core.send(ResponseHead(404, Headers([("content-length", "0")])))
        core.send(EndOfMessage())


def _ask(core: Core) -> None:
    core.send(RequestHead("GET", "/", Headers([("host", "a")])))
    core.send(EndOfMessage())


def _ask_again(core: Core, event: Event) -> None:
    """Send the next request as soon as it is allowed, as the owner of a client's core does."""
    if isinstance(core, Connection) and core.request == IDLE:
        _ask(core)


def http1_server(kind: type[Connection] = Connection, limits: Limits = SMALL) -> Subject:
    """Return the subject for a server of HTTP/1.1. ``kind``: our core, or a subclass with a planted fault."""
    return Subject(lambda: kind(Role.SERVER, limits), strategies.request_streams, limits.max_head, _refuse)


def http1_client(kind: type[Connection] = Connection, limits: Limits = SMALL) -> Subject:
    """Return the subject for a client of HTTP/1.1 that has sent a request."""

    def make() -> Connection:
        client = kind(Role.CLIENT, limits)
        _ask(client)
        return client

    return Subject(make, strategies.response_streams, limits.max_head, _ask_again)


HTTP1_SERVER = http1_server()
HTTP1_CLIENT = http1_client()

SMALL_MESSAGES = websocket.Limits(max_message=1_000, max_fragments=4)


def _reply(core: Core, event: Event) -> None:
    """Send only the replies that the protocol demands."""
    if (reply := core.reply(event)) is not None:
        core.send(reply)


def websocket_end(role: Role, deflate: Parameters | None = None, limits: websocket.Limits = SMALL_MESSAGES) -> Subject:
    """Return the subject for one end of a WebSocket, after the handshake."""
    agreement = Agreement(deflate=deflate)
    streams = strategies.frame_streams(masked=role is Role.SERVER, deflate=deflate is not None)
    held = websocket.MAX_HEADER + websocket.MAX_CONTROL + limits.max_message
    return Subject(lambda: websocket.Connection(role, agreement, limits), streams, held, _reply)


SMALL_COMMANDS = resp.Limits(max_bulk=200, max_command=300, max_array=12, max_depth=3, max_line=64)


def resp_end(role: Role, limits: resp.Limits = SMALL_COMMANDS) -> Subject:
    """Return the subject for one end of RESP: a server reads commands, a client reads replies."""
    streams = strategies.command_streams if role is Role.SERVER else strategies.reply_streams
    return Subject(lambda: resp.Connection(role, limits), streams, limits.max_command + limits.max_line)


FEW_STREAMS = http2.Limits(
    max_streams=2, stream_window=60, max_head=400, max_headers=8, max_block=600, max_settings=2, max_resets=2,
    max_idle_frames=6,
)  # fmt: skip


def _exchange(core: Core, event: Event) -> None:
    """Accept all content, answer each request, and send the replies that HTTP/2 demands."""
    assert isinstance(core, http2.Connection)
    _reply(core, event)
    if isinstance(event, Data):
        core.send(http2.Consumed(event.stream, len(event.data)))
    elif isinstance(event, EndOfMessage) and core.role is Role.SERVER and core.is_open(event.stream):
        core.send(ResponseHead(204, Headers(), "2", event.stream))
        core.send(EndOfMessage(Headers(), event.stream))


def _http2(role: Role, limits: http2.Limits) -> http2.Connection:
    """Return a core that has sent its greeting and, as a client, three requests, so that responses have a stream."""
    core = http2.Connection(role, limits)
    core.send(core.greeting())
    if role is Role.CLIENT:
        for method in ("GET", "POST", "HEAD"):
            core.send(RequestHead(method, "/", Headers([("host", "a")]), "2", core.next_stream))
    return core


def http2_end(role: Role, limits: http2.Limits = FEW_STREAMS) -> Subject:
    """Return the subject for one end of HTTP/2."""
    requests = strategies.http2_streams() | strategies.http2_exchanges()
    streams = requests if role is Role.SERVER else strategies.http2_streams(b"")
    return Subject(lambda: _http2(role, limits), streams, HEADER_SIZE + MAX_FRAME + limits.max_block, _exchange)


HTTP2_SERVER = http2_end(Role.SERVER)
HTTP2_CLIENT = http2_end(Role.CLIENT)


SMALL_EVENTS = sse.Limits(max_event=200)


def sse_client(limits: sse.Limits = SMALL_EVENTS) -> Subject:
    """Return the subject for the client of an event stream."""
    return Subject(lambda: sse.Connection(Role.CLIENT, limits), strategies.event_streams, limits.max_event)


SSE_CLIENT = sse_client()

ALL = {
    "http1 server": HTTP1_SERVER,
    "http1 client": HTTP1_CLIENT,
    "http2 server": HTTP2_SERVER,
    "http2 client": HTTP2_CLIENT,
    "resp client": resp_end(Role.CLIENT),
    "resp server": resp_end(Role.SERVER),
    "sse client": SSE_CLIENT,
    "websocket server": websocket_end(Role.SERVER),
    "websocket client": websocket_end(Role.CLIENT),
    "websocket server, deflate": websocket_end(Role.SERVER, Parameters()),
    "websocket client, deflate": websocket_end(Role.CLIENT, Parameters(server_no_context_takeover=True)),
}
"""All subjects by name."""
