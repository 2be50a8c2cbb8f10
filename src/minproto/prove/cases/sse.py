"""Event streams (WHATWG HTML §9.2)."""

from minproto.prove.case import Case

CASES: tuple[Case, ...] = (
    Case(
        "sse/stream/type", "", (b"GET {events} HTTP/1.1\r\nHost: {host}\r\n\r\n",), shows=("content-type",),
        right=r"200\+? content-type=text/event-stream(;\s?charset=utf-8)? (open|closed)",
        needs=frozenset({"events"}), why="A browser refuses a stream of another type.",
    ),
)  # fmt: skip
