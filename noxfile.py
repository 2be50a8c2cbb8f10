"""One word for each chore: ``nox -s test``, ``plain``, ``interop``, ``mutants``, ``lint``, ``docs``, ``pages``, ``site`` or
``bench``.

``nox -l`` lists them.

Each session has a virtual environment of its own, which is kept, so that only the first run installs anything. What stands
behind ``--`` goes to pytest, or to the benchmark: ``nox -s test -- -n0 tests/test_sse.py``, ``nox -s bench -- websocket``.
"""

import nox

nox.options.sessions = ["test", "lint"]
nox.options.reuse_existing_virtualenvs = True


@nox.session
def test(session: nox.Session) -> None:
    """The default tests: no peers, no real time."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def plain(session: nox.Session) -> None:
    """The tests of the shells on the plain cores and the plain pipe."""
    session.install("-e", ".[test]")
    session.run("pytest", *(session.posargs or ["tests/aio"]), env={"MINPROTO_PLAIN": "1"})


@nox.session
def interop(session: nox.Session) -> None:
    """The tests with real peers: browsers, curl, nghttp, redis-cli and client libraries, where they are installed."""
    session.install("-e", ".[test,interop]")
    session.run("pytest", "--override-ini", "addopts=-q", *(session.posargs or ["tests/interop"]))


@nox.session
def mutants(session: nox.Session) -> None:
    """Bugs planted on purpose: each has to be found by the tests that the ledger names for it."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "minproto.testing.mutants", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install("-e", ".[test,dev]")
    session.run("ruff", "check", ".")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The README, the examples, the pages of docs/ and the traces in the source do what they say."""
    session.install("-e", ".[test,interop]")
    names = ["tests/test_docs.py", "tests/test_rules.py", "tests/test_traces.py", "tests/test_how_it_runs.py"]
    session.run("pytest", *names, "tests/interop/test_docs_blocks.py", "--override-ini", "addopts=-q", *session.posargs)


@nox.session
def pages(session: nox.Session) -> None:
    """Write docs/requirements/ again, after a change of the ledger, the catalogue or a core."""
    session.install("-e", ".")
    session.run("python", "-m", "minproto.prove.pages", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Build the documentation's site in build/site. Behind ``--``: ``serve`` shows it while you write."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", *(session.posargs or ["build", "--strict"]), env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """One benchmark beside the peers: http1 where none is named."""
    session.install("-e", ".[bench,lab]")
    name, *options = session.posargs or ["http1"]
    session.run("python", "-m", f"benchmarks.{name}", *options)
