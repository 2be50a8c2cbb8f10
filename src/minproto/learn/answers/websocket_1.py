"""Reference answer to websocket/1: the accept key."""

import base64
import hashlib

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(key: str) -> str:
    """Return the value of Sec-WebSocket-Accept for a key. Raises ValueError for a key that is not 16 bytes."""
    if len(base64.b64decode(key, validate=True)) != 16:
        raise ValueError("not a key of 16 bytes")
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
