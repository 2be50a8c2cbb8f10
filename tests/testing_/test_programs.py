"""Programs in any language under the laws: each planted bug is found, and told as what it is."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from minproto.testing import STREAMS, Subject, check_law, trace
from minproto.testing.command import run

HERE = Path(__file__).parent / "programs"
LINES = [sys.executable, "-S", "-E", str(HERE / "lines.py")]  # without site, it starts in half the time
REQUESTS = [sys.executable, "-S", "-E", str(HERE / "http1_requests.py")]
CORE = [sys.executable, str(HERE / "core.py")]


def laws(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run the command, and return its status and what it has printed."""
    status = run([*words[: words.index("--")], "--seed", "1", *words[words.index("--") :]] if "--" in words else words)
    captured = capsys.readouterr()
    return status, captured.out + captured.err


FOUND = {
    "crlf": ("law 2. However", "\\r'  <-- cut", "the first difference is in event"),
    "forgets": ("law 4. After a failure the same error comes again", "next_event: None, but the same object has to be"),
    "no bound": ("law 5. A parser that wants more data never holds more", "then without end:", "limit: 256"),
    "hangs at eof": ("law 6. The end of input", "expected: wants is CLOSED, or Remote", "got:      wants is DATA"),
    "loses events": ("law 2. However", 'in one piece: RemoteProtocolError', 'Line {"text":'),
    "keeps": ("The same bytes, given to a new parser, get the same answers", "once it was:", "now it is:"),
    "crash": ("The program crashed.", "ended with exit status 1", "IndexError: index out of range", 'last input: {"op"'),
    "exits": ("The program crashed.", "ended with exit status 1", "no more input"),
    "junk": ("The program prints something that is not an answer.", "found a host", "everything else on standard error"),
    "two answers": (
        "The program prints something that is not an answer.", "more than one line for one operation", "last input:"
    ),
    "no answer": ("The program hangs.", "no answer within 0.3 s", 'last input: {"op": "data", "hex":'),
    "slow": ("The program answers too late.", "it has to come within 0.4 s", 'last input: {"op": "data", "hex":'),
    "lacks": ("An answer lacks something", "it has no 'wants'", 'last input: {"op": "data"'),
    "wrong type": ("An answer lacks something", '"buffered" has to be a number of bytes'),
}  # fmt: skip


