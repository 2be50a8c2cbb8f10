"""The stepper's server side: what a stream does to a core, call by call, and the requests of the page."""

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from lab_harness import lab

from minproto.lab import apart, stepper
from minproto.lab.apart import MAX_BYTES, MAX_CUTS, MAX_FIELDS, MAX_STEPS, take_apart, wrong_examples
from minproto.lab.ends import ENDS, make_end
from minproto.lab.exchanges import EXCHANGES
from minproto.testing.findings import fields_of, findings, link
from minproto.testing.report import LawBroken
from minproto.testing.streams import STREAMS

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ALL = [(protocol, role) for protocol, roles in ENDS.items() for role in roles]


def events(found: dict[str, Any]) -> list[str]:
    return [step["event"]["type"] for step in found["steps"] if step["event"]]


def fields(found: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [(field["name"], field["from"], field["to"]) for row in found["rows"] for field in row["fields"]]


def test_the_steps_of_a_request() -> None:
    """The example of apart.py: a cut, two events, the answer, and the end of input."""
    found = take_apart("http1-request", "server", GET, [9])
    rows = [
        (step["arrived"], step["parsed"], step["event"] and step["event"]["type"], step["wants"], step["buffered"])
        for step in found["steps"]
    ]
    assert rows == [
        ({"data": [0, 9]}, [0, 0], None, "data", 9),
        ({"data": [9, 27]}, [0, 27], "RequestHead", "data", 0),
        ({}, [27, 27], "EndOfMessage", "data", 0),
        ({}, [27, 27], None, "data", 0),
        ({"eof": True}, [27, 27], None, "closed", 0),
    ]
    assert found["steps"][1]["event"]["fields"] == [["method", "'GET'"], ["target", "'/'"], ["headers", "[('host', 'a')]"]]
    assert found["steps"][1]["state"] == [["request", "BODY"], ["response", "HEAD"], ["keep_alive", "True"]]
    assert bytes.fromhex(found["steps"][2]["sent"]["hex"]).startswith(b"HTTP/1.1 404 ")
    assert fields(found) == [
        ("method", 0, 4), ("request-target", 4, 6), ("HTTP-version", 6, 16), ("host", 16, 25), ("empty line", 25, 27),
    ]  # fmt: skip
    assert found["before"]["bytes"] == 0 and not found["more"]


@pytest.mark.parametrize(
    ("protocol", "role", "data", "text", "code", "entry"),
    [
        ("http1-request", "server", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "both Transfer-Encoding and Content-Length", "400", "9112-6.1-te-and-cl"),
        ("http1-request", "server", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
         "unexpected byte 0x20 in the name of a head", "400", "9112-5.1-space-before-colon"),
        ("websocket", "server", "83 80 00000000", "reserved opcode 3", "1002", "6455-5.2-unknown-opcode-fails"),
        ("websocket", "server", "84 80 00000000", "reserved opcode 4", "1002", "6455-5.2-unknown-opcode-fails"),
        ("resp", "client", ":007\r\n", "not a value: b':007'", "", "resp-protocol-integer"),
        ("http2", "client", "000000 04 00 00000000 000004 08 00 00000000 00000000", "an increment of 0", "PROTOCOL_ERROR", ""),
    ],
)  # fmt: skip
def test_a_fault_has_its_sentence(protocol: str, role: str, data: str, text: str, code: str, entry: str) -> None:
    """Found by the ledger's wrong examples; numbers and quoted texts in the error may differ from those of the example."""
    stream = data.encode() if protocol in ("http1-request", "resp") else bytes.fromhex(data)
    last = take_apart(protocol, role, stream, [])["steps"][-1]
    assert last["error"] == {"text": text, "code": code} and last["wants"] == "closed"
    assert entry in [each["id"] for each in last["entries"]] or not entry
    for each in last["entries"]:
        assert each["says"].endswith(".") and each["page"] in {"9112.md", "6455.md", "9113.md", "9110.md", "resp.md"}


def test_the_sentence_about_the_frame_comes_first() -> None:
    """Several frames lead to one error: of the sentences, that about a PING is the one about these bytes."""
    ping = apart.OPENINGS["http2", "server"] + bytes.fromhex("000008 06 00 00000001") + bytes(8)
    entries = take_apart("http2", "server", ping, [])["steps"][-1]["entries"]
    assert entries[0]["id"] == "9113-6.7-ping-on-a-stream" and len(entries) == 4


def test_a_fault_of_one_stream_has_its_sentence() -> None:
    """It is an event of HTTP/2, and the connection goes on."""
    found = [take_apart("http2", "server", data, []) for _, data in wrong_examples("http2", "server")]
    steps = [step for each in found for step in each["steps"] if step["event"] and step["event"]["type"] == "StreamFault"]
    assert len(steps) > 10 and all(step["entries"] and step["error"] is None for step in steps)


@pytest.mark.parametrize(("protocol", "role"), ALL)
def test_any_bytes_with_any_cuts(protocol: str, role: str) -> None:
    """The same bytes give the same steps; each byte arrives once; the fields cover the stream in its order."""
    chosen = random.Random(7)
    streams = [each.data for each in EXCHANGES if (each.protocol, each.role) == (protocol, role)]
    streams += [*[data for _, data in wrong_examples(protocol, role)][:10], b"", b"\x00", bytes(range(256))]
    for data in streams:
        places = range(1, len(data))
        cuts = chosen.sample(places, chosen.randint(0, min(len(places), 20)))
        found = take_apart(protocol, role, data, cuts)
        assert found == take_apart(protocol, role, data, sorted(cuts)) == json.loads(json.dumps(found))
        pieces = [step["arrived"]["data"] for step in found["steps"] if "data" in step["arrived"]]
        assert [start for start, _ in pieces] == [0, *(stop for _, stop in pieces)][: len(pieces)]
        at = 0
        for _, start, stop in fields(found):
            assert start == at
            at = stop
        assert at == len(data)
        assert found["steps"][-1]["wants"] == "closed" or found["steps"][-1]["wants"] == "paused"
        parsed = [step["parsed"] for step in found["steps"]]
        assert all(before[1] == after[0] for before, after in pairwise(parsed))


def test_cuts_change_no_event() -> None:
    """Law 2, as the page shows it: each exchange, whole and cut at each byte."""
    for exchange in EXCHANGES:
        whole = take_apart(exchange.protocol, exchange.role, exchange.data, [])
        cut = take_apart(exchange.protocol, exchange.role, exchange.data, list(range(1, len(exchange.data))))
        assert [name for name in events(whole) if name != "Data"] == [name for name in events(cut) if name != "Data"]
        assert whole["rows"] == cut["rows"] and len(cut["steps"]) > len(whole["steps"])


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.title)
def test_an_exchange_is_what_its_title_says(exchange: Any) -> None:
    """It has no fault, except where its text speaks of one."""
    found = take_apart(exchange.protocol, exchange.role, exchange.data, list(exchange.cuts))
    faulty = any(step["error"] for step in found["steps"]) or any(row["error"] for row in found["rows"])
    assert faulty == ("refuses" in exchange.look or "fault" in exchange.look)
    assert events(found) or faulty


