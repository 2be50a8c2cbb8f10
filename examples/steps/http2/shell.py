"""The shell and the app of the steps: asyncio, a port, and a loop that carries bytes between a socket and a ``Connection``.

The same shell serves each step, so a step is about the protocol alone. A ``Connection`` is a core, as in the chapter on
sans-I/O: ``receive_data`` takes bytes from the client, and ``next_piece`` returns the next bytes for the client, or b"".
"""

import asyncio
import contextlib
import re
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from typing import Any


def answer(target: bytes, count: int = 0) -> bytes:
    """The app: return as many bytes as the target asks for. For another target, say how many bytes of content came with it."""
    if not re.fullmatch(rb"/[0-9]{1,7}", target):
        return b"%b with %d bytes of content\n" % (target, count)
    line, size = target + b"\n", int(target[1:])
    return (line * (size // len(line) + 1))[:size]


async def send_pieces(connection: Any, writer: StreamWriter, waker: asyncio.Event) -> None:
    """Send whatever the connection has to send, and wait until there is more."""
    with contextlib.suppress(ConnectionError):  # the client has gone
        while True:
            while piece := connection.next_piece():
                writer.write(piece)
                await writer.drain()
            waker.clear()
            await waker.wait()


async def serve_client(connection: Any, reader: StreamReader, writer: StreamWriter) -> None:
    """Read until the client ends the connection, or breaks a rule. A second task sends at the same time."""
    waker = asyncio.Event()
    sender = asyncio.create_task(send_pieces(connection, writer, waker))
    try:
        waker.set()
        while data := await reader.read(65_536):
            connection.receive_data(data)
            waker.set()
    except ValueError as fault:  # the steps' class Fault is a ValueError
        writer.write(connection.farewell(fault))
    except ConnectionError:
        pass
    sender.cancel()
    writer.close()


async def listen(make_connection: Callable[[], Any], port: int) -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C. Port 0 lets the system choose a port."""

    tasks = set()

    def connected(reader: StreamReader, writer: StreamWriter) -> None:
        """Serve the client in a task of ours: at Ctrl-C, asyncio in Python 3.11 prints a traceback for its own tasks."""
        task = asyncio.create_task(serve_client(make_connection(), reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await asyncio.Event().wait()  # never set


class Driver:
    """Step 9: a core with events, and its app, as this shell sees them."""

    def __init__(self, core: Any, app: Callable[[Any], Any]) -> None:
        self.core, self.app, self.ahead = core, app, b""

    def receive_data(self, data: bytes) -> None:
        """Answer each request that is complete now. Raises the core's Fault."""
        self.core.receive_data(data)
        for request in self.core.events():
            self.ahead += self.core.send(self.app(request))

    def next_piece(self) -> bytes:
        """Return the frames that are sent before all answers, or a piece of an answer."""
        ahead, self.ahead = self.ahead, b""
        return ahead or self.core.next_piece()

    def farewell(self, fault: Any) -> bytes:
        """Return the core's last bytes for a client that broke a rule."""
        return self.ahead + b"".join(self.core.send(event) for event in self.core.farewell(fault))


def serve_core(make_core: Callable[[], Any], app: Callable[[Any], Any]) -> None:
    """Serve a core that keeps the contract."""
    serve(lambda: Driver(make_core(), app))


def serve(make_connection: Callable[[], Any]) -> None:
    """Serve on the port that the command names."""
    try:
        asyncio.run(listen(make_connection, int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port to listen on: {error}")
    except KeyboardInterrupt:
        pass
