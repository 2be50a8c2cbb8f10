"""The broker's server: RESP on pipes, for redis-cli and the client libraries of Redis.

A connection is one task. It reads a chunk, does each command in it, and sends the answers together. Messages come from beside:
the switchboard gathers what one turn of the loop brought, and at its end writes it to each subscriber, once.

A publisher is slowed by nothing but its own connection: who does not read its answers is not read either. A subscriber that
does not read is cut off when more than a bound waits for it, and delays nobody. There is no timeout for a client that has
nothing to say, for that is what subscribers do; the kernel asks now and then whether it still exists. But a command that was
begun has to come to its end.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Unpack

from minproto.aio.broker import Broker
from minproto.aio.cores import chosen
from minproto.aio.endpoint import Endpoint, logger
from minproto.aio.listener import Connection, Listener, ListenerConfig, ListenerOptions
from minproto.aio.options import check_secret, check_type, configure
from minproto.aio.pipe import READ_SIZE, Pipe
from minproto.aio.sockets import keep_alive
from minproto.broker import Message
from minproto.commands import CrossProtocolRequest, execute
from minproto.core import RemoteProtocolError, Role, Wants, check_count
from minproto.resp import Command, Encoded, Limits, NullArray, Reply
from minproto.resp import Connection as Core
from minproto.session import Events, Session, Switchboard, Wait

FAIR_SHARE = 1_000
"""Commands that one connection may have done in a row before others get their turn."""
KEEPALIVE = 300
"""Seconds of silence until the kernel asks whether the peer still exists, as in Redis."""


@dataclass(frozen=True)
class Config(ListenerConfig):
    """What the broker's server can be told."""

    port: int = 6379
    """0: any free one."""
    limits: Limits = field(default_factory=Limits)
    """What a client could make unbounded."""
    password: str | None = field(default=None, repr=False)
    """What clients have to give first (AUTH, HELLO)."""
    max_output: int = 8 << 20
    """Bytes that may wait for a subscriber to read them, answers among them, before it is cut off. On top may be the messages
    of one turn. Who does not subscribe is not cut off for that: while an answer waits, however long, no command is done."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_type("limits", self.limits, Limits)
        check_secret("password", self.password)
        check_count("max_output", self.max_output)


class BrokerServerOptions(ListenerOptions, total=False):
    """The fields of ``Config`` as keyword arguments, which editors and type checkers know."""

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
        self._switchboard.on_ready = self._flush_soon

    def _connect(self, pipe: Pipe) -> Connection:
        self._broker.check_loop()
        keep_alive(pipe, KEEPALIVE)
        return ServerConnection(self._switchboard, pipe, self.config)

    def _flush_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._switchboard.flush)


class ServerConnection:
    """Serves one client."""

    __slots__ = ("_began", "_config", "_core", "_draining", "_loop", "_session", "_switchboard", "_task", "endpoint")

    def __init__(self, switchboard: Switchboard, pipe: Pipe, config: Config) -> None:
        self._switchboard = switchboard
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._core = chosen(Core)(Role.SERVER, config.limits)
        self.endpoint = Endpoint(self._core, pipe, config.timeouts)
        """Counts the bytes on the wire."""
        self._session: Session = switchboard.open(self._push)
        self._core.authenticated = self._session.authenticated
        self._task: asyncio.Task[Any] | None = None
        self._draining = False
        self._began = self._loop.time()  # the command that is not complete, or the connection

    async def run(self) -> None:
        """Serve until the connection ends. Raises CancelledError; anything else is a bug of ours."""
        self._task = asyncio.current_task()
        try:
            await self._serve()
            await self._close()
        except RemoteProtocolError as error:
            await self._close(self._core.farewell(error))
        except (CrossProtocolRequest, ConnectionError):
            self.endpoint.abort()
        except BaseException:
            self.endpoint.abort()
            raise
        finally:
            self._session.close()

    async def refuse(self) -> None:
        """Too many connections: say so without reading a command."""
        self._session.close()
        error = RemoteProtocolError("max number of clients reached")
        self._core.fail(error)
        await self._close(self._core.farewell(error))

    async def _close(self, last_words: Events = []) -> None:  # noqa: B006 - never changed
        self._session.close()  # what is published from now on is not for this client
        await self.endpoint.close(last_words, linger=True)

    def abort(self) -> None:
        """End the connection at once."""
        self.endpoint.abort()

    def drain(self) -> None:
        """Do the commands that were received, and close."""
        self._draining = True
        self.endpoint.interrupt()

    # -- commands

    async def _serve(self) -> None:
        """Do commands until the end of input, QUIT, or the end of the server."""
        core, session = self._core, self._session
        done = 0
        while True:
            while (command := core.next_event()) is not None:
                assert isinstance(command, Command)
                await self._do(command.arguments)
                if session.closing:
                    return
                done += 1
                if done % FAIR_SHARE == 0:
                    await asyncio.sleep(0)
            if core.wants is Wants.CLOSED or self._draining:
                return
            if done and session.authenticated:
                self._began, done = math.inf, 0
            await self._read()

    async def _do(self, arguments: list[bytes]) -> None:
        session, endpoint = self._session, self.endpoint
        answer = execute(session, arguments)
        if isinstance(answer, Wait):
            answer = await self._wait(answer)
        self._core.version, self._core.authenticated = session.version, session.authenticated
        if session.subscription_count:
            self._switchboard.flush()  # what was published before the answer comes before it
        for event in answer:
            endpoint.send(event)
        if not session.subscription_count:
            if endpoint.congested:
                await endpoint.flush()
        elif endpoint.unsent > self._config.max_output:
            raise ConnectionResetError("the client does not read")

    async def _read(self) -> None:
        """Wait for bytes. Raises RemoteProtocolError when the rest of a command, or the password, does not come."""
        try:
            await self.endpoint.receive(self._patience())
        except TimeoutError:
            if not self._draining:
                error = RemoteProtocolError("timeout")
                self._core.fail(error)
                raise error from None

    def _patience(self) -> float:
        """A command may take longer the more there is of it, so that a slow line can send a large one, but no trickle."""
        buffered, now = self._core.buffered, self._loop.time()
        if not buffered and self._session.authenticated:
            return math.inf
        self._began = min(self._began, now)
        timeouts = self._config.timeouts
        return max(0.0, self._began + timeouts.body + buffered / timeouts.min_body_rate - now)

    # -- XREAD BLOCK

    async def _wait(self, wait: Wait) -> Events:
        """Wait for a message of a topic, for the time to be over, or for the client to go."""
        broker = self._switchboard.broker
        alarm = _Alarm(self.endpoint.interrupt)
        until = self._loop.time() + wait.milliseconds / 1_000 if wait.milliseconds else math.inf
        for topic in dict.fromkeys(wait.topics):
            broker.listen(topic, alarm)
        try:
            while (answer := wait.answer()) is None:
                left = until - self._loop.time()
                if left <= 0 or self._draining:
                    return [Reply(NullArray())]
                if not await self._sleep(left):
                    self._session.closing = True
                    return []
            return answer
        finally:
            for topic in dict.fromkeys(wait.topics):
                broker.ignore(topic, alarm)

    async def _sleep(self, seconds: float) -> bool:
        """Read meanwhile, to notice that the client is gone: False. No more than a chunk or two. Raises ConnectionError."""
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
        """Send this client what was published. Never raises: an error here would keep the messages from other clients."""
        try:
            self.endpoint.send_at_once(Encoded(data))
        except Exception:
            logger.exception("client %d can't be written to", self._session.id)
            self._session.close()
            self.endpoint.abort()
            return
        if self.endpoint.unsent > self._config.max_output:
            logger.warning("client %d is cut off: it does not read what it subscribed to", self._session.id)
            self._session.close()
            self.endpoint.abort()


class _Alarm:
    """A listener that receives nothing, and only wants to know when there is something."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def offer(self, message: Message) -> int:
        self._ring()
        return 0

    def receiver_count(self, topic: str) -> int:
        return 0
