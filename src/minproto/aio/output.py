"""Lines for the process's standard output and standard error, which never make the event loop wait.

A write to a full pipe, or to a stopped terminal, blocks until somebody reads at the other end. For example, in
`minproto serve | less`, less shows one screen and stops reading. A Linux pipe holds 64 KiB. When it is full, the next write
waits until the user presses a key. If that write were in the event loop, every connection would wait with it, and the handler
of SIGTERM as well. So the loop only queues its lines, and a thread writes them:

    write("line 1\\n")  ->  queue, at most MAX_WAITING bytes  ->  thread  ->  os.write  ->  terminal or pipe
    write("line 2\\n")      full: the line is dropped and counted

When the reader reads again, the thread writes the queued lines, and then how many lines are missing: "… 123 lines dropped: the
output is not read". The order of the lines is kept. A regular file never blocks, so it needs no thread.

When the process ends, ``finish`` waits for the thread, as long as the reader reads something every second. The thread
is a daemon thread, so Python itself does not wait for it. It calls ``os.write``, not ``sys.stdout.write``: a thread waiting
inside ``sys.stdout`` holds a lock, and Python takes that lock when it exits.

A write can fail in two ways. A full disk (ENOSPC) may have room again, so the lines of the failed batch are counted as lost,
and the next batch is tried. Any other error means that nobody will ever read the output: for example EPIPE, after `| head -1`.
From then on all lines are dropped, and ``on_broken`` is called, which makes `minproto wire` exit.
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
"""The maximum number of bytes that are queued for a slow reader (4 MiB): some 50,000 lines of an access log. Further lines
are dropped."""
PIECE = 16_384
"""The maximum number of bytes of one ``os.write``. At exit we wait for a reader that reads this much every second."""
PAUSE = 0.01
"""Seconds between two batches. So a busy server switches threads a hundred times a second, not once per line."""
PATIENCE = 1.0
"""Seconds without any progress after which ``finish`` gives up."""
LAST_WAIT = 5.0
"""Seconds after which ``finish`` gives up in any case."""

STANDARD = (1, 2)
"""The file descriptors of standard output and standard error."""

# Errors that may be temporary: a disk may have room again. After any other error nobody will ever read the output.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Lines(Protocol):
    """An object that accepts lines: an ``Output``, or the object with which a program has replaced ``sys.stdout``.

    The event loop calls ``write`` of either. An ``Output`` never blocks; the program has to make sure that its own object does
    not block either.
    """

    def write(self, text: str, /) -> object:
        """Accept whole lines, each with its line break."""

    def flush(self) -> object:
        """Write the accepted lines at once."""


class Output:
    """A text stream whose ``write`` never waits and never fails. Threads may share it.

    A condition, with its lock, guards the queue. The thread waits on the condition for lines, and ``finish`` waits on it for
    the thread.
    """

    def __init__(self, put: Callable[[bytes], object], *, encoding: str = "utf-8", direct: bool = False) -> None:
        """``put`` writes all of its bytes. It may block, and may raise OSError.

        ``direct``: ``put`` never blocks, so it is called without a thread.
        """
        self.on_broken: Callable[[], object] = lambda: None
        """Called once, by the thread, when the reader is gone: `minproto wire ... | head -1` has no reason to keep running."""
        self._put = put
        self._encoding = encoding
        self._direct = direct
        self._changed = threading.Condition()  # also the lock for all attributes below
        self._waiting: list[bytes] = []  # texts that the thread has not yet taken
        self._size = 0  # bytes of the texts in _waiting
        self._dropped = 0  # lines that came after _waiting and did not fit
        self._failed = 0  # lines that came before _waiting, and were lost because the disk was full
        self._thread: threading.Thread | None = None
        self._busy = False  # the thread is writing a batch
        self._broken = False  # nobody will ever read the output

    def write(self, text: str) -> None:
        """Queue whole lines. Lines that do not fit are dropped and counted. Once the reader is gone, all lines are dropped."""
        data = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            if self._broken:
                return
            # After a dropped line, all lines are dropped until the queue is written, so that the notice counts one gap in one
            # place. A text longer than MAX_WAITING is accepted if the queue is empty, so a reader that keeps reading gets
            # every line.
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
        """Wait until everything is written; give up if the reader reads nothing for a second."""
        ends = time.monotonic() + LAST_WAIT
        # The thread notifies us after each piece. A second without a notification means that the reader reads nothing.
        with self._changed:
            while (self._waiting or self._busy) and not self._broken:
                patience = min(PATIENCE, ends - time.monotonic())
                if patience <= 0 or not self._changed.wait(patience):
                    return self._break()

    def _wake(self) -> None:
        """Have the thread write. The first line starts the thread, so a program that writes nothing has none."""
        if self._thread is None or not self._thread.is_alive():  # in a forked child the thread is not alive
            self._thread = threading.Thread(target=self._run, name="minproto-output", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no thread can be started: Python is exiting, or the system limit is reached
                self._thread = None
                return self._write_batch(self._take())
        self._changed.notify_all()

    def _run(self) -> None:
        """Run in the thread: take all queued lines, write them as one batch, and start over.

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
            time.sleep(PAUSE)  # meanwhile lines gather

    def _take(self) -> bytes:
        """Empty the queue. Return its lines, followed by a line that counts the dropped ones."""
        batch = b"".join([*self._waiting, self._notice(self._dropped, "the output is not read")])
        self._waiting, self._size, self._dropped = [], 0, 0
        return batch

    def _write_batch(self, batch: bytes) -> None:
        """Write a batch in pieces, and notify ``finish`` after each piece: the reader is reading."""
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
        """Note that a write has failed, and that ``lines`` lines are lost with it."""
        # The unwritten lines are lost: keeping them until the disk has room would fill the memory instead.
        if error.errno in _FULL:
            self._failed += lines  # the next batch that can be written begins with this number
            return
        self._break()  # before on_broken, which may end the program: ``finish`` must not wait then
        self.on_broken()

    def _break(self) -> None:
        """Give up: nobody reads the output any more."""
        with self._changed:
            self._broken = True
            self._waiting.clear()
            self._changed.notify_all()

    def _notice(self, lines: int, reason: str) -> bytes:
        """Return the line that says how many lines are missing here; b"" if no line is missing."""
        text = f"… {lines:,} line{'' if lines == 1 else 's'} dropped: {reason}\n" if lines else ""
        return text.encode(self._encoding, "replace")


