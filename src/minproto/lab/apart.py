r"""Take a stream apart: feed its bytes to a core, piece by piece, and record each call of ``next_event``.

    take_apart("http1-request", "server", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [9])

The cut after byte 9 makes two pieces, ``GET / HTT`` and ``P/1.1\r\nHost: a\r\n\r\n``. This is what the core makes of them:

    step  arrives         parsed    event             wants     the owner sends
    1     bytes 0 to 9              None              data
    2     bytes 9 to 27   0 to 27   RequestHead       data
    3                               EndOfMessage      data      HTTP/1.1 404 Not Found ...
    4                               None              data
    5     end of input              None              closed

A step is one call of ``next_event``, as a shell makes it: a piece arrives, and the shell pulls events until there is none.
``minproto.explain`` names the fields of the bytes. For a fault, this module looks for wrong examples of the ledger that make
our core raise the same error. The sentence that such an example breaks is probably the sentence that these bytes break.

The bytes, the cuts, the steps and the fields are bounded, since anybody can write a link with a large stream.
"""

import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any

from minproto.core import CLIENT, DATA, SERVER, Event, RemoteProtocolError
from minproto.explain import Row
from minproto.explain.once import explain_after
from minproto.explain.rows import counted
from minproto.http2_events import StreamFault
from minproto.http2_frames import PREFACE, code_name, encode_settings
from minproto.lab.ends import End, make_end
from minproto.prove import ledger
from minproto.prove.examples import ACCEPTED, INCOMPLETE
from minproto.prove.ledger import Requirement

MAX_BYTES = 65_536
"""The maximum number of bytes that are taken apart."""
MAX_CUTS = 1_000
MAX_STEPS = 2_000
"""The maximum number of steps that are recorded: each cut makes a step, and most pieces make a few more."""
MAX_FIELDS = 5_000
"""The maximum number of fields that are explained."""
MAX_VALUE = 300
"""The maximum number of characters of one value, and of bytes of one answer, that a step has."""
MAX_ENTRIES = 4
"""The maximum number of sentences of the ledger that are shown for a fault."""

Object = dict[str, Any]

OPENINGS = {
    ("http2", "server"): PREFACE + encode_settings([]) + bytes.fromhex("000000 04 01 00000000"),
    ("http2", "client"): encode_settings([]) + bytes.fromhex("000000 04 01 00000000"),
}
"""The bytes that precede an example of the ledger: a client's preface, SETTINGS, and the acknowledgement of our SETTINGS."""


def take_apart(protocol: str, role: str, data: bytes, cuts: list[int]) -> Object:
    """Return the steps, the rows of fields, and what the end has sent before, for ``json.dumps``.

    ``cuts``: the positions at which a piece ends, each from 1 to ``len(data) - 1``. Raises ValueError for a wrong argument.
    The text of this error is one line for the user.
    """
    end = make_end(protocol, role)
    _check(data, cuts)
    run = _Run(end)
    run.feed(data, sorted(set(cuts)))
    rows = explain_after(end.said_before(bytes(run.sent)), data, CLIENT if end.role is SERVER else SERVER)
    shown = _shown_rows(rows, end)
    _add_entries(run.steps, protocol, role, rows)
    return {"before": _bytes(run.before), "steps": run.steps, "more": run.full, "rows": shown}


def _check(data: bytes, cuts: list[int]) -> None:
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data):,} bytes are too many: at most {MAX_BYTES:,} are taken apart")
    if len(cuts) > MAX_CUTS:
        raise ValueError(f"{len(cuts):,} cuts are too many: at most {MAX_CUTS:,} are made")
    for cut in cuts:
        if not 0 < cut < len(data):
            few = f"a stream of {counted(len(data), 'byte')} has no place for a cut"
            places = f"the {len(data):,} bytes can be cut at 1 to {len(data) - 1:,}" if len(data) > 1 else few
            raise ValueError(f"no cut is possible at {cut}: {places}")


# ---- the steps ---------------------------------------------------------------------------------------------------------


