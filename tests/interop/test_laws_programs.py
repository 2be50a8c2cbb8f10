"""Parsers in JavaScript under the laws: planted bugs, the stub of docs/laws.md, and a whole parser written from that page."""

import re
from pathlib import Path

import pytest

from minproto.testing.command import run

pytestmark = pytest.mark.needs("node")

ROOT = Path(__file__).parents[2]
LINES = str(Path(__file__).parent / "lines.js")

FOUND = {
    "crlf": ("law 2. However", "\\r'  <-- cut"),
    "forgets": ("law 4. After a failure the same error comes again",),
    "no bound": ("law 5. A parser that wants more data never holds more", "limit: 256"),
    "hangs at eof": ("law 6. The end of input", "got:      wants is DATA"),
    "loses events": ("law 2. However", "in one piece: RemoteProtocolError"),
    "crash": ("The program crashed.", "TypeError: Cannot read properties of null", 'last input: {"op": "data", "hex":'),
    "junk": ("The program prints something that is not an answer.", "found a host"),
    "no answer": ("The program hangs.", "no answer within 0.5 s", 'last input: {"op": "data", "hex":'),
}


@pytest.mark.parametrize("fault", FOUND)
def test_a_planted_bug_is_found_and_told(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    timeout = "0.5" if fault == "no answer" else "20"
    words = f"--streams http1-request --examples 20 --seed 1 --timeout {timeout} -- node"
    assert run([*words.split(), LINES, fault]) == 1
    says = capsys.readouterr().out
    for each in FOUND[fault]:
        assert each in says, says


def test_a_character_cut_in_two_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--streams sse --limit 500 --examples 40 --seed 1 --timeout 20 -- node"
    assert run([*words.split(), LINES, "utf-8"]) == 1
    says = capsys.readouterr().out
    assert "law 2. However" in says and "<-- cut" in says


def test_a_parser_without_a_fault_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--streams", "http1-request", "--examples", "20", "--timeout", "20", "--", "node", LINES, "none"]) == 0


def test_the_stub_of_the_page_passes_what_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "laws.md").read_text()
    stub = tmp_path / "stub.js"
    stub.write_text(re.search(r"(?s)```javascript\n(.*?)```", page)[1])  # type: ignore[index]
    assert len([line for line in stub.read_text().splitlines() if line.strip()]) < 40
    for stage, status in [(1, 0), (3, 0), (4, 1)]:
        words = f"--streams http1-request --stage {stage} --examples 20 --seed 1 --timeout 20 -- node"
        assert run([*words.split(), str(stub)]) == status


@pytest.mark.parametrize("stage", [1, 2, 3, 4, 5, 6, 7, 8, None])
def test_a_parser_written_from_the_page_passes_all_stages(stage: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--streams http1-request --against minproto --examples 60 --timeout 20"
    words += f" --stage {stage} -- node" if stage else " -- node"
    assert run([*words.split(), str(ROOT / "examples" / "laws" / "http1_request.js")]) == 0, capsys.readouterr().out
