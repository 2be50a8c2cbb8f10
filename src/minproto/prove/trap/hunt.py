"""Run a command on each snare, and judge it: by the wire, by its exit status and by its output.

    control     does the program show a right answer of this protocol?      else its snares are skipped
    for each snare:  run the program, wait until it ends or its time is up    Hunt.run
                     the verdict on the meeting and on the outcome            Hunt.judge
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from minproto.prove.case import Verdict
from minproto.prove.jobs import at_once
from minproto.prove.trap.pages import shown
from minproto.prove.trap.server import Meeting, Trap
from minproto.prove.trap.snare import Snare
from minproto.prove.trap.snares import CONTROLS

MAX_OUTPUT = 1 << 20
GRACE = 0.5
"""The seconds for the server to see the end of the connection, after the program has ended."""
END_OF_DOM = "</html>"
"""The last line of what ``--dump-dom`` prints."""
SCHEMES = {"websocket": "ws"}
"""The protocol -> the scheme of its URLs in clear text, if it is not http."""


@dataclass(slots=True)
class Find:
    """The result of a snare."""

    meeting: Meeting
    verdict: Verdict
    detail: str = ""
    """Why, in one line."""

    @property
    def snare(self) -> Snare:
        return self.meeting.snare


class Hunt:
    """Runs one command, whose words may contain ``{url}`` or ``{page}``."""

    def __init__(self, command: Sequence[str], trap: Trap, host: str, timeout: float) -> None:
        self._command, self._trap, self._host, self._timeout = command, trap, host, timeout
        self._met: dict[str, Meeting] = {}
        self._ended: dict[str, asyncio.Event] = {}

    @property
    def _is_browser(self) -> bool:
        return any("{page}" in word for word in self._command)

    def on_end(self, meeting: Meeting) -> None:
        """Note a meeting that is over. The server calls it."""
        self._met.setdefault(meeting.snare.name, meeting)
        if event := self._ended.get(meeting.snare.name):
            event.set()

    def words(self, snare: Snare) -> list[str]:
        """Return the words of the command for one snare."""
        base = f"{'s' if self._trap.secure else ''}://{self._host}:{self._trap.port}"
        url = f"{SCHEMES.get(snare.protocol, 'http')}{base}/{snare.name}"
        page = f"http{base}/page/{snare.name}"
        return [word.replace("{url}", url).replace("{page}", page) for word in self._command]

    async def all(self, snares: Sequence[Snare], jobs: int) -> AsyncGenerator[Find]:
        """Yield the result of each snare, ``jobs`` of them at once."""
        protocols = list(dict.fromkeys(snare.protocol for snare in snares))
        controls = {name: await self.one(CONTROLS[name]) for name in protocols}

        async def ask(snare: Snare) -> Find:
            control = controls[snare.protocol]
            if control.verdict is not Verdict.RIGHT:
                return Find(Meeting(snare), Verdict.SKIPPED, f"not {snare.protocol}: {control.detail}")
            return await self.one(snare)

        async with aclosing(at_once(snares, ask, jobs)) as finds:
            async for find in finds:
                yield find

    async def one(self, snare: Snare) -> Find:
        """Run the program on one snare."""
        event = self._ended[snare.name] = asyncio.Event()
        status, output, errors = await self.run_program(self.words(snare))
        if self._is_browser:
            status = 0 if status is None and END_OF_DOM in output else status
            output, errors = shown(output), ""  # a browser complains of much else
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await event.wait()
        meeting = self._met.get(snare.name) or self._trap.leave(snare) or Meeting(snare)
        return self._judge(meeting, status, output, errors)

    async def run_program(self, words: list[str]) -> tuple[int | None, str, str]:
        """Run the program. Return its exit status, its output and its errors; the status is None if its time was up.

        Raises OSError.
        """
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        output, errors = bytearray(), bytearray()
        reading = asyncio.gather(_read(process.stdout, output), _read(process.stderr, errors))
        status = None
        try:
            async with asyncio.timeout(self._timeout):
                while not reading.done() and not (self._is_browser and END_OF_DOM.encode() in output[-50:]):
                    await asyncio.wait([reading], timeout=0.1)  # a browser has said all, and takes seconds to end
                status = await process.wait() if reading.done() else None
        except TimeoutError:
            pass
        finally:
            with suppress(ProcessLookupError):  # the program, and what it has started
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.wait([reading], timeout=GRACE)
            # A daemon that the program has started (``setsid``) lives on, and may hold the output open. ``wait`` would wait
            # for the end of the output, too. So our ends are closed. ``close`` of the whole transport would also ask for the
            # exit status, and asyncio, which asks as well, would complain that the process is unknown.
            for number in 1, 2:
                process._transport.get_pipe_transport(number).close()  # type: ignore[attr-defined]
            await asyncio.wait([reading])
            await process.wait()
        return status, output.decode(errors="replace"), errors.decode(errors="replace")

    def _judge(self, meeting: Meeting, status: int | None, output: str, errors: str) -> Find:
        """Return the verdict: the worse one of the wire and the outcome."""
        last = next((line.strip()[:200] for line in reversed(f"{output}\n{errors}".splitlines()) if line.strip()), "no output")
        if not meeting.visits:
            ended = "does not end" if status is None else f"ends with status {status}"
            return Find(meeting, Verdict.SKIPPED, f"it makes no request, and {ended}: {last}")
        if meeting.skipped:
            return Find(meeting, Verdict.SKIPPED, meeting.skipped)
        if status is None:
            return Find(meeting, Verdict.WRONG, f"it hangs: it has not ended after {self._timeout:g} s: {last}")
        outcome, wrong = meeting.snare.judge_outcome(status, output, errors)
        verdict = max(outcome, meeting.verdict, key=[Verdict.RIGHT, Verdict.ACCEPTABLE, Verdict.WRONG].index)
        return Find(meeting, verdict, f"{wrong}: {last}" if wrong else "")


async def _read(stream: asyncio.StreamReader, into: bytearray) -> None:
    """Read a program's output to its end, and keep the last part of it."""
    while piece := await stream.read(65_536):
        into += piece
        del into[:-MAX_OUTPUT]
