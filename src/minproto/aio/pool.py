"""The connections of a client to one origin. This file decides which request gets a connection, and when a connection ends.

An *origin* is a scheme, a host and a port. A ``Client`` has one ``Pool`` for each origin. An HTTP/1.1 connection carries one
request at a time, so a pool has several *places*: six, unless the user gives another number. A request needs a place before it
may use a connection. Here a pool has two places:

    GET /1 takes a place, and dials            connection 1 is in use
    GET /2 takes a place, and dials            connections 1 and 2 are in use
    GET /3 finds no free place, and waits      connections 1 and 2 are in use      in line: GET /3
    the response to GET /1 is read             connection 1 is idle                its place goes to GET /3
    GET /3 takes the idle connection           connections 1 and 2 are in use

The pool hands the place of GET /1 directly to GET /3. If the pool freed the place first, a new request could take the place
before GET /3 runs, and GET /3 might wait for ever. A request that has a place dials only if no connection is idle, so there
are never more connections than places.

An HTTP/2 connection carries all requests side by side, and the server's settings limit how many. The client learns the version
by ALPN (RFC 7301), when the first TLS handshake is done. Until then a pool has one place:

    version       places          who may use a connection
    unknown       1               the request that dials
    HTTP/1.1      max_connections one request at a time
    HTTP/2        not needed      every request, until the connection goes away; then as if the version were unknown

All requests that wait for the first connection share its result. If the version is HTTP/2, they use this connection. If it is
HTTP/1.1, the other five places open. If the server can't be reached, each of them gets the error: otherwise a hundred requests
to a dead server would wait for a hundred timeouts, one after the other.

A ``Lease`` is the right to use a connection for one request. A lease has to end exactly once, in each of these cases:

    the request fails, or is cancelled before its response      ``Client`` ends the lease
    the response has no content, or becomes a tunnel            ``Lease.bind`` ends it
    the content is read to its end, fails, or is closed         ``LeasedExchange`` ends it
    the user drops the response                                 the garbage collector calls ``LeasedExchange.__del__``

A lease that does not end would hold its place for ever. The property test in ``tests/aio/test_client.py`` looks for that.
"""

import asyncio
import math
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from minproto.aio.http1_client import ClientConnection
from minproto.aio.http2_client import ClientConnection as Http2ClientConnection
from minproto.aio.http_client import ClientExchange, ClientResponse, with_request
from minproto.core import Event, RemoteProtocolError
from minproto.http import EndOfMessage

WAITS = "waits for a place"
CONNECTS = "connects"
ASKS = "waits for the response"
SILENCE = 5.0
"""If a request fails after so many seconds without a single byte on its HTTP/2 connection, the next request dials anew.

A router that has forgotten a connection drops its packets, and the kernel tries for 15 minutes. Every request would fail."""


@dataclass(slots=True, eq=False)
class Ask:
    """A request that has no response yet, as errors and snapshots show it.

    ``name``: its method and URL, without the query, which may hold a secret. ``since``: the loop's time at which the user made
    the request. ``step``: the request's current wait, ``WAITS``, ``CONNECTS`` or ``ASKS``.
    """

    name: str
    since: float
    step: str = WAITS


@dataclass(frozen=True)
class OriginSnapshot:
    """A pool at one moment.

    Its numbers answer "why is my request slow?" for a pool of six places:

        busy 6, unread 6            the program does not read its responses
        busy 6, unread 0            the server is slow
        connecting 1, for seconds   the server does not answer
    """

    origin: str
    """Scheme, host and port, as "https://example.org:443"."""
    http_version: str
    """"1.1" or "2"; "" while no connection over TLS has told."""
    connecting: int
    """How many connections are being opened."""
    idle: int
    """How many open connections are not in use."""
    busy: int
    """How many open connections are in use."""
    unread: int
    """How many responses have not been read to their end."""
    waiting: tuple[tuple[str, float], ...]
    """The requests that wait for a connection, first come first: each with its seconds so far."""


