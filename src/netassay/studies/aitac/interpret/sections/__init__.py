"""Drawings of the chapters of an interpretation: one module per chapter, of the same name.

Each has `section(tables, config) -> Section`: figures, tables and notes, drawn from the chapter's tables alone.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def drawing(name: str) -> ModuleType:
    """The module that draws a chapter."""
    return import_module(f"{__name__}.{name}")
