"""WebSocket: permessage-deflate (RFC 7692). Autobahn's cases 12 and 13 are about some of the same rules."""

import zlib

from minproto.prove.case import Case, Step, Trickle
from minproto.prove.messages import echo, fault, message, sent
from minproto.prove.transcripts.websocket import KEY
from minproto.websocket import BINARY, CLOSE, CONTINUATION, FIN, PING, RSV1, TEXT

NAME = "permessage-deflate"
_NEEDS = frozenset({"deflate"})
_HANDSHAKE = (
    b"GET {ws} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\n"
)
_ANSWER = "101 sec-websocket-extensions="
_DECLINED = rf"{_ANSWER}- open"
_REST = r"(; ?(server|client)_(no_context_takeover|max_window_bits=\d+))*"
"""Parameters that a server may add to its answer."""
_WITHOUT_CLIENT_BITS = r"(; ?(server_no_context_takeover|client_no_context_takeover|server_max_window_bits=\d+))*"

# ---- the offer, and its answer (§5, §7.1) ----------------------------------------------------------------------------


def _offer(name: str, entry: str, *lines: str, right: str, acceptable: str = "", **more: object) -> Case:
    """Return a case of a handshake with an offer. ``right``: the pattern of the answer, without the status."""
    fields = b"".join([b"Sec-WebSocket-Extensions: " + line.encode() + b"\r\n" for line in lines])
    return Case(
        f"websocket/deflate/{name}", entry, (_HANDSHAKE + fields + b"\r\n",), right=rf"{_ANSWER}{right} open", needs=_NEEDS,
        acceptable=acceptable, shows=("sec-websocket-extensions",), speaks="http1", **more,  # type: ignore[arg-type]
    )


def _declined(name: str, entry: str, parameter: str, **more: object) -> Case:
    """Return a case of an offer that a server has to decline: the connection goes on without compression."""
    return _offer(name, entry, f"{NAME}; {parameter}", right="-", **more)  # type: ignore[arg-type]


def _malformed(name: str, value: str, leeway: str = "closed|reset") -> Case:
    """Return a case of a field that is malformed, which a server has to refuse (RFC 6455 §9.1)."""
    field = b"Sec-WebSocket-Extensions: " + value.encode() + b"\r\n"
    return Case(
        f"websocket/deflate/{name}", "6455-9.1-malformed-fails", (_HANDSHAKE + field + b"\r\n",), right=r"400 (open|closed)",
        acceptable=rf"(4\d\d|50[1-9]) (open|closed|reset)|{leeway}", needs=_NEEDS, speaks="http1",
        also=("6455-10.7-http-status", "6455-4.3-quoted-token"),
    )


