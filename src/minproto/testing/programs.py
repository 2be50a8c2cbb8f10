r"""A parser in any language: a program that is driven by lines of JSON over its standard input and output.

    to the program                                   from the program
    {"op": "new", "limit": 256, "role": "server"}    {"events": [], "error": null, "wants": "data", "buffered": 0}
    {"op": "data", "hex": "4745540d0a"}              {"events": [], "error": "no target", "wants": "closed", "buffered": 5}
    {"op": "eof"}                                    {"events": [], "error": "no target", "wants": "closed", "buffered": 5}

Each line is answered by one line. ``new`` makes a new parser in place of the old one, so one process serves thousands of
parsers. ``docs/laws.md`` describes the contract for the author of such a program.

``Program.make`` returns a parser with the contract of a core, so the laws need not know that the parser is elsewhere. The cost
of a process is the wait for its answer: a law that asks for one answer at a time would wait 300 times for one stream. So the
laws announce their streams (``Subject.ahead``). The program gets all of them in one write, and its answers are kept in a tree:

    new --- "GE" --- "T /" --- end of input        two streams with the same beginning share it
             +------ "T" ----- end of input

A parser is a position in this tree. The program is asked for a missing answer when a law needs it.

A program can also fail in ways that an object cannot: it crashes, hangs, prints something else, or answers too late. Each of
these is reported as what it is, with the last input before it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, cast

from minproto.core import Core, Event, RemoteProtocolError, Wants
from minproto.testing.driver import Op, Subject
from minproto.testing.json_events import told
from minproto.testing.process import HANGS, JUNK, LATE, FaultError, Process
from minproto.testing.report import LawBroken

WRONG = "An answer lacks something, or has something wrong in it."
CONTRACT = (
    "A program under the laws reads lines of JSON, and answers each of them with a line, as docs/laws.md shows. "
    "A class in Python needs no program: minproto.testing.check calls it (docs/python-parser.md)."
)
FORGETFUL = "The same bytes, given to a new parser, get the same answers: new forgets everything that was before."

MOST_TEXT = 1 << 20
"""The approximate maximum number of characters of operations in one write. Longer operations take several writes."""
MOST_ANSWERS = 300_000
"""The maximum number of answers that are kept. Beyond it, a new tree begins."""


class CannotRunError(Exception):
    """The program cannot be started, or ends before it has answered anything."""


@dataclass(slots=True)
class Answer:
    """What a program has answered to one operation."""

    events: list[Event]
    error: str | None
    wants: Wants
    buffered: int


_NEW = Answer([], None, Wants.DATA, 0)
"""The answer to ``new``."""


@dataclass(slots=True)
class _Node:
    """A position in the tree: a parser after some operations. ``answer``: to the last of them; None if it is not known yet."""

    answer: Answer | FaultError | None = None
    after: dict[Op, "_Node"] = field(default_factory=dict)


class Program:
    """A program that parses. ``make`` and ``ahead`` are for a ``Subject``; ``close`` ends the process."""

    def __init__(self, command: Sequence[str], *, limit: int, role: str = "server", timeout: float = 2.0) -> None:
        """``timeout``: the seconds in which the program has to give its next answer."""
        self._process = Process(command, timeout)
        self._limit, self._role = limit, role
        self._forget()

    def with_limit(self, limit: int) -> "Program":
        """Return the same program for parsers with another limit. Both share one process."""
        other = copy(self)
        other._limit = limit
        other._forget()
        return other

    def _forget(self) -> None:
        """Begin with an empty tree."""
        self._new = json.dumps({"op": "new", "limit": self._limit, "role": self._role}) + "\n"
        self._root, self._size = _Node(), 0
        self._known: dict[bytes, Answer | FaultError] = {}  # most lines are the same few, so each is parsed once
        self._asked: list[Op] = []  # the operations on the parser that the process has now

    def start(self) -> None:
        """Start the program, and wait for its first answer. Raises CannotRunError."""
        try:
            self._process.start()
            self._process.ask([self._new])
        except OSError as error:
            raise CannotRunError(f"cannot run {self._process.name}: {error.strerror or error}") from None
        except FaultError as fault:
            asked = f"{fault.law} Its first line was {self._new.strip()}"
            raise CannotRunError(f"{asked}\n{fault.says}\n{CONTRACT}") from None

    def make(self) -> Core:
        """Return a new parser."""
        return cast(Core, _Parser(self, self._root))

    def ahead(self, runs: Iterable[Sequence[Op]]) -> None:
        """Do all this with new parsers, in as few writes as possible, and keep the answers for the laws."""
        if self._size > MOST_ANSWERS:
            self._forget()
        batch: list[tuple[_Node, Op]] = []
        lines: list[str] = []
        waiting = 0
        for ops in runs:
            path = self._path(ops)
            if path and path[-1][0].answer is None and not any(isinstance(node.answer, FaultError) for node, _ in path):
                lines.append(self._new)
                batch.append((self._root, b""))
                lines += map(_line, ops)
                batch += path
                waiting += sum(2 * len(op or b"") + 30 for op in ops)
            if waiting > MOST_TEXT:
                self._fill(lines, batch)
                lines, batch, waiting = [], [], 0
        self._fill(lines, batch)

    def ask(self, ops: Sequence[Op]) -> _Node:
        """Get the answer to the last of these operations. The operations before it are sent again if the process has worked on
        another parser meanwhile."""
        path = self._path(ops)
        if self._process.used_by is self and self._asked and list(ops[:-1]) == self._asked:
            self._fill([_line(ops[-1])], path[-1:])
        else:
            self._fill([self._new, *map(_line, ops)], [(self._root, b""), *path])
        self._asked = list(ops)
        return path[-1][0]

    def on_trial(self, subject: Subject) -> Subject:
        """Return a subject with this program's parser."""
        return replace(subject, make=self.make, limit=self._limit, ahead=self.ahead, sees_memory=False)

    def close(self) -> None:
        """End the process."""
        self._process.kill()

    def _path(self, ops: Sequence[Op]) -> list[tuple[_Node, Op]]:
        """Return the nodes of these operations, each with its operation. Nodes that the tree lacks are made."""
        node, path = self._root, []
        for op in ops:
            following = node.after.get(op)
            if following is None:
                following = node.after[op] = _Node()
                self._size += 1
            node = following
            path.append((node, op))
        return path

    def _fill(self, lines: list[str], batch: Sequence[tuple[_Node, Op]]) -> None:
        """Send lines, and store the answers in their nodes. After a fault, the later nodes stay without an answer."""
        self._asked, self._process.used_by = [], self
        answers, fault = _asked(self._process.ask, lines) if lines else ([], None)
        if len(lines) > 1 and (doubtful := self._doubtful(batch, answers)) is not None:
            again, fault = _asked(self._process.ask_each, lines[doubtful])
            answers = answers[: doubtful.start] + again
        for (node, _), line in zip(batch, answers, strict=False):
            if node is self._root:
                self._check_new(line)
                continue
            before, node.answer = node.answer, self._answer(line)
            if isinstance(before, Answer) and before != node.answer:
                raise LawBroken(FORGETFUL, f"once it was: {before}\nnow it is:   {node.answer}")
        if fault is not None:
            node = batch[len(answers)][0]
            if node is self._root:
                raise LawBroken(fault.law, f"{fault.says}\nlast input: {self._new.strip()}")
            node.answer = fault

    def _doubtful(self, batch: Sequence[tuple[_Node, Op]], answers: Sequence[bytes]) -> slice | None:
        """Return the operations of the first parser that may have answered with an extra line; None if there is none.

        Every line after such a line belongs to another operation. Two things show this: a line that is not an answer, or a
        ``new`` that got the answer of another operation. In the second case, the fault lies with the parser before this
        ``new``."""
        start = 0
        for at, ((node, _), line) in enumerate(zip(batch, answers, strict=False)):
            answer = self._answer(line)
            if isinstance(answer, FaultError) or (node is self._root and answer != _NEW):
                ends = (end for end in range(at + 1, len(batch)) if batch[end][0] is self._root)
                return slice(start, next(ends, len(batch)))
            if node is self._root:
                start = at
        return None

    def _check_new(self, line: bytes) -> None:
        """Check the answer to ``new``. Raises LawBroken."""
        answer = self._answer(line)
        if isinstance(answer, FaultError):
            raise LawBroken(answer.law, f"{answer.says}\nlast input: {self._new.strip()}")
        if answer != _NEW:
            says = "a new parser has read nothing, so it has no events, no error, no bytes, and wants data"
            raise LawBroken(WRONG, f"{says}\nanswer:     {_shown(line)}\nlast input: {self._new.strip()}")

    def _answer(self, line: bytes) -> Answer | FaultError:
        """Return a line as an answer, or what is wrong with the line."""
        if (answer := self._known.get(line)) is None:
            try:
                answer = parse_answer(line)
            except FaultError as fault:
                answer = fault
            self._known[line] = answer
        return answer


