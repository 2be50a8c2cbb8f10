"""The laws, over all cores; and that each finds the fault it is for."""

import re
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from faulty_http import LIMIT, Parser
from hypothesis import settings
from hypothesis import strategies as st

from minproto import http2
from minproto.aio.cores import FAST
from minproto.core import Core, Event, LocalProtocolError, RemoteProtocolError, Wants
from minproto.fast.http2 import FieldCoder
from minproto.testing import LawBroken, Subject, check, check_law, laws, strategies, subjects


def fast(subject: Subject) -> Subject:
    """The same on the fast core. Its class only replaces methods, so it can be given to a plain core."""

    def make() -> Any:
        with patch.object(http2.Connection, "coder", FieldCoder):  # of this one a core makes an object of its own
            core: Any = subject.make()
        core.__class__ = FAST[type(core)]
        return core

    return replace(subject, make=make)


SUBJECTS = dict(subjects.ALL)
SUBJECTS |= {f"{name}, fast": fast(subject) for name, subject in subjects.ALL.items() if type(subject.make()) in FAST}


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("law", laws.RECEIVING_LAWS, ids=lambda law: law.__name__)
def test_receiving(law: laws.Law, name: str) -> None:
    """Laws 2 to 6, on right, damaged and arbitrary streams.

    By default a fast core gets half as many streams as a plain one, since law 13 compares the two as well."""
    number = settings().max_examples // (3 if law is laws.bounded else 1)
    check_law(law, SUBJECTS[name], examples=number // 2 if name.endswith("fast") and settings().max_examples < 100 else number)


@dataclass
class Text(Event):
    """What a record says."""

    text: str


class Unequal(Event):
    """The same by someone who has forgotten @dataclass."""

    def __init__(self, text: str) -> None:
        self.text = text


class Records(Core):
    """A length in two bytes, then so many of UTF-8, at most 500. ``fault`` names what is wrong with it."""

    def __init__(self, fault: str) -> None:
        super().__init__(502)
        self.fault = fault

    def _parse(self) -> Event | None:
        head = self._buffer.peek(0, 2)
        length = int.from_bytes(head, "big")
        if length > 500 and self.fault != "no limit":
            raise RemoteProtocolError("too long")
        needed = 2 + length - (self.fault == "one short")
        if len(head) < 2 or self._buffer.size < needed:
            return None
        text = self._buffer.take(2 + length)[2:]
        if self.fault == "any exception":
            return Text(text.decode())
        try:
            return Unequal(text.decode()) if self.fault == "equal to all" else Text(text.decode())
        except UnicodeDecodeError as error:
            left = self._buffer.size if self.fault == "says how much is left" else "some"
            raise RemoteProtocolError(f"not UTF-8, {left} bytes before the end") from error

    def _parse_eof(self) -> None:
        if self._buffer.size and self.fault != "hangs":
            raise RemoteProtocolError("cut short")
        self.wants = Wants.DATA if self.fault == "hangs" else Wants.CLOSED

    def fail(self, error: RemoteProtocolError) -> None:
        if self.fault != "forgets":
            super().fail(error)


def encode(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


def records(fault: str) -> Subject:
    content = st.text(max_size=9).map(str.encode) | st.binary(max_size=9)  # not all of it right, so that each fault is found
    return Subject(lambda: Records(fault), st.lists(content.map(encode)).map(b"".join), limit=502)


def report(subject: Subject, **options: Any) -> str:
    """What ``check`` says."""
    with pytest.raises(LawBroken) as caught:
        check(subject, **options)
    return str(caught.value)


REPORTS = {
    "any exception": r"""
law 3. Any bytes give events or RemoteProtocolError, never anything else.
broken by:
    b'\x00\x01\x80'
next_event raised UnicodeDecodeError: 'utf-8' codec can't decode byte 0x80 in position 0: invalid start byte
for a fault of the peer it has to raise RemoteProtocolError, of minproto.core""",
    "equal to all": r"""
The contract of minproto.core is not kept, so no law can be tried.
broken by:
    b'\x00\x00'
Unequal has to be a dataclass, or to have an __eq__""",
    "one short": r"""
law 2. However the bytes are cut, the events (adjacent Data joined) and the error are the same.
broken by:
    b'\x00\x01'  <-- cut
    b'0'  <-- end of input
the first difference is in event 1:
    in one piece: Text(text='0')
    cut:          Text(text='')""",
    "says how much is left": r"""
law 2. However the bytes are cut, the events (adjacent Data joined) and the error are the same.
broken by:
    b'\x00\x01\x80'  <-- cut
    b'\x00'  <-- end of input
the first difference is in event 1:
    in one piece: RemoteProtocolError('not UTF-8, 1 bytes before the end') with code 0
    cut:          RemoteProtocolError('not UTF-8, 0 bytes before the end') with code 0""",
    "forgets": r"""
law 4. After a failure the same error comes again, for ever.
broken by:
    b'\x00'  <-- end of input
first:      RemoteProtocolError('cut short')
next_event: RemoteProtocolError('cut short'), but the same object has to be raised again""",
    "no limit": r"""
law 5. A parser that wants more data never holds more than its limit, even if the peer never stops.
broken by:
    b''  <-- then without end:
    b'a'  <-- 1,004 times so far
buffered: 1004, limit: 502""",
    "hangs": r"""
law 6. The end of input at any byte ends the connection or fails; it never hangs.
broken by:
    b''  <-- end of input
expected: wants is CLOSED, or RemoteProtocolError
got:      wants is DATA""",
}


@pytest.mark.parametrize("fault", REPORTS)
def test_a_report_says_the_law_the_least_that_breaks_it_and_the_first_difference(fault: str) -> None:
    """In a few lines. With one seed: of two streams that are as small, another seed may find the other."""
    expected = REPORTS[fault].lstrip("\n")
    broken = [law for law in laws.RECEIVING_LAWS if laws.sentence(law) in expected]
    assert report(records(fault), laws=broken or [laws.garbage], seed=1) == expected


def test_check_tries_all_laws() -> None:
    assert report(records("hangs")) == REPORTS["hangs"].lstrip("\n")


# ---- a parser of HTTP/1.1 with one fault, and generated requests; nothing else is told to the laws ----------------------

FAULTS = {
    "hangs at the end of input in a chunk": ("law 6", "<-- end of input"),  # of which it gives no part: it waits for the whole
    "hangs at the end of input in chunk": ("law 6", "  <-- end of input"),
    "hangs at the end of input in crlf": ("law 6", "<-- end of input"),
    "hangs at the end of input in size": ("law 6", r"\n    b'\\r\\n'  <-- end of input"),
    "hangs at the end of input in trailer": ("law 6", r"\n    b'0\\r\\n'  <-- end of input"),
    "hangs at the end of input in content": ("law 6", r"\n    b'\\r\\n'  <-- end of input"),
    "hangs at the end of input in head": ("law 6", "got:      wants is DATA"),
    "is never CLOSED": ("law 6", "expected: wants is CLOSED"),
    "gives its last event again": ("law 6", r"got:      End\(trailers={}\) once more"),
    "raises ValueError at the end of input in trailer": ("law 3", "next_event raised ValueError: cut short"),
    "its error at the end of input comes once": ("law 4", r"next_event: None, but"),
    "buffers a chunk": ("law 5", r"buffered: \d+, limit: 512"),
    "buffers a chunk and does not say so": ("law 5", "buffered: 0, limit: 512\nso the parser keeps what it has read"),
    "buffers a chunk and says that it is small": ("law 5", "buffered: 9, limit: 512\nso the parser keeps what it has read"),
    "refuses a length only when all of it is there": ("law 5", r"buffered: \d+, limit: 512"),
    "keeps all bytes in a bytearray": ("law 5", "memory grew by"),
    "keeps all bytes in a BytesIO": ("law 5", "memory grew by"),
    "keeps all bytes in another object": ("law 5", "memory grew by"),
    "keeps all events in a list": ("law 5", "memory grew by"),
    "keeps all events in a list of its module": ("law 5", "memory grew by"),
}


def http(fault: str = "") -> Subject:
    return Subject(lambda: Parser(fault), strategies.request_streams, LIMIT)


def test_a_parser_without_a_fault_obeys() -> None:
    check(http())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_reached_only_in_one_place_is_found(fault: str) -> None:
    """With the default settings."""
    is_found(fault)


def is_found(fault: str, **options: Any) -> None:
    law, says = FAULTS[fault]
    broken = [each for each in laws.RECEIVING_LAWS if f"law {laws.sentence(each)}".startswith(law)]
    number = 33 if laws.bounded in broken else 100  # what a user gets by default; our own runs have fewer
    found = report(http(fault), laws=broken, examples=number, **options)
    assert re.search(says, found), found
    assert found.count("\n") < 14


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5] if settings().max_examples >= 100 else [1])
@pytest.mark.parametrize("fault", ["hangs at the end of input in a chunk", "buffers a chunk"])
def test_a_fault_is_found_whatever_the_seed(fault: str, seed: int) -> None:
    """With the default number of streams."""
    is_found(fault, seed=seed)


