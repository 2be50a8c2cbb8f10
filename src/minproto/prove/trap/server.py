"""The server of ``minproto trap``: it plays a snare to each request for the snare's path.

    client                      Guest                                   Trap
      |--- GET /http1/... -------> |                                      |
      |                            |--- meet(asked) ---------------------> |   a Meeting: this client, this snare
      | <------ the steps ---------|                                      |
      |--- what it does then ----> |  words of the meeting                |
      |                            |--- the connection is over ---------> |   on_end(meeting)

Further paths: ``/`` lists the snares. ``/page/NAME`` is a page for a browser, whose script asks for the snare and shows the
result. ``/hold`` answers after a moment, so that the page counts as loaded only then. Each protocol has a right answer, too,
at ``/http1/control/hello`` and so on.
"""

import asyncio
import math
import re
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from minproto.core import CLIENT, SERVER, Role
from minproto.http2_frames import DATA, END_STREAM, MAX_FRAME, PREFACE
from minproto.prove.case import Pause, Shut, Trickle, Verdict, Wait
from minproto.prove.line import Line
from minproto.prove.trap.frames import Frame, headers
from minproto.prove.trap.pages import first_page, page
from minproto.prove.trap.snare import Asked, Reset, Snare
from minproto.prove.trap.watch import Http1Watch, Http2Watch, Watch
from minproto.websocket_handshake import accept_key

PATIENCE = 3.0
"""The seconds for which a connection is watched after the last step, and in which the next request has to come."""
LONGEST_WAIT = 1.0
"""The seconds after which the server goes on, if the client does not do what a snare waits for."""
HOLD = 1.5
"""The seconds after which ``/hold`` answers."""
SHOWN = 40
"""The maximum number of bytes that are shown of a client that makes no request."""


@dataclass(slots=True)
class Meeting:
    """One client and one snare: a connection, or several if the client comes back."""

    snare: Snare
    words: list[str] = field(default_factory=list)
    record: list[tuple[Role, bytes]] = field(default_factory=list)
    skipped: str = ""
    """Why the client can't be judged by this snare."""
    visits: int = 0

    @property
    def transcript(self) -> str:
        return " ".join(self.words)

    @property
    def verdict(self) -> Verdict:
        """The verdict on what the client did on the wire."""
        return Verdict.SKIPPED if self.skipped else self.snare.judge_wire(self.transcript)


