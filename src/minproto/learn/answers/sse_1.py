"""Reference answer to sse/1: fields and lines."""


def parse_line(line: str) -> tuple[str, str] | None:
    """Return the name and the value of a field; None for a comment."""
    name, _, value = line.partition(":")
    return (name, value.removeprefix(" ")) if name else None
