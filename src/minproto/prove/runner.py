"""Run cases on a target: each on a connection of its own, some of them at once.

    probe           what does the target speak, and which needs does it meet?         probe.py
    for each case:  a right request first: does the target still answer?              Prober.control
                    the opening, the steps, and the words of the answer               play
                    the verdict on the words                                          Case.judge

How long to wait for an answer: until the transcript is right, and then a moment more, in which nothing else may come. A
transcript that is not right yet gets the whole time limit, since the target may be slow.
"""

import asyncio
import os
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from minproto.core import Role
from minproto.prove.case import Case, Pause, Reply, Shut, Step, Trickle, Verdict, Wait
from minproto.prove.controls import CONTROLS
from minproto.prove.jobs import at_once
from minproto.prove.line import Line
from minproto.prove.target import Target
from minproto.prove.transcripts import ALPN, TRANSCRIPTS
from minproto.prove.transcripts.base import Transcript

MOMENT = 0.08
"""The seconds for which nothing more may come after a transcript that is right."""
MORE_TRIES = 3
"""How many more right requests a target gets after a flood, until it answers one."""


@dataclass(slots=True)
class Result:
    """The result of a case."""

    case: Case
    verdict: Verdict
    transcript: str = ""
    """The words of the answer."""
    detail: str = ""
    """Why, in one line."""
    record: list[tuple[Role, bytes]] = field(default_factory=list)
    """The bytes that crossed the connection."""


