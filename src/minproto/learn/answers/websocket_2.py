"""Reference answer to websocket/2: masking."""


def mask(payload: bytes, key: bytes, offset: int = 0) -> bytes:
    """Return the payload with the mask put on, or taken off. ``offset``: the bytes of this payload before it."""
    return bytes(byte ^ key[(offset + at) % 4] for at, byte in enumerate(payload))
