"""Find the lines of a function, class or constant of minproto, and the section numbers that these lines carry.

    >>> place = locate("http1_body.ChunkedReader")
    >>> place.path.name, ("RFC 9112", "7.1") in place.sections
    ('http1_body.py', True)

A bare ``§7.1`` means the standard of the file (``FILE_STANDARD``), and ``RFC 9110 §5.6`` another one. In "RFC 9110 §5.5 and
§5.6" both numbers belong to RFC 9110, as they do for a reader; the next sentence begins with the file's own standard again.
"""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1]

FILE_STANDARD = {
    "http": "RFC 9110", "http1": "RFC 9112", "http1_body": "RFC 9112", "http2": "RFC 9113", "http2_events": "RFC 9113",
    "http2_fields": "RFC 9113", "http2_flow": "RFC 9113", "http2_frames": "RFC 9113", "http2_reader": "RFC 9113",
    "http2_sending": "RFC 9113", "http2_settings": "RFC 9113", "http2_streams": "RFC 9113", "websocket": "RFC 6455",
    "websocket_handshake": "RFC 6455", "deflate": "RFC 7692", "sse": "WHATWG HTML",
}  # fmt: skip
"""A core -> the standard that a bare section number in it belongs to."""

Section = tuple[str, str]
"""A standard and a section of it: ("RFC 9112", "6.1")."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name is defined: the lines ``first`` to ``last``. The comments just above the definition belong to it."""

    module: str
    path: Path
    first: int
    last: int
    text: str

    @property
    def sections(self) -> frozenset[Section]:
        """The section numbers in the lines."""
        return frozenset(sections(self.text, FILE_STANDARD.get(self.module, "")))


def locate(name: str) -> Place:
    """Return where a name such as "http1.Connection.send" is defined. Raises KeyError if there is no such name."""
    for module in _modules():
        if name.startswith(f"{module}."):
            inner = name.removeprefix(f"{module}.")
            if inner in (places := definitions(module)):
                return places[inner]
    raise KeyError(name)


@cache
def _modules() -> dict[str, Path]:
    """The modules below minproto by name, the longest name first."""
    paths = {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in SOURCE.rglob("*.py")}
    return dict(sorted(paths.items(), key=lambda item: -len(item[0])))


@cache
def definitions(module: str) -> dict[str, Place]:
    """Return the functions, classes, methods and constants of a module of minproto, by their qualified names."""
    return definitions_in(_modules()[module], module)


def definitions_in(path: Path, module: str) -> dict[str, Place]:
    """Return the same of any file of Python. ``module``: the name to note in each place."""
    text = path.read_text()
    lines = text.splitlines()
    found: dict[str, Place] = {}

    def walk(body: list[ast.stmt], outer: str) -> None:
        for node, after in zip(body, [*body[1:], None], strict=True):
            for name in _names(node):
                first = _first_line(node, lines)
                last = _last_line(node, after)
                found[outer + name] = Place(module, path, first, last, "\n".join(lines[first - 1 : last]))
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{outer}{node.name}.")

    walk(ast.parse(text).body, "")
    return found


def _names(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _first_line(node: ast.stmt, lines: list[str]) -> int:
    """Return the line where a definition begins, with its decorators and the comments above, up to the code before."""
    decorators = getattr(node, "decorator_list", [])
    first: int = min([node.lineno, *(each.lineno for each in decorators)])
    above = first - 1
    while above and (not lines[above - 1].strip() or lines[above - 1].lstrip().startswith("#")):
        if lines[above - 1].strip():
            first = above
        above -= 1
    return first


def _last_line(node: ast.stmt, after: ast.stmt | None) -> int:
    """Return the last line of a definition. The text below a constant belongs to it."""
    last = node.end_lineno or node.lineno
    is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
    if is_text and after is not None and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        last = after.end_lineno or last
    return last


_NUMBER = r"§(\d+(?:\.\d+)*)"
_MENTION = re.compile(rf"(?:(?P<standard>RFC\s+\d+),?\s+)?{_NUMBER}|(?P<end>[.;:)]\s)")


def sections(text: str, standard: str) -> list[Section]:
    """Return the sections that a text mentions. ``standard``: the standard meant by a bare number; "" for none."""
    text = re.sub(r"\n\s*#?\s*", " ", text)
    found: list[Section] = []
    current = standard
    for match in _MENTION.finditer(text):
        if match["end"]:
            current = standard
            continue
        if match["standard"]:
            current = " ".join(match["standard"].split())
        if current:
            found.append((current, match[2]))
    return found
