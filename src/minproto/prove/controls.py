"""A right request of each protocol: the target has to answer it before and after every case."""

from minproto.prove.case import Case
from minproto.prove.frames import GET, Head
from minproto.websocket import FIN, TEXT, encode_frame

KEY = bytes.fromhex("37fa213d")
"""The masking key of the frames in RFC 6455 §5.7."""
HELLO = encode_frame(FIN | TEXT, b"hello", KEY)
OK = r"(?!40[08]|41[147]|426|431)[2-4]\d\d"
"""The pattern of a status that a path may answer to a right request of HTTP/1.1: anything but a refusal of its bytes."""

CONTROLS = {
    "http1": Case(
        "http1/control/get", "", (b"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",),
        right=rf"(1\d\d )*{OK} (open|closed)",
    ),
    "http2": Case("http2/control/get", "", (Head(1, GET),), right=r"(1:1\d\d )*1:[234]\d\d 1:end open"),
    "websocket": Case("websocket/control/echo", "", (HELLO,), right=r"text=\[hello\] open"),
    "sse": Case(
        "sse/control/get", "", (b"GET {events} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n",),
        right=r"200\+? content-type=text/event-stream.* (open|closed)", shows=("content-type",),
    ),
    "resp": Case("resp/control/ping", "", (b"*1\r\n$4\r\nPING\r\n",), right=r"\+PONG open"),
}  # fmt: skip
"""The transcript that reads the answers -> the case."""
