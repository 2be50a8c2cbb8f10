"""The client of a broker in another process, minproto's or a redis-server: how an app on minproto grows beyond one machine.

``RemoteBroker`` has the two methods of a ``Broker``, publish and subscribe. They use these connections and tasks:

    RemoteBroker                                                                           the broker
    |
    |   publish() in task 1 --.                one connection for all publishers
    |   publish() in task 2 --+-- _Publisher  == PUBLISH a .. ==  PUBLISH b .. ==  PUBLISH c .. ==>
    |   publish() in task 3 --'    |
    |                              '- a task <== :3 ========= :0 ========= :1 ====================
    |                                 of its own: the first answer is for the first PUBLISH
    |
    |   subscribe("a") ---------- RemoteSubscription   == SUBSCRIBE a =====================>
    |                                |            <== message a hello ====================
    |                                '- no task: it reads when its user asks for the next item
    |
    '   subscribe("b") ---------- RemoteSubscription   a connection of its own for each subscription

Connections for publishing and for subscribing differ, because the calls differ:

- A PUBLISH is short, and its answer comes at once. So all PUBLISHes share one connection. The second PUBLISH is sent before
  the first is answered (*pipelining*): a thousand PUBLISHes take one round trip, not a thousand.
- A subscription may be slow, because its user is slow. It reads its connection only as fast as its user takes items
  (backpressure), and must not slow down other subscriptions. Pending messages are buffered only in the broker, within the
  broker's bound.

**A lost connection.** If the answer to a PUBLISH is missing, nobody knows whether the broker has run the command. A
second PUBLISH could deliver the message twice, so we never send one (*at-most-once*). If we did not report the loss, the
message could be lost silently. So the caller gets an error, and decides whether to publish again. A subscription reconnects by
itself, and gives its user a ``Gap`` if it may have missed messages.

The subscriptions are in ``remote_subscription.py`` and ``remote_history.py``, and a single connection is in ``link.py``.
"""

import asyncio
import math
import ssl as tls
from collections import deque
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Any, Self, TypeVar

from minproto.aio.broker import check_start
from minproto.aio.groups import Group, RemoteCommands
from minproto.aio.link import Link, open_pipe, parse_url, refusal
from minproto.aio.options import Timeouts, check_common, check_loop, client_context
from minproto.aio.remote_history import History, stream_info
from minproto.aio.remote_subscription import Live, RemoteSubscription
from minproto.broker import pattern_list
from minproto.core import RemoteProtocolError
from minproto.resp import Error, Limits, to_bytes, to_text

UNASKED = ("ERR max number of clients", "DENIED ")
"""The beginnings of the errors that a broker sends without being asked. It then closes, without having read a command."""
UNREADABLE = "ERR Protocol error"
"""The beginning of the error for a command beyond the broker's own limits. The broker then closes, and reads no more."""
MAX_COMMAND_NAME = 16
"""The maximum number of bytes of a command's name. The name counts towards ``max_command``, as do the words that the user
gives."""

T = TypeVar("T")