class Numbers(Parser):
    """Each byte is not a number."""

    def parse(self) -> Any:
        if not self.data:
            return self.end() if self.ended else None
        self.data = self.data[1:]
        return Number(float("nan"))


@dataclass
class Number:
    """What it gives."""

    value: float


def test_not_a_number_is_the_same_however_it_is_cut() -> None:
    laws.any_cutting(Subject(Numbers), [b"12"])


# ---- how to search ---------------------------------------------------------------------------------------------------


def seen(law: laws.Law, **options: Any) -> list[list[bytes]]:
    """The streams that the law is tried on."""
    streams: list[list[bytes]] = []
    wrapped: Callable[..., None] = lambda subject, stream: streams.append(stream)  # noqa: E731
    check_law(wrapped, http(), **options)
    return streams


def test_examples_and_seed() -> None:
    """So many streams, and the same again for the same seed."""
    assert len(seen(laws.garbage, examples=7, seed=1)) == 7
    assert seen(laws.garbage, examples=20, seed=1) == seen(laws.garbage, examples=20, seed=1)
    assert seen(laws.garbage, examples=20, seed=1) != seen(laws.garbage, examples=20, seed=2)


def test_only_the_laws_that_are_asked_for() -> None:
    check(http("is never CLOSED"), laws=[laws.garbage, laws.bounded], examples=5)


