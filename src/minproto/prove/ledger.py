"""Read the ledger, ``requirements.toml``: each sentence of the standards that demands something of a client, server or app.

Here is an entry of the file:

    [[requirement]]
    id = "9112-6.1-te-and-cl"               # the standard, the section, and a few words
    section = "6.1"
    level = "MUST NOT"
    binds = ["client", "server"]
    says = "A sender does not put Content-Length into a message that has Transfer-Encoding."
    obeyed = ["http1.Connection._check_response"]            # a module below minproto, and a name in it
    checked = ["tests/test_http1.py::test_two_lengths"]      # the tests that fail if it is disobeyed
    why = "If two parties disagree about where a message ends, an attacker can smuggle a request."
    stream = "http1-request"                                 # which core reads the bytes (``examples.py``)
    right = "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
    wrong = "POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 1\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n"
    wrong_gives = "400"

A sentence that can be broken in several ways, or by both roles, has further examples in ``more``. Each of them has right or
wrong bytes, or both, and may name a different role from the entry's:

    more = [{ wrong = "GET / HTTP/1.1\\r\\nHost: [1]\\r\\n\\r\\n", wrong_gives = "400" }]

An entry that minproto does not obey has ``left_out``, the reason, in place of everything after ``says``.

The source also mentions sections that demand nothing, such as a grammar or a definition. The ledger lists them, too:

    [[informative]]
    section = "6455-1.3"
    says = "Where the text that is hashed with the key comes from."
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("requirements.toml")

STANDARDS = {
    "9110": "RFC 9110", "9112": "RFC 9112", "9113": "RFC 9113", "7541": "RFC 7541", "9218": "RFC 9218", "6455": "RFC 6455",
    "7692": "RFC 7692", "8441": "RFC 8441", "sse": "WHATWG HTML", "resp": "RESP",
}  # fmt: skip
"""The prefix of an id -> the standard."""

LEVELS = frozenset({"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "DOES"})
"""How strongly a sentence demands. REQUIRED and SHALL are MUST, RECOMMENDED is SHOULD. DOES: a standard that describes an
algorithm (event streams) or a program (redis-server) uses no such words; its description is what we follow. DOES is also
the level of a fact that an RFC states without such a word, for example that a method is case-sensitive."""

PARTIES = frozenset({"client", "server", "intermediary", "app"})
"""Whom a sentence can bind. "app": the program that uses minproto decides, for example what a resource answers."""


class LedgerError(ValueError):
    """An entry that is not as this file describes it. The text is one line that names the entry."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Right and wrong bytes for a requirement. One of the two may be missing."""

    right: bytes = b""
    right_gives: str = "accepted"
    wrong: bytes = b""
    wrong_gives: str = ""
    role: str = ""
    """The role of the core that reads the bytes; "" means the entry's role."""
    limit: int = 0
    """The limit of another parser that reads the bytes: the right bytes are just not too long. 0: no example is too long."""


@dataclass(frozen=True, slots=True)
class Example:
    """Bytes, and what our core makes of them."""

    kind: str
    """"right" or "wrong"."""
    role: str
    data: bytes
    gives: str
    limit: int
    """See ``Pair``."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One entry of the ledger."""

    id: str
    """The standard's number, the section, and a few words: ``9112-6.1-te-and-cl``."""
    section: str
    level: str
    """One of LEVELS."""
    binds: tuple[str, ...]
    """Whom the sentence binds, of PARTIES."""
    says: str
    """The requirement, in our words."""
    also: tuple[str, ...] = ()
    """Other sections of the same standard that repeat the requirement."""
    obeyed: tuple[str, ...] = ()
    """The functions, classes and constants that obey: the module below minproto and the qualified name."""
    checked: tuple[str, ...] = ()
    """The tests that fail if the requirement is disobeyed, as pytest names them."""
    why: str = ""
    """What goes wrong without it."""
    stream: str = ""
    """Which core reads ``right`` and ``wrong``: a name in ``examples.READERS``."""
    role: str = ""
    """The role of that core, "client" or "server"; "" if the stream has only one reader."""
    right: bytes = b""
    """Bytes that keep the requirement."""
    right_gives: str = "accepted"
    """What our core makes of ``right``."""
    wrong: bytes = b""
    """Bytes that break the requirement; b"" if no byte on the wire can show it."""
    wrong_gives: str = ""
    """What our core makes of ``wrong``: an error code, or "accepted" where the recipient cannot tell."""
    more: tuple[Pair, ...] = ()
    """Further examples."""
    no_bytes: str = ""
    """Why there are no examples."""
    no_mutant: str = ""
    """Why no mutant breaks the requirement."""
    left_out: str = ""
    """Why minproto does not obey; "" if it does."""

    @property
    def standard(self) -> str:
        """The name of the standard, such as "RFC 9112"."""
        return STANDARDS[self.id.split("-")[0]]

    @property
    def sections(self) -> tuple[str, ...]:
        """The section of the sentence, and the sections that repeat it."""
        return (self.section, *self.also)

    def examples(self) -> Iterator[Example]:
        """Yield each example of the entry: the first pair of bytes, and then the pairs in ``more``."""
        first = Pair(self.right, self.right_gives, self.wrong, self.wrong_gives)
        for pair in (first, *self.more):
            role = pair.role or self.role
            if pair.right:
                yield Example("right", role, pair.right, pair.right_gives, pair.limit)
            if pair.wrong:
                yield Example("wrong", role, pair.wrong, pair.wrong_gives, pair.limit)


