r"""Step 1: a handshake, and one short text each way. A WebSocket server in fifty lines, which works with a browser.

A WebSocket begins as a request of HTTP. The client sends a key, and the server answers with a hash of this key:

    GET / HTTP/1.1                                   HTTP/1.1 101 Switching Protocols
    Host: 127.0.0.1:8000                             Upgrade: websocket
    Upgrade: websocket                               Connection: Upgrade
    Connection: Upgrade                              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==

After the empty line neither side speaks HTTP any more. Both sides send *frames*. A short text is one frame:

    81  02  48 69                    a frame with text; 2 bytes of text; "Hi"
    81  82  37 fa 21 3d  7f 93       the same from a client: a bit says that a key of 4 bytes follows, and the text is masked

The server sends each text back. Any other request gets a page, on which you can type. Try it:

    python examples/steps/websocket/step1_handshake.py 8000
    python examples/steps/websocket/client.py 8000 hello          # or open http://127.0.0.1:8000/ in a browser
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


def unmask(data: bytes, key: bytes) -> bytes:
    """Return the text of a client: each byte is XORed with a byte of the key, the fifth with the first one again."""
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(data))


def frame(text: bytes) -> bytes:
    """Return a frame with a text. A server does not mask."""
    return bytes((0x81, len(text))) + text


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Send each text back."""
    with suppress(asyncio.CancelledError):  # Ctrl-C
        if await shake_hands(reader, writer):
            while data := await reader.read(65_536):
                length = data[1] & 0x7F
                text = unmask(data[6 : 6 + length], data[2:6]) if data[1] & 0x80 else data[2 : 2 + length]
                writer.write(frame(await answer(text)))
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
