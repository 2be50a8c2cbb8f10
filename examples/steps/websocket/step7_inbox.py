r"""Step 7: two tasks for each client. One reads, the other one runs the app, and between them is an inbox of four messages.

    client -- bytes --> receive() -- messages --> inbox (at most 4) --> converse() -- answers --> client
                            `------- Pongs ------------------------------------------------------->

The reading task never waits for the app while there is room in the inbox. So a Ping is answered although the app is busy.

When the inbox is full, the reading task waits. When a client does not read its answers, ``send`` waits, so the app waits, so
the inbox gets full, so nobody reads from the client. This is *back-pressure*: it reaches from one end to the other. A client
that takes nothing for 30 seconds is cut off.

    python examples/steps/websocket/step7_inbox.py 8000
    python examples/steps/websocket/client.py 8000 slow hello
"""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from codecs import IncrementalDecoder, getincrementaldecoder
from contextlib import suppress
from hashlib import sha1
from pathlib import Path

MAX_MESSAGE, MAX_FRAGMENTS, MAX_INBOX = 1_000_000, 1_000, 4  # bytes and frames of a message; messages for the app
HANDSHAKE_TIME, PING_TIME, PONG_TIME, WRITE_TIME = 10.0, 20.0, 20.0, 30.0  # seconds
LOST = asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError  # the client has gone, or is late

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # the standard's text, which no program that knows only HTTP would hash
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # opcodes: what a frame is
FIN = 0x80  # a bit beside the opcode: the last frame of its message
Utf8Decoder = getincrementaldecoder("utf-8")  # keeps the bytes of a character that is not complete
PAGE = (Path(__file__).parent / "page.html").read_bytes()


class Fault(Exception):
    """The client broke a rule: the code for the Close and the reason.

    1002 is a fault in the frames, 1007 one in a payload, 1009 a message that is too big, 1011 a client that is gone.
    """


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
    kind, message, fragments = CONTINUATION, b"", 0  # no message has begun
    decoder = Utf8Decoder()
    while True:
        fin, opcode, data = await read_frame(reader, writer, MAX_MESSAGE - len(message))
        if opcode == CLOSE:
            check_close(data)
            return CLOSE, data
        if opcode == PING:
            await send(writer, frame(PONG, data))
        elif opcode != PONG:
            if (opcode == CONTINUATION) is (kind == CONTINUATION):
                raise Fault(1002, "a continuation of nothing, or a new message inside of another one")
            kind, message, fragments = kind or opcode, message + data, fragments + 1
            if fragments > MAX_FRAGMENTS:
                raise Fault(1009, "too many fragments")
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


async def read_frame(reader: StreamReader, writer: StreamWriter, room: int) -> tuple[bool, int, bytes]:
    """Return the FIN bit, the opcode and the payload of the next frame, whose payload may have ``room`` bytes.

    Raises IncompleteReadError if the connection ends earlier.
    """
    first, second = await read_exactly(reader, writer, 2)
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
        length = int.from_bytes(await read_exactly(reader, writer, size), "big")
        if not least <= length < 1 << 63:  # if a length had two forms, a proxy could read a different frame
            raise Fault(1002, "a length that is not in its shortest form, or over 63 bits")
    if opcode < CLOSE and length > room:  # before any byte of the payload is stored
        raise Fault(1009, "message too big")
    key = await read_exactly(reader, writer, 4)
    return fin, opcode, unmask(await read_exactly(reader, writer, length), key)


async def read_exactly(reader: StreamReader, writer: StreamWriter, size: int) -> bytes:
    """Return this many bytes. If they take too long, send a Ping; raise Fault if they still do not come."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PING_TIME):
            return await reader.readexactly(size)  # when the time is over, all bytes are still in the reader
    await send(writer, frame(PING, b""))
    with suppress(TimeoutError):
        async with asyncio.timeout(PONG_TIME):
            return await reader.readexactly(size)
    raise Fault(1011, "no answer to a Ping")


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


async def send(writer: StreamWriter, data: bytes) -> None:
    """Write bytes, and wait until the client has read most of them. Raises ConnectionError if the client does not read."""
    writer.write(data)
    with suppress(TimeoutError):
        async with asyncio.timeout(WRITE_TIME):
            return await writer.drain()
    writer.transport.abort()
    raise ConnectionAbortedError


async def receive(reader: StreamReader, writer: StreamWriter, inbox: asyncio.Queue) -> None:
    """Put each message into the inbox, until a Close comes, or the client breaks a rule. Then send a Close."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):  # the connection has ended without a Close
        try:
            while (message := await read_message(reader, writer))[0] != CLOSE:
                await inbox.put(message)
            last = message[1][:2]  # the code, without the reason
        except Fault as error:
            code, reason = error.args
            last = code.to_bytes(2, "big") + reason.encode()
        await send(writer, frame(CLOSE, last))
        writer.close()
    await inbox.put(None)  # there are no more messages


async def converse(reader: StreamReader, writer: StreamWriter) -> None:
    """Send each message of the inbox back."""
    inbox: asyncio.Queue = asyncio.Queue(MAX_INBOX)
    receiver = asyncio.create_task(receive(reader, writer, inbox))
    try:
        while (message := await inbox.get()) is not None:
            opcode, data = message
            await send(writer, frame(opcode, await answer(data)))
    finally:
        receiver.cancel()


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve a client, and close the connection in the end."""
    with suppress(asyncio.CancelledError, *LOST):
        async with asyncio.timeout(HANDSHAKE_TIME):
            accepted = await shake_hands(reader, writer)  # the reader has a limit: 65,536 bytes for the head
        if accepted:
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
