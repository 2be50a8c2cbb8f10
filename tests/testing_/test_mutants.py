"""Mutants: the catalogue is right, each part does what it says, and the command tells mistakes in one line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from minproto.testing.mutants import ROOT, SOURCE, Mutant, MutantError, __main__, catalogue, compiled
from minproto.testing.mutants.equivalent import Equivalent, equivalents, reasons
from minproto.testing.mutants.matrix import killer, law_of, lines, progress
from minproto.testing.mutants.operators import all_generated, generate, generated
from minproto.testing.mutants.runner import Outcome, Trial
from minproto.testing.mutants.targets import MODULES, entry_tests, ledger_tests, module_tests, protocol_of


def command(*words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, *words], cwd=ROOT, text=True, capture_output=True, timeout=150)
    return done.returncode, done.stdout, done.stderr


# ---- the catalogue ---------------------------------------------------------------------------------------------------


def test_each_mutant_of_the_catalogue_fits_its_module_and_compiles() -> None:
    """By default one of eight is compiled: CI compiles all, and runs them, too."""
    for mutant in catalogue()[:: 1 if settings().max_examples >= 100 else 8]:
        compiled(mutant)


def test_each_mutant_of_the_catalogue_breaks_entries_that_name_a_test() -> None:
    entries = ledger_tests()
    for mutant in catalogue():
        assert entry_tests(mutant, entries)


RIGHT = {"name": "a", "module": "core", "old": "class Core", "new": "class Cores", "breaks": ["x"]}
WRONG: dict[str, tuple[dict[str, object], str]] = {
    "an unknown key": ({"braeks": "x"}, "mutant 'a': unknown key 'braeks'; the keys are issue, module, name, new, old"),
    "no text": ({"new": 3}, "mutant 'a': new is 3, and has to be a text"),
    "no id": ({"breaks": []}, "mutant 'a': breaks has to be a list of ids of the ledger, and has at least one"),
    "no such module": ({"module": "htpp1"}, "mutant 'a': no module minproto.htpp1"),
    "not there": ({"old": "class Kore"}, "mutant 'a': `old` stands 0 times in minproto.core, and not once: class Kore"),
    "more than once": ({"old": "Event"}, "mutant 'a': `old` stands "),
    "nothing": ({"old": ""}, "mutant 'a': `old` stands "),
    "no change": ({"new": "class Core"}, "mutant 'a': `old` and `new` are equal: class Core"),
}


def toml(*entries: dict[str, object]) -> str:
    return "".join("[[mutant]]\n" + "".join(f"{key} = {value!r}\n" for key, value in entry.items()) for entry in entries)


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_in_the_catalogue_is_told_in_one_line(case: str, tmp_path: Path) -> None:
    change, says = WRONG[case]
    path = tmp_path / "catalogue.toml"
    path.write_text(toml(RIGHT | change))
    with pytest.raises(MutantError) as caught:
        catalogue(path)
    assert str(caught.value).startswith(f"catalogue.toml: {says}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (toml(RIGHT, RIGHT), "two mutants have the name 'a'"),
        (toml({"name": "a"}), "mutant 'a': module is missing"),
        (toml({"module": "core"}), "mutant 'number 1': name is missing"),
        ("[[mutants]]\nname = 'a'", "unknown table 'mutants'; there is only [[mutant]]"),
        ("name = ", "Invalid value"),
    ],
)
def test_a_mistake_in_the_file_is_told_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(text)
    with pytest.raises(MutantError, match=r"^catalogue.toml: ") as caught:
        catalogue(path)
    assert says in str(caught.value)


def test_a_mutant_that_is_no_python_is_told() -> None:
    with pytest.raises(MutantError, match=r"does not compile: .*, in line"):
        compiled(Mutant("a", "core", "class Core", "clas Core"))


def test_an_entry_that_is_not_in_the_ledger_is_told() -> None:
    mutant = Mutant("a", "core", "", "", breaks=("x",))
    with pytest.raises(MutantError, match="mutant 'a' breaks 'x', which is not an entry of the ledger"):
        entry_tests(mutant, {})
    with pytest.raises(MutantError, match="for which the ledger names no test"):
        entry_tests(mutant, {"x": ()})
    assert entry_tests(mutant, {"x": ("b/test_laws.py::1", "a/b.py::2", "a/c.py::3", "a/b.py::4", "a/b.py::2")}) == (
        "a/b.py::2", "a/b.py::4", "a/c.py::3", "b/test_laws.py::1",
    )  # fmt: skip


# ---- the hook --------------------------------------------------------------------------------------------------------


def test_the_hook_gives_the_mutant_and_writes_nothing() -> None:
    """In a process that has imported no core; the next process gets the right module, though Python keeps bytecode."""
    program = """
