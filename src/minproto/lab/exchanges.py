r"""The exchanges that the stepper offers: streams with a title, some cuts, and a sentence that says what to look at.

The rest of its offer is the ledger: each wrong example that a core refuses (``apart.wrong_examples``).
"""

from typing import NamedTuple

from minproto.lab.apart import OPENINGS

_GET = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
_CHUNKED = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\n\r\n"
_COMMANDS = b"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n*1\r\n$4\r\nPING\r\n*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$2\r\nhi\r\n"


class Exchange(NamedTuple):
    """A stream to begin with."""

    title: str
    protocol: str
    role: str
    data: bytes
    cuts: tuple[int, ...]
    look: str
    """One or two sentences that say where to look."""


EXCHANGES = (
    Exchange("Two requests on one connection", "http1-request", "server", _GET + _GET, (9, 34, 36),
             "The cuts are anywhere, and the events are the same. The core reads the second request only when the owner has "
             "answered the first one."),
    Exchange("A chunked body", "http1-request", "server", _CHUNKED, (59, 62, 73),
             "The content has no length. Each chunk tells its own size in hexadecimal. A chunk of size 0 ends the content."),
    Exchange("A smuggled request", "http1-request", "server",
             b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 48\r\nTransfer-Encoding: chunked\r\n\r\n"
             b"0\r\n\r\nGET /admin HTTP/1.1\r\nX-Ignored: ignored\r\n\r\n", (),
             "A program that obeys Content-Length takes GET /admin for content. A program that obeys Transfer-Encoding takes "
             "it for the next request. Our core refuses the head, so nobody can hide a request in it."),
    Exchange("A response of unknown length", "http1-response", "client",
             b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nHello, World!", (50,),
             "Only the end of input ends this content. EndOfMessage comes with the last step."),
    Exchange("A fragmented WebSocket message", "websocket", "server",
             bytes.fromhex("01 83 37fa213d 7f9f4d 89 80 37fa213d 80 82 37fa213d 5b95 88 82 37fa213d 3412"), (1, 9),
             "The message is Hello, in two frames. A Ping is allowed between the fragments, and it is answered at once."),
    Exchange("A character cut in two", "sse", "client", "id: 7\ndata: gr\u00fc\u00dfe\n\nretry: 2000\n\n".encode(), (15,),
             "The cut is inside of \u00fc, whose two bytes are c3 bc. A program that decodes each piece alone fails here. "
             "The core decodes whole lines."),
    Exchange("A RESP pipeline", "resp", "server",
             _COMMANDS, (),
             "Three commands arrive in one piece. A subscriber may send PING but, in version 2 of RESP, not PUBLISH."),
    Exchange("Replies of Redis", "resp", "client", b"+OK\r\n:42\r\n*2\r\n$5\r\nhello\r\n$-1\r\n-ERR no such key\r\n", (6, 19),
             "The first byte of each value is its type. An array is one Reply, however many values it has."),
    Exchange("SETTINGS and a request of HTTP/2", "http2", "server",
             OPENINGS["http2", "server"] + bytes.fromhex("000009 01 05 00000001 82 86 84 41 04 612e6578"), (24, 33),
             "The preface comes first, then SETTINGS, which our side acknowledges. HEADERS opens stream 1; END_STREAM "
             "closes the client's half of it."),
    Exchange("A response of HTTP/2, and credit", "http2", "client",
             OPENINGS["http2", "client"] + bytes.fromhex("000001 01 04 00000001 88 000005 00 01 00000001 68656c6c6f"), (),
             "The client has asked on the streams 1, 3 and 5. DATA uses up credit of two windows: that of stream 1, and that "
             "of the connection. The end of input is a fault, since the streams 3 and 5 have no response yet."),
)  # fmt: skip
