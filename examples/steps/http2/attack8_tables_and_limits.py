"""The attacks on step 8: a lost update, a bomb, and a rapid reset.

The lost update: 100 streams are open, so the server refuses the next one. Step 8 does not read the block of a refused
stream, which adds "/secret" to the client's table. From then on the tables differ. The client's next question, for "/7", names
an entry that the server does not have. Another number would have named another question.

The bomb: the block adds an entry of 4,001 bytes, and then names it 11,990 times, with one byte each. (Python stores the value
once. A program that copies, forwards or logs each field has all of the bytes.)

The rapid reset: the client asks, and at once says "never mind". The stream is closed, so the limit of 100 streams never counts
it. But the app has already made the answer. It prints:

    the block of a refused stream, and then a question for /7
        step8_tables: a fault, code 9: wrong field block: no entry 64
        step9_core:   /7
    a block of 16,000 bytes, whose fields are 4,001 bytes each
        step8_tables: 47,975,991 bytes of fields
        step9_core:   a fault, code 9: wrong field block: the fields are too large
    10,000 questions, each of them reset at once
        step8_tables: 10,000 answers made
        step9_core:   101 answers made, then a fault, code 11: too many resets
"""

from collections.abc import Iterable
from types import ModuleType

import frames
import step8_tables
import step9_core
from frames import END_HEADERS, END_STREAM, HEADERS, PREFACE
from hpack import Encoder


class Server:
    """A step, the number of answers that its app has made, and the number of bytes in its fields."""

    def __init__(self, step: ModuleType) -> None:
        self.step, self.answers, self.sizes = step, [], 0
        self.connection = step.Connection()
        step.answer = self.answer  # steps 1 to 8 call the app by themselves
        fields = self.connection.table.fields
        self.connection.table.fields = lambda *arguments: self.counted(fields(*arguments))

    def answer(self, target: bytes, count: int) -> bytes:
        self.answers.append(target)
        return b""

    def counted(self, fields: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
        for name, value in fields:
            self.sizes += len(name) + len(value)
            yield name, value

    def receive(self, data: bytes) -> None:
        self.connection.receive_data(data)
        if self.step is step9_core:
            for request in self.connection.events():
                self.connection.send(step9_core.Data(self.answer(request.target, request.count), request.stream))

    def head(self, id_: int, block: bytes, flags: int = END_HEADERS | END_STREAM) -> None:
        self.receive(frames.frame(HEADERS, flags, id_, block))


def block_of(encoder: Encoder, path: str) -> bytes:
    return encoder.encode([(":method", "GET"), (":scheme", "http"), (":path", path)])


def lost_update(server: Server) -> str:
    encoder = Encoder()
    server.head(1, block_of(encoder, "/7"), END_HEADERS)  # the client will send content
    for id_ in range(3, 201, 2):
        server.head(id_, block_of(encoder, "/9"), END_HEADERS)
    server.head(201, block_of(encoder, "/secret"))
    server.receive(frames.frame(frames.RST_STREAM, 0, 1, bytes(4)))
    server.head(203, block_of(encoder, "/7"))
    return server.answers[-1].decode()


def bomb(server: Server) -> str:
    value = b"x" * 4_000
    entry = b"\x40\x01a\x7f" + bytes([(len(value) - 127) % 128 | 128, (len(value) - 127) // 128]) + value
    server.head(1, entry + b"\xbe" * 11_990)
    return f"{server.sizes:,} bytes of fields"


def rapid_reset(server: Server) -> str:
    encoder = Encoder()
    try:
        for id_ in range(1, 20_001, 2):
            server.head(id_, block_of(encoder, "/1000000"))
            server.receive(frames.frame(frames.RST_STREAM, 0, id_, bytes(4)))
    except (step8_tables.Fault, step9_core.Fault) as fault:
        return f"{len(server.answers):,} answers made, then a fault, code {fault.code}: {fault}"
    return f"{len(server.answers):,} answers made"


ATTACKS = {
    "the block of a refused stream, and then a question for /7": lost_update,
    "a block of 16,000 bytes, whose fields are 4,001 bytes each": bomb,
    "10,000 questions, each of them reset at once": rapid_reset,
}
for name, attack in ATTACKS.items():
    print(name)
    for step in step8_tables, step9_core:
        server = Server(step)
        server.receive(PREFACE)
        try:
            result = attack(server)
        except (step8_tables.Fault, step9_core.Fault) as fault:
            result = f"a fault, code {fault.code}: {fault}"
        print(f"    {step.__name__ + ':':13}", result)
