"""permessage-deflate on a bare socket: each combination of its parameters, and what a peer may do and may not."""

import json
import random
import zlib

import pytest

from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Deflate, Frame, Peer, close, cut, fragments, frame
from .serving import Serving

MIB = 1 << 20
NAME = "permessage-deflate"
RSV1 = 4

TEXTS = json.dumps([{"id": n, "name": f"näme {n * 7919 % 1000}", "list": [n, n + 1, None]} for n in range(4_000)]).encode()
NOISE = random.Random(1).randbytes(150_000)

OFFERS = [  # as the Autobahn test suite's 13.1 to 13.7, and more with the client's parameters
    "",
    "server_no_context_takeover",
    "server_max_window_bits=9",
    "server_max_window_bits=15",
    "server_no_context_takeover; server_max_window_bits=9",
    "server_no_context_takeover; server_max_window_bits=15",
    "client_no_context_takeover",
    "client_max_window_bits",
    "client_max_window_bits=9",
    "client_max_window_bits=15; server_max_window_bits=10",
    'client_max_window_bits="10"; client_no_context_takeover; server_no_context_takeover; server_max_window_bits="11"',
]


def connect(server: Serving, *offers: str) -> tuple[Peer, dict[str, str]]:
    """A WebSocket, and the parameters that the server chose."""
    lines = [f"Sec-WebSocket-Extensions: {NAME}{'; ' if offer else ''}{offer}" for offer in offers]
    peer = Peer(server, *lines)
    name, *words = peer.answer.fields["sec-websocket-extensions"].split("; ")
    assert name == NAME and len(set(words)) == len(words)
    return peer, {name: value for name, _, value in (word.partition("=") for word in words)}


def deflate(chosen: dict[str, str]) -> Deflate:
    """What fits the server's choice, to the last bit of the windows."""
    return Deflate(
        send_bits=int(chosen.get("client_max_window_bits", "15")),
        receive_bits=int(chosen.get("server_max_window_bits", "15")),
        keep_ours="client_no_context_takeover" not in chosen,
        keep_theirs="server_no_context_takeover" not in chosen,
    )


def inflated(peer: Peer, codec: Deflate) -> bytes:
    """The next message, which is compressed."""
    answer = peer.read()
    assert answer.rsv1 and answer.fin
    return codec.inflate(answer.payload)


