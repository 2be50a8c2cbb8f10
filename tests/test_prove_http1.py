"""The cases of HTTP/1.1: which answers they call right, acceptable and wrong, and that each entry of the ledger has one."""

import pytest
from test_prove import UNSEEN, words

from minproto.prove import ledger
from minproto.prove.case import Case, Verdict
from minproto.prove.cases import CASES

HTTP1 = {case.name.removeprefix("http1/"): case for case in CASES if case.protocol == "http1"}
RIGHT, ACCEPTABLE, WRONG = Verdict.RIGHT, Verdict.ACCEPTABLE, Verdict.WRONG


@pytest.mark.parametrize(
    ("name", "transcript", "verdict"),
    [
        # A right request: the second answer shows where the server saw the end of the first request.
        ("head/get", "200 200 closed", RIGHT),
        ("head/get", "404 404 closed", RIGHT),
        ("head/get", "200 closed", ACCEPTABLE),
        ("head/get", "400 closed", WRONG),
        ("head/get", "silent", WRONG),
        ("head/byte-by-byte", "400 closed", WRONG),
        ("head/half-a-head", "200 open", WRONG),
        # RFC 9112 §2.2 permits a bare LF.
        ("head/bare-lf", "400 closed", RIGHT),
        ("head/bare-lf", "200 200 closed", ACCEPTABLE),
        # §5.1: a 400, but the connection may go on behind a head whose end is beyond doubt.
        ("head/space-before-the-colon", "400 200 closed", ACCEPTABLE),
        ("head/space-before-the-colon", "200 200 closed", WRONG),
        # §5.2: a fold may be read as a space, never as a field.
        ("head/folded-value", "200 200 closed", ACCEPTABLE),
        ("head/folded-value", "200 open", WRONG),
        ("head/host-missing", "400 open", ACCEPTABLE),
        ("head/host-missing", "200 200 closed", WRONG),
        ("head/absolute-form", "400 200 closed", WRONG),
        ("head/absolute-form", "404 200 closed", WRONG),
        ("head/http-1-0", "200 line=[HTTP/1.0 200 OK] closed", ACCEPTABLE),
        # §6.1: whatever the answer, the connection is closed.
        ("framing/te-and-cl", "200 closed", ACCEPTABLE),
        ("framing/te-and-cl", "200 400 closed", WRONG),
        ("framing/te-and-cl", "400 open", WRONG),
        ("framing/length-with-a-plus", "200 200 closed", WRONG),
        ("framing/length-with-a-plus", "closed", ACCEPTABLE),
        ("framing/length-too-large-for-64-bits", "200 200 closed", WRONG),
        ("framing/length-too-large-for-64-bits", "silent", ACCEPTABLE),
        ("framing/length-too-large-for-64-bits", "413 closed", RIGHT),
        ("framing/lengths-that-are-equal", "400 content=[no\n] closed", RIGHT),
        ("framing/lengths-that-are-equal", "200 content=[hello] 200 content=[last] closed", RIGHT),
        ("framing/too-short", "200 content=[hello] closed", WRONG),
        ("framing/too-short", "200+ closed", RIGHT),
        # The app may have answered before the fault arrived.
        ("framing/chunk-size-with-0x", "200+ closed", ACCEPTABLE),
        ("framing/chunk-size-with-0x", "405 400 closed", ACCEPTABLE),
        ("framing/chunk-size-with-0x", "200 200 closed", WRONG),
        ("framing/chunk-size-with-0x", "200 400 closed", WRONG),
        ("connection/close", "200 connection=close closed", RIGHT),
        ("connection/close", "200 connection=- closed", ACCEPTABLE),
        ("connection/close", "200 connection=close open", WRONG),
        ("connection/close-and-another-request", "200 connection=close 200 connection=close closed", WRONG),
        ("connection/http-1-0-keep-alive", "200 connection=keep-alive open", RIGHT),
        ("connection/http-1-0-keep-alive", "200 connection=- closed", RIGHT),
        ("connection/continue", "100 open", RIGHT),
        ("connection/continue", "405 closed", RIGHT),
        ("connection/continue", "silent", WRONG),
        ("connection/continue-in-http-1-0", "100 200 closed", WRONG),
        ("connection/content-after-a-refusal", "404 200 closed", RIGHT),
        ("connection/content-after-a-refusal", "404 400 closed", WRONG),
        ("semantics/date", "200 date=Sun, 29 Nov 2026 22:29:24 -0000 closed", WRONG),
        ("semantics/date", "200 date=Sun, 29 Nov 2026 22:29:24 GMT closed", RIGHT),
        ("semantics/allow-in-a-405", "405 allow=- closed", WRONG),
        ("semantics/allow-in-a-405", "501 allow=- closed", RIGHT),
        ("semantics/head", "200 malformed closed", WRONG),
        ("semantics/not-modified-and-length", "304 content-length=5 200 content-length=5 closed", RIGHT),
        ("semantics/date-goes-on", "200 date=a 200 date=b closed", RIGHT),
        ("semantics/date-goes-on", "200 date=a 200 date=a closed", ACCEPTABLE),
        ("limits/target-of-64-kib", "414 closed", RIGHT),
        ("limits/target-of-64-kib", "200 200 closed", RIGHT),
    ],
)  # fmt: skip
def test_a_verdict(name: str, transcript: str, verdict: Verdict) -> None:
    assert HTTP1[name].judge(transcript) is verdict


def test_each_entry_of_http1_that_binds_a_server_has_a_case_or_a_reason() -> None:
    asked = {entry for case in HTTP1.values() for entry in (case.entry, *case.also)}
    entries = [each for each in ledger.load() if each.standard in ("RFC 9110", "RFC 9112") and not each.left_out]
    assert not [each.id for each in entries if "server" in each.binds and each.id not in asked | set(UNSEEN)]


def test_a_first_line_is_shown_as_it_came() -> None:
    case = Case("http1/test/it", "", (), right="", shows=("line",))
    assert words("http1", b"HTTP/1.1 204", b" \r", b"\n\r\nHTTP/1.0 200 OK\r\n", b"\r\n", case=case, end=True) == [
        "204", "line=[HTTP/1.1 204 ]", "200", "line=[HTTP/1.0 200 OK]",
    ]  # fmt: skip


def test_a_switch_needs_an_offer() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x00"
    assert words("http1", switch) == ["malformed"]
    assert words("http1", switch, case=HTTP1["connection/upgrade"])[0] == "101"