_BITS = "7692-7.1.2.1-eight-to-fifteen"
OFFERS = (
    _offer("accepted", "7692-5-accept", NAME, right=NAME + _WITHOUT_CLIENT_BITS, also=(
        "7692-7-name", "6455-5.8-extensions-in-the-handshake", "6455-11.3.2-once-in-a-response", "7692-5-fully-supported",
        "7692-5-one-extension-for-rsv1", "6455-9-parameters")),
    _offer(
        "bound-for-the-client-unasked", "7692-7.1.2.2-only-if-offered", NAME, right=NAME + _WITHOUT_CLIENT_BITS,
        why="A client that has not offered client_max_window_bits may be unable to keep to it.",
    ),
    _offer("client-bits-without-a-number", "7692-7.1.2.2-value-in-an-answer", f"{NAME}; client_max_window_bits",
           right=NAME + _REST,
           why="Browsers offer client_max_window_bits without a number. A server that answers the parameter gives the "
               "number."),
    _offer("client-bits-10", "7692-7.1.2.2-same-or-smaller", f"{NAME}; client_max_window_bits=10",
           right=rf"{NAME}{_WITHOUT_CLIENT_BITS}(; ?client_max_window_bits=(8|9|10){_WITHOUT_CLIENT_BITS})?",
           acceptable=_DECLINED),
    _offer("server-bits-10", "7692-7.1.2.1-same-or-smaller", f"{NAME}; server_max_window_bits=10",
           right=rf"{NAME}{_REST}; ?server_max_window_bits=(8|9|10){_REST}", acceptable=_DECLINED,
           also=("7692-7.1.2.1-declined-unless-kept",), why="A client with little memory has no larger window."),
    _offer("server-bits-8", "7692-7.1.2.1-declined-unless-kept", f"{NAME}; server_max_window_bits=8",
           right=rf"(-|{NAME}{_REST}; ?server_max_window_bits=8{_REST})", also=("7692-7.1-decline-unsupported",),
           why="zlib cannot compress with 8 bits. A server that promises it breaks its promise.",
           issue="https://github.com/madler/zlib/issues/94"),
    _offer("server-bits-quoted", "6455-4.3-quoted-token", f'{NAME}; server_max_window_bits="10"',
           right=rf'{NAME}{_REST}; ?server_max_window_bits="?(8|9|10)"?{_REST}', acceptable=_DECLINED),
    _offer("server-forgets", "7692-7.1.1.1-server-resets", f"{NAME}; server_no_context_takeover",
           right=rf"{NAME}{_REST}; ?server_no_context_takeover{_REST}", acceptable=_DECLINED, also=("7692-7.1.1.1-supported",),
           why="A client that relies on it inflates each message with an empty window."),
    _offer("client-forgets", "7692-5-accept", f"{NAME}; client_no_context_takeover", right=NAME + _WITHOUT_CLIENT_BITS,
           acceptable=_DECLINED),
    _offer("two-offers", "7692-5-preference", f"{NAME}; server_no_context_takeover, {NAME}",
           right=rf"{NAME}{_REST}; ?server_no_context_takeover{_REST}", acceptable=rf"{_ANSWER}{NAME}{_REST} open"),
    _offer("second-offer", "7692-7.1-decline-unknown", f"{NAME}; x_prove, {NAME}", right=NAME + _REST, acceptable=_DECLINED,
           why="A client can offer a new parameter first, and second an offer that all servers understand.",
           also=("6455-9.1-parameters-defined",)),
    _offer("after-another-extension", "7692-5-preference", f"x-prove, {NAME}", right=NAME + _REST, acceptable=_DECLINED,
           also=("7692-5-one-extension-for-rsv1",)),
    _offer("on-two-lines", "6455-9.1-several-lines", "x-prove", NAME, right=NAME + _REST, acceptable=_DECLINED),
    _declined("unknown-parameter", "7692-7.1-decline-unknown", "x_prove", also=("6455-9.1-parameters-defined",)),
    _declined("unknown-parameter-with-value", "7692-7.1-decline-unknown", "server_max_window=10"),
    _declined("repeated-flag", "7692-7.1-decline-repeated", "server_no_context_takeover; server_no_context_takeover"),
    _declined("repeated-bits", "7692-7.1-decline-repeated", "client_max_window_bits=10; client_max_window_bits=11"),
    _declined("server-bits-16", _BITS, "server_max_window_bits=16", also=("7692-7.1-decline-invalid",)),
    _declined("server-bits-7", _BITS, "server_max_window_bits=7", also=("7692-7.1-decline-invalid",)),
    _declined("server-bits-010", _BITS, "server_max_window_bits=010", also=("7692-7.1-decline-invalid",)),
    _declined("server-bits-09", _BITS, "server_max_window_bits=09", also=("7692-7.1-decline-invalid",)),
    _declined("server-bits-of-letters", _BITS, "server_max_window_bits=ten", also=("7692-7.1-decline-invalid",)),
    _declined("server-bits-without-a-number", "7692-7.1-decline-invalid", "server_max_window_bits"),
    _declined("client-bits-16", "7692-7.1.2.2-eight-to-fifteen", "client_max_window_bits=16"),
    _declined("client-bits-010", "7692-7.1.2.2-eight-to-fifteen", "client_max_window_bits=010"),
    _declined("client-bits-09", "7692-7.1.2.2-eight-to-fifteen", "client_max_window_bits=09"),
    _declined("flag-with-a-value", "7692-7.1-decline-invalid", "server_no_context_takeover=1"),
    _malformed("malformed-parameter", f"{NAME}; =10"),
    _malformed("malformed-value", f"{NAME}; server_max_window_bits="),
    _malformed("two-words", f"{NAME} x-prove"),
    _malformed("quotes-left-open", f'{NAME}; server_max_window_bits="10'),
    _malformed("quoted-blank", f'{NAME}; server_max_window_bits="1 0"'),
    _malformed("no-extension", ",", leeway="closed|reset|101 open"),
    _malformed("wrong-after-right", f"{NAME}, x prove"),
)  # fmt: skip

# ---- messages (§6, §7.2) ---------------------------------------------------------------------------------------------

_EMPTY = bytes.fromhex("00")
_HELLO = bytes.fromhex("f248cdc9c90700")


