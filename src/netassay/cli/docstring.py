"""The parts of a public function's docstring."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from docstring_parser import google


@dataclass(frozen=True)
class Docstring:
    """The first sentence, the text after it, and the sections under their headings; empty if missing."""

    sentence: str
    text: str
    arguments: Mapping[str, str]
    attributes: Mapping[str, str]
    returns: str
    errors: Mapping[str, str]
    source: str
    example: str


@lru_cache(maxsize=256)
def docstring_of(documented: Any) -> Docstring:
    """The parsed docstring of a function or class."""
    parsed = _parser().parse(inspect.getdoc(documented) or "")
    sections: dict[str, dict[str, str]] = {}
    for meta in parsed.meta:
        kind, *names = meta.args
        sections.setdefault(kind, {})[" ".join(names)] = (meta.description or "").strip()
    return Docstring(
        _line(parsed.short_description or ""),
        parsed.long_description or "",
        _lines(sections.get("param", {})),
        _lines(sections.get("attribute", {})),
        _line(sections.get("returns", {}).get("", "")),
        _lines(sections.get("raises", {})),
        _line(sections.get("source", {}).get("", "")),
        sections.get("examples", {}).get("", ""),
    )


@lru_cache(maxsize=1)
def _parser() -> google.GoogleParser:
    source = google.Section("Source", "source", google.SectionType.SINGULAR)
    return google.GoogleParser([*google.DEFAULT_SECTIONS, source])


def _lines(entries: Mapping[str, str]) -> dict[str, str]:
    return {name: _line(words) for name, words in entries.items()}


def _line(words: str) -> str:
    return " ".join(words.split())
