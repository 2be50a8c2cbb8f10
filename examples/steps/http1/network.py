r"""The stage of the attackers: each step runs here unchanged, on a network in memory and a virtual clock.

``asyncio.start_server`` asks the event loop for a server. The loop in this file makes a server without a socket. So the
attacker decides how the bytes are cut, and whether the client reads. The clock jumps from timer to timer: an hour passes at
once, and each run prints the same lines.

    async def attack(server, *segments):
        client = server.connect()
        await client.send(*segments)
        return client.shown()

    print(run("step2_head", attack, b"GET / HTTP/1.1\r\n", b"\r\n"))           # prints: 200 GET /
"""

import asyncio
import contextlib
import importlib
import io
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from minproto.testing.clock import VirtualLoop

HIGH_WATER = 65_536  # bytes that may wait for a client before ``drain`` waits, as in asyncio


class Client(asyncio.Transport):
    """A client, and at the same time the server's transport: the client receives the bytes that the server writes."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.received = b""
        self.reads = True
        self.open = True
        self.closing = False
        self._protocol = protocol
        self._reading = True  # whether the server reads
        self._coming = b""  # bytes for a server that does not read
        self._kept = bytearray()  # the server's bytes that wait in its memory, because the client does not read
        protocol.connection_made(self)

    async def send(self, *segments: bytes) -> None:
        """Send segments, each of which reaches the server by itself, and let the server do whatever it can do now."""
        for segment in segments:
            self._coming += segment
            self._deliver()
            await asyncio.sleep(0.001)  # the clock moves on when no task has anything to do

    @property
    def unread(self) -> int:
        """The number of bytes that wait in the server's memory, because the client does not read."""
        return len(self._kept)

    def read_all(self) -> None:
        """Read the bytes that wait in the server's memory, and from now on all later bytes."""
        was_full, self.reads = self.unread > HIGH_WATER, True
        self.received += self._kept
        self._kept.clear()
        if was_full:
            self._protocol.resume_writing()
        if self.closing:
            self.abort()

    def reset(self) -> None:
        """Reset the connection, as the kernel of a client does whose program has ended."""
        self.abort(ConnectionResetError())

    def end(self) -> None:
        """End the client's output."""
        self._protocol.eof_received()

    def shown(self) -> str:
        """Return the received responses, each as its status and its content; "no answer" if there is none."""
        rest, answers = self.received, []
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            content, rest = rest[:length].decode(), rest[length:]
            answers.append(f"{head[9:12].decode()} {' '.join(content.split())}")
        return ", ".join(answers) or "no answer"

    def _deliver(self) -> None:
        while self._reading and self.open and self._coming:
            segment, self._coming = self._coming[:65_536], self._coming[65_536:]
            self._protocol.data_received(segment)

    # -- the transport, as the server sees it

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.open and self.reads:
            self.received += data
        elif self.open:
            was_full = self.unread > HIGH_WATER
            self._kept += data
            if self.unread > HIGH_WATER and not was_full:
                self._protocol.pause_writing()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._deliver()

    def close(self) -> None:
        """End the connection as soon as the client has read all bytes."""
        self.closing = True
        if not self.unread:
            self.abort()

    def abort(self, error: Exception | None = None) -> None:
        if self.open:
            self.open = False
            self._kept.clear()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

    def is_closing(self) -> bool:
        return self.closing or not self.open

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Server(asyncio.AbstractServer):
    """A running step. ``asyncio.start_server`` returns this object to the step, and ``run`` gives it to the attacker."""

    sockets: tuple["Server", ...]
    step: ModuleType
    main: "asyncio.Task[None]"
    attacker: "asyncio.Task[Any] | None"

    def __init__(self, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._make_protocol = make_protocol
        self.sockets = (self,)
        self.clients: list[Client] = []
        self.failures: list[str] = []
        """The names of the exceptions that the step has not caught. A step that fails sends no answer."""

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 8000

    def close(self) -> None:
        """Do nothing: in memory, only the attacker connects, and it does not connect after this call."""

    def connect(self) -> Client:
        self.clients.append(Client(self._make_protocol()))
        return self.clients[-1]

    def count_calls(self, name: str, kind: type = object) -> list[int]:
        """Count the calls of a function of the step from now on, in a list of one number. ``kind``: of the first argument."""
        count, function = [0], getattr(self.step, name)

        def counted(*arguments: Any) -> Any:
            count[0] += isinstance(arguments[0], kind)
            return function(*arguments)

        setattr(self.step, name, counted)
        return count

    async def stop(self) -> None:
        """Do what asyncio does at Ctrl-C: cancel ``main``, wait for its end, then cancel all other tasks.

        Then the process ends, and its connections with it.
        """
        self.main.cancel()
        await asyncio.wait([self.main])
        for client in self.clients:
            client.closing = True  # from now on, asyncio need not warn that nobody has closed this connection
        for task in asyncio.all_tasks() - {asyncio.current_task(), self.attacker}:
            task.cancel()
        await asyncio.sleep(0)
        for client in self.clients:
            client.abort()


class _Loop(VirtualLoop):
    server: Server

    async def create_server(self, protocol_factory: Any, *_: Any, **__: Any) -> Server:  # type: ignore[override]
        self.server = Server(protocol_factory)
        return self.server


def run(name: str, attack: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Start a step, run the attack on it, and return what the attack returns. The attack gets the server and the arguments."""

    async def play() -> Any:
        sys.modules.pop(name, None)  # a step keeps its connections in the module: each run has a new one
        step = importlib.import_module(name)
        with contextlib.redirect_stdout(io.StringIO()):  # the step prints its URL
            main = asyncio.ensure_future(step.main(0))
            await asyncio.sleep(0)
        server = loop.server
        server.step, server.main, server.attacker = step, main, asyncio.current_task()
        loop.set_exception_handler(lambda _, what: server.failures.append(type(what.get("exception")).__name__))
        try:
            return await attack(server, *arguments)
        finally:
            for client in server.clients:
                client.abort()
            await asyncio.sleep(0.001)  # the step's tasks learn that their clients have gone

    with asyncio.Runner(loop_factory=_Loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, _Loop)
        return runner.run(play())
