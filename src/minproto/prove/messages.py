r"""What the cases of WebSocket send, and what they expect: frames of a client, and patterns of the answers.

    sent(FIN | TEXT, b"Hello")      81 85 37fa213d 7f9f4d5158, the masked frame of RFC 6455 §5.7
    echo("Hello")                   text=\[Hello\], the pattern for this message
    fault("frames/rsv2", …)         a case whose frames have to fail the connection
"""

import re
import struct
from typing import Any

from minproto.prove.case import Case, Reply, Step
from minproto.prove.transcripts.websocket import shown
from minproto.websocket import BINARY, CLOSE, FIN, TEXT, encode_frame

KEY = bytes.fromhex("37fa213d")
"""The masking key of the frames in RFC 6455 §5.7."""


def sent(first: int, payload: bytes = b"", key: bytes = KEY) -> bytes:
    """Return a frame of a client. ``first``: its first byte."""
    return encode_frame(first, payload, key)


def message(data: str | bytes) -> bytes:
    """Return a message in one frame."""
    return sent(FIN | TEXT, data.encode()) if isinstance(data, str) else sent(FIN | BINARY, data)


def closing(code: int = 1000, reason: bytes = b"") -> bytes:
    """Return a Close."""
    return sent(FIN | CLOSE, struct.pack("!H", code) + reason)


def echo(*messages: str | bytes) -> str:
    """Return the pattern for these messages."""
    return " ".join([re.escape(shown(each)) for each in messages])


def echoed(name: str, entry: str, *steps: Step, gives: str | bytes | tuple[str | bytes, ...], **more: Any) -> Case:
    """Return a case whose messages come back, and after which the WebSocket is open."""
    messages = gives if isinstance(gives, tuple) else (gives,)
    return Case(f"websocket/{name}", entry, steps, right=f"{echo(*messages)} open", **more)


def fault(name: str, entry: str, *steps: Step, code: int = 1002, before: str = "", leeway: str = "", **more: Any) -> Case:
    """Return a case whose frames have to fail the connection (RFC 6455 §7.1.7).

    A server should send a Close with the code that fits, and has to close the connection. We answer its Close, since a server
    may wait for that: only a SHOULD (§7.1.1) asks it to close at once. ``before``: the pattern of what comes before the fault.
    ``leeway``: the pattern of other answers that the standard leaves open.
    """
    steps = (*steps, Reply(r"close=\d+", closing(code)))
    otherwise = rf"{before}(close=\d+ )?(closed|reset)" + (f"|{leeway}" if leeway else "")
    return Case(f"websocket/{name}", entry, steps, right=rf"{before}close={code} closed", acceptable=otherwise, **more)


def closed(name: str, entry: str, *steps: Step, codes: str = "1000", before: str = "", leeway: str = "", **more: Any) -> Case:
    """Return a case that ends with a Close of ours, which the server has to answer, and then close the connection at once.

    It should close the connection cleanly (§7.1.1), and not by a reset.
    """
    answer = rf"{before}close=({codes})"
    otherwise = f"{answer} reset" + (f"|{leeway}" if leeway else "")
    return Case(f"websocket/{name}", entry, steps, right=f"{answer} closed", acceptable=otherwise, **more)
