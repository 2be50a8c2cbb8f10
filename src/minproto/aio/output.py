"""Lines for the process's standard output and standard error, which never make the event loop wait.

A write to a terminal or a pipe blocks while nobody reads at the other end. For example, `minproto serve | less` shows one
screen, and less stops reading. A Linux pipe holds 64 KiB. Behind those the next write waits until the user presses a key. A
write in the event loop would stop every connection with it, and the handler of SIGTERM as well. So the loop only queues its
lines, and a thread writes them:

    write("line 1\\n")  ->  queue, at most MAX_WAITING bytes  ->  thread  ->  os.write  ->  terminal or pipe
    write("line 2\\n")      full: the line is dropped and counted

When the reader reads again, the thread writes the lines that waited, and then how many are missing: "… 123 lines dropped: the
output is not read". The order of the lines is kept. A regular file always takes what it is given, so it needs no thread.

At the end of the process ``finish`` waits for the thread, as long as the reader takes something within each second. The thread
is a daemon, for which Python does not wait. It calls ``os.write`` and not ``sys.stdout.write``: a thread that waits inside of
``sys.stdout`` holds a lock, and Python takes that lock at its own end.

A write can fail in two ways. A full disk (ENOSPC) may have room again, so the lines of that batch are counted as lost, and the
next batch is tried. Any other error means that nobody will read: for example EPIPE behind `| head -1`. Then all lines are
dropped from there on, and ``on_broken`` is called, by which `minproto wire` ends.
"""

import atexit
import errno
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Protocol, TextIO

MAX_WAITING = 4 * 1024 * 1024
"""Bytes (4 MiB) that wait for a slow reader: some 50,000 lines of an access log. Lines beyond these are dropped."""
PIECE = 16_384
"""Bytes of one ``os.write``. At the end we wait for a reader that takes this much each second."""
PAUSE = 0.01
"""Seconds between two batches. So a busy server pays for a change of threads a hundred times a second, not once a line."""
PATIENCE = 1.0
"""Seconds without any progress after which ``finish`` gives up."""
LAST_WAIT = 5.0
"""Seconds after which ``finish`` gives up in any case."""

STANDARD = (1, 2)
"""The file descriptors of standard output and standard error."""

# Errors that may pass: a disk may have room again. After any other error nobody will ever read the output.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Lines(Protocol):
    """A place for lines: an ``Output``, or the object that a program has put in the place of ``sys.stdout``.

    Both are written to in the event loop. An ``Output`` never blocks; whether the other one does is the program's business.
    """

    def write(self, text: str, /) -> object:
        """Take whole lines, each with its line break."""

    def flush(self) -> object:
        """Write at once what was taken."""


