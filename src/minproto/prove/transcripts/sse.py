"""The words of an event stream: the words of HTTP/1.1, and a word for each line of the stream, if the case shows "events".

    200+ content-type=text/event-stream event comment open

    event       a field of an event: data, event, id or retry
    comment     a line that begins with a colon
    unknown     a field that the standard does not define, which each client ignores
    nul         an id with NUL in it, which each client ignores
    retry       a retry that is not a number, which each client ignores
    no-utf-8    bytes that are not UTF-8

Each of these words is written once, however many such lines there are.
"""

from codecs import getincrementaldecoder

from minproto.core import Event
from minproto.http import Data
from minproto.prove.case import Case
from minproto.prove.target import Target
from minproto.prove.transcripts.http1 import Http1
from minproto.sse import parse_line

_FIELDS = frozenset({"data", "event", "id", "retry"})


class EventStream(Http1):
    """Reads the content of a response as lines."""

    def __init__(self, case: Case, target: Target) -> None:
        super().__init__(case, target)
        self._decoder = getincrementaldecoder("utf-8")()
        self._text = ""

    def _take(self, event: Event) -> bool:
        if isinstance(event, Data) and "events" in self.case.shows:
            self._read_lines(event.data)
        return super()._take(event)

    def _read_lines(self, data: bytes) -> None:
        try:
            piece = self._decoder.decode(data)
        except UnicodeDecodeError:
            self._write("no-utf-8")
            return
        self._text += piece
        if "\n" not in piece and "\r" not in piece:
            return  # to look for the end of a long line again with each piece would take quadratic time
        text = self._text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
        *lines, self._text = text.split("\n")
        for line in filter(None, lines):
            self._write(_kind(*parse_line(line)))

    def _write(self, word: str) -> None:
        if word not in self.words:
            self.words.append(word)


def _kind(name: str, value: str) -> str:
    """Return the word for a line."""
    if name == "id" and "\0" in value:
        return "nul"
    if name == "retry" and not (value.isascii() and value.isdigit()):
        return "retry"
    if name == "":
        return "comment"
    return "event" if name in _FIELDS else "unknown"
