r"""A snare of ``minproto trap``: what the server sends, what a right client does then, and what its program reports.

    Snare(
        "http1/framing/too-short",                  # also the path: http://127.0.0.1:8666/http1/framing/too-short
        "9112-6.3-too-short",                       # the entry of the ledger
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", Shut()),
        says="the connection ends after 5 of 10 bytes",
        outcome=FAILS,
        why="Half a file that counts as the whole file is a file that is lost.",
    )

Two things are judged. The *wire* tells what the client did: ``words`` of ``watch.py``, which have to match ``right`` or
``acceptable``. The *outcome* is what the user of the client's program sees: its exit status and its output. It is judged only
if the program is run by ``minproto trap -- COMMAND``:

    PRINTS      the status is 0, and the output contains the text ``prints``
    FAILS       the status is not 0, or the output speaks of an error
    EITHER      one of the two: the standard leaves it open, but a program that reports success has the right text
    ANY         the standard says nothing about it

Whatever the outcome, a program is wrong that never ends, that is ended by a signal, or that shows the text ``never``. This is
usually the word "smuggled", in a place where no client may look for content.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minproto.http import Headers
from minproto.prove.case import Pause, Question, Shut, Trickle, Verdict, Wait, judge
from minproto.prove.trap.frames import Frame

PRINTS, FAILS, EITHER, ANY = "prints", "fails", "either", "any"
NO_PUSH = "SETTINGS_ENABLE_PUSH = 0"
"""What a snare of HTTP/2 can need."""
FORBIDDEN = "smuggled"
"""The word for content that is in no place where a client may look."""
AN_ERROR = re.compile(r"error|exception|fail|refus|invalid|traceback|panick|ERR_", re.IGNORECASE)
"""The pattern of an output that reports an error, although the exit status is 0."""


class Reset(NamedTuple):
    """Reset the TCP connection."""


Step = bytes | Frame | Wait | Pause | Trickle | Shut | Reset
"""bytes are sent as they are; in a snare of WebSocket ``{accept}`` stands for the right Sec-WebSocket-Accept."""


class Asked(NamedTuple):
    """A request of a client."""

    method: str
    path: str
    headers: Headers
    stream: int = 0
    """The stream of HTTP/2; 0 in HTTP/1.1."""
    push: bool = True
    """Whether the client leaves server push enabled, in HTTP/2."""


@dataclass(frozen=True, slots=True)
class Snare(Question):
    """One odd way of a server to answer."""

    steps: Sequence[Step]
    """What the server plays after the request."""
    says: str
    """What the server does, in one sentence without a full stop."""
    outcome: str = PRINTS
    """What the client's program has to report: PRINTS, FAILS, EITHER or ANY."""
    prints: str = "hello"
    """The text that the output contains, if the outcome is PRINTS or EITHER."""
    right: str = ".*"
    """The pattern of the words of a right client."""
    acceptable: str = ""
    """The pattern of the words that the standard leaves open, or that are stricter than it demands."""
    never: str = FORBIDDEN
    """The text that no program may show."""
    why: str = ""
    """What goes wrong otherwise; "" if the entry of the ledger says it."""
    method: str = "GET"
    """The method of the request. A client that asks with another one cannot be judged."""
    needs: str = ""
    """A text that Sec-WebSocket-Extensions or Sec-WebSocket-Protocol of the handshake has to contain; or NO_PUSH."""
    again: Sequence[Step] = ()
    """What the server plays to the second request of a client that comes back; () if there should be none."""
    issue: str = ""
    """The public report of a client that was wrong here, or a CVE."""
    also: tuple[str, ...] = ()
    """Other entries of the ledger that the snare tests."""

    def judge_wire(self, words: str) -> Verdict:
        """Return the verdict on what the client did."""
        return judge(words, self.right, self.acceptable)

    def judge_outcome(self, status: int, output: str, errors: str) -> tuple[Verdict, str]:
        """Return the verdict on a program's exit status and on its standard output and standard error, and what is wrong.

        A negative status is a signal. An error may quote what no output may show.

        Who disobeys a SHOULD may have a reason (RFC 2119 §3), so that is acceptable.
        """
        if status < 0:
            return Verdict.WRONG, f"it was ended by signal {-status}"
        if self.never in output:
            return Verdict.WRONG, f"it shows {self.never!r}, which no client may show"
        if wrong := self._not_as_demanded(status, output, errors):
            return Verdict.ACCEPTABLE if self.level in ("SHOULD", "SHOULD NOT", "MAY") else Verdict.WRONG, wrong
        return Verdict.RIGHT, ""

    def _not_as_demanded(self, status: int, output: str, errors: str) -> str:
        """Return in which way a program's exit status and output are not those of ``outcome``; "" if they are."""
        failed = status != 0 or AN_ERROR.search(f"{output}\n{errors}".replace(self.name, "")) is not None
        if self.outcome == FAILS and not failed:
            return "it reports no error"
        if self.outcome == PRINTS and failed:
            return f"it reports an error, with exit status {status}"
        if self.outcome in (PRINTS, EITHER) and not failed and self.prints not in output:
            return f"its output is without {self.prints!r}"
        return ""

    @property
    def demands(self) -> str:
        """What is right, in a few words, for the first page and the report."""
        outcome = {PRINTS: f"the program shows {self.prints!r}", FAILS: "the program reports an error",
                   EITHER: f"the program shows {self.prints!r} or reports an error", ANY: ""}[self.outcome]  # fmt: skip
        wire = f"the client's words are {self.right}" if self.right != ".*" else ""
        return "; ".join(filter(None, [wire, outcome])) or "the program ends"

    def why_not(self, asked: Asked, protocol: str) -> str:
        """Return why a request can't be answered by this snare; "" if it can. ``protocol``: http1 or http2."""
        if (self.protocol == "http2") != (protocol == "http2"):
            return "it speaks HTTP/1.1, and not HTTP/2" if protocol == "http1" else "it speaks HTTP/2, and not HTTP/1.1"
        fields = dict(asked.headers)
        if self.protocol == "websocket" and "sec-websocket-key" not in fields:
            return "it does not ask for a WebSocket"
        if self.protocol == "sse" and "text/event-stream" not in fields.get("accept", ""):
            return "it does not ask for an event stream (no Accept: text/event-stream)"
        if asked.method != self.method:
            return f"its method is {asked.method}, and not {self.method}"
        if self.needs == NO_PUSH:
            return "it leaves server push enabled" if asked.push else ""
        offered = fields.get("sec-websocket-extensions", "") + fields.get("sec-websocket-protocol", "")
        return "" if self.needs in offered else f"its handshake does not offer {self.needs}"
