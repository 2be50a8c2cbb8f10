"""One test for each rule of frames and messages, on a bare socket; numbered as the cases of the Autobahn test suite."""

import struct
import time
from collections.abc import Iterator

import pytest

from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, Peer, close, cut, fragments, frame
from .serving import Serving

MIB = 1 << 20
KOSME = "κόσμε".encode()


@pytest.fixture
def peer(clear: Serving) -> Iterator[Peer]:
    """A WebSocket to /ws, without compression."""
    with Peer(clear) as peer:
        yield peer


# ---- 1: lengths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537])
def test_1_lengths(peer: Peer, opcode: int, size: int) -> None:
    """Each way to write a length is understood, in one piece and in many, and is used."""
    payload = b"*" * size if opcode == TEXT else bytes([0xFE]) * size
    peer.send(frame(opcode, payload))
    peer.expects(Frame(opcode, payload))
    peer.drip(frame(opcode, payload), 1 if size < 1_000 else 997)
    peer.expects(Frame(opcode, payload))
    peer.closes()


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CONTINUATION])
@pytest.mark.parametrize(
    ("length", "code"),
    [
        (struct.pack("!BH", 0xFE, 5), 1002),
        (struct.pack("!BH", 0xFE, 125), 1002),
        (struct.pack("!BQ", 0xFF, 125), 1002),
        (struct.pack("!BQ", 0xFF, 65_535), 1002),
        (struct.pack("!BQ", 0xFF, 1 << 63), 1002),
        (struct.pack("!BQ", 0xFF, (1 << 64) - 1), 1002),
        (struct.pack("!BQ", 0xFF, (1 << 63) - 1), 1009),
        (struct.pack("!BQ", 0xFF, 32 * MIB + 1), 1009),
    ],
)
def test_1_wrong_lengths(peer: Peer, opcode: int, length: bytes, code: int) -> None:
    """§5.2: a length takes the fewest bytes, and 63 bits; too much is refused as soon as it is announced."""
    if opcode == CONTINUATION:
        peer.send(frame(TEXT, "begun", fin=False))
    peer.send(bytes([0x80 | opcode]) + length + b"mask")
    peer.ends(1002 if opcode == PING else code)


# ---- 2: pings and pongs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"Hello", bytes([0, 255, 254, 253, 252, 251, 0, 255]), b"\xfe" * 125])
def test_2_ping(peer: Peer, payload: bytes) -> None:
    """A Ping is answered with its payload, which is any bytes, however it comes."""
    peer.send(frame(PING, payload))
    peer.expects(Frame(PONG, payload))
    peer.drip(frame(PING, payload))
    peer.expects(Frame(PONG, payload))
    peer.closes()


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@pytest.mark.parametrize("size", [126, 65_536])
def test_2_long_control_frames(peer: Peer, opcode: int, size: int) -> None:
    """§5.5: a control frame has at most 125 bytes."""
    peer.send(frame(opcode, struct.pack("!H", 1000) + b"*" * (size - 2)))
    peer.ends(1002)


def test_2_unsolicited_pongs(peer: Peer) -> None:
    """§5.5.3: a Pong that nobody asked for is a sign of life, and not answered."""
    peer.send(frame(PONG), frame(PONG, "unsolicited"), frame(PING, "ping"))
    peer.expects(Frame(PONG, b"ping"))
    peer.closes()


@pytest.mark.parametrize("size", [1, 3, 1_000_000])
def test_2_ten_pings(peer: Peer, size: int) -> None:
    """Ten Pings have ten Pongs, in order."""
    payloads = [b"payload-%d" % number for number in range(10)]
    peer.drip(b"".join(frame(PING, payload) for payload in payloads), size)
    peer.expects(*(Frame(PONG, payload) for payload in payloads))
    peer.closes()


