"""``minproto trap``: is that client right?

    $ minproto trap                                   serve, and say of each connection what the client did
    $ minproto trap -- curl -s {url}                  run a program on each path, and judge it
    $ minproto trap --only websocket -- python client.py {url}

The exit status is 0 if nothing is wrong, 1 if something is, 2 if the snares could not be tried, and 130 after Ctrl-C while
programs run. Without a command, Ctrl-C is the usual end.
"""

import argparse
import asyncio
import shutil
import signal
import ssl
import sys
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack, aclosing
from typing import Any

from minproto.aio.server import tls_context
from minproto.prove.options import INTERRUPTED, CannotRunError, Parser, by_name, count_to, protocols_of, reason, seconds
from minproto.prove.trap.hunt import Find, Hunt
from minproto.prove.trap.report import Report
from minproto.prove.trap.server import Meeting, Trap
from minproto.prove.trap.snare import Snare
from minproto.prove.trap.snares import CONTROLS, SNARES

JOBS = 4
TIMEOUT = 5.0


def run(words: Sequence[str]) -> int:
    """Run the command, and return its exit status. ``words``: everything after ``minproto trap``."""
    ours, command = _split(list(words))
    options = _parser().parse_args(ours)
    try:
        snares = _chosen(options)
        if options.list:
            print("\n".join(f"{snare.name}  {snare.entry or 'hardening'}" for snare in snares))
            return 0
        _check_command(command)
        if options.tls_key and not options.tls_cert:
            raise CannotRunError("--tls-key needs --tls-cert")
        with ExitStack() as files:
            return _try(options, snares, command, Report(options, command, files))
    except BrokenPipeError:
        return 2  # the reader has seen enough (``| head``)
    except (CannotRunError, OSError) as error:
        print(f"minproto trap: {reason(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 2


def _try(options: argparse.Namespace, snares: list[Snare], command: list[str], report: Report) -> int:
    """Serve, or run the command on each snare. Report what is known by the end, and return the exit status."""
    try:
        asyncio.run(_interruptible(_hunt(options, snares, command, report) if command else _serve(options, snares, report)))
    except BrokenPipeError:
        report.write()
        raise
    except (asyncio.CancelledError, KeyboardInterrupt):
        print(file=sys.stderr)
        status = report.end()
        return INTERRUPTED if command else status
    return report.end()


async def _interruptible(run: Coroutine[Any, Any, None]) -> None:
    """Await ``run``, which Ctrl-C cancels: programs that are running are ended, too. Raises CancelledError then."""
    task = asyncio.create_task(run)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return our words, and those of the command after ``--``."""
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :] or [""]


def _check_command(command: Sequence[str]) -> None:
    """Raise CannotRunError for a command that can't be run, or that is not told where the server is."""
    if not command:
        return
    if not command[0]:
        raise CannotRunError("after -- comes a command, such as: minproto trap -- curl -s {url}")
    if shutil.which(command[0]) is None:
        raise CannotRunError(f"there is no program {command[0]!r}")
    if not any("{url}" in word or "{page}" in word for word in command):
        raise CannotRunError("the command needs {url}, in whose place the URL of each snare is put, or {page}, for a browser")


async def _serve(options: argparse.Namespace, snares: list[Snare], report: Report) -> None:
    """Serve until Ctrl-C."""
    def on_end(meeting: Meeting) -> None:
        report.add(Find(meeting, meeting.verdict, meeting.skipped))

    trap = Trap([*CONTROLS.values(), *snares], on_end, on_silence=report.add_silent)
    await trap.start(options.host, 8666 if options.port is None else options.port, _context(options, snares))
    url = f"http{'s' if trap.secure else ''}://{_in_url(options.host)}:{trap.port}/"
    print(f"minproto trap: {len(snares)} snares, listed at {url}", flush=True)
    await asyncio.Event().wait()


async def _hunt(options: argparse.Namespace, snares: list[Snare], command: list[str], report: Report) -> None:
    """Run the command on each snare. Over TLS, ALPN offers first one version of HTTP and then the other.

    A client that may choose between both would choose HTTP/2 for each path.
    """
    if not options.tls_cert:
        await _hunt_once(options, snares, command, report)
        return
    for protocols in (["http2"], [name for name in CONTROLS if name != "http2"]):
        if some := [snare for snare in snares if snare.protocol in protocols]:
            await _hunt_once(options, some, command, report)


async def _hunt_once(options: argparse.Namespace, snares: list[Snare], command: list[str], report: Report) -> None:
    trap = Trap([*CONTROLS.values(), *snares], lambda meeting: hunt.on_end(meeting), patience=options.timeout)
    hunt = Hunt(command, trap, _in_url(options.host), options.timeout)
    await trap.start(options.host, options.port or 0, _context(options, snares))
    try:
        async with aclosing(hunt.all(snares, options.jobs)) as finds:
            async for find in finds:
                report.add(find)
    finally:
        await trap.close()


def _context(options: argparse.Namespace, snares: list[Snare]) -> ssl.SSLContext | None:
    """Return a TLS context that offers the versions of HTTP that the snares speak; None for clear text. Raises OSError."""
    if not options.tls_cert:
        return None
    context = tls_context(options.tls_cert, options.tls_key)
    context.set_alpn_protocols(sorted({"h2" if snare.protocol == "http2" else "http/1.1" for snare in snares}))
    return context


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _chosen(options: argparse.Namespace) -> list[Snare]:
    """Return the snares that the options ask for."""
    if options.snare:
        return by_name(SNARES, options.snare, "snare", "trap")
    return [snare for snare in SNARES if snare.protocol in options.only]


def _parser() -> Parser:
    text = "Serve one oddity at each path, and watch what a client does; after --, run a client on each path, and judge it."
    parser = Parser(prog="minproto trap", description=text, usage="minproto trap [options] [-- COMMAND ... {url} ...]")
    parser.add_argument("--host", type=_host, default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, help="port to listen on (8666; any free one if a command is run)")
    text = "certificate chain in PEM; with it, serve over TLS"
    parser.add_argument("--tls-cert", type=_file, metavar="FILE", help=text)
    text = "PEM file of the private key, if it is not in the certificate's file"
    parser.add_argument("--tls-key", type=_file, metavar="FILE", help=text)
    names = ",".join(CONTROLS)
    text = f"the protocols to try, of {names}"
    parser.add_argument("--only", type=protocols_of(CONTROLS), default=list(CONTROLS), metavar="NAMES", help=text)
    parser.add_argument("--snare", action="append", metavar="NAME", help="only this snare; * stands for any text")
    parser.add_argument("--list", action="store_true", help="list the snares, and serve none")
    text = "the seconds after which a program that has not ended hangs (%(default)g)"
    parser.add_argument("--timeout", type=seconds, default=TIMEOUT, metavar="S", help=text)
    text = "how many programs run at once (%(default)s)"
    parser.add_argument("--jobs", type=count_to(50), default=JOBS, metavar="N", help=text)
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the bytes of each snare, also of right clients")
    return parser


def _host(text: str) -> str:
    """Parse an address to listen on. To asyncio, an empty address would mean all addresses, which nobody expects."""
    if not text:
        raise argparse.ArgumentTypeError("may not be empty: 0.0.0.0 listens on all IPv4 addresses, :: on all addresses")
    return text


def _file(text: str) -> str:
    """Parse the name of a file. An empty one, of a variable that is not set, must not mean clear text."""
    if not text:
        raise argparse.ArgumentTypeError("may not be empty: leave the option out, or name a file")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 65_536):
        raise argparse.ArgumentTypeError(f"not a port: {text!r} (0 to 65535)")
    return int(text)
