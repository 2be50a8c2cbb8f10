r"""HTTP/2 (RFC 9113) and its compression of fields (RFC 7541). The right answer is a head, and DATA with "hello".

A fault of the connection is right if the client says GOAWAY with the code and ends the connection, and acceptable if it only
ends the connection: GOAWAY is a SHOULD (RFC 9113 §5.4.1). A stream error may be treated as one of the connection (§5.4.2).
"""

from dataclasses import replace
from struct import pack

from minproto.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from minproto.prove.case import Pause, Shut, Trickle, Wait
from minproto.prove.trap.frames import Frame, block, headers
from minproto.prove.trap.snare import ANY, EITHER, FAILS, NO_PUSH, PRINTS, Reset, Snare, Step
from minproto.prove.trap.snares.controls import CONTENT, HEAD
from minproto.prove.trap.watch import PING as PAYLOAD

GOOD = (HEAD, CONTENT)
_STATUS = (":status", "200")
_ENDED = "(closed|reset)"
_ANY = "1:|goaway"
"""The client has seen the fault."""


def _good(
    name: str, entry: str, steps: tuple[Step, ...], says: str, right: str = "", outcome: str = PRINTS
) -> Snare:
    """Return a snare without a fault."""
    return Snare(f"http2/{name}", entry, steps, says, outcome, right=rf"{right}((?!pong)\S+ )*(closed|reset|open)")


def _connection(name: str, entry: str, code: str, steps: tuple[Step, ...], says: str, why: str = "") -> Snare:
    """Return a snare with a fault of the connection, and then a right answer."""
    return Snare(f"http2/{name}", entry, (*steps, *GOOD), says, FAILS, right=rf"(ack )*goaway={code} {_ENDED}",
                 acceptable=rf"(.* )?{_ENDED}", why=why)  # fmt: skip


def _stream(name: str, entry: str, steps: tuple[Step, ...], says: str, code: str = "PROTOCOL_ERROR", why: str = "") -> Snare:
    """Return a snare with a fault of the stream."""
    return Snare(f"http2/{name}", entry, steps, says, FAILS, right=rf"1:{code}( goaway=NO_ERROR)? {_ENDED}",
                 acceptable=rf"(.* )?{_ENDED}", why=why)  # fmt: skip


def _malformed(name: str, entry: str, *fields: tuple[str, str], says: str) -> Snare:
    """Return a snare whose head is malformed."""
    return replace(_stream(f"malformed/{name}", entry, (headers(*fields), CONTENT), says), also=("9113-8.2.1-malformed",))


def _settings(*settings: tuple[int, int]) -> Frame:
    return Frame(SETTINGS, 0, b"".join([pack("!HL", name, value) for name, value in settings]), 0)


def _raw(payload: bytes) -> Frame:
    """Return HEADERS with a field block as it stands, after :status 200 (0x88)."""
    return Frame(HEADERS, END_HEADERS, b"\x88" + payload)


_PROTOCOL, _SIZE, _COMPRESSION, _FLOW = "PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "COMPRESSION_ERROR", "FLOW_CONTROL_ERROR"
_BLOCK = block(_STATUS, ("content-type", "text/plain"))
_PUSH = Frame(PUSH_PROMISE, END_HEADERS, pack("!L", 2) + block((":method", "GET"), (":path", "/x"), (":scheme", "http"),
                                                              (":authority", "a")))  # fmt: skip
