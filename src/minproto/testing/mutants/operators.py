"""Generated mutants: each number, condition, comparison and call of a core, changed a little, one at a time.

    if len(line) > limit and not self.done:         # line 12 of sse.py, say
        raise self.error("too long", 400)

    sse:12:never        if (len(line) > limit and not self.done) and False:
    sse:12:always       if (len(line) > limit and not self.done) or True:
    sse:12:negate       if not (len(line) > limit and not self.done):
    sse:12:compare      if len(line) >= limit and not self.done:
    sse:12:connective   if len(line) > limit or not self.done:
    sse:13:plus         raise self.error("too long", 401)
    sse:13:minus        raise self.error("too long", 399)
    sse:13:removed      pass
    sse:14:neighbour    a constant of the module, or a member of an enum, becomes the next one: DATA -> SIZE

``plus`` and ``minus`` are the off-by-one mistakes, ``never`` and ``always`` the branch that somebody dropped, ``removed`` the
check that somebody forgot. Two mutants of one kind in one line are told apart by a number: ``sse:12:negate.2``.

A mutant is not made where it would say nothing about a test: in docstrings, type annotations, the text of an error message,
``__slots__``, ``__all__`` and ``__repr__``, and in the defaults of a ``Limits`` class. Such a default is a choice, and one
byte more is not wrong.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from minproto.testing.mutants import Mutant, module_path
from minproto.testing.mutants.targets import MODULES

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
}
"""How a comparison looks in the source, as a regular expression, and what takes its place."""
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)

KINDS = ("plus", "minus", "never", "always", "negate", "compare", "connective", "neighbour", "removed")


@dataclass(frozen=True)
class Generated:
    """A generated mutant, and what identifies it when line numbers have changed: see ``equivalent.toml``."""

    mutant: Mutant
    kind: str
    within: str
    """The qualified name of the function or class around the line, "" for the module itself."""
    line: str
    """The text of the line, without its indentation and its comment."""


@cache
def generated(module: str) -> tuple[Generated, ...]:
    """Return all generated mutants of a module below minproto, in the order of its lines."""
    return tuple(generate(module, module_path(module).read_text("utf-8")))


def all_generated(modules: tuple[str, ...] = MODULES) -> list[Generated]:
    """Return the generated mutants of all plain cores."""
    return [each for module in modules for each in generated(module)]


def generate(module: str, source: str) -> Iterator[Generated]:
    """Yield all generated mutants of a source text."""
    text = _Text(source)
    numbers: dict[tuple[int, str], int] = {}
    edits = sorted(_Finder(text).edits(), key=lambda edit: (edit.start, KINDS.index(edit.kind)))
    for edit in edits:
        number = text.line_number(edit.start)
        count = numbers[number, edit.kind] = numbers.get((number, edit.kind), 0) + 1
        kind = edit.kind if count == 1 else f"{edit.kind}.{count}"
        mutant = Mutant(f"{module}:{number}:{kind}", module, *text.unique(edit.start, edit.end, edit.new))
        yield Generated(mutant, kind, edit.within, text.code(number))


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    new: str
    kind: str
    within: str


class _Text:
    """A source text, and the positions of its syntax tree's nodes in the text."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines = source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        self._comments = {token.start[0]: token.start[1] for token in tokens if token.type == tokenize.COMMENT}

    def code(self, number: int) -> str:
        """Return a line without its indentation and its comment."""
        return self.lines[number - 1][: self._comments.get(number)].strip()

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        """Convert a column of ``ast``, which counts bytes of UTF-8, into a position in the text, which counts characters."""
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def line_number(self, offset: int) -> int:
        return self.source.count("\n", 0, offset) + 1

    def unique(self, start: int, end: int, new: str) -> tuple[str, str]:
        """Return ``old`` and ``new`` of a mutant: whole lines, and as many of the lines above as make ``old`` unique."""
        first, last = self.line_number(start) - 1, self.line_number(end)
        while self.source.count(old := self.source[self.starts[first] : self.starts[last]]) > 1 and first:
            first -= 1
        return old, self.source[self.starts[first] : start] + new + self.source[end : self.starts[last]]


