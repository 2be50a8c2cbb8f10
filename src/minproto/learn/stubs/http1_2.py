"""http1/2: the request line and the fields. Fill in what is missing."""


def parse_head(head: bytes) -> tuple[str, str, str, list[tuple[str, str]]]:
    r"""Return (method, target, version, fields) of b"GET / HTTP/1.1\r\nHost: a". Raises ValueError."""
    raise NotImplementedError
