"""The exercises: each reference answer passes, typical wrong answers fail for the right reason, bad input is told politely."""

import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from minproto.learn import CALLS, Exercise, load
from minproto.learn.command import run
from minproto.learn.judge import Local, PythonFile, judge
from minproto.learn.report import report
from minproto.learn.tasks import task
from minproto.testing.programs import CannotRunError, Program

EXERCISES = load()
WRONG = Path(__file__).parents[1] / "learn_wrong"
EXAMPLES = min(int(os.environ.get("MINPROTO_EXAMPLES", "2")), 30)
"""Of each law. The cases find most faults; a learner gets 60 drawn streams more."""


def wrong_answers() -> list[dict[str, Any]]:
    return [each for file in sorted(WRONG.glob("*.toml")) for each in tomllib.loads(file.read_text("utf-8"))["wrong"]]


def verdict(exercise: Exercise, source: str) -> str:
    """What the learner is told; "" if the answer has passed."""
    failure = judge(exercise, Local(exercise, source, "my.py"), EXAMPLES)
    return "\n".join(report(failure)) if failure else ""


@pytest.mark.parametrize("name", EXERCISES)
def test_the_reference_answer_passes(name: str) -> None:
    assert verdict(EXERCISES[name], EXERCISES[name].answer.read_text("utf-8")) == ""


@pytest.mark.parametrize("wrong", wrong_answers(), ids=lambda wrong: f"{wrong['exercise']}: {wrong['what']}")
def test_a_wrong_answer_is_told_what_is_wrong(wrong: dict[str, Any]) -> None:
    exercise = EXERCISES[wrong["exercise"]]
    source = exercise.answer.read_text("utf-8")
    assert source.count(wrong["old"]) == 1, "`old` stands once in the reference answer"
    says = verdict(exercise, source.replace(wrong["old"], wrong["new"]))
    unbroken = " ".join(says.split())
    for words in wrong["shows"]:
        assert " ".join(words.split()) in unbroken, says or "it has passed"
    assert "hint:     " in says and "section:  " in says


@pytest.mark.parametrize("name", EXERCISES)
def test_each_exercise_has_two_wrong_answers(name: str) -> None:
    assert sum(wrong["exercise"] == name for wrong in wrong_answers()) >= 2


@pytest.mark.parametrize("name", EXERCISES)
def test_a_stub_fails_politely(name: str) -> None:
    exercise = EXERCISES[name]
    says = verdict(exercise, exercise.stub.read_text("utf-8"))
    assert f"{name} is not passed yet: 0 of {len(exercise.cases)} cases are right." in says
    assert "raises NotImplementedError (in line " in says and exercise.cases[0].says in says


@pytest.mark.parametrize("name", EXERCISES)
def test_a_task_has_all_that_a_learner_needs(name: str) -> None:
    exercise = EXERCISES[name]
    text = "\n".join(task(exercise))
    assert exercise.asks in exercise.text and exercise.asks in exercise.stub.read_text("utf-8")
    assert sum(case.shown for case in exercise.cases) >= 2, "worked examples"
    assert max(map(len, text.splitlines())) <= 150
    assert all(each.hint.endswith(".") and each.says for each in exercise.cases)


def test_the_first_of_each_protocol_takes_ten_minutes() -> None:
    assert all(each.minutes <= 10 for each in EXERCISES.values() if each.number == 1)


# ---- the command -----------------------------------------------------------------------------------------------------


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = run(words)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return status, captured.out + captured.err


