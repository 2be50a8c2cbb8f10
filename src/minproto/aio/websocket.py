"""A WebSocket on a pipe: the object that an app uses, in a server (``websocket_server.py``) and in a client
(``websocket_client.py``).

    >>> from minproto.testing.network import pair
    >>> async def talk():
    ...     ours, theirs = pair()
    ...     client, server = WebSocket(ours, Role.CLIENT), WebSocket(theirs, Role.SERVER)
    ...     await client.send("question")
    ...     print(await server.receive())
    ...     await server.close(4000, "no time")
    ...     try:
    ...         await client.receive()
    ...     except ConnectionClosed as closed:
    ...         print(closed.code, closed.reason)
    >>> asyncio.run(talk())
    question
    4000 no time

Two tasks work on one connection. The handler is the app's: it receives, it sends, and it may do neither for an hour. The
reader is ours, and runs beside it. So a Ping is answered and a Close is noticed whatever the handler does:

    peer          the reader's task                           the handler's task (the app's)
     |              |                                           |
     |-- Message -->|-- Inbox (64 messages or 1 MiB) ---------->|  await ws.receive()
     |-- Ping ----->|-- Pong ---------------------------------->|    (the app sees no Ping)
     |<-------------|                                           |
     |<---------------------------------------------------------|  await ws.send("hello")
     |              |                                           |    waits while the peer reads slowly (backpressure)
     |   20 s of silence                                        |
     |<-- Ping -----|  keepalive: 20 s for any sign of life     |
     |-- Pong ----->|                                           |
     |-- Close ---->|  ``close_code`` is set                    |
     |              |  the farewell: the app may still take,    |  receives what came before the Close, answers it,
     |              |  and answer, what came before the Close   |    and then gets ConnectionClosed
     |<-- Close ----|  then the core's reply, and the end       |
     |<-- FIN ------|                                           |

**Backpressure.** When the inbox is full, the reader stops reading. The peer's messages then wait in the kernel's buffers,
TCP's window closes, and the peer's ``send`` waits. While we are not reading, the peer's silence says nothing: its Pong may
come after the messages that we leave unread. So the reader does not blame the peer for it, but writes a Ping now and then:
writing to a peer that is gone fails.

**Deadlock.** The reader reads while the app's ``send`` is waiting. If the reader waited too, two ends that are both sending a
long message would wait for each other to read, forever. The price is that a peer which sends Pings and never reads makes us
queue Pongs. The bytes of these Pongs are counted, and beyond 64 KiB the reader waits after all.

**The end** is orderly if it can be: each side sends a Close, and waits for the other side's Close. Messages before the
peer's Close (or before its fault) are delivered first. The app has half a second (``Timeouts.last_words``) to take the next
message, or to ask for another; the first time that it does neither, our Close goes out. Whichever side begins, the reader ends
the connection: ``close`` only sends our Close, and waits until the reader's task is done. (The core's ``State.CLOSED`` means
that our Close has been sent. The peer's Close may still be to come.)

    who ends it                                 close_code     sent to the peer
    the peer, by a Close with 1000              1000           a Close with 1000
    the app, by close(4000)                     4000           a Close with 4000; then the peer has 10 s for its own
    the peer, by a fault such as wrong UTF-8    1007           a Close with 1007
    a connection that breaks, or abort()        1006           nothing

Left out: a way to receive a message in fragments, since ``max_message`` limits a message to what fits into memory.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable
from contextlib import suppress
from secrets import token_bytes
from typing import Self, TypeVar

from minproto.aio.content import Pieces, close_body
from minproto.aio.cores import chosen
from minproto.aio.endpoint import Endpoint
from minproto.aio.loop import call_after_grace, let_arrive
from minproto.aio.observe import logger
from minproto.aio.options import Timeouts, check_loop, check_type, show
from minproto.aio.patience import OutputPace
from minproto.aio.pipe import HIGH_WATER, Pipe
from minproto.core import CLIENT, Event, RemoteProtocolError, Role
from minproto.websocket import (
    ABNORMAL,
    GOING_AWAY,
    INTERNAL_ERROR,
    NORMAL,
    TRY_AGAIN_LATER,
    Close,
    Connection,
    Fragment,
    Limits,
    Message,
    Ping,
    Pong,
    Shared,
    State,
    encode_payload,
)
from minproto.websocket_handshake import Agreement

MAX_QUEUED = 64
"""The reader stops reading when this many messages are waiting for the app."""
MAX_QUEUED_BYTES = 1 << 20
"""The reader stops reading when messages of this many bytes are waiting for the app. The last message may exceed this size."""
FAIR_SHARE = 64
"""How many control frames or fragments from one peer the reader handles in a row, before other connections get their turn."""
MAX_UNSENT = 1 << 20
"""The maximum number of unsent bytes that a connection may have when a broadcast comes. A connection with more is closed with
1013."""
SHORTEST_LOOK = 1.0
"""Seconds between two checks of the peer's progress if ``Timeouts.close`` is shorter: less time would show nothing."""

