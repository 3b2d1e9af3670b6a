"""Charts of this study alone: scores beside their nulls, r against variance, profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from netassay.reporting.theme import DATA, NETWORK, SEQUENTIAL, SOFT, colours

_BINS = 40


def r_histogram(samples: dict[str, pl.Series]) -> pl.DataFrame:
    """Share of peaks in each of 40 equal bins of r from -1 to 1, one sample after another; `r` is a bin's centre."""
    edges = np.linspace(-1, 1, _BINS + 1)
    frames = []
    for name, values in samples.items():
        defined = values.drop_nulls().to_numpy()
        counts, _ = np.histogram(defined, edges)
        share = counts / max(1, len(defined))
        frames.append(pl.DataFrame({"sample": [name] * _BINS, "r": (edges[1:] + edges[:-1]) / 2, "share": share}))
    return pl.concat(frames)


def variance_histogram(peaks: pl.DataFrame) -> pl.DataFrame:
    """Peaks in each cell of r (40 bins from -1 to 1) and variance (40 bins over its range); empty cells left out."""
    defined = peaks.drop_nulls("r")
    low, high = float(defined["variance"].min() or 0), float(defined["variance"].max() or 0)  # type: ignore[arg-type]
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    r_edges = np.linspace(-1, 1, _BINS + 1)
    counts, _, _ = np.histogram2d(defined["variance"].to_numpy(), defined["r"].to_numpy(), [edges, r_edges])
    x, y = np.nonzero(counts)
    return pl.DataFrame(
        {
            "variance_low": edges[x],
            "variance_high": edges[x + 1],
            "r_low": r_edges[y],
            "r_high": r_edges[y + 1],
            "peaks": counts[x, y].astype(int),
        }
    )


def variance_map(counts: pl.DataFrame) -> alt.Chart:
    """Rectangles coloured by the number of peaks, on a logarithmic scale."""
    shades: Any = {"type": "log", "scheme": SEQUENTIAL}
    return (
        alt.Chart(counts)
        .mark_rect(stroke=None)
        .encode(
            alt.X(
                "variance_low:Q",
                title="variance of the observed heights over cell types",
                scale=alt.Scale(nice=False, zero=False),
            ),
            alt.X2("variance_high:Q"),
            alt.Y("r_low:Q", title="r across cell types", scale=alt.Scale(domain=[-1, 1])),
            alt.Y2("r_high:Q"),
            alt.Color(
                "peaks:Q",
                title="peaks",
                scale=alt.Scale(**shades),
                legend=alt.Legend(format="~s", tickCount=4),
            ),
            tooltip=["peaks:Q"],
        )
        .properties(width=520, height=320)
    )


def dots(data: pl.DataFrame, *, value: str, title: str, row: str, colour: str | None = None) -> alt.Chart:
    """One dot per row on a common scale, rows in their order, coloured by `colour`."""
    names = data[row].unique(maintain_order=True).to_list()
    rows = data.select(pl.col(row).alias("row"), pl.col(value).alias("value"), pl.col(colour or row).alias("kind"))
    kinds = rows["kind"].unique(maintain_order=True).to_list()
    paint: Any = alt.value(NETWORK)
    if colour is not None:
        scale = alt.Scale(domain=kinds, range=colours(kinds, colour))
        paint = alt.Color("kind:N", title=colour, scale=scale, legend=alt.Legend(columns=6) if len(kinds) > 1 else None)
    return (
        alt.Chart(rows)
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            alt.X("value:Q", title=title, scale=alt.Scale(zero=False, padding=12)),
            alt.Y("row:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(grid=True, labelLimit=260)),
            color=paint,
            tooltip=[alt.Tooltip("row:N", title=row), alt.Tooltip("value:Q", title=title, format=".4f")],
        )
        .properties(width=460, height=max(60, 22 * len(names)))
    )


def profiles(data: pl.DataFrame, classes: Sequence[str]) -> alt.FacetChart:
    """Observed (grey bars) and predicted (dots) heights over cell types, one panel per peak, best class first."""
    order = {name: i for i, name in enumerate(classes)}
    rows = data.with_columns(
        rank=pl.col("class").replace_strict(order, return_dtype=pl.Int64) * 100_000 + pl.col("peak").rle_id(),
        panel=pl.col("peak") + pl.format("   r = {}", pl.col("r").round(2)),
        type=pl.col("cell type"),
    ).select("panel", "rank", "type", "lineage", "observed", "predicted")
    types = data["cell type"].unique(maintain_order=True).to_list()
    few = len(types) <= 12
    base = alt.Chart(rows).encode(
        alt.X(
            "type:N",
            title=None if few else "cell types, in the order of the atlas",
            scale=alt.Scale(domain=types),
            axis=alt.Axis(labelAngle=-40, labels=few, ticks=few, labelOverlap=False),
        )
    )
    keys = alt.Scale(domain=["observed", "predicted"], range=[DATA, NETWORK])
    height = alt.Axis(title="height", tickCount=3)
    bars = (
        base.transform_calculate(what="'observed'")
        .mark_bar(opacity=0.75)
        .encode(
            alt.Y("observed:Q", axis=height),
            alt.Color("what:N", title=None, scale=keys),
            tooltip=["type:N", "lineage:N", "observed:Q", "predicted:Q"],
        )
    )
    points = (
        base.transform_calculate(what="'predicted'")
        .mark_point(filled=True, size=34, opacity=1)
        .encode(alt.Y("predicted:Q"), alt.Color("what:N", title=None, scale=keys))
    )
    facet = alt.Facet(
        "panel:N",
        title=None,
        sort=alt.EncodingSortField("rank", op="min"),
        header=alt.Header(labelFontSize=10, labelColor=SOFT, labelFontWeight="normal"),
    )
    layers = alt.layer(bars, points).properties(width=185, height=80).facet(facet=facet, columns=3)
    return layers.resolve_scale(y="independent").resolve_axis(x="independent")
