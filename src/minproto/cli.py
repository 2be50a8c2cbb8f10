"""The command line: ``minproto lab``, ``serve``, ``asgi``, ``broker``, ``wire``, ``explain``, ``laws``, ``learn``, ``prove``
and ``trap``.

    main(["serve", "--port", "8000"])
      _parse      words -> options; a wrong word ends the process here, with one line and status 2
      _run        asyncio.run(_command(options)); an OSError becomes one line and status 1
        _serve    the coroutine of the command; ``serve`` returns after SIGINT or SIGTERM, when the server has drained

A user's own mistake never shows a traceback. The rest of this file is about signals, since a signal can come at
a bad moment, and each moment needs a different response:

    while Python loads this module      the process ends without any output (``__main__.py``)
    before the server is listening      KeyboardInterrupt, at once (``_interrupt``)
    while the server is running         it drains; a second signal cuts the drain short (``serve_until_signal``)
    while the event loop is closing     ignored: closing takes no time, and an interruption would leave coroutines behind
    while the last lines are written    KeyboardInterrupt: the user does not want to wait for them
"""

import argparse
import asyncio
import errno
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from types import FrameType
from typing import Any, NoReturn

from minproto.aio import asgi_command
from minproto.aio.address import Address
from minproto.aio.broker import Broker
from minproto.aio.listener import raise_file_limit, serve_until_signal
from minproto.aio.observe import AccessLog, Metrics
from minproto.aio.output import Output, finish_output, standard_error, standard_output
from minproto.aio.resp import BrokerServer
from minproto.aio.server import serve, tls_context
from minproto.aio.wire import Wire
from minproto.explain import command as explain
from minproto.explain.text import Printer
from minproto.http import MAX_PORT
from minproto.lab.app import HISTORY, DemoApp
from minproto.lab.process import serve_lab

TOOLS = {
    "laws": "minproto.testing.command", "learn": "minproto.learn.command", "prove": "minproto.prove.command",
    "trap": "minproto.prove.trap.command",
}  # fmt: skip
"""The commands that parse their own words -> their module, which is imported only then."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line, and exit with status 2. argparse would print the usage first, which ``--help`` shows."""
        self.exit(2, f"{self.prog}: {message}\n")

    @property
    def options(self) -> str:
        """The names of all options, for the message about an unknown option."""
        return ", ".join(action.option_strings[-1] for action in self._actions if action.option_strings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status: 0, or 1 if it failed. ``arguments``: None means ``sys.argv``.

    Raises SystemExit with status 2 for words that are not a command, and with status 0 after ``--help`` and ``--version``.
    """
    _open_standard_files()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "lab")  # plain ``minproto``, and ``minproto --port 8080``, run the lab
    if words[0] in TOOLS:
        return _run_tool(words[0], words[1:])
    options = _parse(words)
    if options.plain:
        os.environ["MINPROTO_PLAIN"] = "1"
    _on_signals(_interrupt)  # until a server has its own handlers for both signals
    try:
        return _run(options)
    except KeyboardInterrupt:  # there was nothing to drain yet, or everything has been drained
        return 0
    finally:
        _on_signals(signal.SIG_IGN)  # from here to the end, a signal could only change the exit status
        _forget_output()


def _run_tool(name: str, words: Sequence[str]) -> int:
    """Run the command with this name, and return the exit status. An installation without extras lacks hypothesis."""
    _on_signals(_interrupt)
    try:
        return int(import_module(TOOLS[name]).run(words))
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        hint = "pip install 'minproto[testing]' (in a clone: pip install -e '.[testing]')"
        standard_error().write(f"minproto {name}: hypothesis is not installed, and the laws need it: {hint}\n")
        finish_output()
        return 2
    except KeyboardInterrupt:  # the command has said its last words, or its modules were still being loaded
        return 128 + signal.SIGINT  # as shells have it
    finally:
        _forget_output()


def _open_standard_files() -> None:
    """Open the null device in place of each standard file that is closed, as it is after a shell's ``>&-``.

    A new file or socket gets the lowest free number. If file 2 were closed, a client's socket could become file 2, and the
    client would receive what a library writes to standard error. (libuv, on which uvloop is built, aborts in this case.)
    """
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(file)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse the words. The error for an unknown option lists the known options, which argparse itself does not do."""
    options, unknown = _parser().parse_known_args(words)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)} (the options are {options.parser.options})")
    return options