def standard_output() -> Lines:
    """Return the object to which lines for standard output are written."""
    return _lines(sys.stdout)


def standard_error() -> Lines:
    """Return the object to which lines for standard error are written."""
    return _lines(sys.stderr)


def _lines(stream: TextIO | None) -> Lines:
    """Return the ``Output`` of the process's standard output or error, which all callers share.

    A program may have replaced ``sys.stdout`` with another object: a notebook, or a test that captures output. Then return
    that object.
    """
    if stream is None or stream.closed:  # `>&-`, as under some supervisors: the file may be somebody's socket by now
        return Output(len, direct=True)
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError):  # the stream is only in memory
        return stream
    if descriptor not in STANDARD:
        return stream
    stream.flush()  # so that earlier prints come first
    return _own(descriptor, stream.encoding)


@cache
def _own(descriptor: int, encoding: str) -> Output:
    """Return the one Output of a file descriptor. Two Outputs would mix their lines."""
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    output = Output(lambda data: _write_all(descriptor, data), encoding=encoding, direct=is_file)
    _used.append(output)
    return output


_used: list[Output] = []
"""The outputs of this process: at most two, for standard output and standard error."""


@atexit.register
def finish_output() -> None:
    """Write what is queued for standard output and standard error, while somebody reads. Python calls this at exit."""
    for output in _used:
        output.finish()


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes, and wait until the reader has room for them. Raises OSError."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # another process has made this terminal non-blocking, which affects all its processes
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            waiting.poll()
