"""The runner: it tries each mutant in a child process of its own, and says which test kills it.

    this process    has imported pytest, hypothesis and the peers (h11, h2, ...), and no core of minproto
      child 1       a fork, so that all imports are there; installs the hook, runs the tests, says on a pipe what it does
      child 2 ...   as many at once as there are CPUs; this process waits for all their pipes, with a time limit for each

A child starts in milliseconds, because a fork copies what has been imported. It must not have imported a core: an import hook
works only for a module that is not there yet. The child says on its pipe, line by line, what it does:

    ["start", "tests/test_http1.py::test_two_lengths"]
    ["fail", "tests/test_http1.py::test_two_lengths", "AssertionError: ..."]
    ["end", 1]

If no line comes for as long as the time limit, the test that started last hangs. The runner ends the child and reports a
timeout. That is a kill as well: a test run that never ends does not pass.

A test that fails on a mutant has killed it only if the test passes without the mutant. So after a kill the runner runs the
same test once more, in a child without a hook. It remembers the answer, since one test kills many mutants.

This process has one thread. A fork copies only the thread that forks, so a lock that another thread holds at that moment would
stay locked in the child for ever. A pool of workers from the library has such threads.
"""

import importlib
import json
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

from minproto.testing.mutants import ROOT, Mutant, MutantError
from minproto.testing.mutants.hook import install

LIMIT = 60.0
"""Seconds that one test may take on a mutant. The slowest test takes four without one."""
MEMORY = 3 << 30
"""Bytes of address space that a child may have: a mutant that buffers for ever gets a MemoryError in its test."""
PLUGINS = ("_hypothesis_pytestplugin", "pytest_asyncio.plugin")
"""The plugins that the tests need. pytest would load each that is installed, which takes longer than most of the tests."""
WARM = (
    "pytest", "hypothesis", "hypothesis.stateful", *PLUGINS, "_pytest.unittest", "_pytest.skipping", "doctest", "ssl", "h11",
    "hpack", "h2.connection", "wsproto", "websockets.server", "websockets.client",
)  # fmt: skip
"""What is imported before the forks. A module that is not installed is left out: its tests skip or fail on their own."""


@dataclass(frozen=True)
class Trial:
    """A mutant, and the tests to try it against, in this order.

    A test is a pytest id, a file, or ``FILE -k TEXT``: the tests of this file that have the text in their id. ``all_tests``:
    run all of them, and do not stop at the first that fails.
    """

    mutant: Mutant
    tests: tuple[str, ...]
    all_tests: bool = False


@dataclass
class Outcome:
    """How a trial went."""

    trial: Trial
    how: str
    """``failed``, ``timeout``, ``crash`` or ``import`` (the mutant cannot be imported): the mutant is killed. ``survived``.
    ``error``: the trial itself is wrong, and ``says`` why."""
    killers: list[str] = field(default_factory=list)
    """The ids of the tests that failed: one, unless the trial asked for all tests."""
    says: str = ""
    """What the first of them says, on one line."""
    laws: dict[str, int] = field(default_factory=dict)
    """The killers that try a law -> its number in ``docs/tested.md``."""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        return self.how not in ("survived", "error")


def run(trials: Sequence[Trial], jobs: int | None = None, limit: float = LIMIT, root: Path = ROOT) -> Iterator[Outcome]:
    """Try the mutants, ``jobs`` at once (None: one for each CPU), and yield each outcome as it is known.

    ``limit``: seconds for one test. ``root``: the folder in which the names of the tests begin. Raises MutantError where
    this cannot work: without ``fork``, or in an installed package, which has no tests.
    """
    if not hasattr(os, "fork"):
        raise MutantError("mutants need a system with fork(): Linux, macOS or another Unix")
    if not (root / "tests").is_dir():
        raise MutantError(f"mutants need a clone of minproto, with its tests, and {root} is none")
    for name in WARM:
        with suppress(ImportError):
            importlib.import_module(name)
    yield from _Runner(limit, root).run(trials, jobs or os.cpu_count() or 1)


_IMPORT = "import"
"""What runs before the first test."""


