r"""WebSocket (RFC 6455), and its compression (RFC 7692). After the handshake a client prints each message.

A right client answers a fault by a Close with a code, and ends the connection. The Close is a SHOULD (RFC 6455 §7.1.7).
"""

import zlib
from struct import pack

from minproto.prove.case import Pause, Shut, Trickle
from minproto.prove.trap.snare import ANY, EITHER, FAILS, PRINTS, Reset, Snare, Step
from minproto.prove.trap.snares.controls import CLOSE_1000, SWITCH, TEXT_HELLO
from minproto.websocket import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, encode_frame

DEFLATE = SWITCH.replace(b"{accept}\r\n", b"{accept}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n")
_ENDED = "(closed|reset)"
_PROPER = rf"close=(1000|1005) {_ENDED}"
_SWITCH_LINE, _UPGRADE, _CONNECTION, _ACCEPT = SWITCH.split(b"\r\n")[:4]
_HELLO = TEXT_HELLO + CLOSE_1000


def close(code: int, reason: bytes = b"") -> bytes:
    """Return a Close frame."""
    return encode_frame(FIN | CLOSE, pack("!H", code) + reason)


def deflated(data: bytes) -> bytes:
    """Return data as RFC 7692 §7.2.1 compresses a message."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _answer(name: str, entry: str, lines: tuple[bytes, ...], says: str, outcome: str = FAILS, needs: str = "") -> Snare:
    """Return a snare whose answer to the handshake has these lines. Frames with "hello" follow."""
    after = _HELLO if outcome == PRINTS else _HELLO.replace(b"\x05hello", b"\x08smuggled")
    return Snare(f"websocket/handshake/{name}", entry, (b"\r\n".join([*lines, after]),), says, outcome,
                 right=_PROPER if outcome == PRINTS else _ENDED, acceptable=rf".*{_ENDED}", needs=needs)  # fmt: skip


def _fault(name: str, entry: str, data: bytes, says: str, code: int = 1002, *more: Step) -> Snare:
    """Return a snare whose frames have a fault: a right client says a Close with this code."""
    return Snare(f"websocket/frames/{name}", entry, (SWITCH + data, *more), says, FAILS, right=rf"close={code} {_ENDED}",
                 acceptable=rf"(close=\d+ )?{_ENDED}")  # fmt: skip


def _longer(name: str, header: bytes, says: str) -> Snare:
    """Return a snare whose frame has a longer length than it needs. No server may send it; a client may take it or not."""
    return Snare(f"websocket/frames/length-in-{name}", "6455-5.2-shortest-length", (SWITCH + header + b"hello" + CLOSE_1000,),
                 says, EITHER, right=rf"close=1002 {_ENDED}", acceptable=rf"(close=\d+ )?{_ENDED}")  # fmt: skip


def _good(name: str, entry: str, data: bytes, says: str, prints: str = "hello", right: str = "") -> Snare:
    """Return a snare whose frames are right."""
    return Snare(f"websocket/frames/{name}", entry, (SWITCH + data + CLOSE_1000,), says, PRINTS, prints,
                 right=f"{right}{_PROPER}", acceptable=rf"{right}(close=\d+ )?{_ENDED}")  # fmt: skip


def _end(name: str, entry: str, frame: bytes, says: str, right: str) -> Snare:
    """Return a snare that ends with a Close of its own. Whether the code is an error, each program decides."""
    return Snare(f"websocket/close/{name}", entry, (SWITCH + TEXT_HELLO + frame,), says, ANY, right=rf"{right} {_ENDED}",
                 acceptable=rf"(close=\d+ )?{_ENDED}")  # fmt: skip


def _wrong_end(name: str, entry: str, frame: bytes, says: str, code: int = 1002) -> Snare:
    """Return a snare that ends with a Close that no server may send."""
    return Snare(f"websocket/close/{name}", entry, (SWITCH + frame,), says, FAILS, right=rf"close={code} {_ENDED}",
                 acceptable=rf"(close=\d+ )?{_ENDED}")  # fmt: skip


def _deflate(
    name: str, entry: str, data: bytes, says: str, code: int = 0, prints: str = "hello", params: bytes = b""
) -> Snare:
    """Return a snare with permessage-deflate. ``code``: of the Close that is right; 0 if all is right."""
    answer = DEFLATE.replace(b"permessage-deflate", b"permessage-deflate" + params)
    right, acceptable = (rf"close={code} {_ENDED}", rf"(close=\d+ )?{_ENDED}") if code else (_PROPER, rf".*{_ENDED}")
    return Snare(f"websocket/deflate/{name}", entry, (answer + data + (b"" if code else CLOSE_1000),), says,
                 FAILS if code else PRINTS, prints, right=right, acceptable=acceptable,
                 needs="permessage-deflate")  # fmt: skip


_TEN = deflated(b"hello, hello, hello")
_FIRST = (_SWITCH_LINE, _UPGRADE, _CONNECTION)
SNARES = (
    # ---- the answer to the handshake
    _answer("upper-case-values", "6455-4.1-answer-upgrade", (
        _SWITCH_LINE, b"Upgrade: WebSocket", b"Connection: keep-alive, UPGRADE", _ACCEPT, b""),
        "values in another case", PRINTS),
    _answer("status-200", "6455-4.1-other-status", (b"HTTP/1.1 200 OK", _UPGRADE, _CONNECTION, _ACCEPT, b""),
            "the status is 200"),
    _answer("no-upgrade", "6455-4.1-answer-upgrade", (_SWITCH_LINE, _CONNECTION, _ACCEPT, b""), "no Upgrade"),
    _answer("other-upgrade", "6455-4.1-answer-upgrade", (_SWITCH_LINE, b"Upgrade: x", _CONNECTION, _ACCEPT, b""),
            "Upgrade names another protocol"),
    _answer("no-connection", "6455-4.1-answer-connection", (_SWITCH_LINE, _UPGRADE, _ACCEPT, b""), "no Connection"),
    _answer("no-accept", "6455-4.1-answer-accept", (*_FIRST, b""), "no Sec-WebSocket-Accept"),
    _answer("wrong-accept", "6455-4.1-answer-accept", (*_FIRST, b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b""),
            "Sec-WebSocket-Accept is that of another key"),
    _answer("longer-accept", "6455-4.1-answer-accept", (*_FIRST, b"Sec-WebSocket-Accept: AAAA{accept}", b""),
            "Sec-WebSocket-Accept has four characters too many"),
    _answer("extension", "6455-4.1-answer-extension", (*_FIRST, _ACCEPT, b"Sec-WebSocket-Extensions: x-not-offered", b""),
            "an extension that was not offered"),
    _answer("subprotocol", "6455-4.1-answer-subprotocol", (*_FIRST, _ACCEPT, b"Sec-WebSocket-Protocol: not-offered", b""),
            "a subprotocol that was not offered"),
    _answer("deflate-twice", "7692-5-two-extensions-for-rsv1", (
        *_FIRST, _ACCEPT, b"Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate", b""),
        "permessage-deflate is accepted twice", needs="permessage-deflate"),
    _answer("deflate-unknown-parameter", "7692-7.1-client-fails", (
        *_FIRST, _ACCEPT, b"Sec-WebSocket-Extensions: permessage-deflate; x=1", b""),
        "permessage-deflate has an unknown parameter", needs="permessage-deflate"),
    _answer("deflate-7-bits", "7692-7.1.2.1-eight-to-fifteen", (
        *_FIRST, _ACCEPT, b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7", b""),
        "a window of 7 bits", needs="permessage-deflate"),
    _answer("deflate-16-bits", "7692-7.1.2.1-eight-to-fifteen", (
        *_FIRST, _ACCEPT, b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16", b""),
        "a window of 16 bits", needs="permessage-deflate"),
    _answer("deflate-repeated-parameter", "7692-7.1-client-fails", (
        *_FIRST, _ACCEPT,
        b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        b""), "a parameter is repeated", needs="permessage-deflate"),
    Snare("websocket/handshake/byte-by-byte", "6455-5.4-no-frame-boundaries",
          (SWITCH, Pause(0.05), Trickle(_HELLO)), "each byte of the frames in a segment of its own", right=_PROPER,
          acceptable=rf".*{_ENDED}"),
    Snare("websocket/handshake/closed", "6455-7.1.7-client-closes", (Shut(),), "the connection ends without an answer", FAILS,
          right=_ENDED),
    # ---- frames
    _good("fragments", "6455-5.4-both-kinds", encode_frame(TEXT, b"he") + encode_frame(CONTINUATION, b"") +
          encode_frame(FIN | CONTINUATION, b"llo"), "a message in three fragments, one of which is empty"),
    _good("ping-between-fragments", "6455-5.4-control-in-the-middle", encode_frame(TEXT, b"hel") +
          encode_frame(FIN | PING, b"hi") + encode_frame(FIN | CONTINUATION, b"lo"), "a Ping between two fragments",
          right=r"pong=\[hi\] "),
    _good("ping", "6455-5.5.3-same-data", encode_frame(FIN | PING, b"p" * 125) + TEXT_HELLO, "a Ping of 125 bytes",
          right=r"pong=\[p{125}\] "),
    _good("empty-ping", "6455-5.5.2-pong", encode_frame(FIN | PING, b"") + TEXT_HELLO, "an empty Ping", right=r"pong=\[\] "),
    _good("pong-unasked", "6455-5.5.3-unsolicited", encode_frame(FIN | PONG, b"hi") + TEXT_HELLO, "a Pong without a Ping"),
    _good("character-cut", "6455-5.4-no-frame-boundaries", encode_frame(TEXT, b"hello \xc3") +
          encode_frame(FIN | CONTINUATION, b"\xa9"), "a character in two fragments", "hello é"),
    _good("126-bytes", "6455-5.2-shortest-length", encode_frame(FIN | TEXT, b"hello" + b"a" * 121), "a message of 126 bytes",
          "hello" + "a" * 121),
    _good("70000-bytes", "6455-5.2-shortest-length", encode_frame(FIN | TEXT, b"hello" + b"a" * 70_000),
          "a message of 70,005 bytes",
          "hello" + "a" * 70_000),
    _fault("masked", "6455-5.1-masked-closes", encode_frame(FIN | TEXT, b"smuggled", b"1234"), "a masked frame"),
    _fault("rsv1", "6455-5.2-reserved-bit-fails", encode_frame(FIN | RSV1 | TEXT, b"smuggled"), "RSV1 without an extension"),
    _fault("rsv2", "6455-5.2-reserved-bit-fails", encode_frame(FIN | 0x20 | TEXT, b"smuggled"), "RSV2"),
    _fault("rsv3", "6455-5.2-reserved-bit-fails", encode_frame(FIN | 0x10 | TEXT, b"smuggled"), "RSV3"),
    _fault("rsv1-in-a-ping", "6455-5.2-reserved-bit-fails", encode_frame(FIN | RSV1 | PING, b"a"), "RSV1 in a Ping"),
    _fault("unknown-opcode", "6455-5.2-unknown-opcode-fails", encode_frame(FIN | 3, b"smuggled"), "the opcode 3"),
    _fault("unknown-control", "6455-5.2-unknown-opcode-fails", encode_frame(FIN | 0xB, b""), "the opcode 0xb"),
    _fault("continuation-of-nothing", "6455-5.4-fragmented", encode_frame(FIN | CONTINUATION, b"smuggled"),
           "a continuation of no message"),
    _fault("first-of-two-continuations", "6455-5.4-fragmented",
           encode_frame(CONTINUATION, b"a") + encode_frame(FIN | CONTINUATION, b"smuggled"),
                        "two continuations of no message"),
    _fault("message-in-a-message", "6455-5.4-no-interleaving", encode_frame(TEXT, b"a") + encode_frame(FIN | TEXT,
           b"smuggled"),
           "a message within another"),
    _fault("binary-in-a-text", "6455-5.4-one-type", encode_frame(TEXT, b"a") + encode_frame(FIN | BINARY, b"smuggled"),
           "a fragment of another type"),
    _fault("ping-in-fragments", "6455-5.4-control-not-fragmented", encode_frame(PING, b"a"), "a Ping without FIN"),
    _fault("close-in-fragments", "6455-5.4-control-not-fragmented", encode_frame(CLOSE, b"\x03\xe8"), "a Close without FIN"),
    _fault("ping-of-126-bytes", "6455-5.5-control-of-125-bytes", bytes([FIN | PING, 126, 0, 126]) + b"a" * 126,
           "a Ping of 126 bytes"),
    _longer("16-bits", bytes([FIN | TEXT, 126, 0, 5]), "a length of 5 in 16 bits"),
    _longer("64-bits", bytes([FIN | TEXT, 127, 0, 0, 0, 0, 0, 0, 0, 5]), "a length of 5 in 64 bits"),
    _fault("length-with-its-first-bit", "6455-5.2-length-63-bits", bytes([FIN | TEXT, 127, 128, 0, 0, 0, 0, 0, 0, 8]),
           "a length of 64 bits whose first bit is set"),
    _fault("not-utf-8", "6455-8.1-utf-8-fails", encode_frame(FIN | TEXT, b"hello \xff"), "a text that is not UTF-8", 1007),
    _fault("surrogate", "6455-8.1-utf-8-fails", encode_frame(FIN | TEXT, b"hello \xed\xa0\x80"),
           "half a surrogate pair", 1007),
    _fault("overlong", "6455-8.1-utf-8-fails", encode_frame(FIN | TEXT, b"hello \xc0\xaf"), "a slash in two bytes", 1007),
    _fault("half-a-character", "6455-5.6-text-is-utf-8", encode_frame(FIN | TEXT, b"hello \xc3"), "half a character", 1007),
    Snare("websocket/frames/cut", "6455-7.2.1-lost", (SWITCH + TEXT_HELLO[:-2], Shut()), "the connection ends within a frame",
          FAILS, right=rf"(close=\d+ )?{_ENDED}"),
    # ---- the end
    _end("1000", "6455-5.5.1-close-answered", close(1000, b"bye"), "a Close with 1000 and a reason", "close=1000"),
    _end("no-code", "6455-5.5.1-close-answered", close(0)[:1] + b"\0", "a Close without a code", "close=(1005|1000)"),
    _end("1001", "6455-5.5.1-close-answered", close(1001), "a Close with 1001", "close=1001"),
    _end("3000", "6455-7.4.2-ranges", close(3000), "a Close with 3000", "close=3000"),
    _end("4999", "6455-7.4.2-ranges", close(4999), "a Close with 4999", "close=4999"),
    Snare("websocket/close/data-after-it", "6455-7.1.1-trailing-bytes",
          (SWITCH + _HELLO + encode_frame(FIN | TEXT, b"smuggled"),), "a message after the Close", EITHER, right=_PROPER,
          acceptable=rf"(close=\d+ )?{_ENDED}"),
    Snare("websocket/close/ping-after-it", "6455-5.5.2-pong", (SWITCH + _HELLO + encode_frame(FIN | PING, b""),),
          "a Ping after the Close, which is not answered", EITHER, right=_PROPER, acceptable=rf"(close=\d+ )?{_ENDED}"),
    _wrong_end("one-byte", "6455-5.5.1-code-of-two-bytes", encode_frame(FIN | CLOSE, b"\x03"), "a Close with one byte"),
    _wrong_end("126-bytes", "6455-5.5-control-of-125-bytes", bytes([FIN | CLOSE, 126, 0, 126]) + b"\x03\xe8" + b"a" * 124,
               "a Close of 126 bytes"),
    _wrong_end("1005", "6455-7.4.1-1005", close(1005), "a Close with 1005, which stands for no code"),
    _wrong_end("1006", "6455-7.4.1-1006", close(1006), "a Close with 1006, which stands for no Close"),
    _wrong_end("1015", "6455-7.4.1-1015", close(1015), "a Close with 1015, which stands for a failure of TLS"),
    _wrong_end("999", "6455-7.4.2-ranges", close(999), "a Close with 999"),
    _wrong_end("0", "6455-7.4.2-ranges", close(0), "a Close with 0"),
    _wrong_end("5000", "6455-7.4.2-ranges", close(5000), "a Close with 5000"),
    _wrong_end("reason-not-utf-8", "6455-5.5.1-reason-of-utf-8", close(1000, b"\xff"), "a reason that is not UTF-8", 1007),
    Snare("websocket/close/tcp-alone", "6455-7.2.1-lost", (SWITCH + TEXT_HELLO, Shut()), "the connection ends without a Close",
          FAILS, right=rf"(close=\d+ )?{_ENDED}"),
    Snare("websocket/close/reset", "6455-7.2.1-lost", (SWITCH + TEXT_HELLO, Reset()), "the connection is reset", FAILS),
    # ---- permessage-deflate
    _deflate("compressed", "7692-6.2-compressed", encode_frame(FIN | RSV1 | TEXT, _TEN), "a compressed message",
             prints="hello, hello, hello"),
    _deflate("not-compressed", "7692-6.2-uncompressed", TEXT_HELLO, "a message that is not compressed"),
    _deflate("in-fragments", "7692-6.2-compressed", encode_frame(RSV1 | TEXT, _TEN[:3]) +
             encode_frame(FIN | CONTINUATION, _TEN[3:]), "a compressed message in fragments", prints="hello, hello, hello"),
    _deflate("empty", "7692-7.2.2-tail-added", encode_frame(FIN | RSV1 | TEXT, b"\0") + TEXT_HELLO,
             "an empty message, compressed"),
    _deflate("window-kept", "7692-7.2.2-client-keeps-window", encode_frame(FIN | RSV1 | TEXT, deflated(b"Hello")) +
             encode_frame(FIN | RSV1 | TEXT, b"\xf2\x00\x11\x00\x00"),
             "a message that repeats the one before, from the window", prints="Hello\nHello"),
    _deflate("window-dropped", "7692-6.2-compressed", encode_frame(FIN | RSV1 | TEXT, _TEN) * 2,
             "two messages, each with an empty window", prints="hello, hello, hello\nhello, hello, hello",
             params=b"; server_no_context_takeover"),
    _deflate("final-block", "7692-7.2.1-padding", encode_frame(FIN | RSV1 | TEXT, b"\xcb\x48\xcd\xc9\xc9\x07\x00\x00"),
             "a message whose block has BFINAL"),
    _deflate("stored-block", "7692-7.2.1-deflate", encode_frame(FIN | RSV1 | TEXT, b"\0\x05\0\xfa\xffhello\0"),
             "a message in a block that is only stored"),
    _deflate("rsv1-in-a-continuation", "7692-6.1-refuses-rsv1", encode_frame(RSV1 | TEXT, _TEN[:3]) +
             encode_frame(FIN | RSV1 | CONTINUATION, _TEN[3:]), "RSV1 in a continuation", 1002),
    _deflate("rsv1-in-a-ping", "7692-6.1-refuses-rsv1", encode_frame(FIN | RSV1 | PING, _TEN), "a compressed Ping", 1002),
    _deflate("no-deflate", "7692-7.2.1-deflate", encode_frame(FIN | RSV1 | TEXT, b"\xff\xff\xff\xffsmuggled"),
             "a message with RSV1 that is no DEFLATE", 1007),
    _deflate("not-utf-8", "7692-6.1-utf-8-after-inflating", encode_frame(FIN | RSV1 | TEXT, deflated(b"hello \xff")),
             "a compressed text that is not UTF-8", 1007),
)  # fmt: skip