import sys
from minproto.testing.mutants import Mutant
from minproto.testing.mutants.hook import install
assert not [name for name in sys.modules if name in ("minproto.core", "minproto.buffer")]
install(Mutant("", "core", "class Core:", "PLANTED = 0\\nclass Core:"))
import minproto.core, minproto.sse, inspect
print(hasattr(minproto.core, "PLANTED"), "PLANTED" in inspect.getsource(minproto.core))
try:
    install(Mutant("", "sse", "a", "b"))
except Exception as error:
    print(error)
"""
    status, out, error = command("-c", program)
    assert (status, error) == (0, "")
    assert out == "True True\nminproto.sse has been imported already, so the mutant would not be used\n"
    assert command("-c", "import minproto.core; print(hasattr(minproto.core, 'PLANTED'))")[1] == "False\n"


def test_the_package_loads_no_core() -> None:
    program = "import sys, minproto.testing.mutants.__main__; print([m for m in sys.modules if m.startswith('minproto.')])"
    loaded = eval(command("-c", program)[1])
    assert all(name.startswith(("minproto.testing", "minproto.prove")) for name in loaded), loaded
    assert not {"minproto.testing.laws", "minproto.testing.subjects"} & set(loaded)


# ---- the runner ------------------------------------------------------------------------------------------------------

TESTS = '''
import pytest
from minproto.core import Core

def test_of_the_buffer():
    "Law 5."
    assert Core(1).buffered == 0

def test_that_always_fails():
    pytest.fail("no")
'''
RUN = '''
import os
import sys
from pathlib import Path
from minproto.testing.mutants import Mutant
from minproto.testing.mutants.runner import Trial, run

line = "        self.wants = Wants.DATA\\n\\n    def receive_data"
head = "class Core:"

def trial(name, old, new, tests=" -k of_the"):
    return Trial(Mutant(name, "core", old, new + old), (f"tests/test_a.py{tests}",))

trials = [
    trial("same", line, "        self.unused = 1\\n"),
    trial("fails without", line, "        self.unused = 1\\n", ""),
    trial("no test", line, "        self.unused = 1\\n", "::test_gone"),
    trial("fails", line, "        self._buffer.append(b'a')\\n"),
    trial("hangs", line, "        import time; time.sleep(99)\\n"),
    trial("dies", line, "        import os; os.abort()\\n"),
    trial("memory", line, "        bytearray(4 << 30)\\n"),
    trial("no import", head, "raise ValueError('planted')\\n"),
    trial("hangs at the import", head, "import time; time.sleep(99)\\n"),
    trial("no Python", head, "x = = 1\\n"),
]
names = [trial.mutant.name for trial in trials]
for outcome in sorted(run(trials, 4, 3, Path(sys.argv[1])), key=lambda outcome: names.index(outcome.trial.mutant.name)):
    killers = [test.rpartition("::")[2] for test in outcome.killers]
    laws = list(outcome.laws.values())
    print(outcome.trial.mutant.name, outcome.how, killers, *(f"law {law}" for law in laws), outcome.says, sep=" | ")

given_up = run([trials[4], trials[0]], 2, 60, Path(sys.argv[1]))
next(given_up)
given_up.close()
try:
    print("left", os.waitpid(-1, 0))
except ChildProcessError:
    print("left | no child")
'''
PRINTED = '''
same | survived | [] |
fails without | error | ['test_that_always_fails'] | FILE::test_that_always_fails fails without the mutant, too: Failed: no
no test | error | [] | no test is run of FILE::test_gone; pytest says: ERROR: not found: FILE::test_gone
fails | failed | ['test_of_the_buffer'] | law 5 | assert 1 == 0
hangs | timeout | ['test_of_the_buffer'] | no end after 3 seconds
dies | crash | ['test_of_the_buffer'] | the child process has died
memory | failed | ['test_of_the_buffer'] | law 5 | MemoryError
no import | import | [] | ValueError: planted
hangs at the import | timeout | [] | no end after 3 seconds, at the import of the mutant
no Python | error | [] | the mutated module does not compile: invalid syntax, in line N
left | no child
'''


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the runner says of ten mutants. RUN runs once."""
    root = tmp_path_factory.mktemp("planted")
    (root / "tests").mkdir()
    (root / "tests" / "test_a.py").write_text(TESTS)
    status, out, error = command("-c", RUN, str(root))
    assert (status, error) == (0, "")
    return re.sub(r"line \d+", "line N", re.sub(r"\S*tests/test_a\.py", "FILE", out)).replace("| \n", "|\n").splitlines()