class _Run:
    """One end that reads one stream, step by step."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.before = end.begin()
        self.sent = bytearray(self.before)
        self.steps: list[Object] = []
        self._received = self._parsed = 0

    @property
    def full(self) -> bool:
        """Whether as many steps as possible are recorded."""
        return len(self.steps) >= MAX_STEPS

    def feed(self, data: bytes, cuts: list[int]) -> None:
        """Feed the pieces and the end of input, as long as the core wants data."""
        core = self.end.core
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if start < stop:
                self.sent += self.end.prepare()
                core.receive_data(data[start:stop])
                self._received = stop
                if not self._pull({"data": [start, stop]}):
                    return
        core.receive_eof()
        self._pull({"eof": True})

    def _pull(self, arrived: Object) -> bool:
        """Record calls of ``next_event`` until there is no event. Return whether the core wants more data."""
        while not self.full:
            event, goes_on = self._call(arrived)
            if not goes_on:
                return False
            if event is None:
                return self.end.core.wants is DATA
            arrived = {}
        return False

    def _call(self, arrived: Object) -> tuple[Event | None, bool]:
        """Record one call of ``next_event``. Return its event, and whether the connection goes on."""
        core, event, error = self.end.core, None, None
        before = self._parsed
        try:
            event = core.next_event()
            answer = b"" if event is None else self.end.answer(event)
        except RemoteProtocolError as broken:
            error, answer = broken, self.end.farewell(broken)
        self.sent += answer
        self._parsed = self._received - len(core.trailing_data)
        step = {
            "arrived": arrived,
            "parsed": [before, self._parsed],
            "event": None if event is None else _shown_event(event),
            "error": None if error is None else _shown_error(error, self.end.protocol),
            "fault": event.reason if isinstance(event, StreamFault) else "" if error is None else str(error),
            "wants": core.wants.value,
            "buffered": core.buffered,
            "state": [[name, value] for name, value in self.end.state()],
            "sent": _bytes(answer),
        }
        self.steps.append(step)
        return event, error is None


def _shown_event(event: Event) -> Object:
    """Return an event: its type, and the fields whose values are not the usual ones."""
    values = [
        [each.name, _short(repr(value))]
        for each in fields(event)
        if each.repr and (value := getattr(event, each.name)) not in (each.default, None, [])
    ]
    return {"type": type(event).__name__, "fields": values}


def _shown_error(error: RemoteProtocolError, protocol: str) -> Object:
    code = code_name(error.code) if protocol == "http2" else str(error.code or "")
    return {"text": str(error), "code": code}


def _short(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text):,} characters)"


def _bytes(data: bytes) -> Object:
    return {"hex": data[:MAX_VALUE].hex(), "bytes": len(data)}


# ---- the fields --------------------------------------------------------------------------------------------------------


def _shown_rows(rows: list[Row], end: End) -> list[Object]:
    """Return the peer's rows, each with the positions of its fields in the stream, up to the maximum number of fields."""
    shown, count = [], 0
    for row in rows:
        if row.sender is end.role:
            continue
        count += len(row.fields)
        if count > MAX_FIELDS:
            break
        words = row.to_json()
        at = row.offset
        for field, own in zip(words["fields"], row.fields, strict=True):
            field |= {"from": at, "to": at + len(own.raw), "value": _short(own.value)}
            at += len(own.raw)
            del field["raw"]  # the page has the bytes
        shown.append({name: words[name] for name in ("protocol", "title", "error", "stream", "fields")})
    return shown


# ---- the ledger --------------------------------------------------------------------------------------------------------

_VALUE = re.compile(r"0x[0-9a-f]+|\d[\d,]*|b?'[^']*'")
_SECTION = re.compile(r"([A-Z]+(?: [0-9A-Z]+)?) §([0-9]+(?:\.[0-9]+)*)")


def _add_entries(steps: list[Object], protocol: str, role: str, rows: list[Row]) -> None:
    """Add the ledger's entries to each step with a fault."""
    for step in steps:
        fault, (start, stop) = step.pop("fault"), step["parsed"]
        at = max(start, stop - 1)  # the last byte that was parsed; if none was, the first byte that waits
        found = _entries(protocol, role, fault, _sections(rows, at)) if fault else []
        step["entries"] = [_shown_entry(entry) for entry in found]


def _entries(protocol: str, role: str, fault: str, sections: set[tuple[str, str]]) -> list[Requirement]:
    """Return the entries whose wrong example leads to this fault, those about the row at its place first."""
    known = _faults(protocol, role)
    exact, similar = known.get(fault, []), known.get(_VALUE.sub("#", fault), [])
    same = exact + [entry for entry in similar if entry not in exact]
    same = [entry for entry in same if role in entry.binds] or same

    def is_elsewhere(entry: Requirement) -> bool:
        return all((entry.standard, section) not in sections for section in entry.sections)

    return sorted(same, key=is_elsewhere)[:MAX_ENTRIES]


def _sections(rows: list[Row], at: int) -> set[tuple[str, str]]:
    """Return the sections, as (standard, section), that define the fields of one row: the row that contains the byte at
    ``at``."""
    row = next((row for row in rows if row.offset <= at < row.offset + len(row.raw)), None)
    return {found for field in row.fields for found in _SECTION.findall(field.section)} if row else set()


@cache
def _faults(protocol: str, role: str) -> dict[str, list[Requirement]]:
    """Run the ledger's wrong examples. Return the text of a fault, with and without its values -> the entries with it."""
    found: dict[str, list[Requirement]] = {}
    for entry, data in wrong_examples(protocol, role):
        run = _Run(make_end(protocol, role))
        run.feed(data, [])
        fault = next((step["fault"] for step in run.steps if step["fault"]), "")
        for text in {fault, _VALUE.sub("#", fault)}:
            known = found.setdefault(text, [])
            if entry not in known:
                known.append(entry)
    return found


def wrong_examples(protocol: str, role: str) -> Iterator[tuple[Requirement, bytes]]:
    """Yield the wrong examples of the ledger that this end reads and does not accept: the entry, and the whole stream."""
    for entry in ledger.load():
        for example in entry.examples() if entry.stream == protocol else ():
            is_noticed = example.kind == "wrong" and example.gives not in (ACCEPTED, INCOMPLETE)
            if is_noticed and example.role in ("", role):
                yield entry, OPENINGS.get((protocol, role), b"") + example.data


def _shown_entry(entry: Requirement) -> Object:
    return {
        "id": entry.id, "level": entry.level, "says": entry.says, "why": entry.why,
        "section": f"{entry.standard} §{entry.section}" if entry.standard != "RESP" else f"RESP, {entry.section}",
        "page": f"{entry.id.split('-')[0]}.md",
    }  # fmt: skip