def _asked(ask: Callable[[Sequence[str]], list[bytes]], lines: Sequence[str]) -> tuple[list[bytes], FaultError | None]:
    """Return the answers to lines, and the fault that ends them, if there is one."""
    try:
        return ask(lines), None
    except FaultError as fault:
        return fault.answers, fault


def _line(op: Op) -> str:
    return '{"op": "eof"}\n' if op is None else f'{{"op": "data", "hex": "{op.hex()}"}}\n'


def parse_answer(line: bytes) -> Answer:
    """Parse a line that a program has printed, and return it as an Answer. Raises FaultError if the line is not JSON, or has a
    wrong field."""
    try:
        found: Any = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        hint = "print nothing but answers on standard output, and everything else on standard error"
        raise FaultError(JUNK, f"it printed:  {_shown(line)}\n{hint}")
    try:
        return _checked(found)
    except ValueError as error:
        raise FaultError(WRONG, f"{error}\nanswer:     {_shown(line)}") from None


def _checked(found: dict[str, Any]) -> Answer:
    """Return an Answer made from a JSON object. Raises ValueError, which says what is wrong."""
    missing = [name for name in ("events", "error", "wants", "buffered") if name not in found]
    if missing:
        raise ValueError(f"it has no {' and no '.join(map(repr, missing))}")
    events, error, wants, buffered = (found[name] for name in ("events", "error", "wants", "buffered"))
    if not isinstance(events, list):
        raise ValueError('"events" has to be a list')
    if error is not None and (not isinstance(error, str) or not error):
        raise ValueError('"error" has to be null or a text')
    if wants not in ("data", "paused", "closed"):
        raise ValueError('"wants" has to be "data", "paused" or "closed"')
    if not isinstance(buffered, int) or isinstance(buffered, bool) or buffered < 0:
        raise ValueError('"buffered" has to be a number of bytes')
    return Answer([told(event) for event in events], error, Wants(wants), buffered)


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text):,} characters)"


