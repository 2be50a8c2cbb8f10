"""``minproto asgi``: what it says of an app that it can't serve, in one line."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minproto import cli
from minproto.aio import asgi_command

GOOD = """
async def app(scope, receive, send): ...
class Klass:
    async def __call__(self, scope, receive, send): ...
class Endpoint:
    def __init__(self, scope, receive, send): ...
    def __await__(self): ...
app.inner = Klass()
def factory(): ...
def wsgi(environ, start_response): ...
async def ours(request): ...
number = 5
"""
MODULES = {
    "good": GOOD,
    "importing": "import nothing_there",
    "raising": 'raise ValueError("a\\nb")',
    "malformed": "x = (",
    "exiting": "import sys; sys.exit(3)",
    "attribute": "import sys; sys.nothing",
}

Run = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in a folder with modules; the line that it ends with, with status 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words: str, **modules: str) -> str:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        with pytest.raises(SystemExit) as ended:
            options = cli._parse(["asgi", *words, "--port", "0"])
            asyncio.run(asgi_command.run(options))
        assert ended.value.code == 2
        return capsys.readouterr().err.splitlines()[-1].removeprefix("minproto asgi: ")

    return run


NAMES = {
    "good": "argument MODULE:NAME: not MODULE:NAME: 'good' (such as main:app)",
    ":app": "argument MODULE:NAME: not MODULE:NAME: ':app' (such as main:app)",
    ".good:app": "argument MODULE:NAME: not MODULE:NAME: '.good:app' (such as main:app)",
    "good.py:app": "a module has no .py at its end: good:app",
    "good.deeper:app": "there is no module 'good.deeper' in {folder}",
    "nothing:app": "there is no module 'nothing' in {folder}",
    "importing:app": "there is no module 'nothing_there', which importing imports",
    "raising:app": "raising cannot be imported: ValueError: a b ({folder}/raising.py:1)",
    "malformed:app": "malformed cannot be imported: SyntaxError: '(' was never closed (malformed.py, line 1)",
    "exiting:app": "exiting cannot be imported: SystemExit: 3 ({folder}/exiting.py:1)",
    "attribute:app": "attribute cannot be imported: AttributeError: module 'sys' has no attribute 'nothing'",
    "good:nope": "good has no 'nope': module 'good' has no attribute 'nope'",
    "good:Klass": "good:Klass: the class Klass is not an app, but Klass() may be one",
    "good:factory": "factory() is not an ASGI app: assign what it returns to a name, as in app = create_app()",
    "good:wsgi": "it is a WSGI app, and asgiref.wsgi.WsgiToAsgi(app) makes an ASGI app of it",
    "good:ours": "it looks like an app of minproto, which minproto.serve(app) serves",
    "good:number": "good:number: app has to be an ASGI app, such as `async def app(scope, receive, send)`, not 5",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_no_app_is_one_line(said: Run, tmp_path: Path, name: str) -> None:
    module = name.partition(":")[0].partition(".")[0]
    modules = {module: MODULES[module]} if module in MODULES else {}
    assert NAMES[name].format(folder=tmp_path) in said(name, **modules)


@pytest.mark.parametrize("name", ["app", "Endpoint", "app.inner"])
def test_an_app_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "good", raising=False)
    (tmp_path / "good.py").write_text(GOOD)
    assert asgi_command.load(argparse.Namespace(app=("good", name))) is not None


LIFESPAN = """
import sys
async def app(scope, receive, send):
    await receive()
    {}
    await receive()
"""
TRACEBACK = '"Traceback:\\n  File\\nOSError: no database\\n"'
STARTUPS = {
    f'await send({{"type": "lifespan.startup.failed", "message": {TRACEBACK}}}); raise OSError': (
        "the app's startup failed: OSError: no database"
    ),
    'sys.exit("no config")': "the app's lifespan ended with sys.exit('no config')",
}


@pytest.mark.parametrize("line", STARTUPS)
def test_a_startup_that_fails_is_one_line(said: Run, line: str, logged: list[str]) -> None:
    assert said("starting:app", starting=LIFESPAN.format(line)) == STARTUPS[line]
    assert logged == []


def test_options_that_are_wrong(said: Run) -> None:
    assert said("good:app", "--tls-key", "x", good=GOOD) == "--tls-key needs --tls-cert"
    assert said("good:app", "--root-path", "api") == "argument --root-path: not a path: 'api' (such as /api)"
