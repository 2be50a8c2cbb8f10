"""The laws that every core obeys, as functions. Each law is one sentence; its function raises AssertionError if it is broken.

The laws know nothing of any protocol. They are given a ``Subject``: how to make a parser, the streams to feed it, and how many
bytes it may hold. So they can be run against any object that keeps the contract of ``minproto.core``:

    from minproto.testing import Subject, check
    check(Subject(make=MyParser, streams=st.lists(lines).map(b"".join), limit=1024))

``check`` lets hypothesis look for a stream that breaks a law. In each stream, the laws try many places where parsers
go wrong: laws 2, 4 and 6 cut or end the stream at many positions, and law 5 continues it without end. The report shows the
smallest stream that was found, the one place where it breaks the law, and the first event that differs.

``docs/tested.md`` numbers the laws in the same way. Laws 8 to 12 are about order, credit, replay and tasks. These laws concern
only some parts of the package, so they are in the tests of those parts. Law 13 compares two implementations
(``agreement.py``).
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

from minproto.core import Core, Event, LocalProtocolError, Wants
from minproto.testing.cuts import byte_by_byte, smallest, telling, whole
from minproto.testing.driver import EndOfInput, Run, Subject, Trace, check_contract, ignore, join_data, trace
from minproto.testing.floods import Excess, Flood, excesses, floods
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
    """1. What one end sends, the other receives, equal.

    ``answer``: called after each event, for a protocol in which the receiver has to answer before the next event.
    ``expected``: the events that should arrive, if the protocol joins some of ``events`` into one."""
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

    Tried with one cut at each of many positions, then with single bytes, then with the cuts of ``stream``."""
    data = b"".join(stream)
    subject.ahead([[data, None], [*byte_by_byte(data), None], [*stream, None]])
    expected = Run(subject).feed([data]).end().outcome()
    cuttings = [[data[:at], data[at:]] for at in telling(data, _marks(subject, data))]
    subject.ahead([*pieces, None] for pieces in cuttings)
    for pieces in [*cuttings, byte_by_byte(data), stream]:
        _compare(subject, expected, pieces)


def _compare(subject: Subject, expected: list[Any], pieces: Sequence[bytes]) -> None:
    """Compare the outcome of these pieces with what is expected. Raises LawBroken, with the fewest cuts that break the law."""
    if all_same(Run(subject).feed(pieces).end().outcome(), expected):
        return
    pieces, got = _fewest_cuts(subject, expected, list(pieces))
    says = difference(expected, got, ("in one piece", "cut"))
    marks = ["cut"] * (len(pieces) - 1) + ["end of input"]
    raise LawBroken(sentence(any_cutting), says + _hint(expected, got), list(zip(pieces, marks, strict=True)))


def _fewest_cuts(subject: Subject, expected: list[Any], pieces: list[bytes]) -> tuple[list[bytes], list[Any]]:
    """Return the pieces without the cuts that make no difference, and the outcome of these pieces."""
    at = 1
    while at < len(pieces):
        fewer = [*pieces[: at - 1], pieces[at - 1] + pieces[at], *pieces[at + 1 :]]
        subject.ahead([[*fewer, None]])
        if all_same(Run(subject).feed(fewer).end().outcome(), expected):
            at += 1
        else:
            pieces = fewer
    return pieces, Run(subject).feed(pieces).end().outcome()


