"""What ``minproto learn`` prints about exercises: the list, and one task with its worked examples and its stub."""

import json
import re
import textwrap
from collections.abc import Iterator

from minproto.learn import CALLS, Exercise, load
from minproto.learn.session import Session
from minproto.learn.session import load as load_module
from minproto.learn.words import address, in_python
from minproto.testing.report import show

ROOMY = 1 << 20


def listed() -> Iterator[str]:
    """Yield the list of the exercises, a line for each."""
    exercises = load()
    minutes = sum(each.minutes for each in exercises.values())
    yield f"{len(exercises)} exercises, {minutes // 60} hours in all. The first of each protocol takes ten minutes."
    protocol = ""
    for each in exercises.values():
        if each.protocol != protocol:
            yield ""
        protocol = each.protocol
        yield f"  {each.name:<12} {each.minutes:>2} min  {each.title:<44} {what(each)} {each.asks}"
    yield ""
    yield "  minproto learn http1/1                 what to write"
    yield "  minproto learn http1/1 --stub > my.py  begin with this"
    yield "  minproto learn http1/1 my.py           is it right?"
    yield "  minproto learn mutants                 find a bug of one line in minproto's own source"


def what(exercise: Exercise) -> str:
    """Return whether a function or a class is asked for."""
    return "function" if exercise.asks.islower() else "class"


WIDTH = 100


def wrapped(text: str) -> Iterator[str]:
    """Yield a text in lines of at most WIDTH columns. Indented lines stay as they are, and a line with "- " begins a point."""
    text = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\N{NO-BREAK SPACE}"), text)  # code is not broken
    points: list[str] = []
    for line in [*text.strip("\n").split("\n"), ""]:
        if points and line and not line.startswith(("- ", "    ")):
            points[-1] += f" {line.strip()}"
            continue
        for point in points:
            lines = textwrap.wrap(point, WIDTH, subsequent_indent="  " if point.startswith("- ") else "")
            yield from (each.replace("\N{NO-BREAK SPACE}", " ") for each in lines)
        points = []
        if not line or line.startswith("    "):
            yield line
        else:
            points = [line]


def task(exercise: Exercise) -> Iterator[str]:
    """Yield the task of an exercise: what to write, worked examples, and a stub."""
    yield f"{exercise.name}: {exercise.title} ({exercise.minutes} minutes; write the {what(exercise)} {exercise.asks})"
    yield f"read: {exercise.section}{address(exercise.section)}"
    yield ""
    yield from wrapped(exercise.text)
    if "sticky_failure" in exercise.laws:
        yield "Events before an error count. So yield each event: a list would be lost when you raise ValueError."
        yield ""
    yield "Worked examples:"
    yield from examples(exercise)
    yield ""
    yield f"A stub to begin with (minproto learn {exercise.name} --stub > my.py):"
    yield ""
    yield textwrap.indent(exercise.stub.read_text("utf-8").rstrip(), "    ")
    yield ""
    yield f"Is it right?  minproto learn {exercise.name} my.py"
    if exercise.kind != CALLS:
        yield f"Not Python?   minproto learn {exercise.name} -- node my.js    (lines of JSON: docs/laws.md)"


def examples(exercise: Exercise) -> Iterator[str]:
    """Yield the worked examples: some inputs, and what the reference answer makes of them."""
    module = load_module(exercise.answer.read_text("utf-8"), str(exercise.answer))
    session = Session(module, exercise.asks, exercise.kind, exercise.limit > 0)
    for case in exercise.cases:
        if not case.shown:
            continue
        yield ""
        yield f"    # {case.says}"
        session.answer({"op": "new", "limit": exercise.limit or ROOMY})
        answer = session.answer({"op": "data", "hex": case.data.hex()})
        if exercise.kind == CALLS:
            for line, event in zip(case.data.decode().splitlines(), answer["events"], strict=True):
                yield from _call(line, event)
            continue
        yield show([(case.data, "")])
        for event in answer["events"]:
            yield f"        {in_python(json.dumps(event, ensure_ascii=False))}"
        if answer["error"]:
            yield f"        raises ValueError({answer['error']!r})"
        elif not answer["events"]:
            yield "        no event"


def _call(line: str, event: dict[str, str]) -> Iterator[str]:
    if event["type"] == "made":
        yield f"    {line}"
    else:
        yield f"    {line}  ->  {event['value'] if event['type'] == 'returns' else 'raises ' + event['value']}"
