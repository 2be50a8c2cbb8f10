r"""Run the bytes of an example through the core that reads them, and return the result as one word.

    >>> outcome("http1-request", "", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    'accepted'
    >>> outcome("http1-request", "", b"GET / HTTP/1.1\r\n\r\n")
    '400'
    >>> outcome("http2", "server", bytes.fromhex("00 00 08 06 00 00 00 00 01" + "00" * 8))
    'PROTOCOL_ERROR'
    >>> outcome("resp", "server", b"*1\r\n$4\r\nPING\r\n")
    '+PONG\r\n'

The bytes come in one piece, to a plain core with its default limits. Where the peer's bytes only make sense after something
else (the handshake of a WebSocket, the preface of HTTP/2, a request), that has already happened.
"""

from collections.abc import Callable

from minproto import commands, http2, http2_frames, resp, sse, websocket
from minproto.broker import Broker
from minproto.core import CLIENT, SERVER, Core, Event, RemoteProtocolError, Role
from minproto.deflate import Compression, Parameters
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http1 import DONE, Connection
from minproto.http2_events import Consumed, StreamFault
from minproto.http2_fields import FieldCoder
from minproto.session import Switchboard
from minproto.websocket_handshake import Agreement, accept_request, check_response, handshake

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of the handshake in RFC 6455 §1.3."""

ACCEPTED = "accepted"
INCOMPLETE = "incomplete"
"""The core waits for more bytes: an example should be complete."""

Owner = Callable[[Core, Event], None]


def outcome(stream: str, role: str, data: bytes) -> str:
    """Return what our core makes of the bytes: "accepted", an error code, or what the stream's reader says instead."""
    return READERS[stream, role](data)


def _run(core: Core, data: bytes, owner: Owner, *, eof: bool = False) -> list[Event]:
    """Feed the bytes to a core whose owner answers each event. Raises RemoteProtocolError."""
    events = []
    core.receive_data(data)
    for event in core.events():
        events.append(event)
        owner(core, event)
    if eof:
        core.receive_eof()
        events += core.events()
    return events


# ---- HTTP/1.1 --------------------------------------------------------------------------------------------------------


def _answer(core: Core, event: Event) -> None:
    if isinstance(core, Connection) and core.request == DONE:
        core.send(ResponseHead(404, Headers([("content-length", "0")])))
        core.send(EndOfMessage())


def _ignore(core: Core, event: Event) -> None:
    """Do nothing: the owner of a core whose events need no answer."""


def _http1_request(data: bytes) -> str:
    core = Connection(SERVER)
    try:
        events = _run(core, data, _answer)
    except RemoteProtocolError as error:
        return str(error.code)
    return ACCEPTED if events and not core.buffered else INCOMPLETE


def _http1_response(data: bytes) -> str:
    """Read the answer to a GET, and then the end of input. An error of a response has no status, so it is just "refused"."""
    core = Connection(CLIENT)
    core.send(RequestHead("GET", "/", Headers([("host", "a")])))
    core.send(EndOfMessage())
    try:
        _run(core, data, _ignore, eof=True)
    except RemoteProtocolError:
        return "refused"
    return ACCEPTED


# ---- WebSocket -------------------------------------------------------------------------------------------------------


def _reply(core: Core, event: Event) -> None:
    if (reply := core.reply(event)) is not None:
        core.send(reply)


def _websocket(role: Role, deflate: Parameters | None = None) -> Callable[[bytes], str]:
    def read(data: bytes) -> str:
        core = websocket.Connection(role, Agreement(deflate=deflate))
        try:
            _run(core, data, _reply)
        except RemoteProtocolError as error:
            return str(error.code)
        return INCOMPLETE if core.buffered else ACCEPTED

    return read


def _handshake_request(data: bytes) -> str:
    """Read a request for a WebSocket, and return the status of the answer."""
    try:
        head = next(iter(_run(Connection(SERVER), data, _ignore)), None)
        if not isinstance(head, RequestHead):
            return INCOMPLETE
        return str(accept_request(head, ["chat"], Compression())[0].status)
    except RemoteProtocolError as error:
        return str(error.code)


