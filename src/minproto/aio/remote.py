"""A broker in another process, minproto's or a redis-server: how an app on minproto grows past one machine.

It has the two methods of a ``Broker``, publish and subscribe. Each subscription is one connection, read only as fast as its
user takes, so the server's bound on what waits for a client is the only one. All that is published shares another connection,
pipelined; when that connection is lost, whoever waits for an answer is told, since nobody knows whether the message was
delivered.

A subscription connects again by itself. What happens to the messages published meanwhile depends on how it listens:

    subscribe("a", "b", patterns=["c*"])   SUBSCRIBE: they are lost, and a ``Gap`` stands in their place; messages have no id
    subscribe("a", after=id)               XREAD: they come from the broker's history, each with its id; a ``Gap`` stands only
    subscribe("a", last=50)                where the history does not go back so far. For minproto's broker: see ``_History``

This is no part of ``aio/broker.py``: that one waits for what happens in this process, this one for the network.
"""

import asyncio
import math
import ssl as tls
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

from minproto.aio.broker import check_start
from minproto.aio.endpoint import Deadline, Timeouts
from minproto.aio.link import Link, Skipped, check, open_pipe, parse_url, refusal
from minproto.aio.options import check_common, client_context
from minproto.aio.reconnect import Attempts, reconnect
from minproto.broker import Gap, Item, Message, parse_id, pattern_list
from minproto.core import RemoteProtocolError
from minproto.resp import Error, Limits, NullArray, to_bytes, to_text
from minproto.stream_commands import MAX_ID

LEAST_PING = 1.0
"""Seconds between two PINGs at least, also where ``Timeouts.ping`` is 0: without them the client would do nothing else."""
UNASKED = ("ERR max number of clients", "DENIED ")
"""How the errors begin that a broker sends unasked. The broker then closes the connection, and has not read a command."""
NO_HISTORY = ("ERR no such key", "ERR unknown command", "WRONGTYPE ")
"""How the errors of XINFO STREAM begin for a topic without a history: ours and Redis's, one without streams, another type."""
UNREADABLE = "ERR Protocol error"
"""How the error begins for a command beyond the broker's own limits. It closes the connection, and reads nothing more."""


