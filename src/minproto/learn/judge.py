"""Judge an answer: run the cases of its exercise, then the laws, and return the first failure.

``minproto laws`` uses the same engine (``minproto.testing``). This file only says which two answers are compared:

    the learner's file    host.py in a process      Program
    a command             any program               Program     -- the same laws -->   passed, or the first failure
    the reference answer  session.py, right here    _Local

The streams are the same in each run, so a failure that a learner has fixed does not come back as another one.
"""

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minproto.learn import CALLS, PARSER, Case, Exercise
from minproto.learn.draws import streams_of
from minproto.learn.session import CannotLoadError, Session, load
from minproto.testing import cuts
from minproto.testing.agreement import agrees_on, agrees_with, understands_as
from minproto.testing.driver import EndOfInput, Run
from minproto.testing.laws import RECEIVING_LAWS, Law, Subject, check_law, draw
from minproto.testing.process import FaultError, Process
from minproto.testing.programs import CannotRunError, Program
from minproto.testing.report import LawBroken, describe
from minproto.testing.stages import ROOMY

EXAMPLES = 60
"""The number of streams that are drawn for the laws."""
TIMEOUT = 2.0
"""The seconds that an answer may take for one call. After that it counts as an endless loop."""
SEED = 1
NAMES = ("expected", "got")


@dataclass(frozen=True)
class Failure:
    """The first thing that an answer gets wrong."""

    exercise: Exercise
    broken: LawBroken
    case: Case | None
    """None if a drawn stream shows it."""
    hint: str
    section: str
    passed: int
    """How many cases are right."""
    expected: list[str]
    """What each line of a script gives, or the events of a stream, and then its error."""
    got: list[str]
    in_python: bool
    """Whether the answer is a Python file, and not a command."""


class _Local(Process):
    """A session that runs in this process instead of another one."""

    def __init__(self, session: Session) -> None:
        super().__init__(["python"], TIMEOUT)
        self._session = session

    def start(self) -> None:
        """Do nothing: the session is there."""

    def ask(self, lines: Sequence[str]) -> list[bytes]:
        """Return the session's answers."""
        return [json.dumps(self._session.answer(json.loads(line))).encode() for line in lines]

    ask_each = ask


class Local(Program):
    """An answer that runs in this process: the reference answer, or an answer of a test."""

    def __init__(self, exercise: Exercise, source: str, file: str) -> None:
        """Raises CannotRunError for a source that cannot be loaded."""
        super().__init__(["python"], limit=exercise.limit or ROOMY)
        try:
            session = Session(load(source, file), exercise.asks, exercise.kind, exercise.limit > 0)
        except CannotLoadError as error:
            raise CannotRunError(str(error)) from None
        self._process = _Local(session)


class PythonFile(Program):
    """An answer in a Python file, which runs in a process of its own."""

    def __init__(self, exercise: Exercise, file: str, timeout: float = TIMEOUT) -> None:
        takes_limit = "limit" if exercise.limit else "none"
        command = [sys.executable, "-P", "-m", "minproto.learn.host", file, exercise.asks, exercise.kind, takes_limit]
        super().__init__([*command, f"{timeout * 0.8:g}"], limit=exercise.limit or ROOMY, timeout=timeout)
        self._file = file

    def start(self) -> None:
        """Start the process and load the file. Raises CannotRunError, whose text is one line."""
        try:
            self._process.start()
            answer = json.loads(self._process.ask([self._new])[0])
        except FaultError as fault:
            raise CannotRunError(f"{self._file} does not import: {fault.says.splitlines()[0]}") from None
        if "cannot" in answer:
            raise CannotRunError(answer["cannot"])


def reference(exercise: Exercise) -> Program:
    """Return the reference answer of an exercise."""
    return Local(exercise, exercise.answer.read_text("utf-8"), str(exercise.answer))


def results(program: Program, script: bytes) -> list[str]:
    """Return what each line of a script gives, as text."""
    core = program.make()
    core.receive_data(script)
    told: list[str] = []
    while (event := core.next_event()) is not None:
        content = event.content  # type: ignore[attr-defined]
        told.append({"made": "an object", "returns": content["value"]}.get(content["type"], f"raises {content['value']}"))
    return told


