r"""HTTP/2: many exchanges at once on one connection (RFC 9113).

An exchange is a request and its response. Each exchange has a *stream*: a number, and the frames that carry that number. A
head is a block of compressed fields in a HEADERS frame; content is in DATA frames. Frames of different streams may come in
any order (*multiplexing*), so a slow response does not block the next, as it would in HTTP/1.1 (*head-of-line blocking*).

Here is a whole connection, with every frame that is sent on it. A client begins with 24 fixed bytes, the preface; then each
end sends its SETTINGS and acknowledges its peer's (``http2_settings.py``):

    >>> client, server = Connection(CLIENT), Connection(SERVER)
    >>> hello = client.send(client.greeting())
    >>> hello[:24]
    b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    >>> hello[24:].hex(" ")
    '00 00 12 04 00 00 00 00 00 00 02 00 00 00 00 00 04 00 02 00 00 00 06 00 01 00 00'
    >>> answer = server.send(server.greeting())
    >>> server.receive_data(hello)
    >>> (settings,) = server.events()
    >>> settings
    Settings(values=[(2, 0), (4, 131072), (6, 65536)])
    >>> answer += server.send(server.reply(settings))
    >>> answer[-9:].hex(" ")                            # SETTINGS with the flag ACK: "the client's settings hold from now on"
    '00 00 00 04 01 00 00 00 00'
    >>> client.receive_data(answer)
    >>> [type(event).__name__ for event in client.events()]
    ['Settings', 'SettingsAck']

The client asks for ``/hello``. Nothing follows a GET's head, so the HEADERS frame has the flag END_STREAM (0x01, beside
END_HEADERS, 0x04), so the EndOfMessage that the app sends next adds no bytes:

    >>> request = client.send(RequestHead("GET", "/hello", Headers([("host", "a")]), "2", stream=1))
    >>> request.hex(" ")
    '00 00 0c 01 05 00 00 00 01 82 87 44 85 62 72 d1 41 ff 41 81 1f'
    >>> client.send(EndOfMessage(stream=1))
    b''

    00 00 0c  01 05  00 00 00 01     12 bytes, HEADERS, END_HEADERS + END_STREAM, stream 1
    82 87                            :method: GET, :scheme: https (entries 2 and 7 of HPACK's table)
    44  85 62 72 d1 41 ff            :path (the name of entry 4), and "/hello" in Huffman code (see ``http2_fields.py``)
    41  81 1f                        :authority (the name of entry 1), and "a"

The server answers with a head and five bytes of content. Each byte of DATA is paid for with credit: *flow control*. There is a
window for the stream and one for the connection, and each lets 65,535 bytes through at first (``http2_flow.py``). Here the
client's SETTINGS have raised the stream's window to 131,072:

    >>> server.receive_data(request)
    >>> list(server.events())  # doctest: +NORMALIZE_WHITESPACE
    [RequestHead(method='GET', target='/hello', headers=[('host', 'a')], version='2', stream=1, protocol='', scheme='https'),
     EndOfMessage(trailers=[], stream=1)]
    >>> server.sendable(1)                              # the smaller one of the two windows
    65535
    >>> from minproto.http import ResponseHead
    >>> answer = server.send(ResponseHead(200, Headers([("content-length", "5")]), "2", stream=1))
    >>> answer += server.send(Data(b"Hello", 1)) + server.send(EndOfMessage(stream=1))
    >>> answer.hex(" ")
    '00 00 04 01 04 00 00 00 01 88 5c 81 6f 00 00 05 00 01 00 00 00 01 48 65 6c 6c 6f'
    >>> client.receive_data(answer)
    >>> events = list(client.events())
    >>> events[1:]
    [Data(data=b'Hello', stream=1), EndOfMessage(trailers=[], stream=1)]

The DATA frame has END_STREAM, because it completes the content that Content-Length declares. The client gives credit back in
portions. Its connection window has 1,048,576 bytes, of which the server has been granted 65,535 so far; so the first reply is
a WINDOW_UPDATE for the difference plus the five bytes. A server that wants to close the connection sends GOAWAY first. Here
stream 7 is the last stream that the server will process:

    >>> client.reply(events[1])
    WindowUpdate(stream=0, increment=983046)
    >>> client.send(client.reply(events[1])).hex(" ")   # 0x0f0006 = 983046 = 1048576 - 65535 + 5
    '00 00 04 08 00 00 00 00 00 00 0f 00 06'
    >>> server.send(GoAway(last=7)).hex(" ")           # the last four bytes are the error code: NO_ERROR
    '00 00 08 07 00 00 00 00 00 00 00 00 07 00 00 00 00'

A **fault** concerns one stream or the whole connection (§5.4). Here a client sends a request whose field name has a capital
letter, so the request is malformed. The stream is closed, the reply is a Reset (RST_STREAM, with the code PROTOCOL_ERROR), and
the next request is accepted. Then the client sends DATA on stream 7, which it has not opened:

    >>> bad = frames.encode_headers(3, bytes.fromhex("82 87 84 41 01 61 40 01 58 01 79"), end_stream=True)
    >>> server.receive_data(bad + frames.encode_headers(5, bytes.fromhex("82 87 84 bf"), end_stream=True))
    >>> fault, request, end = server.events()
    >>> fault.stream, fault.code, fault.reason
    (3, 1, "the field 'X' has an invalid value, or name (they are in lower case)")
    >>> server.reply(fault), request.stream
    (Reset(stream=3, code=1), 5)
    >>> server.receive_data(frames.encode_frame(frames.DATA, 0, 7, b"x"))
    >>> server.next_event()
    Traceback (most recent call last):
    minproto.core.RemoteProtocolError: a frame on a stream that is idle
    >>> server.farewell(server.error)
    [GoAway(last=5, code=1, debug=b'a frame on a stream that is idle')]

- **A stream fault** is a malformed message (PROTOCOL_ERROR), a frame that the state of the stream does not allow
  (STREAM_CLOSED), DATA beyond the stream's window (FLOW_CONTROL_ERROR), or a request beyond ``max_streams`` (REFUSED_STREAM).
  All other streams continue. An idle stream cannot be reset, so a fault on it is a connection fault instead.
- **A request that is merely too large** is a ``StreamFault``, too, with a ``status``: 414 (or 501) for the start line, 431 for
  the fields. The stream is not reset; it stays open, so that the app can reply with the status, as in HTTP/1.1.
- **A connection fault** concerns what all streams share: the framing, the compression table, the connection's window,
  a stream id. ``next_event`` raises an error, and ``farewell`` returns a GOAWAY with the code of that error.
- **A frame that may merely be late is not a fault.** After our Reset, we ignore frames that the peer sent before it read the
  Reset, and DATA becomes a ``Discarded`` event. But on a stream that the peer has ended itself, nothing can be late. HEADERS
  or DATA on such a stream is a fault: a stream fault if our direction is still open, a connection fault if both directions are
  closed. Faulty DATA also becomes a ``Discarded``, after the StreamFault. Once we have reset the stream because of the fault,
  further frames count as late again.

This table shows how each wrong frame is treated, with the numbers of the codes. Most faults are found by the reader, which
checks a frame's nine header bytes before its payload arrives, or by ``http2_frames.py``:

    the peer sends                                                         the fault
    a wrong preface; a first frame that is not SETTINGS                    connection, PROTOCOL_ERROR 0x1
    a frame of over 16,384 bytes, or of a length that its type forbids     connection, FRAME_SIZE_ERROR 0x6 (PRIORITY: stream)
    the flag PADDED without the byte that says how much padding           connection, FRAME_SIZE_ERROR
    a frame of the connection on a stream, or the reverse; PUSH_PROMISE    connection, PROTOCOL_ERROR
    padding as long as the payload; a setting out of its range             connection, PROTOCOL_ERROR (window size: 0x3)
    a field block that is interrupted, or has no beginning                 connection, PROTOCOL_ERROR
    a field block that cannot be decoded: it is cut short, has an index    connection, COMPRESSION_ERROR 0x9
    that no entry has, or makes the table larger than 4,096 bytes
    a block over max_block, settings over max_settings, a budget is over   connection, ENHANCE_YOUR_CALM 0xb
    DATA, RST_STREAM or WINDOW_UPDATE on an idle stream                    connection, PROTOCOL_ERROR
    HEADERS with an even id, or with an id that was passed over            connection, PROTOCOL_ERROR
    HEADERS or DATA where the peer has ended its direction, ours is open   stream, STREAM_CLOSED 0x5
    HEADERS or DATA on a stream that both have ended, or that it reset     connection, STREAM_CLOSED
    DATA beyond a window; a window over 2^31-1                             stream or connection, FLOW_CONTROL_ERROR 0x3
    an increment of 0                                                      stream or connection, PROTOCOL_ERROR
    a malformed message; DATA that does not fit its Content-Length         stream, PROTOCOL_ERROR
    HEADERS in a tunnel, which a 2xx to a CONNECT has opened               stream, PROTOCOL_ERROR
    a request more than max_streams                                        stream, REFUSED_STREAM 0x7
    PRIORITY, RST_STREAM or WINDOW_UPDATE on a closed stream               none: ignored (but not an increment of 0)

A message is malformed if HTTP/1.1 could not carry it, or could carry it in two ways: a pseudo-header field is missing,
unknown, repeated or late; a name has a capital letter, a space or a colon; a value has a line break, a NUL, or a space at
either end; there are two different hosts, or a field about an HTTP/1.1 connection (``http2_fields.py``).

``wants`` is DATA until the peer ends its output. ``wants`` is never PAUSED, because a stream that is waiting for our answer
must not hold up the others. At the end of input ``wants`` is CLOSED, and ``next_event`` raises if a message is cut short.

Four things are easy to get wrong:

- **The compression table is shared.** Every field block is decoded, even one for a stream that we refuse.
- **Credit must not be lost.** DATA that we throw away has used up the connection's credit, so the credit is given back.
- **Frames are cheap for their sender.** A client that opens streams and resets them at once makes a server work for nothing
  (*rapid reset*, CVE-2023-44487); so do pings, settings and empty frames without end (CVE-2019-9512 to 9518), a head of
  endless CONTINUATION frames (CVE-2024-27316), and frames that make us reset a stream (CVE-2025-8671). Each such frame spends
  from a ``Budget``, and progress refills the budget. A peer that has used up a budget gets ENHANCE_YOUR_CALM. There are two
  budgets, with these prices and refunds:

      budget                 a frame spends 1              progress gives back
      resets, 200            a reset of the client's,      4 for a stream that both ends have completed
                             a StreamFault without status  (REFUSED_STREAM before the client has acknowledged our
                                                           settings costs nothing: it did not know the maximum)
      idle frames, 1,000     SETTINGS, not the first,      4 for a stream that both ends have completed
                             PING, WINDOW_UPDATE,          2 for DATA with content, and for each Data that we send
                             GOAWAY, PRIORITY,             1 for a request
                             CONTINUATION, unknown types,
                             DATA without content or end,
                             interim responses, and most
                             frames on a closed stream

- **Streams with a lot to send must take turns.** The core holds no content. The shell calls ``offer`` when a stream has
  content, and asks ``next_ready`` which stream may send, and how much. So a small response is not stuck behind a large one.

Left out: push (§8.4), since browsers have removed it; the priority tree of RFC 7540, which §5.3.2 retired; frames above 16
KiB; and Upgrade: h2c. PRIORITY_UPDATE (RFC 9218 §7) is left out, too. It changes a priority later, and few clients send it.
The initial priority comes in a header field.
"""