@pytest.mark.parametrize("expected", PRINTED.strip().splitlines(), ids=lambda line: line.partition(" |")[0])
def test_the_runner_tells_how_a_mutant_ends(expected: str, outcomes: list[str]) -> None:
    assert [line for line in outcomes if line.startswith(expected.partition("|")[0] + "|")] == [expected]


# ---- the generated mutants -------------------------------------------------------------------------------------------

SMALL = '''
\"\"\"A text with 1 number.\"\"\"
from enum import Enum
__all__ = ["A", "B"]
A = 1
B = 0
class Place(Enum):
    HEAD = "h"
    BODY = "b"
class Limits:
    most: int = 5
def first(data: "Literal[3]", place):
    \"\"\"Return 1.\"\"\"
    if data < A and place is not Place.HEAD or data not in (  # and not in a comment
        B,
    ):
        raise ValueError(f"{1 + 1} and more", 400)
    data.clear()
    return 2 if data == 1 else None
'''


def test_the_operators_yield_what_they_promise() -> None:
    found = {(each.mutant.name.partition(":")[2], each.mutant.new.strip()) for each in generate("small", SMALL)}
    lines = SMALL.splitlines()

    def changed(number: int, old: str, new: str) -> str:
        assert lines[number - 1].count(old) == 1
        return lines[number - 1].replace(old, new).strip()

    head = "data < A and place is not Place.HEAD or data not in (  # and not in a comment\n        B,\n    )"
    assert found == {
        ("5:plus", "A = 2"), ("5:minus", "A = 0"), ("6:plus", "B = 1"), ("6:minus", "B = (-1)"),
        ("14:never", f"if ({head}) and False:"), ("14:always", f"if ({head}) or True:"), ("14:negate", f"if not ({head}):"),
        ("14:compare", changed(14, "<", "<=")), ("14:compare.2", changed(14, "is not", "is")),
        ("14:compare.3", changed(14, "not in (", "in (")), ("14:connective", changed(14, "A and", "A or")),
        ("14:connective.2", changed(14, "HEAD or", "HEAD and")), ("14:neighbour", changed(14, "< A", "< B")),
        ("14:neighbour.2", changed(14, "HEAD", "BODY")), ("15:neighbour", "A,"),
        ("17:removed", "pass"), ("17:plus", changed(17, "400", "401")), ("17:minus", changed(17, "400", "399")),
        ("18:removed", "pass"),
        ("19:plus", changed(19, "2 if", "3 if")), ("19:minus", changed(19, "2 if", "1 if")),
        ("19:negate", changed(19, "data == 1", "not (data == 1)")),
        ("19:plus.2", changed(19, "== 1", "== 2")), ("19:minus.2", changed(19, "== 1", "== 0")),
    }  # fmt: skip


def test_a_generated_mutant_is_unique_and_knows_its_place() -> None:
    source = "class A:\n    def f(self):\n        if x:\n            y()\n    def g(self):\n        if x:\n            y()\n"
    mutants = {each.mutant.name: each for each in generate("small", source)}
    second = mutants["small:6:negate"]
    assert second.mutant.old == "    def g(self):\n        if x:\n"
    assert second.mutant.new == "    def g(self):\n        if not (x):\n"
    assert (second.within, second.line, second.kind) == ("A.g", "if x:", "negate")


def test_each_core_has_mutants_that_compile_and_tests_that_are_there() -> None:
    for module in MODULES:
        mutants = [each.mutant for each in generated(module)]
        assert len({mutant.name for mutant in mutants}) == len(mutants) > 10
        for mutant in mutants[::100]:
            compiled(mutant)
        for test in module_tests(module):
            assert (ROOT / test.partition(" -k ")[0]).is_file(), test
    cores = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__", "cli", "public"}
    assert cores == set(MODULES)


