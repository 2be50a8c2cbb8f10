"""WebSocket: messages in fragments, and their text (RFC 6455 §5.4, §5.6, §8.1). Autobahn's cases 5 and 6 are about the same
rules."""

from minproto.prove.case import Case, Trickle
from minproto.prove.messages import echo, echoed, fault, message, sent
from minproto.websocket import BINARY, CONTINUATION, FIN, PING, PONG, TEXT

_LAST = FIN | CONTINUATION
_GREEK = "\u03ba\u1f79\u03c3\u03bc\u03b5"
_VALID = (
    ("ascii", "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!"),
    ("greek", _GREEK),
    ("nul", "\0"),
    ("smallest-of-2-bytes", "\u0080"),
    ("smallest-of-3-bytes", "\u0800"),
    ("smallest-of-4-bytes", "\U00010000"),
    ("largest", "\U0010ffff"),
    ("beside-the-surrogates", "\ud7ff\ue000"),
    ("noncharacters", "\ufffe\uffff\ufdd0\U0001ffff"),
    ("byte-order-mark", "\ufeffa"),
)
_INVALID = (
    ("lone-continuation", "80"),
    ("continuation-after-ascii", "61 bf"),
    ("first-byte-alone", "c3"),
    ("two-of-three-bytes", "e2 82"),
    ("three-of-four-bytes", "f0 9f 98"),
    ("first-byte-then-ascii", "c3 28"),
    ("overlong-slash-of-2-bytes", "c0 af"),
    ("overlong-of-2-bytes", "c1 bf"),
    ("overlong-of-3-bytes", "e0 9f bf"),
    ("overlong-of-4-bytes", "f0 8f bf bf"),
    ("high-surrogate", "ed a0 80"),
    ("low-surrogate", "ed bf bf"),
    ("pair-of-surrogates", "ed a0 80 ed b0 80"),
    ("above-the-largest", "f4 90 80 80"),
    ("first-byte-f5", "f5 80 80 80"),
    ("five-bytes", "f8 88 80 80 80"),
    ("byte-fe", "fe"),
    ("byte-ff", "61 ff 62"),
    ("late", "ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0 80 65 64 69 74 65 64"),
)
_WHY = "Text that two programs decode differently passes one program's checks and means something else to the other."


def _text(name: str, entry: str, *pieces: bytes, **more: object) -> Case:
    """Return a case with the fragments of a text that is not UTF-8."""
    last = len(pieces) - 1
    frames = [
        sent((FIN if at == last else 0) | (CONTINUATION if at else TEXT), piece) for at, piece in enumerate(pieces)
    ]
    return fault(f"messages/{name}", entry, *frames, code=1007, **more)  # type: ignore[arg-type]


