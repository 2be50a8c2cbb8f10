"""``minproto trap``: its snares are sound, a watch says what a client sent, and outcomes are judged as they should be."""

import asyncio
import json
import re
import socket
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from minproto import websocket
from minproto.core import SERVER
from minproto.http2_frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    encode_frame,
)
from minproto.prove import ledger
from minproto.prove.case import Verdict
from minproto.prove.line import Line
from minproto.prove.trap import command
from minproto.prove.trap.frames import block, headers
from minproto.prove.trap.hunt import Find, Hunt
from minproto.prove.trap.pages import first_page, page
from minproto.prove.trap.report import Report
from minproto.prove.trap.server import Guest, Meeting, Trap
from minproto.prove.trap.snare import ANY, EITHER, FAILS, PRINTS, Snare
from minproto.prove.trap.snares import CONTROLS, SNARES
from minproto.prove.trap.watch import Http1Watch, Http2Watch
from minproto.testing import clock

ENTRIES = {entry.id: entry for entry in ledger.load()}
REQUEST = b"GET /http1/framing/too-short HTTP/1.1\r\nHost: a\r\n\r\n"

# ---- the snares ------------------------------------------------------------------------------------------------------


def test_each_snare_has_a_name_of_its_own() -> None:
    names = [snare.name for snare in SNARES]
    assert sorted(set(names)) == sorted(names)
    assert not [name for name in names if not re.fullmatch(r"(http1|http2|websocket|sse)/[a-z0-9-]+/[a-z0-9-]+", name)]


@pytest.mark.parametrize("group", sorted({snare.group for snare in SNARES}))
def test_the_snares_of_a_group_are_sound(group: str) -> None:
    """Their entries exist and bind a client, and they say what is right."""
    for snare in SNARES:
        if snare.group == group:
            for entry in filter(None, (snare.entry, *snare.also)):
                assert "client" in ENTRIES[entry].binds and ENTRIES[entry].left_out == "", (snare.name, entry)
            assert snare.entry or snare.why, f"{snare.name}: a snare that no standard demands says why"
            assert snare.outcome in (PRINTS, FAILS, EITHER, ANY) and not snare.says.endswith("."), snare.name
            if snare.right != ".*":
                assert snare.judge_wire("no such words") is Verdict.WRONG, snare.name


def test_what_a_program_reports_is_judged() -> None:
    prints, fails = (Snare("http1/test/it", "", (), "", outcome) for outcome in (PRINTS, FAILS))
    either, anything = (Snare("http1/test/it", "", (), "", outcome) for outcome in (EITHER, ANY))
    for snare, status, output, wrong in (
        (prints, 0, "hello\n", ""),
        (prints, 18, "hello\n", "it reports an error, with exit status 18"),
        (prints, 0, "hel\n", "its output is without 'hello'"),
        (fails, 1, "", ""),
        (fails, 0, "TypeError: terminated", ""),
        (fails, 0, "hel", "it reports no error"),
        (either, 0, "hello", ""),
        (either, 1, "", ""),
        (either, 0, "3", "its output is without 'hello'"),
        (anything, 0, "", ""),
        (anything, -11, "", "it was ended by signal 11"),
        (anything, 1, "error: smuggled", "it shows 'smuggled', which no client may show"),
    ):
        assert snare.judge_outcome(status, output, "")[1] == wrong, (snare.outcome, status, output)


def test_an_error_may_quote_what_no_output_may_show() -> None:
    snare = Snare("http1/test/it", "", (), "", FAILS)
    assert snare.judge_outcome(1, "", "bad bytes: smuggled") == (Verdict.RIGHT, "")


def test_who_disobeys_a_should_is_acceptable() -> None:
    snare = Snare("http1/test/it", "9110-6.2-higher-minor", (), "", PRINTS)
    assert snare.judge_outcome(1, "", "no such version")[0] is Verdict.ACCEPTABLE


