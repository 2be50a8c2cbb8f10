"""Count calls: how many functions of minproto run for one request, in the plain core and in the fast one."""

import sys
from collections import Counter
from types import FrameType

from minproto import http1, websocket
from minproto.core import Core, Event, Role
from minproto.fast import http1 as fast_http1
from minproto.fast import websocket as fast_websocket
from minproto.websocket_handshake import Agreement

GET = b"GET /hello HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nCookie: a=1\r\n\r\n"
TEXT = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"


def count(core: Core, data: bytes) -> tuple[int, list[Event]]:
    """Feed a core. Return how many functions have run, and the events."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, kind: str, _: object) -> None:
        if kind == "call" and "minproto" in frame.f_code.co_filename and not frame.f_code.co_name.startswith("<"):
            calls[frame.f_code.co_name] += 1

    sys.setprofile(note)
    core.receive_data(data)
    events = list(core.events())
    sys.setprofile(None)
    return calls.total(), events


for name, data, plain, fast, options in (
    ("a request of HTTP/1.1", GET, http1.Connection, fast_http1.Connection, ()),
    ("a WebSocket message", TEXT, websocket.Connection, fast_websocket.Connection, (Agreement(),)),
):
    many, events = count(plain(Role.SERVER, *options), data)
    few, same = count(fast(Role.SERVER, *options), data)
    print(f"{name}: {many} calls in the plain core, {few} in the fast one, equal events: {events == same}")
