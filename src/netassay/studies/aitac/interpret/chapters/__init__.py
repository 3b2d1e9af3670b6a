"""What is made of each chapter of an interpretation: one module a chapter, of the same name.

Each has `tables(subject, config) -> {name: DataFrame}`, the whole result. Raises NetassayError where it cannot be had.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def chapter(name: str) -> ModuleType:
    """The module that makes a chapter."""
    return import_module(f"{__name__}.{name}")
