"""Many streams on one pipe: the ground of both ends of HTTP/2.

A reader takes in what comes, for all streams, and never waits for an app: what an app has not taken yet stays in its stream,
and the stream's window says how much that can be. What the protocol demands in answer goes out before more is read (RFC 9113
§5.2.2), so a peer that stops reading our answers but goes on asking is one that we end.

A writer sends what the streams hold, in the order that the core tells, and only while little waits in the transport. What is
in there can't be overtaken any more, so with much in it an urgent response would be as slow as any.

A stream is a ``Pipe``: a protocol that runs on a connection runs on a stream, unchanged (RFC 8441).
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from minproto.aio.endpoint import ENOUGH, Endpoint, Timeouts
from minproto.aio.pipe import HIGH_WATER, Pipe, Watcher
from minproto.core import Event, RemoteProtocolError, Wants
from minproto.http import Data, EndOfMessage, Headers
from minproto.http2 import Connection, Consumed, Reset, Settings, StreamFault, WindowUpdate
from minproto.http2_frames import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    INTERNAL_ERROR,
    MAX_FRAME,
    NO_ERROR,
    REFUSED_STREAM,
    SETTINGS_TIMEOUT,
    code_name,
)

MAX_UNSENT = 4 * HIGH_WATER
"""Bytes of answers that may wait for a peer who goes on asking; then it is one who does not read them."""
CALM_RATE = 10
"""Frames a second that nobody would call a flood: pings of a quiet connection must not add up to one."""
FAIR_SHARE = 256
"""Events that one connection may bring in a row before others get their turn: a read can have thousands."""
SMALL = 1024
"""Bytes of a piece that the next one is joined to: or a window, filled byte by byte, would be a thousand times its size."""
PARTING = 0.25
"""Seconds for the peer's end of a stream to come after ours: what is on its way, right or wrong, needs no reset to stop it."""


