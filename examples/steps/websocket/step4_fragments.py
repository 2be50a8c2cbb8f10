r"""Step 4: a message may be several frames, and control frames may come between them.

The last four bits of a frame's first byte are its *opcode*. The first bit is FIN, which says that this frame is the last one
of its message. Here a client sends "Hello" in two *fragments*, with a Ping between them (shown without masks):

    01  03  48 65 6c      opcode 1, text; no FIN: more fragments of this message will come
    89  00                opcode 9, a Ping: "are you there?" The answer is a Pong (opcode 10) with the same payload
    80  02  6c 6f         opcode 0, a continuation; FIN: the message is complete

A *control frame* (a Close, a Ping or a Pong) has at most 125 bytes and no fragments of its own. So it never waits for long.
The app gets whole messages, and no control frames.

    python examples/steps/websocket/step4_fragments.py 8000
    python examples/steps/websocket/client.py 8000 hello
"""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from contextlib import suppress
from hashlib import sha1
from pathlib import Path

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # the standard's text, which no program that knows only HTTP would hash
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # opcodes: what a frame is
FIN = 0x80  # a bit beside the opcode: the last frame of its message
PAGE = (Path(__file__).parent / "page.html").read_bytes()


class Fault(Exception):
    """The client broke a rule: a number for the kind of fault, which step 5 sends to the client, and a reason."""


async def answer(text: bytes) -> bytes:
    """The app: return the answer to a text, which is the text. "slow" takes as long as a large query of a database."""
    if text == b"slow":
        await asyncio.sleep(15)
    return text


async def shake_hands(reader: StreamReader, writer: StreamWriter) -> bool:
    """Answer a handshake, and return True. Answer any other request with the page, and return False."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    pairs = [line.partition(":") for line in head.split("\r\n")[1:]]
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    if "sec-websocket-key" not in fields:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n" + PAGE)
        return False
    if fields.get("origin") not in (None, f"http://{fields.get('host')}"):
        writer.write(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        return False
    accept = b64encode(sha1(fields["sec-websocket-key"].encode() + GUID).digest())
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade)
    return True


async def read_message(reader: StreamReader, writer: StreamWriter) -> tuple[int, bytes] | None:
    """Return the opcode and the payload of the next message; None for a Close. Answer each Ping on the way."""
    kind, message = CONTINUATION, b""  # no message has begun
    while True:
        fin, opcode, data = await read_frame(reader)
        if opcode == CLOSE:
            return None
        if opcode == PING:
            writer.write(frame(PONG, data))
        elif opcode != PONG:
            if (opcode == CONTINUATION) is (kind == CONTINUATION):
                raise Fault(1002, "a continuation of nothing, or a new message inside of another one")
            kind, message = kind or opcode, message + data
            if fin:
                return kind, message


async def read_frame(reader: StreamReader) -> tuple[bool, int, bytes]:
    """Return the FIN bit, the opcode and the payload of the next frame. Raises IncompleteReadError if the connection ends."""
    first, second = await reader.readexactly(2)
    if first & 0x70:  # bits for extensions: we could not read compressed text, for example
        raise Fault(1002, "a reserved bit is set")
    fin, opcode = bool(first & FIN), first & 0x0F
    if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        raise Fault(1002, "an unknown opcode")
    if not second & 0x80:
        raise Fault(1002, "a client has to mask its frames")
    length = second & 0x7F
    if opcode >= CLOSE and (not fin or length > 125):
        raise Fault(1002, "a control frame in fragments, or of more than 125 bytes")
    if length >= 126:
        least, size = (126, 2) if length == 126 else (65_536, 8)
        length = int.from_bytes(await reader.readexactly(size), "big")
        if not least <= length < 1 << 63:  # if a length had two forms, a proxy could read a different frame
            raise Fault(1002, "a length that is not in its shortest form, or over 63 bits")
    key = await reader.readexactly(4)
    return fin, opcode, unmask(await reader.readexactly(length), key)


def unmask(data: bytes, key: bytes) -> bytes:
    """Return the payload of a client: each byte is XORed with a byte of the key, the fifth with the first one again."""
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(data))


def frame(opcode: int, data: bytes) -> bytes:
    """Return a whole message, or a control frame. A server does not mask."""
    first, size = FIN | opcode, len(data)
    if size < 126:
        return bytes((first, size)) + data
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + data
    return bytes((first, 127)) + size.to_bytes(8, "big") + data


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Send each message back."""
    with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError, Fault):
        if await shake_hands(reader, writer):
            while (message := await read_message(reader, writer)) is not None:
                opcode, data = message
                writer.write(frame(opcode, await answer(data)))
    writer.close()


async def main(port: int) -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C. Port 0 lets the system choose a port."""
    server = await asyncio.start_server(serve_client, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await asyncio.Event().wait()  # never set


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port to listen on: {error}")
    except KeyboardInterrupt:
        pass
