r"""Step 9: the core. ``Connection`` of minproto gets bytes and returns events, gets events and returns bytes.

A core has no socket and no clock. The server around it is its *shell*, and does the waiting. All cores of minproto keep the
same contract (``src/minproto/core.py``):

    core.receive_data(bytes)     store bytes from the client
    core.next_event()            return a Message, Ping, Pong or Close; None if more bytes are needed; or raise an error
    core.reply(event)            return the event that the protocol demands as an answer: a Pong, a Close, or None
    core.send(event)             return the bytes of an event, or raise an error if it may not be sent now
    core.farewell(error)         return what is still to be said to a client that has broken a rule

So this file has no code for frames, masks, fragments and text, which was the subject of steps 2 to 6. The core checks each
byte when it arrives, and it knows what it has sent: nothing follows its Close.

The real shell has more than ``receive``, ``converse`` and ``drain``:

    It checks each field of the handshake, and answers 400 or 426.                     accept_request in websocket_handshake.py
    It agrees with the client on compression.                                          deflate.py
    After a fault it reads on for a moment: a reset would destroy the Close.           WebSocket._read in aio/websocket.py
    It does not wait long for an app that no longer answers, before it sends a Close.  WebSocket._let_app_answer
    It sends to many clients at once, and closes those that are too slow.              broadcast in aio/websocket.py
    The same handler serves HTTP/2, and there is a client.                             aio/websocket_server.py, _client.py

    python examples/steps/websocket/step9_core.py 8000
    python examples/steps/websocket/client.py 8000 hello
"""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from contextlib import suppress
from hashlib import sha1
from pathlib import Path

from minproto.core import SERVER, RemoteProtocolError
from minproto.websocket import GOING_AWAY, Close, Connection, Limits, Message, Ping, State

LIMITS = Limits(max_message=1_000_000, max_fragments=1_000)  # bytes and frames of a message
MAX_INBOX = 4  # messages that wait for the app
HANDSHAKE_TIME, PING_TIME, PONG_TIME, WRITE_TIME, CLOSE_TIME, DRAIN_TIME = 10.0, 20.0, 20.0, 30.0, 10.0, 30.0  # seconds

inboxes: dict[asyncio.Task, asyncio.Queue] = {}  # of each client, by its task
LOST = asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError  # the client has gone, or is late

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # the standard's text, which no program that knows only HTTP would hash
OUR_CLOSE = Close(GOING_AWAY)  # when the server is stopped
PAGE = (Path(__file__).parent / "page.html").read_bytes()


async def answer(text: str | bytes) -> str | bytes:
    """The app: return the answer to a text, which is the text. "slow" takes as long as a large query of a database."""
    if text == "slow":
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


async def read(reader: StreamReader, writer: StreamWriter, core: Connection) -> bytes:
    """Return some bytes. If none come, send a Ping, unless our Close is sent; raise RemoteProtocolError if none come then."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PING_TIME):
            return await reader.read(65_536)
    if core.state is not State.CLOSED:
        await send(writer, core.send(Ping()))
    with suppress(TimeoutError):
        async with asyncio.timeout(PONG_TIME):
            return await reader.read(65_536)
    raise RemoteProtocolError("no answer to a Ping", 1011)


async def send(writer: StreamWriter, data: bytes) -> None:
    """Write bytes, and wait until the client has read most of them. Raises ConnectionError if the client does not read."""
    writer.write(data)
    with suppress(TimeoutError):
        async with asyncio.timeout(WRITE_TIME):
            return await writer.drain()
    writer.transport.abort()
    raise ConnectionAbortedError


async def receive(reader: StreamReader, writer: StreamWriter, core: Connection, inbox: asyncio.Queue) -> None:
    """Put each message into the inbox, and after them the Close that is to be sent, or None if nobody would read it."""
    close = None
    with suppress(ConnectionError):  # the connection has ended without a Close
        try:
            while not isinstance(event := core.next_event(), Close):
                if event is None:
                    data = await read(reader, writer, core)
                    core.receive_data(data) if data else core.receive_eof()
                elif isinstance(event, Message):
                    await inbox.put(event)
                elif (reply := core.reply(event)) is not None:
                    await send(writer, core.send(reply))
            close = core.reply(event)
        except RemoteProtocolError as error:
            close = next(iter(core.farewell(error)), None)
    await inbox.put(close)


async def converse(reader: StreamReader, writer: StreamWriter) -> None:
    """Send each message of the inbox back, and then the Close."""
    core = Connection(SERVER, limits=LIMITS)
    inbox = inboxes[asyncio.current_task()] = asyncio.Queue(MAX_INBOX)
    receiver = asyncio.create_task(receive(reader, writer, core, inbox))
    try:
        while isinstance(event := await inbox.get(), Message):
            await send(writer, core.send(Message(await answer(event.data))))
        if event is not None:
            await send(writer, core.send(event))
        if event is OUR_CLOSE:  # the client's Close comes after the messages that are on their way
            async with asyncio.timeout(CLOSE_TIME):
                while isinstance(await inbox.get(), Message):
                    pass
    finally:
        receiver.cancel()
        del inboxes[asyncio.current_task()]


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve a client, and close the connection in the end."""
    with suppress(asyncio.CancelledError, *LOST):
        async with asyncio.timeout(HANDSHAKE_TIME):
            accepted = await shake_hands(reader, writer)  # the reader has a limit: 65,536 bytes for the head
        if accepted:
            await converse(reader, writer)
    writer.close()


async def say_goodbye(client: asyncio.Task, inbox: asyncio.Queue) -> None:
    """Put our Close after the messages of a client, and wait until the client has gone."""
    await inbox.put(OUR_CLOSE)
    await asyncio.wait([client])


async def drain() -> None:
    """Close the connections of all clients, within DRAIN_TIME seconds."""
    if inboxes:
        await asyncio.wait([asyncio.create_task(say_goodbye(*client)) for client in inboxes.items()], timeout=DRAIN_TIME)


async def main(port: int) -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C; then drain. Port 0 lets the system choose a port."""
    server = await asyncio.start_server(serve_client, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    try:
        await asyncio.Event().wait()  # never set
    finally:  # asyncio turns Ctrl-C into a CancelledError
        server.close()
        await drain()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port to listen on: {error}")
    except KeyboardInterrupt:
        pass