# ---- 3 and 4: what is reserved, masks --------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("rsv", range(1, 8))
def test_3_reserved_bits(peer: Peer, opcode: int, rsv: int) -> None:
    """§5.2: a bit that no extension gives a meaning ends the connection; what came before it in the same chunk counts."""
    peer.send(frame(TEXT, "good") + frame(opcode, b"\x03\xe8", rsv=rsv) + frame(TEXT, "late") + frame(PING))
    peer.expects(Frame(TEXT, b"good"))
    peer.ends(1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved"])
def test_4_reserved_opcodes(peer: Peer, opcode: int, payload: bytes) -> None:
    """§5.2: so does an opcode without a meaning; also within a message."""
    peer.drip(frame(TEXT, "good"))
    peer.expects(Frame(TEXT, b"good"))
    if payload:
        peer.send(frame(TEXT, "begun", fin=False))
    peer.send(frame(opcode, payload) + frame(PING))
    peer.ends(1002)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_4_no_mask(peer: Peer, opcode: int) -> None:
    """§5.1: a client masks each frame."""
    peer.send(frame(TEXT, "good") + frame(opcode, b"\x03\xe8", masked=False))
    peer.expects(Frame(TEXT, b"good"))
    peer.ends(1002)


@pytest.mark.parametrize("bad", [b"\x83", b"\xb1", b"\x80", b"\x09", b"\x81\x05", b"\x89\xfe"], ids=bytes.hex)
def test_4_the_first_bytes_suffice(peer: Peer, bad: bytes) -> None:
    """What is wrong is answered when it is seen, though the frame is not complete."""
    peer.send(frame(TEXT, "good") + bad)
    peer.expects(Frame(TEXT, b"good"))
    peer.ends(1002)


# ---- 5: fragments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_5_control_frames_are_whole(peer: Peer, opcode: int) -> None:
    """§5.5: a control frame has no fragments."""
    peer.send(frame(opcode, b"\x03\xe8", fin=False) + frame(CONTINUATION, b"x"))
    peer.ends(1002)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [1, 10, 1_000_000])
def test_5_fragments(peer: Peer, opcode: int, size: int) -> None:
    """A message in fragments comes back whole; Pings between them are answered before."""
    for pieces in ([b"fragment1", b"fragment2"], [b"", b""], [b"", b"x", b""], [b"%d" % n for n in range(50)]):
        peer.drip(b"".join(fragments(opcode, pieces)), size)
        peer.expects(Frame(opcode, b"".join(pieces)))
        asked = (frame(PING, piece) + fragment for piece, fragment in zip(pieces, fragments(opcode, pieces), strict=True))
        peer.drip(b"".join(asked), size)
        peer.expects(*(Frame(PONG, piece) for piece in pieces), Frame(opcode, b"".join(pieces)))
    peer.closes()


def test_5_pings_are_answered_at_once(peer: Peer) -> None:
    """A Ping does not wait for the rest of the message that it came in."""
    for number, fragment in enumerate(fragments(TEXT, [b"a", b"b", b"c", b"d"])):
        peer.send(frame(PING, b"%d" % number))
        peer.expects(Frame(PONG, b"%d" % number))
        peer.send(fragment)
    peer.expects(Frame(TEXT, b"abcd"))
    peer.closes()