# ---- what is no parser -----------------------------------------------------------------------------------------------


class Tuples(Parser):
    """Its events are tuples, pieces of content among them."""

    def next_event(self) -> Any:
        event = super().next_event()
        return event and (type(event).__name__.lower(), *(getattr(event, name) for name in event.__match_args__))


def test_what_a_parser_lacks_is_named() -> None:
    assert report(Subject(object)) == (
        "The contract of minproto.core is not kept, so no law can be tried.\n"
        "object has no\n"
        "    receive_data: a method that stores bytes from the peer\n"
        "    receive_eof: a method that says that the peer will send no more\n"
        "    next_event: a method that returns one event, or None; for bytes that break the protocol it raises "
        "RemoteProtocolError\n"
        "    wants: why next_event returned None: Wants.DATA, Wants.PAUSED or Wants.CLOSED, of minproto.core\n"
        "    buffered: a number: how many bytes were received and are not parsed yet"
    )


def test_a_wants_that_is_none() -> None:
    parser = type("Wanting", (Parser,), {"wants": property(lambda self: "data", lambda self, value: None)})
    assert "wants is 'data', but it has to be Wants.DATA" in report(Subject(parser, strategies.request_streams))


def test_a_buffered_that_is_a_method() -> None:
    parser = type("Holding", (Parser,), {"buffered": lambda self: 0})
    assert "but it has to be a number (make it a property)" in report(Subject(parser, strategies.request_streams))


def test_tuples_are_events_and_content_has_to_be_data() -> None:
    found = report(Subject(Tuples, strategies.request_streams, LIMIT))
    assert found.startswith("law 2.")
    assert "a piece of content may be cut anywhere: its event has to be a dataclass named Data" in found


class Mute(Parser):
    """It takes all bytes, and makes nothing of them."""

    def parse(self) -> None:
        self.data = b""
        return super().end() if self.ended else None


