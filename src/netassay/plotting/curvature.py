"""Charts of eigenvalues, their density, traces and step sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from netassay.errors import DataError
from netassay.reporting.chart import lines
from netassay.reporting.points import forest
from netassay.reporting.section import Axis

_PLACES = 400
_OPEN = (None, None)
_WIDTHS = 100  # widths of the Gaussians within the range of the eigenvalues


def sharpness(result: Any) -> alt.TopLevelMixin:
    """The largest eigenvalues of the whole and of each block, with their errors."""
    parts = {"all parameters": result, **result.blocks}
    return _eigenvalues(parts)


def eigenpairs(result: Any) -> alt.TopLevelMixin:
    """The eigenvalues with their errors."""
    return _eigenvalues({"eigenvalue": result})


def _eigenvalues(parts: Mapping[str, Any]) -> alt.TopLevelMixin:
    rows = [
        (f"{part}, {number}" if len(pairs.values) > 1 else part, value, value - error, value + error)
        for part, pairs in parts.items()
        for number, (value, error) in enumerate(zip(pairs.values.tolist(), pairs.errors.tolist(), strict=True), 1)
    ]
    data = pl.DataFrame(rows, schema=["eigenvalue", "value", "low", "high"], orient="row")
    return forest(data, Axis("value", title="eigenvalue, with its estimated error"), "eigenvalue", width=460)


def density(result: Any) -> alt.TopLevelMixin:
    """Eigenvalues per unit, as a sum of Gaussians; of the whole and of each block."""
    import torch

    parts = {"all parameters": result, **result.blocks}
    low, high = (float(function(result.nodes)) for function in (torch.min, torch.max))
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
    height = Axis("density", title="share per unit of eigenvalue", log=True)
    return lines(shown, "eigenvalue", height, Axis("of", title=" ") if len(parts) > 1 else None)


def trace(result: Any) -> alt.TopLevelMixin:
    """The trace of the whole and of each block, two standard errors either side."""
    parts = {"all parameters": result, **result.blocks}
    rows = [
        (name, part.value, part.value - 2 * part.error, part.value + 2 * part.error) for name, part in parts.items()
    ]
    data = pl.DataFrame(rows, schema=["of", "value", "low", "high"], orient="row")
    return forest(data, Axis("value", title="trace, with two standard errors"), "of", width=460)


def stepsizes(result: Any) -> alt.TopLevelMixin:
    """The largest stable step size of the whole and of each layer, with its error; the axis names the infinite ones."""
    parts = {"all parameters": result.network, **result.layers}
    rows = [
        (name, part.value, *((part.value - part.error, part.value + part.error) if part.error < part.value else _OPEN))
        for name, part in parts.items()
        if math.isfinite(part.value)
    ]
    if not rows:
        raise DataError("no layer has a largest step size: no curvature is positive")
    schema = {"of": pl.String, **dict.fromkeys(("value", "low", "high"), pl.Float64)}
    data = pl.DataFrame(rows, schema=schema, orient="row")
    infinite = [name for name, part in parts.items() if not math.isfinite(part.value)]
    title = "largest stable step size of each alone, with its error"
    if infinite:
        title += f"; infinite for {infinite[0] if len(infinite) == 1 else f'{len(infinite)} of {len(parts)}'}"
    return forest(data, Axis("value", title=title, log=True), "of", width=460)


def forecast(result: Any) -> alt.TopLevelMixin:
    """The largest stable learning rate now and in the coming steps."""
    rates = [(result.step, result.largest), *result.warm_up]
    data = pl.DataFrame(rates, schema={"step": pl.Float64, "rate": pl.Float64}, orient="row")
    return lines(data, "step", Axis("rate", title="largest stable learning rate"))
