"""The same 300 exchanges with one ASGI app, on minproto, on uvicorn (with h11 and with httptools) and on hypercorn.

For each exchange we compare two views: what the app saw (its scope, the content, a disconnect, what ``send`` raised), and what
the client saw (status, fields, content, or an end in the middle). Where the views differ, one of ``ALLOWED`` has to explain
it. Each of these rules has to be needed: a rule that explains nothing fails the test.
"""

import http.client
import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .serving import Serving, environment, free_port, wait_until

APPS = Path(__file__).parent / "asgi_apps"
COUNT = 300
PEERS = {
    "uvicorn-h11": ["uvicorn", "--http", "h11"],
    "uvicorn-httptools": ["uvicorn", "--http", "httptools"],
    "hypercorn": ["hypercorn", "--workers", "0"],  # in one process, so that nothing is left when it is killed
}
SERVERS_OWN = {"date", "server", "connection", "transfer-encoding"}
"""Fields of the response that are the server's business."""


# ---- the exchanges -----------------------------------------------------------------------------------------------------


class Exchange(NamedTuple):
    """A request, and what the app does with it."""

    method: str
    target: str
    fields: list[tuple[str, bytes]]
    content: bytes
    framing: str  # "", "length" or "chunked"
    leaves: bool  # the client goes away in the middle of its content
    script: dict[str, Any]

    def head(self, number: int) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1".encode(), b"Host: example.org", b"X-Number: %d" % number]
        lines += [b"X-Script: " + json.dumps(self.script).encode()]
        lines += [name.encode() + b": " + value for name, value in self.fields]
        if self.framing == "length":
            lines.append(b"Content-Length: %d" % len(self.content))
        elif self.framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        return b"\r\n".join([*lines, b"", b""])

    def body(self, dice: random.Random) -> bytes:
        if self.framing != "chunked":
            return self.content
        chunks, rest = b"", self.content
        while rest:
            size = dice.randint(1, len(rest))
            chunks, rest = chunks + b"%x\r\n%b\r\n" % (size, rest[:size]), rest[size:]
        return chunks + b"0\r\n\r\n"


