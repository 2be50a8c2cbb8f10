"""Lines for a reader who may stop reading: in order, never waited for, and counted where they do not fit."""

import errno
import io
import os
import sys
import threading

import pytest

from minproto.aio import output
from minproto.aio.observe import AccessLog
from minproto.aio.output import MAX_WAITING, Output, standard_error, standard_output


class Reader:
    """A reader in memory: takes what is put while ``reads`` is set."""

    def __init__(self) -> None:
        self.text = ""
        self.reads = threading.Event()
        self.asked = threading.Event()
        self.error: OSError | None = None

    def put(self, data: bytes) -> None:
        self.asked.set()
        assert self.reads.wait(10)
        if self.error:
            raise self.error
        self.text += data.decode()


@pytest.fixture
def reader() -> Reader:
    return Reader()


def stuck(reader: Reader) -> Output:
    """An output whose thread waits in its first write."""
    output = Output(reader.put)
    output.write("first\n")
    assert reader.asked.wait(10)
    return output


def test_lines_come_in_order(reader: Reader) -> None:
    """From several threads: each thread's lines keep their order, and none is lost or split."""
    reader.reads.set()
    output = Output(reader.put)

    def write(name: str) -> None:
        for number in range(1000):
            output.write(f"{name} {number}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output.finish()
    lines = reader.text.splitlines()
    for name in "abc":
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(1000)]


def test_a_reader_who_stops_is_not_waited_for(reader: Reader) -> None:
    """What fits waits, the rest is counted; the count stands where the lines are missing, and what comes later follows it."""
    output = stuck(reader)
    line = "x" * 99 + "\n"
    fits = MAX_WAITING // len(line)
    for _ in range(fits + 1234):
        output.write(line)
    output.write("short\n")  # would fit, but then the count would stand in the wrong place
    reader.reads.set()
    output.finish()
    output.write("later\n")
    output.finish()
    assert reader.text == f"first\n{line * fits}… 1,235 lines dropped: the output is not read\nlater\n"


def test_one_line_is_dropped(reader: Reader) -> None:
    output = stuck(reader)
    output.write("x" * (MAX_WAITING - 1) + "\n")
    output.write("y\n")
    reader.reads.set()
    output.finish()
    assert reader.text.endswith("x\n… 1 line dropped: the output is not read\n")


def test_a_text_longer_than_the_queue_is_written(reader: Reader) -> None:
    """Where nothing else waits: a reader who reads gets every line, however long."""
    reader.reads.set()
    output = Output(reader.put)
    text = "x" * (2 * MAX_WAITING) + "\n"
    output.write(text)
    output.finish()
    assert reader.text == text


def test_finish_gives_up(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads: the end of the process is held up for a moment only, and not twice."""
    monkeypatch.setattr("minproto.aio.output.PATIENCE", 0.01)
    output = stuck(reader)
    output.write("second\n")
    output.finish()
    monkeypatch.setattr("minproto.aio.output.PATIENCE", 1_000)
    output.finish()
    reader.reads.set()


def test_a_reader_who_has_gone(reader: Reader) -> None:
    """Said once; nothing is kept for it any more, and nobody is harmed."""
    gone: list[bool] = []
    output = stuck(reader)
    output.on_broken = lambda: gone.append(True)
    output.write("second\n")
    reader.error = BrokenPipeError(errno.EPIPE, "")
    reader.reads.set()
    output.finish()
    for _ in range(3):
        output.write("third\n")
    output.finish()
    assert (gone, output._waiting) == ([True], [])


@pytest.mark.parametrize("direct", [False, True])
def test_a_full_disk_may_have_room_again(reader: Reader, direct: bool) -> None:
    """The lines between are counted: a full disk is no reader who has gone."""
    output = Output(reader.put, direct=direct)
    reader.reads.set()
    for error in (None, OSError(errno.ENOSPC, ""), OSError(errno.EDQUOT, ""), None):
        reader.error = error
        output.write(f"{error}\n")
        output.finish()
    assert reader.text == "None\n… 2 lines dropped: the disk is full\nNone\n"


def test_where_no_thread_can_start(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.12 starts none while it ends: what is logged then is written without."""

    def fails(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", fails)
    reader.reads.set()
    output = Output(reader.put)
    for number in (1, 2):
        output.write(f"{number}\n")
    assert reader.text == "1\n2\n"


def test_after_a_fork() -> None:
    """The child has no thread of its parent's, and starts its own."""
    read, write = os.pipe()
    output = Output(lambda data: os.write(write, data))
    output.write("parent\n")
    output.finish()
    child = os.fork()
    if not child:
        output.write("child\n")
        output.finish()
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"parent\nchild\n"
    os.close(read)
    os.close(write)


def test_what_an_encoding_cannot_say(reader: Reader) -> None:
    reader.reads.set()
    output = Output(reader.put, encoding="ascii", direct=True)
    output.write("a→b \udcff\n")
    assert reader.text == "a\\u2192b \\udcff\n"


def test_without_standard_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """`>&- 2>&-`, or a program that has closed them: lines go nowhere, above all not to whatever has the file's number now."""
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        standard_output().write("nothing\n")
        standard_error().write("nothing\n")
        AccessLog().finish(None, 400, 0, Unknown())


class Unknown:
    def info(self, name: str) -> None:
        return None


def test_a_stream_that_the_program_has_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook, or a test that listens: its own ``write`` is called."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    AccessLog().finish(None, 400, 0, Unknown())
    assert sys.stdout.getvalue().endswith('"-" 400 0\n')  # type: ignore[attr-defined]


def test_standard_output_with_another_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has wrapped it anew has not replaced it: its reader may stop reading all the same."""
    with os.fdopen(os.dup(1), "wb") as other, io.TextIOWrapper(other, "latin-1") as stream:
        monkeypatch.setattr(output, "STANDARD", (other.fileno(),))
        monkeypatch.setattr(output, "_used", [])
        monkeypatch.setattr(sys, "stdout", stream)
        found = standard_output()
        assert isinstance(found, Output) and found._encoding == "latin-1"
        output._own.cache_clear()


def test_a_pipe_that_another_process_made_non_blocking() -> None:
    """The flag is shared by all who have the pipe: a full one raises BlockingIOError, which is no reason to lose a line."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    text = b"x" * 1_000_000
    thread = threading.Thread(target=output._write_all, args=(write, text))
    thread.start()
    got = b""
    while len(got) < len(text):
        got += os.read(read, 65_536)
    thread.join(10)
    assert got == text
    os.close(read)
    os.close(write)


def test_the_process_own_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was printed before comes first, through the pipe that standard output is; all users share one queue."""
    read, write = os.pipe()
    with open(write, "w") as stream, open(read) as reading:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(output, "STANDARD", (write,))
        used: list[Output] = []
        monkeypatch.setattr(output, "_used", used)
        output._own.cache_clear()
        stream.write("before\n")
        standard_output().write("line\n")
        assert standard_output() is standard_output()
        output.finish_output()
        assert (reading.readline(), reading.readline(), len(used)) == ("before\n", "line\n", 1)
        output._own.cache_clear()


