"""The laws that every core obeys, as functions: each is one sentence, and raises AssertionError where it does not hold.

They know nothing of a protocol. They take a ``Subject``: how to make a parser, what its owner does with an event, streams to
feed it, and how many bytes it may hold; so they can be run against any object with the contract of ``minproto.core``:

    from minproto.testing import Subject, check
    check(Subject(make=MyParser, streams=st.lists(lines).map(b"".join), limit=1024))

``check`` lets hypothesis look for a stream that breaks a law. For each stream the law itself then tries the places where
parsers go wrong: laws 2, 4 and 6 cut or end it at each telling position, law 5 lets it go on without end. The report shows
the smallest stream that was found, the one place that breaks, and the first event that differs.

The numbers are those of the README. Laws 8 to 12 speak of order, credit, replay and tasks: those are for the parts that
have them, and are tested there.
"""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto.core import Core, Event, LocalProtocolError, Wants
from minproto.testing.cuts import byte_by_byte, chunks, mutated, smallest, telling, whole
from minproto.testing.driver import EndOfInput, Run, Subject, Trace, check_contract, ignore, join_data, trace
from minproto.testing.floods import Excess, Flood, floods, unconfessed
from minproto.testing.report import LawBroken, all_same, describe, difference, same, sentence

__all__ = [
    "RECEIVING_LAWS", "Law", "LawBroken", "Subject", "Trace", "any_cutting", "bounded", "check", "check_law", "end_of_input",
    "garbage", "ignore", "join_data", "linear_time", "off_the_table", "round_trip", "snapshot", "sticky_failure", "trace",
]  # fmt: skip


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
    assert arrived == wanted, f"law {sentence(round_trip)}\n{difference(wanted, arrived, ('sent', 'arrived'))}"


def any_cutting(subject: Subject, stream: Sequence[bytes]) -> None:
    """2. However the bytes are cut, the events (adjacent Data joined) and the error are the same.

    One cut at each telling position, then single bytes, then the cuts of ``stream``."""
    data = b"".join(stream)
    expected = Run(subject).feed([data]).end().outcome()
    for at in telling(data, _marks(subject, data)):
        _compare(subject, expected, [data[:at], data[at:]])
    _compare(subject, expected, byte_by_byte(data))
    _compare(subject, expected, stream)


def _compare(subject: Subject, expected: list[Any], pieces: Sequence[bytes]) -> None:
    if all_same(Run(subject).feed(pieces).end().outcome(), expected):
        return
    pieces, got = _fewest_cuts(subject, expected, list(pieces))
    says = difference(expected, got, ("in one piece", "cut"))
    marks = ["cut"] * (len(pieces) - 1) + ["end of input"]
    raise LawBroken(sentence(any_cutting), says + _hint(expected, got), list(zip(pieces, marks, strict=True)))


def _fewest_cuts(subject: Subject, expected: list[Any], pieces: list[bytes]) -> tuple[list[bytes], list[Any]]:
    """The pieces less the cuts that make no difference, and what they give."""
    at = 1
    while at < len(pieces):
        fewer = [*pieces[: at - 1], pieces[at - 1] + pieces[at], *pieces[at + 1 :]]
        if all_same(Run(subject).feed(fewer).end().outcome(), expected):
            at += 1
        else:
            pieces = fewer
    return pieces, Run(subject).feed(pieces).end().outcome()


def _hint(expected: list[Any], got: list[Any]) -> str:
    """What is meant where pieces of content differ, and the laws could not know them for such."""
    first, second = next(((a, b) for a, b in zip(expected, got, strict=False) if not same(a, b)), (None, None))
    if first is None or type(first) is not type(second) or type(first).__name__ == "Data":
        return ""
    whole, piece = (_content(event) for event in (first, second))
    if piece is None or whole is None or not whole.startswith(piece):
        return ""
    return "\na piece of content may be cut anywhere: its event has to be a dataclass named Data, with the bytes in `data`"


def _content(event: Any) -> bytes | None:
    if isinstance(event, bytes):
        return event
    names = [*getattr(event, "__dict__", ()), *getattr(type(event), "__slots__", ())]
    values = event if isinstance(event, tuple) else [getattr(event, name, None) for name in names]
    return next((value for value in values if isinstance(value, bytes)), None)


def garbage(subject: Subject, stream: Sequence[bytes]) -> None:
    """3. Any bytes give events or RemoteProtocolError, never anything else.

    Nor does their end, wherever it comes."""
    Run(subject).feed(stream).end()
    data = b"".join(stream)
    for at in telling(data, most=24):
        Run(subject).feed([data[:at]]).end()