FRAGMENTS = (
    echoed(
        "messages/two-fragments", "6455-5.4-both-kinds", sent(TEXT, b"hel"), sent(_LAST, b"lo"), gives="hello",
        also=("6455-5.4-fragmented", "6455-6.2-concatenated", "6455-6.2-type", "6455-5.4-one-type"),
    ),
    echoed(
        "messages/binary-in-fragments", "6455-5.4-one-type", sent(BINARY, b"\0"), sent(CONTINUATION, b"\xff"),
        sent(_LAST, b"a"), gives=b"\0\xffa", also=("6455-6.2-type",),
    ),
    echoed("messages/empty-fragments", "6455-5.4-fragmented", sent(TEXT), sent(CONTINUATION), sent(_LAST), gives=""),
    echoed(
        "messages/empty-first-fragment", "6455-5.4-fragmented", sent(TEXT), sent(CONTINUATION, b"a"), sent(_LAST), gives="a",
    ),
    echoed(
        "messages/a-thousand-fragments", "6455-6.2-concatenated",
        sent(TEXT, b"0") + b"".join(sent(CONTINUATION, b"%d" % (each % 10)) for each in range(1, 999)) + sent(_LAST, b"9"),
        gives="0123456789" * 100, also=("6455-5.4-fragments-in-order",),
    ),
    echoed(
        "messages/fragments-byte-by-byte", "6455-5.4-no-frame-boundaries", Trickle(sent(TEXT, b"hel") + sent(_LAST, b"lo")),
        gives="hello",
    ),
    echoed(
        "messages/one-after-the-other", "6455-6.2-next-message", sent(TEXT, b"a"), sent(_LAST, b"b"), message(b"c"),
        sent(BINARY, b"d"), sent(_LAST, b"e"), message("f"), gives=("ab", b"c", b"de", "f"),
    ),
    Case(
        "websocket/messages/ping-between-fragments", "6455-5.4-control-in-the-middle",
        (sent(TEXT, b"hel"), sent(FIN | PING, b"ping"), sent(_LAST, b"lo")), right=rf"pong=\[ping\] {echo('hello')} open",
        also=("6455-6.2-control", "6455-5.5.2-pong"),
    ),
    Case(
        "websocket/messages/pings-between-many-fragments", "6455-5.4-control-in-the-middle",
        (sent(TEXT, b"a"), sent(FIN | PING, b"1"), sent(CONTINUATION, b"b"), sent(FIN | PING, b"2"), sent(_LAST, b"c")),
        right=rf"pong=\[1\] pong=\[2\] {echo('abc')} open", acceptable=rf"pong=\[2\] {echo('abc')} open",
    ),
    echoed(
        "messages/pong-between-fragments", "6455-5.4-control-in-the-middle", sent(TEXT, b"hel"), sent(FIN | PONG, b"?"),
        sent(_LAST, b"lo"), gives="hello",
    ),
    fault("messages/continuation-first", "6455-5.4-fragmented", sent(CONTINUATION, b"a"), sent(_LAST, b"b")),
    fault(
        "messages/continuation-after-the-last", "6455-5.4-fragmented", sent(TEXT, b"a"), sent(_LAST, b"b"), sent(_LAST, b"c"),
        before=r"(text=\[ab\] )?",
    ),
    fault(
        "messages/text-within-text", "6455-5.4-no-interleaving", sent(TEXT, b"a"), sent(FIN | TEXT, b"b"),
        why="A server that takes the second message for a part of the first one joins what two senders have sent.",
    ),
    fault("messages/binary-within-text", "6455-5.4-one-type", sent(TEXT, b"a"), sent(FIN | BINARY, b"b")),
    fault("messages/text-within-binary", "6455-5.4-no-interleaving", sent(BINARY, b"a"), sent(TEXT, b"b")),
    fault(
        "messages/text-in-each-fragment", "6455-5.4-one-type", sent(TEXT, b"a"), sent(TEXT, b"b"), sent(FIN | TEXT, b"c"),
        also=("6455-5.4-no-interleaving",),
    ),
    fault("messages/rsv-1-of-a-continuation", "6455-5.2-reserved-bit-fails", sent(TEXT, b"a"), sent(_LAST | 0x40, b"b")),
)  # fmt: skip

UTF_8 = (
    *(echoed(f"messages/{name}", "6455-5.6-text-is-utf-8", message(text), gives=text, why=_WHY) for name, text in _VALID),
    echoed(
        "messages/cut-in-a-character", "6455-5.6-text-is-utf-8", sent(TEXT, _GREEK.encode()[:4]),
        sent(_LAST, _GREEK.encode()[4:]), gives=_GREEK, also=("6455-5.4-no-frame-boundaries",),
    ),
    echoed(
        "messages/a-fragment-for-each-byte", "6455-5.6-text-is-utf-8", sent(TEXT),
        *(sent(CONTINUATION, bytes([byte])) for byte in (_GREEK + "\U0001f600").encode()), sent(_LAST),
        gives=_GREEK + "\U0001f600",
    ),
    echoed("messages/text-byte-by-byte", "6455-5.6-text-is-utf-8", Trickle(message(_GREEK)), gives=_GREEK),
    echoed("messages/binary-is-any-bytes", "6455-6.1-opcode", message(b"\xff\xfe\xc0\xaf"), gives=b"\xff\xfe\xc0\xaf"),
    *(_text(name, "6455-8.1-utf-8-fails", bytes.fromhex(data), why=_WHY, also=("6455-5.6-text-is-utf-8",))
      for name, data in _INVALID),
    _text("wrong-byte-in-the-second-fragment", "6455-8.1-utf-8-fails", b"a", b"\xff"),
    _text("character-never-completed", "6455-8.1-utf-8-fails", b"a\xe2", b"\x82"),
    _text("surrogate-in-fragments", "6455-8.1-utf-8-fails", b"\xed", b"\xa0", b"\x80"),
    _text("character-cut-by-an-empty-fragment", "6455-8.1-utf-8-fails", b"\xe2", b"",
          why="The empty last fragment ends the text within a character."),
    fault(
        "messages/wrong-byte-before-the-end", "6455-8.1-utf-8-fails", sent(TEXT, b"a\xff"), code=1007, leeway="silent",
        why="A server that checks a text at its end stores all of it in vain. No sentence forbids that.",
    ),
    *(fault(f"messages/{name}-in-half-a-frame", "6455-8.1-utf-8-fails", sent(FIN | TEXT, data + bytes(98))[:8], code=1007,
            leeway="silent", why="A server that checks a text at its end stores all of it in vain. No sentence forbids that.")
      for name, data in (("wrong-byte", b"a\xff"), ("surrogate", b"\xed\xa0"))),
)  # fmt: skip

CASES = (*FRAGMENTS, *UTF_8)
