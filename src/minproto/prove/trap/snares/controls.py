"""A right answer of each protocol: a client that does not understand it cannot be judged by the snares of this protocol."""

from minproto.http2_frames import DATA, END_STREAM
from minproto.prove.case import Shut
from minproto.prove.trap.frames import Frame, headers
from minproto.prove.trap.snare import Snare
from minproto.websocket import FIN, TEXT, encode_frame

HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
"""A right response of HTTP/1.1."""
HEAD = headers((":status", "200"), ("content-type", "text/plain"))
"""A right head of HTTP/2."""
CONTENT = Frame(DATA, END_STREAM, b"hello")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
)
"""A right answer to the handshake of a WebSocket."""
TEXT_HELLO = encode_frame(FIN | TEXT, b"hello")
CLOSE_1000 = bytes.fromhex("880203e8")
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n"
"""The head of an event stream, which ends with the connection."""
NO_MORE = b"HTTP/1.1 204 No Content\r\n\r\n"
"""The answer that tells a client not to come back for events."""

CONTROLS = {
    "http1": Snare("http1/control/hello", "", (HELLO,), "a right response"),
    "http2": Snare("http2/control/hello", "", (HEAD, CONTENT), "a right response"),
    "websocket": Snare("websocket/control/hello", "", (SWITCH + TEXT_HELLO + CLOSE_1000,), "a message, and a proper end"),
    "sse": Snare("sse/control/hello", "", (STREAM + b"retry: 50\ndata: hello\n\n", Shut()), "an event", again=(NO_MORE,)),
}
"""The protocol -> its right answer."""
