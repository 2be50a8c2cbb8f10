"""The exercises in processes of their own: each reference answer, and the page's start in JavaScript."""

import re
from pathlib import Path

import pytest

from minproto.learn import load
from minproto.learn.command import run

ROOT = Path(__file__).parents[2]
LOOK = """  for (let at; (at = buffer.indexOf("\\r\\n\\r\\n")) >= 0; buffer = buffer.subarray(at + 4)) {
    events.push({ type: "Head", size: at + 4 })
  }
"""


@pytest.mark.parametrize("name", load())
def test_the_reference_answer_passes_in_a_process(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With as many drawn inputs as a learner's answer gets."""
    status = run([name, str(load()[name].answer)])
    assert status == 0, capsys.readouterr()
    assert f"{name} is passed: " in capsys.readouterr().out


@pytest.mark.needs("node")
def test_the_start_in_javascript(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "course" / "exercises.md").read_text()
    code = page.partition("```javascript\n")[2].partition("```")[0]
    file = tmp_path / "my.js"
    file.write_text(code)
    assert run(["http1/1", "--", "node", str(file)]) == 1
    assert "0 of 4 cases are right" in capsys.readouterr().out
    written, times = re.subn(r"  // your part: .*\n", lambda found: LOOK, code)
    assert times == 1
    file.write_text(written)
    assert run(["http1/1", "--", "node", str(file)]) == 0, capsys.readouterr().out
