"""Charts of single results, as their `.plot()` gives them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

_CHARTS = {
    "curvature": ("Sharpness", "Eigenpairs", "Density", "Trace", "StepSizes", "Forecast"),
    "contexts": ("Entropy", "Contexts", "Memorisation", "Bounds"),
    "sequences": (
        *("Motifs", "FilterMotifs", "Matches", "Influence", "Interactions", "Attributions", "RunAttributions"),
        *("Mutagenesis", "VariantEffects", "Predictions", "Ceiling"),
    ),
}
"""File -> results that it draws, each by the function of its name in small letters."""


def plot(result: Any, **options: Any) -> alt.TopLevelMixin:
    """The chart of a result. DataError for one that holds nothing to draw."""
    kinds = [kind.__name__ for kind in type(result).__mro__]
    file, name = next((file, kind) for kind in kinds for file, names in _CHARTS.items() if kind in names)
    chart: alt.TopLevelMixin = getattr(import_module(f"netassay.plotting.{file}"), name.lower())(result, **options)
    return chart
