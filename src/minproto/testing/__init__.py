"""Tools for tests, our own and yours: cuts, strategies, the laws, an in-memory network and a virtual clock.

``check(Subject(make=MyParser, streams=strategies.request_streams, limit=1_000))`` runs the laws on your own parser. See
``docs/python-parser.md`` for what a parser needs, and for the strategies. ``check_group(MyQueue)`` runs the laws of consumer
groups on your own queue (``group_laws.py``).

This package needs hypothesis: ``pip install '.[testing]'`` in a clone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minproto.testing import strategies
    from minproto.testing.cuts import byte_by_byte, chunks, cut, mutated, whole
    from minproto.testing.decorator import obeys
    from minproto.testing.group_laws import GroupLawBroken, WorkQueue, check_group
    from minproto.testing.laws import LawBroken, Subject, Trace, check, check_law, trace
    from minproto.testing.programs import Program
    from minproto.testing.streams import STREAMS

__all__ = [
    "STREAMS", "GroupLawBroken", "LawBroken", "Program", "Subject", "Trace", "WorkQueue", "byte_by_byte", "check",
    "check_group", "check_law", "chunks", "cut", "mutated", "obeys", "strategies", "trace", "whole",
]  # fmt: skip

_MODULES = {
    "GroupLawBroken": "group_laws", "WorkQueue": "group_laws", "check_group": "group_laws",
    "STREAMS": "streams", "Program": "programs", "byte_by_byte": "cuts", "chunks": "cuts", "cut": "cuts", "mutated": "cuts",
    "obeys": "decorator", "whole": "cuts",
}  # fmt: skip
"""The module of each name. All others are in ``laws``."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first used (PEP 562).

    So ``import minproto.testing.mutants`` loads no core: a mutant has to be in place before its module is imported.
    """
    if name not in __all__:
        raise AttributeError(f"module 'minproto.testing' has no attribute {name!r}")
    if name == "strategies":
        return import_module("minproto.testing.strategies")
    module = import_module(f"minproto.testing.{_MODULES.get(name, 'laws')}")
    return getattr(module, name)
