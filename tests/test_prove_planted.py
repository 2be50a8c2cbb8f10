"""Each calm case of HTTP/1.1, HTTP/2 and RESP can be wrong: a wrong server that answers the right request fails it."""

from collections import Counter
from functools import cache
from itertools import chain

import pytest
from planted import SERVERS, Served, Wrong

from minproto.aio.address import Address
from minproto.prove.case import Verdict
from minproto.prove.cases import CASES
from minproto.prove.controls import CONTROLS
from minproto.prove.runner import Result, play
from minproto.prove.target import PATHS
from minproto.testing.clock import run

CALM = [case for case in CASES if case.group.split("/")[1] not in ("hostile", "slow")]


EXCUSED = {
    "http2/frames/preface-wrong-at-its-20th-byte": "A server may wait for the last four bytes, so silence is acceptable.",
    "http2/semantics/content-length": "It sends the right request, and a missing Content-Length is acceptable.",
    "http2/semantics/get": "It sends the right request. A server that fails the right request is not asked.",
    "http2/settings/allow-streams": "It sends the right request, and no stream at first is acceptable: a SHOULD.",
    "http2/settings/no-push": "It sends the right request. A server that pushes fails the right request, too.",
    "http2/settings/of-the-server": "It sends the right request. Values out of range fail the right request, too.",
    "resp/connection/ping": "It sends the right request. A server that fails the right request is not asked.",
}
"""The cases that no server of ``planted`` fails -> the reason."""
NOT_HTTP2 = {"http2/frames/preface-wrong", "http2/frames/preface-wrong-at-its-20th-byte"}
"""After a wrong preface a server may answer in HTTP/1.1, so these cases do not look for bytes that are no HTTP/2."""


async def answers_of(protocol: str, make: type[Wrong]) -> list[Result]:
    """Return the results of the calm cases on one server, which answers the right request rightly."""
    target = Served(Address("127.0.0.1", 8000), dict(PATHS), "a", 1.0)
    target.make = make
    control = await play(CONTROLS[protocol], target)
    assert control.verdict is Verdict.RIGHT, f"{make.__name__}: {control.transcript}"
    return [await play(case, target) for case in CALM if case.protocol == protocol]


@cache
def answers(protocol: str) -> dict[str, list[Result]]:
    """Return the results on each wrong server of a protocol, by the name of the server."""
    return {make.__name__: run(answers_of(protocol, make)) for make in SERVERS[protocol]}


@pytest.mark.parametrize("protocol", SERVERS)
def test_each_calm_case_is_failed_by_a_wrong_server(protocol: str) -> None:
    """``pytest -rP`` prints how many cases each server fails, and how many servers fail a case."""
    wrong = {
        name: {result.case.name for result in results if result.verdict is Verdict.WRONG}
        for name, results in answers(protocol).items()
    }
    failed = Counter(name for names in wrong.values() for name in names)
    print(protocol, {name: len(names) for name, names in wrong.items()}, dict(sorted(Counter(failed.values()).items())))
    idle = {case.name for case in CALM if case.protocol == protocol} - set(failed)
    assert idle == {name for name in EXCUSED if name.startswith(f"{protocol}/")}


def test_no_case_of_http2_forgives_a_push_or_malformed_bytes() -> None:
    """An answer that is not wrong becomes wrong if the server also pushes, or sends bytes that are no HTTP/2."""
    for result in chain.from_iterable(answers("http2").values()):
        *words, end = result.transcript.split()
        if result.verdict is not Verdict.WRONG and result.case.name not in NOT_HTTP2:
            for answer in (["push", *words, end], [*words, "malformed", end]):
                assert result.case.judge(" ".join(answer)) is Verdict.WRONG, f"{result.case.name}: {answer}"
