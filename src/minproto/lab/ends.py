"""The ends that the stepper drives: for each protocol and role a core, and an owner that answers each event at once.

A core does nothing by itself. It returns events, and its owner calls ``send``. The owners in this file use no clock and no
random number, so a link to some bytes shows the same steps to everybody:

    end                       what the owner sends
    ---                       --------------------
    http1-request, server     a 404 without content, after each request
    http1-response, client    a GET for each response
    websocket                 a Pong for each Ping, and a Close for a Close
    sse, client               nothing: a client of an event stream only reads
    resp, server              the replies of a broker of its own, on which it runs each command
    resp, client              nothing
    http2                     its SETTINGS at the start, the acknowledgements, credit for all content, a 204 for each request

The cores are the plain ones of ``src/minproto/*.py``, with their default limits. The protocols have the same names as in
``minproto laws``, so a stream that breaks a law can be opened here.
"""

from collections.abc import Callable

from minproto import commands, http1, http2, resp, sse, websocket
from minproto.broker import Broker
from minproto.core import CLIENT, SERVER, Core, Event, RemoteProtocolError, Role
from minproto.explain.once import BEFORE, Said
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.session import Switchboard

State = list[tuple[str, str]]
"""The names and values of a core's state, in the order in which the page shows them."""


class End:
    """A core and its owner. A subclass says what the owner answers, and which attributes of the core are its state."""

    def __init__(self, protocol: str, core: Core, role: Role) -> None:
        self.protocol, self.core, self.role = protocol, core, role

    def begin(self) -> bytes:
        """Return the bytes that this end sends before it has received anything."""
        return b""

    def prepare(self) -> bytes:
        """Return the bytes that the owner sends just before the next piece arrives."""
        return b""

    def answer(self, event: Event) -> bytes:
        """Return the bytes that the owner sends in answer to an event."""
        reply = self.core.reply(event)
        return b"" if reply is None else self.core.send(reply)

    def farewell(self, error: RemoteProtocolError) -> bytes:
        """Return the bytes that tell the peer which rule it broke; b"" if the core has nothing to say any more."""
        return b"".join([self.core.send(event) for event in self.core.farewell(error)])

    def state(self) -> State:
        """Return the state of the core."""
        return []

    def said_before(self, sent: bytes) -> tuple[Said, ...]:
        """Return what an explainer has to see before the peer's bytes. ``sent``: all bytes that this end has sent so far."""
        return BEFORE[self.protocol, self.role]


class _HTTP1Server(End):
    def __init__(self) -> None:
        self.http1 = http1.Connection(SERVER)
        super().__init__("http1-request", self.http1, SERVER)

    def answer(self, event: Event) -> bytes:
        if self.http1.request is not http1.DONE:
            return b""
        return self.core.send(ResponseHead(404, Headers([("content-length", "0")]))) + self.core.send(EndOfMessage())

    def state(self) -> State:
        return _exchange(self.http1)


class _HTTP1Client(End):
    def __init__(self) -> None:
        self.http1 = http1.Connection(CLIENT)
        super().__init__("http1-response", self.http1, CLIENT)

    def begin(self) -> bytes:
        return self.core.send(RequestHead("GET", "/", Headers([("host", "a")]))) + self.core.send(EndOfMessage())

    def prepare(self) -> bytes:
        """Send the next GET only when more bytes follow: the end of input would cut a request without a response short."""
        return self.begin() if self.http1.request is http1.IDLE else b""

    def answer(self, event: Event) -> bytes:
        return self.prepare() if self.core.buffered else b""

    def state(self) -> State:
        return _exchange(self.http1)

    def said_before(self, sent: bytes) -> tuple[Said, ...]:
        return ((CLIENT, sent),)  # one GET for each response


def _exchange(core: http1.Connection) -> State:
    return [
        ("request", core.request.name), ("response", core.response.name), ("keep_alive", str(core.keep_alive)),
    ]  # fmt: skip


class _SameKey(websocket.Connection):
    """A WebSocket whose frames all have the masking key of RFC 6455 §5.7. A real client has to take random keys (§5.3)."""

    new_key = staticmethod(lambda: bytes.fromhex("37 fa 21 3d"))


class _WebSocket(End):
    def __init__(self, role: Role) -> None:
        self.websocket = _SameKey(role)
        super().__init__("websocket", self.websocket, role)

    def state(self) -> State:
        return [("state", self.websocket.state.name), ("fragments", str(self.websocket.fragments))]


class _EventStream(End):
    def __init__(self) -> None:
        self.sse = sse.Connection(CLIENT)
        super().__init__("sse", self.sse, CLIENT)

    def state(self) -> State:
        return [("last_event_id", repr(self.sse.last_event_id))]