def _hint(expected: list[Any], got: list[Any]) -> str:
    """Return a hint if two events seem to be pieces of content: only events named Data are joined before a comparison."""
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

    The same holds for the end of input, which is tried at many positions."""
    data = b"".join(stream)
    beginnings = [[data[:at]] for at in telling(data, most=24)]
    subject.ahead([*pieces, None] for pieces in [stream, *beginnings])
    for pieces in [stream, *beginnings]:
        Run(subject).feed(pieces).end()


def sticky_failure(subject: Subject, stream: Sequence[bytes]) -> None:
    """4. After a failure the same error comes again, for ever.

    Tried after a failure caused by the stream, and after failures caused by the end of input at some positions."""
    subject.ahead([stream])
    _again(Run(subject).feed(stream))
    data = b"".join(stream)
    beginnings = [[data[:at]] for at in telling(data, _marks(subject, data), most=16)]
    for after in ([b"", None], [None] * 3):  # what ``_again`` does, after a failure without and with an end of input
        subject.ahead([*pieces, *after] for pieces in beginnings)
    for pieces in beginnings:
        _again(Run(subject).feed(pieces).end())


def _again(run: Run) -> None:
    """Call ``next_event`` again after a failure, and after the end of input: it has to raise the same error object."""
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
    """5. A parser that wants more data never holds more than its limit, even if the peer never stops.

    The law checks ``buffered`` after each chunk. Bytes that ``buffered`` leaves out are found with a stream that never ends,
    because memory then grows (``minproto.testing.floods``)."""
    data = b"".join(stream)
    subject.ahead([stream, byte_by_byte(data)])
    for pieces in (stream, byte_by_byte(data)):
        _holds_little(subject, pieces)
    for flood, excess in excesses(subject, floods(data, _marks(subject, data), subject.limit)):
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

    After the end, no more events come, and no event comes twice. Tried at many positions of the stream."""
    data = b"".join(stream)
    beginnings = [[data[:at]] for at in telling(data, _marks(subject, data))]
    subject.ahead([*pieces, None] for pieces in beginnings)
    for pieces in beginnings:
        run = Run(subject).feed(pieces)
        before, waiting = list(run.events), run.error is None and run.buffered
        run.end()
        if run.error is None and (says := _not_ended(run, before, waiting)):
            raise LawBroken(sentence(end_of_input), says, run.parts())


def _not_ended(run: Run, before: list[Event], waiting: int) -> str:
    """Return what the parser does wrong after the end of input; "" if it does nothing wrong."""
    if run.wants is not Wants.CLOSED:
        return f"expected: wants is CLOSED, or RemoteProtocolError\ngot:      wants is {run.wants.name}"
    after = [event for event in run.events[len(before) :] if not isinstance(event, EndOfInput)]
    if after and not waiting and type(after[0]).__name__ != "Data" and before[-len(after) :] == after:
        return f"expected: no event, for no byte was waiting\ngot:      {describe(after[0])} once more"
    if (more := run.failure()) is not None:
        return f"expected: None, for wants is CLOSED\ngot:      {describe(more)}"
    return ""


def _marks(subject: Subject, data: bytes) -> list[int]:
    """Return the positions after which the parser yielded an event, or held no more bytes than before: it parsed something."""
    marks: list[int] = []
    subject.ahead([byte_by_byte(data)])
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
    """3. The time to parse a stream grows linearly with its length, whether it comes in one piece or byte by byte.

    A parser that searches the same bytes over again is slow byte by byte; a parser that copies all remaining bytes for each
    event is slow with one piece. ``stream`` makes a stream of about the given number of bytes, which the parser has to
    accept."""
    for pieces in (byte_by_byte, whole):
        assert _is_linear(subject, pieces, stream, size), (
            f"law {sentence(linear_time)}\nnot so for {stream(20)!r}... ({pieces.__name__})"
        )


def _is_linear(subject: Subject, pieces: Callable[[bytes], list[bytes]], stream: Callable[[int], bytes], size: int) -> bool:
    for _ in range(8):  # other programs may disturb the clock, but hardly eight times in a row
        long = _seconds(subject, pieces(stream(4 * size)))
        once = min(_seconds(subject, pieces(stream(size))) for _ in range(2))
        if long < 8 * max(once, _LEAST_TIME):  # linear: 4 times; quadratic: 16 times
            return True
    return False


_LEAST_TIME = 0.001
"""The least time, in seconds, that is long enough to compare."""


