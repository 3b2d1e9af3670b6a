"""Figures and tables as data: name, title, caption and drawing; a page supplies the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netassay.reporting.axes import Axis
from netassay.reporting.section import Figure, Table

if TYPE_CHECKING:
    import altair as alt
    import polars as pl


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
