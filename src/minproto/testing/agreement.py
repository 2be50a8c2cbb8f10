"""Law 13: two implementations that are driven in lockstep agree after every call.

A ``Pair`` says how to make the two, which bytes a peer might send to them, and which events their owner might send. Hypothesis
then calls the same methods on both, in any order and with bytes that are right, damaged or cut anywhere. After each call it
compares:

- the two results of the call, or the two errors, by class, text and code;
- every public property, ``wants`` and ``buffered`` among them.

After the comparison the events that both returned are overwritten. If a cache still held one of these events, or if the two
cores shared an event, a later comparison would see the overwritten values.

The tests of this package use the law to compare each fast core with its plain one. ``agrees_with`` is the law for a parser of
your own, which has fewer methods than a core, and which is compared with a core of ours.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

from minproto.core import Core, Event, ProtocolError, RemoteProtocolError, Wants
from minproto.testing.cuts import mutated, telling
from minproto.testing.driver import EndOfInput, Run, Subject, join_data
from minproto.testing.json_events import as_told
from minproto.testing.laws import Law
from minproto.testing.report import LawBroken, Part, all_same, difference, same, sentence

MAX_CALLS = 60
"""The number of calls in one run of the machine."""


@dataclass(frozen=True)
class Pair:
    """Two implementations that should behave alike, and the bytes and events that drive them."""

    make: Callable[[], tuple[Core, Core]]
    """Return two new cores in the same state. Random choices (of a masking key, say) have to be the same in both."""
    streams: SearchStrategy[bytes] = field(default_factory=st.binary)
    """The bytes that a peer might send; the machine damages and cuts them."""
    events: SearchStrategy[Event] = field(default_factory=st.nothing)
    """The events that an owner might send."""
    calls: SearchStrategy[tuple[Any, ...]] = field(default_factory=st.nothing)
    """Other calls that an owner might make: the name of a method, and its arguments."""


def outcome(call: Callable[[], Any], errors: type[Exception] = ProtocolError) -> tuple[str, Any]:
    """Return ("gives", the result) of a call, or ("raises", (class, text, code)) of its error. Other errors pass through."""
    try:
        return "gives", call()
    except errors as error:
        return "raises", _told(error)


def _told(value: Any) -> Any:
    """Return an error as (class, text, code), since two exceptions are never equal. Any other value is returned as it is."""
    return (type(value), str(value), getattr(value, "code", None)) if isinstance(value, Exception) else value


def public(core: object) -> dict[str, Any]:
    """Return the public attributes and properties of a core, without its methods."""
    names = [name for name in dir(core) if not name.startswith("_")]
    return {name: _told(value) for name in names if not callable(value := getattr(core, name))}


def _spoil(event: Any) -> None:
    """Overwrite an event, as an app may do. This must not change anything else."""
    if isinstance(event, Event) and is_dataclass(event):
        for name in (each.name for each in fields(event)):
            value = getattr(event, name)
            if isinstance(value, list | dict):
                value.clear()
            setattr(event, name, None)


class Lockstep(RuleBasedStateMachine):
    """The machine that drives a pair. Each of its rules calls both cores."""

    pair: ClassVar[Pair]

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Make two new cores, and draw the stream that a peer sends to them."""
        self.one, self.other = self.pair.make()
        self.stream = data.draw(self.pair.streams | mutated(self.pair.streams), "stream")
        # The input cannot end before this many calls. If it could, few streams would be read very far.
        self.calls = data.draw(st.integers(0, MAX_CALLS), "calls")
        self.received: Event | None = None
        self.ended = False

    @rule(data=st.data())
    @precondition(lambda self: self.one.wants is Wants.CLOSED)
    def begin_again(self, data: st.DataObject) -> None:
        self.begin(data)

    def both(self, what: str, *arguments: Any) -> tuple[str, Any]:
        """Call a method on both cores, each with its own copy of the arguments, and compare the cores."""
        self.calls -= 1
        cores = (self.one, self.other)
        given, expected = (outcome(partial(getattr(core, what), *copy.deepcopy(arguments))) for core in cores)
        assert same(given, expected), f"{what}{arguments}: one {given}, the other {expected}"
        shown, beside = public(self.one), public(self.other)
        assert shown.keys() == beside.keys(), f"only one of the two has {', '.join(shown.keys() ^ beside.keys())}"
        differ = {name: (shown[name], beside[name]) for name in shown if shown[name] != beside[name]}
        assert not differ, f"after {what}{arguments} (one, the other): {differ}"
        if what == "next_event" and given[0] == "gives":
            self.received = copy.deepcopy(given[1])
            _spoil(given[1])
            _spoil(expected[1])
        return given

    @rule(size=st.integers(0, 9) | st.integers(0, 300) | st.just(1 << 20))
    @precondition(lambda self: not self.ended)
    def receive_data(self, size: int) -> None:
        data = self.stream[:size]
        if self.both("receive_data", data)[0] == "gives":
            self.stream = self.stream[size:]

    @rule()
    @precondition(lambda self: not self.stream and (self.calls < 0 or self.one.wants is not Wants.DATA))
    def receive_eof(self) -> None:
        self.ended = True
        self.both("receive_eof")

    @rule(times=st.sampled_from([1, 1, 1, 20]))
    def next_event(self, times: int) -> None:
        for _ in range(times):
            if self.both("next_event")[1] is None:
                break

    @rule(data=st.data())
    @precondition(lambda self: not self.pair.events.is_empty)
    def send(self, data: st.DataObject) -> None:
        self.both("send", data.draw(self.pair.events, "event"))

    @rule(data=st.data())
    @precondition(lambda self: not self.pair.calls.is_empty)
    def call(self, data: st.DataObject) -> None:
        self.both(*data.draw(self.pair.calls, "call"))

    @rule()
    @precondition(lambda self: self.received is not None)
    def reply(self) -> None:
        answer = self.both("reply", self.received)[1]
        if isinstance(answer, Event):
            self.both("send", answer)

    @rule(code=st.sampled_from([0, 400, 408, 1002, 1006, 1011]), says=st.booleans())
    @precondition(lambda self: self.calls < 0 or self.one.error is not None)
    def end(self, code: int, says: bool) -> None:
        """Ask for the farewell after a fault, and sometimes send it, as a shell does."""
        if self.one.error is None:
            self.both("fail", RemoteProtocolError("too late", code))
        for event in self.both("farewell", self.one.error)[1] if says else ():
            self.both("send", event)


