"""The wire between a client and a server (``minproto wire``): bytes are passed on as they are, and explained as they pass.

    client  <-->  pipe  <-- Relay -->  pipe  <-->  server
                              |
                            Watch: an Explainer, and lines of text

A learner who is watching a protocol should see the protocol, and not the relay. So a relay adds nothing and hides nothing:

    one end does                  the other end sees
    writes bytes                  the same bytes, perhaps cut in other places, as TCP may cut them anyway
    reads slowly                  that its own writes have to wait (backpressure): each direction buffers only 64 KiB
    ends its output (FIN)         the end of that direction, while the other direction continues (half-closed)
    resets the connection (RST)   a reset
    leaves                        a reset, even while it is sending nothing: both pipes are watched

There is one timeout, for connecting to the server. How long to wait for anything else is up to the two ends.

Two tasks run for each connection, one for each direction. Each is a loop of ``read``, ``write`` and ``drain``. A relay has all
that a ``Listener`` expects of a connection as well (``run``, ``refuse``, ``drain``, ``abort``, and the byte counts), so
``minproto wire`` has the listener's limits, and its orderly shutdown.

Left out: what TLS encrypts. The bytes of a TLS connection are passed on, and reveal only how it began.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, Unpack

from minproto.aio.address import Address
from minproto.aio.listener import Listener, ListenerConfig, ListenerOptions
from minproto.aio.observe import logger
from minproto.aio.options import configure
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import connect_pipe
from minproto.core import CLIENT, SERVER, Role
from minproto.explain import Explainer
from minproto.explain.text import Printer

CONNECT_TIMEOUT = 10.0
"""How many seconds we wait for the server to accept the connection."""


class Tap(Protocol):
    """Whatever is watching a connection: ``Watch`` prints it, and the lab shows it on a page."""

    def data(self, sender: Role, data: bytes) -> None:
        """See bytes before they are passed on."""

    def ended(self, sender: Role) -> None:
        """Note that one side will send no more."""

    def closed(self, reason: str) -> None:
        """Note that the connection is over: "closed", "reset", "stopped", or why the server can't be reached."""


