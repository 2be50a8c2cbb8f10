"""Reference answer to http1/4: request framing without smuggling.

All elements of a field are collected before anything is decided. Whatever is not exactly one of the allowed forms is refused.
"""


def framing(version: str, fields: list[tuple[str, str]]) -> int | str:
    """Return "chunked", or the length of the content; 0 means that there is none. Raises ValueError."""
    codings = elements(fields, "transfer-encoding")
    lengths = elements(fields, "content-length")
    if codings:
        if lengths or version == "1.0":
            raise ValueError("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
        if [coding.lower() for coding in codings if coding] != ["chunked"]:
            raise ValueError("unknown transfer coding")
        return "chunked"
    for length in lengths:
        if not (length.isascii() and length.isdigit() and len(length) <= 18):
            raise ValueError("malformed Content-Length")
    if len(set(lengths)) > 1:
        raise ValueError("different Content-Lengths")
    return int(lengths[0]) if lengths else 0


def elements(fields: list[tuple[str, str]], name: str) -> list[str]:
    """Return the elements of all lists in the fields with this name."""
    values = [value for field, value in fields if field == name]
    return [element.strip(" \t") for value in values for element in value.split(",")]