class _Parser:
    """A parser of a program, with the contract of a core: a position in the tree of answers."""

    def __init__(self, program: Program, root: _Node) -> None:
        self._program, self._node = program, root
        self._ops: list[Op] = []
        self._answer = Answer([], None, Wants.DATA, 0)
        self._events: list[Event] = []  # those that were not returned yet
        self._error: RemoteProtocolError | None = None
        self._raised = False  # the error of this answer
        self.wants = Wants.DATA
        self.buffered = 0

    def receive_data(self, data: bytes) -> None:
        """Let the program read bytes."""
        self._do(data)

    def receive_eof(self) -> None:
        """Tell the program that the input has ended."""
        self._do(None)

    def next_event(self) -> Event | None:
        """Return the next event of the last answer; None after the last event. Raises the answer's error after its events.

        A call after an error asks the program again, because law 4 is about the program's error, and not about our copy."""
        if self._answer.error is not None and self._raised and not self._events:
            self._do(None if self._ops[-1] is None else b"")
        if self._events:
            return self._events.pop(0)
        if self._answer.error is None:
            return None
        self._raised = True
        if self._error is None or str(self._error) != self._answer.error:
            self._error = RemoteProtocolError(self._answer.error)
        raise self._error.with_traceback(None)

    def _do(self, op: Op) -> None:
        self._ops.append(op)
        node = self._node.after.get(op)
        if node is None or node.answer is None:
            node = self._program.ask(self._ops)
        self._node = node
        if isinstance(node.answer, FaultError):
            says = f"{node.answer.says}\nlast input: {_line(op).strip()[:300]}"
            broken = LawBroken(node.answer.law, says, self._parts())
            broken.slow = node.answer.law in (HANGS, LATE)
            raise broken
        assert node.answer is not None
        self._answer, self._events, self._raised = node.answer, list(node.answer.events), False
        self.wants, self.buffered = node.answer.wants, node.answer.buffered

    def _parts(self) -> list[tuple[bytes, str]]:
        """Return the bytes so far, for a report."""
        data = b"".join(op for op in self._ops if op is not None)
        return [(data, "end of input" if None in self._ops else "")]
