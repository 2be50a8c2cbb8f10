"""http1/4: request framing without smuggling. Fill in what is missing."""


def framing(version: str, fields: list[tuple[str, str]]) -> int | str:
    """Return "chunked", or the length of the content; 0 means that there is none. Raises ValueError."""
    raise NotImplementedError