class MuxStream:
    """One stream, as a pipe. What comes in is bounded by its window, what goes out by whoever writes and drains."""

    __slots__ = (
        "_changed", "_ends", "_events", "_limit", "_mux", "_out", "_taken", "_trailers", "_watcher", "failure", "id", "sent",
        "task", "unsent",
    )  # fmt: skip

    def __init__(self, mux: "Multiplexer", id_: int) -> None:
        self.id = id_
        self._mux = mux
        self._events: deque[Event] = deque()  # received, and not taken yet
        self._out: deque[memoryview] = deque()  # written, and not sent yet
        self.unsent = 0
        """Bytes of that."""
        self._ends = False  # nothing more will be written
        self._trailers = Headers()
        self._changed: asyncio.Future[None] | None = None  # somebody waits for any news
        self._limit: asyncio.Timeout | None = None  # of who waits for the peer to take something,
        self._taken = 0  # which was so much since then
        self._watcher: Watcher | None = None
        self.task: asyncio.Task[Any] | None = None
        """Who is to be cancelled when the stream is reset, or lost."""
        self.failure: Exception | None = None
        """Why the stream is over, if it is before its time."""
        self.sent = 0
        """Bytes of content that were written."""

    # -- receiving

    def receive(self, event: Event) -> None:
        """Something for this stream has come."""
        if isinstance(event, Data):
            if not event.data:  # padding: its credit goes back
                return self._mux.endpoint.send(Consumed(self.id, 0))
            last = self._events[-1] if self._events else None
            if isinstance(last, Data) and len(last.data) < SMALL:
                last.data += event.data
                return
        self._events.append(event)
        self._wake()
        if isinstance(event, EndOfMessage):
            self._tell_soon(False)

    @property
    def arrived(self) -> bool:
        """Whether something has come that was not taken yet."""
        return bool(self._events)

    async def next_event(self) -> Event:
        """The next event. Raises ConnectionError where the stream was reset, or is lost."""
        while not self._events:
            if self.failure is not None:
                raise self.failure
            await self._news()
        event = self._events.popleft()
        if isinstance(event, Data) and self.failure is None:
            self._mux.endpoint.send(Consumed(self.id, len(event.data)))
        return event

    async def read(self) -> bytes:
        """As a pipe: content, b"" at its end."""
        event = await self.next_event()
        if isinstance(event, Data):
            return event.data
        self._events.append(event)  # there it ends, for every later read, too
        return b""

    # -- sending

    def send(self, event: Event) -> None:
        """Send a head. Raises LocalProtocolError where it is not valid, ConnectionError where the stream is over."""
        if self.failure is not None:
            raise self.failure
        self._mux.endpoint.send(event)

    def write(self, data: bytes | memoryview) -> None:
        """Take content to send; at once, if it is no more than a turn, nothing is before it, and everything lets it through.

        Content that is not what the head has announced, such as more than its length, ends the stream. That is not raised
        here, where a pipe raises nothing, but by the next ``drain`` or ``finish``.
        """
        if self.failure is not None or self._ends or not data:
            return
        self.sent += len(data)
        mux = self._mux
        if not self._out and len(data) <= min(mux.core.sendable(self.id), MAX_FRAME) and mux.endpoint.unsent <= HIGH_WATER:
            return self._send(Data(bytes(data), self.id))
        if not mux.core.offer(self.id):  # it has had all its content: what is wrong with more, ``send`` says
            return self._send(Data(bytes(data), self.id))
        self._out.append(memoryview(data))
        self.unsent += len(data)
        mux.wake()

    def take_turn(self, room: int) -> None:
        """Send so many bytes of what waits."""
        pieces = []
        left = room
        while left and self._out:
            view = self._out.popleft()
            if len(view) > left:
                self._out.appendleft(view[left:])
                view = view[:left]
            pieces.append(view)
            left -= len(view)
        self.unsent -= room - left
        self._send(Data(b"".join(pieces), self.id))
        if self.failure is None:
            self._took(room - left)

    def _took(self, count: int) -> None:
        """So much was sent: who waits for that has a reason to wait on, if all streams at this pace would take enough."""
        if not self._out:
            self._mux.core.withdraw(self.id)
            if self._ends:
                self._end()
        self._taken += count
        if self._limit is not None and self._taken * len(self._mux.streams) >= ENOUGH:
            self._taken = 0
            with suppress(RuntimeError):  # it has expired, just now
                self._limit.reschedule(asyncio.get_running_loop().time() + self._mux.timeouts.write)
        self._wake()

    def _send(self, event: Event) -> None:
        try:
            self._mux.endpoint.send(event)
        except Exception as error:  # whatever it is, the writer of all streams must not suffer
            self.reset(INTERNAL_ERROR)
            self.fail(error)

    @property
    def congested(self) -> bool:
        return self.unsent > HIGH_WATER or self.failure is not None

    async def drain(self) -> None:
        """Let others run, and wait until little is unsent. Raises ConnectionError where the stream is over."""
        await self._unsent_at_most(HIGH_WATER // 4 if self.unsent > HIGH_WATER else HIGH_WATER)
        await asyncio.sleep(0)

    async def _unsent_at_most(self, size: int) -> None:
        while self._has_unsent(size):
            self._taken = 0
            try:
                async with asyncio.timeout(self._mux.timeouts.write) as self._limit:
                    while self._has_unsent(size):
                        await self._news()
            except TimeoutError:
                # Some may have been taken in this very turn; and while the window has room, more urgent streams have theirs.
                if self._has_unsent(size) and not self._mux.core.sendable(self.id):
                    self.reset(ENHANCE_YOUR_CALM)
                    self.fail(ConnectionResetError("the peer does not read"))
            finally:
                self._limit = None
        if self.failure is not None:
            raise self.failure

    def _has_unsent(self, size: int) -> bool:
        return self.failure is None and self.unsent > size

    def close_write(self) -> None:
        """The end of our output, after what was written."""
        self.end(Headers())

    def end(self, trailers: Headers) -> None:
        """The same, with trailers."""
        if self._ends or self.failure is not None:
            return
        self._ends = True
        self._trailers = trailers
        if not self._out:
            self._end()

    def _end(self) -> None:
        self._send(EndOfMessage(self._trailers, self.id))
        self._mux.settle(self)

    async def finish(self) -> None:
        """Wait until all of our output is sent. Raises ConnectionError; LocalProtocolError where it was not as announced."""
        await self._unsent_at_most(0)

    async def close(self) -> None:
        """Send what was written and our end. What the peer sends after that is not wanted, which a reset without an error
        says (RFC 9113 §8.1); but first it has a moment to end by itself, or to show that its message is malformed."""
        self.close_write()
        await self.finish()
        if self._mux.core.is_open(self.id):
            await self._parting()
            self.reset(NO_ERROR)
        self._mux.release(self)

    async def _parting(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING):
                while self.failure is None and self._mux.core.is_open(self.id):
                    await self._news()

    def abort(self) -> None:
        self.reset(CANCEL)
        self.fail(ConnectionResetError("the stream was given up"))
        self._mux.release(self)

    def info(self, name: str) -> Any:
        return self._mux.endpoint.pipe.info(name)

    # -- endings

    def reset(self, code: int) -> None:
        """End both directions now, unless they have ended."""
        self._out.clear()
        self.unsent = 0
        if self.failure is None and self._mux.core.is_open(self.id):
            self._mux.endpoint.send(Reset(self.id, code))

    def fail(self, error: Exception) -> None:
        """The stream is over: whoever waits here is told."""
        if self.failure is None:
            self.failure = error
        self._out.clear()
        self.unsent = 0
        self._wake()
        self._tell_soon(True)

    def watch(self, told: Watcher | None) -> None:
        self._watcher = told
        if self.failure is not None or any(isinstance(event, EndOfMessage) for event in self._events):
            self._tell_soon(self.failure is not None)

    def _tell_soon(self, lost: bool) -> None:
        if self._watcher is not None:
            asyncio.get_running_loop().call_soon(self._tell, lost)

    def _tell(self, lost: bool) -> None:
        if self._watcher is not None:
            self._watcher(lost)

    # -- waiting

    async def _news(self) -> None:
        """Wait for anything to happen to this stream: one task reads, and at most one other writes."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class Multiplexer:
    """A core on a pipe, with its streams: the part that server and client share."""

    refusal: type[ConnectionError] = ConnectionResetError
    """The error of a stream that the peer has refused."""

    def __init__(self, core: Connection, pipe: Pipe, timeouts: Timeouts) -> None:
        self.core = core
        self.endpoint = Endpoint(core, pipe, timeouts)
        """Counts the bytes on the wire."""
        self.timeouts = timeouts
        self.streams: dict[int, MuxStream] = {}
        self._writer: asyncio.Task[None] | None = None  # sends what the streams hold,
        self._writing = False  # while there is something that may be sent
        self._clock = asyncio.get_running_loop().time
        self._began = self._calm_since = self.idle_since = self._clock()
        self._frame_began: float | None = None
        self.ended = False
        """The peer has sent its end."""
        self._answers: list[list[int]] = []  # where in our output what the peer has provoked begins and ends
        self._provoked = 0  # bytes of that
        self._waiting_for_room: list[asyncio.Future[None]] = []
        self._lost = False
        self.endpoint.send(core.greeting())

    # -- what the two ends do differently

    def on_event(self, event: Event) -> None:
        """An event that is neither content nor of the connection's own housekeeping."""
        raise NotImplementedError

    def is_done(self) -> bool:
        """Whether there is no reason to read on."""
        raise NotImplementedError

    def release(self, stream: MuxStream) -> None:
        """Whoever had a stream as a pipe has closed it."""

    def settle(self, stream: MuxStream) -> None:
        """One side of a stream has ended, perhaps the second."""

    # -- reading

    def begin(self, first: bytes, began: float) -> None:
        """Take the bytes by which a client has chosen HTTP/2; the time for its preface runs since the first of them came."""
        self._frame_began = began
        self.endpoint.feed(first)

    async def read(self) -> None:
        """Read until the connection is done. Raises RemoteProtocolError, ConnectionError."""
        core, endpoint = self.core, self.endpoint
        while True:
            for count, event in enumerate(core.events(), 1):
                self._frame_began = None
                self._receive(event)
                if count % FAIR_SHARE == 0:
                    await asyncio.sleep(0)
            if core.wants is Wants.CLOSED or self.is_done():
                return
            if self._provoked > MAX_UNSENT and self._unread_answers() > MAX_UNSENT:
                self._fail("the peer does not read what it asked for", ENHANCE_YOUR_CALM)
            try:
                self.ended = not await endpoint.receive(self._patience())
            except TimeoutError:
                self._check_time()
            self._calm()

    def _receive(self, event: Event) -> None:
        """One event: who it is for, and the answer that the protocol demands."""
        kind = type(event)
        if kind is Data or kind is EndOfMessage:
            if stream := self.streams.get(event.stream):  # type: ignore[attr-defined]
                stream.receive(event)
                if kind is EndOfMessage:
                    self.settle(stream)
        elif kind is WindowUpdate or kind is Settings:
            self.wake()
        elif kind is Reset or (kind is StreamFault and not event.status):  # type: ignore[attr-defined]
            self._on_reset(event)  # type: ignore[arg-type]
        self.on_event(event)
        reply = self.core.reply(event)
        if reply is not None:
            self.answer(reply)

    def answer(self, event: Event) -> None:
        """Send what the peer has provoked. Nothing waits for room with that, so how much of it may be unread has a bound."""
        begins = self.endpoint.position
        self.endpoint.send(event)
        ends = self.endpoint.position
        self._provoked += ends - begins
        if self._answers and self._answers[-1][1] == begins:
            self._answers[-1][1] = ends
        else:
            self._unread_answers()
            self._answers.append([begins, ends])

    def _unread_answers(self) -> int:
        """Bytes of what the peer has provoked that still wait for it."""
        taken, answers = self.endpoint.taken, self._answers
        while answers and answers[0][1] <= taken:
            begins, ends = answers.pop(0)
            self._provoked -= ends - begins
        return self._provoked - max(0, taken - answers[0][0]) if answers else 0

    def _on_reset(self, event: Reset | StreamFault) -> None:
        stream = self.streams.get(event.stream)
        if stream is None:
            return
        reason = event.reason if isinstance(event, StreamFault) else f"the peer reset the stream: {code_name(event.code)}"
        stream.fail((self.refusal if event.code == REFUSED_STREAM else ConnectionResetError)(reason))
        if stream.task is not None:
            stream.task.cancel()
        self.settle(stream)

    def _patience(self) -> float:
        """How long to wait for the next bytes: for the rest of a frame, else of the handshake, else as long as it is idle."""
        now = self._clock()
        if self.core.in_frame:
            if not self.endpoint.received:  # nothing has begun
                return self._began + max(self.timeouts.head, self.timeouts.handshake) - now
            if self._frame_began is None:
                self._frame_began = now
            return self._frame_began + self._frame_time - now
        self._frame_began = None
        if not self.core.settings_acknowledged:
            return self._acknowledged_by - now
        return self.timeouts.idle if self.streams else self._idle_until - now

    @property
    def _acknowledged_by(self) -> float:
        """When our settings have to be acknowledged. On a slow link that waits for what the peer had sent before it saw them:
        each KiB that has come gives it the time that ``min_body_rate`` allows."""
        return self._began + self.timeouts.handshake + (self.endpoint.received // 1024) * 1024 / self.timeouts.min_body_rate

    @property
    def _idle_until(self) -> float:
        """When the connection is closed if nothing happens. With an idle time of 0, which is *between* two messages, there is
        a first one all the same."""
        first = not self.core.last_stream and self.core.next_stream == 1
        return self.idle_since + (self.timeouts.idle or (self.timeouts.handshake if first else 0))

    @property
    def _frame_time(self) -> float:
        """Seconds that the present frame may take in all: as long as a head, or its content at the least rate."""
        return max(self.timeouts.head, self.core.content_awaited / self.timeouts.min_body_rate)

    def _check_time(self) -> None:
        """A wait was too long, or somebody has interrupted it."""
        now = self._clock()
        if self.core.in_frame and not self.endpoint.received and self._patience() <= 0:
            self._fail("no settings came", ENHANCE_YOUR_CALM)
        if self._frame_began is not None and now >= self._frame_began + self._frame_time:
            self._fail("a frame took too long" if self.core.settings_received else "no settings came", ENHANCE_YOUR_CALM)
        if not self.core.in_frame and not self.core.settings_acknowledged and now >= self._acknowledged_by:
            self._fail("the settings were not acknowledged", SETTINGS_TIMEOUT)  # RFC 9113 §6.5.3

    def _calm(self) -> None:
        frames = int((self._clock() - self._calm_since) * CALM_RATE)
        if frames:
            self.core.refill_budgets(frames)
            self._calm_since = self._clock()

    def _fail(self, reason: str, code: int) -> None:
        error = RemoteProtocolError(reason, code)
        self.core.fail(error)
        raise error

    @property
    def is_idle(self) -> bool:
        """Nothing was asked for so long that the connection is not worth keeping."""
        return not self.streams and self._clock() >= self._idle_until

    # -- writing

    def wake(self) -> None:
        """Something may be sent that could not be before. (A writer that only waits would be 2 KiB of an idle connection.)"""
        if self.core.is_ready:
            self._start_writer()

    def _start_writer(self) -> None:
        if not self._writing:
            self._writing = True  # not told by the task: an eager one runs before create_task returns it
            self._writer = asyncio.create_task(self._write())

    async def room(self) -> None:
        """Wait until little waits in the transport. Whoever sends a head or trailers, which no window bounds, waits for that
        first: so there is a bound for what we send ourselves, without anything that the peer did wrong."""
        while not self._lost and self.endpoint.unsent > HIGH_WATER:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting_for_room.append(waiting)
            self._start_writer()
            await waiting

    def _let_in(self) -> bool:
        """Tell those who wait for room that there is some; whether there were any."""
        waiting, self._waiting_for_room = self._waiting_for_room, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        return len(waiting) > 0

    async def _write(self) -> None:
        """Send what the streams hold."""
        try:
            while self._take_turns() or self._waiting_for_room:
                await self.endpoint.flush()
                if self.endpoint.unsent > HIGH_WATER:
                    await self.endpoint.drain()
                if self._let_in():
                    await asyncio.sleep(0)  # their heads come first: content would fill the room again
        except ConnectionError:
            """The peer does not read, or is gone: the pipe is closed, and so the reader sees it, too."""
        finally:
            self._writing = False
            self._let_in()

    def _take_turns(self) -> bool:
        """Let streams send, one frame each, as long as little waits in the transport. Whether there may be more."""
        while self.endpoint.unsent <= HIGH_WATER:
            turn = self.core.next_ready()
            if turn is None:
                return False
            self.streams[turn[0]].take_turn(turn[1])
        return True

    # -- the end

    def forget(self, stream: MuxStream) -> None:
        """A stream is over, for us as well."""
        del self.streams[stream.id]
        if not self.streams:
            self.idle_since = self._clock()

    def lose(self, error: Exception) -> None:
        """The connection is over: so are its streams, and the tasks that serve them."""
        self._lost = True
        self._let_in()
        for stream in list(self.streams.values()):
            stream.fail(error)
            if stream.task is not None:
                stream.task.cancel()
        if self._writer is not None:
            self._writer.cancel()


async def end_tasks(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancel tasks, and wait until they have ended: none outlives its connection."""
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
