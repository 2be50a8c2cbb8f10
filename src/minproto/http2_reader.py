r"""HTTP/2's input: bytes into frames, and several frames into one field block (RFC 9113 §3.4, §4.1, §6.10).

The network cuts a connection's bytes anywhere. The reader turns them into whole frames, in order:

    50 52 49 20 2a 20 48 54 54 50 2f 32 2e 30 0d 0a ...   the preface, 24 bytes: a client's first words
    00 00 00  04 00  00 00 00 00                          SETTINGS, no payload
    00 00 02  01 01  00 00 00 01   82 87                  HEADERS, END_STREAM, stream 1: the first two bytes of a field block
    00 00 02  09 04  00 00 00 01   84 41                  CONTINUATION, END_HEADERS: the other two bytes

A *field block* is the compressed form of a message's fields. A block that exceeds the maximum size of a frame continues
in CONTINUATION frames, and only the frame with the flag END_HEADERS completes it. Only the reader sees a
CONTINUATION: it returns the example's last two frames as one HEADERS frame of four bytes, once both have arrived.

    >>> from minproto.http2_frames import PREFACE, encode_settings
    >>> buffer = Buffer(limit=100)
    >>> reader = FrameReader(buffer, PREFACE, ReceiveWindow(100), Budget(10, "idle frames"), max_block=100, max_settings=4)
    >>> begin, more = bytes.fromhex("000002 0101 00000001 8287"), bytes.fromhex("000002 0904 00000001 8441")
    >>> for chunk in (PREFACE[:20], PREFACE[20:] + encode_settings([]) + begin, more):
    ...     stored = buffer.append(chunk)
    ...     while (frame := reader.next_frame()) is not None:
    ...         print(frame)
    Frame(type=4, flags=0, stream=0, payload=b'')
    Frame(type=1, flags=1, stream=1, payload=b'\x82\x87\x84A')

Three things are easy to get wrong:

- **Faults have to be found early.** Most faults are visible in the nine bytes of a header: type, stream and length. The
  reader checks a header as soon as it is complete, so that no payload is stored for a frame that will be refused.
- **Nothing may interrupt a field block.** Both ends have one compression table, which each block changes. So a block has to be
  read as one piece, and a frame of another type or stream between the block's frames is a connection fault (§4.3).
- **A field block may be endless.** Each of its frames is small, and the block is not complete before END_HEADERS. So the
  number of its bytes has a limit, and so has the number of its frames, which may be empty (*CONTINUATION flood*,
  CVE-2024-27316).

Every fault that the reader finds is a connection fault: RemoteProtocolError.
"""

from minproto.buffer import Buffer
from minproto.core import RemoteProtocolError
from minproto.http2_flow import ReceiveWindow
from minproto.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    HEADER_SIZE,
    HEADERS,
    PROTOCOL_ERROR,
    SETTING_SIZE,
    SETTINGS,
    Frame,
    Header,
    check_header,
    parse_header,
    parse_headers,
)
from minproto.http2_streams import Budget


