"""minproto, websockets and wsproto read the same bytes in both roles: the same events or the same refusal, but for a list.

Streams are compared event by event, with what each answers and the close code of a refusal; a refusal of ours that comes
before the other has seen enough is given enough to see. Handshakes are compared with those of websockets. What differs has
to be in ``ALLOWED``, with the reason and an example, so that the list cannot rot.
"""

import re
import zlib
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets import frames as w_frames
from websockets.client import ClientProtocol
from websockets.extensions import permessage_deflate as w_deflate
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri
from wsproto import events as ws
from wsproto.connection import Connection as WsConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

from minproto.core import Event, RemoteProtocolError, Role
from minproto.deflate import Compression, Parameters
from minproto.http import Headers, RequestHead, ResponseHead
from minproto.testing.cuts import cut, mutated
from minproto.testing.strategies import arrives_as, frame_streams, websocket_events
from minproto.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MASKED,
    PING,
    PONG,
    RSV1,
    TEXT,
    Close,
    Connection,
    Fragment,
    Limits,
    Message,
    Ping,
    Pong,
    encode_frame,
    mask,
    parse_header,
)
from minproto.websocket_handshake import Agreement, accept_key, accept_request, check_response, handshake

CLIENT, SERVER = Role
OTHER = {CLIENT: SERVER, SERVER: CLIENT}


class Case(NamedTuple):
    """The bytes that one end receives, where they are cut, and what its handshake had settled."""

    role: Role
    data: bytes
    deflate: Parameters | None = None
    limit: int = 1 << 20  # of a message
    cuts: tuple[int, ...] = ()


# ---- the three, behind the contract of our cores as far as it is needed here -----------------------------------------