class RemoteBroker:
    """``await broker.publish(topic, data)``; ``async for item in broker.subscribe(*topics)``. ``async with`` closes it.

    Every method raises a ConnectionRefusedError where the broker refuses for now (it is busy, loading, or has too many
    clients), and a RemoteProtocolError with the broker's words where it refuses for good. After either, nothing was done.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        *,
        ssl: tls.SSLContext | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008
    ) -> None:
        """``redis://[[user]:password@]host[:port]``, ``rediss://`` for TLS, or ``unix:///path``. Raises ValueError for others.

        ``limits.max_bulk``: bytes of the longest message, in both directions. A longer one is refused by ``publish``; from
        somebody else it arrives as a ``Gap`` with a ``reason``. A BrokerServer has such a limit too, and needs as much.
        """
        check_common(limits, Limits, timeouts, ssl)
        self.target = parse_url(url)
        self._ssl = client_context(ssl, self.target.scheme, "rediss")
        self._limits = limits
        self._timeouts = timeouts
        self._publisher: _Publisher | None = None
        self._connecting = asyncio.Lock()
        self._attempts = 0
        self._failure: Exception | None = None  # of the last attempt to connect the publisher

    async def publish(self, topic: str, data: bytes) -> int:
        """Give a message to all who listen, anywhere; return how many that were.

        Raises OSError where the broker can't be reached, or was lost before it answered (unless that is a
        ConnectionRefusedError, the message may have been delivered); RemoteProtocolError where it refuses; before anything is
        sent, ValueError for a topic or data beyond the limits, TypeError for a topic that is no str or data that is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a message is bytes, not {type(data).__name__}")
        name = _name(topic)
        _check_size(self._limits, [name, data])
        while True:
            publisher = await self._connected()
            with suppress(_UnreadError):  # the fault was in what somebody else published: once more, without it
                return await publisher.publish(name, data)

    async def _connected(self) -> "_Publisher":
        """The connection for publishing. Whoever has waited while another attempt began and failed does not begin one more."""
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
    ) -> "RemoteSubscription":
        """Listen to topics and patterns, from when the subscription is entered or first asked for an item.

        ``after``: the id of a message of the one topic (of an item, or ``last_id``). What was published after it comes first,
        and messages have ids, also after a connection was lost; a Gap says where the broker's history does not go back so far.
        ``last``: the same, but from so many messages ago. With ``after`` it says nothing.

        Raises ValueError where there is nothing to listen to, or several topics or a pattern with ``after`` or ``last``;
        TypeError for what is no str. Entered or asked for an item, it raises RemoteProtocolError where the broker keeps no
        history of the topic.
        """
        patterns = pattern_list(topics, patterns)
        check_start(after, last)
        names, globs = [_name(topic) for topic in topics], [_name(pattern) for pattern in patterns]
        _check_size(self._limits, names)
        _check_size(self._limits, globs)
        if after is None and not last:
            return RemoteSubscription(self, _Live(names, globs))
        if len(names) != 1 or globs:
            raise ValueError("after= and last= are for a subscription to one topic, without patterns")
        return RemoteSubscription(self, _History(names[0], after, last))

    async def last_id(self, topic: str) -> str:
        """Return the id from which a new subscriber to the topic could resume. Raises OSError, RemoteProtocolError."""
        name = _name(topic)
        link = await self.connect()
        try:
            return to_text((await self.within_handshake(_stream(link, name)))[b"last-generated-id"])
        finally:
            link.abort()

    async def connect(self) -> Link:
        """A connection on which the password is said. Raises OSError, RemoteProtocolError."""
        link = Link(await open_pipe(self.target.address, self._ssl, self._timeouts), self._limits, self._timeouts)
        try:
            if self.target.auth:
                await self.within_handshake(link.request((b"AUTH", *self.target.auth)))
        except BaseException:
            link.abort()
            raise
        return link

    async def within_handshake(self, answer: Any) -> Any:
        """Wait for the first answers on a connection. Raises TimeoutError, which says that there was a connection."""
        seconds = self._timeouts.handshake
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError as error:
            raise TimeoutError(
                f"{self.target} takes the connection, but has not answered within {seconds:g} s"
                + ("" if self._ssl else " (if that port speaks TLS, the URL begins with rediss://)")
            ) from error

    async def close(self) -> None:
        """End the connection for publishing. Subscriptions are ended one by one."""
        if self._publisher is not None:
            await self._publisher.close()
            self._publisher = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()  # waits for nobody, so a cancelled block needs no abort


def _name(name: str) -> bytes:
    """The bytes of a topic or a pattern. Raises TypeError, or ValueError for a str that has none."""
    if not isinstance(name, str):
        raise TypeError(f"a topic or pattern is a str, not {type(name).__name__}: {name!r:.60}")
    return to_bytes(name)


def _check_size(limits: Limits, words: list[bytes]) -> None:
    """Raise ValueError for a command that the broker may refuse as a whole, and with it what others say on the connection."""
    longest, total = max(map(len, words), default=0), sum(map(len, words))
    if longest > limits.max_bulk:
        raise ValueError(f"a string of {longest:,} bytes: limits.max_bulk is {limits.max_bulk:,} (the broker has one, too)")
    if total + 16 > limits.max_command:  # 16: for the name of the command
        raise ValueError(f"a command of {total:,} bytes: limits.max_command is {limits.max_command:,}")
    if len(words) >= limits.max_array:
        raise ValueError(f"a command of {len(words):,} strings: limits.max_array is {limits.max_array:,}")


# ---- publishing --------------------------------------------------------------------------------------------------------


