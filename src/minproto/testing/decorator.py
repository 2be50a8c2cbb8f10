"""``@obeys``: a function that makes a parser becomes a test for pytest, one case for each law.

    from minproto.testing import obeys

    @obeys("http1-request", limit=65_536, against="minproto")
    def test_my_parser():
        return MyParser()

pytest shows ``test_my_parser[any_cutting]`` and four more. ``docs/python-parser.md`` says what a parser
needs, and ``docs/laws.md`` lists the streams.
"""

from collections.abc import Callable
from typing import Any

from minproto.core import Core
from minproto.testing.driver import ignore
from minproto.testing.findings import findings
from minproto.testing.laws import Law, check_law
from minproto.testing.report import LawBroken
from minproto.testing.streams import STREAMS, Reader, chosen_stage

Factory = Callable[[], Any]


def obeys(
    streams: str, *, role: str | None = None, stage: int | None = None, limit: int | None = None, against: str | None = None,
    answer: Callable[[Core, Any], None] = ignore, examples: int | None = None, seed: int | None = None,
) -> Callable[[Factory], Any]:  # fmt: skip
    """Return a decorator that makes a test of a function that returns a new parser. It needs pytest.

    ``streams``: what the parser reads, a name in ``STREAMS``. ``role``: "client" or "server", if both read it. ``stage``: only
    the laws and streams of this stage; None means the whole protocol. ``limit``: the maximum number of bytes that the
    parser may hold; the default is the small limit of these streams, and the parser has to be made with this limit.
    ``against="minproto"``: law 13, too. ``answer``: see ``Subject``. ``examples`` and ``seed``: see ``check``. Raises
    ValueError for a wrong name or number."""
    if streams not in STREAMS:
        raise ValueError(f"no stream is called {streams!r} (there are {', '.join(STREAMS)})")
    if against not in (None, "minproto"):
        raise ValueError(f"against is 'minproto' or None, not {against!r}")
    reader = STREAMS[streams].reader(role)
    chosen = chosen_stage(reader, stage)
    laws = reader.laws(chosen, against=against is not None)

    def decorate(make: Factory) -> Any:
        import pytest

        @pytest.mark.parametrize("law", laws, ids=[law.__name__ for law in laws])
        def test(law: Law) -> None:
            try:
                check_law(law, reader.subject(make, chosen, limit, answer), examples=examples, seed=seed)
            except LawBroken as broken:
                _annotate(broken, reader)
                raise

        test.__name__, test.__doc__, test.__module__ = make.__name__, make.__doc__, make.__module__
        test.__test__ = True  # type: ignore[attr-defined]  # for pytest, whatever the function is called
        return test

    return decorate


def _annotate(broken: LawBroken, reader: Reader) -> None:
    """Add the fields of the bytes to a report: pytest shows the notes of an exception."""
    if lines := findings(reader, broken):
        broken.add_note("\n".join(lines))