class Output:
    """A text stream whose ``write`` never waits and never fails. Threads may share it.

    One lock, with a condition, guards the queue. The thread waits for lines, and ``finish`` waits for the thread.
    """

    def __init__(self, put: Callable[[bytes], object], *, encoding: str = "utf-8", direct: bool = False) -> None:
        """``put`` writes all of its bytes. It may block, and may raise OSError.

        ``direct``: ``put`` never blocks, so it is called without a thread.
        """
        self.on_broken: Callable[[], object] = lambda: None
        """Called once, by the thread, when the reader is gone: `minproto wire ... | head -1` has no reason to go on."""
        self._put = put
        self._encoding = encoding
        self._direct = direct
        self._changed = threading.Condition()  # and the lock of all attributes below
        self._waiting: list[bytes] = []  # texts that the thread has not taken yet
        self._size = 0  # bytes of these
        self._dropped = 0  # lines that came after these and found no room
        self._failed = 0  # lines that came before these, and that a full disk did not take
        self._thread: threading.Thread | None = None
        self._busy = False  # the thread writes a batch
        self._broken = False  # nobody will ever read the output

    def write(self, text: str) -> None:
        """Queue whole lines. Lines that do not fit are dropped and counted. After the reader has gone, all are dropped."""
        data = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            if self._broken:
                return
            # Behind a line that was dropped, all lines are dropped until the queue is written: the notice counts a gap in one
            # place. A text that is longer than the queue is taken where nothing waits, so a reader that reads gets every line.
            if self._waiting and (self._dropped or self._size + len(data) > MAX_WAITING):
                self._dropped += text.count("\n")
                return
            self._waiting.append(data)
            self._size += len(data)
            if self._direct:
                self._write_batch(self._take())
            else:
                self._wake()

    def flush(self) -> None:
        """Do nothing: the thread writes at once, and the event loop may not wait for it. At the end ``finish`` waits."""

    def finish(self) -> None:
        """Wait until everything is written; give up where the reader takes nothing for a second."""
        ends = time.monotonic() + LAST_WAIT
        # The thread notifies us after each piece. A second without one means that the reader takes nothing.
        with self._changed:
            while (self._waiting or self._busy) and not self._broken:
                patience = min(PATIENCE, ends - time.monotonic())
                if patience <= 0 or not self._changed.wait(patience):
                    return self._break()

    def _wake(self) -> None:
        """Have the thread write. The first line starts it, so a program that writes nothing has no thread."""
        if self._thread is None or not self._thread.is_alive():  # in the child of a fork it is not
            self._thread = threading.Thread(target=self._run, name="minproto-output", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads: Python is ending, or the system has no more of them
                self._thread = None
                return self._write_batch(self._take())
        self._changed.notify_all()

    def _run(self) -> None:
        """Run in the thread: take all lines that wait, write them as one batch, and begin anew.

        The lock is not held while we write, so ``write`` never waits for a slow reader.
        """
        while not self._broken:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                batch = self._take()
                self._busy = True
            self._write_batch(batch)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
            time.sleep(PAUSE)  # lines gather meanwhile

    def _take(self) -> bytes:
        """Empty the queue. Return its lines, and behind them a line that counts those that were dropped."""
        batch = b"".join([*self._waiting, self._notice(self._dropped, "the output is not read")])
        self._waiting, self._size, self._dropped = [], 0, 0
        return batch

    def _write_batch(self, batch: bytes) -> None:
        """Write a batch in pieces, and tell ``finish`` of each, which sees by that that the reader reads."""
        pieces = [batch[start : start + PIECE] for start in range(0, len(batch), PIECE)]
        pieces.insert(0, self._notice(self._failed, "the disk is full"))
        for number, piece in enumerate(pieces):
            try:
                self._put(piece)
            except OSError as error:
                return self._fail(error, sum(left.count(b"\n") for left in pieces[max(number, 1) :]))
            self._failed = 0
            with self._changed:
                self._changed.notify_all()

    def _fail(self, error: OSError, lines: int) -> None:
        """Take note that a write has failed, and with it so many lines."""
        # What was not written is lost: to keep it until the disk has room would fill the memory instead.
        if error.errno in _FULL:
            self._failed += lines  # and the next batch that can be written says so
            return
        self._break()  # first, since on_broken may end the program, and ``finish`` must not wait then
        self.on_broken()

    def _break(self) -> None:
        """Give up: nobody reads the output any more."""
        with self._changed:
            self._broken = True
            self._waiting.clear()
            self._changed.notify_all()

    def _notice(self, lines: int, reason: str) -> bytes:
        """Return the line that says how many lines are missing here; b"" where none is."""
        text = f"… {lines:,} line{'' if lines == 1 else 's'} dropped: {reason}\n" if lines else ""
        return text.encode(self._encoding, "replace")


def standard_output() -> Lines:
    """Return the place for lines that are for standard output."""
    return _lines(sys.stdout)


def standard_error() -> Lines:
    """Return the place for lines that are for standard error."""
    return _lines(sys.stderr)


def _lines(stream: TextIO | None) -> Lines:
    """Return the ``Output`` of the process's standard output or error, which all users share.

    A program may have put another object in the place of ``sys.stdout``: a notebook, a test that listens. Then return that.
    """
    if stream is None or stream.closed:  # `>&-`, as under some supervisors: the file may be somebody's socket by now
        return Output(len, direct=True)
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError):  # the stream is only in memory
        return stream
    if descriptor not in STANDARD:
        return stream
    stream.flush()  # so that what was printed before comes first
    return _own(descriptor, stream.encoding)


@cache
def _own(descriptor: int, encoding: str) -> Output:
    """Return the one Output of a file descriptor. Two of them would mix their lines."""
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    output = Output(lambda data: _write_all(descriptor, data), encoding=encoding, direct=is_file)
    _used.append(output)
    return output


_used: list[Output] = []
"""The outputs of this process: at most two, for standard output and standard error."""


@atexit.register
def finish_output() -> None:
    """Write what waits for standard output and standard error, as long as somebody reads it. Python calls this at its end."""
    for output in _used:
        output.finish()


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes, and wait where that takes time. Raises OSError."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # another process on this terminal has made it non-blocking, which holds for all of them
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            waiting.poll()