def test_the_first_page_lists_all() -> None:
    for as_html in (False, True):
        text = first_page(SNARES, as_html)
        assert all(snare.name in text for snare in SNARES)
    assert 'const name = "http1/control/hello"' in page(CONTROLS["http1"])


# ---- what a client does ----------------------------------------------------------------------------------------------


def test_requests_of_http1() -> None:
    watch = Http1Watch()
    for byte in REQUEST + b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET":
        watch.receive(bytes([byte]))
    assert [(asked.method, asked.path) for asked in watch.requests] == [("GET", "/http1/framing/too-short"), ("POST", "/b")]
    watch.receive(b"\x00")
    assert watch.words == ["malformed"]


def test_frames_of_websocket() -> None:
    watch = Http1Watch()
    watch.receive(REQUEST)
    watch.switch()
    key = b"1234"
    sent = websocket.encode_frame(websocket.TEXT, b"he", key) + websocket.encode_frame(0x8A, b"hi", key)
    for byte in sent + websocket.encode_frame(0x88, b"\x03\xea", key) + websocket.encode_frame(0x88, b""):
        watch.receive(bytes([byte]))
    assert watch.words == ["text+=[he]", "pong=[hi]", "close=1002", "unmasked", "close=1005"]


def test_frames_of_http2() -> None:
    watch = Http2Watch()
    fields = block((":method", "GET"), (":path", "/a"), (":scheme", "http"), (":authority", "a"))
    sent = PREFACE + encode_frame(SETTINGS, 0, 0) + encode_frame(HEADERS, END_STREAM | END_HEADERS, 13, fields)
    answers = b"".join([watch.receive(bytes([byte])) for byte in sent])
    assert answers == encode_frame(SETTINGS, ACK, 0) and watch.requests[0].stream == 13
    watch.stream = 13
    watch.receive(encode_frame(SETTINGS, ACK, 0) + encode_frame(PING, ACK, 0, b"trapping") + encode_frame(SETTINGS, ACK, 0))
    watch.receive(encode_frame(3, 0, 13, b"\0\0\0\x08") + encode_frame(GOAWAY, 0, 0, bytes(7) + b"\x01"))
    assert watch.words == ["pong", "ack", "1:CANCEL", "goaway=PROTOCOL_ERROR"]


def test_a_frame_stands_on_the_stream_of_the_request() -> None:
    assert headers((":status", "200")).on_stream(13)[5:9] == bytes([0, 0, 0, 13])


class Wire(asyncio.Transport):
    """The server's end of a connection, without a socket."""

    aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


@pytest.mark.parametrize(
    ("sent", "ended", "says", "seconds"),
    [
        (b"", False, "it sent nothing, and no whole request within 3 s", 3),
        (b"", True, "it sent nothing, then ended the connection", 0),
        (PREFACE[:5], False, "it sent b'PRI *', and no whole request within 3 s", 3),
        (PREFACE, False, f"it sent {PREFACE!r}, and no whole request within 3 s", 3),
        (b"GET / HTTP/1.1\r\n", False, r"it sent b'GET / HTTP/1.1\r\n', and no whole request within 3 s", 3),
        (b"GET /" + b"a" * 99, True, f"it sent b'GET /{'a' * 35}'..., then ended the connection", 0),
    ],
)
def test_a_client_that_makes_no_request_is_told_and_left(sent: bytes, ended: bool, says: str, seconds: int) -> None:
    async def visit() -> float:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        reader.feed_data(sent)
        if ended:
            reader.feed_eof()
        writer = asyncio.StreamWriter(Wire(), asyncio.StreamReaderProtocol(reader), reader, loop)
        line = Line(reader, writer, SERVER)
        await Guest(Trap([], lambda meeting: None, on_silence=told.append), line).run()
        line.close()
        return loop.time()

    told: list[str] = []
    assert clock.run(visit()) == pytest.approx(seconds)
    assert told == [says]


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--", "no-such-program", "{url}"), "there is no program 'no-such-program'"),
        (("--", "true"), "the command needs {url}"),
        (("--",), "after -- comes a command, such as: minproto trap -- curl -s {url}"),
        (("--tls-key", "key.pem"), "--tls-key needs --tls-cert"),
        (("--tls-cert", "/no/such/file"), "can't read /no/such/file: no such file or directory"),
        (("--tls-cert", "/no/such/file", "--", "true", "{url}"), "can't read /no/such/file: no such file or directory"),
        (("--snare", "no/such/snare"), "no snare is called 'no/such/snare'"),
        (("--json", "/no/such/folder/file", "--", "true", "{url}"), "No such file or directory: '/no/such/folder/file'"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str) -> None:
    assert command.run(words) == 2
    printed = capsys.readouterr()
    assert says in printed.err and printed.err.count("\n") == 1 and printed.err.startswith("minproto trap: ")
    assert "[Errno" not in printed.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--only", "resp"), "no protocol is called 'resp' (there are http1, http2, websocket, sse)"),
        (("--port", "70000"), "not a port: '70000' (0 to 65535)"),
        (("--host", ""), "may not be empty"),
        (("--tls-cert", ""), "may not be empty"),
        (("--jobs", "0"), "not a number from 1 to 50: '0'"),
        (("--timeout", "x"), "not a number of seconds up to 600: 'x'"),
    ],
)
def test_a_wrong_option_is_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.run(words)
    printed = capsys.readouterr().err
    assert says in printed and printed.count("\n") == 1


