"""The import hook: Python asks for ``minproto.http1``, and gets the mutated text of its file.

    install(mutant)                 # first
    import minproto.http1           # then: the module has the bug

``import`` asks each finder of ``sys.meta_path`` in turn for a module. Our finder comes first, and answers for one name only.
Nothing is written to disk: no source, and no bytecode. That matters, since Python finds bytecode (``__pycache__/*.pyc``) by
the time and the size of the source *file*, which has not changed. With the usual loader, the first mutant would be stored
as the bytecode of the right module, and the next process would load the stored mutant. So the loader here compiles its text
each time.
"""

import linecache
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType

from minproto.testing.mutants import Mutant, MutantError, compiled, module_path, mutated_source


def install(mutant: Mutant) -> None:
    """Let this process import the mutant in place of its module, until the process ends.

    Raises MutantError if the module has been imported already, or if the mutant is wrong. There is no way back, since other
    modules keep what they have imported from the mutant. So a process is used for one mutant.
    """
    name = f"minproto.{mutant.module}"
    if name in sys.modules:
        raise MutantError(f"{name} has been imported already, so the mutant would not be used")
    finder = _Finder(name, mutant)
    sys.meta_path.insert(0, finder)
    lines = mutated_source(mutant).splitlines(keepends=True)
    # A traceback shows the mutated lines. None is the time of the file's last change: linecache then keeps what it has.
    linecache.cache[finder.path] = (sum(map(len, lines)), None, lines, finder.path)


class _Finder(MetaPathFinder):
    """Answers for one module."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        self.name, self.path, self.code = name, str(module_path(mutant.module)), compiled(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return spec_from_file_location(fullname, self.path, loader=_Loader(fullname, self.path, self.code))


class _Loader(SourceFileLoader):
    """Like the usual loader, but with a code object that is in memory already."""

    def __init__(self, fullname: str, path: str, code: CodeType) -> None:
        super().__init__(fullname, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code
