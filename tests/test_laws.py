"""The laws, over all cores; and that each finds the fault it is for."""

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st

from minproto.core import Core, Event, RemoteProtocolError, Wants
from minproto.testing import Subject, check, check_law, laws, subjects


@pytest.mark.parametrize("subject", subjects.ALL.values(), ids=subjects.ALL)
@pytest.mark.parametrize("law", laws.RECEIVING_LAWS, ids=lambda law: law.__name__)
def test_receiving(law: laws.Law, subject: Subject) -> None:
    """Laws 2 to 6, on right, damaged and arbitrary streams."""
    check_law(law, subject)


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


@pytest.mark.parametrize(
    ("fault", "law", "says"),
    [
        ("any exception", "law 3", "can't decode"),
        ("equal to all", "law 3", "Unequal has to be a dataclass"),
        ("one short", "law 2", "cut it gives"),
        ("says how much is left", "law 2", "cut it gives"),
        ("forgets", "law 4", "has to come again, the same object; what came is"),
        ("no limit", "law 5", "bytes held, 502 allowed; behind the stream"),
        ("hangs", "law 6", "it wants DATA"),
    ],
)
def test_a_fault_is_found_by_its_law(fault: str, law: str, says: str) -> None:
    """As a reader would see it: which law, and what was wrong."""
    content = st.text(max_size=9).map(str.encode) | st.binary(max_size=9)  # not all of it right, so that each fault is found
    records = Subject(lambda: Records(fault), st.lists(content.map(encode)).map(b"".join), limit=502)
    with pytest.raises(Exception, match=says) as caught:
        check(records)
    assert any(note.startswith(law) for note in caught.value.__notes__)