def lockstep(pair: Pair) -> type[Lockstep]:
    """Return the machine for a pair: ``TestLockstep = lockstep(pair).TestCase`` is a test for pytest."""
    return type("TheLockstep", (Lockstep,), {"pair": pair})


def agrees(pair: Pair, *, examples: int | None = None, seed: int | None = None) -> None:
    """13. Two implementations driven in lockstep agree after every call. Raises AssertionError, with the calls before it."""
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    options = settings(deadline=None, suppress_health_check=checks, stateful_step_count=MAX_CALLS, print_blob=False)
    if examples is not None:
        options = settings(options, max_examples=examples)
    machine: Any = lockstep(pair)
    if seed is not None:
        machine._hypothesis_internal_use_seed = seed
    run_state_machine_as_test(machine, settings=options)


# ---- the law for parsers that are not our cores -------------------------------------------------------------------
#
# ``agrees`` calls every method of two cores. Somebody else's parser has only the five names of the contract, and its errors
# have texts of their own. So the two laws below compare what such a parser reports: its events, whether it fails, and
# ``wants``.

AGREEMENT = "13. Two implementations driven in lockstep agree after every call."
_TOO_LARGE = (413, 414, 431)
"""The codes of our errors about sizes. Another parser may have other limits, so the comparison ends there."""


MINPROTO = ("minproto", "yours")
"""The names of the reference and of the parser under test, in a report."""


