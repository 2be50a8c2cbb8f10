"""The broker's server: RESP on pipes, for redis-cli and the Redis client libraries.

Each client has one task, which reads commands, runs them and sends the answers. Messages for a subscriber do not pass through
its task: the *publisher's* task hands them to the switchboard, and a callback at the end of the turn writes them.

    client A        task of A                       switchboard              task of B        client B, a subscriber
       |               |                                 |                       |                |
       |-- PUBLISH --> | execute() -> broker.publish() ->| gathers the message   | waits in       |
       |               |                                 |                       | next_event()   |
       |  <---- :1 ----| writes at the end of the turn   |                       |                |
       |               |                                 |                       |                |
       |               |   call_soon, after all tasks that are ready: flush()    |                |
       |               |                                 |-- B's endpoint.send_at_once() -------> |  the message

So ten messages published in one turn take one write for each subscriber.

**Backpressure.** Two kinds of client can be too slow:

- If a client sends commands and does not read the answers, we stop reading from it: its task waits in ``flush``. No other
  client is delayed.
- A subscriber cannot be slowed down, because other clients publish what it receives. When more than ``max_output`` bytes are
  pending for a subscriber, we cut the subscriber off. A Redis client library reconnects by itself.

**Timeouts.** A subscriber may be silent for days, so silence is not a fault. Now and then the kernel asks whether the peer
still exists (TCP keep-alive). There are only two time limits: a client that has begun a command must finish the command, and a
new client must give the password, if there is one.

**The end.** A connection ends in one of these ways:

    QUIT, or the client's end of output        after the answers that are due
    the server is stopping                     after the commands that were received
    a malformed command                        after the answers before it, and an error reply: -ERR Protocol error: …
    an unfinished command, or no password      after -ERR timeout
    a subscriber that does not read            at once, by a reset: it would not read an error either
    a browser's HTTP request                   at once, by a reset: the web page that made the browser send it learns nothing

**XREAD BLOCK** and **XREADGROUP BLOCK** wait. The client may leave meanwhile, so its task continues to read:

    XREAD BLOCK 5000 STREAMS news $     execute() returns a Wait, because no entry is after the newest id
                                        the task gives the broker a reader, and waits in receive(), 5 seconds at most
    PUBLISH news hello, by another      the broker calls the reader's look(), which gets the entry from Wait.answer()
                                        look() calls endpoint.interrupt(), which ends the wait
                                        the task sends the answer

Commands that the client sends in the meantime stay in the buffer, because a server answers in the order of the commands.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Unpack

from minproto.aio.broker import Broker
from minproto.aio.cores import chosen
from minproto.aio.endpoint import Endpoint
from minproto.aio.listener import Connection, Listener, ListenerConfig, ListenerOptions
from minproto.aio.observe import logger
from minproto.aio.options import check_secret, check_type, configure
from minproto.aio.pipe import READ_SIZE, Pipe
from minproto.aio.sockets import keep_alive
from minproto.commands import CrossProtocolRequest, execute
from minproto.core import RemoteProtocolError, Role, check_count
from minproto.resp import Command, Encoded, Limits, NullArray, Reply
from minproto.resp import Connection as Core
from minproto.session import Events, Peer, Session, Switchboard, Wait

FAIR_SHARE = 1_000
"""How many commands a connection may run before the other connections get their turn. A chunk of 64 KiB may hold 5,000
commands, and nothing else happens while they are being run."""
KEEPALIVE = 300
"""How many seconds of silence pass before the kernel asks whether the peer still exists. Redis has the same default."""


@dataclass(frozen=True)
class Config(ListenerConfig):
    """The options of the broker's server."""

    port: int = 6379
    """The port to listen on; 0: any free port."""
    limits: Limits = field(default_factory=Limits)
    """The bounds on a command: see ``minproto.resp.Limits``."""
    password: str | None = field(default=None, repr=False)
    """The password that a client has to give before anything else (with AUTH or HELLO); None: no password is required."""
    max_output: int = 8 << 20
    """How many bytes, including answers, may be pending for a subscriber. A subscriber with more pending bytes is cut off.

    The messages of one turn may exceed this bound. If 100 subscribers all stop reading, they take 100 times as much memory. A
    client without a subscription does not need this bound: we do not read from it while 64 KiB of answers are pending."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_type("limits", self.limits, Limits)
        check_secret("password", self.password)
        check_count("max_output", self.max_output)


class BrokerServerOptions(ListenerOptions, total=False):
    """The fields of ``Config`` as keyword arguments, for editors and type checkers."""

    limits: Limits
    password: str | None
    max_output: int


class BrokerServer(Listener):
    """``async with BrokerServer(broker, port=0) as server:`` serves Redis clients. Options: ``Config``."""

    scheme = "redis"
    config: Config

    def __init__(self, broker: Broker, **options: Unpack[BrokerServerOptions]) -> None:
        check_type("broker", broker, Broker)
        super().__init__(configure(Config, options))
        self._broker = broker
        self._switchboard = Switchboard(broker.inner, self.config.password)
        self._switchboard.on_ready = self._flush_at_end_of_turn

    def _connect(self, pipe: Pipe) -> Connection:
        """Return the connection of a new client. Raises RuntimeError if the broker belongs to another event loop.

        Without this check, the server's clients could change the broker's dicts while the broker's own loop is reading them.
        """
        self._broker.check_loop()
        keep_alive(pipe, KEEPALIVE)
        return ServerConnection(self._switchboard, pipe, self.config)

    def _flush_at_end_of_turn(self) -> None:
        """Let the switchboard flush after everything that is ready now, so that all messages published now share one flush.

        Raises RuntimeError in a thread without a loop. A message published there stays pending until the next message.
        """
        asyncio.get_running_loop().call_soon(self._switchboard.flush)


class ServerConnection:
    """The connection of one client."""

    __slots__ = (
        "_began", "_command_began", "_config", "_core", "_draining", "_heard", "_loop", "_session", "_switchboard", "endpoint",
    )  # fmt: skip

    def __init__(self, switchboard: Switchboard, pipe: Pipe, config: Config) -> None:
        self._switchboard = switchboard
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._core = chosen(Core)(Role.SERVER, config.limits)
        self.endpoint = Endpoint(self._core, pipe, config.timeouts)
        """The core on the pipe. The server counts its bytes."""
        self._session: Session = switchboard.open(self._push, self._peer)
        self._core.authenticated = self._session.authenticated
        self._draining = False
        self._began = self._heard = self._loop.time()  # when the client connected, and when it last sent a command
        # When the unfinished command began; None: no command is unfinished. Until the client has given the password, one time
        # limit applies to all its commands together, from the start of the connection: otherwise it could send ECHO forever.
        self._command_began = None if self._session.authenticated else self._loop.time()

    async def run(self) -> None:
        """Serve until the connection ends. Raises CancelledError; any other exception is our bug."""
        try:
            await self._serve()
            await self._close()
        except RemoteProtocolError as error:  # the client's fault: the earlier answers come first, then an error reply
            await self._close(self._core.farewell(error))
        except (CrossProtocolRequest, ConnectionError):  # the client cannot read an answer, or should not get one
            self.endpoint.abort()
        except BaseException:  # cancelled by the server, which has lost patience; or our bug
            self.endpoint.abort()
            raise
        finally:
            self._session.close()

    async def refuse(self) -> None:
        """Tell the client that there are too many connections, and close. No command is read."""
        error = RemoteProtocolError("max number of clients reached")
        self._core.fail(error)
        await self._close(self._core.farewell(error))

    async def _close(self, last_words: Events = []) -> None:  # noqa: B006 - never changed
        self._session.close()  # messages published from now on are not for this client
        await self.endpoint.close(last_words, linger=True)

    def _peer(self) -> Peer:
        """Return what CLIENT LIST shows of this connection, and only the shell knows."""
        pipe, endpoint = self.endpoint.pipe, self.endpoint
        sock, local = pipe.info("socket"), pipe.info("sockname")
        unix = isinstance(local, str)  # of a Unix socket only the server's end has a name: the socket's path
        here = f"{local}:0" if unix else _written(local)
        there = here if unix else _written(pipe.info("peername"))
        now = self._loop.time()
        return Peer(
            there, here, sock.fileno() if sock else -1, unix, int(now - self._began), int(now - self._heard),
            self._core.buffered, endpoint.unsent,
        )  # fmt: skip

    def abort(self) -> None:
        """End the connection at once."""
        self.endpoint.abort()

    def drain(self) -> None:
        """Run the commands already received, then close. A waiting XREAD is answered at once, with null.

        If the task is not waiting but running a command, ``interrupt`` has no effect, and ``_patience`` sees the flag later.
        """
        self._draining = True
        self.endpoint.interrupt()

    # -- commands

    async def _serve(self) -> None:
        """Run commands, one after the other, until the client ends its output or sends QUIT, or the server is stopping.

        The answers to all commands of one chunk leave in one write, because nothing in this loop waits between them. That is
        why a client with a pipeline of 100 commands needs one round trip, not 100.
        """
        session = self._session
        done = 0
        try:
            while (command := await self.endpoint.next_event(self._patience)) is not None:
                assert isinstance(command, Command)
                self._heard = self._loop.time()
                await self._do(command.arguments)
                if session.closing:
                    return
                if session.authenticated:
                    self._command_began = None
                # ``next_event`` waits only if no complete command has arrived. Without this sleep, a client with a long
                # pipeline would keep the event loop to itself.
                done += 1
                if done % FAIR_SHARE == 0:
                    await asyncio.sleep(0)
        except TimeoutError:  # from ``next_event``: the client is slow, or the server is stopping
            if not self._draining:
                error = RemoteProtocolError("timeout")
                self._core.fail(error)
                raise error from None

    def _patience(self) -> float:
        """Return the seconds to wait for the next chunk. Raises TimeoutError if the server is stopping: no more is read.

        Between two commands there is no limit. An unfinished command has ``Timeouts.body`` seconds, plus time for the bytes
        that have arrived: with 30 s and 1,000 bytes a second, a command of 1 MB may take 1,030 s. So a large command may
        arrive over a slow line, but a client that sends one byte now and then cannot tie up our memory for long.
        """
        if self._draining:
            raise TimeoutError
        if not self._core.in_command and self._session.authenticated:
            self._command_began = None  # an empty line may have arrived in two chunks, and begun nothing
            return math.inf
        now = self._loop.time()
        if self._command_began is None:
            self._command_began = now
        timeouts = self._config.timeouts
        return max(0.0, self._command_began + timeouts.body + self._core.buffered / timeouts.min_body_rate - now)

    async def _do(self, arguments: list[bytes]) -> None:
        """Run a command, and send the answer.

        A command may change what the core has to know: the version in which to send (HELLO), and whether longer commands are
        accepted (AUTH). The core cannot know this from the bytes, so it is told here, before it encodes the answer.

        Raises ConnectionError if the client is not reading, and CrossProtocolRequest.
        """
        session, endpoint = self._session, self.endpoint
        answer = execute(session, arguments)
        if isinstance(answer, Wait):
            answer = session.audible(await self._wait_for_answer(answer))
        self._core.version, self._core.authenticated = session.version, session.authenticated
        if session.is_subscriber:
            # A subscriber that publishes on its own topic gets the message and the answer. Redis sends the message first.
            self._switchboard.flush()
        for event in answer:
            endpoint.send(event)
        if not session.is_subscriber:
            if endpoint.congested:  # wait, so that this task reads no more commands
                await endpoint.flush()
        elif endpoint.unsent > self._config.max_output:  # no wait: messages for this client would pile up meanwhile
            raise ConnectionResetError("the client does not read")

    # -- XREAD BLOCK, XREADGROUP BLOCK

    async def _wait_for_answer(self, wait: Wait) -> Events:
        """Wait until a topic has an entry, time runs out, or the client is gone; return what to send."""
        broker = self._switchboard.broker
        reader = _Reader(wait, self.endpoint.interrupt)
        until = self._loop.time() + wait.milliseconds / 1_000 if wait.milliseconds else math.inf
        for topic in wait.topics:
            broker.wait(topic, reader)
        self._session.blocked = True
        try:
            while reader.answer is None:
                left = until - self._loop.time()
                if left <= 0 or self._draining:
                    return [Reply(NullArray())]
                if not await self._is_there_after(left):
                    self._session.closing = True
                    return []
            return reader.answer
        finally:
            self._session.blocked = False
            for topic in wait.topics:
                broker.stop_waiting(topic, reader)

    async def _is_there_after(self, seconds: float) -> bool:
        """Wait, and return whether the client is still there. A message or ``drain`` ends the wait early.

        Only reading shows that a client is gone. But the client may send further commands while it waits for its answer,
        and all of them would have to be stored. If more than one chunk is in the buffer, this method only sleeps: further
        bytes wait in the kernel, and the end of the connection is noticed later. Raises ConnectionError.
        """
        try:
            if self._core.buffered > READ_SIZE:
                await self.endpoint.pause(seconds)
            elif not await self.endpoint.receive(seconds):
                return False
        except TimeoutError:
            pass
        return True

    # -- messages

    def _push(self, data: bytes) -> None:
        """Send published messages to this client. Never raises: an error here would make other clients miss theirs.

        The switchboard calls this method, usually outside this client's task. So it can't wait for a slow client: if more than
        ``max_output`` bytes are pending, it cuts the client off.
        """
        try:
            self.endpoint.send_at_once(Encoded(data))
        except Exception:
            logger.exception("client %d can't be written to", self._session.id)
            self._session.close()
            self.endpoint.abort()
            return
        if self.endpoint.unsent > self._config.max_output:
            logger.warning(
                "client %d is cut off: over %d bytes wait for it (max_output), and it does not read what it subscribed to",
                self._session.id, self._config.max_output,
            )  # fmt: skip
            self._session.close()
            self.endpoint.abort()


def _written(name: object) -> str:
    """Return an IP address with its port, as CLIENT LIST writes them: ``127.0.0.1:6379``, ``[::1]:6379``."""
    if not isinstance(name, tuple):
        return "?"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Reader:
    """A reader that waits for entries: it gets its answer at once when there is one, and wakes the client's task.

    The task sends the answer in its next turn. Meanwhile the reader may be called again, and must not read a second time.
    """

    def __init__(self, wait: Wait, wake: Callable[[], None]) -> None:
        self._wait = wait
        self._wake = wake
        self.answer: Events | None = None

    def look(self, topic: str) -> None:
        if self.answer is None:
            self.answer = self._wait.answer(topic)
            if self.answer is not None:
                self._wake()