class Pooled:
    """A connection of a pool, and what the pool knows about it. In HTTP/2 it can have several users at once.

    The life of a connection of HTTP/1.1, which carries two requests:

        step                                                 ``users``   in ``_idle``   its place
        GET /1 has a place, and the pool dials               0           no             taken
        GET /1 has a lease, and is sent                      1           no             taken
        the response to GET /1 is read to its end            0           yes            free
        GET /2 takes the connection, which ``is_reused``     1           no             taken
        the response says "Connection: close", and is read   0           no, it ends    free

    A connection also ends when a response is closed before its end, when it has been idle for too long, and when the server
    closes it (``_on_end``).

    ``is_reused`` matters when a request fails. A connection that was idle may have been closed by the server in the same
    moment, so an idempotent request is repeated. A failure on a new connection has another cause, and would come again.
    """

    __slots__ = ("connection", "is_http2", "is_retired", "is_reused", "pool", "since", "users")

    def __init__(self, connection: "Connection", pool: "Pool") -> None:
        self.connection = connection
        self.is_http2 = isinstance(connection, Http2ClientConnection)
        self.pool = pool
        self.users = 0  # leases
        self.is_reused = False  # whether a request before the current one has used it
        self.is_retired = False  # whether it takes no more requests, although it may not know that itself
        self.since = 0.0  # the loop's time since which it is idle

    @property
    def is_in_use(self) -> bool:
        """Whether a request uses it, or a tunnel: a WebSocket on an HTTP/2 stream, which has no lease."""
        return self.users > 0 or (isinstance(self.connection, Http2ClientConnection) and bool(self.connection.streams))


class IdleConnections:
    """The idle connections of all pools of a client, the one that has been idle for longest first.

    A connection is closed after ``seconds`` without a request. If there are more than ``most`` connections, the first is
    closed sooner. Servers close idle connections as well, and a request that meets a connection at this moment is lost. So the
    client's time should be shorter than the server's, which is often 60 or 75 seconds.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._entries: dict[Pooled, None] = {}  # a dict, because it keeps the order and finds one among thousands
        self._timer: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Task[None]] = set()

    def __contains__(self, pooled: Pooled) -> bool:
        return pooled in self._entries

    def add(self, pooled: Pooled) -> None:
        """Keep a connection; if that is one too many, end the oldest.

        With ``most=2``, connections 1 and 2 are idle, and connection 3 comes: connection 1 ends. A connection with a tunnel is
        passed over, since somebody is using it. If all others have tunnels, the new connection itself ends.
        """
        loop = asyncio.get_running_loop()
        pooled.since = loop.time()
        self._entries[pooled] = None
        if len(self._entries) > self._most:
            oldest = next((entry for entry in self._entries if not entry.is_in_use), pooled)
            oldest.pool.drop(oldest)
        if self._timer is None and self._entries and self._seconds != math.inf:
            self._timer = loop.call_at(pooled.since + self._seconds, self._expire)

    def remove(self, pooled: Pooled) -> None:
        """Take a connection out, because a request uses it or because it is over. It may have been taken out before."""
        self._entries.pop(pooled, None)

    def _expire(self) -> None:
        """End what was idle for too long, and set the timer for the next. So one timer serves all connections.

        The dict is in the order in which the connections became idle, so the loop stops at the first one that is young enough:

            15 s allowed, now 100     idle since 80: end     idle since 84: end     idle since 90: timer at 105
        """
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._entries:
            oldest = next(iter(self._entries))
            if oldest.since + self._seconds > loop.time():
                self._timer = loop.call_at(oldest.since + self._seconds, self._expire)
                return
            self.remove(oldest)
            if oldest.is_in_use:  # by a tunnel: look again later
                oldest.since = loop.time()
                self._entries[oldest] = None
            else:
                oldest.pool.drop(oldest)

    def run(self, ending: Coroutine[Any, Any, None]) -> None:
        """Run what ends a connection or an exchange in a task that ``close`` waits for."""
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        """Wait until all connections that are being ended have ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            while self._endings:
                await asyncio.wait(list(self._endings))
        except asyncio.CancelledError:
            for ending in self._endings:
                ending.cancel()
            raise


