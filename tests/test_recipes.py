"""The recipes of ``examples/apps/``, in memory. ``tests/interop/test_recipes.py`` runs them as programs, with real clients."""

import ast
import asyncio
import json
import os
import re
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from harness import get, post, serving, virtual
from recipes import APPS, RECIPES, load

from minproto import Request
from minproto.http import Headers, RequestHead

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_short_and_says_how_to_run_it(path: Path) -> None:
    spec = spec_from_file_location("lines", ROOT / "benchmarks" / "lines.py")
    assert spec is not None and spec.loader is not None
    lines = module_from_spec(spec)
    spec.loader.exec_module(lines)
    source = path.read_text()
    assert lines.code_lines(source) <= 60
    if "__main__" in source:
        text = ast.get_docstring(ast.parse(source)) or ""
        assert f"    python examples/apps/{path.name}" in text and "    curl " in text


def test_the_table_of_recipes_has_each_of_them() -> None:
    table = (APPS.parent / "README.md").read_text()
    rows = re.findall(r"(?m)^\| `apps/(\w+\.py)` \|.*`python examples/apps/(\w+\.py)[ `]", table)
    programs = {path.name for path in RECIPES if "__main__" in path.read_text()}
    assert {name for name, command in rows if name == command} == programs


# ---- static files ----------------------------------------------------------------------------------------------------

TAG, MODIFIED, SIZE = '"a"', 784_111_777.0, 1000  # Sun, 06 Nov 1994 08:49:37 GMT, as in RFC 9110 §5.6.7
THEN, BEFORE, LATER = (f"Sun, 06 Nov 1994 08:49:{second} GMT" for second in (37, 36, 38))


def conditional(*fields: tuple[str, str], method: str = "GET", size: int = SIZE) -> tuple[int, dict[str, str], range]:
    head = RequestHead(method, "/", Headers([(name.replace("_", "-"), value) for name, value in fields]))
    request = Request(head, None, pipe=None, has_content=False)  # type: ignore[arg-type]
    status, headers, part = load("conditions").conditional(request, TAG, MODIFIED, size)
    return status, headers, part


