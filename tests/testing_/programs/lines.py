"""A parser of lines that end with CRLF, as a program, with one fault: `python lines.py FAULT` ("none" for no fault)."""

import json
import sys
import time

fault = sys.argv[1]
count = 0  # of all lines, which is no concern of a single parser


class Lines:
    def __init__(self, limit: int) -> None:
        self.data, self.error, self.wants, self.limit = b"", None, "data", limit

    def receive(self, data: bytes) -> list[dict[str, str]]:
        events: list[dict[str, str]] = []
        if fault == "utf-8":  # a character may be in two chunks
            data = data.decode("utf-8", "replace").encode()
        self.data += data
        while self.wants == "data":
            line, end, rest = self.data.partition(b"\n")
            if len(line) > self.limit and fault != "no bound":
                self.fail("too long")
            elif not end:
                break
            elif not line.endswith(b"\r"):
                self.fail("LF without CR")
            else:
                if fault == "crash":
                    line[1]  # an empty line has no second byte
                if fault == "junk" and b"Host" in line:
                    print("found a host")
                events.append({"type": "Line", "text": line[:-1].decode("latin-1" if fault != "utf-8" else "utf-8")})
                self.data = rest
        if fault == "crlf" and self.data.endswith(b"\r"):
            self.data = self.data[:-1]  # as if its LF had to be in the same chunk
        return [] if fault == "loses events" and self.error else events

    def end(self) -> None:
        if fault != "hangs at eof":
            self.fail("cut short") if self.data else None
            self.wants = "closed"

    def fail(self, error: str) -> None:
        self.error, self.wants = error, "closed"


held: list[str] = []
for text in sys.stdin:
    op = json.loads(text)
    events: list[dict[str, str]] = []
    if op["op"] == "new":
        parser = Lines(op["limit"])
    elif parser.wants == "data":
        events = parser.receive(bytes.fromhex(op["hex"])) if op["op"] == "data" else parser.end() or []
        count += len(events)
    elif fault == "forgets":
        parser.error = None
    if fault == "keeps" and events:
        events[0]["count"] = str(count)
    answer = {"events": events, "error": parser.error, "wants": parser.wants, "buffered": min(len(parser.data), 1 << 30)}
    if parser.data and fault.startswith("no answer"):
        while True:
            time.sleep(1)
    if parser.data and fault == "slow":
        time.sleep(0.6)
    if fault == "lacks" and events:
        del answer["wants"]
    if fault == "wrong type" and events:
        answer["buffered"] = "none"
    if fault == "does not flush":
        held.append(json.dumps(answer))
        continue
    print(json.dumps(answer), flush=True)
    if fault == "two answers" and events:
        print(json.dumps(answer), flush=True)
    if fault == "exits" and op["op"] == "eof":
        sys.exit("no more input")
print("\n".join(held))