class FrameReader:
    """Takes whole frames from a receive buffer, and checks everything that a frame's header shows."""

    __slots__ = (
        "_block", "_block_begin", "_buffer", "_idle_frames", "_is_first", "_max_block", "_max_settings", "_preface", "_window",
        "header", "ignores_priority",
    )  # fmt: skip

    def __init__(
        self,
        buffer: Buffer,
        preface: bytes,
        window: ReceiveWindow,
        idle_frames: Budget,
        *,
        max_block: int,
        max_settings: int,
    ) -> None:
        """``preface``: the bytes that have to come first: PREFACE from a client, b"" from a server.

        ``window``: the connection's receive window, which no DATA frame may exceed. ``idle_frames``: the budget from
        which each CONTINUATION spends one. ``max_block``: the maximum number of bytes of a field block, across all its frames.
        ``max_settings``: the maximum number of settings in one frame.
        """
        self._buffer = buffer
        self._preface = preface  # the part that has not arrived yet
        self._window = window
        self._idle_frames = idle_frames
        self._max_block = max_block
        self._max_settings = max_settings
        self._is_first = True  # no frame has arrived yet: the first frame has to be SETTINGS
        self.header: Header | None = None
        """The header of the frame whose payload has not arrived yet; None between two frames."""
        self.ignores_priority = False
        """Whether the peer has set NO_RFC7540_PRIORITIES to 1: then no content of a priority is a fault (RFC 9218 §2.1)."""
        self._block_begin: Frame | None = None  # the HEADERS frame of the unfinished field block,
        self._block = bytearray()  # and the bytes of that block so far

    @property
    def in_frame(self) -> bool:
        """Return whether the peer has begun something that it has to complete: a frame or a field block.

        Between two frames the peer may be silent for as long as it likes. Within a frame, or between HEADERS and the last
        CONTINUATION, the peer may not be silent for long: a shell limits that time.
        """
        return self._buffer.size > 0 or self.header is not None or self._block_begin is not None

    @property
    def buffered(self) -> int:
        """The number of pending bytes: the bytes of an unfinished frame, and of an unfinished field block."""
        return self._buffer.size + len(self._block)

    def next_frame(self) -> Frame | None:
        """Return the next frame, or None if it is not complete. A field block is returned as one HEADERS frame, however
        many frames it had.

        The payload of a HEADERS frame is only the field block, without padding or priority. Raises RemoteProtocolError.
        """
        if self._preface and not self._skip_preface():
            return None
        while (frame := self._whole_frame()) is not None:
            if frame.type == HEADERS or frame.type == CONTINUATION:
                frame = self._add_to_block(frame)
            if frame is not None:
                return frame
        return None

    def _skip_preface(self) -> bool:
        """Remove what has arrived of the preface, and return whether it is complete. Any wrong byte is an error (§3.4)."""
        found = self._buffer.take(len(self._preface))
        if not self._preface.startswith(found):
            raise RemoteProtocolError("this is not the preface of HTTP/2", PROTOCOL_ERROR)
        self._preface = self._preface[len(found) :]
        return not self._preface

    def _whole_frame(self) -> Frame | None:
        """Return the next frame as it was sent, once its payload has arrived; None before that.

        The header is removed from the buffer and kept, so that it is checked only once, however many chunks the payload has.
        """
        header = self.header or self._read_header()
        if header is None or self._buffer.size < header.length:
            return None
        self.header = None
        self._is_first = False
        return Frame(header.type, header.flags, header.stream, self._buffer.take(header.length))

    def _read_header(self) -> Header | None:
        """Parse the nine bytes of a header, and refuse a faulty frame before waiting for its payload."""
        if self._buffer.size < HEADER_SIZE:
            return None
        header = parse_header(self._buffer.peek(0, HEADER_SIZE))
        self._check_order(header)
        check_header(header)
        self._check_room(header)
        self._buffer.skip(HEADER_SIZE)
        self.header = header
        return header

    def _check_order(self, header: Header) -> None:
        """Refuse a frame that may not come at this point.

        The first frame has to be SETTINGS without ACK. An HTTP/1.1 server, for example, answers our preface with ``HTTP/1.1
        400``: the first nine bytes look like the header of a frame of type 0x50, so the error can name the cause at once.
        """
        if self._is_first and (header.type != SETTINGS or header.flags & ACK):  # §3.4: this detects another protocol at once
            raise RemoteProtocolError("this is not HTTP/2: the first frame has to be SETTINGS", PROTOCOL_ERROR)
        begin = self._block_begin
        continues = header.type == CONTINUATION
        if continues != (begin is not None) or (begin is not None and header.stream != begin.stream):
            # §4.3, §6.2, §6.10: between HEADERS and the last CONTINUATION of a block nothing else may come, on any stream.
            # Even a frame of an unknown type, which is ignored everywhere else, is a fault here (§5.5).
            raise RemoteProtocolError("a field block that is interrupted, or continued without a beginning", PROTOCOL_ERROR)

    def _check_room(self, header: Header) -> None:
        """Refuse a payload that exceeds one of our limits, before the first byte of the payload is stored.

        Only DATA needs credit. If other frames waited for it, a full window would stop the frame that opens it (§6.9).
        The limit of a field block is a limit for each string in the block as well (RFC 7541 §7.4).
        """
        length, type_, _, _ = header
        if type_ == DATA and length > self._window.window:  # §6.9.1
            raise RemoteProtocolError("DATA beyond the connection's window", FLOW_CONTROL_ERROR)
        if type_ in (HEADERS, CONTINUATION) and len(self._block) + length > self._max_block:
            raise RemoteProtocolError("a field block too large", ENHANCE_YOUR_CALM)
        if type_ == SETTINGS and length > self._max_settings * SETTING_SIZE:
            raise RemoteProtocolError("too many settings in a frame", ENHANCE_YOUR_CALM)

    def _add_to_block(self, frame: Frame) -> Frame | None:
        """Add a HEADERS or CONTINUATION frame to the field block. Return the block as one frame when it is complete."""
        if frame.type == HEADERS:
            self._block_begin = frame
            self._block += parse_headers(frame, ignore_priority=self.ignores_priority)
        else:
            self._idle_frames.spend()  # a CONTINUATION may be empty, so the bound in bytes alone would not stop a flood
            self._block += frame.payload
        begin = self._block_begin
        if begin is None or not frame.flags & END_HEADERS:
            return None
        block, self._block, self._block_begin = bytes(self._block), bytearray(), None
        return Frame(HEADERS, begin.flags, begin.stream, block)  # END_STREAM is a flag of the first frame (§6.2)
