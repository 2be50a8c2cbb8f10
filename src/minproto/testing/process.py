r"""A process that answers each line on its standard input with one line on its standard output.

``Process.ask`` writes many lines, and reads their answers meanwhile: a process whose answers nobody reads stops reading once
the pipe is full, and both sides would wait for ever. There is no thread: one loop with ``poll`` serves all three pipes.

What can go wrong, and how it is told apart:

    its output ends                                          CRASHED, with its exit status and the end of its standard error
    no answer within the timeout, and none later             HANGS
    no answer within the timeout, but one soon afterwards    LATE
    no answer until its input ends, and then one             LATE: it does not flush its output
    a line more than it was asked for                        JUNK

After each of these the process is killed, and the next ``ask`` starts another one.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

CRASHED = "The program crashed."
HANGS = "The program hangs."
LATE = "The program answers too late."
JUNK = "The program prints something that is not an answer."

MOST_LINE = 1 << 26
"""The maximum number of bytes of one line that a program may print."""
MOST_ERRORS = 4_000
"""The maximum number of bytes of the program's standard error that are kept."""
ERROR_LINES = 20
"""The maximum number of lines of standard error that are shown."""
STARTUP = 3
"""How many times longer the first answer may take, since some languages take a second to start."""
LINGER = 0.02
"""How many seconds to wait for an extra line, if a program is known to print such lines."""
_CHUNK = 1 << 16


class FaultError(Exception):
    """A program's fault in place of an answer. ``law``: one of the sentences above. ``answers``: the answers before it."""

    def __init__(self, law: str, says: str, answers: Sequence[bytes] = ()) -> None:
        super().__init__(says)
        self.law, self.says, self.answers = law, says, list(answers)


class _TooManyError(Exception):
    """The process printed more lines than it was asked for."""


