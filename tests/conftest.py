"""Hypothesis is derandomized in CI, so that a run can be repeated, and random at home, so that it finds new cases. And no
error is logged that a test did not expect."""

import asyncio
import logging
import os
from collections.abc import Iterator

import http2_wire
import loops
import pytest
from hypothesis import HealthCheck, settings

import minproto.fast.http2
import minproto.http2
from minproto.testing import clock

EXAMPLES = int(os.environ.get("MINPROTO_EXAMPLES", "20"))
"""Of each random test. The default is small, so that all tests take less than two minutes on two cores; CI takes 100 once."""

settings.register_profile(
    "ours", derandomize="CI" in os.environ, max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ours")


if loops.LOOP == "eager":

    class _EagerVirtualLoop(clock.VirtualLoop):
        def __init__(self) -> None:
            super().__init__()
            loops.make_eager(self)

    clock.VirtualLoop = _EagerVirtualLoop  # type: ignore[misc]


if loops.LOOP:
    asyncio.set_event_loop_policy(loops.policy())  # for the tests in real time


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[str]]:
    """Errors logged by the server, with traceback. A test that expects some takes them out."""
    handler = _Kept()
    logging.getLogger("minproto").addHandler(handler)
    yield handler.messages
    logging.getLogger("minproto").removeHandler(handler)
    assert handler.messages == []


@pytest.fixture(
    scope="module", params=[minproto.http2.Connection, minproto.fast.http2.Connection], ids=["plain", "fast"]
)
def plain_and_fast(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test of HTTP/2's core is run on the plain core and on the fast one."""
    http2_wire.Connection = request.param
    yield
    http2_wire.Connection = minproto.http2.Connection
