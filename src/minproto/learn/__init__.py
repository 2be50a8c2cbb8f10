r"""The exercises of the course, each of which grades itself.

    minproto learn                                  the list
    minproto learn http1/3                          what to write, with worked bytes and a stub
    minproto learn http1/3 my_parser.py             is it right? If not: the smallest input that shows it, and a hint

An exercise is data: an entry of ``http1.toml`` (or of the file of another protocol), a stub in ``stubs/``, and a reference
answer in ``answers/``. The reference answer says what is expected, so no expectation is written down twice. There are two
kinds:

- ``parser``: a class that turns pieces of a stream into events. The laws of ``minproto.testing`` apply: any cutting, a failure
  that stays, a bound on memory, the end of input. A program in any language can be such a parser (``docs/laws.md``).
- ``calls``: a function, or a class with some methods. Here the stream is a script, one call on each line
  (``keeps_alive('1.1', [])``), and an event is what the call returns. So the same engine compares results, draws scripts, and
  looks for the smallest one. Only Python can do this.

The parts, in the order in which an answer meets them: ``session.py`` runs the learner's code, ``host.py`` does so in a process
of its own, ``draws.py`` has the streams, ``judge.py`` runs cases and laws, ``report.py`` explains the first failure,
``tasks.py``
prints tasks, ``bugs.py`` hands out bugs, ``command.py`` is the command.
"""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROTOCOLS = ("http1", "sse", "websocket", "pubsub", "http2")
"""The protocols that have exercises, in the order of the course. Each has a file of data: ``http1.toml``."""
PARSER, CALLS = "parser", "calls"


@dataclass(frozen=True)
class Case:
    """One input that an answer has to read right, and what the learner is told if it does not."""

    says: str
    """The subject of the case, in a few words."""
    data: bytes
    """A stream, or a script of calls."""
    hint: str
    section: str
    shown: bool
    """Whether the task shows this case, with its result."""


@dataclass(frozen=True)
class Exercise:
    """One exercise."""

    protocol: str
    number: int
    title: str
    minutes: int
    asks: str
    """The name of the function or class to be written."""
    kind: str
    """PARSER or CALLS."""
    text: str
    """The task: what to write, and its contract."""
    core: str
    """The part of minproto that does this work: ``http1.HeadReader``."""
    cases: tuple[Case, ...]
    laws: tuple[str, ...] = ()
    """For a parser: the names of the laws that have to hold, besides the comparison with the reference answer."""
    hints: dict[str, str] = field(default_factory=dict)
    """The name of a law -> the hint for an answer that breaks it. ``drawn``: for a drawn stream that is read wrong."""
    section: str = ""
    limit: int = 0
    """For a parser: the maximum number of bytes that it may hold, which is given to its constructor. 0: there is no limit."""
    explains: str = ""
    """The protocol in which ``minproto explain`` explains the bytes; "" if there is nothing to explain."""
    before: str = ""
    """Bytes that the sender has sent before, so that the explainer recognises the protocol."""

    @property
    def name(self) -> str:
        """The name in the command: ``http1/3``."""
        return f"{self.protocol}/{self.number}"

    @property
    def stub(self) -> Path:
        """The file to begin with."""
        return HERE / "stubs" / f"{self.protocol}_{self.number}.py"

    @property
    def answer(self) -> Path:
        """The file of the reference answer."""
        return HERE / "answers" / f"{self.protocol}_{self.number}.py"


@cache
def load() -> dict[str, Exercise]:
    """Return the exercises by name, in the order of the course."""
    found = {}
    for protocol in PROTOCOLS:
        tables = tomllib.loads((HERE / f"{protocol}.toml").read_text("utf-8"))["exercise"]
        for number, table in enumerate(tables, 1):
            exercise = _exercise(protocol, number, table)
            found[exercise.name] = exercise
    return found


def _exercise(protocol: str, number: int, table: dict[str, Any]) -> Exercise:
    section = table["section"]
    cases = tuple(_case(each, section) for each in table.pop("case"))
    return Exercise(protocol=protocol, number=number, cases=cases, laws=tuple(table.pop("laws", ())), **table)


def _case(table: dict[str, Any], section: str) -> Case:
    """Return a case. Its input is ``data`` (text, as UTF-8), ``hex`` or ``calls``."""
    data = bytes.fromhex(table["hex"]) if "hex" in table else table.get("data", table.get("calls", "")).lstrip("\n").encode()
    return Case(table["says"], data, table["hint"], table.get("section", section), table.get("shown", False))
