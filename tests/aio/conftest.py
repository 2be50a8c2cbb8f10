"""No error is logged that a test did not expect."""

import logging
from collections.abc import Iterator

import pytest


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
