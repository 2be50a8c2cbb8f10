"""Tools for tests, our own and yours: cuts, strategies, the laws, an in-memory network and a virtual clock.

``check(Subject(make=MyParser, streams=strategies.request_streams, limit=1_000))`` runs the laws on your own parser. The
README ("Test your own parser") says what a parser needs, and lists the strategies.

This package needs hypothesis: ``pip install '.[testing]'`` in a clone.
"""

from minproto.testing import strategies
from minproto.testing.cuts import byte_by_byte, chunks, cut, mutated, whole
from minproto.testing.laws import LawBroken, Subject, Trace, check, check_law, trace

__all__ = [
    "LawBroken", "Subject", "Trace", "byte_by_byte", "check", "check_law", "chunks", "cut", "mutated", "strategies", "trace",
    "whole",
]  # fmt: skip