class _RESPServer(End):
    """A server of RESP with a broker that has no other clients."""

    def __init__(self) -> None:
        self.resp = resp.Connection(SERVER)
        super().__init__("resp", self.resp, SERVER)
        self._sent = bytearray()
        self._switchboard = Switchboard(Broker(clock=lambda: 1_700_000_000_000, history=100))
        self._session = self._switchboard.open(self._sent.extend)
        self._silent = False  # the client is a web page, which must not read an answer

    def answer(self, event: Event) -> bytes:
        """Run the command, and return the reply. A message to a subscriber precedes the reply, as in the shell."""
        assert isinstance(event, resp.Command)
        try:
            replies = commands.execute(self._session, event.arguments)
        except commands.CrossProtocolRequest:
            self.core.fail(RemoteProtocolError("a web page sends an HTTP request: the server closes without an answer"))
            self._silent = True
            return b""
        self.resp.version, self.resp.authenticated = self._session.version, self._session.authenticated
        self._switchboard.flush()
        for reply in replies if isinstance(replies, list) else []:
            self._sent += self.core.send(reply)
        sent = bytes(self._sent)
        self._sent.clear()
        return sent

    def farewell(self, error: RemoteProtocolError) -> bytes:
        return b"" if self._silent else super().farewell(error)

    def state(self) -> State:
        return [("version", str(self.resp.version)), ("in_command", str(self.resp.in_command))]


class _RESPClient(End):
    def __init__(self) -> None:
        super().__init__("resp", resp.Connection(CLIENT), CLIENT)


class _HTTP2(End):
    def __init__(self, role: Role) -> None:
        self.http2 = http2.Connection(role)
        super().__init__("http2", self.http2, role)

    def begin(self) -> bytes:
        """Send the greeting and, as a client, a GET, a POST and a HEAD: a response needs a stream."""
        sent = self.core.send(self.http2.greeting())
        for method in ("GET", "POST", "HEAD") if self.role is CLIENT else ():
            sent += self.core.send(RequestHead(method, "/", Headers([("host", "a")]), "2", self.http2.next_stream))
        return sent

    def answer(self, event: Event) -> bytes:
        sent = super().answer(event)
        if isinstance(event, Data):
            sent += self.core.send(http2.Consumed(event.stream, len(event.data)))
        elif isinstance(event, EndOfMessage) and self.role is SERVER and self.http2.is_open(event.stream):
            sent += self.core.send(ResponseHead(204, Headers(), "2", event.stream))
            sent += self.core.send(EndOfMessage(Headers(), event.stream))
        return sent

    def state(self) -> State:
        table = self.http2._streams
        return [
            ("settings_received", str(self.http2.settings_received)),
            ("settings_acknowledged", str(self.http2.settings_acknowledged)),
            ("connection window", f"send {self.http2._send_window.size:,}, receive {self.http2._receive_window.window:,}"),
            *[
                (f"stream {id_}", f"{stream.state.name}, send {stream.send_window.size:,}, "
                                  f"receive {stream.receive_window.window:,}")
                for id_, stream in table.open.items()
            ],
        ]  # fmt: skip


def make_end(protocol: str, role: str) -> End:
    """Return a new end. Raises ValueError for a protocol that is not in ENDS, or a role that does not read it."""
    if protocol not in ENDS:
        raise ValueError(f"no protocol is called {protocol!r:.40} (there are {', '.join(ENDS)})")
    if role not in ENDS[protocol]:
        raise ValueError(f"{protocol} is read by a {' or '.join(ENDS[protocol])}, not by a {role!r:.40}")
    end = _MAKERS[protocol, role]()
    assert (end.protocol, end.role.value) == (protocol, role)
    return end


_MAKERS: dict[tuple[str, str], Callable[[], End]] = {
    ("http1-request", "server"): _HTTP1Server,
    ("http1-response", "client"): _HTTP1Client,
    ("websocket", "server"): lambda: _WebSocket(SERVER),
    ("websocket", "client"): lambda: _WebSocket(CLIENT),
    ("sse", "client"): _EventStream,
    ("resp", "server"): _RESPServer,
    ("resp", "client"): _RESPClient,
    ("http2", "server"): lambda: _HTTP2(SERVER),
    ("http2", "client"): lambda: _HTTP2(CLIENT),
}

ENDS: dict[str, list[str]] = {}
"""The protocols -> the roles that read them."""
for _protocol, _role in _MAKERS:
    ENDS.setdefault(_protocol, []).append(_role)
