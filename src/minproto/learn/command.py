"""``minproto learn``: exercises that grade themselves.

    minproto learn                              list them
    minproto learn http1/3                      print the task, with a stub to begin with
    minproto learn http1/3 --stub > mine.py     the stub alone
    minproto learn http1/3 mine.py              try an answer in Python
    minproto learn http1/3 -- node mine.js      try an answer in any language (docs/laws.md)
    minproto learn mutants                      find the bug in one line of minproto

The exit status is 0 if the answer has passed, 1 if it has not, 2 if it could not be tried, and 130 after Ctrl-C.
"""

import argparse
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from minproto.learn import CALLS, PROTOCOLS, Exercise, bugs, load
from minproto.learn.tasks import listed, task
from minproto.prove.source import locate

if TYPE_CHECKING:
    from minproto.testing.programs import Program

DESCRIPTION = "Exercises that grade themselves: with no word, the list; with NAME, the task; with FILE or COMMAND, a verdict."


def run(words: Sequence[str]) -> int:
    """Run the command, and return its exit status. ``words``: everything after ``minproto learn``."""
    words = list(words)
    if words[:1] == ["mutants"]:
        return _mutants(words[1:])
    at = words.index("--") if "--" in words else len(words)
    command = words[at + 1 :]
    options = _parser().parse_args(words[:at])
    if options.name is None:
        return _refuse("-- COMMAND needs an exercise before it, such as http1/3") if at < len(words) else _print(listed())
    exercises = load()
    if options.name not in exercises:
        return _refuse(_no_exercise(options.name, exercises))
    exercise = exercises[options.name]
    if at < len(words):
        return _try_command(exercise, command, options)
    if options.stub:
        if options.file is not None:
            return _refuse(f"--stub prints the stub and tries nothing: leave out {options.file!r}, or --stub")
        return _print([exercise.stub.read_text("utf-8").rstrip()])
    return _try_file(exercise, options.file) if options.file is not None else _print(task(exercise))


def _no_exercise(name: str, exercises: dict[str, Exercise]) -> str:
    protocol = name.partition("/")[0]
    if protocol in PROTOCOLS:
        numbers = [each.number for each in exercises.values() if each.protocol == protocol]
        return f"no exercise is called {name!r} (there are {protocol}/1 to {protocol}/{max(numbers)})"
    return f"no exercise is called {name!r} (minproto learn lists them: {', '.join(f'{each}/1' for each in PROTOCOLS)} ...)"


def _try_file(exercise: Exercise, file: str) -> int:
    path = Path(file)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        return _refuse(f"{file!r} {what}: give a Python file (or a command after --)")
    from minproto.learn.judge import PythonFile

    return _try(exercise, PythonFile(exercise, file), shlex.quote(file))


def _try_command(exercise: Exercise, command: list[str], options: argparse.Namespace) -> int:
    if options.file is not None or options.stub:
        extra = "--stub" if options.file is None else options.file
        return _refuse(f"{extra!r} comes before --, and a command after it: give only one of them")
    if not command:
        return _refuse("there is no command after --")
    if exercise.kind == CALLS:
        return _refuse(f"{exercise.name} asks for {exercise.asks} in Python: give a Python file, not a command")
    from minproto.learn.judge import TIMEOUT
    from minproto.testing.programs import Program
    from minproto.testing.stages import ROOMY

    program = Program(command, limit=exercise.limit or ROOMY, timeout=TIMEOUT)
    return _try(exercise, program, f"-- {shlex.join(command)}")


def _try(exercise: Exercise, program: "Program", again: str) -> int:
    """Start an answer, judge it, and print the verdict."""
    from minproto.learn.judge import EXAMPLES, judge
    from minproto.learn.report import report
    from minproto.testing.programs import CannotRunError

    try:
        program.start()
        failure = judge(exercise, program)
    except CannotRunError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        _refuse("interrupted")
        raise  # the command line makes the exit status of it
    finally:
        program.close()
    if failure is not None:
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        return _print([*report(failure, width), f"again:    minproto learn {exercise.name} {again}"], 1)
    cases = f"{len(exercise.cases)} cases and {EXAMPLES} drawn inputs are right"
    place = locate(exercise.core)
    path = place.path.relative_to(Path.cwd()) if place.path.is_relative_to(Path.cwd()) else place.path
    same = f"{exercise.core} ({path}, line {place.first})"
    lines = [f"{exercise.name} is passed: {cases}.", f"minproto does this job in {same}. Compare it with yours."]
    names = list(load())
    following = names.index(exercise.name) + 1
    return _print([*lines, f"next:     minproto learn {names[following]}"] if following < len(names) else lines)


def _mutants(words: list[str]) -> int:
    """Hand out a bug, or print its answer."""
    options = _bug_parser().parse_args(words)
    try:
        found = bugs.chosen(options)
    except ValueError as error:
        return _refuse(str(error))
    return _print(bugs.answer(found) if options.answer else bugs.question(found))


def _print(lines: Iterator[str] | list[str], status: int = 0) -> int:
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # nobody reads any more (``| head``)
        pass
    return status


def _refuse(says: str) -> int:
    """Print why nothing can be tried, on one line, and return the exit status for this."""
    print(f"minproto learn: {' '.join(says.split())}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line, and exit with status 2."""
        self.exit(_refuse(message))


def _parser() -> _Parser:
    parser = _Parser(prog="minproto learn", usage="%(prog)s [NAME [FILE | -- COMMAND...]] [--stub]", description=DESCRIPTION)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the exercise, such as http1/3")
    parser.add_argument("file", metavar="FILE", nargs="?", help="a Python file with your answer")
    parser.add_argument("--stub", action="store_true", help="print the stub to begin with, and nothing else")
    return parser


def _bug_parser() -> _Parser:
    text = "One line of minproto is wrong: which one? Without a word, a bug is drawn; with a protocol, one of this protocol."
    parser = _Parser(prog="minproto learn mutants", description=text)
    parser.add_argument("which", metavar="BUG", nargs="?", help=f"the number of a bug, or one of {', '.join(PROTOCOLS)}")
    parser.add_argument("--seed", type=_seed, metavar="N", help="draw the same bug each time")
    parser.add_argument("--answer", action="store_true", help="show the line, what it breaks, and who catches it")
    return parser


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"not a number from 0 on: {text!r}")
    return int(text)