class Process:
    """A process that answers each line with a line."""

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        """``timeout``: the seconds that the process may take for one answer."""
        self._command, self._timeout = list(command), timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: list[bytes] = []
        self._begun = b""  # of a line, whose end has not been read yet
        self._errors = b""
        self._new = True  # it has not answered yet
        self.used_by: object = None
        """The user that has asked last: several users may share one process."""

    @property
    def name(self) -> str:
        """The program's name, for a message."""
        return self._command[0]

    def start(self) -> None:
        """Start the process. Raises OSError."""
        self._lines, self._begun, self._errors, self._new = [], b"", b"", True
        # A session of its own, so that a program that started others (a shell, say) is killed together with them.
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            start_new_session=True,
        )  # fmt: skip
        for file in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert file is not None
            os.set_blocking(file.fileno(), False)

    def ask(self, lines: Sequence[str]) -> list[bytes]:
        """Return the answers to these lines. Raises FaultError."""
        try:
            return self._ask(lines)
        except _TooManyError:
            pass
        except FaultError as fault:
            if fault.law not in (HANGS, LATE) or len(lines) == 1:
                raise
        return self.ask_each(lines)

    def ask_each(self, lines: Sequence[str]) -> list[bytes]:
        """Return the answers of a new process to these lines, asked one by one. Raises FaultError.

        So the result shows which line has no answer, or a second one. If many lines were asked at once, a line without an
        answer would get the answer to the next line."""
        self.kill()
        answers: list[bytes] = []
        for line in lines:
            try:
                answers += self._ask([line], LINGER)
            except FaultError as fault:
                fault.answers = answers + fault.answers
                raise
            except _TooManyError:
                raise self._junk(answers) from None
        return answers

    def kill(self) -> None:
        """End the process, and every process that it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for file in (process.stdin, process.stdout, process.stderr):
            if file is not None:
                with suppress(OSError):
                    file.close()

    def _ask(self, lines: Sequence[str], linger: float = 0) -> list[bytes]:
        """Write lines, and return as many answers. Raises _TooManyError if there are more within ``linger`` seconds."""
        if self._process is None:
            self.start()
        patience, self._new = (STARTUP if self._new else 1) * self._timeout, False
        self._turn(b"", 0)
        if self._lines or self._begun:  # printed after the last answer
            raise _TooManyError
        waiting = "".join(lines).encode()
        silent_since, progress = time.monotonic(), (0, 0)
        while len(self._lines) < len(lines):
            waiting = self._turn(waiting, patience, reads=True)
            before, progress = progress, (len(self._lines), len(waiting))
            if progress != before:
                silent_since, patience = time.monotonic(), self._timeout
            elif time.monotonic() - silent_since >= patience:
                raise self._silent(len(lines) == 1)
        self._turn(b"", linger)
        if len(self._lines) > len(lines) or self._begun:
            raise _TooManyError
        answers, self._lines = self._lines, []
        return answers

    def _turn(self, waiting: bytes, timeout: float, *, reads: bool = False) -> bytes:
        """Wait until a pipe is ready, write and read what is possible, and return what could not be written yet.

        Raises FaultError if the output has ended, and ``reads`` says that it still has to come."""
        assert self._process and self._process.stdin and self._process.stdout and self._process.stderr
        stdin, stdout, stderr = (each.fileno() for each in (self._process.stdin, self._process.stdout, self._process.stderr))
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        poll.register(stderr, select.POLLIN)
        if waiting:
            poll.register(stdin, select.POLLOUT)
        ready = dict(poll.poll(timeout * 1_000))
        if stderr in ready and (more := os.read(stderr, _CHUNK)):
            self._errors = (self._errors + more)[-MOST_ERRORS:]
        if stdin in ready:
            try:
                waiting = waiting[os.write(stdin, waiting[:_CHUNK]) :]
            except OSError:  # it has closed its input, or ended: its earlier output is still to be read
                waiting = b""
        if stdout in ready:
            data = os.read(stdout, _CHUNK)
            if not data and reads:
                raise self._crashed()
            *whole, self._begun = (self._begun + data).split(b"\n")
            self._lines += whole
            if len(self._begun) > MOST_LINE:
                raise self._fault(JUNK, f"it printed a line of more than {MOST_LINE:,} bytes")
        return waiting

    # -- what went wrong

    def _fault(self, law: str, says: str) -> FaultError:
        """Kill the process, and return the fault. The answers that came before it stay valid."""
        answers, self._lines = self._lines, []
        self.kill()
        return FaultError(law, says, answers)

    def _crashed(self) -> FaultError:
        process = self._process
        assert process is not None and process.stderr is not None
        try:
            status = process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            return self._fault(CRASHED, "it closed its standard output, and still runs" + self._last_errors())
        with suppress(OSError):
            while more := os.read(process.stderr.fileno(), _CHUNK):
                self._errors = (self._errors + more)[-MOST_ERRORS:]
        ended = f"with exit status {status}" if status >= 0 else f"by the signal {signal.Signals(-status).name}"
        part = f", after a part of an answer: {self._begun[:80].decode(errors='replace')}" if self._begun else ""
        return self._fault(CRASHED, f"instead of giving an answer it ended {ended}{part}{self._last_errors()}")

    def _last_errors(self) -> str:
        """Return the last lines of the program's standard error, for a report."""
        lines = self._errors.decode("utf-8", "replace").rstrip().splitlines()[-ERROR_LINES:]
        return "".join(["\nits standard error ends:", *(f"\n    {line}" for line in lines)]) if lines else ""

    def _silent(self, alone: bool) -> FaultError:
        """Tell apart, after a time without an answer: a slow program, a program that does not flush, and one that hangs.

        This needs a line that is ``alone``: after others, it is not known which of them has no answer."""
        count = len(self._lines)
        began = time.monotonic()
        if not alone:
            return self._fault(HANGS, "")
        if self._speaks(count, self._timeout):
            seconds = self._timeout + time.monotonic() - began
            del self._lines[count:]
            return self._fault(LATE, f"the answer came after {seconds:.1f} s; it has to come within {self._timeout:g} s")
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        if self._speaks(count, min(self._timeout, 1.0)):
            del self._lines[count:]
            return self._fault(LATE, "the answer came only after its standard input had ended: it has to flush each line")
        return self._fault(HANGS, f"it gave no answer within {self._timeout:g} s{self._last_errors()}")

    def _speaks(self, count: int, seconds: float) -> bool:
        """Return whether another answer comes within some seconds."""
        assert self._process is not None and self._process.stdout is not None
        stdout = self._process.stdout.fileno()
        until = time.monotonic() + seconds
        while len(self._lines) == count and (left := until - time.monotonic()) > 0:
            if not select.select([stdout], [], [], left)[0] or not (data := os.read(stdout, _CHUNK)):
                break
            *whole, self._begun = (self._begun + data).split(b"\n")
            self._lines += whole
        return len(self._lines) > count

    def _junk(self, answers: Sequence[bytes]) -> FaultError:
        lines, self._lines = self._lines, []
        shown = [line.decode("utf-8", "backslashreplace")[:200] for line in [*lines[:3], self._begun] if line]
        says = "\n".join(["it printed more than one line for one operation:", *(f"    {line}" for line in shown)])
        hint = "print nothing but answers on standard output, and everything else on standard error"
        fault = self._fault(JUNK, f"{says}\n{hint}")
        fault.answers = list(answers)
        return fault
