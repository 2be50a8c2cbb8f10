r"""A case of ``minproto prove``: what is sent to a server, and which answers are right, acceptable or wrong.

    CASE = Case(
        "http1/framing/te-and-cl",
        "9112-6.3-te-and-cl",                       # the entry of the ledger
        (b"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",),
        right="400 closed",
        why="Two servers that disagree about the end of a request let an attacker smuggle a request past the first one.",
    )

The answer is written down as a *transcript*: a line of words, such as ``400 closed`` for a response with the status 400
and then the end of the connection. ``transcripts/`` describes the words of each protocol. ``right`` and ``acceptable`` are
regular expressions, and the whole line has to match one of them. A line that matches neither is wrong.

    200 200 open        two responses; the server keeps the connection open
    malformed           bytes that are not a response
    reset               the server reset the connection
    silent              nothing came within the time limit, and the connection is still open
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import NamedTuple, Protocol

from minproto.prove import ledger
from minproto.prove.ledger import Requirement


class Filling(Protocol):
    """A target, as far as a step needs it."""

    settings: dict[int, int]
    """The settings that it sends in HTTP/2."""

    def fill(self, text: bytes) -> bytes:
        """Replace ``{host}``, ``{path}`` and the names of other paths with those of the target."""


class Verdict(Enum):
    """The result of a case."""

    RIGHT = "right"
    ACCEPTABLE = "acceptable"
    WRONG = "wrong"
    SKIPPED = "skipped"


# ---- steps -----------------------------------------------------------------------------------------------------------


class Wait(NamedTuple):
    """Read until the pattern occurs in the transcript; go on after the time limit, too."""

    pattern: str


class Reply(NamedTuple):
    """Read until the pattern occurs in the transcript, and then send bytes; send nothing if it does not within the limit.

    ``{1}`` in the bytes becomes what the first group of the pattern has found."""

    pattern: str
    data: bytes


class Pause(NamedTuple):
    """Read for some seconds, whatever comes."""

    seconds: float


class Trickle(NamedTuple):
    """Send bytes in small pieces, each as a segment of its own."""

    data: bytes
    size: int = 1
    delay: float = 0.001
    """The seconds between two pieces."""


class Shut(NamedTuple):
    """Send no more: end our direction of the connection, and read on."""


class Encoded(Protocol):
    """A step whose bytes depend on the target, such as a field block of HTTP/2."""

    def encode(self, target: Filling) -> bytes:
        """Return the bytes to send."""


Step = bytes | Encoded | Wait | Reply | Pause | Trickle | Shut
"""bytes are sent as they are, after ``Target.fill``."""


# ---- cases -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """What a case, for a server, and a snare, for a client (``prove/trap``), have in common."""

    name: str
    """The protocol, the group, and a few words: ``http1/framing/te-and-cl``."""
    entry: str
    """The id of the entry of the ledger; "" for hardening that no standard demands."""

    @property
    def protocol(self) -> str:
        """The first word of the name."""
        return self.name.split("/")[0]

    @property
    def group(self) -> str:
        """The first two words of the name."""
        return "/".join(self.name.split("/")[:2])

    @property
    def requirement(self) -> Requirement | None:
        """The entry of the ledger; None for hardening."""
        return _entries()[self.entry] if self.entry else None

    @property
    def level(self) -> str:
        """How strongly the standard demands it; "HARDENING" if no standard does."""
        return self.requirement.level if self.requirement else "HARDENING"


@dataclass(frozen=True, slots=True)
class Case(Question):
    """One question to a server. The groups ``slow`` and ``hostile`` run only if they are asked for."""

    steps: Sequence[Step]
    right: str
    """The pattern of the right transcripts."""
    acceptable: str = ""
    """The pattern of the transcripts that the standard leaves open, or that are stricter than it demands."""
    why: str = ""
    """What goes wrong otherwise; "" if the entry of the ledger says it."""
    needs: frozenset[str] = frozenset()
    """What the target has to offer, of ``target.NEEDS``."""
    shows: tuple[str, ...] = ()
    """The fields of a response whose values the transcript has; also "content" for the content itself, "length" for its
    length, and "line" for the first line (HTTP/1.1)."""
    methods: tuple[str, ...] = ()
    """The methods of the requests, in order; GET if there are fewer methods than responses."""
    speaks: str = ""
    """The transcript that reads the answer, of ``transcripts.TRANSCRIPTS``; "" means the protocol of the name."""
    opens: bool = False
    """Whether the steps begin with the opening of HTTP/2, and contain the answers to what the server sends."""
    offers: str = ""
    """The Sec-WebSocket-Extensions field of the handshake that precedes the case."""
    issue: str = ""
    """The public report of a server that was wrong here, or a CVE."""
    also: tuple[str, ...] = ()
    """Other entries of the ledger that the case tests."""

    def judge(self, transcript: str) -> Verdict:
        """Return the verdict on a transcript."""
        return judge(transcript, self.right, self.acceptable)


def judge(transcript: str, right: str, acceptable: str) -> Verdict:
    """Return the verdict on a transcript, which has to match one of the two patterns as a whole; "" matches none."""
    if re.fullmatch(right, transcript):
        return Verdict.RIGHT
    if acceptable and re.fullmatch(acceptable, transcript):
        return Verdict.ACCEPTABLE
    return Verdict.WRONG


@cache
def _entries() -> dict[str, Requirement]:
    """Return the entries of the ledger by their ids. The ledger takes a while to read, so it is read when one is needed."""
    return {entry.id: entry for entry in ledger.load()}
