"""websocket/5: UTF-8 across fragments. Fill in what is missing."""


class TextChecker:
    """Decode text in pieces."""

    def __init__(self) -> None:
        self.held = b""  # the bytes of a character that is not complete

    def add(self, piece: bytes, last: bool) -> str:
        """Return the characters that are complete now. Raises ValueError."""
        raise NotImplementedError