class _Runner:
    """All trials of one run: some are tried at once, and they share what is known of the tests."""

    def __init__(self, limit: float, root: Path) -> None:
        self._limit, self._root = limit, root
        self._passes: dict[str, str] = {}
        """Tests that have killed a mutant -> how each goes without a mutant."""
        self._running: dict[int, tuple[_Child, _Attempt]] = {}
        """The pipe of each child that runs -> the child, and the attempt that waits for it."""

    def run(self, trials: Sequence[Trial], jobs: int) -> Iterator[Outcome]:
        waiting = list(reversed(trials))
        try:
            while waiting or self._running:
                while waiting and len(self._running) < jobs:
                    self._go_on(self._attempt(waiting.pop()))
                for attempt in self._ended():
                    if outcome := self._go_on(attempt):
                        yield outcome
        finally:
            for child, _attempt in self._running.values():
                child.end()

    def _go_on(self, attempt: "_Attempt") -> Outcome | None:
        """Run the attempt until it waits for a child. Return its outcome if it is done, otherwise None."""
        try:
            child = next(attempt)
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome
        self._running[child.reading] = child, attempt
        return None

    def _ended(self) -> "list[_Attempt]":
        """Wait until a child says something or is late. Return the attempts whose child has ended."""
        first = min(child.deadline for child, _attempt in self._running.values())
        readable = select.select(list(self._running), [], [], max(0.0, first - time.monotonic()))[0]
        attempts = []
        for reading, (child, attempt) in list(self._running.items()):
            child.read() if reading in readable else child.look_at_the_clock()
            if child.done:
                del self._running[reading]
                child.end()
                attempts.append(attempt)
        return attempts

    def _attempt(self, trial: Trial) -> "_Attempt":
        """Try one mutant: yield each child that has to end before the attempt goes on, and return the outcome."""
        began = time.monotonic()
        child = _Child(trial.mutant, _Tests(self._root, trial.tests, trial.all_tests), self._limit)
        yield child
        outcome = self._judge(trial, child)
        outcome.seconds = time.monotonic() - began
        for test in child.failed if outcome.killed else ():
            if test not in self._passes:
                alone = _Child(None, _Tests(self._root, (test,), False), max(self._limit, LIMIT))
                yield alone
                fails = f"{test} fails without the mutant, too: {next(iter(alone.failed.values()), alone.last_line)}"
                self._passes[test] = fails if alone.failed or alone.status else "passes"
            if (found := self._passes[test]) != "passes":
                return Outcome(trial, "error", [test], found)
        return outcome

    @staticmethod
    def _judge(trial: Trial, child: "_Child") -> Outcome:
        if child.says_why:
            how, says = child.says_why
            return Outcome(trial, how, [], f"{says}: {child.last_line}" if how == "error" and child.last_line else says)
        if child.failed:
            return Outcome(trial, child.how, list(child.failed), next(iter(child.failed.values())), child.laws)
        if child.status == 0:
            return Outcome(trial, "survived")
        return Outcome(trial, "error", [], f"no test is run of {', '.join(trial.tests)}; pytest says: {child.last_line}")


@dataclass(frozen=True)
class _Tests:
    """What a child runs."""

    root: Path
    names: tuple[str, ...]
    all_of_them: bool


