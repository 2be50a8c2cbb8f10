"""Reference answer to http1/5: keep-alive or close."""


def keeps_alive(version: str, fields: list[tuple[str, str]]) -> bool:
    """Return whether the connection may be used for another request."""
    values = [value.lower() for name, value in fields if name == "connection"]
    options = {option.strip(" \t") for value in values for option in value.split(",")}
    if "close" in options:
        return False
    return version == "1.1" or "keep-alive" in options
