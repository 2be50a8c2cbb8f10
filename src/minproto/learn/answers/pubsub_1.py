"""Reference answer to pubsub/1: replies."""

from typing import Any


def encode_reply(value: Any) -> bytes:
    """Return the bytes of a reply. Raises ValueError for a value that RESP has no form for."""
    if isinstance(value, str):
        if "\r" in value or "\n" in value:
            raise ValueError("a status is one line")
        return b"+%b\r\n" % value.encode()
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(encode_reply, value))
    raise ValueError(f"no form for a {type(value).__name__}")
