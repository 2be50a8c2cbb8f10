"""Work handed out: ``async for job in group.consumer("w1")``, on a broker in this process or on a redis-server alike.

A topic's stream holds jobs. The consumers of a group share them, and each job goes to one of them:

    group = broker.group("jobs", "workers", idle=60, tries=3)     # of a Broker, or of a RemoteBroker
    await group.add(b"resize photo 7")

    async for job in group.consumer("w1"):                        # in each worker, under a name of its own
        await resize(job.data)
        await job.ack()                                           # done: it is never delivered again

What becomes of a job whose worker crashes before the ``ack``:

    w1 starts again              its first jobs are those that it had before the crash
    w1 does not come back        after ``idle`` seconds of silence, another consumer gets the job
    each worker crashes on it    after ``tries`` deliveries the job goes to the dead-letter topic, "jobs.dead"

So a job is delivered *at least once*, and it has to be idempotent. A worker that is slower than ``idle`` is taken for dead.

Both kinds of broker understand the same commands (``minproto.group_commands``), so a group is written once, in commands, and
there are two ways to run a command: ``LocalCommands`` calls it, and ``RemoteCommands`` sends it. For each job:

    XREADGROUP GROUP workers w1 COUNT 1 BLOCK 30000 STREAMS jobs >      the next job that nobody has had
    XAUTOCLAIM jobs workers w1 60000 0-0 COUNT 1                        from time to time: a job whose worker is silent
    XACK jobs workers 1700000000000-0                                   ``job.ack()``

Easy to get wrong: a read that is cancelled may already have been answered. Its job is then pending for this consumer, and
comes again after ``idle`` seconds. ``RemoteCommands`` gives up the connection: the next command would take the late answer.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from minproto import broker as core
from minproto.aio.link import Link, check
from minproto.aio.options import check_seconds, check_type
from minproto.aio.reconnect import Attempts
from minproto.commands import execute
from minproto.core import RemoteProtocolError, check_count
from minproto.resp import NullArray, Reply, to_bytes, to_text
from minproto.session import Events, Switchboard, Wait

LONGEST_BLOCK = 30.0
"""The maximum number of seconds of one XREADGROUP: its end is also the sign of life of a silent connection."""
PAUSE = 0.5
"""How many seconds a consumer waits after it has lost its connection."""


class Commands(Protocol):
    """A way to run commands of Redis."""

    async def run(self, *words: bytes, wait: float = 0) -> Any:
        """Run a command, and return the value of its reply. ``wait``: the seconds for which the command itself may wait.

        Raises OSError if the broker can't be reached, RemoteProtocolError if it refuses."""

    async def close(self) -> None:
        """Give up what it takes to run commands."""


class _Reader:
    """A reader that waits in ``LocalCommands``: see ``minproto.broker.Reader``.

    The broker calls ``look`` inside the XADD of another task, and the task that waits runs later. More entries may be added in
    between. ``look`` therefore takes one answer only: a second one would replace the first, whose job would then be pending
    for a consumer that has never seen it.
    """

    def __init__(self, wait: Wait, future: "asyncio.Future[None]") -> None:
        self._wait, self._future = wait, future
        self.answer: Events | None = None

    def look(self, topic: str) -> None:
        """Take the answer of the XREADGROUP, now that ``topic`` has a new entry. Another reader may have been faster."""
        if self.answer is None:
            self.answer = self._wait.answer(topic)
            if self.answer is not None and not self._future.done():
                self._future.set_result(None)


class LocalCommands:
    """Commands on a broker in this process: each is a call.

    No bytes are made and none are parsed. A redis-server would reply with equal values, because the RESP server
    of this package calls ``execute`` as well. A refusal is a value here, too, and ``check`` raises it.
    """

    def __init__(self, broker: core.Broker, check_loop: Callable[[], None]) -> None:
        self._broker = broker
        self._check_loop = check_loop
        self._session = Switchboard(broker).open(lambda data: None)

    async def run(self, *words: bytes, wait: float = 0) -> Any:
        self._check_loop()
        answer = execute(self._session, list(words))
        (event,) = await self._wait_for(answer) if isinstance(answer, Wait) else answer
        assert isinstance(event, Reply)
        return check(event.value)

    async def _wait_for(self, wait: Wait) -> Events:
        """Return the answer of a command with BLOCK: what a reader has found, or null after the time of BLOCK.

        ``asyncio.wait`` does not raise when the time is over. An answer that came in the last moment is therefore still
        returned. If a TimeoutError were raised instead, the job would be pending, and its consumer would not have it.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reader = _Reader(wait, future)
        for topic in wait.topics:
            self._broker.wait(topic, reader)
        try:
            await asyncio.wait([future], timeout=wait.milliseconds / 1_000 or None)
        finally:
            for topic in wait.topics:
                self._broker.stop_waiting(topic, reader)
        return reader.answer or [Reply(NullArray())]

    async def close(self) -> None:
        self._session.close()


class RemoteCommands:
    """Commands on one connection, one at a time. A connection that is lost is replaced at the next command.

    RESP has no ids of requests: the first answer belongs to the first command. The lock therefore holds until the answer has
    come. ``run`` takes the connection out of ``_link`` for that time, and puts it back only after a complete answer. After an
    error or a cancellation nothing is put back, so no later command can read the answer of this one.
    """

    def __init__(self, connect: Callable[[], Awaitable[Link]]) -> None:
        self._connect = connect
        self._link: Link | None = None
        self._lock = asyncio.Lock()

    async def run(self, *words: bytes, wait: float = 0) -> Any:
        async with self._lock:
            link, self._link = self._link or await self._connect(), None
            try:
                link.send(*words)
                await link.flush()
                value = await link.value(wait + link.timeouts.body)
            except BaseException:  # cancelled, too: the answer would come later, and be taken for that of another command
                link.abort()
                raise
            self._link = link
        return check(value)

    async def close(self) -> None:
        """Abort the connection. Nothing is unsent, so there is no reason to wait for the broker's end."""
        if self._link is not None:
            self._link.abort()
            self._link = None