class _UnreadError(ConnectionError):
    """The broker has closed the connection over the command before this one. It has not read this one."""


class _Publisher:
    """One connection on which many publish at a time: answers come in the order asked.

    One timer watches for all of them. When ``Timeouts.body`` seconds have gone by in which the broker has neither answered
    anybody nor taken anything of the oldest PUBLISH, packets are lost, or the broker hangs: that PUBLISH is a TimeoutError,
    the others are lost with the connection, and whoever publishes next has a new one.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._answers: deque[tuple[asyncio.Future[int], int]] = deque()  # each with the position where its PUBLISH ends
        self._timer: asyncio.TimerHandle | None = None
        self._seen = (0, 0)  # the progress when the timer was set
        self.lost = False
        self._reader = asyncio.create_task(self._read())

    async def publish(self, topic: bytes, data: bytes) -> int:
        end = self._link.send(b"PUBLISH", topic, data)  # raises before there is an answer to wait for
        answer: asyncio.Future[int] = self._loop.create_future()
        self._answers.append((answer, end))
        if self._timer is None:
            self._set_timer()
        with suppress(ConnectionError):  # the reader knows more: the broker may have said why it closes
            await self._link.flush()
        return await answer

    def _set_timer(self) -> None:
        seconds = self._link.timeouts.body
        if seconds < math.inf:
            self._seen = self._progress()
            self._timer = self._loop.call_later(seconds, self._check)

    def _progress(self) -> tuple[int, int]:
        return self._link.progress(self._answers[0][1])

    def _check(self) -> None:
        """The timer's time is over: go on, unless the broker was silent."""
        self._timer = None
        if not self._answers:
            return
        (received, taken), (had_received, had_taken) = self._progress(), self._seen
        if received > had_received or taken > had_taken:
            self._set_timer()
            return
        seconds = self._link.timeouts.body
        _fail(self._answers[0][0], TimeoutError(f"the broker has not answered a PUBLISH within {seconds:g} s"))
        self._lose()

    async def _read(self) -> None:
        error = _lost(ConnectionResetError("the client was closed"))
        try:
            error = await self._settle_answers()
        except (OSError, RemoteProtocolError) as lost:
            error = _lost(lost)
        finally:
            self._lose()
            for answer, _ in self._answers:
                _fail(answer, error)

    async def _settle_answers(self) -> Exception:
        """Read answers until the broker has refused the connection, and with it what it has not read: return the error for
        that. Raises OSError and RemoteProtocolError, after which nobody knows what the broker has done."""
        while True:
            value = await self._link.value(math.inf)
            if isinstance(value, Error) and value.text.startswith(UNASKED):
                return refusal(value)
            if not self._answers:
                raise ConnectionResetError("the broker sent what nobody asked for")
            _settle(self._answers.popleft()[0], value)
            if isinstance(value, Error) and value.text.startswith(UNREADABLE):
                return _UnreadError()

    def _lose(self) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._link.abort()

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])


def _lost(error: Exception) -> Exception:
    return ConnectionResetError(f"lost before the answer: {error}")


def _settle(answer: "asyncio.Future[int]", value: Any) -> None:
    if isinstance(value, int):
        if not answer.done():  # the caller was cancelled
            answer.set_result(value)
    else:
        _fail(answer, refusal(value) if isinstance(value, Error) else RemoteProtocolError("the answer is not a number"))


