"""``@obeys``, and what docs/laws.md says: its stub passes a stage, and its events are those that our cores make."""

import json
import re
import sys
from pathlib import Path

import pytest

from minproto.core import Event, Role
from minproto.http import Data
from minproto.http1 import Connection
from minproto.testing import STREAMS, LawBroken, obeys
from minproto.testing.command import run
from minproto.testing.driver import Run
from minproto.testing.json_events import to_json
from minproto.testing.subjects import SMALL

PAGE = (Path(__file__).parents[2] / "docs" / "laws.md").read_text()
REFERENCE = STREAMS["http1-request"].reader().reference


@obeys("http1-request", limit=SMALL.max_head, answer=REFERENCE.answer, examples=5)
def test_our_core() -> Connection:
    """A test for each law."""
    return Connection(Role.SERVER, SMALL)


@obeys("http1-request", stage=7, against="minproto", answer=REFERENCE.answer, examples=5)
def test_our_core_in_a_stage() -> Connection:
    return REFERENCE.make()


class Deaf(Connection):
    """Reads no content."""

    def next_event(self) -> Event | None:
        event = super().next_event()
        return self.next_event() if isinstance(event, Data) else event


@pytest.mark.parametrize(
    ("stage", "law", "words"),
    [
        (4, "understands", "minproto: Data(data=b"),
        (None, "agrees", "law 13. Two implementations driven in lockstep agree after every call."),
    ],
)
def test_a_fault_is_shown_with_the_fields_of_its_bytes(stage: int | None, law: str, words: str) -> None:
    this = obeys("http1-request", stage=stage, limit=1 << 20, against="minproto", answer=REFERENCE.answer, examples=40, seed=1)
    test = this(lambda: Deaf(Role.SERVER))
    mark = test.pytestmark[0]
    laws = dict(zip(mark.kwargs["ids"], mark.args[1], strict=True))
    with pytest.raises(LawBroken) as caught:
        test(laws[law])
    assert words in str(caught.value)
    assert "content-length" in caught.value.__notes__[0] or "transfer-coding" in caught.value.__notes__[0]


def test_a_parser_that_waits_for_an_answer_disagrees() -> None:
    test = obeys("http1-request", stage=1, against="minproto")(lambda: Connection(Role.SERVER))
    with pytest.raises(LawBroken, match=r"(?s)minproto: no error, and wants is DATA\nyours:    no error, and wants is PAUSED"):
        test(test.pytestmark[0].args[1][-1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"streams": "http3"}, "no stream is called 'http3'"),
        ({"streams": "sse", "role": "server"}, "sse is read by a client"),
        ({"streams": "sse", "stage": 99}, "no stage 99"),
        ({"streams": "sse", "against": "h11"}, "against is 'minproto' or None"),
    ],
)
def test_a_wrong_argument_is_an_error_at_once(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        obeys(**arguments)  # type: ignore[arg-type]


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_stub_of_the_page_passes_what_the_page_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stub = tmp_path / "stub.py"
    stub.write_text(re.search(r"(?s)```python\n(.*?)```", PAGE)[1])  # type: ignore[index]
    assert len([line for line in stub.read_text().splitlines() if line.strip()]) < 40
    for stage, status in [(1, 0), (3, 0), (4, 1)]:
        words = f"--streams http1-request --stage {stage} --examples 15 --seed 1 --timeout 20 --"
        assert run([*words.split(), sys.executable, str(stub)]) == status, capsys.readouterr().out


@pytest.mark.parametrize("name", STREAMS)
def test_the_page_shows_the_events_of_each_stream(name: str) -> None:
    block = re.search(rf"(?s)### `{name}`\n\n```text\n(.*?)```", PAGE)
    assert block is not None
    run_: Run | None = None
    shown: list[str] = []
    for line in [*block[1].splitlines(), "end"]:
        if line.startswith("{"):
            shown.append(line)
            continue
        if run_ is not None:
            assert [to_json(event) for event in run_.events] == [json.loads(each) for each in shown]
        if line != "end":
            role, _, said = line.partition(" reads")
            run_, shown = Run(STREAMS[name].reader(role).reference), []
            how, _, data = said.partition(": ")
            bytes_ = bytes.fromhex(data.replace("/", "")) if how else data.encode().decode("unicode_escape").encode("latin-1")
            assert run_.feed([bytes_]).error is None


def test_the_page_names_each_stream_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"])
    for option in set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help", "--streams"}:
        assert f"`{option}" in PAGE, option
    assert all(f"### `{name}`" in PAGE for name in STREAMS)
