"""``minproto prove``: its cases are sound, and its transcripts say what a server sent."""

import re
import tomllib
from pathlib import Path

import pytest

from minproto.aio.address import Address
from minproto.http2_frames import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, PING, SETTINGS, encode_frame
from minproto.prove import cases, command, ledger, matrix
from minproto.prove.case import Case, Verdict
from minproto.prove.cases import CASES
from minproto.prove.frames import GET, Head, block
from minproto.prove.runner import Result
from minproto.prove.shown import MAX_DETAIL, shortened, to_json
from minproto.prove.target import NEEDS, PATHS, Target
from minproto.prove.transcripts import TRANSCRIPTS
from minproto.testing.mutants import Mutant, read_catalogue

UNSEEN: dict[str, str] = tomllib.loads((Path(cases.__file__).with_name("unseen.toml")).read_text())
ENTRIES = {entry.id: entry for entry in ledger.load()}
CONTROL = Case("http1/test/it", "", (), right="")


def target() -> Target:
    return Target(Address("127.0.0.1", 8000), dict(PATHS), "a", 1.0)


def words(protocol: str, *pieces: bytes, case: Case = CONTROL, end: bool = False) -> list[str]:
    """What a transcript makes of pieces."""
    reading = TRANSCRIPTS[protocol](case, target())
    reading.opening()
    for piece in pieces:
        reading.receive(piece)
    if end:
        reading.end()
    return reading.words


# ---- the cases -------------------------------------------------------------------------------------------------------


def test_each_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert sorted(set(names)) == sorted(names)
    assert not [name for name in names if not re.fullmatch(r"(http1|http2|websocket|sse|resp)/[a-z0-9-]+/[a-z0-9-]+", name)]


@pytest.mark.parametrize("group", sorted({case.group for case in CASES}))
def test_the_cases_of_a_group_are_sound(group: str) -> None:
    """Their entries and needs exist, their patterns can be read, and a silent server is not right by accident."""
    for case in CASES:
        if case.group == group:
            assert all(entry in ENTRIES for entry in (case.entry, *case.also) if entry), case.name
            assert case.entry or case.why, f"{case.name}: hardening says why"
            assert case.needs <= set(NEEDS), case.name
            assert not case.speaks or case.speaks in TRANSCRIPTS, case.name
            assert case.judge("no such transcript") is Verdict.WRONG, case.name
            assert all(ENTRIES[entry].left_out == "" for entry in (case.entry,) if entry), case.name


def test_each_sentence_that_binds_a_server_has_a_case_or_a_reason() -> None:
    asked = {entry for case in CASES for entry in (case.entry, *case.also)}
    obeyed = [entry.id for entry in ENTRIES.values() if "server" in entry.binds and not entry.left_out]
    assert not [entry for entry in obeyed if entry not in asked | set(UNSEEN)]


def test_no_reason_is_without_its_entry() -> None:
    assert not [entry for entry in UNSEEN if entry not in ENTRIES]
    asked = {entry for case in CASES for entry in (case.entry, *case.also)}
    assert not asked & set(UNSEEN), "an entry has a case, or a reason why not"


# ---- the transcripts -------------------------------------------------------------------------------------------------


def test_responses_of_http1() -> None:
    two = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 404 Not Found\r\n"
    assert words("http1", two, b"Content-Length: 0\r\n\r\n") == ["100", "200", "404"]
    assert words("http1", *[bytes([byte]) for byte in two]) == ["100", "200"]


