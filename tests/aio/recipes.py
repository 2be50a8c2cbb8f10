"""The recipes of ``examples/apps/`` as modules, for the tests."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

APPS = Path(__file__).parents[2] / "examples" / "apps"
RECIPES = sorted(APPS.glob("*.py"))


@cache
def load(name: str) -> ModuleType:
    """Import a recipe. It may import its neighbours, as Python lets a program do."""
    spec = importlib.util.spec_from_file_location(name, APPS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(APPS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(APPS))
    return module