class RemoteBroker:
    """``await broker.publish(topic, data)``; ``async for item in broker.subscribe(*topics)``. ``async with`` closes it.

    Every method raises a ConnectionRefusedError if the broker refuses for now (it is busy, loading, or has too many
    clients), and a RemoteProtocolError with the broker's words if it refuses permanently. In either case the call has had no
    effect.

    A RemoteBroker belongs to the event loop in which it is first used. While that loop is running, every method raises
    RuntimeError if called from another thread; there, use
    ``asyncio.run_coroutine_threadsafe(broker.publish(topic, data), loop)``.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        *,
        ssl: tls.SSLContext | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008
    ) -> None:
        """``url``: ``redis://[[user]:password@]host[:port]``, ``rediss://`` for TLS, ``unix:///path``; else ValueError.

        ``limits.max_bulk``: the maximum number of bytes of a message, in both directions. ``publish`` refuses a longer
        message. If another client publishes a longer message, a ``Gap`` with a ``reason`` arrives. A BrokerServer needs a
        limit at least as high.
        """
        check_common(limits, Limits, timeouts, ssl)
        self.target = parse_url(url)
        self._ssl = client_context(ssl, self.target.scheme, "rediss")
        self._limits = limits
        self._timeouts = timeouts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._publisher: _Publisher | None = None
        self._connecting = asyncio.Lock()
        self._attempts = 0  # to connect the publisher
        self._failure: Exception | None = None  # the error from the last attempt; None: it succeeded

    async def publish(self, topic: str, data: bytes) -> int:
        """Give a message to all subscribers, on any machine, and return the number of deliveries.

        Raises OSError if the broker can't be reached, or if the connection is lost before the broker has answered. Unless the
        error is a ConnectionRefusedError, the message may have been delivered: only the app can decide whether to publish
        again.
        Raises RemoteProtocolError if the broker refuses. Raises ValueError for a topic or data beyond the limits, and
        TypeError for a topic that is not a str or data that is not bytes; then nothing was sent.
        """
        self.check_loop()
        if not isinstance(data, bytes):
            raise TypeError(f"a message is bytes, not {type(data).__name__}")
        name = _encode_name(topic)
        _check_size(self._limits, [name, data])
        while True:
            publisher = await self._connected_publisher()
            with suppress(_UnreadError):  # an earlier command was at fault: publish again, on the next connection
                return await publisher.publish(name, data)

    async def _connected_publisher(self) -> "_Publisher":
        """Return the connection for publishing. It is made if there is no connection, or if the last one was lost.

        A hundred tasks may want to publish while the broker is away. Only one of them connects, and the other tasks wait for
        that attempt. If the attempt fails, each task gets the error, and makes no attempt of its own. A hundred attempts, one
        after the other and each with a timeout of 10 s, would keep the last task waiting for 1,000 s.
        """
        attempts = self._attempts
        async with self._connecting:
            if self._publisher is not None and not self._publisher.lost:
                return self._publisher
            if self._attempts > attempts and self._failure is not None:
                raise self._failure
            self._attempts += 1
            try:
                self._publisher = _Publisher(await self.connect())
            except (OSError, RemoteProtocolError) as error:
                self._failure = error
                raise
            self._failure = None
            return self._publisher

    def subscribe(
        self, *topics: str, patterns: Iterable[str] = (), after: str | None = None, last: int = 0
    ) -> RemoteSubscription:
        """Return a subscription to topics and patterns. It begins when it is entered or first asked for an item.

        ``after``: the id of a message on the one topic (an item's id, or ``last_id``). The messages published after this
        one come first. With ``after`` or ``last``, every message has an id, and no message is lost with a connection, as long
        as the broker's history goes back far enough; if it does not, a Gap says so.
        ``last``: begin this many messages ago. If ``after`` is given, ``last`` has no effect, as in ``Broker.subscribe``.

        Raises ValueError if there is nothing to listen to, or if ``after`` or ``last`` is combined with several topics or with
        a pattern; TypeError for a name that is not a str. When entered or asked for an item, the subscription raises
        RemoteProtocolError if the broker keeps no history of the topic.
        """
        self.check_loop()
        patterns = pattern_list(topics, patterns)
        check_start(after, last)
        names, globs = [_encode_name(topic) for topic in topics], [_encode_name(pattern) for pattern in patterns]
        _check_size(self._limits, names)
        _check_size(self._limits, globs)
        if after is None and not last:
            return RemoteSubscription(self, Live(names, globs))
        if len(names) != 1 or globs:
            raise ValueError("after= and last= are for a subscription to one topic, without patterns")
        return RemoteSubscription(self, History(names[0], after, last))

    def group(self, topic: str, name: str, *, idle: float = 60.0, tries: int | None = None, dead: str | None = None) -> Group:
        """Return a consumer group of a topic, whose consumers share the topic's entries as jobs: see ``aio/groups.py``."""
        self.check_loop()
        return Group(lambda: RemoteCommands(self.connect), topic, name, idle=idle, tries=tries, dead=dead)

    async def last_id(self, topic: str) -> str:
        """Return the id from which a new subscriber to the topic could resume.

        For example, an app sends it to a browser with a page, so that the page's event stream begins where the page ends.
        Raises OSError, and RemoteProtocolError if the broker keeps no history of the topic.
        """
        name = _encode_name(topic)
        link = await self.connect()  # a separate one: the publisher's connection expects only answers to PUBLISH
        try:
            return to_text((await self.within_handshake(stream_info(link, name)))[b"last-generated-id"])
        finally:
            link.abort()

    async def connect(self) -> Link:
        """Return a new connection, after giving the password. Raises OSError and RemoteProtocolError."""
        self.check_loop()
        link = Link(await open_pipe(self.target.address, self._ssl, self._timeouts), self._limits, self._timeouts)
        try:
            if self.target.auth:
                await self.within_handshake(link.request((b"AUTH", *self.target.auth)))
        except BaseException:
            link.abort()
            raise
        return link

    async def within_handshake(self, answer: Awaitable[T]) -> T:
        """Wait for the first answers on a connection. Raises TimeoutError, whose text says that there was a connection.

        A broker that expects TLS waits silently for a TLS handshake, so the text mentions TLS too.
        """
        seconds = self._timeouts.handshake
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError as error:
            raise TimeoutError(
                f"{self.target} takes the connection, but has not answered within {seconds:g} s"
                + ("" if self._ssl else " (if that port speaks TLS, the URL begins with rediss://)")
            ) from error

    def check_loop(self) -> None:
        """Raise RuntimeError if the event loop of this object is running in a different thread from the caller's.

        The object's connections belong to that loop. A call from another thread would change the queue of answers while the
        reader's task is using it, and would not wake the loop. The first loop may have ended: a program may call
        ``asyncio.run`` twice with one RemoteBroker.
        """
        if self._loop is not None:
            check_loop(self._loop, "asyncio.run_coroutine_threadsafe(broker.publish(topic, data), loop)")
        with suppress(RuntimeError):  # no loop is running yet: ``subscribe`` is not a coroutine
            self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """End the connection for publishing. Subscriptions stay open: close each of them separately."""
        self.check_loop()
        if self._publisher is not None:
            await self._publisher.close()
            self._publisher = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()  # does not wait for the peer, so it is right even after a cancellation


def _encode_name(name: str) -> bytes:
    """Return the bytes of a topic or a pattern. Raises TypeError, or ValueError for a str that can't be encoded."""
    if not isinstance(name, str):
        raise TypeError(f"a topic or pattern is a str, not {type(name).__name__}: {name!r:.60}")
    return to_bytes(name)


def _check_size(limits: Limits, words: list[bytes]) -> None:
    """Raise ValueError for a command whose words exceed our limits, because the broker probably has the same limits.

    The broker would close the connection, which many tasks share. One caller's mistake must not make other calls fail.
    """
    longest, total = max(map(len, words), default=0), sum(map(len, words))
    if longest > limits.max_bulk:
        raise ValueError(f"a string of {longest:,} bytes: limits.max_bulk is {limits.max_bulk:,} (the broker has one, too)")
    if total + MAX_COMMAND_NAME > limits.max_command:
        raise ValueError(f"a command of {total:,} bytes: limits.max_command is {limits.max_command:,}")
    if len(words) >= limits.max_array:
        raise ValueError(f"a command of {len(words):,} strings: limits.max_array is {limits.max_array:,}")


# ---- publishing --------------------------------------------------------------------------------------------------------


class _UnreadError(ConnectionError):
    """The broker has closed the connection because of an earlier command, and has not read this command."""


class _Publisher:
    """One connection on which many tasks publish at a time: answers come in the order of the commands.

    Each ``publish`` appends a future to a queue. For each answer, the reader's task sets the result of the first future:

        publish(b"a", …)   sends PUBLISH a …    queue: [future 1]
        publish(b"b", …)   sends PUBLISH b …    queue: [future 1, future 2]
        the reader         receives :3          queue: [future 2]              the first publish returns 3

    One timer serves all of them. It fires every ``Timeouts.body`` seconds, and looks for progress: has the broker sent
    anything, or received more bytes of the oldest PUBLISH? If not, packets are being lost, or the broker hangs. The oldest
    PUBLISH then ends with TimeoutError, the others fail because the connection is given up, and the next ``publish`` makes a
    new connection. (With a timer for each PUBLISH, a large message on a slow line would be given up although it is making
    progress, along with every message queued after it.)
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._answers: deque[tuple[asyncio.Future[int], int]] = deque()  # each future, and where its PUBLISH ends
        self._timer: asyncio.TimerHandle | None = None
        self._progress_before = (0, 0)  # the progress when the timer was set
        self.lost = False
        """Whether the connection has ended, so that the next ``publish`` needs a new connection."""
        self._reader = asyncio.create_task(self._read())

    async def publish(self, topic: bytes, data: bytes) -> int:
        """Publish a message, and return the number of deliveries. Raises like ``RemoteBroker.publish``, and _UnreadError."""
        end = self._link.send(b"PUBLISH", topic, data)  # if it raises, there is no answer to wait for yet
        answer: asyncio.Future[int] = self._loop.create_future()
        self._answers.append((answer, end))
        if self._timer is None:
            self._set_timer()
        with suppress(ConnectionError):  # awaiting the answer raises a better error: the broker may have said why it closes
            await self._link.flush()
        return await answer

    def _set_timer(self) -> None:
        seconds = self._link.timeouts.body
        if seconds < math.inf:
            self._progress_before = self._progress()
            self._timer = self._loop.call_later(seconds, self._check_progress)

    def _progress(self) -> tuple[int, int]:
        """Return how many bytes the broker has sent, and how many it has received up to the end of the oldest PUBLISH.

        Later bytes are not counted: a broker that hangs may buffer many commands without answering any of them.
        """
        return self._link.progress(self._answers[0][1])

    def _check_progress(self) -> None:
        """Set the timer again if there was progress since it was set; otherwise give up the connection."""
        self._timer = None
        if not self._answers:
            return
        (received, taken), (received_before, taken_before) = self._progress(), self._progress_before
        if received > received_before or taken > taken_before:
            self._set_timer()
            return
        seconds = self._link.timeouts.body
        _fail(self._answers[0][0], TimeoutError(f"the broker has not answered a PUBLISH within {seconds:g} s"))
        self._end()

    async def _read(self) -> None:
        """Run the reader's task: hand out answers while the connection lasts, then fail every PUBLISH still waiting."""
        error = _unanswered(ConnectionResetError("the client was closed"))
        try:
            error = await self._hand_out_answers()
        except (OSError, RemoteProtocolError) as cause:
            error = _unanswered(cause)
        finally:  # after a cancellation, too
            self._end()
            for answer, _ in self._answers:
                _fail(answer, error)

    async def _hand_out_answers(self) -> Exception:
        """Read answers until the broker stops reading commands. Return the error for all commands that it has not read.

        Raises OSError and RemoteProtocolError, after which nobody knows what the broker has done.
        """
        while True:
            value = await self._link.value(math.inf)
            if isinstance(value, Error) and value.text.startswith(UNASKED):
                return refusal(value)
            if not self._answers:
                raise ConnectionResetError("the broker sent what nobody asked for")
            _settle(self._answers.popleft()[0], value)
            if isinstance(value, Error) and value.text.startswith(UNREADABLE):
                return _UnreadError()

    def _end(self) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._link.abort()

    async def close(self) -> None:
        """End the connection. A PUBLISH without an answer fails, and its caller gets ConnectionResetError."""
        self._reader.cancel()
        await asyncio.wait([self._reader])


def _unanswered(cause: Exception) -> Exception:
    """Return the error for a PUBLISH that was not answered."""
    return ConnectionResetError(f"lost before the answer: {cause}")


def _settle(answer: "asyncio.Future[int]", value: Any) -> None:
    """Give a publisher the value of the broker's answer: the number, or an exception."""
    if isinstance(value, int):
        if not answer.done():  # done: the caller was cancelled; its message was delivered
            answer.set_result(value)
    else:
        _fail(answer, refusal(value) if isinstance(value, Error) else RemoteProtocolError("the answer is not a number"))


def _fail(answer: "asyncio.Future[int]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # mark it as seen: if the caller has been cancelled, asyncio would log it as never retrieved