CONDITIONS: list[tuple[dict[str, str], int]] = [
    ({}, 200),
    ({"if-none-match": '"a"'}, 304),
    ({"if-none-match": 'W/"a"'}, 304),  # §13.1.2: the weak comparison
    ({"if-none-match": '"b", "a"'}, 304),
    ({"if-none-match": '"b,", W/"c"'}, 200),
    ({"if-none-match": "*"}, 304),
    ({"if-none-match": "a"}, 200),
    ({"if-modified-since": THEN}, 304),
    ({"if-modified-since": LATER}, 304),
    ({"if-modified-since": BEFORE}, 200),
    ({"if-modified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 304),  # the two obsolete forms (§5.6.7)
    ({"if-modified-since": "Sun Nov  6 08:49:37 1994"}, 304),
    ({"if-modified-since": "yesterday"}, 200),
    ({"if-modified-since": "Mon, 99 Foo 999999999 99:99:99 GMT"}, 200),
    ({"if-modified-since": "Sun, 06 Nov 99999 08:49:37 GMT"}, 200),
    ({"if-none-match": '"b"', "if-modified-since": LATER}, 200),  # §13.2.2, step 3: the date is ignored
    ({"if-none-match": '"a"', "if-modified-since": BEFORE}, 304),
    ({"if-match": '"a"'}, 200),
    ({"if-match": "*"}, 200),
    ({"if-match": '"b", "a"'}, 200),
    ({"if-match": '"b"'}, 412),
    ({"if-match": 'W/"a"'}, 412),  # §13.1.1: the strong comparison
    ({"if-unmodified-since": THEN}, 200),
    ({"if-unmodified-since": LATER}, 200),
    ({"if-unmodified-since": BEFORE}, 412),
    ({"if-unmodified-since": "never"}, 200),
    ({"if-match": '"a"', "if-unmodified-since": BEFORE}, 200),  # step 1: the date is ignored
    ({"if-match": '"b"', "if-unmodified-since": LATER}, 412),
    ({"if-match": '"b"', "if-none-match": '"a"'}, 412),  # step 1 comes before step 3
    ({"if-match": '"a"', "if-none-match": '"a"'}, 304),
    ({"if-unmodified-since": BEFORE, "if-modified-since": LATER}, 412),
    ({"if-none-match": '"a"', "range": "bytes=0-9"}, 304),  # §14.2: Range comes last
    ({"if-match": '"b"', "range": "bytes=0-9"}, 412),
    ({"if-match": '"a"', "range": "bytes=0-9"}, 206),
]
"""Tests with a parameter would take longer than what they test."""


def test_conditions() -> None:
    for (fields, status), method in product(CONDITIONS, ("GET", "HEAD")):
        given, headers, part = conditional(*fields.items(), method=method)
        assert given == (status if method == "GET" or status != 206 else 200), (method, fields)
        assert (headers["etag"], headers["last-modified"]) == (TAG, THEN)
        assert bool(part) == (given in (200, 206) and method == "GET")
        assert ("content-length" in headers) == (given in (200, 206))


RANGES: list[tuple[str, int, range]] = [
    ("bytes=0-99", 206, range(0, 100)),
    ("bytes=0-0", 206, range(0, 1)),
    ("bytes=999-", 206, range(999, 1000)),
    ("bytes=990-5000", 206, range(990, 1000)),  # §14.1.2: a last position beyond the end
    ("bytes=0-999", 206, range(0, 1000)),
    ("bytes=-1", 206, range(999, 1000)),
    ("bytes=-5000", 206, range(0, 1000)),  # more than there is: everything
    ("BYTES=5-6", 206, range(5, 7)),
    ("bytes= 5-6 ", 206, range(5, 7)),
    ("bytes=,5-6,", 206, range(5, 7)),  # §5.6.1.2: a list may have empty elements
    ("bytes=1000-", 416, range(0)),
    ("bytes=1000-1001", 416, range(0)),
    ("bytes=-0", 416, range(0)),
    ("bytes=9-5", 200, range(0, 1000)),  # §14.1.1: invalid, so ignored
    ("bytes=-", 200, range(0, 1000)),
    ("bytes=", 200, range(0, 1000)),
    ("bytes=a-b", 200, range(0, 1000)),
    ("bytes=\xb2-", 200, range(0, 1000)),  # int() refuses a superscript digit
    ("bytes=0-1,5-6", 200, range(0, 1000)),  # several ranges: ignored, as §14.2 allows
    ("lines=0-1", 200, range(0, 1000)),  # an unknown unit MUST be ignored
    ("bytes=" + "9" * 5000 + "-", 200, range(0, 1000)),  # int() refuses so many digits
    ("bytes=0-" + "9" * 18, 206, range(0, 1000)),
]


def test_ranges() -> None:
    for value, status, part in RANGES:
        given, headers, chosen = conditional(("range", value))
        assert (given, chosen) == (status, part), value
        expected = {206: f"bytes {part.start}-{part.stop - 1}/1000", 416: "bytes */1000", 200: None}[status]
        assert headers.get("content-range") == expected
        assert headers.get("content-length") == (None if status == 416 else str(len(part)))


def test_if_range() -> None:
    for validator, status in {'"a"': 206, '"b"': 200, 'W/"a"': 200, THEN: 200, BEFORE: 200, "*": 200}.items():
        assert conditional(("range", "bytes=0-9"), ("if-range", validator))[0] == status, validator
        assert conditional(("range", "bytes=5000-"), ("if-range", validator))[0] == (416 if status == 206 else 200)
        assert conditional(("if-range", validator))[0] == 200


def test_a_range_of_nothing_is_the_whole_of_nothing() -> None:
    for value in ("bytes=0-", "bytes=-5", "bytes=5-"):
        status, headers, part = conditional(("range", value), size=0)
        assert (status, headers["content-length"], part) == (200, "0", range(0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files, and beside it what nobody may see."""
    root = tmp_path / "public"
    (root / "sub").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "empty").mkdir()
    for name in ("a.txt", "sub/index.html", "app.0123abcd.js", "archive.tar.gz", ".git/config", ".env", "..x", "sub/ü b.txt"):
        (root / name).write_text(f"this is {name}")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "public2").mkdir()
    (tmp_path / "public2" / "secret").write_text("secret")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "away").symlink_to(tmp_path)
    (root / "within").symlink_to(root / "a.txt")
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    return root


FOUND = {
    "/a.txt": "a.txt", "//a.txt": "a.txt", "/sub/": "sub/index.html", "/sub/ü b.txt": "sub/ü b.txt", "/sub": "sub",
    "/within": "a.txt",
}  # fmt: skip
NOT_FOUND = (
    "/", "/b", "/a.txt/", "/empty", "/empty/", "/out", "/away/secret", "/away/public/a.txt/x", "/loop", "/pipe", "/../secret",
    "/sub/../../secret", "/sub/../a.txt", "/./a.txt", "/..", "/.", "/.env", "/.git/config", "/..x", "/../public2/secret",
    "//../secret", "/a.txt\0", "/\0", "/" + "x" * 5000, "/\udce4",
)  # fmt: skip


def test_no_path_leads_out_of_the_folder(folder: Path) -> None:
    for path, name in {**FOUND, **dict.fromkeys(NOT_FOUND)}.items():
        found: Any = load("static_files").find(folder, path)
        if hasattr(found, "close"):
            found.close()
            found = Path(found.name)
        assert found == (None if name is None else folder / name), path


async def test_encoded_paths_are_decoded_once(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "%2e").write_text("odd")
    (tmp_path / "secret").write_text("secret")
    async with serving(load("static_files").static_files(tmp_path / "public")) as server:
        client = server.client()
        for path in ("/%2e%2e/secret", "/%2e%2e%2fsecret", "/..%2fsecret", "/..%5csecret", "/%00", "/%c0%ae%c0%ae/secret"):
            assert (await client.ask(get(path))).status == 404, path
        assert (await client.ask(get("/%252e"))).body == b"odd"
        assert (await client.ask(get("/%252e", method="PUT"))).headers["allow"] == "GET, HEAD"
        await client.pipe.close()


# ---- a chat ----------------------------------------------------------------------------------------------------------


def logged_in(name: str, **options: Any) -> str:
    return f"Cookie: a=b; token={load('tokens').new_token(name, **options)}"


@virtual
async def test_only_a_valid_token_opens_a_room() -> None:
    valid = logged_in("Ada").rpartition("=")[2]
    name, until, signature = valid.split(".")
    wrong = [f"Eve.{until}.{signature}", f"{name}.{int(until) + 1}.{signature}", f"{name}.{until}.{'0' * 64}", "", "..", "Ada"]
    async with serving(load("chat_rooms").app) as server:
        client = server.client()
        for token in [*wrong, logged_in("Ada", seconds=-1).rpartition("=")[2]]:
            for fields in ([f"Cookie: token={token}"], [f"Authorization: Bearer {token}"], HANDSHAKE):
                answer = await client.ask(get("/rooms/lobby", *fields))
                assert (answer.status, answer.headers.get("www-authenticate")) == (401, "Bearer"), token
        for field in (f"Cookie: token={valid}", f"Cookie: x=y; token={valid}", f"Authorization: Bearer {valid}"):
            assert (await client.ask(get("/rooms/lobby", field))).body == b'{"here": []}'
        assert (await client.ask(get("/rooms/attic", f"Cookie: token={valid}"))).status == 404
        answer = await client.ask(post("/login", b"name=Ada_1"))
        assert answer.status == 204 and answer.headers["set-cookie"].endswith("; HttpOnly; SameSite=Strict")
        cookie = answer.headers["set-cookie"].partition(";")[0]
        assert (await client.ask(get("/rooms/lobby", f"Cookie: {cookie}"))).status == 200
        for body in (b"name=", b"name=Ada%20L", b"name=" + b"x" * 21, b"name=a.b", b"", b"name=a\n"):
            assert (await client.ask(post("/login", body))).status == 400
        for path, allowed in (("/", "GET, HEAD"), ("/login", "POST")):
            assert (await client.ask(get(path, method="DELETE"))).headers["allow"] == allowed
        await client.pipe.close()


HANDSHAKE = ["Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'a' * 22}=="]


# ---- later -----------------------------------------------------------------------------------------------------------


@virtual
async def test_work_goes_on_after_its_answer() -> None:
    async with load("later").Later() as app, serving(app) as server:
        client = server.client()
        answers = [await client.ask(post("/jobs", b"%d" % number)) for number in range(20, 35)]
        assert [answer.status for answer in answers] == [202] * 12 + [503] * 3
        assert answers[-1].headers["retry-after"] == "5"
        where = [answer.headers["location"] for answer in answers[:12]]
        assert json.loads((await client.ask(get(where[0]))).body) == {"state": "running"}
        assert json.loads((await client.ask(get(where[2]))).body) == {"state": "waiting"}
        await asyncio.sleep(20.5)
        answer = await client.ask(get(where[0]))
        assert json.loads(answer.body) == {"state": "done", "result": "slept for 20 s"}
        assert answer.headers["cache-control"] == "no-store"
        assert (await client.ask(post("/jobs", b"0"))).status == 202  # there is room again
        assert (await client.ask(get("/jobs/else"))).status == 404
        assert (await client.ask(get("/jobs", method="PUT"))).headers["allow"] == "POST"
        await client.pipe.close()


@virtual
async def test_a_stop_finishes_the_jobs_or_names_those_that_are_lost(caplog: pytest.LogCaptureFixture) -> None:
    for seconds, state in ((b"19", "done"), (b"21", "running"), (b"no number", "failed")):
        async with load("later").Later() as app, serving(app) as server:
            client = server.client()
            where = (await client.ask(post("/jobs", seconds))).headers["location"]
            await client.pipe.close()
        name = where.rpartition("/")[2]
        assert app.jobs[name]["state"] == state
        said = {"done": [], "running": [f"jobs that were not done in time: {name}"], "failed": [f"job {name} failed"]}
        assert [record.getMessage() for record in caplog.records] == said[state]
        caplog.clear()


@virtual
async def test_what_is_finished_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load("later"), "KEPT", 3)
    async with load("later").Later() as app, serving(app) as server:
        client = server.client()
        where = []
        for _ in range(5):
            where.append((await client.ask(post("/jobs", b"0"))).headers["location"])
            await asyncio.sleep(0.1)
        assert [(await client.ask(get(path))).status for path in where] == [404, 404, 200, 200, 200]
        await client.pipe.close()
