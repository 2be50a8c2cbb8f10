"""The laws that every core obeys, as functions: each is one sentence, and raises AssertionError where it does not hold.

They know nothing of a protocol. They take a ``Subject``: how to make a core, what its owner does with an event, streams to
feed it, and how many bytes it may hold; so they can be run against any object with the contract of ``minproto.core``:

    from minproto.testing import Subject, check
    check(Subject(make=MyParser, streams=st.lists(lines).map(b"".join), limit=1024))

``check`` lets hypothesis look for a stream and a way to cut it that breaks a law, and shows the smallest that it finds.
The numbers are those of the README. Laws 8 to 12 speak of order, credit, replay and tasks: those are for the parts that
have them, and are tested there.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from enum import Enum
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto.core import Core, Event, LocalProtocolError, RemoteProtocolError, Wants
from minproto.testing.cuts import byte_by_byte, chunks, mutated

MAX_STEPS = 100_000
"""Events that a stream of a test may give: more means that the core gives events without end."""


def ignore(core: Core, event: Event) -> None:
    """What an owner does who only listens."""


@dataclass(frozen=True)
class Subject:
    """What the laws are run against."""

    make: Callable[[], Core]
    """A new core, or anything else with its ``receive_data``, ``receive_eof``, ``next_event``, ``wants`` and ``buffered``
    (for ``round_trip`` also ``events`` and ``send``). Its events have to compare by what they say, as dataclasses do. Where
    a piece of content is cut has no meaning: an event for one is a dataclass named ``Data`` whose content is ``data``."""
    streams: SearchStrategy[bytes] = field(default_factory=st.binary)
    """What a peer might send; the laws cut and damage it themselves."""
    limit: int = 65_536
    """Bytes that the core may hold before the next chunk. Make a core whose limits are small: only streams that reach them
    show whether they are the same however the bytes are cut."""
    answer: Callable[[Core, Event], None] = ignore
    """What the owner does with an event: an answer has to be sent here, or a core that waits for it stays PAUSED."""


@dataclass
class Trace:
    """What a core gave for a stream: events (adjacent Data joined), the error, and what it wants."""

    events: list[Event]
    error: tuple[str, int] | None
    wants: Wants


def trace(subject: Subject, stream: Iterable[bytes], *, eof: bool = False) -> Trace:
    """Feed chunks to a new core as a shell would: what it has pulled out of one chunk, before it reads the next."""
    core = subject.make()
    events: list[Event] = []
    try:
        for _ in _feed(subject, core, stream, events):
            pass
        if eof and core.wants is not Wants.CLOSED:
            core.receive_eof()
            _pull(subject, core, events)
    except RemoteProtocolError as error:
        return Trace(join_data(events), (str(error), error.code), core.wants)
    return Trace(join_data(events), None, core.wants)


def _feed(subject: Subject, core: Core, stream: Iterable[bytes], events: list[Event]) -> Iterator[None]:
    """Feed chunks for as long as the core wants them, as a shell does; yields when it wants more."""
    for chunk in stream:
        core.receive_data(chunk)
        _pull(subject, core, events)
        assert isinstance(core.wants, Wants), f"wants is {core.wants!r}, which is no member of Wants"
        if core.wants is not Wants.DATA:
            return
        yield


_NO_EQUALITY = (Event.__eq__, object.__eq__)


def _pull(subject: Subject, core: Core, events: list[Event]) -> None:
    while (event := core.next_event()) is not None:
        # ``Event`` has no fields to compare: who inherits its __eq__ equals all of its kind, and law 2 would see nothing; who
        # inherits that of ``object`` equals nothing else.
        equal = isinstance(event, Enum) or type(event).__eq__ not in _NO_EQUALITY
        assert equal, f"{type(event).__name__} has to be a dataclass, or to have an __eq__"
        events.append(event)
        assert len(events) < MAX_STEPS, "events without end"
        subject.answer(core, event)


def join_data(events: Iterable[Event]) -> list[Event]:
    """Events with each run of Data of one stream as one, for where content is cut has no meaning."""
    joined: list[Any] = []
    for event in events:
        last: Any = joined[-1] if joined else None
        if _without_data(event) is not None and _without_data(event) == _without_data(last):
            joined[-1] = replace(event, data=last.data + event.data)  # type: ignore[attr-defined, call-arg]
        else:
            joined.append(event)
    return joined


def _without_data(event: Any) -> Any:
    """What else a Data says (its stream, where there are several); None for anything else."""
    is_data = type(event).__name__ == "Data" and is_dataclass(event) and not isinstance(event, type)
    return replace(event, data=b"") if is_data else None


# ---- the laws --------------------------------------------------------------------------------------------------------


def round_trip(
    sender: Core,
    receiver: Core,
    events: Sequence[Event],
    answer: Callable[[], None] = lambda: None,
    expected: Sequence[Event] | None = None,
) -> None:
    """1. What one end sends, the other receives, equal. ``answer`` is called behind each event, to let them go on;
    ``expected`` is what arrives, where the protocol joins some events into one."""
    received: list[Event] = []
    for event in events:
        for byte in byte_by_byte(sender.send(event)):
            receiver.receive_data(byte)
            received += receiver.events()
        received += receiver.events()
        answer()
    arrived, wanted = join_data(received), join_data(events if expected is None else expected)
    assert arrived == wanted, f"{arrived} arrived for {wanted}"


def any_cutting(subject: Subject, stream: Sequence[bytes]) -> None:
    """2. However the bytes are cut, the events (adjacent Data joined) and the error are the same."""
    cut, whole = trace(subject, stream), trace(subject, [b"".join(stream)])
    assert cut == whole, f"cut it gives {cut}, whole {whole}"


def garbage(subject: Subject, stream: Sequence[bytes]) -> None:
    """3. Any bytes give events or RemoteProtocolError, never anything else."""
    trace(subject, stream, eof=True)


def sticky_failure(subject: Subject, stream: Sequence[bytes]) -> None:
    """4. After a failure the same error comes again, for ever."""
    core = subject.make()
    try:
        for _ in _feed(subject, core, stream, []):
            pass
    except RemoteProtocolError as first:
        for _ in range(2):
            again = _failure(core)
            assert again is first, f"{first!r} has to come again, the same object; what came is {again!r}"
            assert core.wants is Wants.CLOSED
            core.receive_eof()


def _failure(core: Core) -> RemoteProtocolError | None:
    try:
        core.next_event()
    except RemoteProtocolError as error:
        return error
    return None


def bounded(subject: Subject, stream: Sequence[bytes]) -> None:
    """5. A core that wants more data never holds more than its limit, also where the peer goes on and on."""
    core = subject.make()
    try:
        for _ in _feed(subject, core, [*stream, b"a" * (subject.limit + 1)], []):
            held = core.buffered
            assert held <= subject.limit, f"{held} bytes held, {subject.limit} allowed; behind the stream came one more"
    except RemoteProtocolError:
        pass


def end_of_input(subject: Subject, stream: Sequence[bytes]) -> None:
    """6. The end of input at any byte ends the connection or fails; it never hangs."""
    wants = trace(subject, stream, eof=True).wants
    assert wants is Wants.CLOSED, f"after the end of input it wants {wants.name}"


def off_the_table(
    situations: Mapping[Any, Callable[[], Core]], events: Iterable[Event], allowed: Callable[[Any, Event], bool]
) -> None:
    """7. In each state, an event that the table lacks raises LocalProtocolError and changes nothing; the others are sent."""
    for event in events:
        for situation, make in situations.items():
            core = make()
            before = snapshot(core)
            try:
                core.send(event)
            except LocalProtocolError:
                assert not allowed(situation, event), f"{event} was refused in {situation}"
                assert snapshot(core) == before, f"the refusal of {event} changed the state in {situation}"
            else:
                assert allowed(situation, event), f"{event} was sent in {situation}"


def linear_time(subject: Subject, stream: Callable[[int], bytes], size: int = 20_000) -> None:
    """3. The time that a stream takes grows with its bytes, not with their square, though they come one by one."""
    for _ in range(8):  # other programs disturb a clock, but not eight times in a row
        once = min(_seconds(subject, stream(size)) for _ in range(2))
        if _seconds(subject, stream(4 * size)) < 8 * once:  # linear: 4 times; quadratic: 16 times
            return
    raise AssertionError(f"time is not linear in the bytes of {stream(20)!r}…")


def _seconds(subject: Subject, data: bytes) -> float:
    began = time.process_time()
    trace(subject, byte_by_byte(data))
    return time.process_time() - began


def snapshot(thing: Any) -> Any:
    """All that an object holds, in a form that can be compared."""
    if thing is None or isinstance(thing, (str, bytes, bytearray, int, float, Enum, frozenset)) or callable(thing):
        return bytes(thing) if isinstance(thing, bytearray) else thing
    if isinstance(thing, Mapping):
        return {key: snapshot(value) for key, value in thing.items()}
    if isinstance(thing, Iterable):
        return [snapshot(item) for item in thing]
    slots = (name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ()))
    return {name: snapshot(getattr(thing, name, None)) for name in (*getattr(thing, "__dict__", ()), *slots)}


Law = Callable[[Subject, Sequence[bytes]], None]

RECEIVING_LAWS = (garbage, any_cutting, sticky_failure, bounded, end_of_input)
"""Those that speak of what turns bytes into events, whatever the protocol. The first is the one that the others rest on."""


def check(subject: Subject, laws: Iterable[Law] = RECEIVING_LAWS) -> None:
    """Look for a stream that breaks a law: right, damaged or arbitrary, and cut anywhere."""
    for law in laws:
        check_law(law, subject)


def check_law(law: Law, subject: Subject) -> None:
    """Look for a stream that breaks one law."""

    # A machine that is busy breaks no law. One fault with its bytes says more than a group of exceptions.
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], report_multiple_bugs=False)
    @given(stream=chunks(st.one_of(subject.streams, mutated(subject.streams), st.binary(max_size=50))))
    def holds(stream: list[bytes]) -> None:
        law(subject, stream)

    try:
        holds()
    except Exception as error:
        error.add_note(f"law {law.__doc__}")
        raise
