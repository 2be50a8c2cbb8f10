"""What the options of ``minproto prove`` and ``minproto trap`` have in common. The error for a wrong value has one line."""

import argparse
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import NoReturn, TextIO, TypeVar

from minproto.prove.case import Question

Q = TypeVar("Q", bound=Question)

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT, which is 2."""


class CannotRunError(Exception):
    """The command could not be run. The text says why, in one line."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line, and exit with status 2. argparse would print the usage first, which ``--help`` shows."""
        self.exit(2, f"{self.prog}: {message}\n")


def reason(error: OSError) -> str:
    """Return why a file or a port cannot be used, in one line, without the number that Python puts in front of it."""
    return f"{error.strerror or error}{f': {error.filename!r}' if error.filename else ''}"


@contextmanager
def results_file(path: str) -> Iterator[TextIO]:
    """Open a file for results. Raises OSError.

    The file is opened before the run: a run of a minute whose report cannot be written would be lost. But the run may end
    before there are results. So the file keeps its content until ``emptied``, and a new file that stays empty is removed.
    """
    is_new = not os.path.lexists(path)
    try:
        with open(path, "a", encoding="utf-8") as file:
            yield file
    finally:
        if is_new and os.path.isfile(path) and os.path.getsize(path) == 0:
            os.remove(path)


def emptied(file: TextIO) -> TextIO:
    """Drop the old content of a file, and return the file. A pipe or a terminal has none."""
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.truncate(0)
    return file


def by_name(questions: Sequence[Q], patterns: Sequence[str], kind: str, tool: str) -> list[Q]:
    """Return the questions whose names match one of the patterns, in which ``*`` stands for any text.

    Raises CannotRunError if there are none. ``kind`` and ``tool`` are words of its text: a "case" of "prove".
    """
    chosen = [question for question in questions if any(fnmatchcase(question.name, pattern) for pattern in patterns)]
    if not chosen:
        raise CannotRunError(f"no {kind} is called {patterns[0]!r} (minproto {tool} --list shows all)")
    return chosen


def protocols_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return the type of an option that takes names of protocols, with commas between them."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"no protocol is called {name!r} (there are {', '.join(known)})")
        return names

    return parse


def count_to(most: int) -> Callable[[str], int]:
    """Return the type of an option that takes a number from 1 to ``most``."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= most):
            raise argparse.ArgumentTypeError(f"not a number from 1 to {most}: {text!r}")
        return int(text)

    return parse


def sent(text: str) -> str:
    """Parse a path or a host that requests contain."""
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"may be ASCII without blanks and control characters: {text!a}")
    return text


def seconds(text: str) -> float:
    """Parse a number of seconds."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 600:
        raise argparse.ArgumentTypeError(f"not a number of seconds up to 600: {text!r}")
    return number
