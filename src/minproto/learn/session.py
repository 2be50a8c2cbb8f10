"""Run the learner's code: one operation in, one answer out, with the keys of ``docs/laws.md``.

    new                  {"events": [], "error": null, "wants": "data", "buffered": 0}
    data, b"5\\r\\nhel"    {"events": [{"type": "Data", "data": "68656c"}], "error": null, ...}

The learner's methods are simpler than that. ``receive_data`` returns a list of events, or yields them, and it raises
ValueError for bytes that break the protocol. Any other exception is a bug in the learner's code. It becomes an event of the
type ``crashed``, which no expected answer has, so a report shows it beside what was expected.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from minproto.learn import CALLS

Answer = dict[str, Any]
MODULE = "learner"
"""The name of the learner's module. It is not the name of the file, which may be ``json.py``, like a module of Python."""


class CannotLoadError(Exception):
    """The learner's file cannot be loaded. The text is one line."""


def load(source: str, file: str) -> ModuleType:
    """Run the text of a Python file as a module. Raises CannotLoadError if that fails."""
    module = ModuleType(MODULE)
    module.__file__ = file
    sys.modules[MODULE] = module  # where dataclasses look for it
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except SyntaxError as error:
        raise CannotLoadError(f"{Path(file).name} is not Python: {error.msg}, in line {error.lineno}") from None
    except (Exception, SystemExit) as error:
        raise CannotLoadError(f"{Path(file).name} does not import: {told(error, file)}") from None
    return module


def read(file: str) -> str:
    """Return the text of a file. Raises CannotLoadError."""
    try:
        return Path(file).read_text("utf-8")
    except UnicodeError:
        raise CannotLoadError(f"{Path(file).name} is not UTF-8, so it is not Python") from None
    except OSError as error:
        raise CannotLoadError(f"{Path(file).name}: {error.strerror}") from None


def told(error: BaseException, file: str) -> str:
    """Return an exception on one line, with the line of the learner's file in which it was raised."""
    text = " ".join(str(error).split())[:200]
    lines = list(_lines(error.__traceback__, file))
    place = f" (in line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}{f': {text}' if text else ''}{place}"


def _lines(traceback: TracebackType | None, file: str) -> Iterator[int]:
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            yield traceback.tb_lineno
        traceback = traceback.tb_next


class Session:
    """The learner's module, and the parser (or the calls) that are tried now."""

    def __init__(self, module: ModuleType, asks: str, kind: str, takes_limit: bool) -> None:
        """Raises CannotLoadError if the module lacks what the exercise asks for."""
        self._module, self._file = module, str(module.__file__)
        self._kind, self._takes_limit = kind, takes_limit
        self._asked = getattr(module, asks, None)
        if not callable(self._asked):
            raise CannotLoadError(f"{Path(self._file).name} has no {asks}, which this exercise asks for")
        self._now: _Parser | _Calls

    def answer(self, op: Answer) -> Answer:
        """Return the answer to one operation, as ``docs/laws.md`` describes both."""
        if op["op"] == "new":
            self._now = self._new(op["limit"])
            return {"events": [], "error": None, "wants": "data", "buffered": 0}
        return self._now.receive(None if op["op"] == "eof" else bytes.fromhex(op["hex"]))

    def _new(self, limit: int) -> "_Parser | _Calls":
        if self._kind == CALLS:
            return _Calls(dict(vars(self._module)), self._file)
        asked: Any = self._asked
        return _Parser((lambda: asked(limit)) if self._takes_limit else asked, self._file)


class _Parser:
    """A parser of the learner."""

    def __init__(self, make: Callable[[], Any], file: str) -> None:
        self._make, self._file = make, file
        self._parser: Any = None
        self._crash: str | None = None
        self._ended = False

    def receive(self, data: bytes | None) -> Answer:
        """Give bytes to the parser; None means the end of input."""
        events: list[Any] = []
        error = self._crash
        self._ended = self._ended or data is None
        buffered, closed = 0, False
        if error is None:
            try:
                error = self._step(data, events)
                held = getattr(self._parser, "buffered", 0)
                buffered, closed = int(held() if callable(held) else held), bool(getattr(self._parser, "closed", False))
            except (Exception, SystemExit) as bug:
                error = self._crash = told(bug, self._file)
                events.append({"type": "crashed", "with": error})
        wants = "closed" if error is not None or self._ended or closed else "data"
        return {"events": events, "error": error, "wants": wants, "buffered": buffered}

    def _step(self, data: bytes | None, events: list[Any]) -> str | None:
        """Add the events that the parser makes now. Return the text of its ValueError, or None."""
        if self._parser is None:
            self._parser = self._make()
        try:
            found = self._parser.receive_eof() if data is None else self._parser.receive_data(data)
            if found is not None and not isinstance(found, Iterable):
                raise TypeError(f"receive_data returns a list of events, or yields them, and not {found!r}")
            for event in found or ():
                events.append(_event(event))
        except UnicodeError as error:
            return type(error).__name__  # its text has a position, which depends on the cuts
        except ValueError as error:
            return str(error) or "ValueError"
        return None


def _event(event: Any) -> Any:
    """Return an event as JSON. Raises TypeError for something that is not an event."""
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise TypeError(f'an event is a dict with a "type", not {event!r}')
    return {str(key): _json(value) for key, value in event.items()}


def _json(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, list | tuple):
        return [_json(each) for each in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"an event holds text, bytes, numbers and lists, not {value!r}")


class _Calls:
    """Calls of the learner's functions and methods: a script, one call on each line."""

    def __init__(self, names: dict[str, Any], file: str) -> None:
        self._names, self._file = names, file

    def receive(self, data: bytes | None) -> Answer:
        """Run the lines of a script. Each line makes one event: what the call returns, or what it raises."""
        events = [self._run(line) for line in (data or b"").decode().splitlines()]
        return {"events": events, "error": None, "wants": "data" if data is not None else "closed", "buffered": 0}

    def _run(self, line: str) -> Answer:
        name, assigns, call = line.partition(" = ")
        try:
            value = eval(call if assigns and name.isidentifier() else line, self._names)
            if assigns and name.isidentifier():
                self._names[name] = value
                return {"type": "made", "value": name}
            return {"type": "returns", "value": repr(plain(value))}
        except ValueError:
            return {"type": "raises", "value": "ValueError"}
        except (Exception, SystemExit) as bug:
            return {"type": "raises", "value": told(bug, self._file)}


def plain(value: Any) -> Any:
    """Return a result in a form that can be compared as text: a tuple counts as a list, a bytearray as bytes."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | Iterator):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(each) for each in value), key=repr)
    return type(value).__name__