class Trap:
    """A server with a path for each snare."""

    def __init__(
        self, snares: Iterable[Snare], on_end: Callable[[Meeting], None], *,
        on_silence: Callable[[str], None] = lambda why: None, patience: float = PATIENCE,
    ) -> None:  # fmt: skip
        """``on_silence`` is called for each connection that is over without a request; ``why``: the reason, in one line."""
        self.snares = {snare.name: snare for snare in snares}
        self.patience = patience
        self.on_silence = on_silence
        self._on_end = on_end
        self._coming_back: dict[str, Meeting] = {}
        self._server: asyncio.Server | None = None
        self._guests: set[asyncio.Task[None]] = set()
        self.port = 0
        self.secure = False

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen, in clear text or over TLS. Raises OSError."""
        self.secure = tls is not None
        limit = self.patience if tls else None
        self._server = await asyncio.start_server(
            self._serve, host, port, ssl=tls, ssl_handshake_timeout=limit, ssl_shutdown_timeout=limit
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._guests:
            task.cancel()
        await asyncio.gather(*self._guests, return_exceptions=True)

    def meet(self, asked: Asked) -> Meeting | None:
        """Return the meeting for a request: a new one, unless a client that was here is expected back; None: no such path."""
        snare = self.snares.get(asked.path.partition("?")[0].strip("/"))
        if snare is None:
            return None
        return self._coming_back.pop(snare.name, None) or Meeting(snare)

    def leave(self, snare: Snare) -> Meeting | None:
        """Return the meeting of a client that was expected to come back, and will not: its program has ended."""
        return self._coming_back.pop(snare.name, None)

    def end(self, meeting: Meeting) -> None:
        """Report a meeting, unless the client is expected to come back: then wait for it a while."""
        if meeting.snare.again and meeting.visits == 1 and not meeting.skipped:
            self._coming_back[meeting.snare.name] = meeting
            asyncio.get_running_loop().call_later(self.patience, self._wait_no_longer, meeting)
        else:
            self._on_end(meeting)

    def _wait_no_longer(self, meeting: Meeting) -> None:
        if self._coming_back.get(meeting.snare.name) is meeting:
            del self._coming_back[meeting.snare.name]
            self._on_end(meeting)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._guests.add(task)
        line = Line(reader, writer, SERVER)
        with suppress(asyncio.CancelledError):  # ``close``
            await Guest(self, line).run()
        line.close()
        self._guests.discard(task)


class Guest:
    """One connection of a client: its requests, one after another."""

    def __init__(self, trap: Trap, line: Line) -> None:
        self._trap, self._line = trap, line
        self._watch: Watch = Http1Watch()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Answer requests until the connection is over."""
        asked = await self._next_request() if await self._recognise() else None
        if asked is None:
            self._trap.on_silence(self._why_no_request())
        while asked:
            meeting = self._trap.meet(asked)
            await (self._take_part(meeting, asked) if meeting else self._answer(asked))
            asked = await self._next_request()

    async def _take_part(self, meeting: Meeting, asked: Asked) -> None:
        """Play the snare of a meeting, and note what the client does then."""
        meeting.words += [_again(asked)] if meeting.visits else []
        meeting.visits += 1
        meeting.skipped = meeting.skipped or meeting.snare.why_not(asked, self._watch.protocol)
        self._watch.words = []
        if meeting.skipped:
            await self._send(_plain(asked, 400, f"{meeting.skipped}\n"))
        else:
            await self._play(meeting, asked)
        await self._settle()
        meeting.words += [*self._watch.words, self._line.ended or "open"]
        meeting.record += self._line.record
        self._trap.end(meeting)

    async def _recognise(self) -> bool:
        """Find out whether the client speaks HTTP/2, whose first bytes are the preface.

        Return False if too little has come to tell, and the connection is over or the client's time is up.
        """
        first = b""
        deadline = self._loop.time() + self._trap.patience
        while len(first) < len(PREFACE) and PREFACE.startswith(first):
            data = await self._line.receive(max(0.0, deadline - self._loop.time()))
            if not data:
                return False
            first += data
        if first.startswith(PREFACE):
            self._watch = Http2Watch()
        await self._send(self._watch.opening())
        await self._send(self._watch.receive(first))
        return True

    def _why_no_request(self) -> str:
        """Return what a client did that has made no request, in one line."""
        sent = b"".join([data for sender, data in self._line.record if sender is CLIENT])
        what = f"it sent {sent[:SHOWN]!r}{'...' if sent[SHOWN:] else ''}" if sent else "it sent nothing"
        ends = {"closed": "then ended the connection", "reset": "then reset the connection"}
        return f"{what}, {ends.get(self._line.ended, f'and no whole request within {self._trap.patience:g} s')}"

    async def _next_request(self) -> Asked | None:
        """Return the next request; None if the connection is over, or silent for too long."""
        await self._read_until(lambda: bool(self._watch.requests))
        if not self._watch.requests:
            return None
        return self._watch.requests.popleft()

    async def _answer(self, asked: Asked) -> None:
        """Answer a request that is not for a snare."""
        path = asked.path.partition("?")[0]
        if path == "/hold":
            await asyncio.sleep(HOLD)
            await self._send(_plain(asked, 200, ""))
        elif path == "/":
            html = "text/html" in (asked.headers.get("accept") or "")
            await self._send(_plain(asked, 200, first_page(self._trap.snares.values(), html), html))
        elif snare := self._trap.snares.get(path.removeprefix("/page/")):
            await self._send(_plain(asked, 200, page(snare), True))
        else:
            await self._send(_plain(asked, 404, "there is no such path: / lists all\n"))

    async def _play(self, meeting: Meeting, asked: Asked) -> None:
        """Play the steps of a snare."""
        snare = meeting.snare
        if isinstance(self._watch, Http2Watch):
            self._watch.stream = asked.stream
        if snare.protocol == "websocket" and isinstance(self._watch, Http1Watch):
            self._watch.switch()
        key = accept_key(asked.headers.get("sec-websocket-key") or "").encode()
        together = b""  # one write: a client that ends the connection at the first of two frames would reset it at the second
        for step in snare.again if snare.again and meeting.visits > 1 else snare.steps:
            if isinstance(step, bytes):
                together += step.replace(b"{accept}", key)
            elif isinstance(step, Frame):
                together += step.on_stream(asked.stream)
            else:
                await self._send(together)
                together = b""
                await self._step(step)
        await self._send(together)

    async def _step(self, step: Wait | Pause | Trickle | Shut | Reset) -> None:
        match step:
            case Wait(pattern):
                await self._read_until(lambda: re.search(pattern, " ".join(self._watch.words)) is not None, LONGEST_WAIT)
            case Pause(seconds):
                await self._read_for(seconds)
            case Trickle(data, size, delay):
                for at in range(0, len(data), size):
                    await self._send(data[at : at + size])
                    await asyncio.sleep(delay)
            case Shut():
                self._line.finish()
            case Reset():
                await asyncio.sleep(0.05)  # what was sent before arrives before: a reset drops what is still on its way
                self._line.reset()
                self._line.ended = "reset"

    async def _settle(self) -> None:
        """Read until the connection is over, or the next request has come, or nothing has come for a while.

        A server ends the connection after the Close of a WebSocket, and the client waits for that (RFC 6455 §7.1.1).
        """
        await self._read_until(lambda: bool(self._watch.requests) or self._watch.over)
        if self._watch.over:
            self._line.finish()
            await self._read_until(lambda: False)

    async def _read_until(self, done: Callable[[], bool], patience: float = math.inf) -> None:
        deadline = self._loop.time() + min(patience, self._trap.patience)
        while not done() and not self._line.ended and (left := deadline - self._loop.time()) > 0:
            await self._read(left)

    async def _read_for(self, seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while not self._line.ended and (left := deadline - self._loop.time()) > 0:
            await self._read(left)

    async def _read(self, seconds: float) -> None:
        if data := await self._line.receive(seconds):
            await self._send(self._watch.receive(data))

    async def _send(self, data: bytes) -> None:
        await self._line.send(data, self._trap.patience)


def _again(asked: Asked) -> str:
    """Return the word for a request of a client that was here before."""
    last = asked.headers.get("last-event-id")
    return "again" if last is None else f"again={last}"


def _plain(asked: Asked, status: int, text: str, html: bool = False) -> bytes:
    """Return a right response of either version."""
    content = text.encode()
    kind = f"text/{'html' if html else 'plain'}; charset=utf-8"
    if not asked.stream:
        reason = {200: "OK", 400: "Bad Request", 404: "Not Found"}[status]
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
        return head.encode() + (b"" if asked.method == "HEAD" else content)
    frames = [headers((":status", str(status)), ("content-type", kind))]
    frames += [Frame(DATA, 0, content[at : at + MAX_FRAME]) for at in range(0, len(content), MAX_FRAME)]
    return b"".join([frame.on_stream(asked.stream) for frame in [*frames, Frame(DATA, END_STREAM)]])
