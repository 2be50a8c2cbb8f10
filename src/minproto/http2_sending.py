r"""HTTP/2's sending half: our frames, and whose turn it is to send content (RFC 9113 §5.2, §8.1; RFC 9218 §10).

A connection sends the frames of many streams. This half answers two questions: may an event be sent now, and which stream
may send content next? It holds no content itself: an upload of a gigabyte stays in the program that drives the core.

**May an event be sent now?** Each stream has a state, and the table in ``http2_streams.py`` says which steps the state
allows. Everything is checked before anything changes. So when ``send`` raises LocalProtocolError, no credit was spent, and the
compression table, of which the peer has a copy, was not changed.

**Which stream may send next, and how much?** Content needs credit in two windows, the stream's and the connection's. The shell
calls ``offer`` when a stream has content, and then asks ``next_ready`` before each frame. Here streams 1 and 3 are two
responses, and the client lets each stream send 20,000 bytes:

    >>> from minproto.http import Headers
    >>> from minproto.http2 import Connection
    >>> client, server = Connection(CLIENT, Limits(stream_window=20_000)), Connection(SERVER)
    >>> hello = client.send(client.greeting())
    >>> for stream in (1, 3):
    ...     hello += client.send(RequestHead("GET", "/", Headers([("host", "a")]), "2", stream))
    >>> server.receive_data(hello)
    >>> start = server.send(server.greeting()), list(server.events())
    >>> for stream in (1, 3):
    ...     head = server.send(ResponseHead(200, Headers(), "2", stream))
    ...     offered = server.offer(stream)
    >>> while (turn := server.next_ready()) is not None:
    ...     frame = server.send(Data(bytes(turn[1]), turn[0]))
    ...     print(turn, "left of stream 1, 3:", server.sendable(1), server.sendable(3))
    (1, 16384) left of stream 1, 3: 3616 20000
    (3, 16384) left of stream 1, 3: 3616 3616
    (1, 3616) left of stream 1, 3: 0 3616
    (3, 3616) left of stream 1, 3: 0 0

A turn is one frame of at most 16,384 bytes, so no stream is held up for long by another (*head-of-line blocking*). A stream
that has used up its window leaves the round, and a WINDOW_UPDATE from the peer brings it back.

**The end of a message** is easy to get wrong. It is the flag END_STREAM on the last frame. With a Content-Length, the frame
that reaches the length has the flag, which saves an empty frame; so the EndOfMessage that the app sends next produces no
bytes. Without a length, EndOfMessage is an empty DATA frame with the flag, or the trailers. Here are all three cases; the
fifth byte of a frame holds the flags, and END_STREAM is 1:

    >>> _, settings = client.receive_data(start[0]), list(client.events())
    >>> for stream, fields in ((5, [("content-length", "2")]), (7, []), (9, [])):
    ...     head = client.send(RequestHead("POST", "/", Headers([("host", "a"), *fields]), "2", stream))
    >>> client.send(Data(b"hi", 5)).hex(" "), client.send(EndOfMessage(stream=5))
    ('00 00 02 00 01 00 00 00 05 68 69', b'')
    >>> client.send(Data(b"hi", 7)).hex(" "), client.send(EndOfMessage(stream=7)).hex(" ")
    ('00 00 02 00 00 00 00 00 07 68 69', '00 00 00 00 01 00 00 00 07')
    >>> client.send(EndOfMessage(Headers([("x", "1")]), 9))[:9].hex(" ")    # HEADERS (type 1), END_HEADERS and END_STREAM
    '00 00 05 01 05 00 00 00 09'

An event that does not fit is refused, and the stream stays as it was. After a head without Content-Length, the content may
have any length. After a head with Content-Length, the content has to have that length:

    >>> head = client.send(RequestHead("POST", "/", Headers([("host", "a"), ("content-length", "2")]), "2", 11))
    >>> client.send(Data(b"too long", 11))
    Traceback (most recent call last):
    minproto.core.LocalProtocolError: more content than its Content-Length
    >>> client.send(EndOfMessage(stream=11))
    Traceback (most recent call last):
    minproto.core.LocalProtocolError: the message is not complete
"""

from collections.abc import Callable
from typing import ClassVar