@pytest.mark.parametrize("fault", FOUND)
def test_a_planted_bug_is_found_and_told(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    timeout = {"no answer": "0.3", "slow": "0.4"}.get(fault, "10")
    status, says = laws(
        capsys, "--streams", "http1-request", "--examples", "20", "--timeout", timeout, "--", *LINES, fault
    )  # fmt: skip
    assert status == 1
    for words in FOUND[fault]:
        assert words in says, says
    assert "again: minproto laws --streams http1-request" in says and "--seed 1" in says


def test_a_character_cut_in_two_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    status, says = laws(capsys, "--streams", "sse", "--limit", "500", "--examples", "40", "--", *LINES, "utf-8")
    assert (status, "law 2. However" in says, "<-- cut" in says) == (1, True, True), says


def test_a_parser_without_a_fault_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    status, says = laws(capsys, "--streams", "http1-request", "--examples", "10", "--", *LINES, "none")
    assert status == 0 and says.count("holds: ") == 5 and says.endswith("all laws hold\n"), says


@pytest.mark.parametrize("name", STREAMS)
def test_our_own_core_obeys_as_a_program(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In all that it tells, and in lockstep with itself."""
    for reader in STREAMS[name].readers:
        words = f"--streams {name} --role {reader.role.value} --against minproto --examples 3 --timeout 20"
        status, says = laws(capsys, *words.split(), "--", *CORE, name)
        assert status == 0, says


@pytest.mark.parametrize("name", STREAMS)
def test_the_ledger_has_examples_of_each_stream(name: str) -> None:
    for reader in STREAMS[name].readers:
        assert len(list(reader.examples())) > 5, reader.role


def test_a_rule_that_a_parser_breaks_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With the ledger's own bytes, before any stream is drawn."""
    words = "--streams http1-request --against minproto --timeout 10".split()
    status, says = laws(capsys, *words, "--", *LINES, "none")
    assert status == 1 and "holds" not in says, says
    assert "law 13. Two implementations" in says and "\nthe rule: 911" in says and "the fields of these bytes:" in says, says
    assert "\n    http://127.0.0.1:8000/#apart=http1-request/server/" in says, says


BROKEN_RULES = {
    "19 digits": ("9110-8.6-large-numerals", "Content-Length: 0000000000000000001"),
    "any digits": ("9110-8.6-large-numerals", "Content-Length: 18446744073709551617"),
    "17 digits": ("9112-7.1-large-sizes", "b'00000000000000001"),
    "control characters": ("9110-5.5-other-controls", "X: a\\x01b"),
    "trailers": ("9112-6.1-parse-chunked", "Digest x"),
    "%zz": ("9112-3.2-host-invalid", "Host: %zz"),
    "[1]": ("9112-3.2-host-invalid", "Host: [1]"),
    "case of close": ("9112-9.3-rules", "Connection: Close"),
    "keep-alive counts": ("9112-9.3-rules", "Connection: close, keep-alive"),
    "half the limit": ("9110-5.4-too-large", "made with a limit of 37 bytes"),
}


@pytest.mark.parametrize("fault", BROKEN_RULES)
def test_a_rule_that_only_few_bytes_break_is_named(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The ledger's bytes find each of them: drawn streams hardly ever contain such bytes."""
    words = "--streams http1-request --against minproto --timeout 10".split()
    status, says = laws(capsys, *words, "--", *REQUESTS, fault)
    rule, shown = BROKEN_RULES[fault]
    assert status == 1 and f"\nthe rule: {rule}: " in says and shown in says, says


def test_a_parser_that_breaks_no_rule_agrees_with_all_examples(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--streams http1-request --against minproto --timeout 10 --examples 5".split()
    status, says = laws(capsys, *words, "--", *REQUESTS, "none")
    assert status == 0 and "examples of the ledger: holds" in says, says


@pytest.mark.filterwarnings("ignore:.*the parser made no event")
@pytest.mark.parametrize("name", STREAMS)
def test_our_own_core_passes_each_stage(name: str) -> None:
    """A stage that calls its streams valid has only valid streams."""
    for reader in STREAMS[name].readers:
        for stage in reader.stages[:-1]:
            subject = reader.subject(reader.reference.make, stage, None, reader.reference.answer)
            for law in reader.laws(stage, against=True):
                check_law(law, subject, examples=2)
            if stage.valid:
                check_law(_accepts, subject, examples=10)


def _accepts(subject: Subject, stream: Sequence[bytes]) -> None:
    """A valid stream is accepted."""
    assert trace(subject, stream).error is None


WRONG_WORDS = {
    "": "the following arguments are required: --streams",
    "--streams http3": "no stream is called 'http3' (there are http1-request, http1-response, websocket, sse, resp, http2)",
    "--streams sse --role server -- true": "sse is read by a client, not by a 'server'",
    "--streams sse --role peer -- true": "invalid choice: 'peer' (choose from",
    "--streams sse --stage 9 -- true": "sse has the stages 1 to 7, and no stage 9",
    "--streams sse --stage 0 -- true": "not a number from 1 on: '0'",
    "--streams sse --limit x -- true": "not a number from 1 on: 'x'",
    "--streams sse --timeout never -- true": "not a number of seconds: 'never'",
    "--streams sse --": "there is no command after --",
    "--streams sse -- /no/such/program": "cannot run /no/such/program: No such file or directory",
    "--streams sse -- true": "The program crashed.",
    "--streams sse --timeout 0.1 -- sleep 5": "The program hangs. Its first line was",
}


@pytest.mark.parametrize("words", WRONG_WORDS)
def test_what_cannot_be_run_is_said_in_a_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = run(words.split())
    except SystemExit as ended:
        status = ended.code
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert captured.err.startswith("minproto laws: ") and WRONG_WORDS[words] in captured.err
    assert captured.err.count("\n") == 1 or "{" in captured.err


@pytest.mark.parametrize("code", ["", "def parse(data): return data.split()"])
def test_a_file_that_is_no_program_is_told_the_contract(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For example the answer to an exercise: a module with a function, which ends without a word."""
    assert run(["--streams", "http1-request", "--", sys.executable, "-S", "-E", "-c", code]) == 2
    says = capsys.readouterr().err
    assert "it ended with exit status 0" in says and "reads lines of JSON" in says and "minproto.testing.check" in says


def test_a_program_that_does_not_flush_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--streams", "sse", "--timeout", "0.3", "--", *LINES, "does not flush"]) == 2
    assert "it has to flush each line" in capsys.readouterr().err


def test_without_hypothesis_a_line_says_what_to_install() -> None:
    program = "import sys; sys.modules['hypothesis'] = None; from minproto import cli; sys.exit(cli.main(['laws']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "pip install 'minproto[testing]'" in done.stderr


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    command = [sys.executable, "-m", "minproto", "laws", "--streams", "sse", "--examples", "1", "--", *LINES, "none"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None and program.stderr is not None
    with program.stdout, program.stderr:
        program.stdout.close()
        assert (program.stderr.read(), program.wait(60)) == (b"", 2)


def test_without_a_program_the_stages_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, says = laws(capsys, "--streams", "http1-request")
    assert status == 0
    assert "--stage 1  a request line and Host" in says and "--stage 8  limits and the end of input" in says
    assert "To begin: write a program" in says
