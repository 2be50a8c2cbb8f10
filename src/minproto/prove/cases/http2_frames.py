"""HTTP/2: frames and their headers (RFC 9113 §4, §6)."""

from minproto.http2_frames import DATA, PING
from minproto.prove.case import Case
from minproto.prove.frames import frame


def connection_error(code: str) -> tuple[str, str]:
    """Return the right and the acceptable transcripts of a connection error.

    §5.4.1: the server closes the connection, and should say GOAWAY with the code first."""
    return rf"goaway={code} closed", rf"(.* )?(goaway=\w+ )?(closed|reset)|.*goaway={code} open"


_PROTOCOL = connection_error("PROTOCOL_ERROR")
CASES = (
    Case("http2/frames/ping", "", (frame(PING, 0, 0, b"12345678"),), right="pong open", why="A client measures the delay."),
    Case("http2/frames/data-on-stream-0", "9113-6.1-data-has-a-stream", (frame(DATA, 0, 0, b"hi"),), *_PROTOCOL),
)
