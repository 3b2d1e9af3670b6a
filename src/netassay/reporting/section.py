"""What a page is made of, as data: sections of figures, tables and notes, axes, findings in sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from netassay.errors import DataError

if TYPE_CHECKING:
    import altair as alt
    import polars as pl


class Finding(NamedTuple):
    """One sentence: an effect, its interval or error, and what it is compared with.

    `figure` names the figure or table of a page that shows it, `command` is the command that repeats its run,
    `question` is the question it answers, in a few words.

    >>> Finding("Layer 2 leads at 97 % of the steps.", "edge-layer-sharpness").figure
    'edge-layer-sharpness'
    """

    text: str
    figure: str = ""
    command: str = ""
    question: str = ""


class Reference(NamedTuple):
    """A work that a study builds on.

    >>> Reference("doe2020", "Doe", "A title", 2020, "Journal", doi="10.1/2").link
    'https://doi.org/10.1/2'
    """

    key: str
    authors: str
    title: str
    year: int
    where: str
    doi: str = ""
    arxiv: str = ""

    @property
    def link(self) -> str:
        """Address of the work, "" if it has neither DOI nor arXiv number."""
        if self.doi:
            return f"https://doi.org/{self.doi}"
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""

    @property
    def bibtex(self) -> str:
        """The entry for a bibliography."""
        kind = "article" if self.doi else "misc"
        venue = "journal" if self.doi else "howpublished"
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",
            "year": str(self.year),
            venue: self.where,
        }
        fields |= {"doi": self.doi} if self.doi else {}
        fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"} if self.arxiv else {}
        rows = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@{kind}{{{self.key},\n{rows}\n}}"


_UNSPOKEN = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


@dataclass(frozen=True)
class Axis:
    """A column and how it is shown. `domain` bounds the axis; without it the data do."""

    column: str
    title: str = ""
    unit: str = ""
    log: bool = False
    domain: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        low, high = self.domain or (1.0, 2.0)
        if not (-math.inf < low < high < math.inf) or (self.log and low <= 0):
            raise DataError(
                f"domain {self.domain} of axis {self.column!r}: give (low, high), finite, low below high, "
                "and above zero where the axis is logarithmic"
            )

    @property
    def label(self) -> str:
        words = self.title or self.column
        # titles become parts of Vega expressions, whose strings must not contain line separators or control characters
        return _UNSPOKEN.sub("\ufffd", f"{words} ({self.unit})" if self.unit else words)


@dataclass(frozen=True)
class Rule:
    """A labelled horizontal line at `value`; in the colour of `series` and only in `panel`, if given."""

    value: float
    label: str
    series: Any = None
    panel: Any = None


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


def csv_text(data: pl.DataFrame) -> str:
    """The frame as CSV (RFC 4180 quoting, shortest digits that read back to the same number).

    Null is an empty field, the empty string is "", not-a-number and infinities are NaN, inf, -inf. Text that
    a spreadsheet would run as a formula (it starts with = + - @, a tab or a carriage return) gets a leading
    apostrophe. Raises DataError for nested columns.
    """
    import polars as pl

    for name, kind in data.schema.items():
        if kind.is_nested() or kind in (pl.Object, pl.Binary):
            raise DataError(f"column {name!r} is of type {kind}, which CSV cannot hold; give a column of plain values")
    texts = [name for name, kind in data.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    disarmed = data.with_columns(
        pl.when(pl.col(name).cast(pl.String).str.contains(r"^[=+\-@\t\r]"))
        .then(pl.lit("'") + pl.col(name).cast(pl.String))
        .otherwise(pl.col(name).cast(pl.String))
        .alias(name)
        for name in texts
    )
    names = {name: "'" + name for name in data.columns if name[:1] in tuple("=+-@\t\r")}
    return disarmed.rename(names).write_csv()


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


@dataclass(frozen=True)
class FigureSpec:
    """A figure without its numbers. `draw(data, *axes, **options)` makes the chart; words in braces in name, title and
    caption are filled in by the page.

    >>> import polars as pl
    >>> from netassay.reporting import lines
    >>> spec = FigureSpec("loss-{n}", "Loss", "Of {n} runs.", lines, (Axis("step"), Axis("loss")))
    >>> spec.of(pl.DataFrame({"step": [0, 1], "loss": [2.0, 1.0]}), words={"n": 3}).caption
    'Of 3 runs.'
    """

    name: str
    title: str
    caption: str
    draw: Callable[..., alt.TopLevelMixin]
    axes: tuple[Axis, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def of(
        self,
        data: pl.DataFrame,
        *more: Any,
        csv: pl.DataFrame | None = None,
        words: Mapping[str, object] | None = None,
        **options: Any,
    ) -> Figure:
        """The figure of these numbers. `more` follows the axes, `options` extend its own, and `csv` is the data offered
        as CSV if they differ from those drawn."""
        chart = self.draw(data, *self.axes, *more, **{**self.options, **options})
        name, title, caption = (text.format(**words or {}) for text in (self.name, self.title, self.caption))
        return Figure(name, title, caption, chart, data if csv is None else csv)


@dataclass(frozen=True)
class TableSpec:
    """A table without its numbers; formats, units and `first` (the columns shown at once) may name columns
    that the data lack.

    >>> import polars as pl
    >>> TableSpec("runs", "Runs", "All {n}.", {"loss": ".3f"}).of(pl.DataFrame({"run": ["a"]}), words={"n": 1}).formats
    {}
    """

    name: str
    title: str
    caption: str
    formats: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    first: tuple[str, ...] = ()

    def of(
        self,
        data: pl.DataFrame,
        *,
        formats: Mapping[str, str] | None = None,
        words: Mapping[str, object] | None = None,
    ) -> Table:
        """The table of these numbers; `formats` extend its own."""
        name, title, caption = (text.format(**words or {}) for text in (self.name, self.title, self.caption))
        formats, units = (
            {key: form for key, form in mapping.items() if key in data.columns}
            for mapping in ({**self.formats, **(formats or {})}, self.units)
        )
        first = tuple(key for key in self.first if key in data.columns)
        return Table(name, title, caption, data, formats, units, first)
