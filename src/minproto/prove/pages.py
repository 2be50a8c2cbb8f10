r"""Write docs/requirements/ from the ledger: one page for each standard, from a sentence to the line that obeys it.

    python -m minproto.prove.pages            # write the pages of this clone
    python -m minproto.prove.pages --check    # or only say which of them are out of date (exit status 1)

An entry of a page looks like this:

    ### 9112-6.1-te-and-cl

    **MUST NOT** (client, server): A sender does not put Content-Length into a message that has Transfer-Encoding.

    - obeyed by `http1.request_framing` (a link to its lines)
    - if not: an attacker can smuggle a request
    - found by `tests/test_http1.py::test_two_lengths`
    - mutants: `te-beside-cl` (a link to the issue where somebody had this bug)

    Right, and below it what our server refuses, byte by byte.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from minproto.core import CLIENT, SERVER, Role
from minproto.explain import Field, Row
from minproto.explain.once import explain
from minproto.prove import examples, ledger, source
from minproto.prove.ledger import STANDARDS, Example, Requirement
from minproto.testing.mutants import ROOT, Mutant, catalogue

PAGES = ROOT / "docs" / "requirements"

TITLES = {
    "9110": "HTTP semantics", "9112": "HTTP/1.1", "9113": "HTTP/2", "7541": "HPACK, the header compression of HTTP/2",
    "9218": "priorities", "6455": "WebSocket", "7692": "permessage-deflate, the compression of WebSocket",
    "8441": "WebSocket over HTTP/2", "sse": "server-sent events", "resp": "the protocol and the commands of Redis",
}  # fmt: skip

_PROTOCOLS = {
    "http1-request": "http1", "http1-response": "http1", "websocket": "websocket", "deflate": "websocket",
    "handshake": "http1", "http2": "http2", "hpack": "hpack", "sse": "sse", "resp": "resp",
}  # fmt: skip
"""The stream of an entry -> the name by which ``minproto.explain`` knows its protocol."""
_MOST_BYTES = 36
_MOST_FIELDS = 24
_WIDTH = 38

_HOW_TO_READ = """\
Each entry is one sentence of the standard, in our words. **MUST** and **SHOULD** are the standard's; the brackets name the
parties that the sentence binds. A few sentences of the standards say "must" or "should not" in small letters, or state as a
fact what everybody has to do: their entries have the level that the sentence means. A function of minproto obeys it, a test
fails without it, and a mutant (a bug that is planted on purpose) shows that the test does. The bytes are examples, run by the
tests: one field a line, as `minproto explain` names them.
"""

_NO_INTERMEDIARY = """\
Many entries are left out because minproto is not a proxy, nor an intermediary of another kind. Neither is `minproto wire`: it
passes on the bytes of a connection as they are, below HTTP, and takes no part in HTTP (RFC 9110 §3.7).
"""


class Counts(NamedTuple):
    """What the index counts for each standard."""

    entries: int
    left_out: int
    obeyed: int
    on_the_wire: int
    with_mutant: int


def count(entries: Iterable[Requirement], broken: set[str]) -> Counts:
    """Count entries. ``broken``: the ids that a mutant breaks. An entry is on the wire if bytes can show its breach."""
    entries = list(entries)
    obeyed = [entry for entry in entries if not entry.left_out]
    return Counts(
        len(entries),
        len(entries) - len(obeyed),
        len(obeyed),
        sum(any(example.kind == "wrong" for example in entry.examples()) for entry in obeyed),
        sum(entry.id in broken for entry in obeyed),
    )


def pages() -> dict[str, str]:
    """Return the pages: the name of a file -> its text."""
    mutants = catalogue()
    broken = {id_ for mutant in mutants for id_ in mutant.breaks}
    found = {}
    counted = {}
    for prefix in STANDARDS:
        entries = [entry for entry in ledger.load() if entry.id.split("-")[0] == prefix]
        counted[prefix] = count(entries, broken)
        found[f"{prefix}.md"] = "\n".join(_page(prefix, entries, mutants, counted[prefix])) + "\n"
    found["README.md"] = "\n".join(_index(counted, mutants)) + "\n"
    return found


def _index(counted: dict[str, Counts], mutants: tuple[Mutant, ...]) -> Iterator[str]:
    yield "# What the standards demand, and what obeys it\n"
    yield "<!-- made by `python -m minproto.prove.pages` from src/minproto/prove/requirements.toml -->\n"
    yield _HOW_TO_READ
    yield _NO_INTERMEDIARY
    yield "*On the wire* counts the entries with bytes that break them: a peer can see the breach.\n"
    yield "| standard | entries | left out | obeyed | on the wire | with a mutant |"
    yield "|---|---|---|---|---|---|"
    for prefix, counts in counted.items():
        yield f"| [{STANDARDS[prefix]}: {TITLES[prefix]}]({prefix}.md) | {' | '.join(map(str, counts))} |"
    yield f"| all | {' | '.join(str(sum(column)) for column in zip(*counted.values(), strict=True))} |"
    reported = sum(mutant.issue is not None for mutant in mutants)
    yield f"\n{len(mutants)} mutants are in the catalogue; {reported} of them are bugs that somebody has reported in public.\n"
    yield "In the source a section number such as `§6.1` leads here: find it on the page of the file's standard."


def _page(prefix: str, entries: list[Requirement], mutants: tuple[Mutant, ...], counts: Counts) -> Iterator[str]:
    yield f"# {STANDARDS[prefix]}: {TITLES[prefix]}\n"
    yield "<!-- made by `python -m minproto.prove.pages` from src/minproto/prove/requirements.toml -->\n"
    yield _HOW_TO_READ
    yield f"{counts.entries} entries: {counts.obeyed} obeyed, {counts.left_out} left out. [All standards](README.md)"
    for section, group in groupby(entries, key=lambda entry: entry.section):
        yield f"\n## {section if prefix == 'resp' else f'§{section}'}"
        for entry in group:
            yield from _entry(entry, [mutant for mutant in mutants if entry.id in mutant.breaks])


def _entry(entry: Requirement, mutants: list[Mutant]) -> Iterator[str]:
    also = f" Also in {', '.join(f'§{section}' for section in entry.also)}." if entry.also else ""
    yield f"\n### {entry.id}\n"
    yield f"**{entry.level}** ({', '.join(entry.binds)}): {entry.says}{also}\n"
    if entry.left_out:
        yield f"Left out: {entry.left_out}"
        return
    yield f"- obeyed by {', '.join(map(_link, entry.obeyed))}"
    yield f"- if not: {entry.why}"
    yield f"- found by {', '.join(map(_test, entry.checked))}"
    if mutants:
        yield f"- mutants: {', '.join(map(_mutant, mutants))}"
    else:
        yield f"- no mutant: {entry.no_mutant}"
    if entry.no_bytes:
        yield f"- no bytes: {entry.no_bytes}"
    for example in entry.examples():
        yield from _bytes(entry, example)


def _link(name: str) -> str:
    place = source.locate(name)
    return f"[`{name}`](../../{place.path.relative_to(ROOT)}#L{place.first}-L{place.last})"


def _test(name: str) -> str:
    return f"[`{name}`](../../{name.partition('::')[0]})"


def _mutant(mutant: Mutant) -> str:
    return f"`{mutant.name}` ([somebody had it]({mutant.issue}))" if mutant.issue else f"`{mutant.name}`"


# ---- bytes -------------------------------------------------------------------------------------------------------------


def _bytes(entry: Requirement, example: Example) -> Iterator[str]:
    """The bytes of an example, one field a line, under what our core makes of them."""
    gives = example.gives
    told = {examples.ACCEPTED: "accepted", "refused": "refused"}.get(gives, f"gives `{_escaped(gives)}`")
    role = f", read by a {example.role}" if example.role != entry.role else ""
    limit = f", also by a parser whose limit is {example.limit} bytes" if example.limit else ""
    yield f"\n{example.kind.capitalize()}{role}: {told}{limit}\n"
    yield "```text"
    text = entry.stream not in ("websocket", "deflate", "http2", "hpack")
    for number, row in enumerate(explain(example.data, _PROTOCOLS[entry.stream], _sender(entry.stream, example.role))):
        if number and not text:  # between two frames
            yield ""
        yield from _row(row, text=text)
    yield "```"


def _sender(stream: str, role: str) -> Role | None:
    """Return whose bytes an example has: the peer of the core that reads them; None if the bytes themselves show it."""
    if role:
        return CLIENT if role == SERVER.value else SERVER
    return {"http1-request": CLIENT, "http1-response": SERVER}.get(stream)


def _row(row: Row, *, text: bool) -> Iterator[str]:
    """The fields of a row: the bytes, then the name and the value. A field without bytes is derived, so it is left out."""
    fields = [field for field in row.fields if field.raw]
    for field in fields[:_MOST_FIELDS]:
        yield f"{_shown(field, text):{_WIDTH}}  {field.name}{_value(field, text)}".rstrip()
    if len(fields) > _MOST_FIELDS:
        yield f"… {len(fields) - _MOST_FIELDS} fields more"
    if row.error:
        yield f"{'':{_WIDTH}}  error: {row.error}"


def _shown(field: Field, text: bool) -> str:
    size = _MOST_BYTES if text else _MOST_BYTES // 3
    raw = field.raw[:size]
    shown = _escaped(raw.decode("latin-1")) if text else raw.hex(" ")
    return shown if len(field.raw) <= size else f"{shown} … ({len(field.raw):,} bytes)"


def _value(field: Field, text: bool) -> str:
    """The value, where the bytes do not already show it."""
    if text or not field.value or field.value == field.raw.hex(" "):
        return ""
    value = _escaped(field.value)
    return f" = {value if len(value) <= _MOST_BYTES else value[:_MOST_BYTES] + ' …'}"


def _escaped(text: str) -> str:
    return "".join([char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode() for char in text])


# ---- the command -------------------------------------------------------------------------------------------------------


def out_of_date(folder: Path = PAGES) -> list[str]:
    """Return the names of the pages that differ from what this module would write."""
    made = pages()
    there = {path.name for path in folder.glob("*.md")}
    return sorted(name for name in made.keys() | there if _read(folder / name) != made.get(name))


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def main(arguments: list[str]) -> int:
    """Write the pages, or check them. Return the exit status."""
    if arguments not in ([], ["--check"]):
        print(f"minproto.prove.pages: unknown arguments {' '.join(arguments)} (the only option is --check)", file=sys.stderr)
        return 2
    old = out_of_date()
    if arguments:
        print(*(f"out of date: docs/requirements/{name}" for name in old), sep="\n")
        return bool(old)
    made = pages()
    PAGES.mkdir(parents=True, exist_ok=True)
    for name in old:
        (PAGES / name).write_text(made[name]) if name in made else (PAGES / name).unlink()
    print(f"docs/requirements: {len(old)} pages written, {len(made) - len(set(old) & made.keys())} were up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
