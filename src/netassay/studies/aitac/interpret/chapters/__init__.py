"""The chapters of an interpretation, in the order of the page; each has the same three parts.

- NEEDS: names of chapters that must come before it;
- `tables(subject, config) -> {name: DataFrame}`: the whole result. Raises NetassayError where it cannot be had;
- `section(tables, config) -> Section`: figures, tables and notes, drawn from those tables alone.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from netassay.config import did_you_mean
from netassay.errors import ConfigError

CHAPTERS: tuple[str, ...] = (
    "motifs",
    "second_layer",
    "reproducible",
    "recovery",
    "influence",
    "pairs",
    "binding",
    "attributions",
)


def chapter(name: str) -> ModuleType:
    """The module of a chapter."""
    return import_module(f"{__name__}.{name}")


def chosen(only: str) -> tuple[str, ...]:
    """Chapters that are asked for and those they need, in order; all for "". ConfigError for an unknown one."""
    asked = [word.strip() for word in only.split(",") if word.strip()]
    if only.strip() and not asked:
        raise ConfigError(
            f"only = {only!r} names no chapter; known: {', '.join(CHAPTERS)}; leave it out for all"
        )
    for word in asked:
        if word not in CHAPTERS:
            raise ConfigError(
                f"only = {only!r}: there is no chapter {word!r}; {did_you_mean(word, CHAPTERS)}"
            )
    wanted = set(asked or CHAPTERS)
    for name in reversed(CHAPTERS):
        if name in wanted:
            wanted |= set(chapter(name).NEEDS)
    return tuple(name for name in CHAPTERS if name in wanted)
