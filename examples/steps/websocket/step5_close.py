r"""Step 5: the last words. Each side sends a Close before it ends the connection, and the Close says why.

    88  02  03 e8                a Close with the code 1000: normal
    88  05  03 ef 62 79 65       a Close with the code 1007 (text that is not UTF-8), and the reason "bye"

When a Close has arrived, the server sends a Close with the same code. So both sides know that no message was lost on the way.
The end of TCP alone says nothing: a cable that is pulled out looks the same. A client that breaks a rule gets a Close, too.

One rule is new: text has to be UTF-8. The decoder checks it fragment by fragment, since a wrong byte should be found when its
fragment has arrived; but a fragment may end in the middle of a character, such as e2 82 | ac.

    python examples/steps/websocket/step5_close.py 8000
    python examples/steps/websocket/client.py 8000 hello
"""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from codecs import IncrementalDecoder, getincrementaldecoder
from contextlib import suppress
from hashlib import sha1
from pathlib import Path

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # the standard's text, which no program that knows only HTTP would hash
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # opcodes: what a frame is
FIN = 0x80  # a bit beside the opcode: the last frame of its message
Utf8Decoder = getincrementaldecoder("utf-8")  # keeps the bytes of a character that is not complete
PAGE = (Path(__file__).parent / "page.html").read_bytes()


class Fault(Exception):
    """The client broke a rule: the code for the Close (1002: a fault in the frames, 1007: in a payload), and the reason."""


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


async def read_message(reader: StreamReader, writer: StreamWriter) -> tuple[int, bytes]:
    """Return the opcode and the payload of the next message, or of a Close. Answer each Ping on the way."""
    kind, message = CONTINUATION, b""  # no message has begun
    decoder = Utf8Decoder()
    while True:
        fin, opcode, data = await read_frame(reader)
        if opcode == CLOSE:
            check_close(data)
            return CLOSE, data
        if opcode == PING:
            writer.write(frame(PONG, data))
        elif opcode != PONG:
            if (opcode == CONTINUATION) is (kind == CONTINUATION):
                raise Fault(1002, "a continuation of nothing, or a new message inside of another one")
            kind, message = kind or opcode, message + data
            if kind == TEXT:
                check_utf8(decoder, data, fin)
            if fin:
                return kind, message


def check_utf8(decoder: IncrementalDecoder, data: bytes, last: bool) -> None:
    """Check the next bytes of a text. ``last``: no character may be left incomplete."""
    try:
        decoder.decode(data, last)
    except UnicodeDecodeError:
        raise Fault(1007, "text that is not UTF-8") from None


def check_close(data: bytes) -> None:
    """Check the payload of a Close: nothing, or a code and a reason."""
    code = int.from_bytes(data[:2], "big")
    if data and not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):  # one byte is half a code
        raise Fault(1002, "no code that a Close may have")
    check_utf8(Utf8Decoder(), data[2:], True)


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


async def converse(reader: StreamReader, writer: StreamWriter) -> None:
    """Send each message back, until a Close comes, or the client breaks a rule. Then send a Close."""
    try:
        while (message := await read_message(reader, writer))[0] != CLOSE:
            opcode, data = message
            writer.write(frame(opcode, await answer(data)))
        last = message[1][:2]  # the code, without the reason
    except Fault as error:
        code, reason = error.args
        last = code.to_bytes(2, "big") + reason.encode()
    writer.write(frame(CLOSE, last))


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve a client, and close the connection in the end."""
    with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):  # Ctrl-C, or the client has gone
        if await shake_hands(reader, writer):
            await converse(reader, writer)
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
