"""Pictures of the measurements of the edge study: content and caption as data, and their drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import polars as pl

from netassay.reporting import Axis, Figure, Rule
from netassay.runs import Run
from netassay.studies.edge.optimisers import OPTIMISERS

if TYPE_CHECKING:
    import altair as alt

PANELS: dict[str, Any] = {"columns": 2, "width": 290, "height": 190}


class Picture(NamedTuple):
    """Metrics of the whole network against the step, with their labels, title and caption.

    Drawn for runs that have one of `needs`, or of the metrics if that is empty. `edge` says whose threshold is drawn as
    a rule.
    """

    name: str
    title: str
    caption: str
    metrics: Mapping[str, str]
    axis: str
    log: bool = False
    needs: tuple[str, ...] = ()
    edge: Literal["", "hessian", "preconditioned"] = ""

    def figure(self, numbers: pl.DataFrame, runs: Mapping[Run, str], axis: Axis) -> Figure | None:
        """The picture of runs by their names, from their numbers; None if there are none."""
        rows = numbers.filter((pl.col("part") == "") & pl.col("name").is_in([*self.metrics]))
        have = rows.filter(pl.col("name").is_in(self.needs or [*self.metrics]))[axis.column].unique()
        drawable = rows.filter(pl.col(axis.column).is_in(have.implode()))
        if not drawable.height:
            return None
        order = {name: i for i, name in enumerate(self.metrics)}
        data = (
            drawable.select(
                axis.column,
                "step",
                pl.col("name").replace_strict(self.metrics).alias("quantity"),
                "value",
                pl.col("name").replace_strict(order).alias("rank"),
            )
            .sort("rank", "step", maintain_order=True)
            .drop("rank")
        )
        rules = self._rules({run: name for run, name in runs.items() if name in set(have)})
        return Figure(self.name, self.title, self.caption, self._chart(data, axis, rules), data)

    def _rules(self, runs: Mapping[Run, str]) -> list[Rule]:
        if not self.edge:
            return []
        of = threshold_of if self.edge == "preconditioned" else limit
        limits = {name: edge for run, name in runs.items() if (edge := of(run)) is not None}
        several = len(runs) > 1
        return [
            Rule(
                edge,
                f"edge {edge:,.0f}" if edge >= 1000 else f"edge {edge:.3g}",
                panel=name if several else None,
            )
            for name, edge in limits.items()
        ]

    def _chart(self, data: pl.DataFrame, axis: Axis, rules: Sequence[Rule]) -> alt.TopLevelMixin:
        from netassay.reporting import (
            lines,
            small_multiples,
        )  # altair is slow to load, and training only reads the entries

        step, value = Axis("step", title="step"), Axis("value", title=self.axis, log=self.log)
        series = Axis("quantity", title="curve") if data["quantity"].n_unique() > 1 else None
        if data[axis.column].n_unique() == 1:
            return lines(data, step, value, series, rules=rules)
        if axis.title:  # a bare number over a panel does not say what it means
            data = data.with_columns(pl.concat_str(pl.lit(f"{axis.title} "), pl.col(axis.column)))
            rules = [Rule(rule.value, rule.label, panel=rule.panel and f"{axis.title} {rule.panel}") for rule in rules]
        return small_multiples(data, step, value, axis, series, rules=rules, **PANELS)


class Derived(NamedTuple):
    """Numbers derived from metrics, one line per run: `rows` makes the table to draw, with columns x and y."""

    name: str
    title: str
    caption: str
    rows: Callable[[pl.DataFrame, str], pl.DataFrame | None]
    x: Axis
    y: Axis
    panel: Axis | None = None

    def figure(self, numbers: pl.DataFrame, runs: Mapping[Run, str], axis: Axis) -> Figure | None:
        """The picture of all runs, whose names are in the column of `axis`; None if there are no such numbers."""
        from netassay.reporting import lines, small_multiples

        data = self.rows(numbers, axis.column)
        if data is None:
            return None
        if self.panel is None:
            return Figure(self.name, self.title, self.caption, lines(data, self.x, self.y, axis), data)
        chart = small_multiples(data, self.x, self.y, self.panel, axis, **PANELS)
        return Figure(self.name, self.title, self.caption, chart, data)


def limit(run: Run) -> float | None:
    """Threshold of the Hessian's eigenvalues in a run; None if it is the preconditioned Hessian's, or not constant."""
    method = OPTIMISERS[run.config.get("optimiser", "gd")]
    return None if method.preconditioned or not method.edge else threshold_of(run)


def threshold_of(run: Run) -> float:
    """Threshold of the run's optimiser, for whichever matrix."""
    method = OPTIMISERS[run.config.get("optimiser", "gd")]
    return method.threshold(run.config["step_size"], method.settings(run.config), 1.0)
