"""Hypothesis is derandomized in CI, so that a run can be repeated, and random at home, so that it finds new cases. And no
error is logged that a test did not expect."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "home")


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
