"""HTTP/1.1: where a request ends (RFC 9112 §6, §7). Two programs that disagree about it let an attacker smuggle requests."""

from minproto.prove.case import Case

REFUSED = "400 closed"
"""A server cannot know where a request ends whose framing is wrong, so it reads no further."""
REFUSED_OTHERWISE = r"[45]\d\d (closed|reset)|closed|reset|[45]\d\d open"

POST = b"POST {post} HTTP/1.1\r\nHost: {host}\r\n"

CASES = (
    Case(
        "http1/framing/length", "",
        (POST + b"Content-Length: 5\r\n\r\nhello",), right=r"2\d\d open", acceptable=r"2\d\d closed",
        needs=frozenset({"post"}), why="The next request begins after the content.",
    ),
    Case(
        "http1/framing/te-and-cl", "9112-6.1-te-and-cl",
        (POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",),
        right="400 closed", acceptable=r"[2345]\d\d closed",
        issue="https://portswigger.net/research/http-desync-attacks-request-smuggling-reborn",
    ),
)  # fmt: skip
