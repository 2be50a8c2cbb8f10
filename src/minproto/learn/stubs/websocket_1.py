"""websocket/1: the accept key. Fill in what is missing."""

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(key: str) -> str:
    """Return the value of Sec-WebSocket-Accept for a key. Raises ValueError for a key that is not 16 bytes."""
    raise NotImplementedError