def sticky_failure(subject: Subject, stream: Sequence[bytes]) -> None:
    """4. After a failure the same error comes again, for ever.

    Where the stream makes the parser fail; and where the end of input does, at a few positions."""
    _again(Run(subject).feed(stream))
    data = b"".join(stream)
    for at in telling(data, _marks(subject, data), most=16):
        _again(Run(subject).feed([data[:at]]).end())


def _again(run: Run) -> None:
    if run.error is None:
        return
    for _ in range(2):
        if (again := run.failure()) is not run.error:
            says = f"first:      {run.error!r}\nnext_event: {describe(again)}, but the same object has to be raised again"
            raise LawBroken(sentence(sticky_failure), says, run.parts())
        if run.wants is not Wants.CLOSED:
            says = f"after {run.error!r} wants is {run.wants.name}, but nothing will come: it has to be CLOSED"
            raise LawBroken(sentence(sticky_failure), says, run.parts())
        if not run.ended:
            run.core.receive_eof()
            run.ended = True


def bounded(subject: Subject, stream: Sequence[bytes]) -> None:
    """5. A parser that wants more data never holds more than its limit, also where the peer goes on and on.

    What it says that it holds (``buffered``) is looked at after each chunk; what it does not say shows in memory that grows
    with a stream that never ends (``minproto.testing.floods``)."""
    data = b"".join(stream)
    for pieces in (stream, byte_by_byte(data)):
        _holds_little(subject, pieces)
    for flood in floods(data, _marks(subject, data), subject.limit):
        if (excess := unconfessed(subject, flood)) is not None:
            raise LawBroken(sentence(bounded), _excess(excess, subject), _endless(flood, excess))


def _holds_little(subject: Subject, pieces: Sequence[bytes]) -> None:
    run = Run(subject)
    for piece in pieces:
        run.feed([piece])
        if not run.open:
            return
        if run.buffered > subject.limit:
            raise LawBroken(sentence(bounded), f"buffered: {run.buffered}, limit: {subject.limit}", run.parts())


def _excess(excess: Excess, subject: Subject) -> str:
    if excess.buffered > subject.limit:
        return f"buffered: {excess.buffered}, limit: {subject.limit}"
    return (
        f"memory grew by {excess.held:,} bytes, and goes on to grow; buffered: {excess.buffered}, limit: {subject.limit}\n"
        "so the parser keeps what it has read, in something that buffered does not count"
    )


def _endless(flood: Flood, excess: Excess) -> list[tuple[bytes, str]]:
    return [(flood.prefix, "then without end:"), (flood.unit, f"{excess.fed // len(flood.unit):,} times so far")]


def end_of_input(subject: Subject, stream: Sequence[bytes]) -> None:
    """6. The end of input at any byte ends the connection or fails; it never hangs.

    Then nothing more comes, and nothing comes twice. Tried at each telling position of the stream."""
    data = b"".join(stream)
    for at in telling(data, _marks(subject, data)):
        run = Run(subject).feed([data[:at]])
        before, waiting = list(run.events), run.error is None and run.buffered
        run.end()
        if run.error is None and (says := _not_ended(run, before, waiting)):
            raise LawBroken(sentence(end_of_input), says, run.parts())


def _not_ended(run: Run, before: list[Event], waiting: int) -> str:
    """What is wrong behind the end of input; empty where nothing is."""
    if run.wants is not Wants.CLOSED:
        return f"expected: wants is CLOSED, or RemoteProtocolError\ngot:      wants is {run.wants.name}"
    after = [event for event in run.events[len(before) :] if not isinstance(event, EndOfInput)]
    if after and not waiting and type(after[0]).__name__ != "Data" and before[-len(after) :] == after:
        return f"expected: no event, for no byte was waiting\ngot:      {describe(after[0])} once more"
    if (more := run.failure()) is not None:
        return f"expected: None, for wants is CLOSED\ngot:      {describe(more)}"
    return ""


def _marks(subject: Subject, data: bytes) -> list[int]:
    """Behind which bytes of the stream an event came, or the parser held no more than before: there it has taken something."""
    marks: list[int] = []
    run, before = Run(subject), (0, 0)
    for at, byte in enumerate(byte_by_byte(data), 1):
        if not run.feed([byte]).open:
            return [*marks, at]
        count, held = len(run.events), run.buffered
        if count > before[0] or held <= before[1]:
            marks.append(at)
        before = count, held
    return marks


