"""``minproto prove HOST:PORT``: is that server right?

    $ minproto prove 127.0.0.1:8000
    $ minproto prove 127.0.0.1:8443 --tls --insecure --only http2
    $ minproto prove 127.0.0.1:8000 --case http1/framing/te-and-cl -v

The exit status is 0 if nothing is wrong, 1 if something is, 2 if the cases could not be run, and 130 after Ctrl-C.
"""

import argparse
import asyncio
import logging
import signal
import ssl
import sys
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from ipaddress import ip_address

from minproto.aio.address import Address
from minproto.prove.case import Case, Verdict
from minproto.prove.cases import CASES
from minproto.prove.options import INTERRUPTED, CannotRunError, Parser, by_name, count_to, protocols_of, reason, seconds, sent
from minproto.prove.probe import probe
from minproto.prove.report import Report
from minproto.prove.runner import Result, prove_all
from minproto.prove.shown import shortened
from minproto.prove.target import NEEDS, PATHS, Target
from minproto.prove.transcripts import PROTOCOLS

JOBS = 16
TIMEOUT = 3.0
"""The seconds for an answer. Over TLS a server cannot end its own direction alone, so many servers wait before they close."""


def run(words: Sequence[str]) -> int:
    """Run the command, and return its exit status. ``words``: everything after ``minproto prove``."""
    options = _parser().parse_args(list(words))
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each write to a connection that the target has ended
    try:
        if options.list:
            print("\n".join(f"{case.name}  {case.entry or 'hardening'}" for case in _chosen(options)))
            return 0
        if options.target is None:
            raise CannotRunError("name the server: minproto prove HOST:PORT")
        if options.insecure and not options.tls:
            raise CannotRunError("--insecure is about certificates: it needs --tls")
        with ExitStack() as files:
            return asyncio.run(_run(options, _chosen(options), _target(options), files))
    except BrokenPipeError:
        pass  # the reader has seen enough (``| head``)
    except OSError as error:
        print(f"minproto prove: {reason(error)}", file=sys.stderr)
    except CannotRunError as error:
        print(f"minproto prove: {error}", file=sys.stderr)
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("minproto prove: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 2


async def _run(options: argparse.Namespace, cases: list[Case], target: Target, files: ExitStack) -> int:
    """Probe the target, run the cases that it can be asked, and report."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):  # a KeyboardInterrupt would leave the tasks of the cases unfinished
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    if not _is_loopback(target.address):
        if not options.i_run_this_server:
            raise CannotRunError(f"{target.address} is not on this machine: say --i-run-this-server if it is yours")
        if options.hostile or any(case.group.endswith("/hostile") for case in cases):
            raise CannotRunError("hostile cases are for servers on this machine alone")
    report = Report(target, options, files)
    protocols = list(dict.fromkeys(case.protocol for case in cases))
    answers = await probe(target, protocols)
    if not target.speaks:
        raise CannotRunError(_why_nothing(target, answers))
    cases = [case for case in cases if case.protocol in target.speaks]
    report.begin(answers, set[str]().union(*[case.needs for case in cases]))
    results: list[Result] = []
    try:
        async with aclosing(prove_all(cases, target, options.jobs)) as proving:
            async for result in proving:
                results.append(result)
                # In a thread: to explain a megabyte takes seconds, in which the other cases would miss their answers.
                await asyncio.to_thread(report.add, result, len(cases))
    finally:  # also after Ctrl-C: what is known by then is shown
        report.end(results)
    return 1 if any(result.verdict is Verdict.WRONG for result in results) else 0


def _why_nothing(target: Target, answers: dict[str, Result]) -> str:
    """Return why no protocol is spoken."""
    tried = [f"{name}: {shortened(result.transcript) or result.detail}" for name, result in answers.items()]
    unreachable = {result.detail for result in answers.values() if not result.transcript}
    if len(unreachable) == 1 and not any(result.transcript for result in answers.values()):
        return f"{target.address}: {unreachable.pop()}"
    return f"{target.address} answers no right request ({'; '.join(tried)})"


def _is_loopback(address: Address) -> bool:
    if address.connect_host == "localhost":
        return True
    try:
        return ip_address(address.connect_host).is_loopback
    except ValueError:
        return False


def _target(options: argparse.Namespace) -> Target:
    paths = {name: getattr(options, f"{name}_path" if name != "path" else "path") for name in PATHS}
    contexts = {alpn: _context(options, alpn) for alpn in ("http/1.1", "h2", "")} if options.tls else {}
    host = options.host or options.target.authority("https" if options.tls else "http")
    return Target(options.target, paths, host, options.timeout, contexts)


def _context(options: argparse.Namespace, alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols([alpn])
    if options.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _chosen(options: argparse.Namespace) -> list[Case]:
    """Return the cases that the options ask for."""
    if options.case:
        return by_name(CASES, options.case, "case", "prove")
    left_out = {group for group in ("slow", "hostile") if not getattr(options, group)}
    return [
        case for case in CASES if case.protocol in options.only and case.group.split("/")[1] not in left_out
    ]


def _parser() -> Parser:
    parser = Parser(prog="minproto prove", description="Ask a server over a thousand questions, and judge its answers.")
    parser.add_argument("target", nargs="?", type=_address, metavar="HOST:PORT", help="the server")
    names = ",".join(PROTOCOLS)
    text = f"the protocols to try, of {names}; without it, all that the server speaks"
    parser.add_argument("--only", type=protocols_of(PROTOCOLS), default=list(PROTOCOLS), metavar="NAMES", help=text)
    parser.add_argument("--case", action="append", metavar="NAME", help="only this case; * stands for any text")
    parser.add_argument("--list", action="store_true", help="list the cases, and run none")
    text = "a path that answers a GET (%(default)s)"
    parser.add_argument("--path", default=PATHS["path"], type=sent, metavar="PATH", help=text)
    for name, need in (("post", "post"), ("echo", "echo"), ("large", "large"), ("ws", "websocket"), ("events", "events")):
        text = NEEDS[need].partition(" (")[0]
        parser.add_argument(f"--{name}-path", default=PATHS[name], type=sent, metavar="PATH", help=f"{text} (%(default)s)")
    parser.add_argument("--tls", action="store_true", help="connect over TLS; ALPN chooses the version of HTTP")
    parser.add_argument("--insecure", action="store_true", help="accept any certificate")
    parser.add_argument("--host", type=sent, metavar="NAME", help="the value of Host and :authority, if it is not HOST:PORT")
    text = "the seconds after which an answer that has not come counts as none (%(default)g)"
    parser.add_argument("--timeout", type=seconds, default=TIMEOUT, metavar="S", help=text)
    text = "how many cases run at once (%(default)s)"
    parser.add_argument("--jobs", type=count_to(200), default=JOBS, metavar="N", help=text)
    parser.add_argument("--slow", action="store_true", help="also the cases of slow peers, which take up to a minute each")
    parser.add_argument("--hostile", action="store_true", help="also floods and other attacks, on this machine alone")
    parser.add_argument("--i-run-this-server", action="store_true", help="the server is not on this machine, and it is yours")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON")
    parser.add_argument("--junit", metavar="FILE", help="write the results as JUnit's XML, which CI systems read")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the bytes of each case, also of right ones")
    return parser


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536 and (":" not in host or host[0] == "["):
        try:
            return Address(host, int(port))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    raise argparse.ArgumentTypeError(f"not HOST:PORT: {text!r} (such as localhost:8000 or [::1]:8000)")