from collections.abc import Callable
from typing import ClassVar

from minproto import http2_frames as frames
from minproto.core import CLIENT, SERVER, Event, ProtocolError, RemoteProtocolError, Role, Wants
from minproto.http import Data, EndOfMessage, Headers, RequestHead, has_no_content
from minproto.http2_events import (
    Consumed,
    Discarded,
    GoAway,
    Limits,
    Ping,
    Reset,
    Settings,
    SettingsAck,
    StreamFault,
    WindowUpdate,
)
from minproto.http2_fields import Fields, claimed_head, content_length, exceeded_limit, malformed, parse_trailers
from minproto.http2_flow import parse_priority
from minproto.http2_frames import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    Frame,
    StreamError,
)
from minproto.http2_reader import FrameReader
from minproto.http2_sending import SendingHalf
from minproto.http2_streams import (
    HALF_CLOSED_LOCAL,
    OPEN,
    RECEIVE_DATA,
    RECEIVE_END,
    RECEIVE_HEADERS,
    RECEIVE_RESET,
    SEND_RESET,
    Stream,
)

__all__ = [
    "Connection", "Consumed", "Discarded", "GoAway", "Limits", "Ping", "Reset", "Settings", "SettingsAck", "StreamFault",
    "WindowUpdate",
]  # fmt: skip