def test_the_ends_are_those_of_the_laws() -> None:
    """A stream that breaks a law can be opened here."""
    assert {name: [reader.role.value for reader in stream.readers] for name, stream in STREAMS.items()} == ENDS
    for protocol, role in ALL:
        assert apart.OPENINGS.get((protocol, role), b"") == STREAMS[protocol].reader(role).opening
        assert make_end(protocol, role).role.value == role


def test_a_counter_example_has_a_link() -> None:
    """With the protocol, the role, the bytes and the cuts: all that the page needs."""
    reader = STREAMS["http1-request"].reader()
    assert link(reader, [b"GET", b" /", b"", b" X"]) == (
        "http://127.0.0.1:8000/#apart=http1-request/server/474554202f2058/3,5"
    )
    broken = LawBroken("2. Cuts.", "wrong", [(b"GE", "cut"), (b"T /\r\n", "end of input")])
    assert findings(reader, broken)[-1] == "    http://127.0.0.1:8000/#apart=http1-request/server/474554202f0d0a/2"
    assert not [line for line in fields_of(reader, b"a" * 1_001) if "apart" in line]


def test_a_web_page_gets_no_answer() -> None:
    """POST, as the first word of a command, is an HTTP request: the broker's server closes."""
    last = take_apart("resp", "server", b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", [])["steps"][-1]
    assert "web page" in last["error"]["text"] and last["sent"]["bytes"] == 0


@pytest.mark.parametrize(
    ("protocol", "role", "data", "cuts", "says"),
    [
        ("http3", "server", b"", [],
         "no protocol is called 'http3' (there are http1-request, http1-response, websocket, sse, resp, http2)"),
        ("sse", "server", b"", [], "sse is read by a client, not by a 'server'"),
        ("resp", "proxy", b"", [], "resp is read by a server or client, not by a 'proxy'"),
        ("resp", "server", bytes(MAX_BYTES + 1), [], "65,537 bytes are too many: at most 65,536 are taken apart"),
        ("resp", "server", bytes(5_000), list(range(1, MAX_CUTS + 2)), "1,001 cuts are too many: at most 1,000 are made"),
        ("resp", "server", b"PING\r\n", [6], "no cut is possible at 6: the 6 bytes can be cut at 1 to 5"),
        ("resp", "server", b"PING\r\n", [0], "no cut is possible at 0: the 6 bytes can be cut at 1 to 5"),
        ("resp", "server", b"P", [1], "no cut is possible at 1: a stream of 1 byte has no place for a cut"),
        ("resp", "server", b"", [-1], "no cut is possible at -1: a stream of 0 bytes has no place for a cut"),
    ],
)  # fmt: skip
def test_wrong_arguments(protocol: str, role: str, data: bytes, cuts: list[int], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        take_apart(protocol, role, data, cuts)
    assert str(caught.value) == says


def test_it_is_bounded() -> None:
    """As many steps, fields and characters as the page can show."""
    found = take_apart("websocket", "server", bytes.fromhex("81 80 37fa213d") * 4_000, list(range(1, 500)))
    assert len(found["steps"]) == MAX_STEPS and found["more"]
    assert MAX_FIELDS - 10 < len(fields(found)) <= MAX_FIELDS
    large = take_apart("resp", "server", b"*2\r\n$4\r\nECHO\r\n$60000\r\n" + bytes(60_000) + b"\r\n", [])
    assert len(json.dumps(large)) < 10_000


# ---- the requests ------------------------------------------------------------------------------------------------------


async def post(content: bytes) -> tuple[int, str]:
    """The status and the text of the answer to a POST."""
    async with lab() as page, page.client() as client:
        response = await client.request("POST", stepper.PATH, body=content)
        return response.status, (await response.read()).decode()


async def test_a_post_gives_the_steps() -> None:
    order = {"protocol": "http1-request", "role": "server", "hex": GET.hex(), "cuts": [9]}
    status, text = await post(json.dumps(order).encode())
    assert (status, json.loads(text)) == (200, take_apart("http1-request", "server", GET, [9]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", 'the content is an object of JSON: {"protocol": …, "role": …, "hex": …, "cuts": […]}'),
        (b"[" * 100_000, 'the content is an object of JSON: {"protocol": …, "role": …, "hex": …, "cuts": […]}'),
        (b'{"protocol": 1}', "protocol and role are texts"),
        (b'{"protocol": "resp", "role": "server"}', "hex is a text of hexadecimal digits"),
        (b'{"protocol": "resp", "role": "server", "hex": "5", "cuts": []}',
         "hex has two hexadecimal digits for each byte, not '5'"),
        (b'{"protocol": "resp", "role": "server", "hex": "50", "cuts": [true]}', "cuts is a list of whole numbers"),
        (b'{"protocol": "resp", "role": "server", "hex": "50", "cuts": [7]}',
         "no cut is possible at 7: a stream of 1 byte has no place for a cut"),
    ],
)  # fmt: skip
async def test_a_wrong_post(content: bytes, says: str) -> None:
    assert await post(content) == (400, f"{says}\n")


async def test_what_there_is_to_choose() -> None:
    async with lab() as page:
        status, content = await page.get(stepper.PATH)
        offer = json.loads(content)
        assert status == 200 and offer["ends"] == ENDS and len(offer["exchanges"]) == len(EXCHANGES)
        assert {each["protocol"] for each in offer["wrong"]} == set(ENDS)
        async with page.client() as client:
            response = await client.request("PUT", stepper.PATH)
            await response.read()
            assert (response.status, response.headers.get("allow")) == (405, "GET, HEAD, POST")
        assert (await page.get(stepper.PATH, ("origin", "http://evil.example")))[0] == 403


async def test_a_page_of_the_ledger() -> None:
    """Only the pages of standards: no other file is read."""
    async with lab() as page:
        status, content = await page.get("/lab/requirements/9112.md")
        assert status == 200 and b"### 9112-6.1-te-and-cl" in content
        for name in ("README.md", "../laws.md", "%2e%2e/laws.md", "", "9112", "9999.md"):
            assert (await page.get(f"/lab/requirements/{name}"))[0] == 404, name
