"""http1/5: keep-alive or close. Fill in what is missing."""


def keeps_alive(version: str, fields: list[tuple[str, str]]) -> bool:
    """Return whether the connection may be used for another request."""
    raise NotImplementedError
