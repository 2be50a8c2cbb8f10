"""The tests' tools, for ours and for yours: cuts, strategies, the laws, an in-memory network and a virtual clock.

Needs hypothesis: ``pip install '.[testing]'`` in a clone.
"""

from minproto.testing.cuts import byte_by_byte, chunks, cut, mutated, whole
from minproto.testing.laws import LawBroken, Subject, Trace, check, check_law, trace

__all__ = ["LawBroken", "Subject", "Trace", "byte_by_byte", "check", "check_law", "chunks", "cut", "mutated", "trace", "whole"]