def test_each_entry_of_the_equivalents_fits_a_mutant() -> None:
    places = {(each.mutant.module, each.within, each.line, each.kind) for each in all_generated()}
    entries = [(entry.module, entry.within, entry.line, entry.kind) for entry in equivalents()]
    for entry in entries:
        assert entry in places, entry
        assert entries.count(entry) == 1, entry
    assert all(entry.why.endswith(".") for entry in equivalents())


# ---- what is printed -------------------------------------------------------------------------------------------------

LAW = "tests/test_laws.py::test_receiving[any_cutting-http1 server]"


def outcome(name: str, how: str, *killers: str, says: str = "", module: str = "http1") -> Outcome:
    trial = Trial(Mutant(name, module, "old\n", "new\n"), ("t.py",))
    return Outcome(trial, how, list(killers), says, {LAW: 2}, 0.5)


def test_the_matrix() -> None:
    outcomes = [
        outcome("one", "failed", LAW, "tests/test_http1.py::test_a", "tests/test_http1.py::test_b"),
        outcome("two", "timeout", "tests/test_sse.py::test_a", module="sse"),
        outcome("three", "import", says="ValueError: planted"),
        outcome("four", "survived"),
        outcome("five", "survived"),
        outcome("six", "error", says="no such test"),
    ]
    plain = "\n".join(lines(outcomes, laws=False, equivalent={"five": "It is the same."}))
    assert re.sub(" +", " ", plain) == (
        f"HTTP/1.1 killed by\n one law 2: {LAW} (0.5 s)\n three import: ValueError: planted (0.5 s)\n\n"
        "Server-Sent Events killed by\n two timeout: tests/test_sse.py::test_a (0.5 s)\n\n"
        "SURVIVES: four\n - old\n + new\nsurvives, and is equivalent: five: It is the same.\nerror: six: no such test\n"
        "6 mutants, 3 killed (1 by a law, 1 by a timeout), 1 equivalent, 1 survive, 1 errors"
    )
    grid = re.sub(" +", " ", "\n".join(lines(outcomes, laws=True, equivalent={})))
    assert "HTTP/1.1 law 1 2 3 4 5 6 7 8 9 10 11 12 13 tests that fail\n one . 2 . . . . . . . . . . . test_http1 2\n" in grid
    assert re.sub(" +", " ", progress(outcomes[3], 4, 6)) == "[4/6] four SURVIVED (0.5 s)"
    assert killer(outcomes[0]) == f"law 2: {LAW}"
    assert law_of(outcomes[0], "tests/test_agreement.py::test_the_fast_resp_is_the_plain_one[a]") == 13
    assert law_of(outcomes[0], "tests/test_agreement.py::test_a_planted_difference_is_found[a]") is None
    assert protocol_of(Mutant("a", "aio.server", "", "", breaks=("9113-6.1-a",))) == "HTTP/2"


def test_an_equivalent_mutant_is_told_with_its_reason() -> None:
    mutants = list(generate("small", SMALL))
    entry = Equivalent("small", "first", "data.clear()", "removed", "It is empty.")
    assert reasons(mutants, [entry]) == {"small:18:removed": "It is empty."}
    survived = [outcome("small:18:removed", "survived", module="sse")]
    assert __main__._status(survived, {"small:18:removed": "It is empty."}, 0.0) == 0
    assert __main__._status(survived, {}, 0.0) == 1
    assert __main__._status([*survived, outcome("a", "failed", LAW)], {}, 0.5) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--check no-such-mutant-at-all", "no mutant 'no-such-mutant-at-all'"),
        ("--generated 3 --module htp1", "no module 'htp1'; is it http1"),
        ("--check sse:1:plus", "no generated mutant 'sse:1:plus'"),
        ("--generated 0", "argument --generated: '0' is not a number from 1"),
        ("--generated 3 --survivors 2", "argument --survivors: '2' is not between 0 and 1"),
        ("--generated 3 --matrix", "not allowed with argument"),
        ("--chek", "unrecognized arguments: --chek"),
    ],
)
def test_a_wrong_word_is_told_in_one_line(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = __main__.main(words.split())
    except SystemExit as ended:
        status = ended.code
    told = capsys.readouterr().err
    assert status == 2 and says in told and told.count("\n") == 1
