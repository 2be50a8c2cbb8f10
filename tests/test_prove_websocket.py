"""``minproto prove``: the transcripts of WebSocket, over HTTP/1.1 and HTTP/2, and of event streams."""

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable

import pytest

from minproto.aio.address import Address
from minproto.http2_frames import (
    CANCEL,
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    SETTINGS,
    encode_frame,
    encode_rst_stream,
    encode_settings,
    encode_window_update,
)
from minproto.prove.case import Case, Verdict
from minproto.prove.cases import CASES
from minproto.prove.frames import block
from minproto.prove.messages import KEY, closing, message, sent
from minproto.prove.probe import probe
from minproto.prove.runner import Result, prove_all
from minproto.prove.target import PATHS, Target
from minproto.prove.transcripts import TRANSCRIPTS
from minproto.prove.transcripts.base import Transcript
from minproto.prove.transcripts.websocket import shown
from minproto.websocket import FIN, TEXT

ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
)
TARGET = Target(Address("127.0.0.1", 8000), dict(PATHS), "a", 1.0)


def reading(name: str, *pieces: bytes, shows: tuple[str, ...] = (), offers: str = "") -> Transcript:
    """Return a transcript that has read pieces."""
    case = Case(f"{'websocket' if name == 'tunnel' else name}/test/it", "", (), right="", shows=shows, offers=offers)
    transcript = TRANSCRIPTS[name](case, TARGET)
    transcript.opening()
    for piece in pieces:
        transcript.receive(piece)
    return transcript


def test_a_frame_of_the_standard() -> None:
    assert sent(FIN | TEXT, b"Hello", KEY) == message("Hello") == bytes.fromhex("8185 37fa213d 7f9f4d5158")
    assert closing(1000)[:2] == b"\x88\x82"


def test_a_long_message_is_shown_by_its_length() -> None:
    text = "\u03ba" * 200
    assert shown(text) == f"text=400:{zlib.crc32(text.encode()):08x}"
    assert shown("a" * 200) == f"text=[{'a' * 200}]"


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_bytes_after_a_close_are_noted(cut: int) -> None:
    after = bytes.fromhex("8802 03e8") + bytes.fromhex("8101 61")
    pieces = [after[at : at + cut] for at in range(0, len(after), cut)]
    assert reading("websocket", ACCEPT + b"\r\n", *pieces).words == ["close=1000", "more"]
    assert reading("websocket", ACCEPT + b"\r\n" + after[:4]).words == ["close=1000"]


def test_a_code_without_meaning_is_no_fault_of_a_close() -> None:
    for code in (0, 999, 1004, 1016, 2999, 5000):
        frame = b"\x88\x02" + struct.pack("!H", code)
        assert reading("websocket", ACCEPT + b"\r\n", frame[:3], frame[3:]).words == [f"close={code}"]
    for code in (1005, 1006, 1015):
        assert reading("websocket", ACCEPT + b"\r\n", b"\x88\x02" + struct.pack("!H", code)).words == ["malformed"]


def test_compression_that_was_declined_or_used() -> None:
    agreed = ACCEPT + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    frame = bytes.fromhex("c107 f248cdc9c90700")
    assert reading("websocket", agreed, frame, offers="permessage-deflate").words == ["text=[Hello]"]
    words = reading("websocket", agreed, frame, offers="permessage-deflate", shows=("deflated",)).words
    assert words == ["deflated", "text=[Hello]"]
    assert reading("websocket", ACCEPT + b"\r\n", offers="permessage-deflate").words == ["declined"]
    with_tail = bytes.fromhex("c10b f248cdc9c90700 0000ffff")
    assert reading("websocket", agreed, with_tail, offers="permessage-deflate").words == ["tail", "text=[Hello]"]
    assert reading("websocket", agreed).words == ["malformed"]  # nobody has offered it


# ---- over HTTP/2 -----------------------------------------------------------------------------------------------------

_OFFERED = encode_settings([(ENABLE_CONNECT_PROTOCOL, 1)])


def head(status: str) -> bytes:
    return encode_frame(HEADERS, END_HEADERS, 1, block(TARGET, ((":status", status),)))


def data(payload: bytes, flags: int = 0) -> bytes:
    return encode_frame(DATA, flags, 1, payload)


