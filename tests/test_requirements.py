"""The ledger tells the truth: its names exist, its bytes give what it says, and its sections stand in the source."""

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

from minproto.prove import examples, ledger, pages, source
from minproto.prove.ledger import LedgerError, Requirement

ROOT = Path(__file__).parents[1]
CATALOGUE = ROOT / "src" / "minproto" / "testing" / "mutants" / "catalogue.toml"
OBEYED = [entry for entry in ledger.load() if not entry.left_out]


def report(complaints: list[str]) -> None:
    """Fail with all complaints at once, since one change can concern many entries."""
    assert not complaints, "\n" + "\n".join(complaints)


def test_each_name_that_obeys_exists() -> None:
    missing = []
    for entry in OBEYED:
        for name in entry.obeyed:
            try:
                source.locate(name)
            except KeyError:
                missing.append(f"{entry.id}: there is no {name}")
    report(missing)


@cache
def names_in(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")}


def test_each_test_that_checks_exists() -> None:
    missing = []
    for entry in OBEYED:
        for test in entry.checked:
            path, *names = test.partition("[")[0].split("::")
            if not (ROOT / path).is_file() or not names or not names_in(ROOT / path).issuperset(names):
                missing.append(f"{entry.id}: there is no {test}")
    report(missing)


def mutants() -> list[dict[str, object]]:
    return tomllib.loads(CATALOGUE.read_text()).get("mutant", [])


def test_each_requirement_has_a_mutant_or_says_why_not() -> None:
    broken = {id_ for mutant in mutants() for id_ in mutant["breaks"]}  # type: ignore[attr-defined]
    report([f"{id_}: a mutant breaks it, but it is not an obeyed entry" for id_ in broken - {entry.id for entry in OBEYED}])
    report([f"{entry.id}: no mutant, and no reason" for entry in OBEYED if not (entry.no_mutant or entry.id in broken)])
    report([f"{entry.id}: a mutant, and `no_mutant`" for entry in OBEYED if entry.no_mutant and entry.id in broken])


def test_the_bytes_of_each_requirement_give_what_it_says() -> None:
    wrong = []
    for entry in OBEYED:
        for example in entry.examples():
            if (entry.stream, example.role) not in examples.READERS:
                wrong.append(f"{entry.id}: no stream {entry.stream!r} with the role {example.role!r}")
            elif (given := examples.outcome(entry.stream, example.role, example.data)) != example.gives:
                wrong.append(f"{entry.id}: `{example.kind}` {example.data!r} gives {given!r}, not {example.gives!r}")
    report(wrong)


def cited(entry: Requirement) -> bool:
    """Whether a function of a core that obeys carries the section. Shells do not have to."""
    places = [source.locate(name) for name in entry.obeyed]
    cores = [place for place in places if place.module in source.FILE_STANDARD]
    return not cores or any((entry.standard, entry.section) in place.sections for place in cores)


def test_what_obeys_carries_the_number_of_the_section() -> None:
    silent = [entry for entry in OBEYED if entry.standard != "RESP" and not cited(entry)]
    report([f"{entry.id}: {entry.standard} §{entry.section} stands in none of {entry.obeyed}" for entry in silent])


def test_each_section_in_a_core_has_an_entry() -> None:
    """A number of a whole chapter is enough if an entry is about a section in it."""
    known = {(entry.standard, section) for entry in ledger.load() for section in entry.sections} | ledger.informative().keys()
    known |= {(standard, section.rsplit(".", up)[0]) for standard, section in known for up in range(1, 4)}
    unknown = []
    for module in source.FILE_STANDARD:
        for name, place in source.definitions(module).items():
            strange = {each for each in place.sections - known if each[0] in ledger.STANDARDS.values()}
            unknown += [f"{module}.{name}: no entry is about {standard} §{section}" for standard, section in strange]
    report(unknown)


ENTRY = """
[[requirement]]
id = "9112-2.2-bare-lf"
section = "2.2"
level = "MUST NOT"
binds = ["server"]
says = "A line does not end in LF alone."
left_out = "An example."
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('section = "2.2"', 'section = "2.3"', "9112-2.2-bare-lf: the section is '2.3', which the id does not say"),
        ('id = "9112', 'id = "9999', "an id is a standard (9110, 9112"),
        ("MUST NOT", "SHALL", "unknown level 'SHALL' (the levels are DOES, MAY,"),
        ('["server"]', '["proxy"]', "binds ['proxy'], but the parties are app, client, intermediary, server"),
        ("alone.", "alone", "`says` is a sentence"),
        ("left_out =", "leftout =", "unknown key 'leftout' (the keys are"),
        ("left_out =", "why =", "`obeyed` is missing (or `left_out`"),
        ("left_out =", 'right = "x"\nleft_out =', "either obeyed or left out, not both"),
        ("left_out =", 'right_hex = "8"\nleft_out =', "'8' is not hexadecimal"),
        ("left_out =", 'more = [{ right = "x" }]\nleft_out =', "either obeyed or left out, not both"),
        ("left_out =", 'more = [{ rihgt = "x" }]\nleft_out =', "unknown key 'rihgt' (the keys are limit, right,"),
        ("\n[[", ENTRY + "\n[[", "9112-2.2-bare-lf: this id occurs in the ledger twice"),
        ('says = "A line does not end in LF alone."\n', "", "9112-2.2-bare-lf: "),
    ],
)
def test_an_entry_that_is_wrong_is_refused_in_one_line(old: str, new: str, says: str) -> None:
    assert len(ledger.parse(ENTRY)) == 1
    with pytest.raises(LedgerError) as raised:
        ledger.parse(ENTRY.replace(old, new, 1))
    assert says in str(raised.value) and "\n" not in str(raised.value)


OBEYED_ENTRY = ENTRY.replace(
    'left_out = "An example."',
    """obeyed = ["a"]
checked = ["a"]
why = "A."
stream = "websocket"
role = "server"
right = "a"
more = [{ right_hex = "62", role = "client" }, { wrong = "c", wrong_gives = "1002", limit = 5 }]""",
)


def test_an_entry_can_have_more_examples() -> None:
    [entry] = ledger.parse(OBEYED_ENTRY)
    assert [(example.kind, example.role, example.data, example.gives, example.limit) for example in entry.examples()] == [
        ("right", "server", b"a", "accepted", 0),
        ("right", "client", b"b", "accepted", 0),
        ("wrong", "server", b"c", "1002", 5),
    ]  # fmt: skip
    with pytest.raises(LedgerError, match="`wrong` and `wrong_gives` belong together"):
        ledger.parse(OBEYED_ENTRY.replace('wrong_gives = "1002", ', ""))


def test_a_section_belongs_to_the_standard_that_a_reader_would_take_it_for() -> None:
    text = "Refuse two lengths (§6.3, RFC 9110 §8.6). An empty element is ignored (RFC 9110 §5.6.1 and §5.6.2); see §7."
    told = source.sections(text, "RFC 9112")
    assert told == [
        ("RFC 9112", "6.3"), ("RFC 9110", "8.6"), ("RFC 9110", "5.6.1"), ("RFC 9110", "5.6.2"), ("RFC 9112", "7"),
    ]  # fmt: skip


def test_the_pages_say_what_the_ledger_says() -> None:
    report([f"docs/requirements/{name} is out of date: python -m minproto.prove.pages" for name in pages.out_of_date()])


def test_the_pages_are_made_by_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert pages.main(["--chek"]) == 2
    assert capsys.readouterr().err == "minproto.prove.pages: unknown arguments --chek (the only option is --check)\n"


def test_the_index_counts_what_there_is() -> None:
    first, second, third = [entry for entry in OBEYED if entry.wrong][:3]
    counted = pages.count([first, second, third, *[entry for entry in ledger.load() if entry.left_out][:2]], {first.id})
    assert counted == (5, 2, 3, 3, 1)