def _hunt_until_ctrl_c(finds: list[Find]) -> Callable[..., Coroutine[Any, Any, None]]:
    async def hunt(options: object, snares: object, command: object, report: Report) -> None:
        for find in finds:
            report.add(find)
        raise asyncio.CancelledError

    return hunt


def test_ctrl_c_keeps_the_file_or_writes_what_was_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results.json"
    words = ["--json", str(file), "--", "true", "{url}"]
    monkeypatch.setattr(command, "_hunt", _hunt_until_ctrl_c([]))
    assert command.run(words) == 130 and not file.exists()
    monkeypatch.setattr(command, "_hunt", _hunt_until_ctrl_c([Find(Meeting(SNARES[0]), Verdict.RIGHT)]))
    assert command.run(words) == 130 and len(json.loads(file.read_text())["cases"]) == 1


def test_a_port_in_use_leaves_the_file_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    file.write_text("old")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert command.run(["--json", str(file), "--port", str(taken.getsockname()[1])]) == 2
    assert file.read_text() == "old" and capsys.readouterr().err.count("\n") == 1


def test_all_snares_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--list"]) == 0
    assert capsys.readouterr().out.count("\n") == len(SNARES)


@pytest.mark.parametrize(("type_", "payload"), [(SETTINGS, b"abcde"), (GOAWAY, b"a"), (RST_STREAM, b"abc"), (PING, b"a")])
def test_a_frame_of_a_wrong_length_is_malformed(type_: int, payload: bytes) -> None:
    """Each of these frames has one length, or a multiple of one (RFC 9113 §6)."""
    watch = Http2Watch()
    watch.receive(PREFACE + encode_frame(type_, 0, 1 if type_ == RST_STREAM else 0, payload))
    assert watch.words == ["malformed"]


def test_a_hunt_whose_results_nobody_reads_ends_its_programs() -> None:
    """As with ``| head``: the first result is read, and no other."""
    ended = []

    class Still(Hunt):
        async def one(self, snare: Snare) -> Find:
            try:
                await asyncio.sleep(60 if len(ended) > 1 else 0)  # after the control and the first program
            finally:
                ended.append(snare.name)
            return Find(Meeting(snare), Verdict.RIGHT)

    async def first() -> Find:
        async with aclosing(Still([], Trap([], lambda meeting: None), "", 1.0).all(SNARES[:1] * 3, 1)) as finds:
            return await anext(finds)

    assert asyncio.run(first()).verdict is Verdict.RIGHT
    assert len(ended) == 3, "the second program was ended, and the third one never began"
