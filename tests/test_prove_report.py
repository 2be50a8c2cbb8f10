"""``minproto prove``: what its report says, and how it treats a server whose faults hide behind each other."""

import asyncio
import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from pathlib import Path

import pytest

from minproto.aio.address import Address
from minproto.prove import command
from minproto.prove.case import Verdict
from minproto.prove.cases import CASES
from minproto.prove.command import _parser
from minproto.prove.controls import CONTROLS
from minproto.prove.options import emptied, results_file
from minproto.prove.report import MOST_WITH_BYTES, Report
from minproto.prove.runner import Result, prove_all
from minproto.prove.target import PATHS, Target
from minproto.prove.words import meanings, readable


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"((?!40[08]|41[147]|426|431)[2-4]\d\d) \1 closed", "answer same closed"),
        (r"[45]\d\d (closed|reset)|closed|reset", "4xx/5xx (closed|reset) or closed or reset"),
        (r"2\d\d content=\[hello|you\] closed", "2xx content=[hello or you] closed"),
        (r"(?!.*\b(malformed|push)\b)(.* )?goaway=(PROTOCOL_ERROR)( .*)? closed", "... goaway=PROTOCOL_ERROR ... closed"),
        (r"(close=\d+ )?(closed|reset)", "(close=N )?(closed|reset)"),
    ],
)
def test_a_pattern_is_readable(pattern: str, text: str) -> None:
    assert readable(pattern) == text


def test_no_pattern_of_a_case_is_empty_or_endless() -> None:
    assert not [case.name for case in CASES if not 0 < len(readable(case.right)) < 400]


def test_only_the_words_that_occur_are_explained() -> None:
    assert [line.split()[0] for line in meanings(["the answer: 200+ open", "right is: 4xx (closed|reset)"])] == [
        "open", "closed", "reset", "4xx", "200+",
    ]  # fmt: skip


def _wrong(prefix: str, count: int) -> list[Result]:
    cases = [case for case in CASES if case.name.startswith(prefix)]
    return [Result(case, Verdict.WRONG, "200 200 open") for case in cases[:count]]


@pytest.mark.parametrize("count", [MOST_WITH_BYTES, MOST_WITH_BYTES + 1])
def test_many_wrong_answers_are_shown_without_bytes(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    options = _parser().parse_args(["127.0.0.1:8000"])
    report = Report(Target(options.target, dict(PATHS), "a", 1.0), options, ExitStack())
    wrong = _wrong("http1/head/host-with-", count)
    for result in wrong:
        report.add(result, len(wrong))
    report.end(wrong)
    text = capsys.readouterr().out
    assert text.count("WRONG") == (count if count <= MOST_WITH_BYTES else 1)  # all of them break one sentence
    assert all(result.case.name in text for result in wrong) and "4xx/5xx (closed|reset)" in text


def _served(*names: str) -> list[Result]:
    """Run cases on a server that answers each request, but never ends a connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def run() -> list[Result]:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
            address = Address("127.0.0.1", listener.sockets[0].getsockname()[1])
            target = Target(address, dict(PATHS), "a", 1.0)
            cases = [case for case in CASES if case.name in names]
            async with aclosing(prove_all(cases, target, 2)) as proving:
                return [result async for result in proving]

    return asyncio.run(run())


def test_a_server_that_never_closes_is_wrong_in_the_cases_of_the_connection_alone() -> None:
    found = {
        each.case.name: each.verdict for each in _served("http1/head/get", "http1/connection/close", "http1/head/host-twice")
    }
    assert found == {
        "http1/head/get": Verdict.ACCEPTABLE,
        "http1/connection/close": Verdict.WRONG,
        "http1/head/host-twice": Verdict.WRONG,
    }


def test_a_run_can_be_left_in_the_middle() -> None:
    """Ctrl-C, or a reader that has seen enough, leaves no task behind and no traceback."""

    async def run() -> int:
        target = Target(Address("127.0.0.1", 1), dict(PATHS), "a", 0.05)
        async with aclosing(prove_all(CASES[:20], target, 4)) as proving:
            async for _ in proving:
                break
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1


def _interrupt(results: list[Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run judge some cases before Ctrl-C. Without results Ctrl-C comes during the probe."""

    async def probe(target: Target, only: object) -> dict[str, Result]:
        if not results:
            raise asyncio.CancelledError
        target.speaks.add("http1")
        return {"http1": Result(CONTROLS["http1"], Verdict.RIGHT, "200 closed")}

    async def prove_all(cases: object, target: object, jobs: int) -> AsyncGenerator[Result]:
        for result in results:
            yield result
        raise asyncio.CancelledError

    monkeypatch.setattr(command, "probe", probe)
    monkeypatch.setattr(command, "prove_all", prove_all)


@pytest.mark.parametrize("old", ["", "old" * 9999])
def test_ctrl_c_keeps_the_files_or_writes_what_was_judged(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files are opened at the beginning. Once an early Ctrl-C left them empty."""
    files = [tmp_path / "results.json", tmp_path / "results.xml"]
    words = ["127.0.0.1:1", "--json", str(files[0]), "--junit", str(files[1])]
    for file in files if old else ():
        file.write_text(old)
    _interrupt([], monkeypatch)
    assert command.run(words) == 130
    assert [file.read_text() if file.exists() else "" for file in files] == [old, old]
    assert capsys.readouterr().err == "minproto prove: interrupted\n"
    _interrupt(_wrong("http1/head/host-with-", 2), monkeypatch)
    assert command.run(words) == 130
    assert len(json.loads(files[0].read_text())["cases"]) == len(ElementTree.parse(files[1]).getroot()) == 2
    assert capsys.readouterr().err == "minproto prove: interrupted\n"


def test_the_files_are_written_also_if_nobody_reads_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``| head``, when the card cannot be printed."""

    def broken(report: Report, results: list[Result]) -> list[str]:
        raise BrokenPipeError

    _interrupt(_wrong("http1/head/host-with-", 1), monkeypatch)
    monkeypatch.setattr(Report, "_card", broken)
    assert command.run(["127.0.0.1:1", "--json", str(tmp_path / "results.json")]) == 2
    assert len(json.loads((tmp_path / "results.json").read_text())["cases"]) == 1


def test_a_pipe_and_the_null_device_can_be_files_for_results() -> None:
    reading, writing = os.pipe()
    for path in (os.devnull, f"/dev/fd/{writing}"):
        with results_file(path) as file:
            emptied(file).write("{}")
    os.close(writing)
    with open(reading) as pipe:
        assert pipe.read() == "{}"


def test_the_answer_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    options = _parser().parse_args(["127.0.0.1:8000"])
    report = Report(Target(options.target, dict(PATHS), "a", 1.0), options, ExitStack())
    result = Result(CASES[0], Verdict.WRONG, "200 content=[\x1b[2J\0] open")
    report.add(result, 1)
    report.end([result])
    assert "the answer: 200 content=[\\x1b[2J\\x00] open" in capsys.readouterr().out