def judge(exercise: Exercise, program: Program, examples: int = EXAMPLES) -> Failure | None:
    """Return the first failure of an answer; None means that it has passed."""
    right = reference(exercise)
    streams = streams_of(exercise.name)
    drawn = cuts.uncut if exercise.kind == CALLS else cuts.anyhow if "garbage" in exercise.laws else cuts.valid
    subject, model = (each.on_trial(Subject(each.make, streams, drawn=drawn)) for each in (program, right))
    for number, case in enumerate(exercise.cases):
        try:
            _compare(exercise, model, subject, case.data)
        except LawBroken as broken:
            return _failure(exercise, broken, case, number, (right, program))
    tried = [[case.data] for case in exercise.cases]
    tried += draw(subject, examples=examples, seed=SEED) if examples else []
    for law in _laws(exercise, model):
        try:
            with warnings.catch_warnings(action="ignore"):
                check_law(law, subject, examples=max(1, examples), seed=SEED, streams=tried)
        except LawBroken as broken:
            return _failure(exercise, broken, None, len(exercise.cases), (right, program), law.__name__)
    return None


def _compare(exercise: Exercise, model: Subject, subject: Subject, data: bytes) -> None:
    """Compare an answer with the reference answer on one case. Raises LawBroken."""
    if exercise.kind == CALLS:
        understands_as(model, NAMES)(subject, [data])
    else:
        agrees_on(model, subject, data, ends="end_of_input" in exercise.laws, names=NAMES)


def _laws(exercise: Exercise, model: Subject) -> Iterator[Law]:
    """Yield the laws of an exercise. For a script there is one: it gives what the reference answer gives."""
    if exercise.kind == PARSER:
        yield from (law for law in RECEIVING_LAWS if law.__name__ in exercise.laws)
        yield agrees_with(model, ends="end_of_input" in exercise.laws, names=NAMES)
    else:
        yield understands_as(model, NAMES)


def _failure(
    exercise: Exercise, broken: LawBroken, case: Case | None, passed: int, both: tuple[Program, Program], law: str = ""
) -> Failure:  # fmt: skip
    hint, section = (case.hint, case.section) if case else (_hint(exercise, law), exercise.section)
    expected, got = _both(exercise.kind, broken, both) if broken.law.startswith(("1.", "13.")) else ([], [])
    return Failure(exercise, broken, case, hint, section, passed, expected, got, isinstance(both[1], Local | PythonFile))


def _both(kind: str, broken: LawBroken, both: tuple[Program, Program]) -> tuple[list[str], list[str]]:
    """Return what each of the two answers makes of the smallest stream, so that the report can show all of it."""
    data, mark = b"".join(part for part, _ in broken.parts), broken.parts[-1][1]
    if kind == CALLS:
        return results(both[0], data), results(both[1], data)
    runs = [Run(Subject(each.make)).feed([data]) for each in both]
    told = [(run.end() if mark else run).outcome() for run in runs]
    expected, got = ([describe(event) for event in each if not isinstance(event, EndOfInput)] for each in told)
    return expected, got


def _hint(exercise: Exercise, law: str) -> str:
    own = exercise.hints
    return own.get(law) or _HINTS.get(law) or own.get("drawn", _DRAWN)


_DRAWN = "All cases are right, so this input has something that they lack: read the contract once more with it in mind."
_HINTS = {
    "any_cutting": "Keep what is not complete yet, and look at it again together with the bytes that come next.",
    "sticky_failure": "Store the error in the object, and raise it again at the start of each further call.",
    "bounded": "Check the limit before you keep more bytes, even for a line whose end has not arrived yet.",
    "end_of_input": "At the end of input, raise ValueError if something has begun and is not complete.",
    "garbage": "Raise ValueError for bytes that break the protocol, and no other exception.",
}
"""The name of a law -> the hint, if the exercise has none of its own."""