from minproto import http2_frames as frames
from minproto.core import CLIENT, SERVER, Core, Event, LocalProtocolError, Role
from minproto.http import Data, EndOfMessage, RequestHead, ResponseHead, has_no_content
from minproto.http2_events import Consumed, GoAway, Limits, Ping, Reset, Settings, SettingsAck, WindowUpdate
from minproto.http2_fields import WITHOUT_CONTENT, FieldCoder, Fields, declared_length, section_size, trailer_fields
from minproto.http2_flow import ReceiveWindow, Scheduler, SendWindow
from minproto.http2_frames import HEADER_SIZE, MAX_FRAME, MAX_ID, PREFACE
from minproto.http2_settings import SettingsExchange
from minproto.http2_streams import (
    CLOSED,
    HALF_CLOSED_REMOTE,
    RECEIVE_END,
    SEND_DATA,
    SEND_END,
    SEND_HEADERS,
    SEND_RESET,
    TRANSITIONS,
    Budget,
    Step,
    Stream,
    StreamTable,
)

_CREDIT_PORTION = 256
"""Some peers return credit every time their app reads. So one WINDOW_UPDATE for this many bytes that we send does not
count as a flood."""


class SendingHalf(Core):
    """The part of a connection that sends, and the state that both halves share. ``http2.py`` adds the receiving half.

    ``coder`` creates the FieldCoder; ``minproto.fast`` has a different one.
    """

    coder = FieldCoder

    def __init__(self, role: Role, limits: Limits, scheme: str) -> None:
        """``scheme``: the scheme of a client's requests."""
        super().__init__(HEADER_SIZE + MAX_FRAME)  # §4.2: there MUST be room for a frame of 16,384 bytes and its header
        self.role = role
        self.limits = limits
        self._scheme = scheme
        self._greeted = False  # our first SETTINGS frame has been sent
        self.going_away: GoAway | None = None
        """The peer's last GOAWAY; None if none has arrived."""
        self._settings = SettingsExchange(role)
        self._streams = StreamTable(role)
        self._coder = self.coder(limits.max_block)
        self._ended_by_length: set[int] = set()
        """Streams whose last frame had END_STREAM, because the declared Content-Length was reached. The EndOfMessage that the
        app sends next must produce no frame."""
        self._faults: dict[int, int] = {}  # closed streams -> the code of the Reset that we still have to send
        self._receive_window = ReceiveWindow(limits.connection_window)  # of the connection
        self._send_window = SendWindow()  # of the connection
        self._scheduler = Scheduler()  # the streams that have content, and credit in their own window
        self._resets = Budget(limits.max_resets, "streams that were reset")
        self._idle_frames = Budget(limits.max_idle_frames, "frames that bring nothing")

    def greeting(self) -> Settings:
        """Return our first settings (§3.4), which tell the peer our limits. Both ends have to send them, over TLS (§3.2) and
        in clear text (§3.3).

        A client disables push. A server has to leave that setting out, or send it with the value 0 (§6.5.2). A server of ours
        ignores the priorities of RFC 7540, and has to say so in its first frame, or never (RFC 9218 §2.1).
        """
        values = [(frames.INITIAL_WINDOW_SIZE, self.limits.stream_window), (frames.MAX_HEADER_LIST_SIZE, self.limits.max_head)]
        if self.role is CLIENT:
            return Settings([(frames.ENABLE_PUSH, 0), *values])
        values += [(frames.ENABLE_CONNECT_PROTOCOL, 1), (frames.NO_RFC7540_PRIORITIES, 1)]
        return Settings([(frames.MAX_CONCURRENT_STREAMS, self.limits.max_streams), *values])

    # -- what a shell asks

    @property
    def peer_settings(self) -> dict[int, int]:
        """The settings that the peer has sent: identifier -> value."""
        return self._settings.peer

    @property
    def settings_received(self) -> bool:
        """Whether the peer's first settings have arrived."""
        return self._settings.received

    @property
    def settings_acknowledged(self) -> bool:
        """Whether the peer has acknowledged all our settings."""
        return self._settings.acknowledged

    @property
    def next_stream(self) -> int:
        """The id of the stream that our next request opens. It has a meaning only for a client."""
        return self._streams.next_id

    @property
    def last_stream(self) -> int:
        """The highest id of a request that a server has received so far. Our last GOAWAY names this id (§8.7)."""
        return self._streams.last_id

    def is_open(self, stream: int) -> bool:
        """Return whether a stream is open or half-closed, that is, whether a Reset would make sense.

        After our Reset, or a StreamFault without a status, a stream is closed at once, although the peer may not know yet.
        """
        return stream in self._streams.open

    @property
    def active(self) -> int:
        """The number of streams that are open or half-closed."""
        return len(self._streams.open)

    @property
    def max_active(self) -> int:
        """The number of streams that the peer lets us have open at once (§5.1.2).

        Only clients open streams, so only a client needs this number. A server's own limit is ``Limits.max_streams``, which
        its greeting announces.
        """
        return self._settings.max_streams

    def refill_budgets(self, frames_: int) -> None:
        """Give ``frames_`` frames back to both budgets, because time has gone by. The core has no clock, so the shell calls
        this."""
        self._idle_frames.refund(frames_)
        self._resets.refund(frames_)

    # -- the state of a stream; both halves change it

    def _move(self, stream: Stream, step: Step) -> None:
        """Change a stream's state according to the table in ``http2_streams.py``, and clean up if the stream is now closed.

        Raises StreamError for a step that the state does not allow (§5.1).
        """
        before = stream.state
        stream.move(step)  # raises before anything has changed
        if step is SEND_END or stream.state is CLOSED:
            self.withdraw(stream.id)
        if stream.state is not CLOSED:
            return
        del self._streams.open[stream.id]
        # Frames that the peer sent before it read our reset may still come (§5.1), unless the peer had ended its direction
        # before.
        self._streams.closed.add(stream.id, late=step is SEND_RESET and before is not HALF_CLOSED_REMOTE)
        if step is SEND_END or step is RECEIVE_END:  # the exchange is complete: progress
            self._resets.refund(4)
            self._idle_frames.refund(4)
        else:
            self._ended_by_length.discard(stream.id)

    # -- whose turn it is to send

    def sendable(self, stream: int) -> int:
        """Return the bytes of content that a stream may send now: the smaller of the two windows (§5.2.1, §6.9.1); 0 for a
        closed stream, and while a window is negative (§6.9.2)."""
        found = self._streams.open.get(stream)
        return max(0, min(found.send_window.size, self._send_window.size)) if found else 0

    def offer(self, stream: int) -> bool:
        """Note that a stream has content to send: ``next_ready`` will give it turns. False if its state allows no content."""
        found = self._streams.open.get(stream)
        if found is None or (found.state, SEND_DATA) not in TRANSITIONS:
            return False
        found.offering = True
        self._schedule(found)
        return True

    def withdraw(self, stream: int) -> None:
        """Note that a stream has no more content to send."""
        found = self._streams.open.get(stream)
        if found is not None:
            found.offering = False
            self._schedule(found)

    def _schedule(self, stream: Stream) -> None:
        """Let a stream take part in the round, as long as it has content, and credit in its own window.

        A window of 0 bytes, or a negative one, lets nothing through (§6.9.2). The connection's window is not checked here:
        all streams share it, and it changes with each frame. The scheduler gets both parts of the priority (RFC 9218 §10).
        """
        ready = stream.offering and stream.send_window.size > 0
        if ready and stream.id not in self._scheduler:
            self._scheduler.add(stream.id, *stream.priority)
        elif not ready and stream.id in self._scheduler:
            self._scheduler.remove(stream.id)

    @property
    def is_ready(self) -> bool:
        """Whether any stream has a turn now."""
        return len(self._scheduler) > 0 and self._send_window.size > 0

    def next_ready(self) -> tuple[int, int] | None:
        """Return the stream whose turn it is, and how many bytes its next Data may have; None if no stream can send.

        Call this only when there is room for a frame in the transport. Bytes pending there can no longer be overtaken, so if
        there were many, an urgent response would be as late as any other.

        Both windows bound the Data (§5.2.1), and so does the largest frame that every peer takes (§4.1).
        """
        if self._send_window.size <= 0 or (id_ := self._scheduler.next()) is None:
            return None
        return id_, min(self._send_window.size, self._streams.open[id_].send_window.size, MAX_FRAME)

    # -- sending: messages

    def send(self, event: Event) -> bytes:
        """Return the frames for an event, and advance our state. Raises LocalProtocolError, and then changes nothing.

        No event is sent as a PUSH_PROMISE, since neither end of ours pushes (§6.5.2, §6.6, §8.4.1). Nor is one sent as a
        PRIORITY_UPDATE: a server MUST NOT send it (RFC 9218 §7.1), and our client has no use for it (RFC 9218 §2.1.1).

        The very first event is ``greeting()``, because a peer accepts no other frame before the first SETTINGS (§3.4, §6.5).
        """
        send = self._SENDERS.get(type(event))
        if send is None or (not self._greeted and type(event) is not Settings):
            raise LocalProtocolError(f"can't send {type(event).__name__}" + ("" if self._greeted else " before the greeting"))
        return send(self, event)

    def _stream_for(self, id_: int, step: Step) -> Stream:
        """Return the stream on which we may take this step. Raises LocalProtocolError if its state does not allow it.

        Every head and all content needs an open stream (§6.1, §6.2). On a closed stream no step is left: frames other than
        PRIORITY MUST NOT be sent on it (§5.1). A stream that the peer has reset is closed as well: the peer has forgotten it,
        and would take a further frame for a fault (§6.4).

        When the Content-Length is reached, the stream moves to HALF_CLOSED_LOCAL or CLOSED, although its EndOfMessage is still
        to come. Callers that may get this EndOfMessage check ``_ended_by_length`` first.
        """
        stream = self._streams.open.get(id_)
        if stream is None or (stream.state, step) not in TRANSITIONS or id_ in self._ended_by_length:
            state = stream.state.name if stream else "closed, or was never open"
            raise LocalProtocolError(f"{step.name} on stream {id_}, which is {state}")
        return stream

    def _send_request(self, head: RequestHead) -> bytes:
        """Open a client's next stream with a request's head.

        A GET, HEAD or DELETE without Content-Length has no content, so its HEADERS frame ends the stream. Otherwise a server
        would have to wait for one more frame before it knows that no content will come.
        """
        # §5.1.1: odd ids, in ascending order, none of them twice. After the last one, 2^31-1, only a new connection helps.
        if self.role is SERVER or head.stream != self.next_stream or head.stream > MAX_ID:
            raise LocalProtocolError("a request is a client's, on the next stream")
        if self.going_away is not None:  # §6.8: MUST NOT open another stream
            raise LocalProtocolError("the server takes no more requests on this connection")
        if len(self._streams.open) >= self.max_active:  # §5.1.2: MUST NOT exceed the limit
            raise LocalProtocolError("the server allows no more streams at once")
        # §5.5: an extension needs the peer's consent. A server that has not sent the setting has not consented.
        if head.protocol and not self.peer_settings.get(frames.ENABLE_CONNECT_PROTOCOL):
            raise LocalProtocolError("the server knows no extended CONNECT")  # RFC 8441 §3
        fields = self._coder.request_fields(head, self._scheme)
        self._check_section(fields)
        length = declared_length(head.headers)
        if length is None and head.method in WITHOUT_CONTENT:
            length = 0
        stream = self._streams.add(head.stream, head.method)
        self._streams.next_id += 2
        return self._send_head(stream, fields, length)

    def _check_section(self, fields: Fields) -> None:
        """Refuse to send fields that are larger than the server's SETTINGS_MAX_HEADER_LIST_SIZE.

        The server would refuse such fields as well, perhaps by ending the connection for all requests on it (§10.5.1), and
        again whenever the request is repeated. As a server we ignore the client's limit: the setting is advice, and a client
        that cannot accept a response resets only one stream.
        """
        most = self.peer_settings.get(frames.MAX_HEADER_LIST_SIZE)
        if self.role is CLIENT and most is not None and (size := section_size(fields)) > most:
            raise LocalProtocolError(
                f"the fields have {size} bytes (each counts 32 more than it has), and the server takes {most}"
                " (SETTINGS_MAX_HEADER_LIST_SIZE)"
            )

    def _send_response(self, head: ResponseHead) -> bytes:
        """Send an interim response (1xx), of which there may be several, or the final response.

        Some responses never have content, whatever their Content-Length says: 204, 304, and every answer to HEAD. Their
        HEADERS frame ends the stream. A 205 has to be empty, so its HEADERS frame ends the stream, too. A 2xx to CONNECT is
        the opposite: the stream becomes a tunnel without a length. A Content-Length would end the tunnel after that many bytes
        (RFC 9110 §9.3.6).
        """
        stream = self._stream_for(head.stream, SEND_HEADERS)
        if self.role is CLIENT or stream.head_sent:
            raise LocalProtocolError("a response is a server's, and has one head")
        if not 100 <= head.status <= 599 or head.status == 101:  # §8.6
            raise LocalProtocolError(f"no response of HTTP/2 has status {head.status}")
        fields = self._coder.response_fields(head)
        length = declared_length(head.headers)
        tunnel = stream.becomes_tunnel(head.status)
        if length is not None and (head.status < 200 or head.status == 204 or tunnel):
            raise LocalProtocolError("a 1xx, a 204, and a 2xx to CONNECT have no length")  # RFC 9110 §8.6
        if head.status < 200:
            return frames.encode_headers(head.stream, self._coder.encode(fields), False)
        if head.status == 205 and length:  # RFC 9110 §15.3.6
            raise LocalProtocolError("a 205 has no content")
        stream.is_tunnel = tunnel
        if not tunnel and (head.status == 205 or has_no_content(stream.method, head.status)):
            length = 0
        return self._send_head(stream, fields, length)

    def _send_head(self, stream: Stream, fields: Fields, length: int | None) -> bytes:
        """Send a head, with END_STREAM if ``length`` is 0: no content follows. If ``length`` is None, it is unknown."""
        self._move(stream, SEND_HEADERS)
        stream.head_sent = True
        stream.send_left = length
        encoded = frames.encode_headers(stream.id, self._coder.encode(fields), length == 0)
        if length == 0:
            self._end_by_length(stream)
        return encoded

    def _end_by_length(self, stream: Stream) -> None:
        """End our direction with the frame that reaches the declared length, which saves an empty DATA frame."""
        self._ended_by_length.add(stream.id)
        self._move(stream, SEND_END)

    def _send_data(self, event: Data) -> bytes:
        """Send content. It has to fit into both windows (§5.2.1, §6.9.1) and into the declared Content-Length; an empty Data
        produces no frame.

        More content than was declared would make the message malformed at the peer, which would reset the stream (§8.1.1).
        """
        if event.stream in self._ended_by_length:
            if event.data:
                raise LocalProtocolError("more content than its Content-Length, or none was given where it needs one")
            return b""
        stream = self._stream_for(event.stream, SEND_DATA)
        size, left = len(event.data), stream.send_left
        if not stream.head_sent:
            raise LocalProtocolError("Data before the head")
        if left is not None and size > left:
            raise LocalProtocolError("more content than its Content-Length")
        if size > self.sendable(event.stream):
            raise LocalProtocolError("more content than the windows allow")
        if not size:
            return b""
        ends = left == size
        encoded = _encode_data(event.stream, event.data, ends)
        self._send_window.size -= size
        stream.send_window.size -= size
        self._schedule(stream)
        self._idle_frames.refund(2 + size // _CREDIT_PORTION)  # the credit returns in WINDOW_UPDATEs, for both windows
        if left is not None:
            stream.send_left = left - size
        if ends:
            self._end_by_length(stream)
        return encoded

    def _send_end(self, event: EndOfMessage) -> bytes:
        """Send END_STREAM: with the trailers, or else on an empty DATA frame, which needs no credit (§6.9.1).

        Raises LocalProtocolError if less content was sent than the Content-Length declares: a message whose length is wrong
        MUST NOT be completed (RFC 9110 §8.6).
        """
        if event.stream in self._ended_by_length:  # END_STREAM has been sent already, so no frame is needed
            if event.trailers:
                raise LocalProtocolError("what has a declared length has no trailers")
            self._ended_by_length.discard(event.stream)
            return b""
        stream = self._stream_for(event.stream, SEND_END)
        if not stream.head_sent or stream.send_left:
            raise LocalProtocolError("the message is not complete")
        if event.trailers and stream.is_tunnel:  # §8.5
            raise LocalProtocolError("a tunnel has no trailers")
        fields = trailer_fields(event.trailers)
        self._check_section(fields)
        self._move(stream, SEND_END)
        if event.trailers:
            return frames.encode_headers(event.stream, self._coder.encode(fields), True)
        return frames.encode_frame(frames.DATA, frames.END_STREAM, event.stream)

    # -- sending: the connection's own frames

    def _send_settings(self, event: Settings) -> bytes:
        """Send our settings; before a client's first settings comes the preface (§3.4). Settings take effect once the peer
        has acknowledged them.

        The frame is for the connection, so its stream is 0, and it has no flag: ACK belongs to the empty answer (§6.5).
        """
        encoded = frames.encode_settings(event.values)
        self._settings.check(event.values)
        preface = PREFACE if self.role is CLIENT and not self._greeted else b""
        self._greeted = True
        self._settings.sent(event.values)
        return preface + encoded

    def _send_acknowledgement(self, event: SettingsAck) -> bytes:
        """Tell the peer that its oldest settings are in effect; an extra ACK would confuse the peer's count. An ACK has no
        payload (§6.5)."""
        self._settings.send_ack()
        return frames.encode_frame(frames.SETTINGS, frames.ACK, 0)

    def _send_ping(self, event: Ping) -> bytes:
        """Send a PING, or with ``ack`` the answer to a PING (§6.7). The answer has the same eight bytes, which tell the
        answers to several PINGs apart. No other flag is set (§4.1)."""
        if len(event.data) != 8:
            raise LocalProtocolError("a PING has eight bytes")
        return frames.encode_frame(frames.PING, frames.ACK if event.ack else 0, 0, event.data)

    def _send_consumed(self, event: Consumed) -> bytes:
        """Return a WINDOW_UPDATE for a stream; nothing if the credit is not worth a frame, or no more content will come.

        Content may still be with the app when the stream is closed. Its credit is dropped: a WINDOW_UPDATE MUST NOT be sent
        on a closed stream (§5.1).

        The credit for padding is included, because the app never sees padding and cannot count it. Raises LocalProtocolError
        for more bytes than have arrived: the peer would be given credit for bytes that it has not sent.
        """
        stream = self._streams.open.get(event.stream)
        if stream is None or stream.state is HALF_CLOSED_REMOTE:
            return b""
        window = stream.receive_window
        held = window.size - window.window - window.owed  # bytes that have arrived, but whose credit is not given back yet
        if event.count > held - stream.padding:
            raise LocalProtocolError("more consumed than received")
        window.consume(event.count + stream.padding)
        stream.padding = 0
        increment = window.due
        if not increment:
            return b""
        window.grant(increment)
        return frames.encode_window_update(event.stream, increment)

    def _send_window_update(self, event: WindowUpdate) -> bytes:
        """Give credit back to the connection, as ``reply`` says. A stream's credit is given back by Consumed."""
        if event.stream or not 0 < event.increment <= self._receive_window.owed:
            raise LocalProtocolError("credit that is not owed")
        self._receive_window.grant(event.increment)
        return frames.encode_window_update(0, event.increment)

    def _send_reset(self, event: Reset) -> bytes:
        """Close a stream in both directions, or tell the peer that a stream was closed because of the peer's fault.

        An idle stream cannot be reset: the peer would have to end the connection (§6.4). An open stream is reset once
        (§5.4.2): after that it is closed, and on a closed stream nothing may be sent (§5.1).
        """
        if self._faults.pop(event.stream, None) is None:  # otherwise the peer's fault has closed the stream already
            stream = self._streams.open.get(event.stream)
            if stream is None:
                raise LocalProtocolError(f"stream {event.stream} is closed, or was never open")
            self._move(stream, SEND_RESET)
        return frames.encode_rst_stream(event.stream, event.code)

    def _send_goaway(self, event: GoAway) -> bytes:
        """Name the last stream that we will process. The peer can safely make the requests on higher streams elsewhere.

        A server that is stopping sends two GOAWAYs (§6.8). The first has the highest possible id, and only says that the end
        is near. The second follows when the requests on their way have arrived, and has the real last stream. So no request
        is lost.
        """
        if event.last > self._streams.last_accepted:  # §6.8: MUST NOT increase
            raise LocalProtocolError("the last stream of a GOAWAY can't grow")
        self._streams.last_accepted = event.last
        return frames.encode_goaway(event.last, event.code, event.debug)

    _SENDERS: ClassVar[dict[type[Event], Callable[..., bytes]]] = {
        RequestHead: _send_request,
        ResponseHead: _send_response,
        Data: _send_data,
        EndOfMessage: _send_end,
        Settings: _send_settings,
        SettingsAck: _send_acknowledgement,
        Ping: _send_ping,
        Consumed: _send_consumed,
        WindowUpdate: _send_window_update,
        Reset: _send_reset,
        GoAway: _send_goaway,
    }


# ---- helpers -----------------------------------------------------------------------------------------------------------


def _encode_data(stream: int, data: bytes, ends: bool) -> bytes:
    """Return content as DATA frames of at most 16 KiB (§4.1); if the content ends the stream, the last frame has END_STREAM.

    A shell that asks ``next_ready`` sends one frame for each Data. The loop is for a caller whose window allows more.
    """
    flags = frames.END_STREAM if ends else 0
    pieces = [data[start : start + MAX_FRAME] for start in range(0, len(data), MAX_FRAME)]
    encoded = [frames.encode_frame(frames.DATA, 0, stream, piece) for piece in pieces[:-1]]
    return b"".join([*encoded, frames.encode_frame(frames.DATA, flags, stream, pieces[-1])])