def test_a_tunnel_asks_only_where_it_is_offered() -> None:
    tunnel = reading("tunnel")
    assert tunnel.opening().startswith(PREFACE) and not tunnel.ready
    assert b"websocket" in tunnel.receive(_OFFERED)
    tunnel.receive(head("200"))
    assert tunnel.ready and tunnel.words == []
    assert reading("tunnel", encode_settings([])).words == ["unoffered", "malformed"]
    assert reading("tunnel", _OFFERED, head("404")).words == ["refused=404", "malformed"]


def test_frames_in_data() -> None:
    tunnel = reading("tunnel", _OFFERED, head("200"))
    assert tunnel.wrap(b"abc") == data(b"abc")
    credit = tunnel.receive(data(b"\x81\x05he") + data(b"llo"))
    assert credit == encode_window_update(0, 7) + encode_window_update(1, 7)
    assert tunnel.words == ["text=[hello]"]
    tunnel.receive(data(b"\x88\x02\x03\xe8", END_STREAM))
    assert (tunnel.words, tunnel.over) == (["text=[hello]", "close=1000"], "closed")
    assert tunnel.shut() == data(b"", END_STREAM)


def test_a_reset_is_the_reset_of_tcp() -> None:
    assert reading("tunnel", _OFFERED, head("200"), encode_rst_stream(1, CANCEL)).over == "reset"


def test_a_tunnel_waits_for_the_window() -> None:
    tunnel = reading("tunnel", encode_settings([(ENABLE_CONNECT_PROTOCOL, 1), (INITIAL_WINDOW_SIZE, 5)]), head("200"))
    assert tunnel.wrap(b"12345678") == data(b"12345")
    assert tunnel.receive(encode_window_update(1, 2)) == data(b"67")
    assert tunnel.receive(encode_frame(SETTINGS, 0, 0, struct.pack("!HL", INITIAL_WINDOW_SIZE, 6))).endswith(data(b"8"))


# ---- event streams ---------------------------------------------------------------------------------------------------


def lines(stream: bytes) -> list[str]:
    """Return the words for the content of an event stream."""
    size = b"%x\r\n%s\r\n" % (len(stream), stream)
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size
    return reading("sse", response, shows=("events",)).words


def test_lines_of_an_event_stream() -> None:
    assert lines(b": \n") == ["200+", "comment"]
    assert lines(b"\xef\xbb\xbfdata: a\r\nid: 7\r\rretry: 10\n\n: hello\n\n") == ["200+", "event", "comment"]
    assert lines(b"id: a\0b\nretry: 1s\nx: y\ndata\n") == ["200+", "nul", "retry", "unknown", "event"]
    assert lines(b"data: caf\xe9 \n\n") == ["200+", "no-utf-8"]
    assert lines(b"data: no end of the line") == ["200+"]


# ---- servers that are wrong ------------------------------------------------------------------------------------------

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def run_on(server: Peer, *names: str) -> list[Result]:
    """Run cases on a server that answers each handshake with a 101, and each other request with a 404."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asks = b"sec-websocket-key" in head.lower()
        writer.write(ACCEPT + b"\r\n" if asks else b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await (server(reader, writer) if asks else reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        target = Target(Address("127.0.0.1", port), dict(PATHS), "a", 0.05)
        await probe(target, ["websocket"])
        cases = [case for case in CASES if case.name in names]
        return [result async for result in prove_all(cases, target, 1)]


async def masks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(message("hello"))
    await reader.read()


async def reads_anything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer "hello" and a Close, and take no notice of any other frame."""
    while data := await reader.read(100):
        if data == message("hello"):
            writer.write(b"\x81\x05hello")
        if data[0] == 0x88:
            writer.write(b"\x88\x02\x03\xea")
            return


def test_a_websocket_that_never_worked_is_wrong_and_not_gone() -> None:
    results = asyncio.run(run_on(masks, "websocket/handshake/status", "websocket/frames/unfragmented"))
    assert [(each.verdict, each.transcript) for each in results] == [
        (Verdict.RIGHT, "101 open"), (Verdict.WRONG, "malformed open"),
    ]  # fmt: skip


def test_our_close_does_not_make_a_fault_right() -> None:
    """A server that has not seen the fault gets no Close from us, since its answer would look like the right one."""
    (result,) = asyncio.run(run_on(reads_anything, "websocket/frames/opcode-b"))
    assert (result.verdict, result.transcript) == (Verdict.WRONG, "silent")
