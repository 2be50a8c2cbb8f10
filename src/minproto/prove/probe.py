"""Find out what a target speaks, and which needs of the cases it meets.

Each finding is a request that a careful client could send. If the target gives no right answer to the right request of a
protocol, it does not speak that protocol. Then the cases of the protocol are left out, and the user is told the protocol and
the answer.
"""

from collections.abc import Iterable

from minproto.http2_frames import DATA, END_HEADERS, END_STREAM
from minproto.prove.case import Case, Verdict
from minproto.prove.controls import CONTROLS, HELLO
from minproto.prove.frames import Head, fields, frame
from minproto.prove.runner import Result, play
from minproto.prove.target import Target

_POST = b"POST %s HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
_MORE_THAN_A_WINDOW = r"(6555[6-9]|655[6-9]\d|65[6-9]\d\d|6[6-9]\d{3}|[7-9]\d{4}|\d{6,})"
_HANDSHAKE = (
    b"GET {ws} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


def _posts(name: str) -> tuple[Head, bytes]:
    """Return the steps of a POST over HTTP/2."""
    return Head(1, fields("POST", path=f"{{{name}}}"), END_HEADERS), frame(DATA, END_STREAM, 1, b"hello")


PROBES = (
    ("post", Case("http1/probe/post", "", (_POST % b"{post}",), right=r"(100 )?2\d\d (open|closed)")),
    ("echo", Case(
        "http1/probe/echo", "", (_POST % b"{echo}",), right=r"2\d\d content=\[hello\] (open|closed)", shows=("content",),
    )),
    ("large", Case(
        "http1/probe/large", "", (b"GET {large} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",),
        right=rf"200 length={_MORE_THAN_A_WINDOW} (open|closed)", shows=("length",),
    )),
    ("post", Case("http2/probe/post", "", _posts("post"), right=r"1:2\d\d 1:end( 1:NO_ERROR)? open")),
    ("echo", Case("http2/probe/echo", "", _posts("echo"), right=r"1:2\d\d 1:data=5 1:end open", shows=("data",))),
    ("large", Case(
        "http2/probe/large", "", (Head(1, fields("GET", path="{large}")),), right="1:200 1:data=65535 open", shows=("data",),
    )),
    ("deflate", Case(
        "websocket/probe/deflate", "", (_HANDSHAKE,), right=r"101 sec-websocket-extensions=permessage-deflate.* open",
        shows=("sec-websocket-extensions",), speaks="http1",
    )),
    ("connect", Case("websocket/probe/connect", "", (HELLO,), right=r"text=\[hello\] open", speaks="tunnel")),
)  # fmt: skip
"""A need, and a request that shows whether it is met. One of several is enough."""
NEEDS_OF = {"http2": "http2", "websocket": "websocket", "sse": "events"}
"""A protocol that is also a need of other protocols' cases."""


_SWITCH = Case("websocket/probe/switch", "", (_HANDSHAKE,), right="101 open", speaks="http1")


async def probe(target: Target, only: Iterable[str]) -> dict[str, Result]:
    """Note in ``target`` what it speaks and meets. Return the answer to the right request of each protocol of ``only``."""
    answers = {}
    for name in only:
        answers[name] = await play(CONTROLS[name], target)
        if answers[name].verdict is Verdict.RIGHT:
            target.speaks.add(name)
    for name, need in NEEDS_OF.items():
        answer = answers[name] if name in answers else await play(CONTROLS[name], target)
        if answer.verdict is Verdict.RIGHT:
            target.meets.add(need)
    if "websocket" in answers and "websocket" not in target.speaks and await _switches(target):
        target.speaks.add("websocket")
        target.unsound.add("websocket")
    if not target.tls:
        target.meets.add("clear")
    for need, case in PROBES:
        if need not in target.meets and case.protocol in target.speaks | target.meets:
            if (await play(case, target)).verdict is Verdict.RIGHT:
                target.meets.add(need)
    return answers


async def _switches(target: Target) -> bool:
    """Return whether a handshake gets a 101, though the WebSocket does not work: the cases of the handshake tell why."""
    return (await play(_SWITCH, target)).verdict is Verdict.RIGHT