class _Finder:
    """Walks through a module, and notes the places to change."""

    def __init__(self, text: _Text) -> None:
        self._text = text
        self._tree = ast.parse(text.source)
        self._neighbours = dict(_neighbours(self._tree))

    def edits(self) -> Iterator[_Edit]:
        yield from self._of_body(self._tree, "")

    def _of_body(self, node: ast.AST, within: str) -> Iterator[_Edit]:
        """Yield the edits of a node and of what is in it."""
        for child in _mutable_children(node):
            name = within
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{within}.{child.name}".lstrip(".")
                if child.name == "__repr__":
                    continue
            for start, end, new, kind in self._of_node(child, node):
                yield _Edit(start, end, new, kind, name)
            yield from self._of_body(child, name)

    def _of_node(self, node: ast.AST, parent: ast.AST) -> Iterator[tuple[int, int, str, str]]:
        match node:
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                yield from self._replaced(node, str(value + 1), "plus")
                yield from self._replaced(node, _in_parentheses(value - 1), "minus")
            case ast.If(test=test):
                yield from self._condition(test, branch=True)
            case ast.While(test=test) | ast.IfExp(test=test):
                yield from self._condition(test, branch=False)
            case ast.comprehension(ifs=tests):
                for test in tests:
                    yield from self._condition(test, branch=False)
            case ast.Compare():
                whole = isinstance(parent, ast.If | ast.While | ast.IfExp | ast.comprehension) and len(node.ops) == 1
                yield from self._comparison(node, only_order=whole)
            case ast.BoolOp():
                yield from self._connective(node)
            case ast.Name(ctx=ast.Load(), id=name) if name in self._neighbours:
                yield from self._replaced(node, self._neighbours[name], "neighbour")
            case ast.Attribute(value=ast.Name(id=enum), attr=attr) if f"{enum}.{attr}" in self._neighbours:
                yield from self._replaced(node, self._neighbours[f"{enum}.{attr}"], "neighbour")
            case ast.Raise() | ast.Expr(value=ast.Call() | ast.Await()):
                yield from self._replaced(node, "pass", "removed")

    def _replaced(self, node: ast.expr | ast.stmt, new: str, kind: str) -> Iterator[tuple[int, int, str, str]]:
        yield (*self._text.span(node), new, kind)

    def _condition(self, test: ast.expr, branch: bool) -> Iterator[tuple[int, int, str, str]]:
        """A condition is still evaluated where its branch is dropped, since it may bind a name (``:=``) or have an effect."""
        start, end = self._text.span(test)
        old = self._text.source[start:end]
        if isinstance(test, ast.Name) and test.id == "TYPE_CHECKING":
            return
        if branch:
            yield start, end, f"({old}) and False", "never"
            yield start, end, f"({old}) or True", "always"
        yield start, end, f"not ({old})", "negate"

    def _comparison(self, node: ast.Compare, only_order: bool) -> Iterator[tuple[int, int, str, str]]:
        """``only_order``: the comparison is a whole condition, and ``==`` for ``!=`` would be the same as ``negate``."""
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            pattern, new = _COMPARISONS[type(operator)]
            if isinstance(operator, _ORDER) or not only_order:
                yield (*self._between(left, right, pattern), new, "compare")
            left = right

    def _connective(self, node: ast.BoolOp) -> Iterator[tuple[int, int, str, str]]:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield (*self._between(left, right, old), new, "connective")

    def _between(self, left: ast.expr, right: ast.expr, pattern: str) -> tuple[int, int]:
        """Return the position of an operator between its operands. There may also be a comment between them."""
        start, end = self._text.span(left)[1], self._text.span(right)[0]
        between = re.sub("#.*", lambda comment: " " * len(comment[0]), self._text.source[start:end])
        found = re.search(pattern, between)
        assert found is not None
        return start + found.start(), start + found.end()


def _in_parentheses(value: int) -> str:
    """``2 ** 0`` with -1 in place of 0 needs none, but ``0 .bit_length()`` would."""
    return str(value) if value >= 0 else f"({value})"


def _mutable_children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the children of a node in which a change says something about a test."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_comment", "bases", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr) and not _says_nothing(child, node):
                yield child


def _says_nothing(child: ast.AST, parent: ast.AST) -> bool:
    """Whether a statement is a list of names, or a default of a ``Limits`` class."""
    match child:
        case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__" | "__match_args__")]):
            return True
        case ast.AnnAssign() if isinstance(parent, ast.ClassDef):
            return parent.name.endswith("Limits")
    return False


def _neighbours(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield a constant, or a member of an enum, and the next one of its kind in the module. After the last comes the first.

    Of what another module defines, only the names that this module uses are neighbours.
    """
    groups: dict[str, list[str]] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name.strip("_").isupper():
                groups.setdefault(_type_of(value), []).append(name)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name.strip("_").isupper():
                groups.setdefault(_type_of(value), []).append(name)
            case ast.ClassDef(name=enum, bases=bases) if any("Enum" in ast.unparse(base) for base in bases):
                members = [each.targets[0] for each in statement.body if isinstance(each, ast.Assign)]
                groups[f"enum {enum}"] = [f"{enum}.{each.id}" for each in members if isinstance(each, ast.Name)]
            case ast.ImportFrom(module=str() as origin, names=imported):
                groups[f"from {origin}"] = [each.asname or each.name for each in imported if each.name.strip("_").isupper()]
    for node in ast.walk(tree):  # members of an enum, or constants of a module, that is imported
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if name.isupper() and f"enum {owner}" not in groups:
                if f"{owner}.{name}" not in groups.setdefault(f"of {owner}", []):
                    groups[f"of {owner}"].append(f"{owner}.{name}")
    for kind, names in groups.items():
        if kind and len(names) > 1:
            yield from zip(names, [*names[1:], names[0]], strict=True)


def _type_of(value: ast.expr) -> str:
    """Return what kind of constant it is, "" for a kind whose constants are not exchanged: tables and functions."""
    match value:
        case ast.Constant(value=int() | bytes() | str() as constant):
            return type(constant).__name__
        case ast.BinOp() | ast.UnaryOp():
            return "int"
        case ast.Attribute(value=ast.Name(id=enum)):
            return enum
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr="compile"), args=[ast.Constant(value=pattern), *_]):
            return f"re of {type(pattern).__name__}"
    return ""
