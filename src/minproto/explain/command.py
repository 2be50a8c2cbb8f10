"""The command ``minproto explain``: every byte of a file, or of standard input, as a named field.

    $ echo 81 85 37 fa 21 3d 7f 9f 4d 51 58 | minproto explain --hex --protocol websocket
    → byte 0, WebSocket: text frame, 5 bytes
        81                       ·         FIN, RSV, opcode = text (a message of text begins, in UTF-8; RFC 6455 §5.2)
        ...
"""

import argparse
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from minproto.core import Role
from minproto.explain.once import PROTOCOLS, explain
from minproto.explain.text import Printer


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.set_defaults(run=run, parser=parser, plain=False)
    parser.add_argument("file", metavar="FILE", nargs="?", help="the bytes; without it, or for -, standard input")
    parser.add_argument("--hex", action="store_true", help="the bytes are written as hexadecimal digits: 81 85 37 or 818537")
    text = "the protocol, if the bytes begin in the middle of a connection; otherwise the first bytes tell"
    parser.add_argument("--protocol", choices=PROTOCOLS, default="", metavar="NAME", help=f"{text} ({', '.join(PROTOCOLS)})")
    text = "who sent the bytes, where the bytes themselves do not tell (client, server)"
    parser.add_argument("--from", dest="sender", choices=[role.value for role in Role], metavar="ROLE", help=text)
    parser.add_argument("--full", action="store_true", help="print all bytes of long fields, instead of only the first ones")


async def run(options: argparse.Namespace) -> None:
    """Print the explanation. Raises OSError for a file that can't be read."""
    name = options.file if options.file not in (None, "-") else "standard input"
    data = _bytes(options, name)
    if not data:
        options.parser.error(f"nothing to explain: {name} is empty")
    width = shutil.get_terminal_size((120, 24)).columns
    printer = Printer(width, color=sys.stdout.isatty() and not os.environ.get("NO_COLOR"), full=options.full)
    with suppress(BrokenPipeError):  # the reader has seen enough (``| head``)
        for row in explain(data, options.protocol, Role(options.sender) if options.sender else None):
            print(*printer.lines(row), sep="\n")


def _bytes(options: argparse.Namespace, name: str) -> bytes:
    """Return the bytes of the file, or of standard input. Ends the process with status 2 if they are not hexadecimal."""
    if options.file in (None, "-"):
        with open(0, "rb", closefd=False) as file:  # sys.stdin is None if the file was closed
            data = file.read()
    else:
        data = Path(options.file).read_bytes()
    if not options.hex:
        return data
    try:
        return bytes.fromhex(data.decode("ascii").replace("0x", " ").replace(":", " "))
    except ValueError as error:
        options.parser.error(f"{name} is not hexadecimal: {error}")
        raise