def exchange(dice: random.Random) -> Exchange:
    method = dice.choice(["GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
    parts = ["a", "", "%20", "%C3%A9", "a+b", "%2F", "~x", "%7e", "%25", "."]
    path = "/" + "/".join(dice.choices(parts, k=dice.randint(0, 3)))
    query = dice.choice(["", "", "?", "?a=1&a=2", "?q=%20%C3%A9+", "?%zz", "?a=/?"])
    fields = dice.choices(
        [
            ("X-A", b"1"), ("x-a", b"2"), ("X-Empty", b""), ("Cookie", b"a=1"), ("Cookie", b"b=2"), ("Accept", b"*/*"),
            ("X-Spaces", b"  a b \t"), ("X-Latin", b"\xe9"), ("Connection", b"close"), ("User-Agent", b"test"),
        ], k=dice.randint(0, 4),
    )  # fmt: skip
    framing = dice.choice(["length", "chunked", ""]) if method not in ("GET", "HEAD") else dice.choice(["", "", "", "length"])
    content = dice.randbytes(dice.choice([0, 1, 100, 70_000])) if framing else b""
    leaves = len(content) > 1 and dice.random() < 0.15
    reads = dice.choice(["all", "all", "first", ""])
    script: dict[str, Any] = {"reads": "all" if leaves else reads} | steps(dice)
    return Exchange(method, path + query, fields, content, framing, leaves, script)


def steps(dice: random.Random) -> dict[str, Any]:
    """What the app sends: mostly right, sometimes wrong."""
    pieces = dice.choices([0, 1, 5, 1_000, 80_000], k=dice.randint(1, 4))
    size = sum(pieces)
    status = dice.choice([200, 200, 200, 201, 404, 500, 302])
    fields = [("X-App", "1"), ("x-app", "2")][: dice.randint(0, 2)]
    if dice.random() < 0.4:
        fields.append(("Content-Length", str(size)))
    start: list[Any] = ["start", status, fields]
    streamed: list[Any] = [step for piece in pieces for step in (["body", piece, True], *(["pause"] * dice.randint(0, 1)))]
    whole = [["body", size, False]]
    kind = dice.random()
    if kind < 0.35:
        return {"fails": False, "steps": [start, *whole, *(["wait"] * (dice.random() < 0.2))]}
    if kind < 0.65:
        return {"fails": False, "steps": [start, *streamed, "end"]}
    if kind < 0.7:
        bare = dice.choice([["start", 204, []], ["start", 304, [("etag", '"a"')]]])
        return {"fails": False, "steps": [bare, "end"]}
    wrong: list[list[Any]] = [
        ["raise"], [start, "raise"], [start, ["body", 5, True], "pause", "raise"], [], [start, *whole, "raise"],
        [*whole], [start, start],
        [["start", 200, [("content-length", "3")]], ["body", 6, False]],
        [["start", 200, [("content-length", "9")]], ["body", 5, False]],
        [["start", 200, [("x-bad", "a\r\nset-cookie: b=1")]], *whole],
    ]  # fmt: skip
    return {"fails": True, "steps": dice.choice(wrong)}


# ---- one exchange on one server ----------------------------------------------------------------------------------------


def play(port: int, number: int, exchange: Exchange, patience: float) -> dict[str, Any]:
    """The parts of both views, by names such as "app.path" and "client.status"."""
    dice = random.Random(number)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        body = exchange.body(dice)
        with suppress(ConnectionError):  # a server may answer, and close, before it has read everything
            sock.sendall(exchange.head(number))
            sock.sendall(body[: len(body) // 2] if exchange.leaves else body)
        if exchange.leaves:
            time.sleep(0.02)
            client: dict[str, Any] = {}
        else:
            client = receive(sock, exchange.method)
    app = remembered(port, number, patience)
    app |= app.pop("scope", {})
    return {f"app.{part}": value for part, value in app.items()} | {f"client.{part}": value for part, value in client.items()}


def receive(sock: socket.socket, method: str) -> dict[str, Any]:
    """Read a response as the standard library does, which takes part in none of the servers."""
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
    except (ConnectionError, http.client.HTTPException):
        return {"status": "none"}
    fields = sorted((name.lower(), value) for name, value in response.getheaders() if name.lower() not in SERVERS_OWN)
    seen = {"status": response.status, "fields": fields, "framing": "none" if method == "HEAD" else framing(response)}
    try:
        content = response.read()
    except (ConnectionError, http.client.HTTPException):
        return seen | {"content": "broken off"}
    return seen | {"content": content.decode("latin-1")}


def framing(response: http.client.HTTPResponse) -> str:
    if response.headers.get("transfer-encoding"):
        return "chunked"
    return "length" if response.headers.get("content-length") else "close"


def remembered(port: int, number: int, patience: float) -> dict[str, Any]:
    """What the app saw, once it is over. An app that was never called saw nothing."""

    def ask() -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", f"/seen/{number}")
        seen = json.loads(connection.getresponse().read())
        connection.close()
        return seen if seen and seen.get("over") else None

    try:
        seen: dict[str, Any] = wait_until(ask, patience)
    except AssertionError:
        return {"never": "over"}
    return seen


@contextmanager
def peer(name: str) -> Iterator[int]:
    module, *options = PEERS[name]
    for package in (module, "httptools"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    port = free_port()
    at = ["--bind", f"127.0.0.1:{port}"] if module == "hypercorn" else ["--port", str(port), "--log-level", "critical"]
    command = [sys.executable, "-m", module, "script_app:app", *options, *at]
    process = subprocess.Popen(command, cwd=APPS, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), 30)
        yield port
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


# ---- the comparison ----------------------------------------------------------------------------------------------------

View = dict[str, Any]


class Difference(NamedTuple):
    """One exchange whose views differ: on minproto, and on a peer. ``parts``: the names of the parts that differ."""

    exchange: Exchange
    peer: str
    ours: View
    theirs: View
    parts: set[str]


def length_of_a_whole_response(case: Difference) -> set[str]:
    """A response that is complete in one message gets a Content-Length; the others send it in chunks."""
    fields = [field for field in case.ours.get("client.fields", []) if field[0] != "content-length"]
    framings = (case.ours.get("client.framing"), case.theirs.get("client.framing"))
    whole = framings in (("length", "chunked"), ("none", "none"))
    return {"client.fields", "client.framing"} if whole and fields == case.theirs["client.fields"] else set()


def failure_of_the_app(case: Difference) -> set[str]:
    """An app that fails, or breaks the specification, gets our own 500 as long as no content has been sent, since its head
    waits for content; later, the response is broken off. The others send the head at once, have other words, and raise other
    errors in the app."""
    ours = (case.ours.get("client.status"), case.ours.get("client.content"))
    fails = case.exchange.script["fails"] and (ours[0] == 500 or ours[1] == "broken off" or case.exchange.leaves)
    return {"client.status", "client.fields", "client.framing", "client.content", "app.raised"} if fails else set()


def first_piece(case: Difference) -> set[str]:
    """An app that receives once gets what has arrived by then."""
    pair = (case.ours.get("app.content", ""), case.theirs.get("app.content", ""))
    first = case.exchange.script["reads"] == "first" and (pair[0].startswith(pair[1]) or pair[1].startswith(pair[0]))
    return {"app.content"} if first else set()


def nobody_reads(case: Difference) -> set[str]:
    """After the client has left, ``send`` raises an OSError, as the specification says since 2.4; also after the head of an
    answer to HEAD, which has no content. In the others ``send`` does nothing."""
    raises = case.ours.get("app.raised") == "OSError" and case.theirs.get("app.raised") == ""
    return {"app.raised"} if raises and (case.exchange.leaves or case.exchange.method == "HEAD") else set()


def rest_of_the_content(case: Difference) -> set[str]:
    """What has arrived of a request's content can be received after the response, too."""
    rest = case.exchange.script["reads"] != "all" and case.ours.get("app.events") in (["http.request"], [])
    return {"app.events"} if rest and case.theirs.get("app.events") == ["http.disconnect"] else set()


def blanks_after_a_value(case: Difference) -> set[str]:
    """httptools leaves the blanks after a field's value in it; RFC 9112 §5.1 takes them out."""
    stripped = [[name, value.rstrip(" \t")] for name, value in case.theirs.get("app.headers", [])]
    return {"app.headers"} if case.peer == "uvicorn-httptools" and stripped == case.ours.get("app.headers") else set()


def hypercorn_waits(case: Difference) -> set[str]:
    """hypercorn does not end an app whose response came before the content of its request was read."""
    waits = case.peer == "hypercorn" and "app.never" in case.theirs and case.exchange.script["reads"] != "all"
    return {part for part in case.parts if part.startswith("app.")} if waits else set()


ALLOWED: list[Callable[[Difference], set[str]]] = [
    length_of_a_whole_response, failure_of_the_app, first_piece, nobody_reads, rest_of_the_content, blanks_after_a_value,
    hypercorn_waits,
]  # fmt: skip

DEPENDS_ON_TIME = {"first_piece", "rest_of_the_content", "hypercorn_waits"}
"""Rules that may be idle: whether a piece of content has arrived when the app asks depends on who is faster."""


def compare(exchange: Exchange, peer: str, ours: View, theirs: View, used: Counter[str]) -> dict[str, Any]:
    """The parts that differ, and that no rule explains: each as (ours, theirs)."""
    parts = {part for part in {*ours, *theirs} if ours.get(part) != theirs.get(part)}
    unexplained = set(parts)
    for rule in ALLOWED:
        explained = rule(Difference(exchange, peer, ours, theirs, parts)) & parts
        used[rule.__name__] += bool(explained)
        unexplained -= explained
    return {part: (ours.get(part), theirs.get(part)) for part in sorted(unexplained)}


def test_three_hundred_exchanges() -> None:
    dice = random.Random(17)
    exchanges = [exchange(dice) for _ in range(COUNT)]
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        minproto = Serving("script_app:app", "--no-access-log", name="asgi", folder=APPS)
        stack.callback(minproto.kill)
        ports = {"minproto": minproto.port} | {name: stack.enter_context(peer(name)) for name in PEERS}
        futures = {
            (name, number): threads.submit(play, port, number, each, 2 if name == "hypercorn" else 20)
            for number, each in enumerate(exchanges)
            for name, port in ports.items()
        }
        seen = {key: future.result() for key, future in futures.items()}
    used: Counter[str] = Counter()
    for number, each in enumerate(exchanges):
        assert "app.never" not in seen["minproto", number], (number, each)
        for name in PEERS:
            unexplained = compare(each, name, seen["minproto", number], seen[name, number], used)
            assert not unexplained, (number, name, each.head(number), unexplained)
    assert {rule.__name__ for rule in ALLOWED} - DEPENDS_ON_TIME <= {name for name, times in used.items() if times}