SNARES = (
    # ---- frames
    _good("frames/unknown-type", "9113-4.1-unknown-types", (Frame(0xEE, 0, b"hi"), Frame(0xEE, 0xFF, b"hi", 0), *GOOD),
          "frames of an unknown type"),
    _good("frames/unused-flags", "9113-4.1-unused-flags-are-ignored",
          (Frame(PING, 0xFE, PAYLOAD, 0), Wait("pong"), Frame(HEADERS, 0xD2 & ~PADDED & ~0x20, _BLOCK[:5]),
           Frame(CONTINUATION, 0xFF, _BLOCK[5:]), Frame(DATA, END_STREAM | 0xF6, b"hello")),
          "flags that have no meaning, such as END_STREAM of a CONTINUATION", right="pong "),
    _good("frames/reserved-bit", "9113-4.1-reserved-bit-is-ignored", (HEAD._replace(reserved=1), CONTENT._replace(reserved=1)),
          "the reserved bit before the stream identifier"),
    _good("frames/padding", "9113-6.1-padding-too-long", (Frame(HEADERS, END_HEADERS | PADDED, b"\x03" + _BLOCK + bytes(3)),
          Frame(DATA, PADDED | END_STREAM, b"\xffhello" + bytes(255))), "padding"),
    _good("frames/priority", "9113-4.1-unknown-types",
          (Frame(PRIORITY, 0, bytes(4) + b"\x10"), Frame(HEADERS, END_HEADERS | 0x20, bytes(4) + b"\x10" + _BLOCK), CONTENT),
          "PRIORITY, which is deprecated"),
    _good("frames/16384-bytes", "9113-4.2-frames-of-16384-bytes", (HEAD, Frame(DATA, 0, b"a" * 16_379 + b"hello"),
          Frame(DATA, END_STREAM)), "a frame of 16,384 bytes, and an empty one"),
    _good("frames/byte-by-byte", "9113-5.2.2-frames-are-read-at-once",
          (Trickle(Frame(0xEE, 0, b"hi", 0).on_stream(0)), *GOOD), "each byte of a frame in a segment of its own"),
    _connection("frames/16385-bytes", "9113-4.2-larger-than-allowed", _SIZE, (HEAD, Frame(DATA, 0, bytes(16_385))),
                "a frame of 16,385 bytes"),
    _connection("frames/padding-too-long", "9113-6.1-padding-too-long", _PROTOCOL,
                (HEAD, Frame(DATA, PADDED, b"\x06hello")), "more padding than the frame has bytes"),
    _connection("frames/head-padding-too-long", "9113-6.2-padding-too-long", _PROTOCOL,
                (Frame(HEADERS, END_HEADERS | PADDED, b"\xff" + _BLOCK),), "more padding than HEADERS has bytes"),
    _connection("frames/data-on-stream-0", "9113-6.1-data-on-stream-0", _PROTOCOL, (Frame(DATA, 0, b"hi", 0),),
                "DATA on stream 0"),
    _connection("frames/headers-on-stream-0", "9113-6.2-headers-on-stream-0", _PROTOCOL, (HEAD._replace(on=0),),
                "HEADERS on stream 0"),
    _connection("frames/data-on-an-idle-stream", "9113-5.1-idle-takes-headers-and-priority", _PROTOCOL,
                (Frame(DATA, 0, b"hi", 1001),), "DATA on an idle stream"),
    _connection("frames/headers-on-an-even-stream", "9113-5.1-headers-on-a-servers-idle-stream", _PROTOCOL,
                (HEAD._replace(on=2),), "a response on a stream of the server"),
    # ---- field blocks
    _good("blocks/continuation", "9113-6.2-continued", (Frame(HEADERS, 0, _BLOCK[:5]), Frame(CONTINUATION, 0, _BLOCK[5:9]),
          Frame(CONTINUATION, END_HEADERS, _BLOCK[9:]), CONTENT), "a field block in three frames"),
    _connection("blocks/interrupted", "9113-6.2-interrupted", _PROTOCOL,
                (Frame(HEADERS, 0, _BLOCK[:5]), Frame(PING, 0, PAYLOAD, 0)), "a PING within a field block"),
    _connection("blocks/interrupted-by-an-unknown-type", "9113-5.5-extension-in-a-field-block", _PROTOCOL,
                (Frame(HEADERS, 0, _BLOCK[:5]), Frame(0xEE, 0, b"", 0)), "a frame of an unknown type within a field block"),
    _connection("blocks/another-stream", "9113-4.3-a-field-block-is-contiguous", _PROTOCOL,
                (Frame(HEADERS, 0, _BLOCK[:5]), Frame(CONTINUATION, END_HEADERS, _BLOCK[5:], 1001)),
                "a CONTINUATION of another stream"),
    _connection("blocks/without-a-beginning", "9113-6.10-without-a-beginning", _PROTOCOL,
                (Frame(CONTINUATION, END_HEADERS, _BLOCK),), "a CONTINUATION without HEADERS"),
    _connection("blocks/index-0", "7541-6.1-index-0", _COMPRESSION, (_raw(b"\x80"),), "a field with the index 0"),
    _connection("blocks/index-too-high", "7541-2.3.3-an-index-without-an-entry", _COMPRESSION, (_raw(b"\xfe"),),
                "an index without an entry"),
    _connection("blocks/cut", "9113-4.3-a-block-that-cannot-be-decoded", _COMPRESSION, (_raw(b"\0\x05abc"),), "half a field"),
    _connection("blocks/huffman-padding", "7541-5.2-padding-is-a-part-of-eos", _COMPRESSION, (_raw(b"\0\x01a\x81\x18"),),
                "Huffman code with padding of zeros"),
    _connection("blocks/huffman-eos", "7541-5.2-eos-in-a-string", _COMPRESSION, (_raw(b"\0\x01a\x84\xff\xff\xff\xff"),),
                "Huffman code with EOS"),
    _connection("blocks/number-without-end", "7541-5.1-numbers-without-end", _COMPRESSION, (_raw(b"\xff" + b"\xff" * 20),),
                "an index of twenty bytes"),
    _connection("blocks/table-too-large", "7541-6.3-a-size-over-the-limit", _COMPRESSION,
                (Frame(HEADERS, END_HEADERS, b"\x3f\xe1\xff\xff\x7f\x88"),), "a larger table than the client allows"),
    # ---- settings, ping, goaway
    _good("settings/acknowledged", "9113-6.5.3-acknowledged", (_settings(), Wait("ack"), *GOOD),
          "a second SETTINGS frame, which is to be acknowledged", right="ack "),
    _good("settings/unknown", "9113-6.5.2-unknown-settings", (_settings((0xBEEF, 7)), *GOOD), "an unknown setting",
          right="(ack )?"),
    _connection("settings/on-a-stream", "9113-6.5-settings-on-a-stream", _PROTOCOL, (Frame(SETTINGS),),
                "SETTINGS on a stream"),
    _connection("settings/five-bytes", "9113-6.5-length", _SIZE, (Frame(SETTINGS, 0, bytes(5), 0),), "SETTINGS of five bytes"),
    _connection("settings/ack-with-payload", "9113-6.5-ack-with-a-payload", _SIZE, (Frame(SETTINGS, ACK, bytes(6), 0),),
                "an acknowledgement with a payload"),
    _connection("settings/push-enabled", "9113-6.5.2-a-servers-push-enabled", _PROTOCOL, (_settings((ENABLE_PUSH, 1)),),
                "the server enables push"),
    _connection("settings/push-is-2", "9113-6.5.2-enable-push-range", _PROTOCOL, (_settings((ENABLE_PUSH, 2)),),
                "ENABLE_PUSH is 2"),
    _connection("settings/window-too-large", "9113-6.5.2-window-range", _FLOW, (_settings((INITIAL_WINDOW_SIZE, 1 << 31)),),
                "a window of 2^31 bytes"),
    _connection("settings/frame-size-too-small", "9113-6.5.2-frame-size-range", _PROTOCOL,
                (_settings((MAX_FRAME_SIZE, 16_383)),),
                "frames of at most 16,383 bytes"),
    _good("ping/answered", "9113-6.7-answered", (Frame(PING, 0, PAYLOAD, 0), Wait("pong"), *GOOD), "a PING", right="pong "),
    _good("ping/answer-unasked", "9113-6.7-no-answer-to-an-answer", (Frame(PING, ACK, PAYLOAD, 0), Pause(0.1), *GOOD),
          "an answer to no PING", outcome=EITHER),
    _connection("ping/seven-bytes", "9113-6.7-length", _SIZE, (Frame(PING, 0, bytes(7), 0),), "a PING of seven bytes"),
    _connection("ping/on-a-stream", "9113-6.7-ping-on-a-stream", _PROTOCOL, (Frame(PING, 0, bytes(8)),), "a PING on a stream"),
    _good("goaway/after-this-request", "9113-6.8-no-stream-after-goaway", (HEAD,
          Frame(GOAWAY, 0, pack("!LL", 2**31 - 1, NO_ERROR), 0),
          CONTENT), "a GOAWAY that lets the request pass"),
    _good("goaway/unknown-code", "9113-7-unknown-codes", (HEAD, Frame(GOAWAY, 0, pack("!LL", 2**31 - 1, 0xBEEF), 0), CONTENT),
          "a GOAWAY with an unknown code", outcome=EITHER),
    _good("goaway/before-this-request", "9113-6.8-no-stream-after-goaway",
          (Frame(GOAWAY, 0, pack("!LL", 0, NO_ERROR), 0), Shut()), "a GOAWAY that does not let the request pass", outcome=ANY),
    _connection("goaway/on-a-stream", "9113-6.8-goaway-on-a-stream", _PROTOCOL, (Frame(GOAWAY, 0, bytes(8)),),
                "GOAWAY on a stream"),
    # ---- the end of a stream
    _good("end/reset-after-it", "9113-8.1-a-response-outlives-its-reset",
          (*GOOD, Frame(RST_STREAM, 0, pack("!L", NO_ERROR))), "RST_STREAM with NO_ERROR after the whole response"),
    Snare("http2/end/reset", "9113-6.4-nothing-after-a-reset-received", (HEAD, Frame(RST_STREAM, 0, pack("!L", 2))),
          "the stream is reset in the middle", FAILS, right=rf"(goaway=NO_ERROR )?{_ENDED}", acceptable=rf".*{_ENDED}"),
    Snare("http2/end/refused", "9113-6.4-nothing-after-a-reset-received", (Frame(RST_STREAM, 0, pack("!L", REFUSED_STREAM)),),
          "the stream is refused: the client may ask again", FAILS, right=rf"(goaway=NO_ERROR )?{_ENDED}",
          acceptable=rf".*{_ENDED}"),
    Snare("http2/end/unknown-code", "9113-7-unknown-codes", (HEAD, Frame(RST_STREAM, 0, pack("!L", 0xBEEF))),
          "the stream is reset with an unknown code", FAILS),
    Snare("http2/end/goodbye", "9113-5.4.1-goaway-at-every-end", GOOD, "a right answer, after which the client leaves",
          right=rf"(1:NO_ERROR )?goaway=NO_ERROR {_ENDED}", acceptable=".*(closed|reset|open)"),
    Snare("http2/end/closed", "", (HEAD, Frame(DATA, 0, b"hel"), Shut()),
          "the connection ends within the content", FAILS, why="Half a file that counts as the whole is lost data."),
    Snare("http2/end/reset-by-tcp", "", (HEAD, Frame(DATA, 0, b"hel"), Reset()), "the connection is reset within the content",
          FAILS, why="Half a file that counts as the whole is lost data."),
    _connection("end/reset-of-an-idle-stream", "9113-6.4-reset-of-an-idle-stream", _PROTOCOL,
                (Frame(RST_STREAM, 0, bytes(4), 1001),), "RST_STREAM on an idle stream"),
    _connection("end/reset-on-stream-0", "9113-6.4-reset-on-stream-0", _PROTOCOL, (Frame(RST_STREAM, 0, bytes(4), 0),),
                "RST_STREAM on stream 0"),
    _connection("end/reset-of-three-bytes", "9113-6.4-length", _SIZE, (Frame(RST_STREAM, 0, bytes(3)),),
                "RST_STREAM of three bytes"),
    # ---- flow control
    _connection("windows/increment-0", "9113-6.9-errors-of-the-connections-window", _PROTOCOL,
                (Frame(WINDOW_UPDATE, 0, bytes(4), 0),), "WINDOW_UPDATE of 0 for the connection"),
    _connection("windows/overflow", "9113-6.9.1-overflow-of-the-connection", _FLOW,
                (Frame(WINDOW_UPDATE, 0, pack("!L", 2**31 - 1), 0),), "the connection's window passes 2^31-1"),
    _connection("windows/three-bytes", "9113-6.9-length", _SIZE, (Frame(WINDOW_UPDATE, 0, bytes(3), 0),),
                "WINDOW_UPDATE of three bytes"),
    _stream("windows/increment-0-of-a-stream", "9113-6.9-increment-of-0", (Frame(WINDOW_UPDATE, 0,
            bytes(4)), Wait(_ANY), *GOOD),
            "WINDOW_UPDATE of 0 for the stream"),
    _stream("windows/overflow-of-a-stream", "9113-6.9.1-overflow-of-a-stream",
            (Frame(WINDOW_UPDATE, 0, pack("!L", 2**31 - 1)), Wait(_ANY), *GOOD), "the stream's window passes 2^31-1", _FLOW),
    # ---- push
    replace(_connection("push/disabled", "9113-6.5.2-push-after-it-was-disabled", _PROTOCOL, (Pause(0.05), _PUSH),
                        "a push, for a client that has disabled it"), needs=NO_PUSH),
    _connection("push/on-stream-0", "9113-6.6-push-on-stream-0", _PROTOCOL, (_PUSH._replace(on=0),), "a push on stream 0"),
    # ---- messages
    _good("messages/interim", "9110-15.2-parse-them", (headers((":status", "103"), ("link",
          "</a.css>; rel=preload")), *GOOD), "a 103"),
    _good("messages/trailers", "9112-7.1.2-merged", (HEAD, Frame(DATA, 0, b"hello"), headers(("x-sum",
          "7"), flags=END_HEADERS | END_STREAM)),
          "trailers"),
    _good("messages/unknown-status", "9110-15-class", (headers((":status", "299")), CONTENT),
          "the unknown status 299"),
    Snare("http2/messages/head", "9113-8.1.1-length-without-content",
          (headers(_STATUS, ("content-length", "8"), flags=END_HEADERS | END_STREAM),), "a response to HEAD has a length",
          prints="", method="HEAD"),
    _stream("messages/too-short", "9113-8.1.1-content-length", (headers(_STATUS, ("content-length", "10")), CONTENT),
            "5 of 10 bytes", why="Half a file that counts as the whole is lost data."),
    _stream("messages/too-long", "9113-8.1.1-content-length",
            (headers(_STATUS, ("content-length", "3")), Frame(DATA, 0, b"hello"), Wait(_ANY), Frame(DATA, END_STREAM, b"!")),
            "6 bytes, and a length of 3"),
    _stream("messages/no-content", "9113-8.1.1-content-length",
            (headers(_STATUS, ("content-length", "10"), flags=END_HEADERS | END_STREAM),), "no content, and a length of 10"),
    _stream("messages/interim-ends", "9113-8.1-an-interim-response-ends-nothing",
            (headers((":status", "103"), flags=END_HEADERS | END_STREAM),), "a 103 with END_STREAM"),
    _stream("messages/second-head", "9113-8.1-a-second-head", (HEAD, HEAD, Wait(_ANY), CONTENT), "a second head"),
    _stream("messages/trailers-without-end", "9113-8.1-a-second-head", (HEAD, headers(("x-sum", "7")), Wait(_ANY), CONTENT),
            "trailers without END_STREAM"),
    _stream("messages/data-first", "9113-8.1.1-a-client-does-not-accept-it", (Frame(DATA, 0, b"hi"), Wait(_ANY), *GOOD),
            "DATA before HEADERS"),
    _stream("messages/status-in-trailers", "9113-8.1-pseudo-fields-in-trailers",
            (HEAD, Frame(DATA, 0, b"hello"), headers(_STATUS, flags=END_HEADERS | END_STREAM)), "trailers with :status"),
    _stream("messages/101", "9113-8.6-no-101", (headers((":status", "101")), Wait(_ANY), *GOOD), "a 101"),
    # ---- malformed heads
    _malformed("no-status", "9113-8.3.2-status", ("content-type", "text/plain"), says="no :status"),
    _malformed("two-statuses", "9113-8.3-repeated", _STATUS, (":status", "404"), says="two :status"),
    _malformed("status-last", "9113-8.3-late-pseudo-fields", ("server", "a"), _STATUS, says=":status after another field"),
    _malformed("path", "9113-8.3-unknown-pseudo-fields", _STATUS, (":path", "/"), says=":path in a response"),
    _malformed("unknown-pseudo-field", "9113-8.3-unknown-pseudo-fields", _STATUS, (":x", "y"),
               says="an unknown pseudo-header field"),
    _malformed("upper-case", "9113-8.2.1-names", _STATUS, ("Server", "a"), says="a name in upper case"),
    _malformed("line-feed", "9113-8.2.1-no-line-breaks-in-values", _STATUS, ("server", "a\nb"),
               says="a line break in a value"),
    _malformed("nul", "9113-8.2.1-no-line-breaks-in-values", _STATUS, ("server", "a\0b"), says="NUL in a value"),
    _malformed("colon-in-a-name", "9113-8.2.1-no-colon-in-names", _STATUS, ("a:b", "c"), says="a colon in a name"),
    _malformed("space-in-a-name", "9113-8.2.1-names", _STATUS, ("a b", "c"), says="a space in a name"),
    _malformed("space-around-a-value", "9113-8.2.1-no-space-around-values", _STATUS, ("server", " a"),
               says="a space before a value"),
    _malformed("connection", "9113-8.2.2-malformed", _STATUS, ("connection", "close"), says="a Connection field"),
    _malformed("upgrade", "9113-8.2.2-malformed", _STATUS, ("upgrade", "x"), says="an Upgrade field"),
    _malformed("keep-alive", "9113-8.2.2-malformed", _STATUS, ("keep-alive", "timeout=5"), says="a Keep-Alive field"),
    _malformed("transfer-encoding", "9113-8.2.2-malformed", _STATUS, ("transfer-encoding", "chunked"),
               says="Transfer-Encoding"),
)  # fmt: skip