class Lease:
    """The right to use a connection for one request.

    A lease notes two things when it begins: the time, and how many bytes the connection has received. At its end they tell
    whether the connection was silent for ``SILENCE`` seconds. Such a connection takes no more requests.
    """

    __slots__ = ("_began", "_is_over", "_is_unread", "_received", "is_reused", "pool", "pooled")

    def __init__(self, pooled: Pooled) -> None:
        self.pooled = pooled
        self.pool = pooled.pool
        self.is_reused = pooled.is_reused
        self._is_over = False
        self._is_unread = False
        self._began = asyncio.get_running_loop().time()
        self._received = self.connection.endpoint.received
        pooled.users += 1
        pooled.is_reused = True

    @property
    def connection(self) -> "Connection":
        return self.pooled.connection

    @property
    def http2(self) -> Http2ClientConnection:
        """The connection, which has to be one of HTTP/2."""
        assert isinstance(self.connection, Http2ClientConnection)
        return self.connection

    @property
    def is_lost(self) -> bool:
        """Whether the connection is lost; over HTTP/1.1, without a byte of a response to this request.

        A single byte shows that the server has begun to work on the request. To repeat the request would then be a risk. In
        HTTP/2 a received byte may belong to any stream, so it shows nothing about this request.
        """
        is_silent = self.pooled.is_http2 or self.connection.endpoint.received == self._received
        return is_silent and not self.connection.is_free

    def bind(self, response: ClientResponse, request: str) -> None:
        """Let the end of a response end the lease. If the response has no content, or has become a tunnel, end the lease now.

        ``request``: the method and URL, for errors.
        """
        if response.pipe is not None:
            self.pool.let_go(self.pooled)
        exchange = response.exchange
        if exchange is None:
            return self.end()
        self._is_unread = True
        self.pool.unread += 1
        response.exchange = LeasedExchange(exchange, self, request)

    def end(self) -> None:
        """Give the connection back. A second call does nothing.

        Several paths end a lease, and two of them may meet: the content ends, and then the user closes the response. If both
        gave the place back, the pool would count one place too many, and open a seventh connection.
        """
        if not self._is_over:
            self._is_over = True
            self.pool.unread -= self._is_unread
            silent = self.connection.endpoint.received == self._received
            if silent and asyncio.get_running_loop().time() - self._began >= SILENCE:
                self.pooled.is_retired = True
            self.pool.give_back(self.pooled)

    def abandon(self, exchange: ClientExchange | None) -> None:
        """Let a task end the exchange of a response, because nobody can wait for it. None: it has ended."""
        if not self._is_over and exchange is not None:
            self.pool.idle_connections.run(self._give_up(exchange))

    async def _give_up(self, exchange: ClientExchange) -> None:
        """End an exchange, and then the lease: over HTTP/1.1 the connection has to be over before its place is free."""
        try:
            await exchange.give_up()
        finally:
            self.end()


class LeasedExchange:
    """The exchange of a response: it reads from the connection's own exchange, and ends the lease when the content ends.

    The pool keeps no reference to this object. So if the user drops the response, Python deletes this object, and ``__del__``
    still ends the lease.
    """

    def __init__(self, exchange: ClientExchange, lease: Lease, request: str) -> None:
        self._exchange = exchange
        self._lease: Lease | None = lease
        self._request = request
        self._loop = asyncio.get_running_loop()

    async def receive_content(self, seconds: float | None) -> Event:
        try:
            event = await self._exchange.receive_content(seconds)
        except BaseException as error:
            self._end()
            if isinstance(error, OSError | RemoteProtocolError):
                raise with_request(error, self._request) from error
            raise
        if isinstance(event, EndOfMessage):
            self._end()
        return event

    def tunnel(self) -> None:
        """Return None: a response with a tunnel has no exchange."""

    async def give_up(self) -> None:
        try:
            await self._exchange.give_up()
        finally:
            self._end()

    def _end(self) -> None:
        if self._lease is not None:
            self._lease.end()
            self._lease = None

    def __del__(self) -> None:
        """End the lease of a response that the user has dropped, as in ``if response.status != 200: return``.

        The garbage collector may run in any thread, so the loop is called in the way that is safe for threads.
        """
        if self._lease is not None and not (self._lease.pool.is_closed or self._loop.is_closed()):
            self._loop.call_soon_threadsafe(self._lease.abandon, self._exchange)
            warnings.warn(f"{self._request}: the response was dropped unread, which costs its connection", ResourceWarning, 2)


Connection = ClientConnection | Http2ClientConnection