def off_the_table(
    situations: Mapping[Any, Callable[[], Core]], events: Iterable[Event], allowed: Callable[[Any, Event], bool]
) -> None:
    """7. In each state, an event that the table lacks raises LocalProtocolError and changes nothing; the others are sent."""
    every = list(events)
    assert situations and every, "no situation, or no event: nothing would be tried"
    for event in every:
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
    """3. The time that a stream takes grows with its bytes, not with their square, in one piece and byte by byte.

    Byte by byte shows a parser that searches again what it has searched; one piece shows a parser that copies all that is
    left for each event. ``stream`` makes a stream of about so many bytes, which the parser has to take."""
    for pieces in (byte_by_byte, whole):
        _taken(subject, pieces(stream(4 * size)))
        assert _is_linear(subject, pieces, stream, size), (
            f"law {sentence(linear_time)}\nnot so for {stream(20)!r}... ({pieces.__name__})"
        )


def _taken(subject: Subject, pieces: Sequence[bytes]) -> None:
    """Of a stream that is refused at its start, time says nothing."""
    run, count, size = Run(subject, keep=False), 0, sum(map(len, pieces))
    for piece in pieces:
        if run.open:
            run.feed([piece])
            count += len(piece)
    assert count > size // 2, f"after {count} of {size} bytes the parser stops: {run.outcome()[-1]!r}"


def _is_linear(subject: Subject, pieces: Callable[[bytes], list[bytes]], stream: Callable[[int], bytes], size: int) -> bool:
    for _ in range(8):  # other programs disturb a clock, but not eight times in a row
        once = min(_seconds(subject, pieces(stream(size))) for _ in range(2))
        if _seconds(subject, pieces(stream(4 * size))) < 8 * max(once, _LEAST_TIME):  # linear: 4 times; quadratic: 16 times
            return True
    return False


_LEAST_TIME = 0.001
"""Seconds below which a clock shows nothing."""


def _seconds(subject: Subject, pieces: Sequence[bytes]) -> float:
    began = time.process_time()
    Run(subject, keep=False).feed(pieces)
    return time.process_time() - began


def snapshot(thing: Any) -> Any:
    """All that an object holds, in a form that can be compared: its attributes and items, theirs, and so on.

    An iterator is not run, and a function counts as itself; of a compressor it is what ``flush`` would give."""
    return _snapshot(thing, ())


_ATOMS = (str, bytes, int, float, Enum, frozenset, type, FunctionType, BuiltinFunctionType, MethodType, Iterator)


def _snapshot(thing: Any, within: tuple[int, ...]) -> Any:
    if thing is None or isinstance(thing, _ATOMS):
        return thing
    if isinstance(thing, bytearray):
        return bytes(thing)
    if id(thing) in within:  # an object that knows the one that holds it
        return f"{type(thing).__name__}, {len(within) - within.index(id(thing))} levels up"
    if hasattr(thing, "copy") and hasattr(thing, "flush"):  # of zlib
        return thing.copy().flush()
    within = (*within, id(thing))
    slots = (name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ()))
    held = {name: _snapshot(getattr(thing, name, None), within) for name in (*getattr(thing, "__dict__", ()), *slots)}
    if isinstance(thing, Mapping):
        return [(_snapshot(key, within), _snapshot(value, within)) for key, value in thing.items()], held
    if isinstance(thing, Set):
        return sorted((_snapshot(item, within) for item in thing), key=repr), held
    if isinstance(thing, Iterable):
        return [_snapshot(item, within) for item in thing], held
    return held


Law = Callable[[Subject, Sequence[bytes]], None]

RECEIVING_LAWS: tuple[Law, ...] = (garbage, any_cutting, sticky_failure, bounded, end_of_input)
"""Those that speak of what turns bytes into events, whatever the protocol. The first is the one that the others rest on."""

_COST: dict[Law, int] = {bounded: 3}
"""How much more than the others a law costs: of hypothesis' number of examples it takes one in so many by default."""
_TRIES = 150
"""How often hypothesis, and after it ``smallest``, may try a smaller stream: no seconds, so a report depends on no machine."""


