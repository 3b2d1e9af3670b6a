"""The section on measurements beside loss and sharpness: each picture is drawn if its numbers exist."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from netassay.reporting import Axis, Note, Section
from netassay.runs import Run
from netassay.studies.edge.instruments import INSTRUMENTS, WINDOW
from netassay.studies.edge.pictures import Derived, Picture


def _share_of_layers(numbers: pl.DataFrame, run: str) -> pl.DataFrame | None:
    """lambda(H) over the sum of the layers' own, from numbers that are recorded anyway."""
    sharpness = numbers.filter(pl.col("name") == "sharpness")
    layers = (
        sharpness.filter(pl.col("part") != "")
        .group_by(run, "step", maintain_order=True)
        .agg(pl.col("value").sum().alias("layers"), pl.len().alias("count"))
    )
    pairs = sharpness.filter(pl.col("part") == "").join(layers.filter(pl.col("count") > 1), on=[run, "step"])
    if not pairs.height:
        return None
    return pairs.select(run, "step", (pl.col("value") / pl.col("layers")).alias("alignment"))


PRECONDITIONED = Picture(
    "edge-preconditioned",
    "Preconditioned sharpness",
    "Largest eigenvalue of P⁻¹H, P the optimiser's preconditioner in the step to come. Dashed: its threshold, "
    "2(1+β₁)/(η(1−β₁)) for Adam, 2/η for RMSprop (Cohen et al. 2022).",
    {"preconditioned_sharpness": "P⁻¹H"},
    "preconditioned sharpness",
    log=True,
    edge="preconditioned",
)
LAYERS_TOGETHER = Derived(
    "edge-layer-alignment",
    "How far the layers' sharp directions act together",
    "Sharpness of the whole network over the sum of the layers' own. For a positive semidefinite matrix it is "
    "between 1 over the number of layers and 1: at 1 the leading directions of all layers add up to one.",
    _share_of_layers,
    Axis("step", title="step"),
    Axis("alignment", title="λ(H) / Σ λ(H_ll)"),
)


def quantities(runs: Mapping[Run, pl.DataFrame], names: Mapping[Run, str], axis: Axis) -> list[Section]:
    """A section of all pictures that have numbers, or none."""
    numbers = pl.concat(
        [_averaged(metrics).with_columns(pl.lit(names[run]).alias(axis.column)) for run, metrics in runs.items()]
    )
    pictures = [picture for instrument in INSTRUMENTS for picture in instrument.pictures]
    candidates = (picture.figure(numbers, names, axis) for picture in (PRECONDITIONED, *pictures, LAYERS_TOGETHER))
    figures = [figure for figure in candidates if figure is not None]
    notes = _flows_cut_short(numbers, axis)
    if not figures and not notes:
        return []
    return [Section("Further quantities", "Measured as configured.", (*notes, *figures))]


def _flows_cut_short(numbers: pl.DataFrame, axis: Axis) -> tuple[Note, ...]:
    """Runs in which gradient flow could not be followed to the time of the descent, with the first such step."""
    short = numbers.filter((pl.col("name") == "flow_reached") & (pl.col("value") == 0))
    first = short.group_by(axis.column, maintain_order=True).agg(pl.col("step").min())
    if not first.height:
        return ()
    words = ", ".join(f"{name} (step {step})" for name, step in first.select(axis.column, "step").iter_rows())
    return (
        Note(
            f"Gradient flow could not be followed to the time of the descent, from this step on: {words}. The figures "
            "show it as far as it was followed."
        ),
    )


def _averaged(metrics: pl.DataFrame) -> pl.DataFrame:
    """The metrics with `loss_average`, the moving average of the loss where the window is complete."""
    plain = metrics.select("step", "name", "part", "value")
    if not (metrics["name"] == "central_loss").any():
        return plain
    loss = plain.filter(pl.col("name") == "loss").sort("step")
    mean = loss.with_columns(
        pl.col("value").rolling_mean(2 * WINDOW + 1, center=True), pl.lit("loss_average").alias("name")
    ).drop_nulls()
    return pl.concat([plain, mean.select(plain.columns)])