WRONG_FRAGMENTS = {
    "continuation of nothing": [frame(CONTINUATION, b"x"), frame(TEXT, b"y")],
    "unfinished continuation of nothing": [frame(CONTINUATION, b"x", fin=False), frame(TEXT, b"y")],
    "empty continuation of nothing": [frame(CONTINUATION)],
    "continuation first": [frame(CONTINUATION, b"x", fin=False), *fragments(TEXT, [b"a", b"b"])],
    "text in text": [frame(TEXT, b"a", fin=False), frame(TEXT, b"b")],
    "binary in text": [frame(TEXT, b"a", fin=False), frame(BINARY, b"b", fin=False)],
    "text in binary": [frame(BINARY, b"a", fin=False), frame(TEXT, b"b")],
    "reserved bit within": [frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b", rsv=4)],
}


@pytest.mark.parametrize("frames", WRONG_FRAGMENTS.values(), ids=WRONG_FRAGMENTS)
@pytest.mark.parametrize("at_once", [True, False])
def test_5_wrong_fragments(peer: Peer, frames: list[bytes], at_once: bool) -> None:
    """§5.4: fragments of two messages do not mix; the whole messages before them are echoed."""
    good = fragments(TEXT, [b"fragment1", b"fragment2"])
    peer.send(*([b"".join(good + frames)] if at_once else good + frames))
    peer.expects(Frame(TEXT, b"fragment1fragment2"))
    peer.ends(1002)


# ---- 6: UTF-8 --------------------------------------------------------------------------------------------------------

VALID = [
    "", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe",
    "\uffff", "\U00010000", "\U0001fffe", "\U0003ffff", "\U0010fffe", "\U0010ffff", "\ufeffBOM", "한국어 日本語 🎉" * 1_000,
]  # fmt: skip

INVALID = [  # each up to its first wrong byte, and what comes behind it
    ("ceba e1bdb9 cf83 cebc ceb5 eda0", "80 656469746564"), ("f490", "8080"), ("f5", "808080"), ("f8", "88808080"),
    ("fc", "8480808080"), ("fe", ""), ("ff", ""), ("80", ""), ("bf", ""), ("8080", ""), ("eda0", "80"), ("edad", "bf"),
    ("edbf", "bf"), ("c0", "af"), ("c1", "bf"), ("e080", "af"), ("e09f", "bf"), ("f080", "80af"), ("f08f", "bfbf"),
    ("c241", ""), ("e18041", ""), ("f1808041", ""), ("ed41", ""), ("f441", ""), ("41 ce 41", "42"), ("cebac0", ""),
]  # fmt: skip
WRONG = [(bytes.fromhex(bad), bytes.fromhex(rest)) for bad, rest in INVALID]
CUT_OFF = [bytes.fromhex(text) for text in ("c2", "df", "e0a0", "e1", "e188", "f0", "f090", "f09080", "cebaf48fbf", "ceba ce")]


@pytest.mark.parametrize("text", VALID, ids=ascii)
def test_6_valid(peer: Peer, text: str) -> None:
    """Text is echoed byte by byte, wherever its frames and its packets are cut."""
    payload = text.encode()
    peer.send(frame(TEXT, payload))
    peer.drip(frame(TEXT, payload), 1 if len(payload) < 100 else 1_001)
    peer.send(b"".join(fragments(TEXT, cut(payload, 1))))
    peer.expects(*[Frame(TEXT, payload)] * 3)
    peer.closes()


@pytest.mark.parametrize("bad", [bad + rest for bad, rest in WRONG] + CUT_OFF, ids=bytes.hex)
def test_6_invalid(peer: Peer, bad: bytes) -> None:
    """§8.1: a message that is not UTF-8 ends the connection, the ones before it count."""
    peer.send(frame(TEXT, "good") + frame(TEXT, bad) + frame(TEXT, "late"))
    peer.expects(Frame(TEXT, b"good"))
    peer.ends(1007)


@pytest.mark.parametrize("bad", [bad + rest for bad, rest in WRONG] + CUT_OFF, ids=bytes.hex)
def test_6_invalid_in_fragments(peer: Peer, bad: bytes) -> None:
    """However it is cut."""
    peer.send(b"".join(fragments(TEXT, cut(bad, 1))))
    peer.ends(1007)


@pytest.mark.parametrize("bad", [bad for bad, _ in WRONG], ids=bytes.hex)
@pytest.mark.parametrize("way", ["frame", "fragments", "octets"])
def test_6_fail_fast(peer: Peer, bad: bytes, way: str) -> None:
    """The first wrong byte ends it, though the frame, or the message, is not complete (6.4)."""
    if way == "fragments":
        peer.send(*(frame(CONTINUATION if n else TEXT, bad[n : n + 1], fin=False) for n in range(len(bad))))
    else:
        unfinished = frame(TEXT, KOSME + bad + b"the rest")[: -len(b"the rest")]
        peer.drip(unfinished, 1 if way == "octets" else len(unfinished))
    peer.ends(1007)


@pytest.mark.parametrize("bad", [bad for bad, _ in WRONG[:5]], ids=bytes.hex)
def test_6_good_bytes_wait(peer: Peer, bad: bytes) -> None:
    """And no byte before it does: until then a Ping is answered, and no text is delivered."""
    peer.send(frame(TEXT, KOSME, fin=False), frame(CONTINUATION, bad[:-1], fin=False), frame(PING, "?"))
    peer.expects(Frame(PONG, b"?"))
    peer.send(frame(CONTINUATION, bad[-1:], fin=False))
    peer.ends(1007)


def test_6_binary_is_free(peer: Peer) -> None:
    """Binary messages are any bytes."""
    for bad, rest in WRONG:
        peer.send(frame(BINARY, bad + rest))
        peer.expects(Frame(BINARY, bad + rest))
    peer.closes()


# ---- 7: the closing handshake ----------------------------------------------------------------------------------------

CODES = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
WRONG_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 32_768, 65_535]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("reason", ["", "bye"])
def test_7_codes(peer: Peer, code: int, reason: str) -> None:
    """§5.5.1: the answer to a Close has its code; then the server closes the connection."""
    peer.send(frame(TEXT, "last") + close(code, reason))
    peer.expects(Frame(TEXT, b"last"))
    peer.ends(code)


