"""A parser of HTTP/1.1 requests, as a program, with one fault: `python http1_requests.py FAULT` ("none" for no fault)."""

import ipaddress
import json
import re
import sys

fault = sys.argv[1]
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
VISIBLE = {"control characters": r"[^\r\n\0]"}.get(fault, r"[\t\x20-\x7e\x80-\xff]")
DIGITS = {"19 digits": r"[0-9]{1,19}", "any digits": r"[0-9]+"}.get(fault, r"[0-9]{1,18}")
SIZE = r"[0-9A-Fa-f]{1,17}" if fault == "17 digits" else r"[0-9A-Fa-f]{1,16}"
ESCAPE = "%" if fault == "%zz" else "%[0-9A-Fa-f]{2}"
QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
REQUEST_LINE = re.compile(rf"({TOKEN}) ([\x21\x24-\x3b\x3d\x3f-\x7e]+) HTTP/(1\.[0-9])")
FIELD = re.compile(rf"({TOKEN}):({VISIBLE}*)")
CHUNK = re.compile(rf"({SIZE})(?:[\t ]*;[\t ]*{TOKEN}(?:[\t ]*=[\t ]*(?:{TOKEN}|{QUOTED}))?)*")
HOST = re.compile(rf"(\[[^\]]*\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|{ESCAPE})*)(?::([0-9]{{0,5}}))?")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*://([^/?]+).*")


class Fault(Exception):
    pass


def check(right: object, says: str) -> None:
    if not right:
        raise Fault(says)


def elements(values: list[str]) -> list[str]:
    return [each for each in (part.strip(" \t") for part in ",".join(values).split(",")) if each]


def is_host(text: str) -> bool:
    found = HOST.fullmatch(text)
    if not found or int(found[2] or 0) > 65535:
        return False
    try:
        return found[1][:1] != "[" or fault == "[1]" or bool(ipaddress.IPv6Address(found[1][1:-1]))
    except ValueError:
        return False


def is_target(method: str, target: str) -> bool:
    if method == "CONNECT":
        return is_host(target) and bool(re.fullmatch(r".+:0*[1-9][0-9]*", target))
    if target[0] == "/" or (target == "*" and method == "OPTIONS"):
        return True
    found = URL.fullmatch(target)
    return bool(found) and is_host(found[1]) and found[1][0] != ":"


class Requests:
    def __init__(self, limit: int) -> None:
        self.limit = limit // 2 if fault == "half the limit" else limit
        self.data, self.error, self.wants = b"", None, "data"
        self.step = self.request_line  # what comes next: a method that returns False if it needs more bytes
        self.events: list[dict[str, object]] = []
        self.read = 0  # bytes of the head or the trailer section so far

    def run(self, data: bytes | None) -> list[dict[str, object]]:
        self.events = []
        try:
            if data is not None:
                self.data += data
                while self.wants == "data" and self.step():
                    pass
            else:
                check(self.step == self.request_line and not self.data, "the input ends in the middle of a request")
                self.wants = "closed"
        except Fault as found:
            self.error, self.wants = str(found), "closed"
        return self.events

    def line(self, room: int) -> str | None:
        line, end, rest = self.data.partition(b"\n")
        check(len(line) < room, "too long")
        if not end:
            return None
        check(line.endswith(b"\r"), "LF without CR")
        self.data = rest
        self.read += len(line) + 1
        return line[:-1].decode("latin-1")

    def request_line(self) -> bool:
        self.read = 0
        if not (text := self.line(self.limit)):
            return text is not None  # an empty line before a request is skipped
        found = REQUEST_LINE.fullmatch(text)
        check(found and is_target(found[1], found[2]), "malformed request line")
        self.head = dict(zip(("method", "target", "version"), found.groups(), strict=True)) | {"type": "RequestHead"}
        self.fields = self.head["headers"] = []
        self.step = self.field
        return True

    def field(self) -> bool:
        if not (text := self.line(self.limit - self.read)):
            return text is not None and self.end_fields()
        found = FIELD.fullmatch(text)
        if not found and fault == "trailers" and self.fields is not self.head["headers"]:
            return True
        check(found, "malformed field")
        self.fields.append([found[1].lower(), found[2].strip(" \t")])
        return True

    def end_fields(self) -> bool:
        if self.fields is not self.head["headers"]:
            return self.end(self.fields)
        names = "host", "content-length", "transfer-encoding", "connection"
        hosts, lengths, codings, options = ([value for name, value in self.fields if name == each] for each in names)
        old = self.head["version"] == "1.0"
        check(len(hosts) == 1 or (old and not hosts), "not one Host")
        check(all(map(is_host, hosts)), "bad Host")
        self.last = self.is_last(elements(options), old)
        self.left = 0
        if codings:
            check(not old and not lengths and [each.lower() for each in elements(codings)] == ["chunked"], "bad coding")
        elif lengths:
            values = {each.strip(" \t") for each in ",".join(lengths).split(",")}
            check(len(values) == 1 and re.fullmatch(DIGITS, min(values)), "bad Content-Length")
            self.left = int(min(values))
        self.events.append(self.head)
        self.step = self.chunk_line if codings else self.content
        return True

    def is_last(self, options: list[str], old: bool) -> bool:
        known = options if fault == "case of close" else [each.lower() for each in options]
        if fault == "keep-alive counts" and "keep-alive" in known:
            return False
        return "close" in known or (old and "keep-alive" not in known)

    def content(self) -> bool:
        return self.take() and self.end([])

    def take(self) -> bool:
        """Tell the content that has arrived, and return whether it is complete."""
        data, self.data = self.data[: self.left], self.data[self.left :]
        if data:
            self.events.append({"type": "Data", "data": data.hex()})
        self.left -= len(data)
        return not self.left

    def chunk_line(self) -> bool:
        if (text := self.line(self.limit)) is None:
            return False
        found = CHUNK.fullmatch(text)
        check(found, "malformed chunk size")
        self.left = int(found[1], 16)
        self.step = self.chunk_data
        if not self.left:
            self.fields, self.read, self.step = [], 0, self.field
        return True

    def chunk_data(self) -> bool:
        if complete := self.take():
            self.step = self.chunk_end
        return complete

    def chunk_end(self) -> bool:
        check(b"\r\n".startswith(self.data[:2]), "no CRLF after a chunk")
        if len(self.data) < 2:
            return False
        self.data, self.step = self.data[2:], self.chunk_line
        return True

    def end(self, trailers: list[list[str]]) -> bool:
        self.events.append({"type": "EndOfMessage", "trailers": trailers})
        self.step, self.wants = self.request_line, "closed" if self.last else "data"
        return True


for text in sys.stdin:
    op = json.loads(text)
    events: list[dict[str, object]] = []
    if op["op"] == "new":
        parser = Requests(op["limit"])
    elif parser.wants == "data":
        events = parser.run(bytes.fromhex(op["hex"]) if op["op"] == "data" else None)
    answer = {"events": events, "error": parser.error, "wants": parser.wants, "buffered": len(parser.data)}
    print(json.dumps(answer), flush=True)