class Connection(SendingHalf):
    """One end of an HTTP/2 connection. The first thing to send is ``greeting()``."""

    def __init__(self, role: Role, limits: Limits = Limits(), scheme: str = "https") -> None:  # noqa: B008 - frozen
        """``scheme``: the scheme of a client's requests."""
        super().__init__(role, limits, scheme)
        self._reader = FrameReader(
            self._buffer,
            PREFACE if role is SERVER else b"",
            self._receive_window,
            self._idle_frames,
            max_block=limits.max_block,
            max_settings=limits.max_settings,
        )
        self._events: list[Event] = []  # events of the last frame that the caller has not pulled yet: few, mostly one

    @property
    def in_frame(self) -> bool:
        """Whether the peer has begun something that it has to complete: a frame, a field block, the preface."""
        return self._reader.in_frame or not self.settings_received

    @property
    def content_awaited(self) -> int:
        """The payload size of the DATA frame that has begun; 0 if no frame has begun, or if the frame has another type."""
        header = self._reader.header
        return header.length if header is not None and header.type == frames.DATA else 0

    @property
    def buffered(self) -> int:
        """The number of bytes received but not parsed yet, including those of an unfinished field block."""
        return self._reader.buffered

    # -- receiving

    def _parse(self) -> Event | None:
        """Return the next event of the last frame, or read frames until one of them has an event.

        ``wants`` becomes DATA, and never PAUSED: frames have to be processed as soon as they arrive (§5.2.2). A WINDOW_UPDATE
        may follow content that no app has taken yet.
        """
        while not self._events:
            frame = self._reader.next_frame()
            if frame is None:
                self.wants = Wants.DATA
                return None
            self._receive(frame)
        return self._events.pop(0)

    def _parse_eof(self) -> Event | None:
        """Close if the peer has completed everything that it had begun. Raises RemoteProtocolError if a message is cut short.

        In the states OPEN and HALF_CLOSED_LOCAL, the peer has not sent END_STREAM. A stream that is only waiting for our
        answer does not matter here: the peer has closed its direction of TCP, and may still read.
        """
        if not self.settings_received:
            raise RemoteProtocolError("this is not HTTP/2: it was closed before the first SETTINGS", PROTOCOL_ERROR)
        if self.in_frame or any(stream.state in (OPEN, HALF_CLOSED_LOCAL) for stream in self._streams.open.values()):
            raise RemoteProtocolError("connection closed in the middle of a message", PROTOCOL_ERROR)
        self.wants = Wants.CLOSED
        return None

    def _receive(self, frame: Frame) -> None:
        """Act on a whole frame: its events are appended to ``_events``.

        A frame may break several rules. The first fault found is the one that is reported (§5.4), because it ends the method.
        """
        receive = self._RECEIVERS.get(frame.type)
        if receive is None:  # §4.1, §5.5: a frame of an unknown type MUST be discarded, but a flood is still a flood
            return self._idle_frames.spend()
        try:
            receive(self, frame)
        except StreamError as error:
            self._fault(frame.stream, error)

    def _fault(self, id_: int, error: StreamError, head: RequestHead | None = None) -> None:
        """Close a stream because of the peer's fault. Its Reset (§5.4.2) is what ``reply`` returns for the StreamFault.

        The stream is closed at once, whether or not the Reset has been sent. So a frame that follows on this stream is a late
        one (§5.1), and leads to no second Reset.
        """
        if self._streams.is_idle(id_):  # §6.4: a stream that was never opened cannot be reset, so the connection ends
            raise RemoteProtocolError(str(error), error.code)
        if error.code == REFUSED_STREAM and not self.settings_acknowledged:
            self._idle_frames.refund(4)  # the client did not know our maximum yet, and other frames follow on this stream
        else:
            self._resets.spend()  # CVE-2025-8671: this costs us as much as a reset by the peer
        if stream := self._streams.open.get(id_):
            self._move(stream, SEND_RESET)
        self._streams.closed.add(id_, late=True)
        self._faults[id_] = error.code
        self._events.append(StreamFault(id_, error.code, str(error), head))

    # -- receiving: DATA (§6.1)

    def _receive_data(self, frame: Frame) -> None:
        """Receive content. The whole payload uses up credit, including the padding (§6.1, §6.9.1).

        From here on we owe the connection's credit, whatever happens to the bytes; the reply to the event gives it back. The
        peer has counted the frame, so we count it even if it is a fault (§6.9), late on a stream that we have reset (§5.1), or
        on a stream above our GOAWAY (§6.8).
        """
        data = frames.parse_data(frame)  # before the stream is looked up: a connection fault MUST be reported (§5.4)
        size = len(frame.payload)
        self._receive_window.receive(size)
        self._receive_window.consume(size)
        ends = frame.flags & frames.END_STREAM != 0
        stream = self._streams.find(frame.stream)
        if not data and not (ends and stream):
            self._idle_frames.spend()  # CVE-2019-9518: a frame with neither content nor END_STREAM
        try:
            if stream is not None:
                return self._receive_content(stream, data, size, ends)
        except StreamError as error:  # caught here and not in _receive, to report the bytes as Discarded as well
            self._fault(frame.stream, error)
        if size:
            self._events.append(Discarded(frame.stream, size))

    def _receive_content(self, stream: Stream, data: bytes, size: int, ends: bool) -> None:
        """Receive content for an open stream. ``size``: bytes of the payload, that is, of ``data`` and padding.

        The peer may have ended its direction already. Content after the end would belong to no message (STREAM_CLOSED, §6.1).
        """
        self._move(stream, RECEIVE_DATA)
        if not stream.head_received:
            raise malformed("DATA before the head")
        if not stream.receive_window.receive(size):
            raise StreamError("DATA beyond the stream's window", FLOW_CONTROL_ERROR)
        stream.padding += size - len(data)
        stream.receive_content(len(data))
        if ends:
            stream.check_complete()
        if data:
            self._idle_frames.refund(2)  # progress: gRPC sends pings around its content, to measure bandwidth
        if size:  # padding alone is an event, too: the app's Consumed(stream, 0) gives the padding's credit back
            self._events.append(Data(data, stream.id))
        if ends:
            self._receive_end(stream, Headers())

    def _receive_end(self, stream: Stream, trailers: Headers) -> None:
        """Handle END_STREAM: the peer has sent all of its message."""
        stream.check_complete()
        self._events.append(EndOfMessage(trailers, stream.id))
        self._move(stream, RECEIVE_END)

    # -- receiving: HEADERS (§6.2); the reader has joined its CONTINUATION frames

    def _receive_headers(self, frame: Frame) -> None:
        """Receive a request, a response or trailers.

        The block is decoded first, as every block changes the table (§4.3), even a late one on a stream that we have reset
        (§5.1) or above our GOAWAY (§6.8). A block that cannot be decoded ends the connection, whatever else is wrong with the
        frame (§5.4).
        """
        id_, ends = frame.stream, frame.flags & frames.END_STREAM != 0
        fields = self._coder.decode(frame.payload)
        if self.role is SERVER and self._streams.is_idle(id_):
            return self._receive_new_stream(id_, fields, ends)
        stream = self._streams.find(id_)
        if stream is None:  # the frame is late, or its stream is above our GOAWAY
            return self._idle_frames.spend()
        self._move(stream, RECEIVE_HEADERS)
        if stream.is_tunnel:  # §8.5: the bytes that follow belong to the other protocol, which has no trailers
            raise malformed("HEADERS in a tunnel")
        if stream.head_received:
            self._receive_trailers(stream, fields, ends)
        else:
            self._receive_response(stream, fields, ends)

    def _receive_new_stream(self, id_: int, fields: Fields, ends: bool) -> None:
        """Receive the head of a request. The id of its stream has to be odd, and higher than all earlier ids (§5.1.1).

        An even id is a server's, for push. HEADERS on it is a connection fault even though the stream is idle (§5.1).
        """
        if id_ & 1 == 0:
            raise RemoteProtocolError("a client's stream has an odd id", PROTOCOL_ERROR)  # §5.1.1
        if self._streams.is_ignored(id_):
            # The client may not have read our GOAWAY, so the frames on this stream are not a flood.
            return self._idle_frames.refund(4)
        self._streams.last_id = id_  # whatever happens to the request, its id is used up
        try:
            self._receive_request(id_, fields, ends)
        except StreamError as error:
            self._fault(id_, error, claimed_head(fields, id_))

    def _receive_request(self, id_: int, fields: Fields, ends: bool) -> None:
        """Open a stream for a request. Raises StreamError, and opens no stream, if the request is refused or malformed.

        A request that is merely too large is understood, and can be answered. So its stream is opened, with a StreamFault in
        place of the RequestHead. REFUSED_STREAM says that no app has seen the request, so that comes before everything (§8.7).
        """
        if len(self._streams.open) >= self.limits.max_streams:  # §5.1.2
            raise StreamError("too many streams", REFUSED_STREAM)
        head = self._coder.parse_request(fields, id_)
        length = content_length(head.headers)
        if length and ends:
            raise malformed(f"Content-Length is {length}, and no content came")  # §8.1.1
        stream = self._streams.add(id_, head.method)
        self._move(stream, RECEIVE_HEADERS)
        stream.head_received = True
        stream.expect_content(length)
        stream.priority = parse_priority(head.headers.get("priority"))  # RFC 9218 §5
        self._idle_frames.refund(1)
        status, reason = self._refusal(head)
        self._events.append(StreamFault(id_, ENHANCE_YOUR_CALM, reason, head, status) if status else head)
        if ends:
            self._receive_end(stream, Headers())

    def _refusal(self, head: RequestHead) -> tuple[int, str]:
        """Return the status and the reason with which HTTP/1.1 would refuse a head as too large (RFC 9110 §5.4); (0, "") for a
        head that fits. For fields the status is 431 (§10.5.1)."""
        line, most = f"{head.method} {head.target} HTTP/1.1", self.limits.max_start_line
        if len(line) > most:
            status = 501 if len(head.method) > most else 414  # RFC 9112 §3
            return status, f"{len(line)} bytes of method and target, and max_start_line is {most}"
        reason = exceeded_limit(head.headers, self.limits.max_head, self.limits.max_headers, line)
        return (431 if reason else 0), reason

    def _receive_response(self, stream: Stream, fields: Fields, ends: bool) -> None:
        """Receive the head of a final or interim (100, 103) response. Raises StreamError if it is malformed or too large."""
        head = self._coder.parse_response(fields, stream.id)
        if reason := exceeded_limit(head.headers, self.limits.max_head, self.limits.max_headers):
            raise StreamError(reason, ENHANCE_YOUR_CALM)
        if head.status < 200:  # RFC 9110 §15.2: an interim response, expected or not; the final one is still to come
            if ends:  # §8.1
                raise malformed("an interim response that ends its stream")
            self._idle_frames.spend()
            self._events.append(head)
            return
        stream.head_received = True
        # RFC 9110 §9.3.6: DATA belongs to the tunnel, and a Content-Length means nothing.
        if stream.becomes_tunnel(head.status):
            stream.is_tunnel = True
            stream.expect_content(None)
        elif has_no_content(stream.method, head.status):  # §8.1.1: e.g. HEAD: its Content-Length is that of a GET
            stream.expect_content(0)
        else:
            stream.expect_content(content_length(head.headers))
        if ends:
            stream.check_complete()
        self._events.append(head)
        if ends:
            self._receive_end(stream, Headers())

    def _receive_trailers(self, stream: Stream, fields: Fields, ends: bool) -> None:
        """Receive trailers, which have to end their message. Raises StreamError if they are malformed or too large.

        A server that has not answered yet can still reply with 431, so in that case the fault has a status and replaces the
        EndOfMessage.
        """
        if not ends:
            raise malformed("a second head, or trailers without END_STREAM")  # §8.1
        trailers = parse_trailers(fields)
        reason = exceeded_limit(trailers, self.limits.max_head, self.limits.max_headers)
        if reason and (self.role is CLIENT or stream.head_sent):  # it is too late for a 431
            raise StreamError(reason, ENHANCE_YOUR_CALM)
        self._receive_end(stream, trailers)
        if reason:
            self._events[-1] = StreamFault(stream.id, ENHANCE_YOUR_CALM, reason, None, 431)

    # -- receiving: the other types, in the order of §6

    def _receive_priority(self, frame: Frame) -> None:
        """Check a PRIORITY frame (§6.3), and forget it: RFC 9113 §5.3.2 has retired its meaning. It may come on any stream,
        even an idle one. A peer that has set NO_RFC7540_PRIORITIES may write in it whatever it likes (RFC 9218 §2.1)."""
        self._idle_frames.spend()
        frames.check_priority(frame, ignore_priority=self._reader.ignores_priority)

    def _receive_reset(self, frame: Frame) -> None:
        """Close a stream that the peer resets. If it was closed already, frames after the reset do not count as late. What has
        come before the reset stays: a server may send a whole response, and then decline the rest of the request (§8.1).

        A reset is never answered by a reset (§5.4.2), or two endpoints would go on for ever. So even a senseless reset on a
        closed stream is not a stream fault. It spends from the budget.
        """
        self._streams.check_opened(frame.stream)  # §6.4
        stream = self._streams.open.get(frame.stream)
        if stream is None:
            self._streams.closed.end(frame.stream)
            return self._idle_frames.spend()
        code = frames.parse_number(frame.payload)
        if self.role is SERVER:  # CVE-2023-44487: a request costs its client two small frames, and us a task running the app
            self._resets.spend()
        self._move(stream, RECEIVE_RESET)
        self._events.append(Reset(frame.stream, code))

    def _receive_settings(self, frame: Frame) -> None:
        """Receive the peer's settings, or its ACK of ours. The first frame is free, later frames spend from the budget."""
        if self._settings.received:
            self._idle_frames.spend()
        self._settings.received = True
        if frame.flags & frames.ACK:
            return self._receive_acknowledgement()
        values = frames.parse_settings(frame.payload)
        for name, value in values:  # §6.5.3: in the order in which they appear
            self._settings.receive(name, value)
            self._apply(name, value)
        self._settings.received_frame()
        self._events.append(Settings(values))

    def _receive_acknowledgement(self) -> None:
        """Put our oldest unacknowledged settings into force: the peer has just acknowledged them.

        From its ACK on the peer has to keep to the size of our compression table (§4.3.1), and of our windows. Not earlier:
        content that the peer sent before it knew of a smaller window is not a fault (§6.9.3).
        """
        if self.settings_acknowledged:  # an unexpected ACK does no harm
            return
        for name, value in self._settings.receive_ack():
            if name == frames.INITIAL_WINDOW_SIZE:
                self._streams.resize_receive_windows(value)
            elif name == frames.HEADER_TABLE_SIZE:
                self._coder.resize_decoder(value)
        self._events.append(SettingsAck())

    def _apply(self, name: int, value: int) -> None:
        """Obey one of the peer's settings from now on (§6.5). A setting that we do not know changes nothing (§5.5).

        Our next field block announces a new size of the compression table (§4.3.1). The other settings that concern us are
        read where they matter: the number of streams and the size of fields before we open a stream, ENABLE_CONNECT_PROTOCOL
        before an extended CONNECT. MAX_FRAME_SIZE allows more than we ever send.
        """
        if name == frames.HEADER_TABLE_SIZE:
            self._coder.resize_encoder(value)
        elif name == frames.INITIAL_WINDOW_SIZE:
            self._idle_frames.spend()  # a frame can repeat this setting, each time with work for every open stream
            # §6.9.2: each window changes by the difference, perhaps below zero. The connection's window does not change.
            change = value - self._streams.initial_send_window
            self._streams.initial_send_window = value
            for stream in self._streams.open.values():
                self._grow(stream, change, RemoteProtocolError)
        elif name == frames.NO_RFC7540_PRIORITIES:
            self._reader.ignores_priority = value == 1  # RFC 9218 §2.1

    def _grow(self, stream: Stream, change: int, fault: Callable[[str, int], Exception]) -> None:
        """Change what we may send on a stream. Raises ``fault`` if its window exceeds 2^31-1 (§6.9.1, §6.9.2)."""
        if not stream.send_window.grow(change):
            raise fault("a window over 2^31-1", FLOW_CONTROL_ERROR)
        self._schedule(stream)

    def _receive_ping(self, frame: Frame) -> None:
        """Receive a PING, to which ``reply`` returns the answer, or the answer to a PING of ours.

        Only the bit of ACK counts: the other seven bits have no meaning for a PING, so they are ignored (§4.1).
        """
        self._idle_frames.spend()
        self._events.append(Ping(frame.payload, frame.flags & frames.ACK != 0))

    def _receive_goaway(self, frame: Frame) -> None:
        """Note the last stream that the peer will process. Our requests on higher streams are over (§8.7)."""
        self._idle_frames.spend()
        last, code, debug = frames.parse_goaway(frame.payload)
        if self.going_away is not None and last > self.going_away.last:  # §6.8
            raise RemoteProtocolError("a GOAWAY whose last stream grows", PROTOCOL_ERROR)
        self.going_away = GoAway(last, code, debug)
        self._events.append(self.going_away)
        if self.role is CLIENT:  # no frames will follow; a Reset tells the app that it can make the request elsewhere
            for stream in [stream for id_, stream in self._streams.open.items() if id_ > last]:
                self._move(stream, RECEIVE_RESET)
                self._events.append(Reset(stream.id, REFUSED_STREAM))

    def _receive_window_update(self, frame: Frame) -> None:
        """Receive credit for a stream, or (stream 0) for the connection. Credit of 0 is a fault (§6.9), and so is a window
        over 2^31-1 (§6.9.1): of the stream, or of the connection."""
        self._idle_frames.spend()
        increment = frames.parse_window_update(frame.payload)
        if frame.stream:
            self._streams.check_opened(frame.stream)
            if not increment:  # a fault even on a closed stream: the verdict must not depend on how fast we answer
                raise malformed("an increment of 0")
            stream = self._streams.open.get(frame.stream)
            if stream is None:
                return  # §5.1, §6.9: an update may still arrive shortly after the stream was closed
            self._grow(stream, increment, StreamError)
        elif not increment:
            raise RemoteProtocolError("an increment of 0", PROTOCOL_ERROR)  # §6.9
        elif not self._send_window.grow(increment):
            raise RemoteProtocolError("a window over 2^31-1", FLOW_CONTROL_ERROR)
        self._events.append(WindowUpdate(frame.stream, increment))

    _RECEIVERS: ClassVar[dict[int, Callable[["Connection", Frame], None]]] = {
        frames.DATA: _receive_data,
        frames.HEADERS: _receive_headers,
        frames.PRIORITY: _receive_priority,
        frames.RST_STREAM: _receive_reset,
        frames.SETTINGS: _receive_settings,
        frames.PING: _receive_ping,
        frames.GOAWAY: _receive_goaway,
        frames.WINDOW_UPDATE: _receive_window_update,
    }

    # -- what the protocol demands

    def reply(self, event: Event) -> Event | None:
        """Return what the protocol demands in answer to an event, or None.

            Settings                        SettingsAck (§3.4, §6.5.3)
            Ping                            Ping with ``ack`` (§6.7); None for an answer to a Ping of ours
            StreamFault without a status    Reset with its code
            Data, Discarded                 WindowUpdate of the connection, once half of its window is owed; else None
            Reset                           None: a reset is not answered by a reset (§5.4.2)
        """
        if type(event) is Settings:
            return SettingsAck()
        if type(event) is Ping:
            return None if event.ack else Ping(event.data, ack=True)
        if type(event) is StreamFault and event.stream in self._faults:
            return Reset(event.stream, event.code)
        if type(event) in (Data, Discarded) and (due := self._receive_window.due):
            return WindowUpdate(0, due)
        return None

    def farewell(self, error: ProtocolError) -> list[Event]:
        """Return a GOAWAY with the error code and the last stream processed (§5.4.1, §6.8); an empty list before our greeting.

        The client makes the requests above that number again elsewhere. A number too low would have a request acted on twice
        (§8.7).
        """
        last = min(self.last_stream, self._streams.last_accepted)
        return [GoAway(last, error.code, str(error).encode())] if self._greeted else []
