"""The command ``minproto asgi MODULE:NAME``: serve an ASGI app until a signal.

    $ minproto asgi main:app --port 8000
    minproto serves on http://127.0.0.1:8000

The module is looked for in the current folder first, as ``python -m`` does.

    minproto asgi main:app
      load                   import main, and take its app: each mistake ends the process with one line
      async with ASGI(app)   lifespan.startup: the app opens its database
        serve_until_signal   listen, serve, and drain after SIGINT or SIGTERM
      (the end of the block) lifespan.shutdown

The mistakes that a user makes are in the names, or in the module itself:

    main                     not MODULE:NAME
    main.py:app              a module has no .py at its end
    mian:app                 there is no module 'mian' in this folder
    main:ap                  main has no 'ap'
    main:create_app          a function that makes an app is not an app
    a NameError in main.py   main cannot be imported, with the line of the error

Left out: reloading the program when a file changes, and worker processes. Several processes can share a port
(``--reuse-port``), or the socket of a service manager (``--fd``).
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from minproto.aio.asgi import ASGI, LifespanError, check_asgi
from minproto.aio.asgi_http import App
from minproto.aio.listener import raise_file_limit, serve_until_signal
from minproto.aio.observe import AccessLog
from minproto.aio.server import Server, tls_context


def add_options(parser: argparse.ArgumentParser, place: Callable[[argparse.Namespace], dict[str, Any]]) -> None:
    """Add the options of the command that ``minproto serve`` does not have.

    ``place`` returns the options of the server that say where it listens."""
    parser.set_defaults(run=run, parser=parser, place=place)
    parser.add_argument("app", metavar="MODULE:NAME", type=_names, help="the app: main:app is the object app of main.py")
    text = "where a proxy has mounted the app, such as /api"
    parser.add_argument("--root-path", default="", type=_root_path, metavar="PATH", help=text)


async def run(options: argparse.Namespace) -> None:
    """Serve the app. Ends the process with status 2, and one line, for an app that cannot be loaded or does not start."""
    if options.tls_key and not options.tls_cert:
        options.parser.error("--tls-key needs --tls-cert")
    app = load(options)
    raise_file_limit()
    context = tls_context(options.tls_cert, options.tls_key) if options.tls_cert else None
    # The app starts before the server listens, so a client that connects gets an app that is ready. The app shuts down after
    # the drain.
    observers = [] if options.no_access_log else [AccessLog()]
    try:
        async with ASGI(app, root_path=options.root_path) as served:
            await serve_until_signal(Server(served, **options.place(options), ssl=context, observers=observers))
    except LifespanError as error:
        options.parser.error(str(error))


def load(options: argparse.Namespace) -> App:
    """Return the app that the command line names. Ends the process with status 2, and one line, if there is no such app.

    A name may have dots: ``main:site.app`` is the attribute ``app`` of the object ``site``.
    """
    module, name = options.app
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        check_asgi(found)
    except ModuleNotFoundError as error:
        options.parser.error(_missing(module, error.name or ""))
    except AttributeError as error:
        if module in sys.modules:
            options.parser.error(f"{module} has no {name!r}: {error}")
        options.parser.error(_broken(module, error))
    except (Exception, SystemExit) as error:
        if module in sys.modules:  # it was imported, so ``check_asgi`` has refused the app
            options.parser.error(f"{module}:{name}: {error}")
        options.parser.error(_broken(module, error))
    app: App = found
    return app


def _missing(module: str, missing: str) -> str:
    """Say which module is missing: the one that the user has named, or one that this one imports.

    The difference matters. A missing ``main`` is a typing mistake or the wrong folder; a missing ``fastapi`` has to be
    installed.
    """
    if module.endswith(".py"):
        return f"a module has no .py at its end: {module.removesuffix('.py').replace('/', '.')}:app"
    if f"{module}.".startswith(f"{missing}."):
        return f"there is no module {missing!r} in {Path.cwd()}"
    return f"there is no module {missing!r}, which {module} imports"


def _broken(module: str, error: BaseException) -> str:
    """Say, in one line, what is wrong with a module, and where."""
    # The last entry of the traceback is the line that raised the error, which may be in a module that this one imports.
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if isinstance(error, SyntaxError) else f" ({last.filename}:{last.lineno})"  # a SyntaxError names its line
    return " ".join(f"{module} cannot be imported: {type(error).__name__}: {error}{where}".split())


def _root_path(text: str) -> str:
    """Parse the path at which a proxy has mounted the app: "" or a path that begins with a slash."""
    if text and not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"not a path: {text!r} (such as /api)")
    return text


def _names(text: str) -> tuple[str, str]:
    """Parse MODULE:NAME."""
    module, colon, name = text.partition(":")
    if not (colon and name and all(module.split("."))):
        raise argparse.ArgumentTypeError(f"not MODULE:NAME: {text!r} (such as main:app)")
    return module, name