def check(
    subject: Subject, laws: Iterable[Law] = RECEIVING_LAWS, *, examples: int | None = None, seed: int | None = None
) -> None:
    """Look for a stream that breaks a law: right, damaged or arbitrary. Raises LawBroken, an AssertionError, with a report.

    ``examples``: how many streams each law is tried on; by default as many as hypothesis' profile says (100), or a share of
    that for a law that tries much with each stream. ``seed``: the same number searches the same streams again; by default
    hypothesis' profile decides (``derandomize``, or random)."""
    for law in laws:
        check_law(law, subject, examples=examples, seed=seed)


def check_law(law: Law, subject: Subject, *, examples: int | None = None, seed: int | None = None) -> None:
    """Look for a stream that breaks one law; ``examples`` and ``seed`` as for ``check``."""
    check_contract(subject)
    search = _Search(law, subject)

    @given(stream=chunks(_right_or_wrong(subject.streams)))
    def holds(stream: list[bytes]) -> None:
        search.look(stream)

    try:
        _configured(holds, law, examples, seed)()
    except _FoundError:
        pass  # and out of here, so that a report does not show it as its context
    else:
        if law in RECEIVING_LAWS and not search.events:
            warnings.warn(f"{law.__name__} holds, but the parser made no event of any stream: are they right?", stacklevel=2)
        return
    report = search.smallest()
    _forget_search(report.__cause__)
    raise report.with_traceback(None) from report.__cause__


def _forget_search(error: BaseException | None) -> None:
    """Take hypothesis' part out of what a user will see of a parser's exception."""
    while error is not None:
        if isinstance(error.__context__, _FoundError):
            error.__context__ = None
        error = error.__context__


@st.composite
def _right_or_wrong(draw: st.DrawFn, streams: SearchStrategy[bytes]) -> bytes:
    """A right stream mostly: only that leads deep into a parser, and the laws cut and end it themselves."""
    kind = draw(st.integers(0, 9))
    return draw(streams if kind < 7 else mutated(streams) if kind < 9 else st.binary(max_size=50))


def _configured(holds: Callable[[], None], law: Law, examples: int | None, seed: int | None) -> Callable[[], None]:
    """The test with hypothesis' settings: those of its profile, where a caller has not said otherwise."""
    number = max(1, settings().max_examples // _COST.get(law, 1)) if examples is None else examples
    if seed is not None:
        holds = seeded(seed)(holds)
    # A machine that is busy breaks no law. One fault with its bytes says more than a group of exceptions. In its database
    # hypothesis would mix up all subjects and laws, since the test is one function.
    return settings(
        max_examples=number, deadline=None, report_multiple_bugs=False, phases=[Phase.generate, Phase.shrink], database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )(holds)  # fmt: skip


class _FoundError(Exception):
    """A stream breaks the law."""


class _Search:
    """The streams that break a law, as hypothesis comes upon them."""

    def __init__(self, law: Law, subject: Subject) -> None:
        self._law, self._subject = law, replace(subject, answer=self._answer)
        self._answered = subject.answer
        self.events = 0
        """That all streams together gave."""
        self._found: dict[tuple[bytes, ...], LawBroken] = {}
        self._last: tuple[bytes, ...] = ()  # hypothesis ends with the smallest that it knows
        self._tries = _TRIES // _COST.get(law, 1)

    def look(self, stream: list[bytes]) -> None:
        """Raise _FoundError if the stream breaks the law. One that did before does again, whatever was tried since."""
        key = tuple(stream)
        if key not in self._found:
            report = self._broken(stream) if self._tries else None
            self._tries -= bool(self._found) and self._tries > 0
            if report is None:
                return
            self._found[key] = report
        self._last = key
        raise _FoundError

    def _answer(self, core: Core, event: Event) -> None:
        self.events += 1
        self._answered(core, event)

    def smallest(self) -> LawBroken:
        """The report on the least that breaks the law: what hypothesis has found, less what it does not need."""
        report, tries = self._found[self._last], _TRIES // _COST.get(self._law, 1)

        def fails(data: bytes) -> bool:
            nonlocal report, tries
            less = self._broken([data]) if tries else None
            tries -= tries > 0
            if less is None or less.law != report.law:
                return False
            report = less
            return True

        smallest(b"".join(self._last), fails)
        return report

    def _broken(self, stream: Sequence[bytes]) -> LawBroken | None:
        try:
            self._law(self._subject, stream)
        except LawBroken as broken:
            return broken
        except Exception as error:  # of a law that is not ours
            other = LawBroken(sentence(self._law), f"{type(error).__name__}: {error}", [(b"".join(stream), "")])
            other.__cause__ = error
            return other
        return None
