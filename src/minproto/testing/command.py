"""``minproto laws``: run the laws on a program in any language.

    minproto laws --streams http1-request --stage 1 -- python3 stub.py

``docs/laws.md`` describes what the program reads and prints. The exit status is 0 if all laws hold, 1 if one is broken, 2
if the laws could not be run (no such program, or a wrong option), and 130 after Ctrl-C.
"""

import argparse
import random
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import NoReturn

from minproto.testing.agreement import AGREEMENT, agrees_on
from minproto.testing.findings import fields_of, findings
from minproto.testing.laws import RECEIVING_LAWS, Law, Subject, bounded, check_law, draw
from minproto.testing.programs import CannotRunError, Program
from minproto.testing.report import LawBroken, sentence
from minproto.testing.stages import ROOMY, Stage
from minproto.testing.streams import STREAMS, Reader, Stream, chosen_stage

EXAMPLES = 100
"""The default number of streams for each law."""
TIMEOUT = 2.0
"""The seconds that a program may take for one answer, by default."""


def run(words: Sequence[str]) -> int:
    """Run the command, and return its exit status. ``words``: everything after ``minproto laws``."""
    words = list(words)
    at = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:at])
    command = words[at + 1 :]
    try:
        stream = STREAMS[options.streams]
        reader = stream.reader(options.role)
        stage = chosen_stage(reader, options.stage)
    except ValueError as error:
        return _refuse(str(error))
    if not command and "--" in words:
        return _refuse("there is no command after --")
    if not command:
        print("\n".join(_how_to_begin(options.streams, stream, reader)))
        return 0
    return _run(_Options(options, reader, stage, command))


