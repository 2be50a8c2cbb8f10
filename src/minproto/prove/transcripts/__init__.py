"""What a server answers, as one line of words for each protocol.

A transcript reads what the server sends, strictly, with the parsers of our cores, and writes a word for everything that a
client can see. It has no socket and no clock, as a core: bytes in, words out.

    transcript = TRANSCRIPTS["http1"](case, target)
    transcript.opening()                                  b"": HTTP/1.1 begins with the request
    transcript.receive(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    transcript.words                                      ["204"]

Each class says in its docstring which words it writes. "closed", "reset", "open" or "silent" follows at the end of the line.
"""

from collections.abc import Callable

from minproto.prove.case import Case
from minproto.prove.target import Target
from minproto.prove.transcripts.base import Transcript
from minproto.prove.transcripts.http1 import Http1
from minproto.prove.transcripts.http2 import Http2
from minproto.prove.transcripts.resp import Resp
from minproto.prove.transcripts.sse import EventStream
from minproto.prove.transcripts.tunnel import Tunnel
from minproto.prove.transcripts.websocket import WebSocket

TRANSCRIPTS: dict[str, Callable[[Case, Target], Transcript]] = {
    "http1": Http1, "http2": Http2, "websocket": WebSocket, "tunnel": Tunnel, "sse": EventStream, "resp": Resp,
}  # fmt: skip
"""The protocol of a case, or what it speaks -> what reads the answer. A tunnel is a WebSocket over HTTP/2."""
PROTOCOLS = tuple(name for name in TRANSCRIPTS if name != "tunnel")
"""The protocols that cases are about."""
ALPN = {"http1": "http/1.1", "http2": "h2", "websocket": "http/1.1", "tunnel": "h2", "sse": "http/1.1", "resp": ""}
"""The protocol of a case -> what ALPN offers to a target with TLS; "": ALPN is not used."""