class Ours(Connection):
    """Our core with an owner who only answers."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.role, Agreement(deflate=case.deflate), Limits(max_message=case.limit))
        self.written = b""

    def answer(self, event: Event) -> None:
        if (reply := self.reply(event)) is not None:
            self.written += self.send(reply)

    def refuse(self, error: RemoteProtocolError) -> None:
        self.written += b"".join(map(self.send, self.farewell(error)))


class Websockets(Protocol):
    """websockets, which leaves UTF-8 and the joining of fragments to its shells: both are done here, frame by frame."""

    def __init__(self, case: Case) -> None:
        super().__init__(Side.SERVER if case.role is SERVER else Side.CLIENT, max_size=case.limit)
        if agreed := case.deflate:
            server = (agreed.server_no_context_takeover, agreed.server_max_window_bits)
            client = (agreed.client_no_context_takeover, agreed.client_max_window_bits)
            remote, local = (client, server) if case.role is SERVER else (server, client)
            self.extensions = [w_deflate.PerMessageDeflate(remote[0], local[0], remote[1], local[1])]
        self.received: list[Event] = []

    written = property(lambda self: b"".join(self.writes))

    def recv_frame(self, frame: w_frames.Frame) -> None:
        super().recv_frame(frame)
        data = bytes(frame.data)
        match frame.opcode:
            case w_frames.Opcode.PING:
                self.received.append(Ping(data))
            case w_frames.Opcode.PONG:
                self.received.append(Pong(data))
            case w_frames.Opcode.CLOSE:
                self.received.append(Close(int(self.close_rcvd.code), self.close_rcvd.reason))
            case opcode:
                self._join(opcode, data, frame.fin)

    def _join(self, opcode: int, data: bytes, last: bool) -> None:
        if opcode == BINARY:
            self.decode, self.pieces = lambda data, last: data, b""
        elif opcode == TEXT:
            self.decode, self.pieces = getincrementaldecoder("utf-8")().decode, ""
        self.pieces += self.decode(data, last)
        if last:
            self.received.append(Message(self.pieces))

    def next_event(self) -> Event | None:
        if self.received:
            return self.received.pop(0)
        if self.parser_exc is not None:
            raise RemoteProtocolError(str(self.parser_exc), self.close_sent.code if self.close_sent else 1006)
        return None

    def answer(self, event: Event) -> None:
        """It has, by itself."""

    refuse = answer

    def send(self, event: Event) -> bytes:
        match event:
            case Message(data):
                self._send_data(data, last=True)
            case Fragment(data, last):
                self._send_data(data, last=last)
            case Ping(data):
                self.send_ping(data)
            case Pong(data):
                self.send_pong(data)
            case Close(code, reason):
                self.send_close(None if code == 1005 else code, reason)
        return b"".join(self.data_to_send())

    def _send_data(self, data: str | bytes, *, last: bool) -> None:
        payload = data.encode() if isinstance(data, str) else data
        if self.expect_continuation_frame:
            self.send_continuation(payload, last)
        else:
            (self.send_text if isinstance(data, str) else self.send_binary)(payload, last)


class Wsproto:
    """wsproto, which gives messages in pieces, and refusals as a Close."""

    def __init__(self, case: Case) -> None:
        extensions = []
        if agreed := case.deflate:
            client = (agreed.client_no_context_takeover, agreed.client_max_window_bits)
            server = (agreed.server_no_context_takeover, agreed.server_max_window_bits)
            extensions = [PerMessageDeflate(*client, *server)]
            extensions[0].finalize("")
        self.core = WsConnection(ConnectionType.SERVER if case.role is SERVER else ConnectionType.CLIENT, extensions)
        self.receive_data = self.core.receive_data
        self.receive_eof = lambda: self.core.receive_data(None)
        self.written = b""
        self.pieces: list[str | bytes] = []

    def next_event(self) -> Event | None:
        for event in self.core.events():
            match event:
                case ws.TextMessage(data) | ws.BytesMessage(data):
                    self.pieces.append(data)
                    if event.message_finished:
                        pieces, self.pieces = self.pieces, []
                        return Message(type(data)().join(pieces))
                case ws.Ping(data):
                    return Ping(bytes(data))
                case ws.Pong(data):
                    return Pong(bytes(data))
                case ws.CloseConnection(code, reason):
                    if self.core.state is not ConnectionState.REMOTE_CLOSING:
                        raise RemoteProtocolError(reason or "the end", code)
                    return Close(int(code), reason)
        return None

    def answer(self, event: Event) -> None:
        match event:
            case Ping(data):
                self.written += self.send(Pong(data))
            case Close():
                self.written += self.send(event)

    def refuse(self, error: RemoteProtocolError) -> None:
        if error.code != 1006:
            self.written += self.send(Close(error.code, str(error)))

    def send(self, event: Event) -> bytes:
        match event:
            case Message(data) | Fragment(data):
                kind = ws.TextMessage if isinstance(data, str) else ws.BytesMessage
                return self.core.send(kind(data, message_finished=getattr(event, "last", True)))
            case Ping(data):
                return self.core.send(ws.Ping(data))
            case Pong(data):
                return self.core.send(ws.Pong(data))
        code = CloseReason.NO_STATUS_RCVD if event.code == 1005 else event.code
        return self.core.send(ws.CloseConnection(code, event.reason))


PEERS = {"websockets": Websockets, "wsproto": Wsproto}
Side_ = Ours | Websockets | Wsproto


# ---- what one of them makes of the bytes -----------------------------------------------------------------------------


class Reading(NamedTuple):
    """What came of a stream that ends after the bytes."""

    events: list[Event]
    code: int = 0  # of a refusal; 0 where there was a Close, 1006 where the stream ended without one
    why: str = ""

    @property
    def refused(self) -> bool:
        return self.code not in (0, 1006)


def read(side: Side_, case: Case) -> Reading:
    """Let it read and answer, up to a Close, a refusal or the end of the bytes."""
    events: list[Event] = []
    try:
        for chunk in cut(case.data, case.cuts):
            side.receive_data(chunk)
            while (event := side.next_event()) is not None:
                events.append(event)
                side.answer(event)
                if isinstance(event, Close):
                    return Reading(events)
        side.receive_eof()
        assert side.next_event() is None, "an event out of nothing"
    except RemoteProtocolError as error:
        side.refuse(error)
        return Reading(events, error.code, str(error))
    raise AssertionError("the end was not told")


def answers(side: Side_, case: Case) -> list[Event]:
    """What it wrote meanwhile, as its peer reads it; the reason of a Close is for people."""
    peer = Connection(OTHER[case.role])
    events = []
    peer.receive_data(bytes(side.written))
    for event in peer.events():
        events.append(replace(event, reason="") if isinstance(event, Close) else event)
    return events


class Frame(NamedTuple):
    """A frame of a stream, as far as it is there."""

    first: int
    payload: bytes
    missing: int  # bytes of its payload
    end: int  # in the stream


def frames(case: Case) -> Iterator[Frame]:
    """The frames, as far as all is well with their headers."""
    start = 0
    while len(case.data) > start + 1:
        try:
            header = parse_header(case.data[start : start + 14])
        except RemoteProtocolError:
            header = None
        if header is None:
            return
        length, key, size = header
        payload = case.data[start + size : start + size + length]
        first, start = case.data[start], start + size + len(payload)
        yield Frame(first, mask(payload, key) if key else payload, length - len(payload), start)


def describe(case: Case) -> str:
    """The frames, one a line, as ``ALLOWED`` looks at them: first byte, size, payload (inflated), what zlib said of it."""
    lines, inflating, inflater = [], False, zlib.decompressobj(-15)
    for first, payload, missing, _ in frames(case):
        note = ""
        if not first & 8:
            if first & 3:
                inflating = case.deflate is not None and first & RSV1
                inflater = zlib.decompressobj(-15) if inflating and incoming(case.role, case.deflate)[0] else inflater
            if inflating:
                payload, note = inflate(inflater, payload + b"\0\0\xff\xff" * (first >> 7))
                inflater = zlib.decompressobj(-15) if note else inflater
        lines.append(f"{first:02x} {len(payload)}+{missing} {payload.hex()}{note}\n")
    return "".join(lines)


def incoming(role: Role, agreed: Parameters) -> tuple[bool, int]:
    """How what this end reads is compressed: whether each message for itself, and the bits of the window."""
    if role is SERVER:
        return agreed.client_no_context_takeover, agreed.client_max_window_bits
    return agreed.server_no_context_takeover, agreed.server_max_window_bits


def inflate(inflater: "zlib._Decompress", data: bytes) -> tuple[bytes, str]:
    """What is in it, and whether it is broken or has a final block."""
    try:
        return inflater.decompress(data), " final" if inflater.eof else ""
    except zlib.error:
        return data, " broken"


# ---- the comparison --------------------------------------------------------------------------------------------------


def complete(case: Case) -> Case:
    """More bytes, so that who waits for the end of a header, a frame, a character or a message, comes to it."""
    for _ in range(2):  # first a header, then the payload
        last = [Frame(0, b"", 0, 0), *frames(case)][-1]
        rest = b"\1" * 14 if case.data[last.end :] else bytes(min(last.missing, 1 << 20))
        case = case._replace(data=case.data + rest)
    return case._replace(data=case.data + encode_frame(FIN, b"", KEY if case.role is SERVER else b""))


class Difference(NamedTuple):
    """What differs, from which peer, in which words, and in which bytes."""

    kind: str
    peer: str
    words: str
    stream: str


def difference(case: Case, peer: str, *, again: bool = False) -> Difference | None:
    """The first, if there is one; where only one of them waited for more, the first when both have it."""
    us, them = Ours(case), PEERS[peer](case)
    ours, theirs = read(us, case), read(them, case)
    kind, words = compare(ours, theirs)
    if kind and 1006 in (ours.code, theirs.code) and len(theirs.events) == len(ours.events) and not again:
        return difference(complete(case), peer, again=True)
    if not kind and answers(us, case) != answers(them, case):
        kind, words = "answers", f"{answers(us, case)} {answers(them, case)}"
    return Difference(kind, peer, words, describe(case)) if kind else None


def compare(ours: Reading, theirs: Reading) -> tuple[str, str]:
    """The kind of the first difference, and the words of who refuses."""
    before, after = len(ours.events), len(theirs.events)
    both = min(before, after)
    if ours.events[:both] != theirs.events[:both]:
        return "content", ""
    if before == after and ours.code == theirs.code:
        return "", ""
    if before == after and ours.refused and theirs.refused:
        return "codes", f"{ours.code} {theirs.code} {ours.why}"
    if ours.refused and before == both:
        return "we refuse", ours.why
    if theirs.refused and after == both:
        return "they refuse", theirs.why
    return "outcome", f"{ours.code} {theirs.code}"


# ---- what may differ, and why (§: of RFC 6455) -----------------------------------------------------------------------
# Kind -> name, peers, words of who refuses (a pattern), the stream as described (another), example, reason.

KEY = b"\1\2\3\4"
WS, WP = PEERS
BOTH = f"{WS} {WP}"
STORED = b"\0\x08\0\xf7\xff" + b"a" * 8  # a block that is not compressed
LAST_BLOCK, HI = b"\xf3\x48\xcd\xc9\xc9\x07\x00", b"\xca\xc8\x04\x00"  # "Hello" and an end; "hi"
INTERRUPTED = r"^4[12].*\n(0.*\n)*8"  # a compressed message, with a control frame in it
ENDED = " final\n"
SURROGATE = r"ed(\n(8.*\n|0. 0\+0 \n)*0. \d+\+\d+ )?[ab].( final)?$"  # in the end of a fragment
TOO_LONG = "a (length|control frame of more)"


def server_sends(*frames: tuple[int, bytes], rest: bytes = b"", **settled: object) -> Case:
    """A case for a client."""
    return Case(CLIENT, b"".join(encode_frame(*frame) for frame in frames) + rest, **settled)


ALLOWED = {
    "we refuse": [
        ("length not minimal", WS, TOO_LONG, "", Case(CLIENT, b"\x82\x7e\0\1a"), "§5.2: the fewest bytes MUST be used"),
        ("too big", WP, "message too big", "", server_sends((FIN | BINARY, b"a" * 11), limit=10),
         "ours: see Limits; it has none"),
        ("message behind a final block", WS, "message too big", ENDED, server_sends(
            (FIN | RSV1 | TEXT, LAST_BLOCK), (RSV1 | BINARY, STORED), (FIN, STORED + b"\0"), limit=15, deflate=Parameters()),
         "RFC 7692 §7.2.3.4: a new stream begins; to it all further messages are empty"),
        ("data behind a final block", BOTH, ".*inflated", ENDED, server_sends(
            (FIN | RSV1 | TEXT, LAST_BLOCK + b"\xff"), deflate=Parameters()),
         "RFC 7692 §7.2.3.4: it begins a new stream; to both it is nothing"),
        ("half a surrogate", BOTH, ".*not UTF-8", SURROGATE, server_sends((TEXT, b"\xed\xa0"), (FIN | PING, b"")),
         "it can't become UTF-8 any more; both have Python's decoder, which waits"),
        ("interrupted compression", WP, ".*inflated", INTERRUPTED, server_sends(
            (RSV1 | BINARY, b"\xca"), (FIN | PING, b""), (FIN, b"\xff\xff"), deflate=Parameters()), "as below"),
    ],
    "they refuse": [
        ("1014", WP, "CLOSE with unknown reserved code", "^88 .* 03f6", server_sends((FIN | CLOSE, b"\3\xf6")), "IANA has it"),
        ("Close inside a message", WS, "incomplete fragmented message", "^88 ", server_sends((TEXT, b"a"), (FIN | CLOSE, b"")),
         "§5.4: control frames MAY stand between fragments"),
        ("control frame in little room", WS, "frame with .* exceeds limit", "^8[89a] ", server_sends(
            (BINARY, b"a" * 9), (FIN | PING, b"ab"), limit=10), "to it a control frame is a part of the message around it"),
        ("interrupted compression", WP, "'utf-8' codec|error in", INTERRUPTED, server_sends(
            (RSV1 | TEXT, b"\xca"), (FIN | PING, b""), (FIN, b"\xc8\4\0"), deflate=Parameters()),
         "§5.4: a control frame MAY be there; it then takes the rest for not compressed"),
        ("data behind a final block", WP, "error in extension", ENDED, server_sends(
            (FIN | RSV1 | TEXT, LAST_BLOCK + b"\0"), (FIN | RSV1 | TEXT, HI), deflate=Parameters()), "as above"),
    ],
    "content": [
        ("interrupted compression", WP, "", INTERRUPTED, server_sends(
            (RSV1 | BINARY, b"\xca"), (FIN | PING, b""), (FIN, b"\xc8\4\0"), deflate=Parameters()), "as above"),
        ("data behind a final block", BOTH, "", ENDED, server_sends(
            (FIN | RSV1 | TEXT, LAST_BLOCK + HI), deflate=Parameters()), "as above"),
    ],
    "codes": [
        ("length not minimal", WS, rf"1002 \d+ {TOO_LONG}", "", Case(CLIENT, b"\x81\x7e\0\1\xff"), "it finds the next fault"),
        ("length first", WS, "1002 1009 (?!a length|a control frame of)", "", Case(CLIENT, b"\x80\x7f" + b"\x01" * 8),
         "§7.1.7: of two faults either may be told"),
        ("size before content", WS, "1007 1009", "", server_sends(
            (FIN | RSV1 | TEXT, b"\0\3\0\xfc\xff\xffab\0"), deflate=Parameters(), limit=2), "the same"),
        ("reason before code", WS, "1002 1007 a Close", "^88 ", server_sends((FIN | CLOSE, b"\3\xec\xff")), "the same"),
        ("not deflated", WS, "1007 1002", " broken", server_sends((FIN | RSV1 | TEXT, b"\xff"), deflate=Parameters()),
         "§7.4.1: 1007 is for data that do not fit the type of the message; RFC 7692 names no code"),
        ("half a surrogate", BOTH, "1007 1002 ", SURROGATE, server_sends((TEXT, b"\xed\xa0"), (3, b"")),
         "they find the next fault"),
        ("data behind a final block", BOTH, "1007 1002", ENDED, server_sends(
            (RSV1 | TEXT, LAST_BLOCK + b"\xff"), (3, b""), deflate=Parameters()), "they find the next fault"),
        ("no limit", WP, "1009 ", "", server_sends((BINARY, b"abc"), (TEXT, b""), limit=2), "it finds the next fault"),
        ("payload before order", WP, "1002 1007 a new message", "^4", server_sends(
            (RSV1 | BINARY, b""), (TEXT, b"\xff"), deflate=Parameters()), "it inflates first"),
        ("interrupted compression", WP, r"100\d 100\d", INTERRUPTED, server_sends(
            (RSV1 | TEXT, b"\xca"), (FIN | PING, b""), (0, b"\xc8\4\0"), rest=b"\xc0", deflate=Parameters()), "as above"),
    ],
}  # fmt: skip


def names(found: Difference) -> list[str]:
    """The entries that allow a difference."""
    rows = ALLOWED.get(found.kind, [])
    return [
        name
        for name, peers, words, stream, *_ in rows
        if found.peer in peers and re.match(words, found.words) and re.search(stream, found.stream, re.M)
    ]


ROWS = [(peer, row[0], row[4]) for rows in ALLOWED.values() for row in rows for peer in row[1].split()]


@pytest.mark.parametrize(("peer", "name", "case"), ROWS, ids=lambda value: value if isinstance(value, str) else "")
def test_allowed_differences_are_real(peer, name, case):
    assert names(difference(case, peer)) == [name]


# ---- streams from a grammar, with what is odd in the wild; then faults -----------------------------------------------

BITS = st.integers(9, 15)
agreements = st.none() | st.builds(Parameters, st.booleans(), st.booleans(), BITS, BITS)
TEXTS = st.text(max_size=8) | st.sampled_from(["\u20ac" * 60, "\ud7ff\ue000\uffff\U0010ffff\0", "ab" * 150])
BINARIES = st.binary(max_size=8) | st.sampled_from([b"\xff" * 125, b"a" * 126, b"abc" * 100])
NO_TEXTS = [b"\xc3", b"a\xff", b"\xed\xa0\x80", b"\xed\xa0", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x82", b"\xf0\x80"]
CLOSES = [b"", b"\3\xe8", b"\3\xe9bye", b"\3\xf3\xe2\x82\xac", b"\3\xf5", b"\x0f\xa0" + b"r" * 123]
ODD_CODES = [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2999, 5000, 65535]
ODD_CLOSES = [b"\3", b"\3\xe8\xff", b"\3\xecx\xff", *(code.to_bytes(2, "big") for code in ODD_CODES)]
CONTROLS = [FIN | PING, FIN | PONG]


class Writer:
    """What hypothesis makes a peer send. Nothing in it is odd, unless it is to be ``wild``."""

    def __init__(self, draw: st.DrawFn, role: Role, *, wild: bool) -> None:
        self.draw, self.role, self.wild = draw, role, wild
        self.deflate = draw(agreements)
        self.deflater = None

    def odd(self, chance: int = 12) -> bool:
        return self.wild and self.draw(st.integers(1, chance)) == chance

    def frame(self, first: int, payload: bytes) -> bytes:
        """A frame, maybe with a wrong first byte, length or mask."""
        if self.odd(20):
            first ^= self.draw(st.sampled_from([0x80, 0x40, 0x20, 0x10, 1, 2, 3, 4, 8]))
        masked = (self.role is SERVER) is not self.odd(40)
        key = self.draw(st.sampled_from([KEY, bytes(4), b"\xff\0\xff\0"])) if masked else b""
        if self.odd(10):
            lengths = [(127, 8, 1 << 63), (127, 8, (1 << 63) - 1), (127, 8, 1 << 40), (127, 8, 65_536)]
            code, size, length = self.draw(st.sampled_from([(126, 2, len(payload)), (127, 8, len(payload)), *lengths]))
            header = bytes([first, MASKED * masked | code]) + length.to_bytes(size, "big") + key
            return header + (mask(payload, key) if key else payload)
        return encode_frame(first, payload, key)

    def control(self) -> bytes:
        """A Ping or a Pong, or (if it is odd) a Close or one that is too long."""
        if self.odd():
            return self.close()
        size = 126 if self.odd() else self.draw(st.sampled_from([0, 1, 5, 125]))
        return self.frame(self.draw(st.sampled_from(CONTROLS)), b"p" * size)

    def close(self) -> bytes:
        return self.frame(FIN | CLOSE, self.draw(st.sampled_from(ODD_CLOSES if self.odd(3) else CLOSES)))

    def compress(self, data: bytes) -> bytes:
        """A message's payload, in one of the many ways to write it."""
        resets, bits = incoming(self.role, self.deflate)
        if self.deflater is None or resets:
            self.deflater = zlib.compressobj(self.draw(st.sampled_from([0, 1, 9])), zlib.DEFLATED, -bits)
        encoded = self.deflater.compress(data[: len(data) // 2]) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        encoded += self.deflater.compress(data[len(data) // 2 :])
        if self.odd(6):  # RFC 7692 §7.2.3.4: a final block
            encoded += self.deflater.flush(zlib.Z_FINISH) + self.draw(st.sampled_from([b"", b"\0"]))
            self.deflater = None
            return encoded
        return (encoded + self.deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def message(self) -> bytes:
        """A message in fragments, with control frames between them."""
        opcode = self.draw(st.sampled_from([TEXT, BINARY]))
        payload = self.draw(TEXTS).encode() if opcode == TEXT else self.draw(BINARIES)
        if opcode == TEXT and self.odd():
            payload += self.draw(st.sampled_from(NO_TEXTS))
        compressed = self.deflate is not None and self.draw(st.booleans())
        if compressed:
            payload = self.compress(payload)
        pieces = cut(payload, self.draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        stream = b""
        for at, piece in enumerate(pieces):
            first = CONTINUATION if at else opcode | RSV1 * compressed
            stream += self.frame(first | FIN * (at == len(pieces) - 1), piece)
            if (self.wild or not compressed) and self.draw(st.integers(0, 3)) == 3:
                stream += self.control()
        return stream


@st.composite
def streams(draw, role, *, wild):
    """A case of some messages, cut anywhere."""
    writer = Writer(draw, role, wild=wild)
    data = b"".join(writer.message() for _ in range(draw(st.integers(0, 3))))
    if draw(st.booleans()):
        data += writer.close()
    case = Case(role, data, writer.deflate, draw(st.sampled_from([1 << 20, 150])) if wild else 1 << 20)
    return case._replace(cuts=draw(cuts(data)))


def cuts(data: bytes) -> st.SearchStrategy[tuple[int, ...]]:
    """Where to cut: nowhere, somewhere, everywhere."""
    some = st.lists(st.integers(0, len(data)), max_size=5).map(tuple)
    return st.one_of(st.just(()), some, st.just(tuple(range(1, len(data)))))


@st.composite
def faulty(draw, role):
    """A wild case or frames in any order, mostly with a few faults in the bytes."""
    case = draw(streams(role, wild=True))
    if not draw(st.integers(0, 3)):
        case = Case(role, draw(frame_streams(masked=role is SERVER)), case.deflate, case.limit)
    if draw(st.integers(0, 3)):
        data = draw(mutated(st.just(case.data)))
        # A look back beyond the window is seen or not, by how the data is cut (see Inflater): the largest has no beyond.
        deflate = case.deflate and replace(case.deflate, server_max_window_bits=15, client_max_window_bits=15)
        case = case._replace(data=data, deflate=deflate, cuts=draw(cuts(data)))
    return case


def verdict(case: Case) -> tuple[list[Event], bool, int]:
    """What we make of it. Of too much and not deflated either may be seen first: see below."""
    events, code, _ = read(Ours(case), case)
    return events, code == 0, 1007 if code == 1009 and case.deflate else code


def test_too_much_and_not_deflated_is_the_same_however_it_is_cut():
    deflater = zlib.compressobj(wbits=-15)
    bomb = deflater.compress(b"a" * 200) + deflater.flush(zlib.Z_SYNC_FLUSH)
    case = server_sends((FIN | RSV1 | BINARY, bomb + b"\xff"), deflate=Parameters(), limit=150)
    assert read(Ours(case), case).code == read(Ours(case), case._replace(cuts=(2 + len(bomb),))).code == 1009


@pytest.mark.parametrize("role", Role)
@settings(max_examples=2 * settings().max_examples)  # there is much to combine
@given(data=st.data())
def test_same_events_or_same_refusal(data, role):
    case = data.draw(faulty(role))
    assert verdict(case) == verdict(case._replace(cuts=()))
    found = [difference(case, peer) for peer in PEERS]
    assert [one for one in found if one is not None and not names(one)] == []


@pytest.mark.parametrize("role", Role)
@given(data=st.data())
def test_plain_streams_are_read_by_all(data, role):
    case = data.draw(streams(role, wild=False))
    assert not read(Ours(case), case).refused
    assert [difference(case, peer) for peer in PEERS] == [None, None]


# ---- what is sent arrives --------------------------------------------------------------------------------------------


def known_to_wsproto(events: list[Event], deflate: Parameters | None) -> Iterator[Event]:
    """What it can receive: no 1014, and no control frame inside a compressed message (both are in ``ALLOWED``)."""
    inside = False
    for event in events:
        inside = not event.last if isinstance(event, Fragment) else inside
        interrupts = deflate is not None and inside and isinstance(event, Ping | Pong)
        if not interrupts and event != Close(1014, getattr(event, "reason", "")):
            yield event


def arrival(events: list[Event], sender: Side_, case: Case, receiver: type) -> list[Event]:
    """What the receiver makes of what the sender made of them."""
    case = case._replace(role=OTHER[case.role], data=b"".join(map(sender.send, events)))
    return read(receiver(case), case).events


@pytest.mark.parametrize(("role", "peer"), list(product(Role, PEERS)))
@given(events=websocket_events, deflate=agreements, at=st.lists(st.integers(0, 400), max_size=3))
def test_what_one_sends_the_other_receives(events, deflate, at, role, peer):
    case, them = Case(role, b"", deflate), PEERS[peer]
    received = [event for event in events if peer == WS] or list(known_to_wsproto(events, deflate))
    assert arrival(received, Ours(case), case, them) == arrives_as(received)
    assert arrival(events, them(case), case, Ours) == arrives_as(events)


# ---- handshakes ------------------------------------------------------------------------------------------------------

SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SPOKEN = ["a", "b"]  # subprotocols
Settled = tuple[bool, bool, int, int]  # whether the server resets, and the client; bits of the server, and of the client


class Heads(NamedTuple):
    """A handshake as one end receives it: right but for these fields. One value a line; "-" is none at all."""

    role: Role
    fields: Mapping[str, str] = MappingProxyType({})
    start: str = ""  # another method and version, or status
    compression: Compression | None = None


RIGHT = {
    SERVER: {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-key": SAMPLE_KEY, "sec-websocket-version": "13"},
    CLIENT: {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept_key(SAMPLE_KEY)},
}
START = {SERVER: "GET 1.1", CLIENT: "101"}


def headers(heads: Heads) -> Headers:
    """All of its fields."""
    fields = RIGHT[heads.role] | dict(heads.fields)
    return Headers([(name, value) for name, lines in fields.items() if lines != "-" for value in lines.split("\n")])


def head_bytes(heads: Heads) -> bytes:
    """The head on the wire; it is also what ``ALLOWED_HEADS`` looks at."""
    start = heads.start or START[heads.role]
    start = "{} / HTTP/{}".format(*start.split()) if heads.role is SERVER else f"HTTP/1.1 {start} "
    return "\r\n".join([start, *(f"{name}: {value}" for name, value in headers(heads)), "", ""]).encode()


class Outcome(NamedTuple):
    """What one end makes of it: what was settled, or why nothing was."""

    accepted: bool
    subprotocol: str | None = None
    deflate: Settled | None = None
    why: str = ""


def our_outcome(heads: Heads) -> Outcome:
    """That of minproto."""
    start, fields = (heads.start or START[heads.role]).split(), headers(heads)
    try:
        if heads.role is SERVER:
            agreed = accept_request(RequestHead(start[0], "/", fields, start[1]), SPOKEN, heads.compression)[1]
        else:
            request = handshake("a.example", "/", SAMPLE_KEY, SPOKEN, heads.compression)
            agreed = check_response(request, ResponseHead(int(start[0]), fields), heads.compression)
    except RemoteProtocolError as error:
        return Outcome(False, why=str(error))
    return Outcome(True, agreed.subprotocol, agreed.deflate and settled(agreed.deflate))


def settled(agreed: Parameters) -> Settled:
    """What both ends have to know."""
    resets = (agreed.server_no_context_takeover, agreed.client_no_context_takeover)
    return (*resets, agreed.server_max_window_bits, agreed.client_max_window_bits)


def their_end(heads: Heads) -> ServerProtocol | ClientProtocol:
    """websockets, with the same wishes."""
    wish, extensions, server = heads.compression, None, heads.role is SERVER
    if wish is not None:
        resets = [not wish.context_takeover] * 2
        factory = w_deflate.ServerPerMessageDeflateFactory if server else w_deflate.ClientPerMessageDeflateFactory
        bits = wish.window_bits if server or wish.window_bits < 15 else None
        extensions = [factory(*resets, bits, wish.window_bits if server else True)]
    if server:
        return ServerProtocol(subprotocols=SPOKEN, extensions=extensions, select_subprotocol=first_of_theirs)
    client = ClientProtocol(parse_uri("ws://a.example/"), subprotocols=SPOKEN, extensions=extensions)
    client.key = SAMPLE_KEY
    return client


def first_of_theirs(protocol: ServerProtocol, offered: list[str]) -> str | None:
    """The client's choice, as we let it have it; websockets would take the server's."""
    return next((name for name in offered if name in SPOKEN), None)


def their_outcome(heads: Heads) -> Outcome:
    """That of websockets. It makes one offer: a client gets our second, which whatever fits the first fits, too."""
    second = heads.role is CLIENT and heads.compression and replace(heads.compression, window_bits=15)
    end = their_end(heads._replace(compression=second) if second else heads)
    end.receive_data(head_bytes(heads))
    if isinstance(end, ServerProtocol) and (events := end.events_received()):
        end.send_response(end.accept(events[0]))
    if end.state is not State.OPEN:
        return Outcome(False, why=str(end.handshake_exc or "it waits for content"))
    return Outcome(True, end.subprotocol, their_settled(end.extensions, heads))


def their_settled(extensions: list[w_deflate.PerMessageDeflate], heads: Heads) -> Settled | None:
    """See ``settled``. A client may use a smaller window than it was allowed: that is our choice, so taken as theirs."""
    if not extensions:
        return None
    (it,) = extensions
    resets = (it.local_no_context_takeover, it.remote_no_context_takeover)
    bits = (it.local_max_window_bits, it.remote_max_window_bits)
    if heads.role is SERVER:
        return *resets, *bits
    return *resets[::-1], bits[1], min(bits[0], heads.compression.window_bits)


def heads_differ(heads: Heads) -> tuple[str, str, str] | None:
    """The kind of the difference, the words of who refuses, and the head; or None."""
    ours, theirs = our_outcome(heads), their_outcome(heads)
    text = f"{head_bytes(heads).decode()}compression: {heads.compression is not None}".replace("\r\n", "\n")
    if ours.accepted and theirs.accepted:
        return None if ours == theirs else ("agreement", f"{ours[1:3]} {theirs[1:3]}", text)
    if ours.accepted is theirs.accepted:
        return None
    return ("they refuse", theirs.why, text) if ours.accepted else ("we refuse", ours.why, text)


# Kind -> name, words of who refuses (a pattern), the head (another), example, reason (§: of RFC 6455).

DEFLATE, PMD = Compression(), "permessage-deflate"
EXTENSIONS, PROTOCOL, KEY_FIELD = "sec-websocket-extensions", "sec-websocket-protocol", "sec-websocket-key"
BAD_CONNECTION, CAPITALS = "invalid Connection header: expected", f"^{EXTENSIONS}: Permessage-Deflate$"
ALLOWED_HEADS = {
    "we refuse": [
        ("extensions not wanted", "(malformed|empty) Sec-WebSocket-Ext", "^compression: False",
         Heads(SERVER, {EXTENSIONS: ";"}),
         "§9.1: MUST fail where it does not match; websockets does not look, as it wants none"),
        ("twice the same", "malformed Sec-WebSocket-Prot", rf"^{PROTOCOL}: (\w)(, |\n.*: )\1$",
         Heads(SERVER, {PROTOCOL: "a, a"}),
         "§4.1: each stands there once, which is a MUST"),
        ("list with one element", "the server (chose a subprotocol|did not upgrade)", f"^({PROTOCOL}|upgrade): \\w+,$",
         Heads(CLIENT, {PROTOCOL: "a,"}), "§4.1, §4.2.2: in an answer they are single values, not lists"),
    ],
    "they refuse": [
        ("empty line", "invalid Sec-WebSocket-Prot", rf"^{PROTOCOL}: $", Heads(SERVER, {PROTOCOL: "a\n"}),
         "RFC 9110 §5.3: lines make one list; §5.6.1.2: its empty elements MUST be ignored"),
        ("no option", BAD_CONNECTION, "^connection: .*(a b|;)", Heads(SERVER, {"connection": "Upgrade, a b"}),
         "§4.1, §4.2.1: the field has to include Upgrade; what else it holds is not WebSocket's business"),
        ("capitals", "Unsupported extension", CAPITALS,
         Heads(CLIENT, {EXTENSIONS: "Permessage-Deflate"}, compression=Compression(15)),
         "§9.1 does not say that they matter"),
        ("two origins", "invalid Origin header: multiple", r"^origin: .*\norigin: ", Heads(SERVER, {"origin": "a\na"}),
         "RFC 6454 §7.3: MUST NOT be sent; allow_origin is asked about both in one, which is no origin"),
        ("HTTP/1.2", "did not receive a valid HTTP", r"\AGET / HTTP/1.2", Heads(SERVER, start="GET 1.2"),
         "§4.2.1: 1.1 or higher"),
        ("list of upgrades", "invalid Upgrade header: websocket, ", "", Heads(SERVER, {"upgrade": "websocket, h2c"}),
         "§4.2.1: the field contains websocket; RFC 9110 §7.8: it is a list"),
    ],
    "agreement": [
        ("capitals", "", CAPITALS, Heads(SERVER, {EXTENSIONS: "Permessage-Deflate"}, compression=DEFLATE), "as above"),
    ],
}  # fmt: skip


def head_names(kind: str, words: str, text: str) -> list[str]:
    """The entries that allow a difference."""
    rows = ALLOWED_HEADS.get(kind, [])
    return [name for name, why, seen, *_ in rows if re.match(why, words) and re.search(seen, text, re.M)]


@pytest.mark.parametrize(("name", "heads"), [(row[0], row[3]) for rows in ALLOWED_HEADS.values() for row in rows])
def test_allowed_differences_of_heads_are_real(name, heads):
    assert head_names(*heads_differ(heads)) == [name]


# Right values, and wrong or odd ones: alternatives between "|", lines between "\n", "-" for none.

UPGRADE = ("websocket|WebSocket", "-||websocket,|websocket/13|websocket, h2c|websocket\nwebsocket|h2c|websockets|web socket")
CONNECTION = ("Upgrade|keep-alive, upgrade|close\nUpgrade", '-||close|,Upgrade,|upgraded|"Upgrade"|Upgrade, a b|a;b, Upgrade')
VALUES = {
    SERVER: {
        "start": ("GET 1.1", "POST 1.1|get 1.1|HEAD 1.1|CONNECT 1.1|GET 1.0|GET 1.2"),
        "upgrade": UPGRADE,
        "connection": CONNECTION,
        KEY_FIELD: (
            f"{SAMPLE_KEY}|AAAAAAAAAAAAAAAAAAAAAA==",
            f"-||{SAMPLE_KEY}\n{SAMPLE_KEY}|{SAMPLE_KEY},|dGhlIHNhbXBsZSBub25jZR==|dGhlIHNhbXBsZSBub25jZQ|"
            "dGhlIHNhbXBsZSBub25jZQ=|dGhlIHNhbXBsZSBub25jZQ===|dGhlIHNhbXBsZSBub25jZXh4|dGhlIHNhbXBsZSBub25-_Q==|a b|AAAA",
        ),
        "sec-websocket-version": ("13", "-||12|013|13.0|+13|13\n13|13, 8|8\n13|13,"),
        "origin": ("-|null|https://a.example", "|https://a.example\nhttps://a.example|a b"),
        PROTOCOL: ("-|a|z|b, a|z\nb", '|a,|a,,b|,|a\n|a, a|a\na|a b|"a"|a/b|A|a;b'),
        EXTENSIONS: (
            f"-|{PMD}|{PMD}; client_max_window_bits|{PMD}; client_max_window_bits=10; server_max_window_bits=9|"
            f"x-y; z=1, {PMD}|"
            f'{PMD}; server_no_context_takeover\nx-y|{PMD}; client_no_context_takeover|{PMD}; client_max_window_bits="15"|'
            f"{PMD}; server_max_window_bits=8, {PMD}; server_max_window_bits=15|{PMD}; unknown, {PMD}|"
            f"{PMD};client_max_window_bits=8",
            f"|,|;|{PMD};|{PMD},|,{PMD}|{PMD}=1|{PMD};;a|{PMD} a|{PMD}; a=|{PMD}; a=b c|{PMD}; server_max_window_bits|"
            f'{PMD}; client_max_window_bits=""|{PMD}; client_max_window_bits="1 0"|{PMD}; client_max_window_bits="1\\0"|'
            f"{PMD}; client_max_window_bits = 10|{PMD}; client_max_window_bits=16|{PMD}; client_max_window_bits=08|"
            f"{PMD}; client_no_context_takeover=1|{PMD}; client_no_context_takeover; client_no_context_takeover|"
            f"Permessage-Deflate|{PMD}; Client_Max_Window_Bits|{PMD}; client_max_window_bits; client_max_window_bits=9|"
            f"a/b|x-y\t;z|{PMD}, {PMD}",
        ),
    },
    CLIENT: {
        "start": ("101", "200|100|102|204|301|400|426"),
        "upgrade": UPGRADE,
        "connection": CONNECTION,
        "sec-websocket-accept": (
            accept_key(SAMPLE_KEY),
            "-||{0}\n{0}|{0},|{1}|{2}|AAAA".format(accept_key(SAMPLE_KEY), accept_key(SAMPLE_KEY).lower(), accept_key("")),
        ),
        PROTOCOL: ("-|a|b", '|z|A|a, b|a\nb|a\na|a,|"a"|,'),
        EXTENSIONS: (
            f"-|{PMD}|{PMD}; server_max_window_bits=9|{PMD}; client_max_window_bits=10; server_max_window_bits=9|"
            f"{PMD}; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
            f"|,|;|{PMD}; server_max_window_bits=8|{PMD}; client_max_window_bits=8; server_max_window_bits=9|{PMD}, {PMD}|x-y|"
            f"{PMD}; server_max_window_bits=9, x-y|{PMD}; client_max_window_bits|{PMD}; server_max_window_bits|{PMD}; unknown|"
            f"{PMD}; server_max_window_bits=15|{PMD}; server_max_window_bits=16|{PMD}; server_no_context_takeover=1|,{PMD}|"
            f'{PMD}; server_max_window_bits="9"|{PMD}; server_max_window_bits=9; server_max_window_bits=9|{PMD}; a=\xe9|'
            f"Permessage-Deflate|{PMD}; server_no_context_takeover; Server_Max_Window_Bits=9|{PMD}\n{PMD}",
        ),
    },
}
CHOICES = {
    role: [[(name, value) for name, values in fields.items() for value in values[odd].split("|")] for odd in (0, 1)]
    for role, fields in VALUES.items()
}
wishes = st.none() | st.builds(Compression, BITS, st.just(8), st.booleans())


@st.composite
def handshakes(draw, role, *, wild):
    """A right handshake, or (``wild``) one with up to two things that are not."""
    fields = dict(draw(st.lists(st.sampled_from(CHOICES[role][0]), max_size=3)))
    if wild:
        fields |= dict(draw(st.lists(st.sampled_from(CHOICES[role][1]), max_size=2)))
    return Heads(role, fields, fields.pop("start", ""), draw(wishes))


@pytest.mark.parametrize("role", Role)
@settings(max_examples=3 * settings().max_examples)
@given(data=st.data())
def test_same_agreement_or_both_refuse(data, role):
    found = heads_differ(data.draw(handshakes(role, wild=True)))
    assert found is None or head_names(*found)


@pytest.mark.parametrize("role", Role)
@given(data=st.data())
def test_right_handshakes_are_accepted_by_both(data, role):
    heads = data.draw(handshakes(role, wild=False))
    if role is SERVER or heads.fields.get(EXTENSIONS, "-") == "-":  # else it has to fit what was offered
        assert our_outcome(heads).accepted
    assert heads_differ(heads) is None


def fits(server: Settled, client: Settled) -> bool:
    """Who inflates has at least the window of who deflates, and forgets what was only where that one does."""
    return server[0] >= client[0] and server[1] <= client[1] and server[2] <= client[2] and server[3] >= client[3]


@given(wish=wishes, offered=st.sampled_from(["-", "a", "z, b"]), theirs=wishes)
def test_our_client_and_their_server_agree(wish, offered, theirs):
    request = handshake("a.example", "/", SAMPLE_KEY, [] if offered == "-" else offered.split(", "), wish)
    fields = {name: value for name, value in request.headers if name != "host"}
    heads = Heads(SERVER, fields, compression=theirs)
    server = their_end(heads)
    server.receive_data(head_bytes(heads))
    answer = server.accept(server.events_received()[0])
    response = ResponseHead(answer.status_code, Headers([(name.lower(), value) for name, value in answer.headers.raw_items()]))
    agreed = check_response(request, response, wish)
    assert agreed.subprotocol == server.subprotocol
    assert (agreed.deflate is None) is (not server.extensions) is (wish is None or theirs is None)
    assert not agreed.deflate or fits(their_settled(server.extensions, heads), settled(agreed.deflate))


@given(wish=wishes, theirs=wishes)
def test_their_client_and_our_server_agree(wish, theirs):
    heads = Heads(CLIENT, compression=theirs)
    client = their_end(heads)
    asked = client.connect().headers.raw_items()
    request = RequestHead("GET", "/", Headers([(name.lower(), value) for name, value in asked]))
    response, agreed = accept_request(request, ["b"], wish)
    client.receive_data(head_bytes(heads._replace(fields=dict(response.headers))))
    assert client.state is State.OPEN
    assert agreed.subprotocol == client.subprotocol == "b"
    assert (agreed.deflate is None) is (not client.extensions) is (wish is None or theirs is None)
    assert not agreed.deflate or fits(settled(agreed.deflate), their_settled(client.extensions, heads))
