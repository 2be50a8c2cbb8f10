"""Wrong frames for the real core of HTTP/2. Some end their stream, and some end the connection."""

from minproto import http2_frames as frames
from minproto.core import RemoteProtocolError, Role
from minproto.http2 import Connection, StreamFault

GET = bytes.fromhex("82 86 84 41 01 61")  # GET, http, /, and the authority "a"


def head(stream: int, block: bytes = GET, flags: int = frames.END_HEADERS | frames.END_STREAM) -> bytes:
    return frames.encode_frame(frames.HEADERS, flags, stream, block)


def data(stream: int, content: bytes = b"hello") -> bytes:
    return frames.encode_frame(frames.DATA, frames.END_STREAM, stream, content)


PING = frames.encode_frame(frames.PING, 0, 0, bytes(8))
WRONG = {
    "no :path": head(3, bytes.fromhex("82 86 41 01 61")),
    "a name with a capital letter": head(3, GET + b"\x00\x01X\x01y"),
    "5 bytes, and Content-Length is 4": head(3, GET + b"\x0f\x0d\x014", frames.END_HEADERS) + data(3),
    "DATA behind END_STREAM": head(3) + data(3),
    "credit of 0 for a stream": head(3) + frames.encode_window_update(3, 0),
    "credit of 0 for the connection": frames.encode_window_update(0, 0),
    "DATA on an idle stream": data(3),
    "an even number": head(2),
    "an entry that no table has": head(3, b"\xff\x00"),
    "PING in the middle of a field block": head(3, GET, frames.END_STREAM) + PING,
    "a frame of 16,385 bytes": data(1, bytes(16_385)),
}


def answer(wrong: bytes) -> str:
    server = Connection(Role.SERVER)
    server.send(server.greeting())
    server.receive_data(frames.PREFACE + frames.encode_settings([]) + head(1) + wrong)
    try:
        fault = next(event for event in server.events() if isinstance(event, StreamFault))
        return f"RST_STREAM of stream {fault.stream}  {frames.code_name(fault.code)}"
    except RemoteProtocolError as error:
        (goaway,) = server.farewell(error)
        return f"GOAWAY, last stream {goaway.last}   {frames.code_name(goaway.code)}"


for what, wrong in WRONG.items():
    print(f"{what:36} {answer(wrong)}")
