"""Reference answer to http1/2: the request line and the fields.

The pattern has to match the whole line. A byte that no rule allows makes the match fail, so no attack has to be known by name.
"""

import re

REQUEST_LINE = re.compile(rb"([!#-'*+\-.^-z|~\w]+) ([!$-;=?-~]+) HTTP/(1\.[0-9])", re.ASCII)
FIELD_LINE = re.compile(rb"([!#-'*+\-.^-z|~\w]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*", re.ASCII)


def parse_head(head: bytes) -> tuple[str, str, str, list[tuple[str, str]]]:
    """Return (method, target, version, fields) of a head without its empty line. Raises ValueError."""
    first, *lines = head.split(b"\r\n")
    start = REQUEST_LINE.fullmatch(first)
    if start is None:
        raise ValueError("malformed request line")
    fields = []
    for line in lines:
        found = FIELD_LINE.fullmatch(line)
        if found is None:
            raise ValueError("malformed field line")
        fields.append((found[1].decode().lower(), found[2].decode("latin-1")))
    return start[1].decode(), start[2].decode(), start[3].decode(), fields
