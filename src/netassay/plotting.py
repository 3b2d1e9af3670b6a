"""Charts of single results, as their `.plot()` gives them."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import polars as pl

from netassay.errors import DataError
from netassay.reporting.chart import lines
from netassay.reporting.points import forest
from netassay.reporting.section import Axis

_PLACES = 400
_WIDTHS = 100  # widths of the Gaussians within the range of the eigenvalues


def plot(result: Any) -> alt.TopLevelMixin:
    """The chart of a result. DataError for one that holds nothing to draw."""
    return _CHARTS[type(result).__name__](result)


def _eigenvalues(sharpness: Any) -> alt.TopLevelMixin:
    """The largest eigenvalues of the whole and of each block, with their errors."""
    parts = {"all parameters": sharpness, **sharpness.blocks}
    rows = [
        (f"{part}, {number}" if len(pairs.values) > 1 else part, value, value - error, value + error)
        for part, pairs in parts.items()
        for number, (value, error) in enumerate(zip(pairs.values.tolist(), pairs.errors.tolist(), strict=True), 1)
    ]
    data = pl.DataFrame(rows, schema=["eigenvalue", "value", "low", "high"], orient="row")
    return forest(data, Axis("value", title="eigenvalue, with its estimated error"), "eigenvalue", width=460)


def _density(density: Any) -> alt.TopLevelMixin:
    """Eigenvalues per unit, as a sum of Gaussians; of the whole and of each block."""
    import torch

    parts = {"all parameters": density, **density.blocks}
    low, high = (float(function(density.nodes)) for function in (torch.min, torch.max))
    width = (high - low) / _WIDTHS or max(abs(high), 1.0) / _WIDTHS
    places = torch.linspace(low - 3 * width, high + 3 * width, _PLACES, dtype=torch.float64)
    frames = [
        pl.DataFrame({"eigenvalue": places.numpy(), "density": part.smoothed(places, width)[0].numpy()}).select(
            "eigenvalue", "density", pl.lit(name).alias("of")
        )
        for name, part in parts.items()
    ]
    # below this a Gaussian's tail says nothing of where eigenvalues are
    shown = pl.concat(frames).filter(pl.col("density") > 1e-6 / width)
    return lines(shown, "eigenvalue", Axis("density", title="share per unit of eigenvalue", log=True), "of")


def _bound(entropy: Any) -> alt.TopLevelMixin:
    """The least loss by length of context, in bits per token."""
    rows = [row for row in entropy.by_length or () if row["predictions"]]
    if not rows:
        raise DataError("this entropy has no lengths to draw; count with by_length=True")
    data = pl.DataFrame(
        {
            "length": [row["length"] for row in rows],
            "bits": [row["nats"] / row["predictions"] / math.log(2) for row in rows],
        }
    )
    return lines(
        data, Axis("length", title="tokens of context"), Axis("bits", title="least loss", unit="bits per token")
    )


_CHARTS = {"Sharpness": _eigenvalues, "Density": _density, "Entropy": _bound}