@dataclass(slots=True)
class Job:
    """An entry of the stream, delivered to a consumer."""

    id: str
    """The id of the entry, as "1700000000000-0". It stays the same at each delivery, so it can serve as an idempotency key."""
    fields: dict[bytes, bytes]
    """The entry's names and values. ``Group.add`` writes one field, ``data``; other programs may write others."""
    deliveries: int
    """How often the job has been delivered, this time included."""
    _group: "Group" = field(repr=False, compare=False)

    @property
    def data(self) -> bytes:
        """The field ``data``, which ``Group.add`` fills; empty if another program has added the job without it."""
        return self.fields.get(b"data", b"")

    async def ack(self) -> bool:
        """Mark the job as done. Return False if it was done already. Raises OSError: then it may come again."""
        return bool(await self._group.run(b"XACK", self._group.topic, self._group.name, self.id.encode()))


class _Closing:
    """An object with a connection of its own, for a ``Group`` and for a ``Consumer``. ``async with`` closes it.

    The two connections are separate: a program closes each consumer, and the group as well.
    """

    _commands: Commands

    async def close(self) -> None:
        """Give up the connection. The broker keeps each job that was delivered and not acknowledged: such a job is pending.

        Another consumer gets the job after ``idle`` seconds, or the same consumer gets it when it comes back.
        """
        await self._commands.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


class Group(_Closing):
    """A consumer group of a topic. ``Broker.group`` and ``RemoteBroker.group`` make it. ``async with`` closes it.

    The group and each of its consumers have connections of their own. A consumer's connection may be busy for 30 seconds with
    an XREADGROUP that waits, and ``job.ack()`` must not wait behind it.
    """

    def __init__(
        self, open: Callable[[], Commands], topic: str, name: str, *, idle: float = 60.0, tries: int | None = None,
        dead: str | None = None,
    ) -> None:  # fmt: skip
        """``idle``: after so many seconds without an ``ack``, another consumer gets the job. ``tries``: after so many
        deliveries a job goes to the topic ``dead`` (by default ``topic`` + ".dead"); None: it is delivered again and again.

        Raises TypeError or ValueError for a wrong value.
        """
        check_type("topic", topic, str)
        check_type("name", name, str)
        check_seconds("idle", idle)
        if tries is not None:
            check_count("tries", tries)
        self.topic, self.name, self.dead = to_bytes(topic), to_bytes(name), to_bytes(dead or f"{topic}.dead")
        self.idle, self.tries = idle, tries
        self._open = open
        self._commands = open()

    async def run(self, *words: bytes) -> Any:
        """Run a command on the group's own connection."""
        return await self._commands.run(*words)

    async def add(self, data: bytes) -> str:
        """Append a job, and return its id. Raises OSError, and RemoteProtocolError if the stream has no room."""
        check_type("data", data, bytes)
        return to_text(await self.run(b"XADD", self.topic, b"*", b"data", data))

    def consumer(self, name: str) -> "Consumer":
        """Return a consumer. Its name belongs to one worker at a time.

        A worker that restarts should use its old name, because the jobs from before the crash are pending under that name. Two
        workers under one name would both get these jobs when they start.
        """
        check_type("name", name, str)
        return Consumer(self, to_bytes(name), self._open())