class Relay:
    """A client's pipe, joined to a new pipe to the server.

    The client sends four bytes, the server answers with five, and then both ends say that they are done:

        >>> from minproto.testing.network import pair
        >>> class Print:
        ...     def data(self, sender, data): print("from the", sender.value, data)
        ...     def ended(self, sender): print("end of the", sender.value)
        ...     def closed(self, reason): print(reason)
        >>> async def talk():
        ...     (client, near), (far, server) = pair(), pair()
        ...     async def connect():
        ...         return far
        ...     relay = asyncio.create_task(Relay(near, connect, Print()).run())
        ...     client.write(b"ping")
        ...     server.write(await server.read() + b"?")
        ...     await client.read()
        ...     client.close_write()
        ...     server.close_write()
        ...     await relay
        >>> asyncio.run(talk())
        from the client b'ping'
        from the server b'ping?'
        end of the client
        end of the server
        closed
    """

    def __init__(self, client: Pipe, connect: Callable[[], Awaitable[Pipe]], tap: Tap) -> None:
        """``connect``: makes the pipe to the server, or raises OSError, whose text can be shown to people."""
        self._client = client
        self._pipes = [client]
        self._connect = connect
        self._tap: Tap | None = tap
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._reset = False  # one of the pipes is broken
        self.received = 0
        """How many bytes the client has sent."""
        self.sent = 0
        """How many bytes were sent to the client."""

    @property
    def endpoint(self) -> "Relay":
        """Return itself: the listener asks a connection's endpoint for its counts of bytes, and a relay counts them itself."""
        return self

    async def run(self) -> None:
        """Pass bytes on until both directions have ended, or until one of the pipes is broken. The tap is told of the end."""
        reason = "stopped"
        self._task = asyncio.current_task()
        try:
            if self._stopped:
                return
            server = await self._connect()
            self._pipes.append(server)
            await self._join(server)
            reason = "reset" if self._reset else "closed"
        except OSError as error:  # from _connect: there is no server
            reason = str(error)
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        finally:
            for pipe in self._pipes:
                pipe.abort()  # does nothing if the pipe is already closed
            self._show(lambda tap: tap.closed(reason))

    async def _join(self, server: Pipe) -> None:
        """Pass bytes on in both directions, then close both pipes.

        ``close`` waits until the kernel has sent everything. So both pipes are closed at the same time: if the client is
        slow, the server's pipe is still closed at once.
        """
        for pipe in self._pipes:  # so that we notice a lost connection even while there is nothing to read from it
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
        """Pass on one direction until its end. The tap sees each chunk, and then the target gets it. The next chunk is read
        only when the target has room for it."""
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
        """Close one pipe in an orderly way, unless a reset has already closed both pipes."""
        try:
            if not self._reset:
                await pipe.close()
        except OSError:
            self._break()

    def _break(self) -> None:
        """Reset both pipes, because one of them is broken. A reset ends every wait for the pipes with an error.

        Without it, the other end would wait for an answer that can't come any more.
        """
        self._reset = True
        for pipe in self._pipes:
            pipe.abort()

    def _show(self, show: Callable[[Tap], None]) -> None:
        """Show the tap something. If the tap fails, its error is logged, and the tap sees no more: watching a connection must
        not harm the connection."""
        try:
            if self._tap is not None:
                show(self._tap)
        except Exception:
            self._tap = None
            logger.exception("a connection is passed on, but can't be shown any further")

    async def refuse(self) -> None:
        """Reset the connection of a client beyond the limit. There is no protocol here in which to tell the client why."""
        self._client.abort()
        self._show(lambda tap: tap.closed("too many connections"))

    def drain(self) -> None:
        """End at once, since the wire has no requests of its own to finish. Both ends see a reset."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        self._client.abort()


class Watch:
    """A tap that prints each byte's meaning, line by line.

    The Explainer keeps bytes whose meaning it does not know yet, such as half a head. These bytes are printed only when the
    missing bytes have arrived.

        >>> async def watch():
        ...     tap = Watch(7, Printer(100), print)
        ...     tap.data(CLIENT, b"*1\\r\\n$4\\r\\n")  # half a command of RESP
        ...     tap.data(CLIENT, b"PING\\r\\n")
        >>> asyncio.run(watch())  # doctest: +ELLIPSIS
        #7 → 0.00... s, byte 0, RESP: PING
        ...
    """

    def __init__(self, number: int, printer: Printer, write: Callable[[str], object]) -> None:
        """``number``: printed on each line, to tell connections apart. ``write``: called with a few whole lines at a time."""
        self._number = number
        self._printer = printer
        self._write = write
        self._explainer = Explainer()
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()
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
        """Print a line about the connection itself."""
        self._write_lines(self._printer.note(f"#{self._number} {text}"))

    @property
    def _seconds(self) -> float:
        """Seconds since the connection was opened."""
        return self._loop.time() - self._opened_at

    def _print_rows(self) -> None:
        """Print each message, frame or command that the last bytes have completed."""
        for row in self._explainer.rows():
            self._write_lines(self._printer.lines(row, self._number, self._seconds))

    def _write_lines(self, lines: Iterable[str]) -> None:
        self._write("".join([f"{line}\n" for line in lines]))


class Wire(Listener):
    """A listener that joins each of its clients to the server at ``to``. Options: see ``ListenerConfig``."""

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
        """Connect to the server. Raises OSError, whose text names the server and the reason.

        The system's own texts differ: some begin with "[Errno 111] Connect call failed", and repeat the address.
        """
        try:
            return await connect_pipe(self._to, handshake=CONNECT_TIMEOUT)
        except TimeoutError:  # its text already names the server and the seconds
            raise
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
            raise OSError(f"can't reach {self._to}: {reason}") from None