def test_content_that_ends_with_the_connection() -> None:
    assert words("http1", b"HTTP/1.1 200 OK\r\n\r\nhi") == ["200+"]
    assert words("http1", b"HTTP/1.1 200 OK\r\n\r\nhi", end=True) == ["200"]
    assert words("http1", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", end=True) == ["200+"]  # it is cut off
    assert words("http1", b"HTTP/1.1 200 OK\r\nContent-Le", end=True) == ["malformed"]


def test_fields_and_content_are_shown() -> None:
    case = Case("http1/test/it", "", (), right="", shows=("date", "allow", "line", "content"))
    head = b"HTTP/1.1 405 No\r\nAllow: GET\r\nAllow: HEAD\r\nContent-Length: 2\r\n\r\nhi"
    assert words("http1", head, case=case) == ["405", "date=-", "allow=GET & HEAD", "line=[HTTP/1.1 405 No]", "content=[hi]"]


def test_a_response_to_head_has_no_content() -> None:
    case = Case("http1/test/it", "", (), right="", methods=("HEAD", "GET"))
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    assert words("http1", data, case=case) == ["200", "200"]
    assert words("http1", data) == ["200", "malformed"]


def test_what_is_no_response_is_malformed() -> None:
    assert words("http1", b"HTTP/2 200 OK\r\n\r\n") == ["malformed"]
    assert words("http1", b"220 mail.example ESMTP\r\n") == ["malformed"]


def frames(*more: bytes) -> bytes:
    return encode_frame(SETTINGS, 0, 0) + encode_frame(SETTINGS, ACK, 0) + b"".join(more)


def test_frames_of_http2() -> None:
    head = encode_frame(0x1, END_HEADERS, 1, block(target(), ((":status", "200"),)))
    data = [encode_frame(DATA, 0, 1, b"hi"), encode_frame(DATA, END_STREAM, 1, b"ho")]
    sent = frames(head, *data, encode_frame(PING, ACK, 0, bytes(8)), encode_frame(GOAWAY, 0, 0, bytes(8)))
    assert words("http2", sent) == ["1:200", "1:end", "pong", "goaway=NO_ERROR"]
    case = Case("http2/test/it", "", (), right="", shows=("data", "ack", "server"))
    assert words("http2", *[bytes([byte]) for byte in sent], case=case) == [
        "1:200", "1:server=-", "1:data=4", "1:end", "pong", "goaway=NO_ERROR",
    ]  # fmt: skip


def test_settings_and_ping_are_answered() -> None:
    reading = TRANSCRIPTS["http2"](CONTROL, target())
    assert reading.receive(encode_frame(SETTINGS, 0, 0)) == encode_frame(SETTINGS, ACK, 0)
    assert reading.receive(encode_frame(PING, 0, 0, b"12345678")) == encode_frame(PING, ACK, 0, b"12345678")
    assert reading.ready and reading.words == []


def test_what_is_no_http2_is_malformed() -> None:
    assert words("http2", b"HTTP/1.1 400 Bad Request\r\n\r\n") == ["malformed"]
    assert words("http2", frames(encode_frame(DATA, 0, 1, b"hi"))) == ["malformed"]


ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def test_frames_of_websocket() -> None:
    sent = ACCEPT + bytes.fromhex("8105 48656c6c6f  8900  8a02 6869  8202 00ff  8802 03e8")
    assert words("websocket", sent) == ["text=[Hello]", "ping", "pong=[hi]", "binary=[\0\xff]", "close=1000"]
    assert words("websocket", ACCEPT + bytes.fromhex("8185 37fa213d 7f9f4d5158")) == ["malformed"]  # a server does not mask


def test_a_refused_handshake() -> None:
    assert words("websocket", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") == ["refused=404", "malformed"]
    assert words("websocket", ACCEPT.replace(b"s3p", b"abc")) == ["malformed"]


def test_replies_of_resp() -> None:
    assert words("resp", b"+PO", b"NG\r\n:1\r\n") == ["+PONG :1"]
    assert words("resp", b"HTTP/1.1 400\r\n")[-1] == "malformed"


def test_an_empty_field_is_not_a_missing_field() -> None:
    head = b"HTTP/1.1 204 No Content\r\nAllow:\r\n\r\n"
    case = Case("http1/test/it", "", (), right="", shows=("allow", "date"))
    assert words("http1", head, case=case) == ["204", "allow=", "date=-"]


PLAUSIBLE = {
    "http1": ("silent", "closed", "200 closed", "200 open", "200 200 closed", "400 closed", "400 200 closed", "101 open"),
    "http2": ("silent", "closed", "1:200 1:end open", "1:400 1:end open", "1:CANCEL open", "goaway=PROTOCOL_ERROR closed"),
    "websocket": ("silent", "closed", "text=[hello] open", "close=1002 closed", "101 open", "400 closed", "1:200 open"),
    "sse": ("silent", "closed", "200+ open", "404 open", "500 closed", "1:200 open"),
    "resp": ("silent", "closed", "+PONG open", "-ERR x open", ":0 open"),
}
"""What a server could answer, right or wrong."""


def test_each_case_can_be_wrong() -> None:
    """A flood may be answered in any way, as long as the server answers the right request after it."""
    for case in CASES:
        answers = [case.judge(each) for each in PLAUSIBLE[case.protocol]]
        assert Verdict.WRONG in answers or case.group.endswith("/hostile"), case.name


@pytest.mark.parametrize(
    ("name", "transcript", "verdict"),
    [
        ("sse/response/status", "500 closed", Verdict.WRONG),
        ("sse/response/type", "200+ content-type=text/plain open", Verdict.WRONG),
        ("sse/response/type", "200+ content-type=text/event-stream;charset=utf-8 open", Verdict.RIGHT),
        ("sse/response/utf-8", "200+ content-type=text/event-stream event no-utf-8 open", Verdict.WRONG),
        ("sse/response/no-cache", "200+ cache-control=- open", Verdict.ACCEPTABLE),
        ("sse/response/not-encoded", "200+ content-encoding=gzip open", Verdict.WRONG),
        ("sse/response/to-http-1-0", "200+ transfer-encoding=chunked open", Verdict.WRONG),
        ("sse/request/no-accept", "404 open", Verdict.WRONG),
        ("sse/resume/unknown-id", "404 open", Verdict.ACCEPTABLE),
        ("sse/resume/latin-1", "500 open", Verdict.WRONG),
        ("sse/stream/stays-open", "200+ closed", Verdict.WRONG),
        ("sse/stream/format", "200+ event nul open", Verdict.WRONG),
        ("sse/stream/format", "200+ event retry open", Verdict.WRONG),
        ("sse/stream/head-at-once", "silent", Verdict.WRONG),
        ("sse/stream/reset-on-http2", "1:200 pong 3:INTERNAL_ERROR open", Verdict.WRONG),
    ],
)
def test_a_fault_of_an_event_stream_is_wrong(name: str, transcript: str, verdict: Verdict) -> None:
    """The mutants of event streams are all faults of clients, so these faults of a server are written down here."""
    assert next(case for case in CASES if case.name == name).judge(transcript) is verdict


# ---- what a case sends -----------------------------------------------------------------------------------------------


def test_a_field_block_names_the_target() -> None:
    head = Head(1, GET).encode(target())
    assert b"\x0a:authority\x01a" in head and head[3:5] == bytes([1, END_STREAM | END_HEADERS])


@pytest.mark.parametrize(("size", "length"), [(126, "7e"), (127, "7f00"), (254, "7f7f"), (255, "7f8001"), (1337, "7fba09")])
def test_the_length_of_a_value(size: int, length: str) -> None:
    """RFC 7541 §5.1: a prefix of seven bits, and then groups of seven bits."""
    assert block(target(), (("a", "x" * size),))[3:] == bytes.fromhex(length) + b"x" * size


# ---- the command -----------------------------------------------------------------------------------------------------


def test_hostile_cases_stay_on_this_machine_however_they_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """192.0.2.1 is an address for documentation (RFC 5737): the command is refused before it connects."""
    words = ["192.0.2.1:80", "--i-run-this-server", "--case", "http1/hostile/*", "--timeout", "0.01"]
    assert command.run(words) == 2
    assert capsys.readouterr().err == "minproto prove: hostile cases are for servers on this machine alone\n"


@pytest.mark.parametrize("words", [["--host", "ä€"], ["--path", "/a b"], ["--ws-path", ""], ["--host", "a\r\nb"]])
def test_what_no_request_can_contain_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.run(["127.0.0.1:1", *words])
    assert "may be ASCII without blanks" in capsys.readouterr().err


def test_a_file_for_programs_is_bounded() -> None:
    """A server may answer a flood with a flood."""
    written = to_json(CONTROL, Verdict.WRONG, "200 " * 1_000_000, "too much")
    assert len(written["detail"]) == MAX_DETAIL and written["verdict"] == "wrong"


def test_a_shown_answer_is_short_and_cannot_write_to_the_terminal() -> None:
    assert shortened("text=[\x1b[2J]") == "text=[\\x1b[2J]"
    assert len(shortened("x" * 1_000_000)) == 303


# ---- the matrix ------------------------------------------------------------------------------------------------------


def test_each_mutant_that_is_not_served_is_in_the_catalogue_and_has_cases() -> None:
    mutants = {mutant.name: mutant for mutant in read_catalogue()}
    for name, (_kind, why) in matrix.unserved().items():
        assert name in mutants, f"no mutant is called {name}"
        assert matrix.cases_of(mutants[name]) and why, name


@pytest.mark.parametrize(
    ("right", "answer", "found"),
    [
        (Verdict.RIGHT, Verdict.WRONG, True),
        (Verdict.RIGHT, Verdict.ACCEPTABLE, True),
        (Verdict.ACCEPTABLE, Verdict.WRONG, True),
        (Verdict.ACCEPTABLE, Verdict.ACCEPTABLE, False),
        (Verdict.RIGHT, Verdict.RIGHT, False),
        (Verdict.RIGHT, Verdict.SKIPPED, False),
    ],
)
def test_a_case_finds_a_mutant_whose_answer_is_worse(right: Verdict, answer: Verdict, found: bool) -> None:
    made = matrix.Matrix()
    made.right[CONTROL.name] = right
    assert made.is_worse(Result(CONTROL, answer)) is found


def test_a_mutant_that_is_found_needs_no_reason(capsys: pytest.CaptureFixture[str]) -> None:
    name, other = list(matrix.unserved())[:2]
    trials = [matrix.Trial(Mutant(each, "", "", ""), []) for each in (name, other, "another")]
    trials[0].found = [("http1/head/get", "400 closed (wrong)")]
    assert matrix.left(trials) == 2
    assert "3 mutants: 1 found, 1 not seen from outside" in capsys.readouterr().out