@pytest.mark.parametrize("code", WRONG_CODES)
@pytest.mark.parametrize("reason", ["", "bye"])
def test_7_wrong_codes(peer: Peer, code: int, reason: str) -> None:
    """§7.4: codes that have no meaning, or must not be sent."""
    peer.send(frame(TEXT, "last") + close(code, reason))
    peer.expects(Frame(TEXT, b"last"))
    peer.ends(1002)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", 1005),
        (b"\x03", 1002),
        (b"\x03\xe8" + b"*" * 123, 1000),
        (b"\x03\xe8" + b"*" * 124, 1002),
        (b"\x03\xe8" + "ß€😀".encode(), 1000),
        (b"\x03\xe8\xce\xba\xff", 1007),
        (b"\x03\xe8\xed\xa0\x80", 1007),
        (b"\x03\xe8" + "€".encode()[:2], 1007),
        (b"\x03\xe8" + b"*" * 122 + b"\xc3", 1007),
    ],
)
@pytest.mark.parametrize("size", [1, 1_000])
def test_7_payloads(peer: Peer, payload: bytes, code: int, size: int) -> None:
    """§5.5.1: nothing, or a code and a reason of at most 123 bytes of UTF-8."""
    peer.drip(frame(CLOSE, payload), size)
    peer.ends(code)


LATE = [close(1000), close(1001), frame(PING), frame(TEXT, "late"), frame(CONTINUATION, "x"), b"\xff\xff", b"x" * 100_000]


@pytest.mark.parametrize("late", LATE, ids=["Close", "another Close", "Ping", "text", "continuation", "no frame", "much"])
def test_7_after_close(peer: Peer, late: bytes) -> None:
    """§5.5.1: what comes after a Close is not read, whatever it is."""
    peer.send(frame(TEXT, "first") + frame(TEXT, "half", fin=False) + close(1000) + late)
    peer.expects(Frame(TEXT, b"first"))
    peer.ends(1000)


def test_7_messages_before_close(peer: Peer) -> None:
    """What came before it is echoed first (7.1.6)."""
    peer.send(frame(TEXT, b"*" * (256 << 10)) + frame(TEXT, "Hello") + close(1000) + frame(PING))
    peer.expects(Frame(TEXT, b"*" * (256 << 10)), Frame(TEXT, b"Hello"))
    peer.ends(1000)