class Play:
    """One case on one connection."""

    def __init__(self, case: Case, target: Target, line: Line) -> None:
        self._case, self._target, self._line = case, target, line
        self._reading: Transcript = TRANSCRIPTS[case.speaks or case.protocol](case, target)
        self._loop = asyncio.get_running_loop()

    @property
    def transcript(self) -> str:
        """The words so far, with the end of the connection as the last one."""
        words = self._reading.words
        if self._ended:
            return " ".join([*words, self._ended])
        return " ".join([*words, "open"]) if words else "silent"

    @property
    def _ended(self) -> str:
        """How the connection ended, or the exchange on it: "closed", "reset", or "" while it is open."""
        return self._line.ended or self._reading.over

    @property
    def why_malformed(self) -> str:
        return self._reading.why_malformed

    async def run(self) -> None:
        """Send the opening and the steps, and read until nothing more is to come."""
        await self._send(self._reading.opening())
        await self._read_until(lambda: self._reading.ready or self.why_malformed != "")
        if self._reading.ready:
            for step in self._case.steps:
                await self._step(step)
        await self._settle()

    async def _step(self, step: Step) -> None:
        match step:
            case Wait(pattern):
                await self._read_until(lambda: self._has(pattern))
            case Reply(pattern, data):
                await self._read_until(lambda: self._has(pattern))
                if found := re.search(pattern, self.transcript):
                    first = found[1].encode("latin-1") if found.re.groups else b""
                    await self._send(self._reading.wrap(data.replace(b"{1}", first)))
            case Pause(seconds):
                await self._read_for(seconds)
            case Trickle(data, size, delay):
                data = self._target.fill(data)
                for at in range(0, len(data), size):
                    await self._send(self._reading.wrap(data[at : at + size]))
                    await self._read_for(delay)
            case Shut() if last := self._reading.shut():
                await self._send(last)
            case Shut():
                self._line.shut()
            case bytes():
                await self._send(self._reading.wrap(self._target.fill(step)))
            case _:
                await self._send(self._reading.wrap(step.encode(self._target)))

    def _has(self, pattern: str) -> bool:
        return re.search(pattern, self.transcript) is not None

    async def _settle(self) -> None:
        """Read until the transcript is right and stays right for a moment, or until the time limit.

        It also reads for only a moment after malformed bytes: later bytes cannot make them right."""
        deadline = self._loop.time() + self._target.timeout
        while not self._ended and (left := deadline - self._loop.time()) > 0:
            over = self.why_malformed != "" or self._case.judge(self.transcript) is Verdict.RIGHT
            if not await self._read(min(left, MOMENT) if over else left) and over:
                return

    async def _read_until(self, done: Callable[[], bool]) -> None:
        deadline = self._loop.time() + self._target.timeout
        while not done() and not self._ended and (left := deadline - self._loop.time()) > 0:
            await self._read(left)

    async def _read_for(self, seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while not self._ended and (left := deadline - self._loop.time()) > 0:
            await self._read(left)

    async def _read(self, seconds: float) -> bool:
        """Read once, and return whether anything came: bytes, or the end."""
        data = await self._line.receive(seconds)
        if data:
            await self._send(self._reading.receive(data))
        elif self._line.ended:
            self._reading.end()
        return bool(data or self._line.ended)

    async def _send(self, data: bytes) -> None:
        await self._line.send(data, self._target.timeout)


async def play(case: Case, target: Target) -> Result:
    """Run one case, without any other request before it. A target that cannot be reached gives WRONG, with the reason."""
    alpn = ALPN[case.speaks or case.protocol]
    try:
        line = await target.connect(alpn)
    except (OSError, TimeoutError) as error:
        return Result(case, Verdict.WRONG, "", no_connection(error))
    try:
        if target.tls and alpn == "h2" and line.alpn != "h2":
            return Result(case, Verdict.WRONG, "", "no HTTP/2: the target does not choose h2 by ALPN")
        played = Play(case, target, line)
        await played.run()
        return Result(case, case.judge(played.transcript), played.transcript, played.why_malformed, line.record)
    finally:
        line.close()


async def prove(case: Case, target: Target) -> Result:
    """Run one case between two right requests: the target has to answer both, the one before the case and the one after it.

    So a target that was already gone before the case does not fail it, and a target that the case has ended does. A target
    that has never answered the right request has not gone, and gets the case alone.
    """
    control = CONTROLS["websocket" if case.protocol == "websocket" else case.speaks or case.protocol]
    if control.protocol in target.unsound:
        return await play(case, target)
    before = await play(control, target)
    if before.verdict is not Verdict.RIGHT:
        gone = f"the target no longer answers a right request of {control.protocol}: {before.transcript or before.detail}"
        return Result(case, Verdict.SKIPPED, "", gone, before.record)
    result = await play(case, target)
    if control.protocol == "http1" and before.transcript.endswith(" open"):
        _forgive_open(result)
    hostile = case.group.endswith("/hostile")
    if result.verdict is Verdict.WRONG or hostile:
        after = await play(control, target)
        for _ in range(MORE_TRIES if hostile else 0):  # a target that is still at work on a flood is not gone
            if after.verdict is not Verdict.RIGHT:
                after = await play(control, target)
        if after.verdict is not Verdict.RIGHT:
            result.verdict = Verdict.WRONG
            answer = after.transcript or after.detail
            result.detail = f"after it, the target no longer answers a right request of {control.protocol}: {answer}"
    return result


def _forgive_open(result: Result) -> None:
    """Accept an answer whose only fault is that the connection stays open.

    The target does not obey ``Connection: close``, with which most cases of HTTP/1.1 end. The cases of http1/connection say
    so. Each of the other cases asks for something else.
    """
    case, transcript = result.case, result.transcript
    if result.verdict is Verdict.WRONG and case.group != "http1/connection" and transcript.endswith(" open"):
        if case.judge(transcript.removesuffix("open") + "closed") is not Verdict.WRONG:
            result.verdict, result.detail = Verdict.ACCEPTABLE, "but the connection stays open after Connection: close"


async def prove_all(cases: Sequence[Case], target: Target, jobs: int) -> AsyncGenerator[Result]:
    """Run cases, ``jobs`` of them at once, and yield each result as it comes. Cases whose needs are not met are skipped.

    Cases of a group ``hostile`` run at the end and one at a time: a flood may delay the answers to all other cases.
    """
    hostile = [case for case in cases if case.group.endswith("/hostile")]
    calm = [case for case in cases if not case.group.endswith("/hostile")]

    async def ask(case: Case) -> Result:
        if missing := sorted(case.needs - target.meets):
            return Result(case, Verdict.SKIPPED, "", f"needs {', '.join(missing)}")
        return await prove(case, target)

    for some, workers in ((calm, jobs), (hostile, 1)):
        async with aclosing(at_once(some, ask, workers)) as proving:
            async for result in proving:
                yield result


def no_connection(error: Exception) -> str:
    """Return why there is no connection, in one line."""
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or error}".replace("_", " ").lower().replace("tls", "TLS")
    if isinstance(error, TimeoutError):
        return "no connection within the time limit"
    if isinstance(error, ConnectionResetError):
        return "no connection: the target ended it at once (does it speak TLS?)"
    # asyncio's own text is "Connect call failed" with the address, so the system's text is the better one.
    number = getattr(error, "errno", None)
    return f"no connection: {os.strerror(number).lower() if number and number > 0 else error or type(error).__name__}"
