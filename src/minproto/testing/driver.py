"""How the laws drive a parser: they feed it chunks as a shell would, and record its events and its error.

A ``Run`` takes one new parser through one stream. It also checks the contract of ``minproto.core``. A parser breaks the
contract if it lacks a name that the contract requires, or raises anything but RemoteProtocolError. The report then says so.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from enum import Enum
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto.core import Core, Event, RemoteProtocolError, Wants
from minproto.testing.cuts import anyhow
from minproto.testing.report import LawBroken, describe

MAX_STEPS = 100_000
"""The maximum number of events that one chunk may yield. A parser that yields more is taken to yield events without end."""

GARBAGE = "3. Any bytes give events or RemoteProtocolError, never anything else."

BROKEN_CONTRACT = "The contract of minproto.core is not kept, so no law can be tried."

CONTRACT = {
    "receive_data": "a method that stores bytes from the peer",
    "receive_eof": "a method that says that the peer will send no more",
    "next_event": "a method that returns one event, or None; for bytes that break the protocol it raises RemoteProtocolError",
    "wants": "why next_event returned None: Wants.DATA, Wants.PAUSED or Wants.CLOSED, of minproto.core",
    "buffered": "a number: how many bytes were received and are not parsed yet",
}
"""The names that a parser must have, since the laws use them."""


def ignore(core: Core, event: Event) -> None:
    """Do nothing with an event: the default for ``Subject.answer``."""


Op = bytes | None
"""What is done with a parser: it gets bytes, or (None) the end of its input."""


def unneeded(runs: Iterable[Sequence[Op]]) -> None:
    """Do nothing with the runs that come next: the default for ``Subject.ahead``."""


@dataclass(frozen=True)
class Subject:
    """A parser to run the laws on, with the streams that a peer might send to it, and the number of bytes that it may hold."""

    make: Callable[[], Core]
    """Return a new parser: a core, or any object with a core's ``receive_data``, ``receive_eof``, ``next_event``, ``wants``
    and ``buffered`` (for ``round_trip`` also ``events`` and ``send``). Its events must compare by their content, as
    dataclasses and tuples do. A network may cut a piece of content anywhere, so the laws join adjacent pieces before they
    compare: give such an event the class name ``Data``, make it a dataclass, and call its content ``data``."""
    streams: SearchStrategy[bytes] = field(default_factory=st.binary)
    """Streams that a peer might send, mostly of whole messages. The laws cut, end, damage and repeat the streams."""
    limit: int = 65_536
    """The maximum number of bytes that the parser may hold before the next chunk. Give the parser small limits (a few hundred
    bytes): only streams that reach a limit show whether the parser obeys it, and small limits make the search fast."""
    answer: Callable[[Core, Event], None] = ignore
    """Called with the parser and each event. If a parser waits for an answer (``wants`` is PAUSED), this function
    has to send the answer, or the parser reads no further."""
    drawn: Callable[[SearchStrategy[bytes]], SearchStrategy[list[bytes]]] = anyhow
    """How ``check`` makes chunks of ``streams``: some streams damaged, and all of them cut (``cuts.anyhow``), or valid streams
    (``cuts.valid``), or valid streams in one piece (``cuts.uncut``)."""
    ahead: Callable[[Iterable[Sequence[Op]]], None] = unneeded
    """Called with what a law is about to do with new parsers: for each of them, its chunks, and None for the end of input. A
    parser in another process (``programs.py``) gets all of this in one write. A law that waited for the answer to each chunk
    would spend its time on waiting."""
    sees_memory: bool = True
    """Whether law 5 can see the memory that the parser allocates. It cannot see the memory of another process."""


@dataclass
class Trace:
    """What a parser made of a stream: the events (adjacent Data joined), the error as (text, code), and ``wants``."""

    events: list[Event]
    error: tuple[str, int] | None
    wants: Wants


@dataclass(slots=True, repr=False)
class EndOfInput(Event):
    """A mark among a run's events, at the end of the input. ``wanted``: the parser's ``wants`` just before the end."""

    wanted: Wants

    def __repr__(self) -> str:
        return f"end of input, before which wants was {self.wanted.name}"


@dataclass(slots=True, repr=False)
class Outcome:
    """How a run ended."""

    text: str

    def __repr__(self) -> str:
        return self.text


class Run:
    """One new parser that reads one stream."""

    def __init__(self, subject: Subject, *, keep: bool = True) -> None:
        self.subject = subject
        self.core = self._guard("make", subject.make)
        self.events: list[Event] = []
        self.error: RemoteProtocolError | None = None
        """The error that the parser raised because of the peer's fault; None while there is no error."""
        self.fed: list[bytes] = []
        self.ended = False
        self._keep = keep  # False if memory is measured: then the run itself must keep nothing

    @property
    def wants(self) -> Wants:
        """The parser's ``wants``. Raises LawBroken for a value that is not a member of Wants."""
        wants: Any = self._get("wants")
        if not isinstance(wants, Wants):
            raise self._broken(f"wants is {wants!r}, but it has to be Wants.DATA, Wants.PAUSED or Wants.CLOSED")
        return wants

    @property
    def buffered(self) -> int:
        """The parser's ``buffered``: the bytes that it claims to hold. Raises LawBroken for a value that is not a number."""
        held: Any = self._get("buffered")
        if not isinstance(held, int):
            raise self._broken(f"buffered is {held!r}, but it has to be a number (make it a property)")
        return held

    @property
    def open(self) -> bool:
        """Whether the parser wants more data."""
        return self.error is None and self.wants is Wants.DATA

    def feed(self, chunks: Iterable[bytes]) -> "Run":
        """Feed chunks to the parser as long as it wants data. All events of one chunk are pulled before the next chunk."""
        for chunk in chunks:
            if self._keep:
                self.fed.append(chunk)
            self._step("receive_data", chunk)
            if not self.open:
                break
        return self

    def end(self) -> "Run":
        """End the input, unless the parser has failed or is CLOSED."""
        if self.error is None and self.wants is not Wants.CLOSED:
            if self._keep:
                self.events.append(EndOfInput(self.wants))
            self.ended = True
            self._step("receive_eof")
        return self

    def outcome(self) -> list[Any]:
        """Return the events, with a mark at the end of the input if it has ended, and then the error or ``wants``."""
        if self.error is None:
            return [*join_data(self.events), Outcome(f"None, and wants is {self.wants.name}")]
        return [*join_data(self.events), Outcome(f"{self.error!r} with code {self.error.code}")]

    def failure(self) -> RemoteProtocolError | Event | None:
        """Call ``next_event``, and return the RemoteProtocolError that it raises, or its result."""
        try:
            return self._guard("next_event", self.core.next_event)  # type: ignore[no-any-return]
        except RemoteProtocolError as error:
            return error

    def trace(self) -> Trace:
        """Return the result of the stream so far."""
        error = None if self.error is None else (str(self.error), self.error.code)
        return Trace(join_data(self.events), error, self.wants)

    def parts(self) -> list[tuple[bytes, str]]:
        """Return the stream so far, for a report."""
        return [(b"".join(self.fed), "end of input" if self.ended else "")]

    def _step(self, method: str, *arguments: bytes) -> None:
        """Call a method of the parser, and pull all events. Each event has to be comparable, and their number must be finite.

        Laws feed millions of single bytes, so this method does not call ``_guard`` for each call of the parser."""
        calling, count = method, 0
        try:
            getattr(self.core, method)(*arguments)
            calling = "next_event"
            while (event := self.core.next_event()) is not None:
                count += 1
                self._check_event(event, count)
                if self._keep:
                    self.events.append(event)
                calling = "answer"
                self.subject.answer(self.core, event)
                calling = "next_event"
        except RemoteProtocolError as error:
            self.error = error
        except AssertionError:
            raise
        except Exception as error:
            raise self._blame(calling, error) from error

    def _check_event(self, event: Event, count: int) -> None:
        # ``Event`` has no fields, so its __eq__ finds all events of a subclass equal, and law 2 could find no difference.
        # With the __eq__ of ``object`` no two events are equal, and law 2 would find differences everywhere.
        if type(event).__eq__ in _NO_EQUALITY and not isinstance(event, Enum):
            raise self._broken(f"{type(event).__name__} has to be a dataclass, or to have an __eq__")
        if count > MAX_STEPS:
            says = f"events without end: {MAX_STEPS:,} for one chunk, the last of them {describe(event)}"
            raise LawBroken(GARBAGE, says, self.parts())

    def _get(self, name: str) -> Any:
        return self._guard(name, getattr, self.core, name)

    def _guard(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call the parser. If it raises anything but RemoteProtocolError, a law or the contract is broken."""
        try:
            return call(*arguments)
        except (RemoteProtocolError, AssertionError):
            raise
        except Exception as error:
            raise self._blame(name, error) from error

    def _blame(self, name: str, error: Exception) -> LawBroken:
        """Return what is broken if the call of this name raises an exception that no caller expects."""
        what = f"{name} raised {type(error).__name__}: {error}"
        if name in ("answer", "make"):  # the fault is in the subject, not in the parser
            return LawBroken(BROKEN_CONTRACT, what, self.parts())
        wanted = "for a fault of the peer it has to raise RemoteProtocolError, of minproto.core"
        return LawBroken(GARBAGE, f"{what}\n{wanted}", self.parts())

    def _broken(self, says: str) -> LawBroken:
        return LawBroken(BROKEN_CONTRACT, says, self.parts())


_NO_EQUALITY: tuple[Any, ...] = (Event.__eq__, object.__eq__)


def trace(subject: Subject, stream: Iterable[bytes], *, eof: bool = False) -> Trace:
    """Feed chunks to a new parser as a shell would, and return the result. With ``eof``, end the input after the chunks."""
    run = Run(subject).feed(stream)
    if eof:
        run.end()
    found = run.trace()
    found.events = [event for event in found.events if not isinstance(event, EndOfInput)]
    return found


def check_contract(subject: Subject) -> None:
    """Raise LawBroken if the parser lacks a name of the contract, and say what each missing name means."""
    core = subject.make()
    missing = [f"    {name}: {meaning}" for name, meaning in CONTRACT.items() if not hasattr(core, name)]
    if missing:
        raise LawBroken(BROKEN_CONTRACT, "\n".join([f"{type(core).__name__} has no", *missing]))


def join_data(events: Iterable[Event]) -> list[Event]:
    """Return the events with adjacent Data of one stream joined, since a network may cut content anywhere."""
    joined: list[Any] = []
    for event in events:
        last: Any = joined[-1] if joined else None
        if _without_data(event) is not None and _without_data(event) == _without_data(last):
            joined[-1] = replace(event, data=last.data + event.data)  # type: ignore[attr-defined, call-arg]
        else:
            joined.append(event)
    return joined


def _without_data(event: Any) -> Any:
    """Return a Data without its content (in HTTP/2 it still names its stream), or None for an event that is not a Data."""
    is_data = type(event).__name__ == "Data" and is_dataclass(event) and not isinstance(event, type)
    return replace(event, data=b"") if is_data else None