def _handshake_response(data: bytes) -> str:
    """Read the answer to the handshake with KEY, which offers the subprotocol "chat" and compression."""
    request = handshake("server.example.com", "/chat", KEY, ["chat"], Compression())
    core = Connection(CLIENT)
    core.send(request)
    core.send(EndOfMessage())
    try:
        head = next(iter(_run(core, data, _ignore)), None)
        if not isinstance(head, ResponseHead):
            return INCOMPLETE
        check_response(request, head, Compression())
    except RemoteProtocolError:
        return "refused"
    return ACCEPTED


# ---- HTTP/2 ----------------------------------------------------------------------------------------------------------


def _exchange(core: Core, event: Event) -> None:
    """Send what HTTP/2 demands, accept all content, and answer each request."""
    _reply(core, event)
    assert isinstance(core, http2.Connection)
    if isinstance(event, Data):
        core.send(Consumed(event.stream, len(event.data)))
    elif isinstance(event, EndOfMessage) and core.role is SERVER and core.is_open(event.stream):
        core.send(ResponseHead(204, Headers(), "2", event.stream))
        core.send(EndOfMessage(Headers(), event.stream))


def _http2(role: Role) -> Callable[[bytes], str]:
    def read(data: bytes) -> str:
        core = http2.Connection(role)
        core.send(core.greeting())
        if role is CLIENT:
            for method in ("GET", "POST", "HEAD"):
                core.send(RequestHead(method, "/", Headers([("host", "a")]), "2", core.next_stream))
        preface = http2_frames.PREFACE if role is SERVER else b""
        settings = bytes.fromhex("000000 04 00 00000000  000000 04 01 00000000")
        try:
            events = _run(core, preface + settings + data, _exchange)
        except RemoteProtocolError as error:
            return http2_frames.code_name(error.code)
        if core.buffered:
            return INCOMPLETE
        fault = next((event for event in events if isinstance(event, StreamFault)), None)
        return ACCEPTED if fault is None else f"stream {fault.status or http2_frames.code_name(fault.code)}"

    return read


def _hpack(data: bytes) -> str:
    try:
        FieldCoder(65_536).decode(data)
    except RemoteProtocolError as error:
        return http2_frames.code_name(error.code)
    return ACCEPTED


# ---- event streams and RESP ------------------------------------------------------------------------------------------


def _sse(data: bytes) -> str:
    """Read an event stream to its end, and return the events as a list."""
    try:
        return str(_run(sse.Connection(CLIENT), data, _ignore, eof=True))
    except RemoteProtocolError:
        return "refused"


def _resp_commands(data: bytes) -> str:
    """Run the commands of one client on a new broker. Return the bytes of all answers."""
    core, sent = resp.Connection(SERVER), bytearray()
    switchboard = Switchboard(Broker(clock=lambda: 1_700_000_000_000, history=100))
    session = switchboard.open(sent.extend)

    def owner(core: Core, event: Event) -> None:
        assert isinstance(core, resp.Connection) and isinstance(event, resp.Command)
        answer = commands.execute(session, event.arguments)
        # As the shell does: the answer to HELLO is in the new version, and a subscriber's own message precedes the answer.
        core.version, core.authenticated = session.version, session.authenticated
        switchboard.flush()
        for each in answer if isinstance(answer, list) else []:
            sent.extend(core.send(each))

    try:
        _run(core, data, owner)
    except RemoteProtocolError as error:
        for event in core.farewell(error):
            sent.extend(core.send(event))
    except commands.CrossProtocolRequest:
        sent.extend(b"(closed)")
    return sent.decode("latin-1")


def _resp_replies(data: bytes) -> str:
    try:
        return str(_run(resp.Connection(CLIENT), data, _ignore))
    except RemoteProtocolError:
        return "refused"


READERS: dict[tuple[str, str], Callable[[bytes], str]] = {
    ("http1-request", ""): _http1_request,
    ("http1-response", ""): _http1_response,
    ("websocket", "server"): _websocket(SERVER),
    ("websocket", "client"): _websocket(CLIENT),
    ("deflate", "server"): _websocket(SERVER, Parameters()),
    ("deflate", "client"): _websocket(CLIENT, Parameters()),
    ("handshake", "server"): _handshake_request,
    ("handshake", "client"): _handshake_response,
    ("http2", "server"): _http2(SERVER),
    ("http2", "client"): _http2(CLIENT),
    ("hpack", ""): _hpack,
    ("sse", ""): _sse,
    ("resp", "server"): _resp_commands,
    ("resp", "client"): _resp_replies,
}
"""The stream of an entry and the role of its reader -> the reader."""