def test_a_law_that_holds_because_nothing_happens_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="any_cutting holds, but the parser made no event of any stream"):
        check(Subject(Mute, strategies.request_streams), laws=[laws.any_cutting])


# ---- laws 3 and 7 ----------------------------------------------------------------------------------------------------


class Lines(Core):
    """Lines that end in LF. ``fault`` names what is slow."""

    def __init__(self, fault: str = "") -> None:
        super().__init__(1 << 30)
        self.fault = fault
        self.all = b""

    def receive_data(self, data: bytes) -> None:
        if self.fault:
            self.all += data
        else:
            super().receive_data(data)

    def _parse(self) -> Event | None:
        if self.fault == "splits all for each line":
            line, *rest = self.all.split(b"\n")
            self.all = b"\n".join(rest)
            return Text(line.decode()) if rest else None
        if self.fault == "looks at all for each byte":
            for at, byte in enumerate(self.all):
                if byte == 10:
                    line, self.all = self.all[:at], self.all[at + 1 :]
                    return Text(line.decode())
            return None
        end = self._buffer.find(b"\n", 1 << 30)
        return Text(self._buffer.take(end + 1).decode()) if end >= 0 else None


@pytest.mark.parametrize(
    ("fault", "stream", "found"),
    [
        ("looks at all for each byte", lambda size: b"a" * size, "byte_by_byte"),
        ("splits all for each line", lambda size: b"a\n" * (size // 2), "whole"),
    ],
)
def test_quadratic_time_is_found(fault: str, stream: Callable[[int], bytes], found: str) -> None:
    laws.linear_time(Subject(Lines), stream, 700)
    with pytest.raises(AssertionError, match=rf"law 3\. The time .*\n.*\({found}\)"):
        laws.linear_time(Subject(lambda: Lines(fault)), stream, 700)


def test_time_is_not_measured_where_the_stream_is_refused() -> None:
    with pytest.raises(AssertionError, match="after 2 of 400 bytes the parser stops: RemoteProtocolError"):
        laws.linear_time(Subject(lambda: Records("")), lambda size: b"\xff" * size, 100)


class Sender:
    """It refuses each event; ``change`` is what that changes."""

    def __init__(self, change: Callable[["Sender"], object]) -> None:
        self.change = change
        self.deflate = zlib.compressobj()
        self.streams = {1: "a", 3: "b"}
        self.queue = deque(["a"])
        self.pending = iter([1, 2])
        self.encoder = Log()
        self.owner = self  # an object that knows the one that holds it

    def send(self, event: Event) -> bytes:
        self.change(self)
        raise LocalProtocolError("no")


class Log:
    """An object with a state of its own, that can be called."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, value: int) -> None:
        self.seen.append(value)


@pytest.mark.parametrize(
    "change",
    [
        lambda core: core.deflate.compress(b"some text"),
        lambda core: core.streams.update({1: core.streams.pop(1)}),  # the same items, in another order
        lambda core: core.queue.append("b"),
        lambda core: core.encoder(1),
        lambda core: setattr(core, "owner", None),
    ],
    ids=["compressor", "order", "queue", "callable", "cycle"],
)
def test_a_refusal_that_changes_something_is_found(change: Callable[[Any], object]) -> None:
    """Law 7 looks into compressors, callable objects and the order of a dict; it does not run iterators."""
    refused = Text("")
    with pytest.raises(AssertionError, match="changed the state in OPEN"):
        laws.off_the_table({"OPEN": lambda: Sender(change)}, [refused], lambda *_: False)  # type: ignore[dict-item]
    laws.off_the_table({"OPEN": lambda: Sender(lambda core: None)}, [refused], lambda *_: False)  # type: ignore[dict-item]


def test_a_table_without_situations_is_no_proof() -> None:
    with pytest.raises(AssertionError, match="nothing would be tried"):
        laws.off_the_table({}, [Text("")], lambda *_: True)


def test_the_page_has_each_strategy() -> None:
    page = (Path(__file__).parents[1] / "docs" / "python-parser.md").read_text()
    for name in strategies.__all__:
        assert re.search(rf"`{name}[`(]", page), name