class _Options:
    """What the user asked for."""

    def __init__(self, words: argparse.Namespace, reader: Reader, stage: Stage | None, command: list[str]) -> None:
        self.words, self.reader, self.stage, self.command = words, reader, stage, command
        self.limit: int = words.limit or reader.limit(stage)
        self.seed: int = random.randrange(1 << 32) if words.seed is None else words.seed
        self.laws = reader.laws(stage, against=words.against is not None)

    def line(self) -> str:
        """Return the line that says what is tried."""
        stage = f", stage {self.words.stage} ({self.stage.name})" if self.stage else ""
        return f"{self.words.streams}{stage}: role {self.reader.role.value}, limit {self.limit}, seed {self.seed}"

    def examples(self, law: Law) -> int:
        """Return the number of streams for a law. Law 5 makes many floods of each stream, so it gets a third of them."""
        return max(1, self.words.examples // 3) if law is bounded else int(self.words.examples)

    def again(self, **other: int) -> str:
        """Return the command that tries the same streams again, or with other values of some options."""
        words = {"streams": self.words.streams, **vars(self.words), "seed": self.seed, **other}
        words["timeout"] = f"{self.words.timeout:g}"
        usual = {"examples": EXAMPLES, "timeout": f"{TIMEOUT:g}"}
        parts = [f"--{name} {value}" for name, value in words.items() if value not in (None, usual.get(name))]
        return " ".join(["minproto laws", *parts, "--", shlex.join(self.command)])


def _run(options: _Options) -> int:
    """Start the program, and run the laws on it."""
    program = Program(
        options.command, limit=options.limit, role=options.reader.role.value, timeout=options.words.timeout
    )
    try:
        program.start()
        print(options.line(), flush=True)
        return _try(options, program)
    except CannotRunError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        _refuse("interrupted")
        raise  # the command line makes the exit status of it
    except BrokenPipeError:  # nobody reads what is printed any more (``| head``)
        return 2
    finally:
        program.close()


def _try(options: _Options, program: Program) -> int:
    """Run all laws until one is broken, and print a line for each of them."""
    small = program.on_trial(options.reader.subject(program.make, options.stage))
    roomy = program.with_limit(ROOMY).on_trial(small)
    if options.words.against and not _agrees_on_the_ledger(options, program, roomy):
        return 1
    streams = draw(small, examples=options.words.examples, seed=options.seed)
    for law in options.laws:
        number = options.examples(law)
        began = time.monotonic()
        subject = small if law in RECEIVING_LAWS else roomy  # in law 13, our core's limits are large, too
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                tried = check_law(law, subject, examples=number, seed=options.seed, streams=streams[:number])
            if caught and law in RECEIVING_LAWS and tried >= ENOUGH:
                raise LawBroken(NO_EVENT, "so the law holds, but says nothing: the program has to tell what it reads")
        except LawBroken as broken:
            print("\n".join(["", str(broken), *findings(options.reader, broken, _width()), "", f"again: {options.again()}"]))
            return 1
        print(f"{time.monotonic() - began:6.1f} s, {tried:5,} streams: holds: {sentence(law)}", flush=True)
    print(_passed(options))
    return 0


def _agrees_on_the_ledger(options: _Options, program: Program, roomy: Subject) -> bool:
    """Compare the program with our core on the examples of the ledger, and print the first one on which they differ.

    The drawn streams meet a rare rule by chance alone. The ledger has right and wrong bytes for each rule, so they come first.
    A stage of valid streams has no such examples."""
    if options.stage is not None and options.stage.valid:
        return True
    began, examples = time.monotonic(), list(options.reader.examples())
    roomy.ahead([example.data, None] for _, example in examples if not example.limit)
    for entry, example in examples:
        subject = program.with_limit(example.limit).on_trial(roomy) if example.limit else roomy
        try:
            agrees_on(options.reader.reference, subject, example.data)
        except LawBroken as broken:
            rule = f"the rule: {entry.id}: {entry.level}: {entry.says}"
            limit = [f"the parser was made with a limit of {example.limit} bytes"] if example.limit else []
            fields = fields_of(options.reader, example.data, _width())
            print("\n".join(["", str(broken), rule, *limit, *fields, "", f"again: {options.again()}"]))
            return False
    print(f"{time.monotonic() - began:6.1f} s, {len(examples):5,} examples of the ledger: holds: {AGREEMENT}", flush=True)
    return True


ENOUGH = 20
"""A parser that works makes at least one event from this many streams."""
NO_EVENT = "The program makes no event of any stream."


def _passed(options: _Options) -> str:
    """Return the last line: what comes next."""
    if options.stage is None:
        return "all laws hold"
    number = options.words.stage
    if options.stage.last:
        return f"stage {number} of {number} is passed: the whole protocol"
    following = options.reader.stages[number]
    return f"stage {number} is passed; the next one is: {following.name}\n{options.again(stage=number + 1)}"


def _how_to_begin(name: str, stream: Stream, reader: Reader) -> Iterator[str]:
    """Yield the lines that are printed if there is no program to run."""
    yield f"{name}: {stream.what}"
    others = [each.role.value for each in stream.readers if each is not reader]
    yield f"the program reads as a {reader.role.value}{f' (or, with --role, as a {others[0]})' if others else ''}; the stages:"
    for number, stage in enumerate(reader.stages, 1):
        yield f"  --stage {number}  {stage.name}"
    yield "Without --stage, all laws are tried on everything that a peer may send."
    yield ""
    yield "To begin: write a program that reads lines of JSON and answers each with a line, as docs/laws.md describes, and run"
    yield f"  minproto laws --streams {name} --stage 1 -- python3 parser.py"


def _width() -> int:
    return shutil.get_terminal_size((120, 24)).columns


def _refuse(says: str) -> int:
    """Print why the laws cannot be run, and return the exit status for this."""
    print(f"minproto laws: {says}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line, and exit with status 2."""
        self.exit(_refuse(message))


def _parser() -> _Parser:
    parser = _Parser(
        prog="minproto laws", usage="%(prog)s --streams NAME [options] -- COMMAND...",
        description="Run the laws on a program that parses, in any language. docs/laws.md is its contract.",
    )  # fmt: skip
    names = ", ".join(STREAMS)
    parser.add_argument("--streams", required=True, type=_name, metavar="NAME", help=f"what the program reads: {names}")
    parser.add_argument("--role", choices=["client", "server"], help="the role of the program, if both roles read the stream")
    text = "the maximum number of bytes that the program may hold; the default is so small that the streams reach it"
    parser.add_argument("--limit", type=_count, metavar="N", help=text)
    text = "the number of streams for each law (%(default)s)"
    parser.add_argument("--examples", type=_count, default=EXAMPLES, metavar="N", help=text)
    parser.add_argument("--seed", type=int, metavar="N", help="try the same streams as the run that printed this number")
    text = "compare with our core, too: the events, whether there is an error, and wants, after each piece (law 13)"
    parser.add_argument("--against", choices=["minproto"], help=text)
    text = "only the streams and laws of one stage; without a COMMAND, the stages are listed"
    parser.add_argument("--stage", type=_count, metavar="N", help=text)
    text = "the seconds that the program may take for one answer (%(default)g)"
    parser.add_argument("--timeout", type=_seconds, default=TIMEOUT, metavar="S", help=text)
    return parser


def _name(text: str) -> str:
    if text not in STREAMS:
        raise argparse.ArgumentTypeError(f"no stream is called {text!r} (there are {', '.join(STREAMS)})")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) and len(text) < 10):
        raise argparse.ArgumentTypeError(f"not a number from 1 on: {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return seconds