@pytest.mark.parametrize("late", [b"", b"x" * 3_000_000])
def test_7_a_fault_is_told(peer: Peer, late: bytes) -> None:
    """The Close that tells of a fault arrives, though the client goes on sending (a reset would destroy it)."""
    peer.send(frame(3) + late)
    time.sleep(0.2)  # a reset would have come by now
    peer.ends(1002)


def test_7_ends_without_close(clear: Serving) -> None:
    """A client that just goes, between frames or within one, is no event."""
    for last in (b"", b"\x81", frame(TEXT, "half", fin=False), frame(TEXT, "Hello")[:-1], frame(PING)[:1]):
        with Peer(clear) as peer:
            peer.send(frame(TEXT, "good") + last)
            peer.sock.shutdown(1)
            peer.expects(Frame(TEXT, b"good"))
            assert peer.sock.recv(1) == b""


# ---- 9 and 10: much --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64 << 10, 256 << 10, MIB, 4 * MIB, 32 * MIB])
def test_9_large_messages(peer: Peer, opcode: int, size: int) -> None:
    """Messages up to 32 MiB."""
    payload = (b"0123456789abcdef" * (size // 16)) if opcode == TEXT else (bytes(range(256)) * (size // 256))
    peer.send(frame(opcode, payload))
    peer.expects(Frame(opcode, payload))
    peer.closes()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64, 256, 4_096, 65_536, 4 * MIB])
def test_9_fragmented_messages(peer: Peer, opcode: int, size: int) -> None:
    """4 MiB in fragments: of 64 bytes, they are 65,536."""
    payload = bytes(range(256)) * (4 * MIB // 256) if opcode == BINARY else "0123456789äß😀".encode() * (4 * MIB // 18)
    peer.send(b"".join(fragments(opcode, cut(payload, size))))
    peer.expects(Frame(opcode, payload))
    peer.closes()


@pytest.mark.parametrize("size", [64, 256, 2_048])
def test_9_small_packets(peer: Peer, size: int) -> None:
    """1 MiB, a few bytes at a time."""
    payload = "0123456789äöüabc".encode() * (MIB // 19)
    peer.drip(frame(TEXT, payload), size)
    peer.expects(Frame(TEXT, payload))
    peer.closes()


@pytest.mark.parametrize("size", [0, 16, 64, 1_024])
def test_9_many_messages(peer: Peer, size: int) -> None:
    """A thousand messages, one after the other, and then all at once."""
    for _ in range(1_000):
        peer.send(frame(BINARY, b"*" * size))
        peer.expects(Frame(BINARY, b"*" * size))
    peer.send(b"".join(frame(TEXT, b"*" * size) for _ in range(1_000)))
    peer.expects(*[Frame(TEXT, b"*" * size)] * 1_000)
    peer.closes()


def test_9_too_large(peer: Peer) -> None:
    """More than 32 MiB in fragments is refused at the header of the one that is too much."""
    peer.send(*fragments(BINARY, [bytes(MIB)] * 33)[:32])
    peer.send(frame(PING))
    peer.expects(Frame(PONG, b""))
    peer.send(frame(CONTINUATION, b"x", fin=False)[:6])
    peer.ends(1009)


def test_9_too_many_fragments(peer: Peer) -> None:
    """A message that never ends, in fragments of nothing, is stopped."""
    peer.send(frame(TEXT, fin=False))
    peer.send(frame(CONTINUATION, fin=False) * 131_072)
    peer.ends(1009)


def test_10_fragments_of_no_power_of_two(peer: Peer) -> None:
    """64 KiB in fragments of 1300 bytes."""
    payload = b"*" * 65_536
    peer.send(*fragments(TEXT, cut(payload, 1_300)))
    peer.expects(Frame(TEXT, payload))
    peer.closes()
