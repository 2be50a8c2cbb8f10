"""The words of HTTP/1.1: what a server answers to requests, as complete responses.

    200                     a response that is complete
    100                     an interim response
    200 date=Sun, ...       with the fields that the case shows; each follows as name=value, and name=- if it is missing
    200 content=[hello]     with the content, if the case shows "content"; length=5 for "length"
    200 line=[HTTP/1.1 200 OK]   with the first line as it came, if the case shows "line"
    200+                    a response whose head is complete and whose content goes on
    101                     a switch to another protocol; what follows it is not read

A response whose content ends with the connection is complete when the connection is closed. "200+ closed": the server has cut
its response off, which is all that is left to it if it finds a fault in the request while it answers.
"""

from minproto.core import CLIENT, Event, RemoteProtocolError, Wants
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http1 import Connection, Limits
from minproto.prove.transcripts.base import Transcript

_LIMITS = Limits(max_body=1 << 30)
_OURS = frozenset({"content", "length", "events"})
"""What a case can show besides fields. "events" is shown by an event stream alone."""


class Http1(Transcript):
    """Reads each response with a core of its own, which is told the method of the request and nothing else about it. So it
    reads the answers to requests that no core of ours would send."""

    _core: Connection | None = None
    _answered = 0
    _status_at = 0
    _content = b""
    _line = b""
    _switched = False

    def receive(self, data: bytes) -> bytes:
        """Read bytes. HTTP/1.1 has nothing that a client must answer by itself."""
        while data and not self.why_malformed and not self._switched:
            core = self._core = self._core or self._begin()
            core.receive_data(data)
            if b"\n" not in self._line:
                self._line += data
            data = b""
            try:
                for event in core.events():
                    if self._take(event):
                        data, self._core = core.trailing_data, None
                        break
            except RemoteProtocolError as error:
                self.malformed(str(error))
        return b""

    def end(self) -> None:
        """A response without a length ends here; any other response that has begun is cut off, and keeps its plus."""
        if self._core is None or self.why_malformed or self._switched:
            return
        self._core.receive_eof()
        try:
            for event in self._core.events():
                self._take(event)
        except RemoteProtocolError as error:
            if not (self.words and self.words[self._status_at].endswith("+")):
                self.malformed(str(error))

    def _begin(self) -> Connection:
        methods = self.case.methods
        method = methods[self._answered] if self._answered < len(methods) else "GET"
        core = Connection(CLIENT, _LIMITS, frozenset({method}))
        upgrades = self.case.protocol == "websocket" or any(
            isinstance(step, bytes) and b"upgrade: websocket" in step.lower() for step in self.case.steps
        )
        asks = [("upgrade", "websocket"), ("connection", "upgrade")] if upgrades else []
        core.send(RequestHead(method, "a:80" if method == "CONNECT" else "/", Headers([("host", "a"), *asks])))
        core.send(EndOfMessage())
        self._line = b""
        return core

    def _take(self, event: Event) -> bool:
        """Write down an event, and return whether it ends the response."""
        if isinstance(event, ResponseHead):
            return self._take_head(event)
        if isinstance(event, Data):
            self._content += event.data
        elif isinstance(event, EndOfMessage):
            self._finish()
            return True
        return False

    def _take_head(self, head: ResponseHead) -> bool:
        """Write the words of a head. Return whether nothing of HTTP/1.1 follows it."""
        if head.status < 200 and head.status != 101:
            self.words.append(str(head.status))
            return False
        self._status_at = len(self.words)
        self.words.append(f"{head.status}+")
        line = self._line.partition(b"\r\n")[0].decode("latin-1")
        for name in self.case.shows:
            if name not in _OURS:
                self.words.append(f"line=[{line}]" if name == "line" else f"{name}={_value(head, name)}")
        self._note(head)
        assert self._core is not None
        if head.status == 101 or self._core.wants is Wants.PAUSED:
            self._switched = True
            self._finish()
        return self._switched

    def _note(self, head: ResponseHead) -> None:
        """Remember what the report says about every target."""
        self.target.via = self.target.via or head.headers.get("via") or ""
        self.target.server = self.target.server or head.headers.get("server") or ""

    def _finish(self) -> None:
        """Complete the words of a response: without the plus, and with its content."""
        self.words[self._status_at] = self.words[self._status_at].removesuffix("+")
        if "content" in self.case.shows:
            self.words.append(f"content=[{self._content.decode('latin-1')}]")
        if "length" in self.case.shows:
            self.words.append(f"length={len(self._content)}")
        self._answered += 1
        self._content = b""


def _value(head: ResponseHead, name: str) -> str:
    """Return the values of a field, joined by " & " if it occurs several times; "-" if it is missing."""
    values = [value for each, value in head.headers if each == name]
    return " & ".join(values) if values else "-"
