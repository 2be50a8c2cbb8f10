"""pubsub/2: inline commands. Fill in what is missing."""


def parse_inline(line: bytes) -> list[bytes]:
    """Return the words of a line. Raises ValueError for a quote that is not closed, or that something follows."""
    raise NotImplementedError
