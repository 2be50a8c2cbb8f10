"""The command ``minproto asgi MODULE:NAME``: serve an ASGI app until a signal.

    $ minproto asgi main:app --port 8000
    minproto serves on http://127.0.0.1:8000

The module is looked for in the current folder first, as ``python -m`` does.
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from minproto.aio.asgi import ASGI
from minproto.aio.asgi_http import App
from minproto.aio.listener import raise_file_limit, serve_until_signal
from minproto.aio.observe import AccessLog
from minproto.aio.server import Server, tls_context


def add_options(parser: argparse.ArgumentParser, place: Callable[[argparse.Namespace], dict[str, Any]]) -> None:
    """Add the options of the command that ``minproto serve`` does not have.

    ``place`` returns the options of the server that say where it listens."""
    parser.set_defaults(run=run, parser=parser, place=place)
    parser.add_argument("app", metavar="MODULE:NAME", type=_names, help="the app: main:app is the object app of main.py")
    parser.add_argument("--root-path", default="", metavar="PATH", help="where a proxy has mounted the app, such as /api")


async def run(options: argparse.Namespace) -> None:
    """Serve the app. Ends the process with status 2, and one line, for an app that cannot be loaded or does not start."""
    if options.tls_key and not options.tls_cert:
        options.parser.error("--tls-key needs --tls-cert")
    app = load(options)
    raise_file_limit()
    context = tls_context(options.tls_cert, options.tls_key) if options.tls_cert else None
    observers = [] if options.no_access_log else [AccessLog()]
    served = ASGI(app, root_path=options.root_path)
    server = Server(served, **options.place(options), ssl=context, observers=observers)
    try:
        await served.__aenter__()
    except RuntimeError as error:
        options.parser.error(str(error))
    try:
        await serve_until_signal(server)
    finally:
        await served.__aexit__(None, None, None)


def load(options: argparse.Namespace) -> App:
    """Return the app that the command line names."""
    module, name = options.app
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        where = f" in {Path.cwd()}" if error.name == module.partition(".")[0] else f", which {module} imports"
        options.parser.error(f"there is no module {error.name!r}{where}")
    except AttributeError as error:
        options.parser.error(f"{module} has no {name!r}: {error}")
    except Exception as error:  # the module itself is wrong
        last = traceback.extract_tb(error.__traceback__)[-1]
        options.parser.error(f"{module} cannot be imported: {type(error).__name__}: {error} ({last.filename}:{last.lineno})")
    if not callable(found):
        options.parser.error(f"{module}:{name} is a {type(found).__name__}, and no app: an app can be called")
    app: App = found
    return app


def _names(text: str) -> tuple[str, str]:
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise argparse.ArgumentTypeError(f"not MODULE:NAME: {text!r} (such as main:app)")
    return module, name