class Consumer(_Closing):
    """The jobs of one worker: ``async for job in consumer``. It never ends by itself. ``async with`` closes it.

    A lost connection is replaced. Raises RemoteProtocolError if the broker refuses, as when the group is gone.

    The jobs come from three sources, in this order:

        own jobs from before a crash     XREADGROUP with an id      once, at the start
        jobs of silent workers           XAUTOCLAIM                 each time that ``idle`` / 2 has passed
        new jobs                         XREADGROUP with ``>``      in between; it waits until the next search is due

    Own jobs come first, since they have waited for longest, and another consumer may claim them soon. New jobs come last,
    because only this source waits.
    """

    def __init__(self, group: Group, name: bytes, commands: Commands) -> None:
        self._group, self._name, self._commands = group, name, commands
        self._attempts = Attempts("the broker of a consumer group")
        self._exists = False  # the group
        self._own: bytes | None = b"0-0"  # after this id: the jobs from before a crash; None: all of them were delivered
        self._cursor = b"0-0"  # where the search for silent workers goes on
        self._next_search = -math.inf  # the loop's time

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job:
        while True:
            try:
                await self._attempts.pause()
                job = await self._next()
            except OSError as error:
                if not self._attempts.may_pass(error):
                    raise
                self._attempts.failed(error)
                self._attempts.wait(PAUSE)
                continue
            self._attempts.succeeded()
            if job is not None:
                return job

    async def _next(self) -> Job | None:
        """Take one step towards the next job. Return None if another step is needed."""
        if not self._exists:
            await self._make()
        if self._own is not None:
            return await self._next_own(self._own)
        if asyncio.get_running_loop().time() >= self._next_search:
            return await self._claim()
        return await self._wait()

    async def _make(self) -> None:
        """Make the group if it does not exist. It begins with the oldest job of the stream."""
        try:
            await self._commands.run(b"XGROUP", b"CREATE", self._group.topic, self._group.name, b"0", b"MKSTREAM")
        except RemoteProtocolError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self._exists = True

    async def _next_own(self, after: bytes) -> Job | None:
        """Return the next job that this consumer had before it crashed.

        Each read begins after the id of the previous job. If each began at 0, a job that is not yet acknowledged would come
        again and again, and no later one would be reached.
        """
        entries = await self._read(after)
        if not entries:
            self._own = None
            return None
        self._own = entries[0][0]
        return await self._again(entries[0])

    async def _claim(self) -> Job | None:
        """Return a job whose worker has been silent for ``idle`` seconds.

        A search takes several calls, since each takes over one job at most: a consumer that took ten would let nine of them
        grow old. The cursor remembers the place in between, and "0-0" ends the search.
        """
        group = self._group
        idle = b"%d" % (group.idle * 1_000)
        words = (b"XAUTOCLAIM", group.topic, group.name, self._name, idle, self._cursor, b"COUNT", b"1")
        self._cursor, entries, *_ = await self._commands.run(*words)
        if self._cursor == b"0-0":
            self._next_search = asyncio.get_running_loop().time() + group.idle / 2
        return await self._again(entries[0]) if entries else None

    async def _wait(self) -> Job | None:
        """Wait for a job that nobody has had, at most until the next search.

        With ``idle=60`` the next search is due after 30 seconds. A consumer that waited longer for a new job would not look
        for the jobs of a silent worker meanwhile. BLOCK 0 would mean "for ever", so the wait is at least a millisecond.
        """
        seconds = min(LONGEST_BLOCK, max(0.001, self._next_search - asyncio.get_running_loop().time()))
        entries = await self._read(b">", b"BLOCK", b"%d" % max(1, seconds * 1_000), wait=seconds)
        return self._job(entries[0], 1) if entries else None

    async def _read(self, after: bytes, *options: bytes, wait: float = 0) -> list[Any]:
        """Return one entry after an id, or with ``>`` one new entry; an empty list if there is none.

        The reply names the topic beside its entries. A null reply, after the time of BLOCK, has no topic.
        """
        group = self._group
        words = (b"XREADGROUP", b"GROUP", group.name, self._name, b"COUNT", b"1", *options, b"STREAMS", group.topic, after)
        match await self._commands.run(*words, wait=wait):
            case [[_, list(entries)]]:
                return entries
        return []

    async def _again(self, entry: list[Any]) -> Job | None:
        """Return a job that was delivered before; None if the entry is gone, or has been delivered too often.

        XREADGROUP and XAUTOCLAIM do not tell the number of deliveries. XPENDING does, so it is asked for this one entry:
        ``[[1000-0, w1, 0, 4]]`` is the fourth delivery, and with ``tries=3`` the job goes to the dead-letter topic.
        """
        group, (id, fields) = self._group, entry
        if not isinstance(fields, list):  # deleted from the stream
            await self._commands.run(b"XACK", group.topic, group.name, id)
            return None
        found = await self._commands.run(b"XPENDING", group.topic, group.name, id, id, b"1")
        job = self._job(entry, found[0][3] if found else 1)
        if group.tries is None or job.deliveries <= group.tries:
            return job
        await self._commands.run(b"XADD", group.dead, b"*", *fields)  # first: a crash in between leaves the job twice
        await self._commands.run(b"XACK", group.topic, group.name, id)
        return None

    def _job(self, entry: list[Any], deliveries: int) -> Job:
        """Return the job of an entry: ``[b"1000-0", [b"data", b"resize photo 7"]]`` names each field before its value."""
        id, fields = entry
        return Job(to_text(id), dict(zip(fields[::2], fields[1::2], strict=True)), deliveries, self._group)
