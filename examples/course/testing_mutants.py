"""Test the tests: plant six one-line bugs in the core of the chapter on sans-I/O, and see which test notices which bug."""

import sys
from pathlib import Path
from types import ModuleType

from hypothesis import strategies as st

from minproto.core import RemoteProtocolError
from minproto.testing import LawBroken, Subject, check

SOURCE = Path(__file__).with_name("sans_io_core.py").read_text()
MUTANTS = {
    "no mutant: the core as it is": ("", ""),
    "the rest of a chunk is lost": ("self._buffer = rest", 'self._buffer = b""'),
    "the limit counts whole lines alone": ("if len(line) > self._limit", "if end and len(line) > self._limit"),
    "two spaces are allowed": ("[0-9]+( [0-9]+)*", "[0-9]+( +[0-9]+)*"),
    "an error is forgotten": ("self.error, self.wants = error, Wants.CLOSED", 'self._buffer = b""; raise'),
    "the end of input is ignored": ("self.wants = Wants.CLOSED\n        return None", "pass\n        return None"),
    "half a line is a good end": ("            if line:\n", "            if False:\n"),
}
numbers = st.lists(st.integers(0, 999), min_size=1, max_size=4)
lines = st.lists(numbers.map(lambda each: " ".join(map(str, each)).encode() + b"\n"), max_size=4).map(b"".join)


def examples(core: ModuleType) -> str:
    """Return whether the core passes three examples that somebody has written by hand."""
    for stream, expected in (b"2 3\n", [[2, 3]]), (b"10 20 30\n", [[10, 20, 30]]), (b"x\n", None):
        connection = core.Connection()
        connection.receive_data(stream)
        try:
            got = [event.values for event in connection.events()]
        except RemoteProtocolError:
            got = None
        if got != expected:
            return "fail"
    return "pass"


def laws(core: ModuleType) -> str:
    """Return whether the laws 2 to 6 hold, or which of them is broken."""
    try:
        check(Subject(lambda: core.Connection(limit=100), lines, limit=100), examples=15, seed=1)
    except LawBroken as broken:
        return f"broken: {str(broken).partition('.')[0]}"  # law 2. However the bytes are cut, ...
    return "hold"


for name, (old, new) in MUTANTS.items():
    assert old in SOURCE
    core = ModuleType("mutant")
    sys.modules["mutant"] = core  # dataclasses look up the module of a class
    exec(SOURCE.replace(old, new, 1) if old else SOURCE, core.__dict__)
    print(f"{name:35}  examples: {examples(core)}  laws: {laws(core)}")
