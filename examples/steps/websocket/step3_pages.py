r"""Step 3: the client may be the browser of a victim, on a page of an attacker. Two checks stop what such a page can do.

A script may open a WebSocket to any server, even to one of another site. The script chooses the text, but not the bytes on
the wire: the browser masks them with a random key. So the script cannot write bytes that a program between browser and server
would take for a request of HTTP. A server accepts no frame without a mask: a client that does not mask works with no server.

The browser adds two fields to the handshake. ``Cookie`` says which user it is, and ``Origin`` says whose page asks for the
connection. The server accepts only its own pages:

    Host: 127.0.0.1:8000     Origin: http://127.0.0.1:8000      our own page
    Host: 127.0.0.1:8000     Origin: http://evil.example        403 Forbidden
    Host: 127.0.0.1:8000                                        a client that is not a browser: a program of the user's own

    python examples/steps/websocket/step3_pages.py 8000
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


async def read_frame(reader: StreamReader) -> bytes:
    """Return the payload of the next frame. Raises IncompleteReadError if the connection ends."""
    first, second = await reader.readexactly(2)
    if first & 0x70:  # bits for extensions: we could not read compressed text, for example
        raise Fault(1002, "a reserved bit is set")
    if not second & 0x80:
        raise Fault(1002, "a client has to mask its frames")
    length = second & 0x7F
    if length >= 126:
        least, size = (126, 2) if length == 126 else (65_536, 8)
        length = int.from_bytes(await reader.readexactly(size), "big")
        if not least <= length < 1 << 63:  # if a length had two forms, a proxy could read a different frame
            raise Fault(1002, "a length that is not in its shortest form, or over 63 bits")
    key = await reader.readexactly(4)
    return unmask(await reader.readexactly(length), key)


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
    with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError, Fault):
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