def understands_as(reference: Subject, names: tuple[str, str] = MINPROTO) -> Law:
    """Return law 1 for a parser: it makes the same events as our core of a stream that our core accepts."""

    def understands(subject: Subject, stream: Sequence[bytes]) -> None:
        """1. What one end sends, the other receives, equal."""
        data = b"".join(stream)
        ours = Run(reference).feed([data])
        if ours.error is not None:
            return
        yours = Run(subject).feed([data])
        if says := _differ(ours, yours, names):
            raise LawBroken(sentence(understands), says, [(data, "")])
        if yours.error is not None:
            raise LawBroken(sentence(understands), _two(names, "no error", repr(yours.error)), [(data, "")])

    return understands


def agrees_with(reference: Subject, *, ends: bool = True, names: tuple[str, str] = MINPROTO) -> Law:
    """Return law 13 for a parser: after each chunk, and at the end, it has made the same events as our core.

    Our core reports an error at the first wrong byte at the latest. A parser may report it later. But both make the same
    events before the error and no events after it, and both have failed when the input ends. ``ends``: also end the input at
    many positions."""

    def agrees(subject: Subject, stream: Sequence[bytes]) -> None:
        """13. Two implementations driven in lockstep agree after every call."""
        data = b"".join(stream)
        if len(data) > subject.limit:  # the parser may refuse it for its size
            return
        tried = [list(stream), *([data[:at]] for at in telling(data, most=16) if ends)]
        subject.ahead([*pieces, *[None] * ends] for pieces in tried)
        for pieces in tried:
            if says := _lockstep(reference, subject, pieces, ends, names):
                raise LawBroken(AGREEMENT, *says)

    return agrees


def agrees_on(
    reference: Subject, subject: Subject, stream: bytes, *, ends: bool = True, names: tuple[str, str] = MINPROTO
) -> None:
    """Compare a parser with our core on one stream, which comes in one piece and then ends. Raises LawBroken, as law 13
    does."""
    if says := _lockstep(reference, subject, [stream], ends, names):
        raise LawBroken(AGREEMENT, *says)


def _lockstep(
    reference: Subject, subject: Subject, pieces: Sequence[bytes], ends: bool, names: tuple[str, str]
) -> tuple[str, list[Part]] | None:
    """Feed the same pieces to our core and to a parser. Return what differs first, and the bytes so far."""
    ours, yours = Run(reference), Run(subject)
    for at, piece in enumerate(pieces):
        for run in (ours, yours):
            if run.open:
                run.feed([piece])
        if ours.error is not None and ours.error.code in _TOO_LARGE:
            return None
        if says := _differ(ours, yours, names) or _unlike(ours, yours, names):
            return says, [(b"".join(pieces[: at + 1]), "")]
        if not ours.open and not yours.open:
            break
    if ends:
        ours.end()
        yours.end()
        if says := _differ(ours, yours, names) or _unlike(ours, yours, names, ended=True):
            return says, [(b"".join(pieces), "end of input")]
    return None


def _differ(ours: Run, yours: Run, names: tuple[str, str]) -> str:
    """Return the first event that differs; "" if none does."""
    first, second = _made(ours), _made(yours)
    return "" if all_same(first, second) else difference(first, second, names)


def _made(run: Run) -> list[Any]:
    return [as_told(event) for event in join_data(run.events) if not isinstance(event, EndOfInput)]


def _unlike(ours: Run, yours: Run, names: tuple[str, str], ended: bool = False) -> str:
    """Return the error or the ``wants`` that differs; "" if none does.

    At the end of the input, both have failed, or neither has. Earlier, one of the two may already have failed."""
    failed = (ours.error is not None, yours.error is not None)
    if (not any(failed) and ours.wants is not yours.wants) or (ended and failed[0] != failed[1]):
        return _two(names, _state(ours), _state(yours))
    return ""


def _two(names: tuple[str, str], first: str, second: str) -> str:
    """Return two lines, each with its name in front."""
    width = max(map(len, names)) + 1
    return "\n".join(f"{name + ':':<{width}} {text}" for name, text in zip(names, (first, second), strict=True))


def _state(run: Run) -> str:
    return repr(run.error) if run.error is not None else f"no error, and wants is {run.wants.name}"
