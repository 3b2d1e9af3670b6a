"""Charts of what a network makes of sequences: motifs, influence, contributions, effects, predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import torch

from netassay.errors import DataError
from netassay.reporting.heat import heat_map
from netassay.reporting.logo import logos
from netassay.reporting.points import forest
from netassay.reporting.section import Axis

MOST = 30
"""Maximum number of rows or panels; of more, the first or the largest, and the title of the axis says so."""

_NUMBERS = ("value", "low", "high")


def motifs(result: Any) -> alt.TopLevelMixin:
    """Logos of the first motifs that have counts, without their empty flanks."""
    rows = [i for i, sites in enumerate(result.counts.sum((1, 2)).tolist()) if sites > 0][:MOST]
    heights = result.heights.numpy()
    widest = [result.widths[i] for i in rows]
    panels = [(_called(result, i), heights[i, :, :width]) for i, width in zip(rows, widest, strict=True)]
    return logos(panels)


filtermotifs = motifs


def _called(result: Any, number: int) -> str:
    title = result.titles[number]
    return f"{result.names[number]} {title}".strip()


def matches(result: Any) -> alt.TopLevelMixin:
    """The smallest q of each query, and the median of its permutations."""
    nulls = result.null_q.nanmedian(0).values.tolist() if len(result.null_q) else []
    rows = [
        (query, kind, q, None, None)
        for kind, values in (("learned", result.best_q.tolist()), ("null: columns permuted", nulls))
        for query, q in zip(result.queries, values, strict=False)
        if q > 0
    ]
    rows = [row for row in rows if row[0] in set(result.queries[:MOST])]
    if not rows:
        raise DataError("no query could be compared, so there is no q to draw")
    axis = Axis("value", title=_first("smallest q of each query", len(result.queries)), log=True)
    return forest(_frame(rows, ("query", "kind")), axis, "query", Axis("kind", title=" "), width=420)


def influence(result: Any) -> alt.TopLevelMixin:
    """The signed influence of each set beside its null; without heights, its mean change of each output."""
    order = result.by_output.sum(1).argsort(descending=True).tolist()[:MOST]
    names = [result.names[i] for i in order]
    if not torch.isfinite(result.overall_signed[order]).any():
        changes = result.by_output_signed[order]
        return _map(changes, names, "output", "mean change of the output", len(result.names))
    values = (("observed", result.overall_signed), ("null: heights of other peaks", result.null_signed))
    rows = [
        (name, kind, value, None, None)
        for kind, numbers in values
        for name, value in zip(names, numbers[order].tolist(), strict=True)
    ]
    title = _first("mean change of r without the set; above 0: predictions are worse", len(result.names))
    return forest(_frame(rows, ("set", "kind")), Axis("value", title=title), "set", Axis("kind", title=" "), width=420)


def interactions(result: Any) -> alt.TopLevelMixin:
    """Outputs with both sites less those with one, for the pairs with the largest differences, by group."""
    differences = result.effect - result.matched
    order = differences.abs().nan_to_num(0.0).amax(1).argsort(descending=True).tolist()[:MOST]
    pairs = [" and ".join(result.names[i] for i in result.pairs[number].tolist()) for number in order]
    title = "interaction of the pair, in units of the output"
    return _map(differences[order], pairs, "group", title, len(result.pairs), result.groups)


def attributions(result: Any, first: int = 8) -> alt.TopLevelMixin:
    """Logos of the contributions of the bases of the first sequences."""
    if not len(result.codes):
        raise DataError("there are no sequences to draw")
    known = torch.nn.functional.one_hot(result.codes[:first].clamp(max=3).long(), 4).transpose(1, 2)
    heights = (known * result.actual[:first, None]).double().numpy()
    panels = [(f"sequence {i + 1}", rows) for i, rows in enumerate(heights)]
    return logos(panels, title="contribution", domain=None, columns=1, width=640, height=70)


def runattributions(result: Any, first: int = 8) -> alt.TopLevelMixin:
    """As of its attributions."""
    return attributions(result.attributions, first)


def mutagenesis(result: Any, sequence: int = 0, output: int = 0) -> alt.TopLevelMixin:
    """The effect of each base at each position of one sequence on one output."""
    effects = result.effects[sequence, :, :, output].double().numpy()
    data = pl.DataFrame(
        {
            "position": np.tile(np.arange(1, effects.shape[1] + 1), 4),
            "base": np.repeat(list("ACGT"), effects.shape[1]),
            "effect": effects.ravel(),
        }
    )
    colour = Axis("effect", title=f"change of output {output}")
    return heat_map(data, Axis("position", title="position (from 1)"), "base", colour, scheme="diverging")


def varianteffects(result: Any) -> alt.TopLevelMixin:
    """The effects of the alleles with the largest ones, on every output."""
    effects = result.effects
    order = effects.abs().amax(1).argsort(descending=True).tolist()[:MOST] if len(effects) else []
    columns = ("chromosome", "position", "id", "ref", "alt")
    rows = result.variants.select(columns).rows()
    names = [f"{i + 1}: {rows[i][0]}:{rows[i][1]} {rows[i][3]}>{rows[i][4]}" for i in order]
    return _map(effects[order], names, "output", "alternative less reference", len(effects), result.outputs)


def predictions(result: Any) -> alt.TopLevelMixin:
    """The predictions of the first sequences, for every output."""
    columns = [name for name in result.table.columns if name.startswith("predicted ")]
    table = result.table.head(MOST)
    names = [f"{i}: {name}" for i, name in enumerate(table["name"].to_list(), 1)]
    values = table.select(columns).to_torch()
    outputs = tuple(name.removeprefix("predicted ") for name in columns)
    return _map(values, names, "output", "prediction", result.table.height, outputs)


def ceiling(result: Any) -> alt.TopLevelMixin:
    """The largest r over peaks of each cell type, with its interval."""
    table = result.cell_types.filter(pl.col("ceiling").is_finite())
    if not table.height:
        raise DataError(f"there is no ceiling to draw: {result.note}")
    data = table.rename({"ceiling": "value"}).select("cell_type", *_NUMBERS)
    axis = Axis("value", title="largest r over peaks, with its 95 % interval")
    return forest(data, axis, Axis("cell_type", title="cell type"), width=420)


def _map(
    values: torch.Tensor, rows: list[str], over: str, title: str, count: int, names: tuple[str, ...] = ()
) -> alt.TopLevelMixin:
    if not rows:
        raise DataError("there is nothing to draw: no row is left")
    columns = list(names) or [f"{over} {i}" for i in range(values.shape[1])]
    data = pl.DataFrame(
        {
            "row": np.repeat(rows, len(columns)),
            over: np.tile(columns, len(rows)),
            "value": values.double().numpy().ravel(),
        }
    )
    words = Axis("value", title=title)
    return heat_map(data, over, Axis("row", title=_first(" ", count)), words, scheme="diverging")


def _first(title: str, count: int) -> str:
    return title if count <= MOST else f"{title} ({MOST} of {count:,})".strip()


def _frame(rows: Sequence[tuple[Any, ...]], names: tuple[str, ...]) -> pl.DataFrame:
    schema = {**dict.fromkeys(names, pl.String), **dict.fromkeys(_NUMBERS, pl.Float64)}
    return pl.DataFrame(rows, schema=schema, orient="row")