def _noise(size: int, seed: int) -> bytes:
    """Return bytes that do not shrink, and are the same each time (a linear congruential generator)."""
    data = bytearray()
    for _ in range(size):
        seed = (seed * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
        data.append(seed >> 16 & 255)
    return bytes(data)


def _compressed(*messages: bytes) -> tuple[bytes, ...]:
    """Return the payloads of messages, each of which may refer to the ones before it."""
    deflater = zlib.compressobj(wbits=-15)
    return tuple((deflater.compress(each) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4] for each in messages)


def _deflated(data: bytes) -> bytes:
    """Return the payload of one message."""
    return _compressed(data)[0]


def _deflate(name: str, entry: str, *steps: Step, gives: tuple[str | bytes, ...], offers: str = NAME, **more: object) -> Case:
    """Return a case of compressed messages that come back."""
    leeway = rf"declined (close=\d+ )?(closed|reset)|declined {echo(*gives)} open" if offers != NAME else ""
    return Case(
        f"websocket/deflate/{name}", entry, steps, right=f"{echo(*gives)} open", acceptable=leeway, needs=_NEEDS,
        offers=offers, **more,  # type: ignore[arg-type]
    )


def _fault(name: str, entry: str, *steps: Step, code: int = 1002, **more: object) -> Case:
    return fault(f"deflate/{name}", entry, *steps, code=code, needs=_NEEDS, offers=NAME, **more)  # type: ignore[arg-type]


def _text(payload: bytes, first: int = FIN | TEXT | RSV1) -> bytes:
    """Return a frame of a compressed message."""
    return sent(first, payload)


_FAR = _noise(30_000, 1)
_NEAR = _noise(700, 2)
_GREEK = "\u03ba\u1f79\u03c3\u03bc\u03b5"
_GREEK_DEFLATED = _deflated(_GREEK.encode())
MESSAGES = (
    _deflate("hello", "7692-6.2-compressed", _text(_HELLO), gives=("Hello",), also=(
        "7692-6-rsv1", "7692-7.2.1-deflate", "7692-7.2.2-tail-added", "7692-6.1-compressed", "7692-7.2.1-tail-removed",
        "7692-6-data-messages-only", "7692-6.1-opcode-stays")),
    _deflate("twice", "7692-7.2.2-server-keeps-window", _text(_HELLO), _text(bytes.fromhex("f200110000")),
             gives=("Hello", "Hello"), also=("7692-7.2.2-tail-added",),
             why="The second message refers to the five bytes of the first one (RFC 7692 §7.2.3.2)."),
    _deflate("not-compressed", "7692-6.2-uncompressed", message("Hello"), gives=("Hello",), also=("7692-6.1-uncompressed",)),
    _deflate("one-of-each", "7692-6.2-uncompressed", _text(_HELLO), message("a"), _text(bytes.fromhex("f200110000")),
             gives=("Hello", "a", "Hello"), also=("7692-7.2.2-server-keeps-window",)),
    _deflate("binary", "7692-6.1-opcode-stays", _text(_deflated(b"\xff\x00\xfe"), FIN | BINARY | RSV1),
             gives=(b"\xff\x00\xfe",)),
    _deflate("empty", "7692-6.2-compressed", _text(_EMPTY), gives=("",)),
    _deflate("fragments", "7692-6.2-compressed", _text(_HELLO[:3], TEXT | RSV1), sent(FIN | CONTINUATION, _HELLO[3:]),
             gives=("Hello",), also=("7692-7.2.1-tail-kept-between-fragments",)),
    _deflate("empty-fragments", "7692-6.2-compressed", _text(b"", TEXT | RSV1), sent(CONTINUATION, _HELLO),
             sent(FIN | CONTINUATION), gives=("Hello",)),
    _deflate("byte-by-byte", "7692-6.2-compressed", Trickle(_text(_HELLO)), gives=("Hello",)),
    _deflate("stored", "7692-7.2.1-deflate", _text(bytes.fromhex("000500faff48656c6c6f00")), gives=("Hello",),
             why="DEFLATE has blocks without compression, too (RFC 7692 §7.2.3.3)."),
    _deflate("two-blocks", "7692-7.2.1-deflate", _text(bytes.fromhex("f248050000 00ffffcac9c90700")), gives=("Hello",),
             why="A message may have any number of DEFLATE blocks (RFC 7692 §7.2.3.5)."),
    _deflate("final-block", "7692-7.2.1-padding", _text(bytes.fromhex("f348cdc9c9070000")), _text(_HELLO),
             gives=("Hello", "Hello"),
             why="BFINAL ends a DEFLATE stream. The message after it begins a new one, and must not be lost."),
    _deflate("character-in-two-fragments", "7692-6.1-utf-8-after-inflating", _text(_GREEK_DEFLATED[:3], TEXT | RSV1),
             sent(CONTINUATION, _GREEK_DEFLATED[3:5]), sent(FIN | CONTINUATION, _GREEK_DEFLATED[5:]), gives=(_GREEK,)),
    _deflate("far-reference", "7692-7.2.2-server-32-kib", *map(lambda each: _text(each, FIN | BINARY | RSV1),
             _compressed(_FAR, _FAR)), gives=(_FAR, _FAR),
             why="Without client_max_window_bits, a client may refer 32,768 bytes back."),
    _deflate("100000-zeros", "7692-6.2-compressed", _text(_deflated(bytes(100_000)), FIN | BINARY | RSV1),
             gives=(bytes(100_000),)),
    _deflate("server-forgets-each-message", "7692-7.2.1-server-empty-window", message("Hello Hello"), message("Hello Hello"),
             gives=("Hello Hello", "Hello Hello"), offers=f"{NAME}; server_no_context_takeover",
             also=("7692-7.1.1.1-server-resets",), why="Our client inflates each message with an empty window."),
    _deflate("server-keeps-its-window-small", "7692-7.2.1-server-window", message(_NEAR), message(_NEAR), gives=(_NEAR, _NEAR),
             offers=f"{NAME}; server_max_window_bits=9", also=("7692-7.2.1-window-of-32-kib",),
             why="Our client remembers 512 bytes, and the second message repeats what was sent 700 bytes ago."),
    Case(
        "websocket/deflate/server-keeps-its-window-tiny", "7692-7.1.2.1-declined-unless-kept",
        (message(_NEAR[:350]), message(_NEAR[:350])), right=rf"(declined )?{echo(_NEAR[:350], _NEAR[:350])} open",
        needs=_NEEDS,
        offers=f"{NAME}; server_max_window_bits=8",
        also=("7692-5-fully-supported", "7692-7.1-decline-unsupported", "7692-7.2.1-server-window"),
        why="Our client remembers 256 bytes, and the second message repeats what was sent 350 bytes ago.",
    ),
    Case(
        "websocket/deflate/only-if-answered", "6455-5.8-extensions-in-the-handshake", (message("Hello"),),
        right=rf"(declined )?{echo('Hello')} open", offers=NAME, also=("7692-6.1-uncompressed",),
        why="A client that was not told of compression cannot inflate.",
    ),
    Case(
        "websocket/deflate/ping-between-fragments", "7692-6-data-messages-only",
        (_text(_HELLO[:3], TEXT | RSV1), sent(FIN | PING, b"a"), sent(FIN | CONTINUATION, _HELLO[3:])),
        right=rf"pong=\[a\] {echo('Hello')} open", needs=_NEEDS, offers=NAME,
    ),
    Case(
        "websocket/deflate/server-compresses", "7692-6.1-compressed", (_text(_deflated(b"*" * 2_000)),),
        right=rf"deflated {echo('*' * 2_000)} open", acceptable=f"{echo('*' * 2_000)} open", needs=_NEEDS, offers=NAME,
        shows=("deflated",), also=("7692-7.2.1-tail-removed",), why="A server that has agreed to compress need not do it.",
    ),
    _fault("rsv-1-of-a-ping", "7692-6.1-refuses-rsv1", sent(FIN | PING | RSV1, b"a"),
           also=("7692-6.1-rsv1-first-frame-only",)),
    _fault("rsv-1-of-a-close", "7692-6.1-refuses-rsv1", sent(FIN | CLOSE | RSV1, b"\x03\xe8")),
    _fault("rsv-1-of-a-continuation", "7692-6.1-refuses-rsv1", _text(_HELLO[:3], TEXT | RSV1),
           sent(FIN | CONTINUATION | RSV1, _HELLO[3:]), also=("7692-6.1-rsv1-first-frame-only",)),
    _fault("rsv-1-of-a-continuation-alone", "7692-6.1-refuses-rsv1", sent(TEXT, b"a"), sent(FIN | CONTINUATION | RSV1, b"b")),
    _fault("rsv-2", "6455-5.2-reserved-bit-fails", sent(FIN | TEXT | 0x20, b"hello")),
    _fault("rsv-1-and-3", "6455-5.2-reserved-bit-fails", _text(_HELLO, FIN | TEXT | RSV1 | 0x10)),
    _fault("no-deflate-at-all", "7692-7.2.1-deflate", _text(b"\xff\xff\xff\xff"), code=1007,
           why="The payload is not DEFLATE. No sentence names the code of the Close."),
    _fault("reference-before-the-beginning", "7692-7.2.1-deflate", _text(bytes.fromhex("f200110000")), code=1007,
           why="The message refers to bytes that were never sent."),
    _fault("text-not-utf-8", "6455-8.1-utf-8-fails", _text(_deflated(b"a\xff")), code=1007,
           also=("7692-6.1-utf-8-after-inflating",)),
)  # fmt: skip

CASES = (*OFFERS, *MESSAGES)