@pytest.mark.parametrize("offer", OFFERS)
def test_13_what_is_chosen(clear: Serving, offer: str) -> None:
    """RFC 7692 §7.1: the answer keeps to the offer, and says nothing of the client that it did not offer."""
    peer, chosen = connect(clear, offer)
    with peer:
        asked = {name: value.strip('"') for name, _, value in (word.partition("=") for word in offer.split("; ") if word)}
        assert "server_no_context_takeover" in chosen or "server_no_context_takeover" not in asked
        assert 9 <= int(chosen.get("server_max_window_bits", "15")) <= int(asked.get("server_max_window_bits", "15"))
        assert "client_max_window_bits" in asked or "client_max_window_bits" not in chosen
        assert 9 <= int(chosen.get("client_max_window_bits", "9")) <= int(asked.get("client_max_window_bits") or "15")
        peer.closes()


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_12_13_messages(clear: Serving, offer: str, opcode: int) -> None:
    """Messages of all sizes, whole and in fragments, compressible and not, each often enough to look back at."""
    peer, chosen = connect(clear, offer)
    codec = deflate(chosen)
    with peer:
        for size in (0, 16, 64, 256, 1_024, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072):
            for content in (TEXTS[:size], NOISE[:size] if opcode == BINARY else NOISE[: size // 2].hex().encode()):
                for _ in range(3):
                    peer.send(frame(opcode, codec.deflate(content), rsv=RSV1))
                    assert inflated(peer, codec) == content
                peer.send(b"".join(fragments(opcode, cut(codec.deflate(content), 1 + size // 7), rsv=RSV1)))
                assert inflated(peer, codec) == content
        peer.closes()


@pytest.mark.parametrize("offer", OFFERS[:5])
def test_12_many_messages(clear: Serving, offer: str) -> None:
    """Five hundred, one after the other; then as many at once."""
    peer, chosen = connect(clear, offer)
    codec = deflate(chosen)
    messages = [TEXTS[n * 7 : n * 7 + 100] for n in range(500)]
    with peer:
        for message in messages:
            peer.send(frame(TEXT, codec.deflate(message), rsv=RSV1))
            assert inflated(peer, codec) == message
        peer.send(b"".join(frame(TEXT, codec.deflate(message), rsv=RSV1) for message in messages))
        for message in messages:
            assert inflated(peer, codec) == message
        peer.closes()


DECLINED = [
    "server_max_window_bits",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=08",
    "server_max_window_bits=8",
    "client_max_window_bits=7",
    "client_max_window_bits=16",
    "client_max_window_bits=+9",
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_no_context_takeover; server_no_context_takeover",
    "server_max_window_bits=10; server_max_window_bits=10",
    "unknown",
]


@pytest.mark.parametrize("offer", DECLINED)
def test_13_declined(clear: Serving, offer: str) -> None:
    """§7: an offer that is not understood is declined, and the connection does without; or the next one is taken."""
    with Peer(clear, f"Sec-WebSocket-Extensions: {NAME}; {offer}") as peer:
        assert "sec-websocket-extensions" not in peer.answer.fields
        peer.send(frame(TEXT, "plain"))
        peer.expects(Frame(TEXT, b"plain"))
        peer.send(frame(TEXT, Deflate().deflate(b"packed"), rsv=RSV1))
        peer.ends(1002)
    for offers in ([offer, "server_max_window_bits=10"], [f"{offer}, x-other; a=b, {NAME}; server_max_window_bits=10"]):
        peer, chosen = connect(clear, *offers)
        with peer:
            assert chosen["server_max_window_bits"] == "10"
            peer.closes()


@pytest.mark.parametrize("value", ["x-webkit-deflate-frame", "permessage-bzip2; a=1", ", x-webkit-deflate-frame,,"])
def test_13_nothing_known(clear: Serving, value: str) -> None:
    """Extensions that we do not know, and empty elements, are passed over."""
    with Peer(clear, f"Sec-WebSocket-Extensions: {value}") as peer:
        assert "sec-websocket-extensions" not in peer.answer.fields
        peer.closes()


PLAIN_TEXT = b"Hello"

PAYLOADS = {
    "one block (RFC 7692 §7.2.3.1)": bytes.fromhex("f248cdc9c90700"),
    "not compressed (§7.2.3.3)": bytes.fromhex("000500faff48656c6c6f00"),
    "a final block (§7.2.3.4)": bytes.fromhex("f348cdc9c9070000"),
    "two blocks (§7.2.3.5)": bytes.fromhex("f24805000000ffff cac9c90700"),
    "many empty blocks": b"\0\0\0\xff\xff" * 100 + bytes.fromhex("f248cdc9c90700"),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_12_ways_to_deflate(clear: Serving, name: str) -> None:
    """Each way to write a message is read: those of the standard's examples, cut anywhere; each starts a new one cleanly."""
    payload = PAYLOADS[name]
    peer, _ = connect(clear, "server_no_context_takeover; client_no_context_takeover")
    codec = Deflate(keep_theirs=False)
    with peer:
        for pieces in (cut(payload, len(payload)), cut(payload, 1), [b"", *cut(payload, 3), b""]):
            peer.send(b"".join(fragments(TEXT, pieces, rsv=RSV1)))
            assert inflated(peer, codec) == PLAIN_TEXT
        peer.closes()


def test_12_look_back(clear: Serving) -> None:
    """The standard's own second message, which refers to the first (§7.2.3.2)."""
    peer, _ = connect(clear, "")
    codec = Deflate()
    with peer:
        for payload in ("f248cdc9c90700", "f200110000"):
            peer.send(frame(TEXT, bytes.fromhex(payload), rsv=RSV1))
            assert inflated(peer, codec) == PLAIN_TEXT
        peer.closes()


def test_13_a_window_of_8_bits(clear: Serving) -> None:
    """A client may say that it looks back 256 bytes at most; that the server should is declined above, zlib can't."""
    peer, chosen = connect(clear, "client_max_window_bits=8")
    with peer:
        assert chosen["client_max_window_bits"] == "8"
        peer.send(frame(TEXT, Deflate(send_bits=9).deflate(b"short" * 40), rsv=RSV1))
        assert inflated(peer, Deflate()) == b"short" * 40
        peer.closes()


def test_12_empty(clear: Serving) -> None:
    """An empty message is one byte (§7.2.3.6), or an empty block and that byte."""
    peer, _ = connect(clear, "")
    codec = Deflate()
    with peer:
        for payload in (b"\0", b"\x02\0", b"\0"):
            peer.send(frame(BINARY, payload, rsv=RSV1))
            assert inflated(peer, codec) == b""
        peer.closes()


def test_12_not_each_message(clear: Serving) -> None:
    """A client chooses for each message whether to compress it; control frames between the fragments are never."""
    peer, _ = connect(clear, "")
    codec = Deflate()
    with peer:
        for opcode in (TEXT, BINARY, TEXT):
            peer.send(frame(opcode, PLAIN_TEXT), frame(opcode, codec.deflate(PLAIN_TEXT), rsv=RSV1))
            assert [inflated(peer, codec), inflated(peer, codec)] == [PLAIN_TEXT] * 2
            first, *rest = fragments(opcode, cut(codec.deflate(b"fragments"), 1), rsv=RSV1)
            peer.send(first + frame(PING, PLAIN_TEXT), *rest)
            peer.expects(Frame(PONG, PLAIN_TEXT))
            assert inflated(peer, codec) == b"fragments"
        peer.closes()


@pytest.mark.parametrize(
    "bad",
    [
        frame(PING, "x", rsv=RSV1),
        frame(PONG, "x", rsv=RSV1),
        frame(CLOSE, b"\x03\xe8", rsv=RSV1),
        frame(TEXT, b"\0", rsv=2),
        frame(TEXT, b"\0", rsv=5),
        frame(TEXT, b"\0", rsv=RSV1, fin=False) + frame(CONTINUATION, b"", rsv=RSV1),
        frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"", rsv=RSV1),
        frame(CONTINUATION, b"\0", rsv=RSV1),
    ],
    ids=["Ping", "Pong", "Close", "bit 2", "bits 1 and 3", "again on a continuation", "on a continuation", "of nothing"],
)
def test_12_wrong_bits(clear: Serving, bad: bytes) -> None:
    """§6.1: the bit is for the first frame of a message alone."""
    peer, _ = connect(clear, "")
    with peer:
        peer.send(frame(TEXT, Deflate().deflate(PLAIN_TEXT), rsv=RSV1) + bad)
        assert inflated(peer, Deflate()) == PLAIN_TEXT
        peer.ends(1002)


@pytest.mark.parametrize(
    ("payload", "opcode"),
    [
        (b"\xff" * 20, BINARY),
        (b"\x06\x00", BINARY),
        (bytes.fromhex("f200110000"), TEXT),  # looks back at what never was
        (Deflate().deflate(b"good \xff"), TEXT),
        (Deflate().deflate("€".encode()[:2]), TEXT),
    ],
)
def test_12_wrong_data(clear: Serving, payload: bytes, opcode: int) -> None:
    """What can't be inflated, or is no text then: 1007, also before the message is complete where that is seen."""
    peer, _ = connect(clear, "")
    with peer:
        peer.send(frame(opcode, payload, rsv=RSV1))
        peer.ends(1007)


def test_12_wrong_text_fails_fast(clear: Serving) -> None:
    """The first wrong byte of text ends the connection, though neither message nor frame is complete."""
    payload = zlib.compressobj(wbits=-15)
    data = payload.compress(b"good \xff") + payload.flush(zlib.Z_SYNC_FLUSH)
    peer, _ = connect(clear, "")
    with peer:
        peer.send(frame(TEXT, data + bytes(50), rsv=RSV1, fin=False)[:-50])
        peer.ends(1007)


@pytest.mark.parametrize("size", [33, 1_024, 20_000])
def test_12_bombs(clear: Serving, size: int) -> None:
    """A small message that would become a large one is stopped at the limit (here: MiB, some of 1 KB each)."""
    stream = zlib.compressobj(wbits=-15)
    data = (stream.compress(bytes(MIB)) + stream.flush(zlib.Z_FULL_FLUSH)) * size
    peer, _ = connect(clear, "")
    with peer:
        peer.send(frame(BINARY, data, rsv=RSV1) + close(1000))
        peer.ends(1009)


def test_12_32_mib(clear: Serving) -> None:
    """The largest message that is allowed, compressed in a small frame, comes back compressed."""
    peer, chosen = connect(clear, "")
    codec = deflate(chosen)
    with peer:
        peer.send(frame(BINARY, codec.deflate(bytes(32 * MIB)), rsv=RSV1))
        assert inflated(peer, codec) == bytes(32 * MIB)
        peer.closes()