T = TypeVar("T")


class ConnectionClosed(ConnectionError):
    """There is nothing more to receive, or nobody to send to.

    ``code`` and ``reason`` are the WebSocket's ``close_code`` and ``close_reason``. While we are waiting for the peer's Close,
    they are the code and the reason of our own Close. With 1006 (no Close), ``reason`` says how the connection was lost, if
    that is known: "Connection reset by peer", for example.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the WebSocket is closed ({code}{f': {reason}' if reason else ''})")
        self.code = code
        self.reason = reason


class Inbox:
    """The messages that the reader has received and the app has not taken. Here the two tasks wait for each other.

        the reader:  put(message); while is_full: await wait_until_taken(), and read nothing meanwhile
        the app:     await wait_for_message(); take()

    Both waits are for a future that the other side resolves. Neither side may rely on its wake-up: between the wake-up and its
    next turn of the loop, things may have changed again. So each wait is inside a ``while`` that checks its condition.
    """

    def __init__(self) -> None:
        self.messages: deque[str | bytes] = deque()
        self.app_may_answer = False
        """The app has taken a message and has not asked for another: it may be about to answer that message."""
        self._size = 0  # of the messages: bytes, or characters for text, which is close enough
        self._arrival: asyncio.Future[None] | None = None  # the app is waiting for this
        self._taken: asyncio.Future[None] | None = None  # the reader is waiting for this

    @property
    def is_full(self) -> bool:
        return len(self.messages) >= MAX_QUEUED or self._size >= MAX_QUEUED_BYTES

    def put(self, message: str | bytes) -> None:
        self.messages.append(message)
        self._size += len(message)
        if self._arrival is not None:
            self.wake_app()

    def take(self) -> str | bytes:
        """Return the oldest message. The inbox must not be empty."""
        message = self.messages.popleft()
        self._size -= len(message)
        self.app_may_answer = True
        if self._taken is not None:
            self.wake_reader()
        return message

    def ask_for_more(self) -> None:
        """Note that the app wants another message, so it has nothing left to send in answer to the last one."""
        self.app_may_answer = False
        self.wake_reader()

    async def wait_for_message(self) -> None:
        """Wait until a message arrives, or ``wake_app`` is called. One task may wait at a time."""
        if self._arrival is not None:
            raise RuntimeError("another task is receiving")
        self._arrival = asyncio.get_running_loop().create_future()
        try:
            await self._arrival
        finally:
            self._arrival = None

    async def wait_until_taken(self) -> None:
        """Wait until the app takes a message, or asks for one, or ``wake_reader`` is called."""
        self._taken = asyncio.get_running_loop().create_future()
        try:
            await self._taken
        finally:
            self._taken = None

    def wake_app(self) -> None:
        """Let ``wait_for_message`` return, with a message or without one: at the end of the connection there is none."""
        if self._arrival is not None:
            _settle(self._arrival, None)

    def wake_reader(self) -> None:
        """Let ``wait_until_taken`` return, so that the reader checks its condition again."""
        if self._taken is not None:
            _settle(self._taken, None)


class WebSocket:
    """A connection: ``async for message in ws``, ``await ws.send(message)``. Text is ``str``, binary is ``bytes``.

    Any number of tasks may send; one may receive. ``upgrade`` and ``connect`` make a WebSocket; ``async with`` closes it.
    """

    def __init__(
        self,
        pipe: Pipe,
        role: Role,
        agreement: Agreement = Agreement(),  # noqa: B008 - frozen
        limits: Limits = Limits(),  # noqa: B008
        timeouts: Timeouts = Timeouts(),  # noqa: B008
    ) -> None:
        self.subprotocol = agreement.subprotocol
        """The subprotocol that the handshake chose, or None."""
        self.close_code: int | None = None
        """None while open. Then the peer's code, or ours if we closed because of the peer's fault; 1006 without a Close."""
        self.close_reason = ""
        self._core = chosen(Connection)(role, agreement, limits)  # ``_core.state`` says what we may still send
        self._endpoint = Endpoint(self._core, pipe, timeouts)
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox()
        # Sending:
        self._fragmenting = asyncio.Lock()  # held while a message is being sent in fragments
        self._deferred: list[Shared] = []  # broadcasts that came between the fragments of a message
        self._sending_is_over = False  # the reader has ended: nothing more can be sent
        # Keepalive:
        self._pings: dict[bytes, asyncio.Future[bool]] = {}  # for ``ping``. True: answered; False: the connection has ended
        self._pong_bytes = 0  # how many bytes of Pongs may be unsent
        self._heard = 0  # bytes received up to the last check
        self._ping_pace: OutputPace | None = None  # set while a keepalive Ping is unanswered: whether the peer reads
        self._others_had_their_turn = False
        # Closing:
        self._our_close: Close | None = None  # the Close with which our side wants to end, or None
        self._close_timer: asyncio.TimerHandle | None = None  # limits the wait for the peer's Close after ours
        self._peer_is_late = False  # the timer has gone off
        self._loss = ""  # how the connection was lost, for people
        self._reader = asyncio.create_task(self._read())

    @property
    def ending(self) -> bool:
        """Whether the end has begun: by a Close from either side, or by the loss of the connection.

        A handler that then raises ConnectionClosed has only noticed the end, and has not failed.
        """
        return self.close_code is not None or self._our_close is not None or self._endpoint.lost

    # -- receiving

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        if self._inbox.messages:  # not through ``receive``: that would be one more coroutine for each message
            return self._inbox.take()
        try:
            return await self.receive()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def receive(self) -> str | bytes:
        """Return the next message. Raises ConnectionClosed after the last message.

        A call that is cancelled, for example by ``asyncio.timeout``, loses no message: the next call returns it. Raises
        RuntimeError if another task is receiving, since nobody could say which of the two tasks gets which message.
        """
        while not self._inbox.messages:
            self._inbox.ask_for_more()
            if self.close_code is not None:
                raise self._closed()
            check_loop(self._loop, "asyncio.run_coroutine_threadsafe(ws.receive(), loop)")
            await self._inbox.wait_for_message()
        return self._inbox.take()

    # -- sending

    async def send(self, message: str | bytes | AsyncIterable[str | bytes]) -> None:
        """Send a message; an async iterator's items become its fragments. Waits while the peer reads slowly.

        Raises ConnectionClosed if nothing more can be sent, LocalProtocolError for text with lone surrogates. A cancellation
        while the peer is slow comes after the message was queued, so the message is sent nevertheless. A cancellation while
        another task's fragments are being sent comes before the message was queued, so the message is not sent. An iterator
        that fails or is cancelled leaves half a message, which nothing can repair: the connection is closed with 1011.
        """
        if not isinstance(message, str | bytes):
            await self._send_fragments(message)
        elif self._fragmenting.locked():
            async with self._fragmenting:
                self._send(Message(message))
        else:
            self._send(Message(message))
        if self._endpoint.congested:
            await self._flush()

    def _send(self, event: Event) -> None:
        """Queue an event for the end of this turn of the loop. Raises ConnectionClosed after our Close, or after the end."""
        if self._sending_is_over or self._core.state is State.CLOSED:
            raise self._closed()
        if asyncio.get_running_loop() is not self._loop:  # checked here, so that each message costs only this line
            check_loop(self._loop, "asyncio.run_coroutine_threadsafe(ws.send(message), loop)")
        self._endpoint.send(event)

    async def _flush(self) -> None:
        """Wait while the peer reads slowly. Raises ConnectionClosed if the connection is lost meanwhile.

        A peer that reads too slowly for ``Timeouts.write`` counts as lost.
        """
        try:
            await self._endpoint.flush()
        except ConnectionError as error:
            self._note_loss(error)
            raise self._closed() from None

    async def _send_fragments(self, pieces: AsyncIterable[str | bytes]) -> None:
        """Send each item as a fragment. Only control frames may come between the fragments of a message (RFC 6455 §5.4).

        Which item is the last is known only when the iterator ends. So the last fragment is an empty one.
        """
        if not isinstance(pieces, AsyncIterable):
            raise TypeError(f"a message is str, bytes or an async iterator of fragments, not {type(pieces).__name__}")
        piece: str | bytes = b""
        iterator = aiter(pieces)
        fragments = Pieces(iterator)
        try:
            async with self._fragmenting:
                try:
                    async for piece in fragments:
                        if not isinstance(piece, str | bytes):
                            raise TypeError(f"a fragment is str or bytes, not {type(piece).__name__}")
                        self._send(Fragment(piece))
                        if self._endpoint.congested:
                            await fragments.pause_for(self._flush())
                    self._send(Fragment(piece[:0], last=True))  # "" or b"", as the fragments before it
                finally:
                    self._end_fragments()
        finally:
            await close_body(iterator)

    def _end_fragments(self) -> None:
        """Close the connection if the message is incomplete; otherwise send the broadcasts that waited for its end."""
        if self._core.state is State.WITHIN:
            self._start_closing(INTERNAL_ERROR, "a message broke off")
        deferred, self._deferred = self._deferred, []  # emptied first, since ``_send_shared`` counts what is in it
        for shared in deferred:
            self._send_shared(shared)

    def _send_shared(self, shared: Shared) -> None:
        """Send a broadcast, without waiting.

        Between the fragments of a message only control frames may be sent. So a broadcast that comes at such a moment has to
        wait for the last fragment, and meanwhile its bytes count as unsent.
        """
        if self._sending_is_over or self._core.state is State.CLOSED:
            return
        waiting = self._endpoint.unsent + sum(len(deferred.data) for deferred in self._deferred)
        if waiting > MAX_UNSENT or len(self._deferred) > MAX_QUEUED:
            self._start_closing(TRY_AGAIN_LATER, "too slow")
        elif self._core.state is State.WITHIN:
            self._deferred.append(shared)
        else:
            self._endpoint.send_at_once(shared)

    async def ping(self) -> float:
        """Send a Ping, wait for its Pong, and return the round-trip time in seconds.

        Raises ConnectionClosed if the connection ends. Raises TimeoutError after ``Timeouts.pong`` seconds in which the peer
        has neither answered nor read any of the bytes sent before the Ping. The time also runs out when the messages before
        the Pong fill the inbox, and the app does not take them.
        """
        data = token_bytes(8)
        pace = OutputPace(self._endpoint)
        pong = self._pings[data] = self._loop.create_future()
        began = self._loop.time()
        try:
            self._send(Ping(data))
            await self._until_pong(pong, pace)
        finally:
            self._pings.pop(data, None)
        if not pong.result():
            raise self._closed()
        return self._loop.time() - began

    async def _until_pong(self, pong: "asyncio.Future[bool]", pace: OutputPace) -> None:
        """Wait for the Pong, or for the end of the connection. Raises TimeoutError.

        The Pong can come only when the peer has read what we sent before the Ping. So the time starts over while the peer is
        reading.
        """
        seconds = self._timeouts.pong
        while not pong.done():
            await asyncio.wait([pong], timeout=seconds)
            await let_arrive()
            if not pong.done() and not pace.check(seconds):
                raise TimeoutError(f"no answer to a ping within {seconds:g} s")

    # -- closing, from our side

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send a Close, then wait up to ``Timeouts.close`` seconds for the peer's Close.

        If the peer's Close came first, we answer with its code, and our own code is not sent. Raises LocalProtocolError
        for a code or a reason that can't be sent, TypeError for a code that is not a number.
        """
        check_type("the code of a Close", code, int)
        check_type("the reason of a Close", reason, str)
        check_loop(self._loop, "asyncio.run_coroutine_threadsafe(ws.close(), loop)")
        self._start_closing(code, reason)
        await asyncio.wait([self._reader])

    def going_away(self) -> None:
        """Close with 1001, without waiting: the server is stopping, and its clients may come back to another server."""
        self._start_closing(GOING_AWAY, "")

    def abort(self) -> None:
        """End the connection at once, without a Close: the peer sees a reset, and its code is 1006.

        Messages in the inbox can still be received. Raises RuntimeError when called from a thread other than the loop's.
        """
        check_loop(self._loop, "loop.call_soon_threadsafe(ws.abort)")
        self._end_sending()
        self._endpoint.abort()
        self._reader.cancel()

    async def leave(self) -> None:
        """Abort, and wait until the connection's task has ended. That takes no time."""
        self.abort()
        await asyncio.wait([self._reader])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Close. A block that is cancelled, even while it is closing, has no time to wait for the peer's Close: it aborts."""
        if error is not None and not isinstance(error, Exception):
            return await self.leave()
        try:
            await self.close(NORMAL if error is None else INTERNAL_ERROR)
        except asyncio.CancelledError:
            await self.leave()
            raise

    def _start_closing(self, code: int, reason: str) -> None:
        """Send a Close, unless a Close from either side is under way. The reader does everything after that.

        The timer for the peer's Close starts here, and not in ``close``. A broadcast to a slow peer and a server that is
        stopping close without waiting, and even then the peer must not hold the connection forever.
        """
        if self.close_code is None and self._core.state is not State.CLOSED:
            pace = OutputPace(self._endpoint)  # for the bytes before our Close; reading the Close itself is not progress
            self._endpoint.send(Close(code, reason))
            self._give_up_after(self._timeouts.close, pace)
        self._our_close = self._our_close or Close(code, reason)
        self._inbox.wake_reader()

    def _give_up_after(self, seconds: float, pace: OutputPace) -> None:
        self._close_timer = self._loop.call_later(seconds, call_after_grace, self._give_up, seconds, pace)

    def _give_up(self, seconds: float, pace: OutputPace) -> None:
        """Cut off a peer whose Close has not come within ``seconds``.

        A peer that is still reading the bytes before our Close gets more time, because it cannot have read our Close yet. With
        ``Timeouts.close`` of 0, for example, a message of 40 KB on a slow line is delivered, and then we do not wait for the
        peer's Close.
        """
        if self._sending_is_over:
            return
        wait, unread = self._timeouts.close, self._endpoint.delivered < self._endpoint.position
        if pace.check(seconds) or (unread and seconds < SHORTEST_LOOK):
            # In less than a second even a peer that is reading may show no progress: its acknowledgement is still on its way.
            return self._give_up_after(max(wait, SHORTEST_LOOK) if unread else wait, pace)
        self._peer_is_late = True
        if self._endpoint.unsent:
            self._endpoint.abort()
        else:  # the kernel may still have bytes for the peer: a reset would destroy them
            self._endpoint.interrupt()

    # -- the reader

    async def _read(self) -> None:
        """The reader's task: read until the peer's Close, its fault or the loss of the connection, then end our side.

        Each of these three ends sets ``last_words``: the Close that answers the peer's Close, the Close that names the
        peer's fault, or nothing if nobody is left to read it.
        """
        last_words: Iterable[Event] = ()
        try:
            close = await self._read_until_close()
            last_words = await self._answer(close)
        except RemoteProtocolError as error:
            last_words = await self._refuse(error)
        except ConnectionError as error:
            self._note_loss(error)
        except Exception:
            logger.exception("the reader of a WebSocket failed")
            last_words = await self._refuse(RemoteProtocolError("", INTERNAL_ERROR))
        finally:
            self._end_sending()
        # Closing a socket with unread bytes in it sends a reset, and a reset would destroy our Close on its way. So if more
        # bytes may come, we end our output, and keep reading for a while. Over TLS the peer can't see the end of our output
        # before we close: a server that kept reading would only make the peer wait (RFC 6455 §7.1.1).
        half_closes = self._endpoint.pipe.info("ssl_object") is None
        client = self._core.role is CLIENT  # §7.1.1: a client SHOULD wait for the server to close TCP
        linger = (half_closes or self._core.error is not None or client) and not self._peer_is_late
        await self._endpoint.close(last_words, linger=linger, first=not client)

    async def _read_until_close(self) -> Close:
        """Handle events until the peer's Close comes, and return that Close. Raises RemoteProtocolError or ConnectionError.

        Messages that have already arrived go into the inbox without an await, so a burst of them costs no turns of the loop; a
        full inbox ends the burst. Control frames have no inbox. After ``FAIR_SHARE`` of them, other connections get their
        turn.
        """
        control_frames = 0
        while True:
            event = self._core.next_event() or await self._next_event()  # a coroutine only if we have to wait
            if type(event) is Message:
                self._deliver(event.data)
                if self._inbox.is_full:
                    await self._wait_while_full()
                continue
            if isinstance(event, Close):
                return event
            self._take_control(event)
            control_frames += 1
            if control_frames % FAIR_SHARE == 0:
                await asyncio.sleep(0)
            await self._bound_pongs()

    async def _next_event(self) -> Event:
        """Wait for the next event. The peer may stay silent for any length of time, provided it answers our Pings. Raises
        RemoteProtocolError, ConnectionError."""
        while True:
            try:
                event = await self._endpoint.next_event(self._patience)
            except _OthersFirst:
                await asyncio.sleep(0)
            except TimeoutError:
                self._on_silence()
            else:
                assert event is not None  # the core ends with a Close, or with an error
                return event

    def _patience(self) -> float:
        """Return the seconds for which the peer may be silent: until we send a keepalive Ping, or until it has to answer one.

        Any byte answers a Ping: a peer that is sending a long message can only send its Pong after the message.

        Raises _OthersFirst if the peer sends a message in thousands of fragments. Such fragments complete no event, so all of
        them are read in one call of ``next_event``; and waiting for bytes that have already arrived takes no turn of the loop.
        """
        if self._core.fragments > FAIR_SHARE and not self._others_had_their_turn:
            self._others_had_their_turn = True
            raise _OthersFirst
        self._others_had_their_turn = False
        if self._endpoint.received > self._heard:
            self._heard, self._ping_pace = self._endpoint.received, None
        return self._timeouts.pong if self._ping_pace else self._timeouts.ping

    def _on_silence(self) -> None:
        """Send a Ping to a peer that has been silent for ``Timeouts.ping``, or give up on a peer that left a Ping unanswered.

        TCP alone does not tell us that a peer is gone: a phone that loses its network sends no FIN. Raises RemoteProtocolError
        (1011) if the peer has neither answered the Ping nor read the bytes before it. After our Close there are no Pings: the
        peer has the time that ``_give_up`` allows. ``_give_up`` interrupts the wait for bytes, and then this method
        raises ConnectionResetError.
        """
        if self._peer_is_late:
            raise ConnectionResetError("no Close from the peer")
        if self._core.state is State.CLOSED or (self._ping_pace and self._ping_pace.check(self._timeouts.pong)):
            return
        if self._ping_pace:
            error = RemoteProtocolError("no answer to a ping", INTERNAL_ERROR)
            self._core.fail(error)
            raise error
        self._ping_pace = OutputPace(self._endpoint)
        self._endpoint.send(Ping())

    def _deliver(self, message: str | bytes) -> None:
        """Give a message to the app. After our own Close nobody is waiting for messages any more, so they are dropped.

        They are still read, because the peer's Close comes after them.
        """
        if self._core.state is not State.CLOSED:
            self._inbox.put(message)

    def _take_control(self, event: Event) -> None:
        """Answer a Ping, or tell ``ping`` about its Pong. A Pong that nobody is waiting for is ignored (RFC 6455 §5.5.3)."""
        if (reply := self._core.reply(event)) is not None:
            self._endpoint.send(reply)
            self._pong_bytes += 2 + len(event.data) if isinstance(event, Ping) else 0  # with its header: data may be empty
        elif isinstance(event, Pong) and event.data in self._pings:
            # §5.5.3: a peer may answer only the latest of several Pings. So this Pong also answers all earlier Pings.
            for data in list(self._pings):
                _settle(self._pings.pop(data), True)
                if data == event.data:
                    break

    async def _bound_pongs(self) -> None:
        """Wait for a peer that sends Pings and does not read: beyond 64 KiB of unread Pongs, we do not read either.

        The count starts over whenever the peer has caught up, so a peer that pings for years is never slowed down.
        """
        if not self._endpoint.congested:
            self._pong_bytes = 0
        elif self._pong_bytes > HIGH_WATER:
            await self._endpoint.flush()

    async def _wait_while_full(self) -> None:
        """Read nothing until the app has taken messages.

        No Pong can reach us meanwhile, so silence is not held against the peer. But a Ping is written now and then: if the
        peer's machine is gone, the kernel gives up sending it after some minutes, and tells us that the connection is lost.
        """
        while self._inbox.is_full and self._core.state is not State.CLOSED:
            try:
                async with asyncio.timeout(self._timeouts.ping):
                    await self._inbox.wait_until_taken()
            except TimeoutError:
                self._endpoint.send(Ping())
                if self._endpoint.congested:
                    await self._endpoint.flush()

    # -- the end

    async def _answer(self, close: Close) -> list[Event]:
        """Return the Close that answers the peer's, after the app has answered the messages before it."""
        self._note_end(close.code, close.reason)
        await self._let_app_answer()
        reply = self._core.reply(close)
        return [reply] if reply else []

    async def _refuse(self, error: RemoteProtocolError) -> list[Event]:
        """Return the Close for the peer's fault. Return no event if we have already sent our own Close."""
        if self._core.state is State.CLOSED:
            self._note_end(ABNORMAL, "")
        self._note_end(error.code, str(error))
        await self._let_app_answer()
        return self._core.farewell(error)

    async def _let_app_answer(self) -> None:
        """Wait while the app takes, one by one, the messages before the end, and while the peer reads the answers.

        For example, a client sends a question and a Close in one packet. If we answered the Close at once, the handler could
        no longer send its answer, since nothing may follow our Close. ``Timeouts.last_words`` bounds each step: a handler
        that has taken a message and is doing something else delays the Close by half a second.
        """
        with suppress(TimeoutError, ConnectionError):
            while (self._inbox.messages or self._inbox.app_may_answer) and not self._our_close:
                if self._endpoint.congested:
                    await self._endpoint.flush()
                    continue  # during the flush the app may have taken the last message, and nobody would wake us any more
                async with asyncio.timeout(self._timeouts.last_words):
                    await self._inbox.wait_until_taken()

    def _note_end(self, code: int, reason: str) -> None:
        """Note that nothing more will be received, and wake the app, whose ``receive`` raises when the inbox is empty.

        The first code to be noted is kept. For example, a peer sends its Close and then resets the connection: the code in
        its Close says more than 1006.
        """
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
        self._inbox.wake_app()

    def _note_loss(self, error: ConnectionError) -> None:
        """Note that the connection is lost. The system's words, such as "Broken pipe", say more than ours."""
        self._loss = self._loss or str(error.__cause__ or "") or str(error)
        self._note_end(ABNORMAL, "")

    def _end_sending(self) -> None:
        """Note that nothing more will be sent, except for the reader's last words.

        Tasks waiting for a Pong are woken: ``ping`` raises ConnectionClosed. From now on, so does ``send``.
        """
        self._note_end(ABNORMAL, "")
        self._sending_is_over = True
        for pong in self._pings.values():
            _settle(pong, False)
        if self._close_timer is not None:
            self._close_timer.cancel()

    def _closed(self) -> ConnectionClosed:
        """Return the error for the app, with the final code, or with our own code while the final one is not yet known."""
        ours = self._our_close or Close(ABNORMAL)
        code, reason = (self.close_code, self.close_reason) if self.close_code is not None else (ours.code, ours.reason)
        return ConnectionClosed(code, reason or (self._loss if code == ABNORMAL else ""))