class _Child:
    """One child process: started, read from, and ended. Afterwards its attributes say how it went."""

    def __init__(self, mutant: Mutant | None, tests: _Tests, limit: float) -> None:
        self.failed: dict[str, str] = {}
        """Tests that failed, or that hung -> the first line of what they say."""
        self.laws: dict[str, int] = {}
        self.how = "failed"
        self.status: int | None = None
        """pytest's exit status. None: pytest has not run to its end."""
        self.says_why: tuple[str, str] | None = None
        """An outcome with its reason, where no test is needed: the mutant could not be imported, or is wrong."""
        self.done = False
        self.last_line = ""
        self._running = ""
        self._limit = limit
        self._unread = b""
        self._printed = tempfile.TemporaryFile()
        self.reading, writing = os.pipe()
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            _child(mutant, tests, writing, self._printed)
        os.close(writing)
        self._wait_for_a_line()

    def _wait_for_a_line(self) -> None:
        """Start the time limit. pytest's own start, between the tests, may be slow on a busy machine."""
        self._patience = self._limit if self._running else max(self._limit, LIMIT)
        self.deadline = time.monotonic() + self._patience

    def look_at_the_clock(self) -> None:
        """Give up on the child if it has said nothing within the time limit."""
        if time.monotonic() >= self.deadline:
            self._gone("timeout", f"no end after {self._patience:g} seconds")

    def read(self) -> None:
        """Read the lines that have arrived. The child is done when it has said "end" or an error, or when it is gone."""
        if not (data := os.read(self.reading, 65_536)):
            self._gone("crash", "the child process has died")
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._take(*json.loads(line))
        self._wait_for_a_line()

    def _take(self, kind: str, *values: Any) -> None:
        if kind == "start":
            self._running = values[0]
        elif kind == "law":
            self.laws[values[0]] = values[1]
        elif kind == "fail":
            self.failed.setdefault(*values)
        elif kind == "end":
            self.status = values[0]
            self.done = True
        else:
            self.says_why = (kind, values[0])
            self.done = True

    def _gone(self, how: str, says: str) -> None:
        self.done = True
        if self._running == _IMPORT:
            self.says_why = (how, f"{says}, at the import of the mutant")
        elif self._running:
            self.how = how if not self.failed else self.how
            self.failed.setdefault(self._running, says)
        else:
            self.says_why = ("error", f"{says}, before the first test")

    def end(self) -> None:
        """End the process, with what it has started, and keep the last line that it printed."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)  # it leads a process group of its own
        os.kill(self._pid, signal.SIGKILL)  # a child just forked may not lead one yet
        os.waitpid(self._pid, 0)
        os.close(self.reading)
        with self._printed as printed:
            printed.seek(0)
            lines = printed.read().decode(errors="replace").strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")]
        self.last_line = ([line for line in lines if line.strip()] + errors or [""])[-1]


_Attempt = Generator[_Child, None, Outcome]
"""An attempt yields a child when it has to wait for its end."""


# ---- in the child ----------------------------------------------------------------------------------------------------


def _child(mutant: Mutant | None, tests: _Tests, writing: int, printed: IO[bytes]) -> NoReturn:
    """Run the tests, with what they print in a file, and end the process. No exception may leave this function."""
    try:
        os.setsid()
        for number in 1, 2:
            os.dup2(printed.fileno(), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.environ |= {"MINPROTO_PLAIN": "1", "CI": "true", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        for name in "MINPROTO_LOOP", "MINPROTO_EXAMPLES", "PYTEST_ADDOPTS":
            os.environ.pop(name, None)
        os.chdir(tests.root)
        _run_tests(mutant, tests, writing)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)  # without the parent's clean-up, which is not the child's


def _run_tests(mutant: Mutant | None, tests: _Tests, writing: int) -> None:
    import pytest

    if mutant is not None and not _imports(mutant, writing):
        return
    files = list(dict.fromkeys(test.partition(" -k ")[0] for test in tests.names))
    stop = [] if tests.all_of_them else ["-x"]
    # `-o addopts=`: the options of pyproject.toml leave tests out, and start processes.
    # The warning says that plugins have been imported already. They have, so that the child starts fast.
    options = ["-o", "addopts=", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider"]
    options += [word for name in PLUGINS for word in ("-p", name)] + ["-q", "--strict-markers", "--tb=line", *stop]
    status = pytest.main([*options, "--rootdir", str(tests.root), *files], plugins=[_Reporter(writing, tests)])
    _say(writing, "end", int(status))


def _imports(mutant: Mutant, writing: int) -> bool:
    """Install the hook and import the mutant. If that fails, say so: the mutant is wrong, or it is killed already."""
    try:
        install(mutant)
    except MutantError as error:
        _say(writing, "error", str(error))
        return False
    _say(writing, "start", _IMPORT)
    try:
        importlib.import_module(f"minproto.{mutant.module}")
    except Exception as error:
        _say(writing, "import", f"{type(error).__name__}: {_line(error)}")
        return False
    _say(writing, "start", "")
    return True


def _say(writing: int, kind: str, *values: object) -> None:
    os.write(writing, json.dumps([kind, *values]).encode() + b"\n")


def _line(message: object) -> str:
    return next((line.strip() for line in str(message).splitlines() if line.strip()), "")[:200]


def _law(item: Any) -> int | None:
    """Return the number of the law that a test tries: the law is a parameter of the test, or the docstring says "Law 7"."""
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    texts = [str(each.__doc__) for each in parameters if getattr(each, "__module__", "") == "minproto.testing.laws"]
    found = re.match(r"(\d+)\.", texts[0]) if texts else re.search(r"\bLaw (\d+)", str(getattr(item, "obj", item).__doc__))
    return int(found[1]) if found else None


class _Reporter:
    """A plugin of pytest that says on the pipe which test starts and which fails, and runs no test that is not wanted."""

    def __init__(self, writing: int, tests: _Tests) -> None:
        self._writing = writing
        parts = [test.partition(" -k ") for test in tests.names]
        self._laws: dict[str, int] = {}
        self._only = {tests.root / file: text for file, found, text in parts if found}

    def pytest_configure(self) -> None:
        """Let hypothesis stop at the first example that fails: nobody reads the smallest one, and looking for it is slow."""
        from hypothesis import Phase, settings

        # The profile is the one of tests/conftest.py, which pytest has imported by now.
        phases = [phase for phase in settings().phases if phase not in (Phase.shrink, Phase.explain)]
        settings.register_profile("mutants", settings(), phases=phases, report_multiple_bugs=False)
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if self._only.get(item.path, "") in item.nodeid.partition("::")[2]]
        self._laws = {item.nodeid: law for item in items if (law := _law(item))}

    def pytest_collectstart(self, collector: Any) -> None:
        """A file of tests can hang as well: it may run the mutant while it is imported."""
        if collector.nodeid.partition("::")[0].endswith(".py"):
            _say(self._writing, "start", collector.nodeid)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        _say(self._writing, "start", nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            _say(self._writing, "fail", report.nodeid, _line(getattr(crash, "message", report.longrepr)))
            if law := self._laws.get(report.nodeid):
                _say(self._writing, "law", report.nodeid, law)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            says = str(report.longrepr).strip().splitlines() or [""]
            _say(self._writing, "fail", report.nodeid, _line(says[-1]))