class Pool:
    """The connections to one origin."""

    def __init__(
        self, origin: str, dial: Callable[[], Awaitable[Connection]], most: int, idle_connections: IdleConnections
    ) -> None:
        """``origin``: its URL, which has to be that of the connections that ``dial`` opens."""
        self.origin = origin
        self.idle_connections = idle_connections
        self.http_version = "" if origin.startswith("https:") else "1.1"
        """"1.1" or "2"; "" while no connection over TLS has told."""
        self.unread = 0
        """How many responses have not been read to their end."""
        self._dial = dial
        self._most = most
        self._connections: set[Pooled] = set()
        self._idle: list[Pooled] = []  # of HTTP/1.1. The last one was used last, so the server has probably kept it
        self._shared: Pooled | None = None  # the connection of HTTP/2
        self._taken = 0  # places in use
        self._connecting = 0
        self._waiting: deque[tuple[asyncio.Future[bool], Ask]] = deque()
        self.is_closed = False
        """Whether the client was closed."""

    # -- a lease

    async def lease(self, ask: Ask, seconds: float) -> Lease:
        """Wait in line for a connection, and return the right to use it. Raises TimeoutError after ``seconds`` in line.

        The loop is needed for HTTP/2. A request may be woken because there is a shared connection now, but it runs later. By
        then the connection may have gone away, so the request looks again, and perhaps gets in line again.

        Raises OSError, TimeoutError or RemoteProtocolError if no connection can be opened.
        """
        while (pooled := self._usable()) is None:
            if await self._take_place(ask, seconds):
                pooled = self._idle.pop() if self._idle else await self._open(ask)
                break
        self.idle_connections.remove(pooled)
        return Lease(pooled)

    def give_back(self, pooled: Pooled) -> None:
        """Take a connection back at the end of a lease: keep it, if it can carry another request.

        A connection that is no longer ours speaks another protocol now, or the client is closed.

        In HTTP/1.1 the place goes back, too, even if the connection is over. A place is the permission to have a connection,
        and not the connection itself. The next request in line takes the place, finds no idle connection, and dials.
        """
        pooled.users -= 1
        if pooled in self._connections and not pooled.users:
            if pooled.connection.is_free and not pooled.is_retired:
                self._keep(pooled)
            elif not pooled.is_in_use:
                self.drop(pooled)
        if not pooled.is_http2:
            self._give_place()

    def let_go(self, pooled: Pooled) -> None:
        """Forget a connection of HTTP/1.1 that speaks another protocol now. In HTTP/2 that is only one of its streams."""
        if not pooled.is_http2:
            self._connections.discard(pooled)

    # -- connections

    def _usable(self) -> Pooled | None:
        """Return the connection of HTTP/2 if it takes another request.

        A connection stops taking requests when the server has sent GOAWAY, or when its stream ids are used up. The next
        request then dials, while older responses still arrive on the old connection.
        """
        shared = self._shared
        if shared is not None and (shared.is_retired or not shared.connection.is_free):
            self._shared = None  # the responses that are still coming have leases, and the last of them ends it
        return self._shared

    async def _open(self, ask: Ask) -> Pooled:
        """Open a connection, with a place in hand. Of HTTP/2, only one is kept.

        An error goes to this request alone if the origin is known to speak HTTP/1.1. Otherwise all requests in line were
        waiting for this connection, and they get the error as well. In HTTP/2 the place is given back once the connection is
        open, since a shared connection needs no place.
        """
        ask.step = CONNECTS
        self._connecting += 1
        try:
            connection = await self._dial()
        except BaseException as error:
            if isinstance(error, Exception) and self.http_version != "1.1":
                self._fail_waiting(error)
            self._give_place()
            raise
        finally:
            self._connecting -= 1
        if self.is_closed:
            connection.endpoint.abort()
            raise ConnectionResetError("the client was closed")
        pooled = Pooled(connection, self)
        connection.watch(lambda: self._on_end(pooled))
        self._connections.add(pooled)
        self.http_version = "2" if pooled.is_http2 else "1.1"
        if pooled.is_http2:
            pooled = self._share(pooled)
            self._give_place()
        self._wake()
        return pooled

    def _share(self, opened: Pooled) -> Pooled:
        """Let all requests use a connection of HTTP/2, and return it. If they have one already, that one stays. Two may have
        been opened at the same time, by places from the time when the server spoke HTTP/1.1."""
        shared = self._usable()
        if shared is None:
            self._shared = opened
            return opened
        self.drop(opened)
        return shared

    def _keep(self, pooled: Pooled) -> None:
        """Keep an idle connection for the next request.

        A shared connection is not in ``_idle``, because nobody has to take it out. But it is in ``idle_connections``, and is
        closed after ``idle_timeout`` seconds without a request, as any other connection is.
        """
        if not pooled.is_http2:
            self._idle.append(pooled)
        self.idle_connections.add(pooled)

    def drop(self, pooled: Pooled) -> None:
        """End a connection that is of no more use: broken, idle for too long, or closed by the server while it was idle."""
        if pooled in self._connections:
            self.forget(pooled)
            self.idle_connections.run(_end(pooled.connection))

    def _on_end(self, pooled: Pooled) -> None:
        """Note that the server has ended a connection. If it is in use, its request or response finds out by itself.

        Without this call a dead connection would stay in ``_idle``, and the next request would be sent on it, only to fail.
        """
        pooled.is_retired = True
        if pooled.is_http2:
            self.forget(pooled)
        elif pooled in self._idle:
            self.drop(pooled)

    def forget(self, pooled: Pooled) -> None:
        """Remove a connection that is over. Does nothing if it was removed before."""
        self._connections.discard(pooled)
        self.idle_connections.remove(pooled)
        if pooled in self._idle:
            self._idle.remove(pooled)
        if pooled is self._shared:
            self._shared = None

    # -- places

    @property
    def _places(self) -> int:
        """How many places there are: one until the version is known, since one HTTP/2 connection may serve all requests.

        For example, a program makes 20 requests to https://example.org at once. With six places from the start, it would open
        six connections, and after the first handshake five of them would turn out to be unnecessary. The price is one round
        trip or two: a server of HTTP/1.1 gets its other five connections only after the first handshake.
        """
        return self._most if self.http_version == "1.1" else 1

    async def _take_place(self, ask: Ask, seconds: float) -> bool:
        """Wait in line for a place. Return False if there is a connection of HTTP/2 now, which needs no place.

        A place is given by setting the result of a future, and the request runs one step of the loop later. In this gap the
        request may be cancelled. It then owns a place without knowing it, so the handler below gives the place to the next in
        line. Without this rule each such cancellation would cost the pool one place, until none is left.
        """
        if self.is_closed:
            raise ConnectionResetError("the client was closed")
        if self._taken < self._places:
            self._taken += 1
            return True
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        entry = (waiting, ask)
        self._waiting.append(entry)
        ask.step = WAITS
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds) as limit:
                return await waiting
        except BaseException as error:
            with suppress(ValueError):  # one that was woken is in line no more
                self._waiting.remove(entry)
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None and waiting.result():
                self._give_place()  # it was given to this request at the moment of its cancellation
            if isinstance(error, TimeoutError) and limit.expired():
                raise TimeoutError(f"{self.holders()}, and no place was free within {seconds:g} s") from None
            raise

    def _give_place(self) -> None:
        """Give a place to the first request in line, or free it if no request waits.

        Both steps happen without an ``await`` between them, so no new request can take the place before ``_wake`` gives it on.
        """
        self._taken -= 1
        self._wake()

    def _wake(self) -> None:
        """Give the free places to the first requests in line. If there is an HTTP/2 connection now, wake all of them: they
        need no place for it."""
        shared = self._usable() is not None
        while self._waiting and (shared or self._taken < self._places):
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                self._taken += not shared
                waiting.set_result(not shared)

    def _fail_waiting(self, error: Exception) -> None:
        """Raise the error of a connection that could not be opened in all requests in line: they were waiting for it."""
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if not future.done():
                future.set_exception(error)

    # -- what a user sees

    def holders(self) -> str:
        """Return what holds the places, for the error of a request that waited for one in vain.

            6 connections to https://example.org:443 are in use; 6 responses have not been read to their end: read() or close()
            them, and no place was free within 5 s

        A program that never closes its responses gets this error, so the text names the cure as well.
        """
        if self._connecting:
            return f"{self._connecting} connections to {self.origin} are being opened"
        text = f"{self._taken} connections to {self.origin} are in use"
        if self.unread:
            return f"{text}; {self.unread} responses have not been read to their end: read() or close() them"
        return text

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to remember."""
        return not (self._connections or self._taken or self._waiting)

    def snapshot(self) -> OriginSnapshot:
        """Return the pool's numbers at this moment. A connection with a tunnel counts as busy, although it has no lease."""
        now = asyncio.get_running_loop().time()
        idle = sum(not pooled.is_in_use for pooled in self._connections)
        waiting = tuple((ask.name, now - ask.since) for _, ask in self._waiting)
        busy = len(self._connections) - idle
        return OriginSnapshot(self.origin, self.http_version, self._connecting, idle, busy, self.unread, waiting)

    # -- the end

    def close(self, *, at_once: bool) -> None:
        """End all connections, and fail all requests in line.

        An idle connection is closed in order, so that TLS can say goodbye (close_notify), unless ``at_once`` is true. A
        connection in use is aborted: its response has no end that we could wait for.
        """
        self.is_closed = True
        self._fail_waiting(ConnectionResetError("the client was closed"))
        for pooled in list(self._connections):
            self.forget(pooled)
            if at_once or pooled.is_in_use:
                pooled.connection.endpoint.abort()
            self.idle_connections.run(_end(pooled.connection))


async def _end(connection: Connection) -> None:
    """Close a connection. An OSError at this point, as when the server has reset the connection, concerns no request."""
    with suppress(OSError):
        await connection.close()
