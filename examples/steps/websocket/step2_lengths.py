r"""Step 2: read the length, then exactly this many bytes. Now a text may be long, and TCP may cut the frames anywhere.

Seven bits have no room for a length over 127. So 126 and 127 are not lengths: they say where the length is.

    81  05                               5 bytes of text
    81  7e  01 00                        126: the length is in the next 2 bytes, and is 256
    81  7f  00 00 00 00 00 01 00 00      127: the length is in the next 8 bytes, and is 65,536

``read_frame`` reads the header to its end, and then the payload, which is what follows the header. ``readexactly`` waits
until as many bytes have arrived as it is asked for, and leaves the bytes after them for the next frame.

    python examples/steps/websocket/step2_lengths.py 8000
    python examples/steps/websocket/client.py 8000 "$(seq 1000)"
"""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from contextlib import suppress
from hashlib import sha1
from pathlib import Path

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # the standard's text, which no program that knows only HTTP would hash
PAGE = (Path(__file__).parent / "page.html").read_bytes()


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
    accept = b64encode(sha1(fields["sec-websocket-key"].encode() + GUID).digest())
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade)
    return True


async def read_frame(reader: StreamReader) -> bytes:
    """Return the payload of the next frame. Raises IncompleteReadError if the connection ends."""
    _, second = await reader.readexactly(2)
    length = second & 0x7F
    if length >= 126:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    if second & 0x80:
        key = await reader.readexactly(4)
        return unmask(await reader.readexactly(length), key)
    return await reader.readexactly(length)


def unmask(data: bytes, key: bytes) -> bytes:
    """Return the payload of a client: each byte is XORed with a byte of the key, the fifth with the first one again."""
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(data))


def frame(text: bytes) -> bytes:
    """Return a frame with a text. A server does not mask."""
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    return (b"\x81\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x81\x7f" + size.to_bytes(8, "big")) + text


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Send each text back."""
    with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):  # Ctrl-C, or the client has gone
        if await shake_hands(reader, writer):
            while True:
                writer.write(frame(await answer(await read_frame(reader))))
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
