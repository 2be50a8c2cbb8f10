"""The wire between a client and a server: what crosses is passed on as it is, and explained as it passes.

    client  <-->  pipe  <-- Relay -->  pipe  <-->  server
                              |
                            Watch: an Explainer, and lines of text

A relay adds nothing and hides nothing. Each direction is read only as fast as the other end takes it, so a slow reader still
slows its writer; an end of output is passed on while the other direction goes on; a reset becomes a reset. So neither end
behaves as if the other were somebody else. There are no timeouts but one, for connecting: how long to wait is the ends'
business.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, Unpack

from minproto.aio.address import Address
from minproto.aio.endpoint import logger
from minproto.aio.listener import Listener, ListenerConfig, ListenerOptions
from minproto.aio.options import configure
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import connect_pipe
from minproto.core import CLIENT, SERVER, Role
from minproto.explain import Explainer
from minproto.explain.text import Printer

CONNECT_TIMEOUT = 10.0
"""Seconds for the server to accept."""


class Tap(Protocol):
    """What sees a connection pass by."""

    def data(self, sender: Role, data: bytes) -> None:
        """Bytes, before they are passed on."""

    def ended(self, sender: Role) -> None:
        """One side will send no more."""

    def closed(self, reason: str) -> None:
        """The connection is over."""


class Relay:
    """A client's pipe, joined to one to the server."""

    def __init__(self, client: Pipe, connect: Callable[[], Awaitable[Pipe]], tap: Tap) -> None:
        """``connect`` raises OSError, with a text for people."""
        self._client = client
        self._pipes = [client]
        self._connect = connect
        self._tap: Tap | None = tap
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._reset = False  # one of the pipes is broken
        self.received = 0
        """Bytes from the client, and to it."""
        self.sent = 0

    @property
    def endpoint(self) -> "Relay":
        return self

    async def run(self) -> None:
        """Until both directions have ended, or one is broken."""
        reason = "stopped"
        self._task = asyncio.current_task()
        try:
            if self._stopped:
                return
            server = await self._connect()
            self._pipes.append(server)
            await self._join(server)
            reason = "reset" if self._reset else "closed"
        except OSError as error:  # of _connect: there is no server
            reason = str(error)
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        finally:
            for pipe in self._pipes:
                pipe.abort()  # nothing, where it was closed
            self._show(lambda tap: tap.closed(reason))

    async def _join(self, server: Pipe) -> None:
        """Pass on in both directions, then close both pipes."""
        for pipe in self._pipes:  # an end that goes away is noticed also while nothing is to be read from it
            pipe.watch(lambda lost: self._break() if lost else None)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on(CLIENT, self._client, server))
            group.create_task(self._pass_on(SERVER, server, self._client))
        for pipe in self._pipes:
            pipe.watch(None)
        async with asyncio.TaskGroup() as group:
            for pipe in self._pipes:
                group.create_task(self._close(pipe))

    async def _pass_on(self, sender: Role, source: Pipe, target: Pipe) -> None:
        try:
            while data := await source.read():
                self._count(sender, data)
                target.write(data)
                await target.drain()
        except OSError:
            self._break()
        if not self._reset:
            self._show(lambda tap: tap.ended(sender))
            target.close_write()

    def _count(self, sender: Role, data: bytes) -> None:
        self._show(lambda tap: tap.data(sender, data))
        if sender is CLIENT:
            self.received += len(data)
        else:
            self.sent += len(data)

    async def _close(self, pipe: Pipe) -> None:
        try:
            if not self._reset:
                await pipe.close()
        except OSError:
            self._break()

    def _break(self) -> None:
        """A reset of one end is one for the other, too. Whatever waits for the pipes comes to its end by that."""
        self._reset = True
        for pipe in self._pipes:
            pipe.abort()

    def _show(self, show: Callable[[Tap], None]) -> None:
        """Show the tap something. Where that fails, it sees no more: what watches a connection must not harm it."""
        try:
            if self._tap is not None:
                show(self._tap)
        except Exception:
            self._tap = None
            logger.exception("a connection is passed on, but can't be shown any further")

    async def refuse(self) -> None:
        """One too many."""
        self._client.abort()
        self._show(lambda tap: tap.closed("too many connections"))

    def drain(self) -> None:
        """A wire has nothing of its own to finish."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        self._client.abort()


class Watch:
    """A tap that explains what it sees, line by line."""

    def __init__(self, number: int, printer: Printer, write: Callable[[str], object]) -> None:
        """``write`` takes text, each time a few whole lines."""
        self._number = number
        self._printer = printer
        self._write = write
        self._explainer = Explainer()
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._counts = {CLIENT: 0, SERVER: 0}

    def data(self, sender: Role, data: bytes) -> None:
        self._counts[sender] += len(data)
        self._explainer.receive_data(sender, data)
        self._print_rows()

    def ended(self, sender: Role) -> None:
        self._explainer.receive_eof(sender)
        self._print_rows()

    def closed(self, reason: str) -> None:
        for sender in Role:
            self.ended(sender)
        sent = ", ".join(f"{count:,} bytes from the {sender.value}" for sender, count in self._counts.items())
        self.say(f"{reason} after {self._seconds:.3f} s: {sent}")

    def say(self, text: str) -> None:
        """A line about the connection itself."""
        self._write_lines(self._printer.note(f"#{self._number} {text}"))

    @property
    def _seconds(self) -> float:
        return self._loop.time() - self._began

    def _print_rows(self) -> None:
        for row in self._explainer.rows():
            self._write_lines(self._printer.lines(row, self._number, self._seconds))

    def _write_lines(self, lines: Iterable[str]) -> None:
        self._write("".join([f"{line}\n" for line in lines]))


class Wire(Listener):
    """Listens, and joins each client to the server at ``to``. Options: ``ListenerConfig``."""

    scheme = "tcp"

    def __init__(
        self, to: Address, printer: Printer, write: Callable[[str], object], **options: Unpack[ListenerOptions]
    ) -> None:
        super().__init__(configure(ListenerConfig, options))
        self._to = to
        self._printer = printer
        self._write = write
        self._count = 0

    def _connect(self, pipe: Pipe) -> Relay:
        self._count += 1
        watch = Watch(self._count, self._printer, self._write)
        peer = pipe.info("peername")
        watch.say(f"opened by {peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "opened")
        return Relay(pipe, self.connect, watch)

    async def connect(self) -> Pipe:
        """A connection to the server. Raises OSError, which says why there is none."""
        try:
            return await connect_pipe(self._to, handshake=CONNECT_TIMEOUT)
        except TimeoutError:  # it says all this already
            raise
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            raise OSError(f"can't reach {self._to}: {reason}") from None
