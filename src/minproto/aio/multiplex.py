"""Many streams on one pipe: the tasks that both ends of an HTTP/2 connection run.

On one HTTP/2 connection many exchanges run at once (*multiplexing*). The core, ``minproto.http2``, turns the bytes into
events of numbered streams. It never waits. This file adds the parts that wait: a reader, a writer, and a pipe for each stream.

    the peer                                                                 the app, one task for each stream
        |                              +---------------+   receive(event)    +------------+  read, next_event
        |--- bytes ------------------> |  READER task  | ------------------> |  stream 1  | <------------------ handler 1
        |                              |               | ------------.       |            | <------------------   write, drain
        |                              +---------------+             |       +------------+
        |                                |           |               |              |
        |              replies (acks,    |           | WINDOW_UPDATE |       +------------+  read, next_event
        |              resets, credit)   |           | or SETTINGS:  '-----> |  stream 3  | <------------------ handler 3
        |                                |           | start writing         |            | <------------------   write, drain
        |                                v           v                       +------------+
        |                       +----------+   +---------------+                    |
        | <--- bytes ---------- | endpoint | <-|  WRITER task  | <------------------'
        |                       +----------+   +---------------+   content that waits for a window or for its turn

Each task waits for one thing, and another party wakes it:

    who              waits for                                            is woken by
    the reader       bytes from the peer                                  the pipe; a timeout; ``endpoint.interrupt()``
    a handler reads  an event of its stream                               the reader, which calls ``receive`` or ``fail``
    a handler drains its content to be sent                               the writer, which calls ``send_piece``
    the writer       room in the transport                                the pipe

The writer exists only while there is content that may be sent, or a task waiting for room in the transport. It ends when
nothing is left to do. ``start_writing`` creates a new one. The reader calls ``start_writing`` when a WINDOW_UPDATE or SETTINGS
frame has opened a window; a handler's ``write`` calls it if the windows are open already.

**The reader never waits for an app**, nor for the peer to read what we send (RFC 9113 §5.2.2: endpoints MUST read and
process frames as soon as data is available). Imagine a reader that handed each piece of content to its handler and waited
until the handler had taken it. Handler 1 takes no content, because it is in a ``drain``, waiting for credit from the peer.
The WINDOW_UPDATE with that credit has arrived, but after content that handler 1 has not taken. So the reader waits for the
handler, and the handler waits for the reader: a deadlock. One slow handler would also stop all other streams (*head-of-line
blocking*).

So the reader must not wait, and yet a peer must not fill our memory. Each kind of bytes has its own bound:

- Content that has arrived stays in its stream. The stream's flow-control window bounds it: the peer gets credit back only when
  the handler has taken the content (``Consumed``).
- Content to be sent stays with its handler, which has to ``drain``: ``drain`` waits while more than 64 KiB are unsent.
- Heads and trailers have no window. The task that sends one waits for ``wait_for_room`` first.
- Replies (acknowledgements, resets, credit) are provoked by the peer, and the reader sends them without waiting. If a peer
  provokes replies and does not read them, its connection ends at 256 KiB of unread replies: see ``ReplyBacklog``.

**The writer takes turns.** A stream that has content tells the core (``core.offer``; ``core.withdraw`` takes this back). The
core says whose turn it is (``core.next_ready``), by priority, and how much both windows allow, the stream's and the
connection's (``core.sendable``). The writer asks only while few bytes are pending in the transport: such bytes cannot
be overtaken, so if there were many, an urgent response would be as late as any other.

Here is an exchange whose client allows each stream 10 bytes. The handler writes 25. ``unsent`` is the number of bytes that the
stream holds, ``window`` the number that the client still lets it send:

    >>> from minproto.core import CLIENT, SERVER
    >>> from minproto.http import RequestHead, ResponseHead
    >>> from minproto.http2 import Limits
    >>> from minproto.testing import clock, network
    >>> class OneStream(Multiplexer):
    ...     def on_event(self, event):
    ...         if isinstance(event, RequestHead):
    ...             self.streams[event.stream] = Http2Stream(self, event.stream)
    ...     def is_done(self):
    ...         return False
    >>> async def trace():
    ...     pipe, client_pipe = network.pair()
    ...     server = OneStream(Connection(SERVER), pipe, Timeouts())
    ...     reader = asyncio.create_task(server.read())
    ...     client = Connection(CLIENT, Limits(stream_window=10), "http")
    ...     client_pipe.write(client.send(client.greeting()))
    ...     client_pipe.write(client.send(RequestHead("GET", "/", Headers([("host", "a")]), "2", stream=1)))
    ...     await asyncio.sleep(1)                       # the reader takes in both
    ...
    ...     stream = server.streams[1]                   # from here on this task is the handler
    ...     stream.send(ResponseHead(200, Headers(), "2", stream=1))
    ...     stream.write(bytes(25))                      # more than the window: the content waits in the stream
    ...     stream.close_write()
    ...     print("written: unsent", stream.unsent, "window", server.core.sendable(1))
    ...     while stream.unsent:
    ...         await asyncio.sleep(1)                   # the writer sends what the window allows
    ...         client.receive_data(await client_pipe.read())
    ...         for event in client.events():
    ...             if isinstance(event, Data):
    ...                 print(f"DATA {len(event.data)}: unsent", stream.unsent, "window", server.core.sendable(1))
    ...                 client_pipe.write(client.send(Consumed(1, len(event.data))))  # WINDOW_UPDATE, 10 bytes
    ...     reader.cancel()
    >>> clock.run(trace())
    written: unsent 25 window 10
    DATA 10: unsent 15 window 0
    DATA 10: unsent 5 window 0
    DATA 5: unsent 0 window 0

Step by step: ``write`` has 25 bytes for a window of 10, so it calls ``start_writing``. The writer sends 10 bytes, finds the
window empty, and ends. The client's WINDOW_UPDATE arrives at the reader, which calls ``start_writing``: a new writer sends 10
more bytes. After the third DATA frame no content is left, so the end for which ``close_write`` has asked follows at once.

A stream is a ``Pipe``. So a protocol that runs on a connection also runs on a stream, unchanged: WebSocket, for example
(RFC 8441).
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from minproto.aio.content import stop_task
from minproto.aio.endpoint import Endpoint
from minproto.aio.options import Timeouts
from minproto.aio.patience import ENOUGH
from minproto.aio.pipe import HIGH_WATER, Pipe, Watcher
from minproto.core import Event, RemoteProtocolError
from minproto.http import Data, EndOfMessage, Headers
from minproto.http2 import Connection, Consumed, GoAway, Reset, Settings, StreamFault, WindowUpdate
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

MAX_UNREAD_REPLIES = 4 * HIGH_WATER
"""The maximum number of bytes of replies (256 KiB) that may be pending. A peer that provokes more replies than that is not
reading them."""
HARMLESS_RATE = 10
"""How many frames a second are never a flood: over hours, the pings of a quiet connection must not add up to a flood."""
FAIR_SHARE = 256
"""How many events the reader handles before other tasks may run: one chunk of 64 KiB can hold thousands of small frames."""
SMALL = 1024
"""A pending piece of content of fewer bytes than this is joined with the next piece. A peer can fill a window byte by byte,
and an event for each byte would take a thousand times the memory of the window."""
PARTING = 0.25
"""How many seconds we give the peer to end its side of a stream after we have ended ours, before we reset the stream."""


class Http2Stream:
    """One stream of an HTTP/2 connection, as a pipe (see ``Pipe``), for one task that reads and one that writes.

    Both tasks wait for *news* of the stream. The connection's reader task brings all news from the peer: it calls
    ``receive`` for an event, and ``fail`` if the stream ends early. The writer task calls ``send_piece``.
    """

    __slots__ = (
        "_connection", "_events", "_news", "_output", "_output_ends", "_taken", "_trailers", "_watcher", "_write_limit",
        "failure", "id", "sent", "unsent", "upload",
    )  # fmt: skip

    def __init__(self, connection: "Multiplexer", id_: int) -> None:
        self.id = id_
        """The number of the stream: odd, and higher than the number of each earlier stream (RFC 9113 §5.1.1)."""
        self._connection = connection
        self._events: deque[Event] = deque()  # received, but not taken by the app yet
        self._output: deque[memoryview] = deque()  # written by the app, but not sent yet
        self._output_ends = False  # the app writes no more
        self._trailers = Headers()  # to be sent after the output
        self._news: asyncio.Future[None] | None = None  # a task is waiting for news
        self._write_limit: asyncio.Timeout | None = None  # the time limit for a task that waits until output is sent
        self._taken = 0  # bytes that the peer has let us send since that time limit began
        self._watcher: Watcher | None = None
        self.unsent = 0
        """Bytes written but not sent yet."""
        self.sent = 0
        """Bytes of content written so far, including the unsent ones."""
        self.upload: asyncio.Task[None] | None = None
        """The task that sends a client's request. It is cancelled when the stream fails."""
        self.failure: Exception | None = None
        """The reason why the stream ended early; None if it did not."""

    # -- receiving: the reader task calls ``receive``; the app's task calls ``next_event`` and ``read``

    def receive(self, event: Event) -> None:
        """Store an event of this stream until the app takes it. The flow-control window bounds how much is stored."""
        if isinstance(event, Data):
            if not event.data:  # a frame of padding alone: there is nothing to take, so its credit goes back at once
                return self._connection.endpoint.send(Consumed(self.id, 0))
            last = self._events[-1] if self._events else None
            if isinstance(last, Data) and len(last.data) < SMALL:
                last.data += event.data
                return
        self._events.append(event)
        self._tell_news()
        if isinstance(event, EndOfMessage):
            self._tell_watcher_soon(lost=False)

    @property
    def has_arrived(self) -> bool:
        """Whether an event has arrived that the app has not taken yet."""
        return bool(self._events)

    @property
    def has_only_end(self) -> bool:
        """Whether the end of the message has arrived, and the app has taken all that came before."""
        return bool(self._events) and isinstance(self._events[0], EndOfMessage)

    async def next_event(self) -> Event:
        """Wait for the next event, and take it. Raises ``failure``: ConnectionError if the stream was reset or lost.

        Events that came before the failure are returned first.
        """
        while not self._events:
            if self.failure is not None:
                raise self.failure
            await self._wait_for_news()
        event = self._events.popleft()
        if isinstance(event, Data) and self.failure is None:
            self._connection.endpoint.send(Consumed(self.id, len(event.data)))  # now the peer may send that much more
        return event

    async def read(self) -> bytes:
        """Wait for content, as ``Pipe.read`` does; b"" at the end of the content."""
        event = await self.next_event()
        if isinstance(event, Data):
            return event.data
        self._events.append(event)  # the end stays, for every later call
        return b""

    # -- sending: the app's task writes and waits, the writer task calls ``send_piece``

    def send(self, event: Event) -> None:
        """Send a head. Raises LocalProtocolError if it is not valid, and ``failure`` if the stream is over."""
        if self.failure is not None:
            raise self.failure
        self._connection.endpoint.send(event)

    def write(self, data: bytes | memoryview) -> None:
        """Send content, or store it for the writer task. This never waits, so ``drain`` or ``finish`` has to follow.

        Short content is sent at once if nothing is in its way: no older content of this stream, no closed window, no full
        transport. All other content waits for the writer task. A small answer therefore needs no second task.

        A pipe's ``write`` raises nothing. So content that contradicts the head, such as more than its Content-Length,
        ends the stream, and the next ``drain`` or ``finish`` raises the LocalProtocolError.
        """
        if self.failure is not None or self._output_ends or not data:
            return
        self.sent += len(data)
        connection, size = self._connection, len(data)
        sendable = min(connection.core.sendable(self.id), MAX_FRAME)
        if not self._output and size <= sendable and connection.endpoint.unsent <= HIGH_WATER:
            return self._send(Data(bytes(data), self.id))
        if not connection.core.offer(self.id):  # the stream can carry no more content: ``send`` says why
            return self._send(Data(bytes(data), self.id))
        self._output.append(memoryview(data))
        self.unsent += size
        connection.start_writing()

    def send_piece(self, size: int) -> None:
        """Send the next ``size`` bytes of the output, or all of it if it is shorter, as one DATA frame."""
        pieces = []
        left = size
        while left and self._output:
            piece = self._output.popleft()
            if len(piece) > left:
                self._output.appendleft(piece[left:])
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        self.unsent -= size - left
        self._send(Data(b"".join(pieces), self.id))
        if self.failure is None:
            self._note_progress(size - left)

    def _note_progress(self, count: int) -> None:
        """Note that ``count`` bytes were sent. Once the peer has let us send enough, a waiting task gets more time.

        In ``Timeouts.write`` a peer has to read ``ENOUGH`` bytes, on all streams together. With 10 streams, a tenth of these
        bytes is enough for each.
        """
        if not self._output:
            self._connection.core.withdraw(self.id)
            if self._output_ends:
                self._send_end()
        self._taken += count
        if self._write_limit is not None and self._taken * len(self._connection.streams) >= ENOUGH:
            self._taken = 0
            with suppress(RuntimeError):  # the limit has expired in this very turn of the loop
                self._write_limit.reschedule(asyncio.get_running_loop().time() + self._connection.timeouts.write)
        self._tell_news()

    def _send(self, event: Event) -> None:
        """Send an event, and let an error end only this stream. The writer task sends for all streams, so it must not fail."""
        try:
            self._connection.endpoint.send(event)
        except Exception as error:
            self.reset(INTERNAL_ERROR)
            self.fail(error)

    @property
    def congested(self) -> bool:
        """Whether ``drain`` would wait or raise."""
        return self.unsent > HIGH_WATER or self.failure is not None

    async def drain(self) -> None:
        """Let other tasks run, and wait while more than 64 KiB are unsent. Raises ``failure`` if the stream is over.

        A wait that has begun ends only when at most 16 KiB are unsent. Otherwise the app would be woken for each frame.
        """
        await self._wait_until_unsent(HIGH_WATER // 4 if self.unsent > HIGH_WATER else HIGH_WATER)
        await asyncio.sleep(0)

    async def finish(self) -> None:
        """Wait until all output is sent. Raises ``failure``, such as the LocalProtocolError for content that is too long."""
        await self._wait_until_unsent(0)

    async def _wait_until_unsent(self, at_most: int) -> None:
        while self._has_unsent(at_most):
            self._taken = 0
            try:
                async with asyncio.timeout(self._connection.timeouts.write) as self._write_limit:
                    while self._has_unsent(at_most):
                        await self._wait_for_news()
            except TimeoutError:
                # The peer is to blame only if it keeps our window closed. If the window is open, we were only waiting for more
                # urgent streams. And some output may have been sent in this very turn of the loop.
                if self._has_unsent(at_most) and not self._connection.core.sendable(self.id):
                    self.reset(ENHANCE_YOUR_CALM)
                    self.fail(ConnectionResetError("the peer does not read"))
            finally:
                self._write_limit = None
        if self.failure is not None:
            raise self.failure

    def _has_unsent(self, at_most: int) -> bool:
        return self.failure is None and self.unsent > at_most

    def close_write(self) -> None:
        """End our output, after everything already written."""
        self.end(Headers())

    def end(self, trailers: Headers) -> None:
        """End our output with trailers, after everything already written."""
        if self._output_ends or self.failure is not None:
            return
        self._output_ends = True
        self._trailers = trailers
        if not self._output:
            self._send_end()

    def _send_end(self) -> None:
        self._send(EndOfMessage(self._trailers, self.id))
        self._connection.on_half_closed(self)

    # -- endings

    async def close(self) -> None:
        """Send everything written, and end our output. Then reset the stream if the peer still sends.

        A response may be complete before its request is, and nobody wants the rest of that request. A reset with NO_ERROR
        tells the peer so, and does not harm the response (RFC 9113 §8.1). But usually that content is on its way
        already, and a reset would only be one more frame. So the peer gets a moment to end its side by itself.
        """
        self.close_write()
        await self.finish()
        if self._connection.core.is_open(self.id):
            await self._wait_for_end_of_peer()
            self.reset(NO_ERROR)
        self._connection.on_closed(self)

    async def _wait_for_end_of_peer(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING):
                while self.failure is None and self._connection.core.is_open(self.id):
                    await self._wait_for_news()

    def abort(self) -> None:
        """End both directions at once, and tell the peer with a reset (CANCEL, which RFC 8441 §5 gives a WebSocket)."""
        self.reset(CANCEL)
        self.fail(ConnectionResetError("the stream was given up"))
        self._connection.on_closed(self)

    def reset(self, code: int) -> None:
        """Drop the output, and send a reset, unless both directions have ended already."""
        self._drop_output()
        if self.failure is None and self._connection.core.is_open(self.id):
            self._connection.endpoint.send(Reset(self.id, code))

    def fail(self, error: Exception) -> None:
        """Note why the stream is over, and wake the tasks waiting for it. Only the first reason counts."""
        if self.failure is None:
            self.failure = error
        self._drop_output()
        self._tell_news()
        self._tell_watcher_soon(lost=True)

    def _drop_output(self) -> None:
        self._output.clear()
        self.unsent = 0

    def info(self, name: str) -> Any:
        """Return a fact from the connection's pipe, such as the peer's address for "peername"."""
        return self._connection.endpoint.pipe.info(name)

    # -- waiting

    async def _wait_for_news(self) -> None:
        """Wait until something has happened to this stream. The caller has to check what has happened.

        One task may wait to read while another waits to write. Both tasks wait for the same future, so each shields it:
        cancelling one task must not cancel the future that the other is waiting for.
        """
        if self._news is None or self._news.done():
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._news)

    def _tell_news(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def watch(self, told: Watcher | None) -> None:
        """See ``Pipe.watch``: the end of the peer's side, or a failure, is reported in the loop's next turn."""
        self._watcher = told
        if self.failure is not None or any(isinstance(event, EndOfMessage) for event in self._events):
            self._tell_watcher_soon(lost=self.failure is not None)

    def _tell_watcher_soon(self, *, lost: bool) -> None:
        if self._watcher is not None:
            asyncio.get_running_loop().call_soon(self._tell_watcher, lost)

    def _tell_watcher(self, lost: bool) -> None:
        if self._watcher is not None:  # the watcher may have been removed since
            self._watcher(lost)


class ReplyBacklog:
    """Counts the bytes of replies that the peer has not read yet, among all other bytes that we send.

    All bytes that we send on a connection are numbered from 0. A reply occupies a span of them. For example, a PING's reply
    has 17 bytes, from 100 to 117. Content follows, up to 5,000. Then comes a second reply, from 5,000 to 5,017:

    >>> backlog = ReplyBacklog()
    >>> backlog.add(100, 117)
    >>> backlog.add(5_000, 5_017)
    >>> backlog.unread(taken=0), backlog.unread(taken=110), backlog.unread(taken=4_000), backlog.unread(taken=5_017)
    (34, 24, 17, 0)

    ``taken`` is the number of bytes that have left our memory. Content is not counted: a window has allowed it.
    """

    __slots__ = ("_size", "_spans")

    def __init__(self) -> None:
        self._spans: list[list[int]] = []  # [first byte, byte after the last], in order
        self._size = 0  # bytes of all spans

    def add(self, begins: int, ends: int) -> None:
        """Add a reply that occupies the bytes from ``begins`` up to, but not including, ``ends``."""
        self._size += ends - begins
        if self._spans and self._spans[-1][1] == begins:  # it follows another reply: one span for both
            self._spans[-1][1] = ends
        else:
            self._spans.append([begins, ends])

    def unread(self, taken: int) -> int:
        """Return how many bytes of replies are pending once the first ``taken`` bytes have left. ``taken`` never shrinks."""
        while self._spans and self._spans[0][1] <= taken:
            begins, ends = self._spans.pop(0)
            self._size -= ends - begins
        return self._size - max(0, taken - self._spans[0][0]) if self._spans else 0


class _ClockedEndpoint(Endpoint):
    """An endpoint that tells the core how much time has gone by, before it feeds the core a chunk.

    The core has *budgets*: bounds on frames that cost us more than they cost the peer. Progress refills them, and so does
    time, but a core has no clock.
    """

    __slots__ = ("_refilled_at",)

    core: Connection

    def __init__(self, core: Connection, pipe: Pipe, timeouts: Timeouts) -> None:
        super().__init__(core, pipe, timeouts)
        self._refilled_at = self._loop.time()

    def feed(self, data: bytes) -> None:
        frames = int((self._loop.time() - self._refilled_at) * HARMLESS_RATE)
        if frames:
            self.core.refill_budgets(frames)
            self._refilled_at = self._loop.time()
        super().feed(data)


class _Deadline(NamedTuple):
    """The time by which the peer has to send more bytes, and the fault if it does not."""

    when: float
    """In seconds of the event loop's clock."""
    fault: str = ""
    """The reason for the GOAWAY; empty if the silence is not a fault, but may end an idle connection."""
    code: int = ENHANCE_YOUR_CALM


class _DoneReadingError(Exception):
    """There is no reason to read on."""


class Multiplexer:
    """The common part of a server's and a client's connection: the core on its pipe, the streams, the reader and the writer.

    A subclass is one end. It defines how to handle an event (``on_event``), when the connection is done (``is_done``), and
    what to do when a stream ends (``on_half_closed``, ``on_closed``).
    """

    refusal: type[ConnectionError] = ConnectionResetError
    """The error for a stream that the peer has refused with REFUSED_STREAM."""

    def __init__(self, core: Connection, pipe: Pipe, timeouts: Timeouts) -> None:
        self.core = core
        self.endpoint: Endpoint = _ClockedEndpoint(core, pipe, timeouts)
        self.timeouts = timeouts
        self.streams: dict[int, Http2Stream] = {}
        """The streams in use, by number."""
        self._clock = asyncio.get_running_loop().time
        self._began = self.idle_since = self._clock()
        self._frame_began: float | None = None  # when the first byte of the incomplete frame came
        self._replies = ReplyBacklog()
        self._writer: asyncio.Task[None] | None = None
        self._is_writing = False  # the writer task is running, or will run soon
        self._waiting_for_room: list[asyncio.Future[None]] = []  # one for each task that wants to send a head
        self._lost = False  # nothing can be sent any more
        self.endpoint.send(core.greeting())

    # -- what the two ends do differently

    def on_event(self, event: Event) -> None:
        """Handle an event. Content for streams in use has been handed to them already. Must not wait."""
        raise NotImplementedError

    def is_done(self) -> bool:
        """Return whether there is no reason to read on."""
        raise NotImplementedError

    def on_half_closed(self, stream: Http2Stream) -> None:
        """Act when one side of a stream has ended. If the other side has, too, the stream is over."""

    def on_closed(self, stream: Http2Stream) -> None:
        """Act when the user of a stream has closed or aborted it."""

    # -- the reader task

    def begin(self, first: bytes, began: float) -> None:
        """Process a client's first bytes, which have shown that it speaks HTTP/2. ``began``: when the first byte came."""
        self._frame_began = began
        self.endpoint.feed(first)

    async def read(self) -> None:
        """Receive and handle what the peer sends, until the connection is done. This is the reader task.

        It waits for bytes, and for nothing else. Every call in this loop returns at once, whatever an app does.

        Raises RemoteProtocolError for a fault by the peer, and ConnectionError if the connection is lost.
        """
        count = 0
        with suppress(_DoneReadingError):
            while True:
                try:
                    event = await self.endpoint.next_event(self._patience)
                except TimeoutError:
                    self._check_deadline()
                    continue
                if event is None:  # the core wants no more bytes: the peer has ended
                    return
                self._frame_began = None
                self._receive(event)
                count += 1
                if count % FAIR_SHARE == 0:
                    await asyncio.sleep(0)

    def _receive(self, event: Event) -> None:
        """Hand an event to its stream or its task, and send the reply that the protocol demands."""
        kind = type(event)
        if kind is Data or kind is EndOfMessage:
            if stream := self.streams.get(event.stream):  # type: ignore[attr-defined]
                stream.receive(event)
                if kind is EndOfMessage:
                    self.on_half_closed(stream)
        elif kind is WindowUpdate or kind is Settings:
            self.start_writing()
        elif kind is Reset or (kind is StreamFault and not event.status):  # type: ignore[attr-defined]
            self._fail_stream(event)  # type: ignore[arg-type]
        self.on_event(event)
        reply = self.core.reply(event)
        if reply is not None:
            self.send_reply(reply)

    def send_reply(self, event: Event) -> None:
        """Send an event that the peer has provoked, without waiting for anything, and count its bytes."""
        begins = self.endpoint.position
        self.endpoint.send(event)
        self._replies.add(begins, self.endpoint.position)

    def _fail_stream(self, event: Reset | StreamFault) -> None:
        """End a stream that the peer has reset, or on which it has broken a rule."""
        stream = self.streams.get(event.stream)
        if stream is None:
            return
        reason = event.reason if isinstance(event, StreamFault) else f"the peer reset the stream: {code_name(event.code)}"
        stream.fail((self.refusal if event.code == REFUSED_STREAM else ConnectionResetError)(reason))
        if stream.upload is not None:
            stream.upload.cancel()
        self.on_half_closed(stream)

    # -- how long the reader waits

    def _patience(self) -> float:
        """Return how many seconds the reader waits for the next bytes. The endpoint asks before each wait; by then all events
        from earlier bytes have been handled."""
        if self.is_done():
            raise _DoneReadingError
        if self._replies.unread(self.endpoint.taken) > MAX_UNREAD_REPLIES:
            self._fail("the peer does not read what it asked for", ENHANCE_YOUR_CALM)
        return self._deadline().when - self._clock()

    def _deadline(self) -> _Deadline:
        """Return the deadline for the next bytes. Four cases, from the strictest to the mildest:

        1. Nothing has arrived at all. The peer has to send its preface and settings, maybe after a slow TLS round trip.
        2. A frame has begun. It may take as long as a head; DATA may take longer, as long as it takes at the minimum rate.
        3. Our settings are not acknowledged (RFC 9113 §6.5.3). See ``_settings_due``.
        4. Otherwise, the wait is idle time.
        """
        now = self._clock()
        if self.core.in_frame:
            if not self.endpoint.received:
                return _Deadline(self._began + max(self.timeouts.head, self.timeouts.handshake), "no settings came")
            if self._frame_began is None:
                self._frame_began = now
            seconds = max(self.timeouts.head, self.core.content_awaited / self.timeouts.min_body_rate)
            fault = "a frame took too long" if self.core.settings_received else "no settings came"
            return _Deadline(self._frame_began + seconds, fault)
        self._frame_began = None
        if not self.core.settings_acknowledged:
            return _Deadline(self._settings_due, "the settings were not acknowledged", SETTINGS_TIMEOUT)
        return _Deadline(now + self.timeouts.idle if self.streams else self._idle_until)

    @property
    def _settings_due(self) -> float:
        """The time by which the peer has to acknowledge our settings. On a slow line the ACK comes after everything that the
        peer sent before it saw our settings. So each KiB received adds the time that ``min_body_rate`` allows for it."""
        came = self.endpoint.received // 1024 * 1024
        return self._began + self.timeouts.handshake + came / self.timeouts.min_body_rate

    @property
    def _idle_until(self) -> float:
        """The time at which the connection will be closed, if no stream is used before then."""
        is_first = not self.core.last_stream and self.core.next_stream == 1
        return self.idle_since + (self.timeouts.first_idle if is_first else self.timeouts.idle)

    @property
    def is_idle(self) -> bool:
        """Whether no stream has been in use for so long that the connection is not worth keeping."""
        return not self.streams and self._clock() >= self._idle_until

    def _check_deadline(self) -> None:
        """Raise RemoteProtocolError if the peer is late. If not, ``interrupt`` ended the wait, or only idle time is up."""
        deadline = self._deadline()
        if deadline.fault and self._clock() >= deadline.when:
            self._fail(deadline.fault, deadline.code)

    def _fail(self, reason: str, code: int) -> NoReturn:
        """Raise RemoteProtocolError for a fault that only a clock or a buffer shows, after telling the core."""
        error = RemoteProtocolError(reason, code)
        self.core.fail(error)
        raise error

    # -- the writer task

    def start_writing(self) -> None:
        """Start the writer task, if a stream has content that it may send now.

        The task ends when nothing is left to send: a task that only waited would cost an idle connection 2 KiB.
        """
        if self.core.is_ready:
            self._start_writer()

    def _start_writer(self) -> None:
        if not self._is_writing:
            self._is_writing = True  # not read from the task: an eager task runs before create_task returns
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Send the content that the streams hold, until no more may be sent. This is the writer task.

        No other task waits for the transport, so the core chooses the order of the frames right up to the end.
        """
        try:
            while self._send_pieces() or self._waiting_for_room:
                await self.endpoint.flush()
                if self.endpoint.unsent > HIGH_WATER:
                    await self.endpoint.drain()
                if self._give_room():
                    await asyncio.sleep(0)  # the heads come first: content would fill the room again
        except ConnectionError:
            """The peer is not reading, or is gone. The pipe is now closed, so the reader task sees the end, too."""
        finally:
            self._is_writing = False
            self._give_room()

    def _send_pieces(self) -> bool:
        """Send frames for the streams whose turn it is. Return True once the transport has enough, False once no stream has
        content that it may send."""
        while self.endpoint.unsent <= HIGH_WATER:
            turn = self.core.next_ready()
            if turn is None:
                return False
            stream, size = turn
            self.streams[stream].send_piece(size)
        return True

    async def wait_for_room(self) -> None:
        """Wait until at most 64 KiB are pending in the transport. A task calls this before it sends a head or trailers.

        No window bounds heads. A thousand requests with 8 KiB of fields at once would take 8 MB of memory that no peer has
        asked for.
        """
        while not self._lost and self.endpoint.unsent > HIGH_WATER:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting_for_room.append(waiting)
            self._start_writer()
            await waiting

    def _give_room(self) -> bool:
        """Wake the tasks waiting for room. Return whether there were any."""
        waiting, self._waiting_for_room = self._waiting_for_room, []
        for future in waiting:
            if not future.done():  # its task may have been cancelled
                future.set_result(None)
        return len(waiting) > 0

    # -- the end

    def remove(self, stream: Http2Stream) -> None:
        """Drop a stream that is no longer in use. When the last stream is dropped, the idle time begins."""
        del self.streams[stream.id]
        if not self.streams:
            self.idle_since = self._clock()

    def fail_all(self, error: Exception) -> None:
        """End all streams, because the connection is over: their tasks are woken, or cancelled."""
        self._lost = True
        self._give_room()
        for stream in list(self.streams.values()):
            stream.fail(error)
            if stream.upload is not None:
                stream.upload.cancel()
        if self._writer is not None:
            self._writer.cancel()


def goaway_text(event: GoAway) -> str:
    """Return the reason for a GOAWAY in words, such as ENHANCE_YOUR_CALM ('too_many_pings')."""
    debug = event.debug[:200].decode("latin-1")
    return code_name(event.code) + (f" ({debug!a})" if debug else "")


async def end_tasks(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancel tasks, and wait until they have ended: no task outlives its connection."""
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        stop_task(task)
    if running:
        await asyncio.wait(running)
