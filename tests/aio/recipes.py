"""The recipes of ``examples/apps/`` as modules, for the tests."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

APPS = Path(__file__).parents[2] / "examples" / "apps"
RECIPES = sorted(APPS.glob("*.py"))


def load(name: str) -> ModuleType:
    """Import a recipe. It may import its neighbours, as Python lets a program do."""
    sys.path.insert(0, str(APPS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(APPS))