def _on_signals(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> NoReturn:
    # asyncio.run has a handler of its own, which cancels the main task. The cancellation would wait for the task's next await,
    # which may be seconds away, for example while a key is being generated.
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    """Run the command's coroutine, and return the exit status: 1 for an OSError, such as a port in use, otherwise 0."""
    # The format is the one that Python's logging has by default. The stream is ours: it writes in a thread, so a
    # terminal that nobody is reading cannot stop the event loop.
    logging.basicConfig(format="%(message)s", stream=standard_error())
    status = 0
    try:
        asyncio.run(_command(options))
    except OSError as error:
        standard_error().write(f"minproto: {_explain(error)}\n")
        status = 1
    _on_signals(_interrupt)
    finish_output()
    return status


async def _command(options: argparse.Namespace) -> None:
    """Run the command's coroutine inside the event loop."""
    try:
        await options.run(options)
    finally:  # now asyncio.run closes the loop; if a signal interrupted that, coroutines would be left unfinished
        _on_signals(signal.SIG_IGN)


def _explain(error: OSError) -> str:
    """Return the text of an error on one line, without the number that Python puts in front, such as "[Errno 98]"."""
    text = error.strerror or str(error)
    if error.strerror and error.filename is not None:
        text = f"{error.strerror}: {error.filename}"
    hint = " (choose another port, or 0 for any free one)" if error.errno == errno.EADDRINUSE else ""
    return (text or type(error).__name__) + hint


def _forget_output() -> None:
    """Drop what is still buffered in ``sys.stdout`` if its reader has gone (``| head -1``).

    Python flushes ``sys.stdout`` when it exits, and would then report a broken pipe. So the null device takes the place of the
    pipe.
    """
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> _Parser:
    parser = _Parser(prog="minproto", description="Network protocols to read, run and test with.")
    parser.add_argument("--version", action="version", version=f"minproto {version('minproto')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    text = "serve HTTP, HTTPS and a broker on 127.0.0.1, with a page that shows them at work; this is what plain minproto does"
    _add_lab_options(commands.add_parser("lab", help=text, description=text))
    text = "serve the demo app alone, on one port"
    _add_serve_options(commands.add_parser("serve", help=text, description=text))
    text = "serve an ASGI app, such as one of FastAPI, Starlette or Django"
    _add_asgi_options(commands.add_parser("asgi", help=text, description=text))
    text = "serve a broker for redis-cli and the client libraries of Redis: publish, subscribe, read a topic's last messages"
    _add_broker_options(commands.add_parser("broker", help=text, description=text))
    text = "print and explain every byte that crosses between any client and any server"
    _add_wire_options(commands.add_parser("wire", help=text, description=text))
    text = "explain the bytes of a file, or of standard input: each field, its value, its meaning, its section"
    explain.add_options(commands.add_parser("explain", help=text, description=text))
    text = "run the laws on a parser of yours: a program in any language"
    commands.add_parser("laws", help=text, add_help=False)  # for --help only: ``_run_tool`` runs it
    text = "exercises that grade themselves: list them, print a task, try an answer"
    commands.add_parser("learn", help=text, add_help=False)  # as well
    text = "ask any server over a thousand questions, and judge its answers by the standards"
    commands.add_parser("prove", help=text, add_help=False)  # as well
    text = "serve one oddity at each path, watch what any client does there, and judge it by the standards"
    commands.add_parser("trap", help=text, add_help=False)  # as well
    return parser


def _add_lab_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_lab, parser=parser)
    parser.add_argument("--port", type=_port, default=8000, help="port for HTTP and the page, 0 for any (%(default)s)")
    parser.add_argument("--tls-port", type=_port, default=8443, help="port for HTTPS with HTTP/2 (%(default)s)")
    parser.add_argument("--broker-port", type=_port, default=6380, help="port for redis-cli (%(default)s)")
    _add_plain(parser)


def _add_plain(parser: argparse.ArgumentParser) -> None:
    """Add the option of all commands that run one of our servers. ``wire`` only passes bytes on, so it runs no core."""
    parser.add_argument("--plain", action="store_true", help="run on the plain cores in src/minproto/*.py, which are slower")


def _add_address(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument("--host", type=_host, default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=port, help="port to listen on, 0 for any (%(default)s)")


def _add_place(parser: argparse.ArgumentParser, port: int) -> None:
    """Add the options that say where a server listens: an address, or something else in its place."""
    _add_address(parser, port)
    parser.add_argument("--path", type=_text, help="listen on a Unix socket at this path, and not on a port")
    text = "listen on the socket with this file descriptor, and not on a port: systemd passes 3"
    parser.add_argument("--fd", type=_descriptor, metavar="N", help=text)
    text = "several processes may listen on the port: the kernel spreads the connections"
    parser.add_argument("--reuse-port", action="store_true", help=text)


def _place(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a server that say where it listens."""
    names = [name for name in ("path", "fd", "reuse_port") if getattr(options, name) not in (None, False)]
    if len(names) > 1:
        given = " and ".join(f"--{name.replace('_', '-')}" for name in names)
        options.parser.error(f"{given} exclude each other: a server listens in one place")
    return {name: getattr(options, name) for name in ("host", "port", "path", "fd", "reuse_port")}


def _add_broker_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_broker, parser=parser)
    _add_place(parser, 6379)
    text = "password that each client has to send first; other users of this machine can see it in the list of processes"
    parser.add_argument("--password", type=_text, help=text)
    text = "how many messages to keep of each topic, 0 for none (%(default)s)"
    parser.add_argument("--history", type=_count, default=HISTORY, metavar="N", help=text)
    _add_plain(parser)


def _add_serve_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_serve, parser=parser)
    _add_http_options(parser)


def _add_http_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of an HTTP server, whatever its app is."""
    _add_place(parser, 8000)
    parser.add_argument("--tls-cert", type=_text, metavar="FILE", help="certificate chain in PEM; with it, serve over TLS")
    text = "PEM file of the private key, if it is not in the certificate's file"
    parser.add_argument("--tls-key", type=_text, metavar="FILE", help=text)
    parser.add_argument("--no-access-log", action="store_true", help="do not print a line for each request")
    _add_plain(parser)


def _add_asgi_options(parser: argparse.ArgumentParser) -> None:
    asgi_command.add_options(parser, _place)
    _add_http_options(parser)


def _add_wire_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_wire, parser=parser, plain=False)
    parser.add_argument("--host", type=_host, default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--listen", metavar="PORT", type=_port, required=True, help="port to listen on, 0 for any")
    parser.add_argument("--to", metavar="HOST:PORT", type=_address, required=True, help="the server to pass bytes to")
    parser.add_argument("--full", action="store_true", help="print all bytes of long fields, instead of only the first ones")


def _text(text: str) -> str:
    """Accept any text except an empty one: ``--password "$PASSWORD"`` with an unset variable must not mean "no password"."""
    if not text:
        raise argparse.ArgumentTypeError("may not be empty: leave the option out, or give it a value")
    return text


def _host(text: str) -> str:
    """Parse an address to listen on. To asyncio, an empty address would mean all addresses, which nobody expects."""
    if not text:
        raise argparse.ArgumentTypeError("may not be empty: 0.0.0.0 listens on all IPv4 addresses, :: on all addresses")
    try:
        return Address(text, 0).connect_host
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    """Parse a port. ``int`` alone would accept "+80", "8_0" and digits from other scripts."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"not a port: {text!r} (0 to {MAX_PORT})")
    return int(text)


def _address(text: str) -> Address:
    """Parse HOST:PORT. An IPv6 address has to be in brackets, or its last part would be taken for the port: [::1]:8000."""
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdigit() and (":" not in host or host.startswith("[")):
        try:
            if number := _port(port):
                return Address(host, number)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    raise argparse.ArgumentTypeError(f"not HOST:PORT: {text!r} (such as localhost:8000 or [::1]:8000)")


def _descriptor(text: str) -> int:
    """Parse the number of a file descriptor."""
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise argparse.ArgumentTypeError(f"not a file descriptor: {text!r}")
    return int(text)


def _count(text: str) -> int:
    """Parse a number of messages."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"not a number of messages: {text!r}")
    return int(text)


async def _lab(options: argparse.Namespace) -> None:
    """Serve the lab until a signal. Several ports may be 0, since each becomes a different free port."""
    ports = [port for port in (options.port, options.tls_port, options.broker_port) if port]
    if len(set(ports)) < len(ports):
        options.parser.error(f"--port, --tls-port and --broker-port must differ: {', '.join(map(str, ports))}")
    raise_file_limit()
    await serve_lab(options.port, options.tls_port, options.broker_port)


async def _broker(options: argparse.Namespace) -> None:
    """Serve a broker for Redis clients until a signal."""
    raise_file_limit()
    broker = Broker(history=options.history)
    await serve_until_signal(BrokerServer(broker, password=options.password, **_place(options)))


async def _serve(options: argparse.Namespace) -> None:
    """Serve the demo app until a signal: HTTP/1.1, WebSocket, SSE, and HTTP/2 with prior knowledge or by ALPN."""
    if options.tls_key and not options.tls_cert:
        options.parser.error("--tls-key needs --tls-cert")
    metrics = Metrics()
    app = DemoApp(metrics)
    raise_file_limit()
    await serve(
        app,
        **_place(options),
        ssl=tls_context(options.tls_cert, options.tls_key) if options.tls_cert else None,
        metrics=metrics,
        observers=[] if options.no_access_log else [AccessLog()],
        on_drain=app.close,
    )


async def _wire(options: argparse.Namespace) -> None:
    """Pass bytes between clients and a server until a signal, or until nobody is reading the output any more."""
    raise_file_limit()
    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size((120, 24)).columns
    printer = Printer(width, color=terminal and not os.environ.get("NO_COLOR"), full=options.full)
    output = standard_output()
    wire = Wire(options.to, printer, output.write, host=options.host, port=options.listen)
    try:
        (await wire.connect()).abort()  # a server that cannot be reached is an error now, not at the first client
    except OSError:
        if options.to != Address(options.host, options.listen):
            raise
        raise OSError(f"--listen and --to are both {options.to}: the wire would connect to itself") from None
    if isinstance(output, Output):
        output.on_broken = _end_current_task()
    with suppress(asyncio.CancelledError):
        await serve_until_signal(wire)


def _end_current_task() -> Callable[[], None]:
    """Return a function that cancels the current task, and that may be called by the thread that writes the output.

    The wire's job is to print. When its reader has gone (``| head -1``), the wire ends as it does on Ctrl-C.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def end() -> None:
        with suppress(RuntimeError):  # the loop is already closed, so the wire has ended
            loop.call_soon_threadsafe(task.cancel)

    return end