def test_the_list_and_a_task_and_a_stub(capsys: pytest.CaptureFixture[str]) -> None:
    status, says = told(capsys)
    assert status == 0 and all(name in says for name in EXERCISES)
    status, says = told(capsys, "http1/3")
    assert status == 0 and "raises ValueError" in says and "minproto learn http1/3 my.py" in says
    status, says = told(capsys, "http1/3", "--stub")
    assert says == EXERCISES["http1/3"].stub.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["http1/9"], "no exercise is called 'http1/9' (there are http1/1 to http1/6)"),
        (["quic/1"], "no exercise is called 'quic/1' (minproto learn lists them: http1/1"),
        (["http1/1", "nowhere.py"], "'nowhere.py' does not exist: give a Python file (or a command after --)"),
        (["http1/1", ""], "'' is a folder"),
        ([""], "no exercise is called ''"),
        (["http1/1", "."], "'.' is a folder: give a Python file"),
        (["http1/1", "--"], "there is no command after --"),
        (["--", "node"], "-- COMMAND needs an exercise before it, such as http1/3"),
        (["http1/5", "--", "node", "my.js"], "http1/5 asks for keeps_alive in Python: give a Python file, not a command"),
        (["http1/1", "my.py", "--", "node"], "'my.py' comes before --, and a command after it: give only one of them"),
        (["http1/1", "my.py", "--stub"], "--stub prints the stub and tries nothing: leave out 'my.py', or --stub"),
        (["http1/1", "--", "/no/such/program"], "cannot run /no/such/program: No such file or directory"),
        (["http1/1", "--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_bad_input_gets_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status, says = told(capsys, *words)
    except SystemExit as exit:
        status, says = int(str(exit.code)), capsys.readouterr().err
    assert status == 2 and says.count("\n") == 1 and says.startswith(f"minproto learn: {line}"), says


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def f(:\n", "my.py is not Python: "),
        ("import nothing_like_it\n", "my.py does not import: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("\nexit(3)\n", "my.py does not import: SystemExit: 3 (in line 2)"),
        ("x = 1\n", "my.py has no HeadFinder, which this exercise asks for"),
    ],
)
def test_a_file_that_cannot_be_loaded_gets_one_line(source: str, line: str) -> None:
    with pytest.raises(CannotRunError, match="^" + line.replace("(", r"\(").replace(")", r"\)")):
        Local(EXERCISES["http1/1"], source, "my.py")


NOISY = '''
import sys
print("printed while it is imported")
assert sys.stdin.read() == ""
'''


def test_a_file_in_a_process_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints does no harm, and an endless loop is ended, with the line that loops."""
    file = tmp_path / "json.py"  # a name that a module of Python has, too
    answer = EXERCISES["http1/5"].answer.read_text("utf-8")
    file.write_text(NOISY + answer.replace("    if ", '    print("harmless")\n    if '))
    status, says = told(capsys, "http1/5", str(file))
    assert (status, "http1/5 is passed" in says) == (0, True), says
    file.write_text("import time\n\ndef keeps_alive(version, fields):\n    while True:\n        time.sleep(0.01)\n")
    program = PythonFile(EXERCISES["http1/5"], str(file), timeout=0.3)
    program.start()
    failure = judge(EXERCISES["http1/5"], program, 0)
    program.close()
    assert failure is not None
    says = "\n".join(report(failure))
    assert "The program hangs." in says and "it gave no answer within 0.3 s" in says and "line 5 in keeps_alive" in says, says
    assert "Thread" not in says and "session.py" not in says
    file.write_bytes(b"\xff\xfe")
    status, says = told(capsys, "http1/5", str(file))
    assert (status, says) == (2, "minproto learn: json.py is not UTF-8, so it is not Python\n")
    file.write_text("import nothing_like_it\n")
    status, says = told(capsys, "http1/5", str(file))
    assert status == 2 and says.count("\n") == 1 and "No module named 'nothing_like_it'" in says


def test_a_list_that_is_lost_is_told() -> None:
    """A method that returns a list cannot return it and raise."""
    exercise = EXERCISES["http1/3"]
    source = exercise.answer.read_text("utf-8").replace("yield from self._events()", "yield from list(self._events())")
    says = verdict(exercise, source)
    assert "expected: Data" in says and "A list is lost when you raise: yield each event" in says


def test_the_bytes_that_are_explained_are_those_of_the_call_that_failed() -> None:
    """A case may have several calls."""
    exercise = EXERCISES["http1/2"]
    source = exercise.answer.read_text("utf-8").replace(r"HTTP/(1\.[0-9])", r"HTTP/([0-9]\.[0-9])")
    says = verdict(exercise, source)
    assert "the next case: wrong versions" in says
    shown = says.partition("the bytes:\n")[2]
    assert "HTTP/2.0" in shown and "HTTP/1.11" not in shown and "  : " not in shown


def test_a_drawn_input_is_told_as_one() -> None:
    exercise = EXERCISES["pubsub/1"]
    source = exercise.answer.read_text("utf-8").replace('b":%d\\r\\n" % value', 'b":%d\\r\\n" % max(value, -1)')
    failure = judge(exercise, Local(exercise, source, "my.py"), 60)
    says = "\n".join(report(failure)) if failure else ""
    assert "the 7 cases are right, but not every other input or cut.\na drawn input is read wrong; this is the" in says
    assert "    encode_reply(-2)\nexpected: b':-2\\r\\n'\ngot:      b':-1\\r\\n'" in says


LINES = """
import json, sys
for line in sys.stdin:
    op = json.loads(line)
    events = []
    if op["op"] == "new":
        held = b""
    elif op["op"] == "data":
        held += bytes.fromhex(op["hex"])
        *heads, held = held.split(END)
        events = [{"type": "Head", "size": len(head) + 4} for head in heads]
    wants = "closed" if op["op"] == "eof" else "data"
    print(json.dumps({"events": events, "error": None, "wants": wants, "buffered": len(held)}), flush=True)
"""


def test_a_program_in_any_language(tmp_path: Path) -> None:
    file = tmp_path / "lines.py"
    for end, words in [(r'b"\r\n\r\n"', ""), (r'b"\n\n"', "the next case: one head in one piece")]:
        file.write_text(LINES.replace("END", end))
        program = Program([sys.executable, "-S", "-E", str(file)], limit=1 << 20)
        failure = judge(EXERCISES["http1/1"], program, 1)
        program.close()
        assert words in ("\n".join(report(failure)) if failure else "") and (failure is None) == (words == "")


# ---- bugs of one line ------------------------------------------------------------------------------------------------


def test_a_bug_is_handed_out_and_answered(capsys: pytest.CaptureFixture[str]) -> None:
    status, asked = told(capsys, "mutants", "websocket", "--seed", "4")
    assert status == 0 and asked == told(capsys, "mutants", "websocket", "--seed", "4")[1]
    number = asked.split()[1].rstrip(":")
    status, answered = told(capsys, "mutants", number, "--answer")
    wrong = next(line for line in answered.splitlines() if line.startswith("    - ")).removeprefix("    - ")
    assert wrong in asked and "    + " in answered and "breaks 6455-" in answered and "caught by:\n    tests/" in answered
    assert told(capsys, "mutants", "te-beside-cl")[0] == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["0"], "no bug is called '0' (give a number from 1 to "),
        (["9999999"], "no bug is called '9999999'"),
        (["http3"], "no bug is called 'http3' (give a number from 1 to"),
        (["--answer"], "--answer needs a bug: its number"),
        (["41", "--seed", "1"], "--seed draws a bug, and '41' is one already"),
        (["--seed", "x"], "argument --seed: not a number from 0 on: 'x'"),
    ],
)
def test_a_bug_that_there_is_not_gets_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status, says = told(capsys, "mutants", *words)
    except SystemExit as exit:
        status, says = int(str(exit.code)), capsys.readouterr().err
    assert status == 2 and says.count("\n") == 1 and says.startswith(f"minproto learn: {line}"), says


def test_calls_are_for_python_and_streams_for_all() -> None:
    assert {each.kind for each in EXERCISES.values()} == {CALLS, "parser"}
