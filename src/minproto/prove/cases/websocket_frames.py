"""WebSocket: frames (RFC 6455 §5.1 to §5.4). Autobahn's cases 1, 3 and 4 are about the same rules."""

from minproto.prove.case import Case, Trickle
from minproto.prove.messages import KEY, echo, echoed, fault, message, sent
from minproto.websocket import BINARY, CLOSE, CONTINUATION, FIN, PING, TEXT

_CUT = "A proxy, or TCP, can cut anywhere."
_LENGTHS = (0, 1, 125, 126, 127, 128, 65_535, 65_536)
"""The lengths at which the header changes, and their neighbours (§5.2)."""
_RESERVED = (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)
_MEBIBYTE = bytes(range(256)) * 4_096
_LATER = "Extensions, and later versions, give the reserved bits and opcodes a meaning that this server does not know."
_HELLO_16 = bytes.fromhex("81fe0005 37fa213d 7f9f4d5158")
_125_IN_16 = bytes.fromhex("82fe007d 00000000") + bytes(125)
_65535_IN_64 = bytes.fromhex("82ff000000000000ffff 00000000") + bytes(65_535)
_HELLO_64 = bytes.fromhex("81ff0000000000000005 37fa213d 7f9f4d5158")


def _lengths() -> tuple[Case, ...]:
    texts = [echoed(f"frames/text-of-{size}", "6455-6.2-frames", message("*" * size), gives="*" * size,
                    also=("6455-6.2-type", "6455-5.2-shortest-length")) for size in _LENGTHS]  # fmt: skip
    binaries = [echoed(f"frames/binary-of-{size}", "6455-6.1-in-a-frame", message(b"\xfe" * size), gives=b"\xfe" * size,
                       also=("6455-6.1-opcode", "6455-5.2-network-byte-order")) for size in _LENGTHS]  # fmt: skip
    return (*texts, *binaries)