def _seconds(subject: Subject, pieces: Sequence[bytes]) -> float:
    """Return how long the parser takes for the stream. It has to accept most of the stream, or the time shows nothing."""
    run, rest = Run(subject, keep=False), iter(pieces)
    began = time.process_time()
    run.feed(rest)
    seconds = time.process_time() - began
    size = sum(map(len, pieces))
    taken = size - sum(map(len, rest))
    assert taken > size // 2, f"after {taken} of {size} bytes the parser stops: {run.outcome()[-1]!r}"
    return seconds


def snapshot(thing: Any) -> Any:
    """Return everything that an object holds, in a form that can be compared: attributes, items, their attributes, and so on.

    Iterators are not run, and functions stay as they are. In place of a zlib compressor comes the result of its ``flush``."""
    return _snapshot(thing, ())


_ATOMS = (str, bytes, int, float, Enum, frozenset, type, FunctionType, BuiltinFunctionType, MethodType, Iterator)


def _snapshot(thing: Any, within: tuple[int, ...]) -> Any:
    if thing is None or isinstance(thing, _ATOMS):
        return thing
    if isinstance(thing, bytearray):
        return bytes(thing)
    if id(thing) in within:  # a reference back to an object that contains this reference
        return f"{type(thing).__name__}, {len(within) - within.index(id(thing))} levels up"
    if hasattr(thing, "copy") and hasattr(thing, "flush"):  # a zlib compressor
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
"""The laws about turning bytes into events, for every protocol. Law 3 comes first because the other laws rely on it."""

_COST: dict[Law, int] = {bounded: 3}
"""Slow laws -> how many times longer they take. By default, a law with the cost 3 gets a third of the streams."""
_TRIES = 150
"""How many smaller streams are tried, by hypothesis and then by ``smallest``. If seconds were limited instead, the report
would depend on the machine."""
_SLOW = 50
"""A try that takes seconds counts as this many tries."""


def check(
    subject: Subject, laws: Iterable[Law] = RECEIVING_LAWS, *, examples: int | None = None, seed: int | None = None
) -> None:
    """Look for a valid, damaged or arbitrary stream that breaks a law. Raises LawBroken, an AssertionError.

    ``examples``: the number of streams for each law. The default is the number in hypothesis' profile (100), and a third of
    it for law 5, which tries more with each stream. ``seed``: with the same number, the same streams are tried again. By
    default, hypothesis' profile says whether the streams are always the same (``derandomize``) or random."""
    for law in laws:
        check_law(law, subject, examples=examples, seed=seed)


def check_law(
    law: Law, subject: Subject, *, examples: int | None = None, seed: int | None = None,
    streams: Sequence[list[bytes]] | None = None,
) -> int:  # fmt: skip
    """Look for a stream that breaks one law, and return the number of streams tried. ``examples``, ``seed``: see ``check``.

    ``streams``: try these, which ``draw`` has returned. Only if one of them breaks the law, hypothesis looks for a small one:
    it takes as long to draw a hundred streams as to try them, so several laws can share them."""
    check_contract(subject)
    search = _Search(law, subject)
    if not (search.try_all(streams) if streams is not None else search.draw(examples, seed)):
        if law in RECEIVING_LAWS and not search.events:
            says = f"{law.__name__} holds, but the parser made no event of any stream: are the streams right?"
            warnings.warn(says, stacklevel=2)
        return search.tried
    if streams is not None and not search.slow and (smaller := _Search(law, subject)).draw(examples, seed):
        search = smaller
    report = search.smallest()
    _forget_search(report.__cause__)
    raise report.with_traceback(None) from report.__cause__


def draw(subject: Subject, *, examples: int, seed: int) -> list[list[bytes]]:
    """Return the streams that ``check_law`` would draw."""
    drawn: list[list[bytes]] = []

    @given(stream=subject.drawn(subject.streams))
    def keep(stream: list[bytes]) -> None:
        drawn.append(stream)

    _configured(keep, garbage, examples, seed)()
    return drawn