def _fail(answer: "asyncio.Future[int]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # mark it as seen: whoever asked may be cancelled by now, and asyncio would log it as unheard


# ---- listening ---------------------------------------------------------------------------------------------------------


class _Source(Protocol):
    """How a subscription gets its items from a connection."""

    async def begin(self, link: Link) -> list[Item]:
        """Prepare a new connection; what comes first on it. Cancelled, or if it raises, it has changed nothing."""

    async def next(self, link: Link) -> list[Item]:
        """Wait for the next items; perhaps none. Cancelled, it has taken nothing. Raises OSError, RemoteProtocolError."""


class RemoteSubscription:
    """Messages, and a Gap wherever some are missing: ``async for item in subscription``. ``async with`` ends it.

    A message has no id (``""``), for Redis gives none; unless it comes from a history (``after=``, ``last=``).
    """

    def __init__(self, broker: RemoteBroker, source: _Source) -> None:
        self._broker = broker
        self._source = source
        self._attempts = Attempts(f"the broker at {broker.target}")
        self._links = reconnect(self._connect, self._attempts)
        self._waiting: Deadline | None = None  # for the next of them
        self._link: Link | None = None
        self._items: deque[Item] = deque()  # received, and not taken yet
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """The next item. Raises RemoteProtocolError where the broker refuses for good; cancelled, it has taken nothing."""
        while not self._closed:
            if self._items:
                return self._items.popleft()
            link = self._link
            if link is None:
                await self._next_link()
                continue
            try:
                self._items += await self._source.next(link)
            except OSError:  # TimeoutError among them
                self._lose(link)
            except RemoteProtocolError:
                self._lose(link)
                raise
        raise StopAsyncIteration

    def _lose(self, link: Link) -> None:
        link.abort()
        self._link = None

    async def _next_link(self) -> None:
        """Wait for a connection, or until the subscription is closed."""
        self._waiting = Deadline(asyncio.get_running_loop())
        try:
            with self._waiting(math.inf):
                self._link = await anext(self._links)
        except TimeoutError:
            return
        except BaseException:
            self._links = reconnect(self._connect, self._attempts)  # a generator that failed or was cancelled is over
            raise

    async def _connect(self) -> Link:
        """A connection from which everything comes."""
        link = await self._broker.connect()
        try:
            self._items += await self._broker.within_handshake(self._source.begin(link))
        except BaseException:
            link.abort()
            raise
        return link

    async def close(self) -> None:
        """End it."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.expire()
        if self._link is not None:
            await self._link.close()
        with suppress(RuntimeError):  # another task is in it, whose wait is over
            await self._links.aclose()

    async def __aenter__(self) -> Self:
        """Wait until the broker has confirmed: what is published from now on arrives. Raises RemoteProtocolError."""
        if self._link is None:
            await self._next_link()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._link is not None:
            self._link.abort()  # a block that is cancelled waits for no peer
        await self.close()


class _Live:
    """Messages as they are published: SUBSCRIBE and PSUBSCRIBE."""

    def __init__(self, topics: list[bytes], patterns: list[bytes]) -> None:
        self._topics = topics
        self._patterns = patterns
        self._was_connected = False

    async def begin(self, link: Link) -> list[Item]:
        if self._topics:
            link.send(b"SUBSCRIBE", *self._topics)
        if self._patterns:
            link.send(b"PSUBSCRIBE", *self._patterns)
        await link.flush()
        items: list[Item] = [Gap(None, reason="the connection was lost")] if self._was_connected else []
        missing = len(self._topics) + len(self._patterns)
        while missing:
            found = _pushed(check(await link.value(link.timeouts.handshake)), link.limits)
            missing -= not found
            items += found
        self._was_connected = True
        return items

    async def next(self, link: Link) -> list[Item]:
        return _pushed(check(await self._value(link)), link.limits)

    async def _value(self, link: Link) -> Any:
        """The next value; a broker of which nothing arrives for too long is asked whether it is there."""
        try:
            return await link.value(max(link.timeouts.ping, LEAST_PING))
        except TimeoutError:
            link.send(b"PING")
            await link.flush()
            return await link.value(link.timeouts.pong)


def _pushed(value: Any, limits: Limits) -> list[Item]:
    """A message; none for a confirmation or a pong. Raises RemoteProtocolError for what no subscriber should get."""
    match value:
        case [b"message" | b"pmessage", *_, Skipped() as long] | [b"pmessage", _, Skipped() as long, _]:  # data, or topic
            return [_too_long(long, limits)]
        case [b"message", bytes(topic), bytes(data)]:
            return [Message(to_text(topic), "", data)]
        case [b"pmessage", bytes(pattern), bytes(topic), bytes(data)]:
            return [Message(to_text(topic), "", data, to_text(pattern))]
        case [b"subscribe" | b"psubscribe" | b"pong", *_]:
            return []
    raise RemoteProtocolError(f"not for a subscriber: {str(value)[:60]}")


def _too_long(data: Skipped, limits: Limits, id: str | None = None) -> Gap:
    return Gap(1, id, f"a message of {data.length:,} bytes was not received: limits.max_bulk is {limits.max_bulk:,}")


# ---- listening from a history ------------------------------------------------------------------------------------------

Id = tuple[int, int]


class _History:
    """The messages of one topic behind an id, and then all that come, by XREAD: from a broker that keeps a history.

    XREAD says what there is behind an id, but not whether something is missing there. XINFO STREAM does: its
    ``max-deleted-entry-id`` is the newest id that is not kept any more. The client asks for it right behind each XREAD, in one
    write. What the history loses between the two can make a Gap too many, but never hide one:

        XREAD … STREAMS news 7-0      ->  8-0, 9-0
        XINFO STREAM news             ->  max-deleted-entry-id 7-0: nothing is missing. 8-0: perhaps, so a Gap comes first

    On a new connection there may be another broker, whose ids say nothing of ours. So there the very message of the id has to
    be in the history (XRANGE), or to be the last that the history has lost.
    """

    def __init__(self, topic: bytes, after: str | None, last: int) -> None:
        self._topic = topic
        self._after = None if after is None else _id_or_oldest(after)
        self._last = last
        self._asked: Link | None = None  # on which two answers are due,
        self._read: list[Any] = []  # and the first of the two, once it has come

    async def begin(self, link: Link) -> list[Item]:
        after = await self._start(link) if self._after is None else self._after
        most = b"%d" % _batch(link.limits)
        id = _encode_id(after)
        ask = link.request((b"XREAD", b"COUNT", most, b"STREAMS", self._topic, id), (b"XRANGE", self._topic, id, id))
        read, found = await ask
        stream = await _stream(link, self._topic)
        lost = _lost_until(stream)
        if after > _parse_id(stream[b"last-generated-id"]):  # of a broker whose clock was ahead: read all that there is
            return self._received(lost, None, link.limits, gap=True)
        if found or after == lost:
            return self._received(after, read, link.limits)
        return self._received(max(after, lost), read, link.limits, gap=True)

    async def _start(self, link: Link) -> Id:
        """The id behind which the last messages come."""
        bound, missing = b"+", self._last + 1
        while True:
            most = b"%d" % min(missing, _batch(link.limits))
            (answer,) = await link.request((b"XREVRANGE", self._topic, bound, b"-", b"COUNT", most))
            entries = _entries(answer)
            if not entries:
                return _lost_until(await _stream(link, self._topic))
            missing -= len(entries)
            oldest = _parse_id(entries[-1][0])
            if missing <= 0:
                return oldest
            bound = b"(" + _encode_id(oldest)

    async def next(self, link: Link) -> list[Item]:
        assert self._after is not None
        timeouts = link.timeouts
        if self._asked is not link:
            self._asked, self._read = link, []
            pause = max(timeouts.ping, LEAST_PING)
            block = b"0" if pause == math.inf else b"%d" % (pause * 1_000)
            most = b"%d" % _batch(link.limits)
            link.send(b"XREAD", b"COUNT", most, b"BLOCK", block, b"STREAMS", self._topic, _encode_id(self._after))
            link.send(b"XINFO", b"STREAM", self._topic)
            await link.flush()
        if not self._read:
            self._read = [check(await link.value(max(timeouts.ping, LEAST_PING) + timeouts.pong))]
        stream = _pairs(check(await link.value(timeouts.pong)))
        self._asked = None
        lost = _lost_until(stream)
        return self._received(max(self._after, lost), self._read[0], link.limits, gap=lost > self._after)

    def _received(self, after: Id, read: Any, limits: Limits, *, gap: bool = False) -> list[Item]:
        """The items of an answer to XREAD. The next XREAD asks for what comes after the last of them, or else ``after``."""
        items: list[Item] = [Gap(None, reason="the broker's history does not go back so far")] if gap else []
        entries = _entries_read(read)
        items += [_entry(to_text(self._topic), entry, limits) for entry in entries]
        self._after = _parse_id(entries[-1][0]) if entries else after
        return items


def _batch(limits: Limits) -> int:
    """How many entries one answer may have: all of them may be as long as the limits allow."""
    return max(1, limits.max_command // (limits.max_bulk + 1_024))


def _entries(answer: Any) -> list[list[Any]]:
    """Return the entries in an answer to XREVRANGE. Raises RemoteProtocolError for an answer of another shape."""
    if isinstance(answer, list) and all(isinstance(entry, list) and entry[:1] for entry in answer):
        return answer
    raise RemoteProtocolError(f"not the entries of a stream: {str(answer)[:60]}")


def _entries_read(answer: Any) -> list[list[Any]]:
    """The same for XREAD of one stream, which answers null when nothing new has come."""
    match answer:
        case None | NullArray():
            return []
        case [[_, entries]]:
            return _entries(entries)
    raise RemoteProtocolError(f"not what XREAD answers: {str(answer)[:60]}")


def _entry(topic: str, entry: Any, limits: Limits) -> Item:
    match entry:
        case [bytes(id), [b"data", Skipped() as data]]:
            return _too_long(data, limits, to_text(id))
        case [bytes(id), [b"data", bytes(data)]]:
            return Message(topic, to_text(id), data)
    raise RemoteProtocolError(f"an entry of {topic} without the one field data: {str(entry)[:60]}")


async def _stream(link: Link, topic: bytes) -> dict[bytes, Any]:
    """Return what the broker knows of a topic's history. Raises RemoteProtocolError where there is none."""
    try:
        (answer,) = await link.request((b"XINFO", b"STREAM", topic))
    except RemoteProtocolError as error:
        if not str(error).startswith(NO_HISTORY):
            raise
        raise RemoteProtocolError(f"the broker keeps no history of {to_text(topic)}: {error}") from error
    return _pairs(answer)


def _pairs(answer: Any) -> dict[bytes, Any]:
    if isinstance(answer, list) and len(answer) % 2 == 0 and all(isinstance(name, bytes) for name in answer[::2]):
        pairs = dict(zip(answer[::2], answer[1::2], strict=True))
        if b"last-generated-id" in pairs:
            return pairs
    raise RemoteProtocolError(f"not what XINFO STREAM answers: {str(answer)[:60]}")


def _lost_until(stream: dict[bytes, Any]) -> Id:
    """The newest id that is not kept any more. A redis-server does not say what it has trimmed, so there it is a guess."""
    lost = _parse_id(stream.get(b"max-deleted-entry-id", b"0-0"))
    first = stream.get(b"first-entry")
    if lost == (0, 0) and first and stream.get(b"entries-added") != stream.get(b"length"):
        return _parse_id(first[0])
    return lost


def _id_or_oldest(text: str) -> Id:
    """Parse an id. Text that is no id counts as older than every id, so that everything is read, behind a Gap. The Broker in
    this process does the same."""
    id = parse_id(text)
    return id if id is not None and max(id) <= MAX_ID else (0, 0)


def _encode_id(id: Id) -> bytes:
    return b"%d-%d" % id


def _parse_id(text: Any) -> Id:
    id = parse_id(to_text(text)) if isinstance(text, bytes) else None
    if id is None:
        raise RemoteProtocolError(f"not an id: {str(text)[:60]}")
    return id
