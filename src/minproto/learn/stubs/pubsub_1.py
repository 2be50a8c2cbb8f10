"""pubsub/1: replies. Fill in what is missing."""

from typing import Any


def encode_reply(value: Any) -> bytes:
    """Return the bytes of a reply. Raises ValueError for a value that RESP has no form for."""
    raise NotImplementedError
