"""The traces in the texts of the source are true: each is run as a doctest, and shows what really happens."""

import doctest
import importlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "minproto"
TRACED = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in sorted([*SOURCE.glob("*.py"), *SOURCE.glob("aio/*.py")])
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", TRACED)
def test_the_traces_of_a_core_are_true(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"minproto.{name}"))
    assert tried and not failed
