"""What the exercises expect is what minproto does: its cores, in the form of answers, pass.

So a mistake in a reference answer would show: the reference answer says what is expected, and the core disagrees.
"""

import os
from typing import Any

import pytest
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from minproto.learn import load
from minproto.learn.judge import Local, judge
from minproto.learn.report import report
from minproto.learn.session import load as load_module
from minproto.prove.source import locate

EXAMPLES = int(os.environ.get("MINPROTO_EXAMPLES", "6"))

ANSWERS = {
    "http1/2": """
from minproto.buffer import Buffer
from minproto.core import RemoteProtocolError
from minproto.http1 import REQUEST, HeadReader, Limits

def parse_head(head):
    buffer = Buffer(len(head))
    buffer.append(head + b"\\r\\n\\r\\n")
    try:
        found = HeadReader(REQUEST, Limits()).read(buffer)
    except RemoteProtocolError as error:
        raise ValueError from error
    if found is None or buffer.size or found[0][2][:7] != "HTTP/1.":
        raise ValueError
    method, target, version = found[0]
    return method, target, version[5:], list(found[1])
""",
    "http1/3": """
from minproto.buffer import Buffer
from minproto.core import RemoteProtocolError
from minproto.http import EndOfMessage
from minproto.http1 import REQUEST, HeadReader, Limits
from minproto.http1_body import ChunkedReader as Core

class ChunkedReader:
    def __init__(self, limit):
        self.buffer, self.closed, self.error = Buffer(1 << 30), False, None
        trailers = HeadReader(REQUEST, Limits(max_head=limit), "name")
        self.core = Core(1 << 64, limit, 1 << 30, trailers.read)

    @property
    def buffered(self):
        return self.buffer.size

    def receive_data(self, data):
        if self.error is None and not self.closed:
            self.buffer.append(data)
            try:
                while event := self.core.read(self.buffer):
                    if isinstance(event, EndOfMessage):
                        self.closed = True
                        self.buffer.skip(self.buffer.size)
                        yield {"type": "EndOfMessage", "trailers": [list(each) for each in event.trailers]}
                        return
                    yield {"type": "Data", "data": event.data}
            except RemoteProtocolError as error:
                self.error = ValueError(str(error))
        if self.error is not None:
            raise self.error

    def receive_eof(self):
        if self.error is None and not self.closed:
            self.error = ValueError("cut short")
        if self.error is not None:
            raise self.error
        return []
""",
    "http1/4": """
from minproto.core import RemoteProtocolError
from minproto.http1 import ContentLength, request_framing

def framing(version, fields):
    joined = {}
    for name, value in fields:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    try:
        found = request_framing(version, joined, RemoteProtocolError)
    except RemoteProtocolError as error:
        raise ValueError from error
    return found.length if isinstance(found, ContentLength) else "chunked"
""",
    "http1/5": """
from minproto.http1 import persists

def keeps_alive(version, fields):
    values = [value for name, value in fields if name == "connection"]
    return persists(version, {"connection": ", ".join(values)} if values else {})
""",
    "sse/1": """
from minproto.sse import parse_line as ours

def parse_line(line):
    return ours(line) if ours(line)[0] else None
""",
    "sse/4": """
from minproto.core import CLIENT
from minproto.sse import Comment, Connection, LastEventId, Retry, ServerSentEvent

class StreamReader:
    def __init__(self):
        self.core, self.last_id = Connection(CLIENT), ""

    def receive_data(self, data):
        self.core.receive_data(data)
        for event in self.core.events():
            match event:
                case Comment(text):
                    yield {"type": "Comment", "text": text}
                case Retry(milliseconds):
                    if milliseconds < 10**9:
                        yield {"type": "Retry", "milliseconds": milliseconds}
                case LastEventId(id):
                    self.last_id = id
                case ServerSentEvent(data, name, id):
                    self.last_id = self.last_id if id is None else id
                    yield {"type": "Event", "event": name, "data": data, "id": self.last_id}

    def receive_eof(self):
        return []
""",
    "websocket/1": """
from minproto.websocket_handshake import _KEY, accept_key as ours

def accept_key(key):
    if not _KEY.fullmatch(key):
        raise ValueError
    return ours(key)
""",
    "websocket/2": """
from minproto.websocket import mask as ours

def mask(payload, key, offset=0):
    return ours(payload, key[offset % 4:] + key[:offset % 4])
""",
    "pubsub/1": """
from minproto.core import LocalProtocolError
from minproto.resp import Simple, encode_value

def simple(value):
    if isinstance(value, list):
        return [simple(each) for each in value]
    if value is not None and type(value) not in (str, bytes, int):
        raise ValueError
    return Simple(value) if isinstance(value, str) else value

def encode_reply(value):
    try:
        return encode_value(simple(value))
    except LocalProtocolError as error:
        raise ValueError from error
""",
    "pubsub/2": """
from minproto.core import RemoteProtocolError
from minproto.resp import parse_inline as ours

def parse_inline(line):
    try:
        return ours(line)
    except RemoteProtocolError as error:
        raise ValueError from error
""",
    "pubsub/4": """
from minproto.broker import glob

def matches(pattern, topic):
    return glob(pattern).fullmatch(topic.encode()) is not None
""",
    "http2/2": """
from hpack.exceptions import HPACKDecodingError
from hpack.hpack import decode_integer as theirs, encode_integer as encoded

def decode_integer(data, prefix):
    full = (1 << prefix) - 1
    if data and data[0] & full == full and len(data) > 5 and all(byte >= 0x80 for byte in data[1:6]):
        raise ValueError
    try:
        value, size = theirs(data, prefix)
    except HPACKDecodingError:
        return None
    if value > 0xFFFF_FFFF:
        raise ValueError
    return value, size

def encode_integer(value, prefix):
    return bytes(encoded(value, prefix))
""",
}
"""The name of an exercise -> an answer made of a core. Exercises with rules of their own (limits, say) have none."""


def load_answer(name: str) -> Any:
    file = load()[name].answer
    return load_module(file.read_text("utf-8"), str(file))


@pytest.mark.parametrize("name", ANSWERS)
def test_a_core_passes_the_exercise(name: str) -> None:
    exercise = load()[name]
    failure = judge(exercise, Local(exercise, ANSWERS[name], "core.py"), EXAMPLES)
    assert failure is None, "\n".join(report(failure))


def test_each_exercise_names_the_core_that_does_the_same() -> None:
    for exercise in load().values():
        assert locate(exercise.core).text, exercise.name


@given(st.lists(st.tuples(st.sampled_from(["a", ":path", "x-a"]), st.text("ab/ ", max_size=3)), max_size=4))
def test_a_field_block_is_read_as_hpack_wrote_it(fields: list[tuple[str, str]]) -> None:
    encoder = Encoder()
    encoder.header_table_size = 0
    block = encoder.encode([("a", "b"), *fields], huffman=False)
    answer = load_answer("http2/3")
    assert answer.decode_block(block.removeprefix(b"\x20")) == [("a", "b"), *fields]
