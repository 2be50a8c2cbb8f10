"""Reference answer to websocket/5: UTF-8 across fragments."""

from codecs import getincrementaldecoder


class TextChecker:
    """Decode text in pieces."""

    def __init__(self) -> None:
        self.decoder = getincrementaldecoder("utf-8")("strict")

    def add(self, piece: bytes, last: bool) -> str:
        """Return the characters that are complete now. Raises ValueError."""
        return self.decoder.decode(piece, last)