_HEX = {"right_hex", "wrong_hex"}
_KEYS = {each.name for each in fields(Requirement)} | _HEX
_KEYS_OF_MORE = {each.name for each in fields(Pair)} | _HEX
_ID = re.compile(r"[a-z0-9]+-[A-Za-z0-9.]+-[a-z0-9-]+")


@cache
def load() -> tuple[Requirement, ...]:
    """Return the entries of the ledger in their order. Raises LedgerError for an entry that is not as described."""
    return parse(FILE.read_text())


@cache
def informative() -> dict[tuple[str, str], str]:
    """Return the sections that the source mentions though they demand nothing: (standard, section) -> what they say."""
    tables = tomllib.loads(FILE.read_text()).get("informative", [])
    named = [(table["section"].split("-", 1), table["says"]) for table in tables]
    return {(STANDARDS[standard], section): says for (standard, section), says in named}


def parse(text: str) -> tuple[Requirement, ...]:
    """Return the entries of a ledger's text. Raises LedgerError."""
    entries = tuple(_requirement(table) for table in tomllib.loads(text).get("requirement", []))
    twice = [name for name, count in Counter(each.id for each in entries).items() if count > 1]
    if twice:
        raise LedgerError(f"{twice[0]}: this id occurs in the ledger twice")
    return entries


def _requirement(table: dict[str, Any]) -> Requirement:
    id_ = table.get("id", f"the entry {table.get('says', '')!r}")
    values = _values(id_, table, _KEYS)
    values["more"] = tuple(Pair(**_values(id_, pair, _KEYS_OF_MORE)) for pair in table.get("more", ()))
    try:
        entry = Requirement(**values)
    except TypeError as error:
        raise LedgerError(f"{id_}: {error}") from None
    for complaint in _complaints(entry):
        raise LedgerError(f"{id_}: {complaint}")
    return entry


def _values(id_: str, table: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """Return a table with tuples for its lists, and with bytes for its examples. Raises LedgerError for an unknown key."""
    if unknown := sorted(table.keys() - keys):
        raise LedgerError(f"{id_}: unknown key {unknown[0]!r} (the keys are {', '.join(sorted(keys))})")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    for name in ("right", "wrong"):
        if f"{name}_hex" in values:
            values[name] = _from_hex(id_, values.pop(f"{name}_hex"))
        elif name in values:
            values[name] = values[name].encode("latin-1")
    return values


def _from_hex(id_: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise LedgerError(f"{id_}: {text!r} is not hexadecimal: {error}") from None


def _complaints(entry: Requirement) -> Iterable[str]:
    """Yield what is wrong with an entry by itself. tests/test_requirements.py checks that its names exist."""
    if not _ID.fullmatch(entry.id) or entry.id.split("-")[0] not in STANDARDS:
        yield f"an id is a standard ({', '.join(STANDARDS)}), a section and a few words, joined by hyphens"
    elif not entry.id.split("-", 1)[1].startswith(f"{entry.section}-"):
        yield f"the section is {entry.section!r}, which the id does not say"
    if entry.level not in LEVELS:
        yield f"unknown level {entry.level!r} (the levels are {', '.join(sorted(LEVELS))})"
    if not entry.binds or not PARTIES.issuperset(entry.binds):
        yield f"binds {list(entry.binds)}, but the parties are {', '.join(sorted(PARTIES))}"
    if not entry.says.endswith("."):
        yield "`says` is a sentence"
    yield from _of_what_is_left_out(entry) if entry.left_out else _of_what_is_obeyed(entry)


def _of_what_is_left_out(entry: Requirement) -> Iterable[str]:
    if entry.obeyed or entry.checked or entry.right or entry.wrong or entry.more:
        yield "an entry is either obeyed or left out, not both"


def _of_what_is_obeyed(entry: Requirement) -> Iterable[str]:
    for name in ("obeyed", "checked", "why"):
        if not getattr(entry, name):
            yield f"`{name}` is missing (or `left_out`, if minproto does not obey)"
    if not (entry.right or entry.no_bytes):
        yield "`right` is missing (or `no_bytes`, the reason why there is no example)"
    if entry.right and not entry.stream:
        yield "`stream` has to say which core reads the bytes"
    both: list[Requirement | Pair] = [entry, *entry.more]
    if any(bool(each.wrong) != bool(each.wrong_gives) for each in both):
        yield "`wrong` and `wrong_gives` belong together"