def _forget_search(error: BaseException | None) -> None:
    """Remove our search from the chain of exceptions, so that a user sees only the parser's own exception."""
    while error is not None:
        if isinstance(error.__context__, _FoundError):
            error.__context__ = None
        error = error.__context__


def _configured(holds: Callable[[], None], law: Law, examples: int | None, seed: int | None) -> Callable[[], None]:
    """Return the test with hypothesis' settings: the caller's number of examples and seed, or else the profile's."""
    number = max(1, settings().max_examples // _COST.get(law, 1)) if examples is None else examples
    if seed is not None:
        holds = seeded(seed)(holds)
    # No deadline: a busy machine breaks no law. No report of several bugs: one fault with its bytes is easier to read than a
    # group of exceptions. No database: all laws and subjects are one test function, so hypothesis would mix up their streams.
    return settings(
        max_examples=number, deadline=None, report_multiple_bugs=False, phases=[Phase.generate, Phase.shrink], database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )(holds)  # fmt: skip


class _FoundError(Exception):
    """Tells hypothesis that a stream breaks the law."""


class _Search:
    """The search for a stream that breaks one law, with the streams that have been found so far."""

    def __init__(self, law: Law, subject: Subject) -> None:
        self._law, self._subject = law, replace(subject, answer=self._answer)
        self._answered = subject.answer
        self.events = 0
        """The number of events that all streams together have produced."""
        self.tried = 0
        """The number of streams."""
        self._found: dict[tuple[bytes, ...], LawBroken] = {}
        self._last: tuple[bytes, ...] = ()  # hypothesis runs the smallest stream of all last
        self._tries = _TRIES // _COST.get(law, 1)

    def try_all(self, streams: Iterable[list[bytes]]) -> bool:
        """Return whether one of these streams breaks the law."""
        try:
            for stream in streams:
                self.look(stream)
        except _FoundError:
            return True
        return False

    def draw(self, examples: int | None, seed: int | None) -> bool:
        """Let hypothesis draw streams. Return whether one of them breaks the law; then it has looked for a smaller one."""

        @given(stream=self._subject.drawn(self._subject.streams))
        def holds(stream: list[bytes]) -> None:
            self.look(stream)

        try:
            _configured(holds, self._law, examples, seed)()
        except _FoundError:
            return True  # the report is raised by the caller, so that it does not show this error as its context
        return False

    def look(self, stream: list[bytes]) -> None:
        """Raise _FoundError if the stream breaks the law. A stream that has broken the law before is not tried again."""
        key = tuple(stream)
        self.tried += 1
        if key not in self._found:
            report = self._broken(stream) if self._tries else None
            self._tries -= bool(self._found) and self._tries > 0
            if report is not None and report.slow:
                self._tries = 0
            if report is None:
                return
            self._found[key] = report
        self._last = key
        raise _FoundError

    def _answer(self, core: Core, event: Event) -> None:
        self.events += 1
        self._answered(core, event)

    @property
    def slow(self) -> bool:
        """Whether it takes seconds to see that a stream breaks the law."""
        return any(report.slow for report in self._found.values())

    def smallest(self) -> LawBroken:
        """Return the report on the smallest stream: the stream that hypothesis found, reduced to its necessary bytes."""
        report, tries = self._found[self._last], _TRIES // _COST.get(self._law, 1)

        def fails(data: bytes) -> bool:
            nonlocal report, tries
            less = self._broken([data]) if tries else None
            tries = max(0, tries - (_SLOW if less is not None and less.slow else 1))
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
        except Exception as error:  # raised by a user's own law
            other = LawBroken(sentence(self._law), f"{type(error).__name__}: {error}", [(b"".join(stream), "")])
            other.__cause__ = error
            return other
        return None