class _OthersFirst(Exception):
    """Other connections get their turn before the reader continues."""


def _settle(future: "asyncio.Future[T]", result: T) -> None:
    """Give a future its result, unless it is done: the waiting task may have been cancelled, or already woken."""
    if not future.done():
        future.set_result(result)


def broadcast(connections: Iterable[WebSocket], message: str | bytes) -> None:
    """Send a message to many connections, without waiting.

    The message is encoded once, and compressed once for all connections that have agreed on equal parameters.

    ``broadcast`` returns at once, however slow the peers are. A slow peer costs memory: its unsent bytes are kept here. So a
    connection with more than 1 MiB of unsent bytes is closed with 1013 (try again later) instead, and delays no other
    connection. The unsent bytes from the connection's own ``send`` count as well. So send long messages in fragments to
    connections that get broadcasts.

    Raises LocalProtocolError for text with lone surrogates. Raises RuntimeError when called from a thread other than the
    loop's: there, call ``loop.call_soon_threadsafe(broadcast, connections, message)``.
    """
    if isinstance(connections, str | WebSocket) or not isinstance(connections, Iterable):
        raise TypeError(f"broadcast takes a list of WebSockets, as in broadcast([ws], message), not {show(connections)}")
    if not isinstance(message, str | bytes):
        raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
    connections = list(connections)
    for connection in connections:  # all checks come before the first send
        check_type("each of connections", connection, WebSocket)
        check_loop(connection._loop, "loop.call_soon_threadsafe(broadcast, connections, message)")
    encode_payload(message)  # text that can't be encoded fails here, not at a connection in the middle of the list
    shared = Shared(message)
    for connection in connections:
        connection._send_shared(shared)
