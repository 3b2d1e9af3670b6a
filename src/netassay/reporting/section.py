"""The parts of a page: sections of figures, tables and notes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from netassay.errors import DataError

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from netassay.reporting.finding import Finding, Reference

_SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
_LONGEST_SLUG = 80


@dataclass(frozen=True)
class Figure:
    """A chart with the numbers behind it.

    `name` becomes file names and anchors: lower-case letters, digits, single `-` or `_` between them, at most
    80 characters (DataError otherwise). All rows of `data` are offered as CSV, even if the chart draws fewer.
    """

    name: str
    title: str
    caption: str
    chart: alt.TopLevelMixin
    data: pl.DataFrame

    def __post_init__(self) -> None:
        check_slug(self.name, "figure")


@dataclass(frozen=True)
class Table:
    """Numbers to be read; `formats` maps a column to a format spec such as ".3f", `units` to its unit.

    A page shows the columns of `first` of a wide table at once, and the others on request.
    """

    name: str
    title: str
    caption: str
    data: pl.DataFrame
    formats: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    first: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_slug(self.name, "table")
        for key in [*self.formats, *self.units]:
            if key not in self.data.columns:
                raise DataError(
                    f"table {self.name!r}: a format or unit is given for column {key!r}, which the data "
                    f"does not have; its columns are: {', '.join(self.data.columns)}"
                )


@dataclass(frozen=True)
class Note:
    """A sentence that must not be overlooked, such as why an analysis is missing."""

    text: str
    kind: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs of plain text (a blank line between two), and the items that they describe."""

    title: str
    text: str = ""
    items: tuple[Figure | Table | Note, ...] = ()

    def numbered(self, number: int, of: str) -> Section:
        """The same beside others of its kind: `of` in its title, and names of figures and tables, which are unique on a
        page, with the number (from 1)."""
        items = tuple(
            item if isinstance(item, Note) else replace(item, name=f"{item.name}-{number}") for item in self.items
        )
        return replace(self, title=f"{self.title} ({of})", items=items)

    def named_after(self, study: str) -> Section:
        """The same, names of figures and tables beginning with that of the study they belong to."""
        items = tuple(
            item
            if isinstance(item, Note) or item.name.startswith(f"{study}-")
            else replace(item, name=f"{study}-{item.name}")
            for item in self.items
        )
        return replace(self, items=items)


@dataclass(frozen=True)
class Part:
    """The part of a page on one study: its findings first, then its sections, then how its runs were made.

    `name` becomes an anchor; `question` is what the study asks, `reading` how to read the figure of its first finding.
    `methods` is the table of its runs.
    """

    name: str
    question: str
    sections: tuple[Section, ...] = ()
    findings: tuple[Finding, ...] = ()
    reading: str = ""
    methods: tuple[Table | Note, ...] = ()
    references: tuple[Reference, ...] = ()

    def __post_init__(self) -> None:
        check_slug(self.name, "part")


def refuse_twins(sections: Sequence[Section]) -> None:
    """DataError if two figures or tables of a page share a name."""
    names: set[str] = set()
    for section in sections:
        for item in section.items:
            if isinstance(item, Note):
                continue
            if item.name in names:
                raise DataError(f"two figures or tables of the page are named {item.name!r}; give each its own name")
            names.add(item.name)


def check_slug(name: str, kind: str) -> None:
    """Refuses a name that is not safe and legible as a file name and an anchor (DataError)."""
    if len(name) > _LONGEST_SLUG or not _SLUG.fullmatch(name):
        raise DataError(
            f"{kind} name {name[:100]!r}: a name is lower-case letters and digits with single '-' or '_' "
            f"between them, at most {_LONGEST_SLUG} characters; for example 'sharpness-by-layer'"
        )
