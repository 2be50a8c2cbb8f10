"""websocket/2: masking. Fill in what is missing."""


def mask(payload: bytes, key: bytes, offset: int = 0) -> bytes:
    """Return the payload with the mask put on, or taken off. ``offset``: the bytes of this payload before it."""
    raise NotImplementedError