CASES = (
    *_lengths(),
    echoed(
        "frames/unfragmented", "6455-5.4-unfragmented", message("hello"), gives="hello",
        also=("6455-6.1-steps", "6455-6.1-fin", "6455-6.1-transmitted", "6455-5.1-server-does-not-mask",
              "6455-5.2-reserved-bits-zero", "7692-6.1-uncompressed"),
    ),
    echoed(
        "frames/many-in-one-segment", "6455-6.2-frames", message("a") + message(b"b") + message("c") + message(b"d"),
        gives=("a", b"b", "c", b"d"), also=("6455-6.2-next-message", "6455-5.4-fragments-in-order"),
    ),
    echoed(
        "frames/fragments-in-one-segment", "6455-6.2-frames", sent(TEXT, b"he") + sent(0, b"l") + sent(FIN, b"lo"),
        gives="hello",
        why="A server that reads one frame for each segment waits for the next segment, which never comes.",
    ),
    echoed("frames/byte-by-byte", "6455-6.2-frames", Trickle(message("byte by byte")), gives="byte by byte", why=_CUT),
    echoed(
        "frames/header-of-64-bits-byte-by-byte", "6455-6.2-frames", Trickle(message("*" * 65_536)[:14]),
        message("*" * 65_536)[14:], gives="*" * 65_536, why=_CUT,
    ),
    echoed(
        "frames/payload-in-pieces", "6455-5.3-xor", Trickle(message("0123456789" * 20), 7), gives="0123456789" * 20,
        why="The mask goes on in the next piece where it has stopped in this one.", also=("6455-10.7-length-ends-the-frame",),
    ),
    Case(
        "websocket/frames/binary-of-a-mebibyte", "6455-6.1-in-a-frame", (message(_MEBIBYTE),), right=f"{echo(_MEBIBYTE)} open",
        acceptable=r"(close=\d+ )?(closed|reset)", why="A server may have a lower limit, and has to say 1009 then (§7.4.1).",
    ),
    echoed("frames/mask", "6455-6.2-unmasks", message("masked"), gives="masked", also=("6455-5.3-xor",)),
    echoed("frames/mask-of-zeros", "6455-6.2-unmasks", sent(FIN | TEXT, b"zeros", bytes(4)), gives="zeros"),
    echoed("frames/mask-begins-with-zero", "6455-6.2-unmasks", sent(FIN | TEXT, b"zero", b"\0abc"), gives="zero"),
    echoed(
        "frames/a-mask-for-each-frame", "6455-6.2-unmasks", sent(FIN | TEXT, b"one", KEY), sent(FIN | TEXT, b"two", b"abcd"),
        gives=("one", "two"), also=("6455-5.3-length-without-key",),
    ),
    fault("frames/not-masked", "6455-5.1-unmasked-closes", bytes.fromhex("8105 48656c6c6f"), also=("6455-5.1-client-masks",)),
    fault("frames/ping-not-masked", "6455-5.1-unmasked-closes", bytes.fromhex("8900"), also=("6455-5.1-client-masks",)),
    fault("frames/close-not-masked", "6455-5.1-unmasked-closes", bytes.fromhex("880203e8"), also=("6455-5.5.1-close-masked",)),
    fault(
        "frames/second-not-masked", "6455-5.1-unmasked-closes", message("a"), bytes.fromhex("810162"),
        before=r"(text=\[a\] )?",
    ),
    *(fault(f"frames/rsv-{bits}", "6455-5.2-reserved-bit-fails", sent(FIN | TEXT | bits << 4, b"hello"), why=_LATER,
            also=("6455-5.2-reserved-bits-zero",)) for bits in range(1, 8)),
    fault("frames/rsv-4-of-a-ping", "6455-5.2-reserved-bit-fails", sent(FIN | PING | 0x10, b"hello"), why=_LATER),
    fault("frames/rsv-1-of-a-close", "6455-5.2-reserved-bit-fails", sent(FIN | CLOSE | 0x40, b"\x03\xe8"), why=_LATER),
    fault(
        "frames/rsv-2-after-a-message", "6455-5.2-reserved-bit-fails", message("a"), sent(FIN | BINARY | 0x20, b"b"),
        before=r"(text=\[a\] )?", why=_LATER,
    ),
    *(fault(f"frames/opcode-{opcode:x}", "6455-5.2-unknown-opcode-fails", sent(FIN | opcode, b"hello"), why=_LATER)
      for opcode in _RESERVED),
    fault("frames/opcode-3-empty", "6455-5.2-unknown-opcode-fails", sent(FIN | 0x3), why=_LATER),
    fault("frames/opcode-b-without-fin", "6455-5.2-unknown-opcode-fails", sent(0xB), why=_LATER),
    fault(
        "frames/opcode-5-within-a-message", "6455-5.2-unknown-opcode-fails", sent(TEXT, b"a"), sent(FIN | 0x5, b"b"),
        why=_LATER,
    ),
    *(Case(f"websocket/frames/{name}", "6455-5.2-shortest-length", (data,), right="close=1002 closed",
           acceptable=r"(close=\d+ )?(closed|reset)|close=\d+ open|(text|binary)=\S+ open",
           why="If each length has one form only, no two parsers can differ about it. No sentence tells the recipient "
               "to check.")
      for name, data in (("5-in-16-bits", _HELLO_16), ("5-in-64-bits", _HELLO_64), ("125-in-16-bits", _125_IN_16),
                         ("65535-in-64-bits", _65535_IN_64))),
    fault(
        "frames/length-of-64-bits", "6455-5.2-length-63-bits", bytes.fromhex("82ff8000000000000001 00000000 61"),
        why="A program that reads the length as a signed number gets a negative one.",
        issue="CVE-2020-27813 (gorilla/websocket: an integer overflow of the length)", also=("6455-10.7-validated",),
    ),
    fault("frames/length-of-all-ones", "6455-5.2-length-63-bits", bytes.fromhex("82ffffffffffffffffff 00000000 61")),
    fault("frames/continuation-of-nothing", "6455-5.4-fragmented", sent(FIN | CONTINUATION, b"hello")),
)  # fmt: skip
