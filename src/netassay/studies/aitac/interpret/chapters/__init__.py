"""Computation of the chapters of an interpretation: one module per chapter, of the same name.

Each has `tables(subject, config) -> {name: DataFrame}`, its entire result. NetassayError if it cannot be computed.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def chapter(name: str) -> ModuleType:
    """The module that makes a chapter."""
    return import_module(f"{__name__}.{name}")
