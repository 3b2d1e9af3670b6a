"""Figures of what a config asked for beside loss and sharpness: each is drawn where its numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt
import polars as pl

from netassay.reporting import Axis, Figure, Note, Rule, Section, lines, small_multiples
from netassay.runs import Run
from netassay.studies.edge.optimisers import OPTIMISERS

_WINDOW = 25  # steps before and after, over which the loss of a descent is averaged beside the central flow
_LEAST_WEIGHT = 1e-9  # what a random vector sees of a single eigenvalue among ten million is above it
_PANELS: dict[str, Any] = {"columns": 2, "width": 290, "height": 190}


class Picture(NamedTuple):
    """One figure: which metrics of the whole network it shows, under which names, and what to say of it."""

    name: str
    title: str
    caption: str
    metrics: Mapping[str, str]
    axis: str
    log: bool = False
    needs: str = ""


PICTURES = (
    Picture(
        "edge-preconditioned", "Preconditioned sharpness",
        "Largest eigenvalue of P⁻¹H, P the optimiser's preconditioner in the step to come. Dashed: its threshold, "
        "2(1+β₁)/(η(1−β₁)) for Adam, 2/η for RMSprop (Cohen et al. 2022).",
        {"preconditioned_sharpness": "P⁻¹H"}, "preconditioned sharpness", log=True,
    ),
    Picture(
        "edge-flow-loss", "Descent and gradient flow: loss",
        "Training loss of the optimiser and of gradient flow at the same time, η times the step (with momentum β, "
        "η/(1−β) times).",
        {"loss": "descent", "flow_loss": "gradient flow"}, "training loss", log=True, needs="flow_loss",
    ),
    Picture(
        "edge-flow-sharpness", "Descent and gradient flow: sharpness",
        "Sharpness along the two. The flow knows of no edge: it goes on sharpening where the descent must stop.",
        {"sharpness": "descent", "flow_sharpness": "gradient flow"}, "sharpness λ", needs="flow_sharpness",
    ),
    Picture(
        "edge-flow-distance", "Distances of the weights",
        "Euclidean distance of the descent's weights from their start, from gradient flow and from the central flow.",
        {"distance": "from the start", "flow_distance": "from gradient flow",
         "central_distance": "from the central flow"}, "distance", needs="distance_beside",
    ),
    Picture(
        "edge-central-loss", "Descent and central flow: loss",
        f"Training loss of the descent averaged over {2 * _WINDOW + 1} steps, and the time average that the central "
        "flow predicts, L + ⟨H, Σ⟩/2; below both the loss at the central flow itself (Cohen et al. 2025).",
        {"loss_average": "descent, averaged", "central_loss": "central flow, predicted",
         "central_point_loss": "at the central flow"}, "training loss", log=True, needs="central_loss",
    ),
    Picture(
        "edge-central-sharpness", "Descent and central flow: sharpness",
        "Sharpness of the descent, which oscillates, and of the central flow, which is held at 2/η.",
        {"sharpness": "descent", "central_sharpness": "central flow"}, "sharpness λ", needs="central_sharpness",
    ),
    Picture(
        "edge-gauss-newton", "Gauss–Newton part of the curvature",
        "Largest eigenvalues of the Hessian H, of the Gauss–Newton matrix G, and of what is left, H − G.",
        {"sharpness": "H", "ggn_sharpness": "G", "residual_sharpness": "H − G"}, "largest eigenvalue",
        needs="ggn_sharpness",
    ),
    Picture(
        "edge-directional", "Curvature along the gradient",
        "g'Hg/g'g beside the sharpness, which it cannot exceed. Under mini-batches also the batch sharpness, the mean "
        "of the same over batches with their own gradient and Hessian (Andreyev and Beneventano 2024).",
        {"sharpness": "sharpness", "directional_sharpness": "along the gradient",
         "batch_sharpness": "batch sharpness"}, "curvature", needs="directional",
    ),
    Picture(
        "edge-trace", "Trace of the Hessian",
        "Sum of all eigenvalues, estimated by Hutch++; its standard error is kept beside it.",
        {"trace": "trace"}, "trace",
    ),
)  # fmt: skip


def quantities(runs: Mapping[Run, pl.DataFrame], names: Mapping[Run, str], axis: Axis) -> list[Section]:
    """A section of all pictures that have numbers, or none."""
    numbers = pl.concat(
        [
            _averaged(metrics).with_columns(pl.lit(names[run]).alias(axis.column))
            for run, metrics in runs.items()
        ]
    )
    drawn = (_figure(picture, names, numbers, axis) for picture in PICTURES)
    found = [figure for figure in drawn if figure is not None]
    found += _alignment(numbers, axis) + _share_of_layers(numbers, axis) + _densities(numbers, axis)
    notes = _flows_cut_short(numbers, axis)
    if not found and not notes:
        return []
    return [Section("Further quantities", "Measured where the config asked for it.", (*notes, *found))]


def _flows_cut_short(numbers: pl.DataFrame, axis: Axis) -> tuple[Note, ...]:
    """Runs in which gradient flow could not be followed to the time of the descent, and from which step on."""
    short = numbers.filter((pl.col("name") == "flow_reached") & (pl.col("value") == 0))
    first = short.group_by(axis.column, maintain_order=True).agg(pl.col("step").min())
    if not first.height:
        return ()
    words = ", ".join(f"{name} (step {step})" for name, step in first.select(axis.column, "step").iter_rows())
    return (
        Note(
            f"Gradient flow could not be followed to the time of the descent, from this step on: {words}. The figures "
            "show it as far as it went."
        ),
    )


def limit(run: Run) -> float | None:
    """Threshold of the Hessian's eigenvalues in a run; None where it is the preconditioned Hessian's, or moves."""
    method = OPTIMISERS[run.config.get("optimiser", "gd")]
    return None if method.preconditioned or not method.edge else _threshold(run)


def _threshold(run: Run) -> float:
    method = OPTIMISERS[run.config.get("optimiser", "gd")]
    return method.threshold(run.config["step_size"], method.settings(run.config), 1.0)


def _averaged(metrics: pl.DataFrame) -> pl.DataFrame:
    """The metrics with `loss_average`, the loss averaged over steps around, where a whole window is there."""
    plain = metrics.select("step", "name", "part", "value")
    if not (metrics["name"] == "central_loss").any():
        return plain
    loss = plain.filter(pl.col("name") == "loss").sort("step")
    mean = loss.with_columns(
        pl.col("value").rolling_mean(2 * _WINDOW + 1, center=True), pl.lit("loss_average").alias("name")
    ).drop_nulls()
    return pl.concat([plain, mean.select(plain.columns)])


def _figure(picture: Picture, names: Mapping[Run, str], numbers: pl.DataFrame, axis: Axis) -> Figure | None:
    needed = {
        "": [*picture.metrics],
        "distance_beside": ["flow_distance", "central_distance"],
        "directional": ["directional_sharpness", "batch_sharpness"],
    }.get(picture.needs, [picture.needs])
    whole = numbers.filter((pl.col("part") == "") & pl.col("name").is_in([*picture.metrics]))
    have = whole.filter(pl.col("name").is_in(needed))[axis.column].unique()
    shown = whole.filter(pl.col(axis.column).is_in(have.implode()))
    if not shown.height:
        return None
    order = {name: i for i, name in enumerate(picture.metrics)}
    data = shown.select(
        axis.column, "step", pl.col("name").replace_strict(picture.metrics).alias("quantity"), "value",
        pl.col("name").replace_strict(order).alias("rank"),
    ).sort("rank", "step", maintain_order=True).drop("rank")  # fmt: skip
    rules = _rules(picture, {run: name for run, name in names.items() if name in set(have)})
    chart = _chart(data, picture, axis, rules)
    return Figure(picture.name, picture.title, picture.caption, chart, data)


def _rules(picture: Picture, names: Mapping[Run, str]) -> list[Rule]:
    if picture.name == "edge-preconditioned":
        limits = {name: _threshold(run) for run, name in names.items()}
    elif picture.log or picture.axis not in ("sharpness λ", "curvature", "largest eigenvalue"):
        return []
    else:
        limits = {name: edge for run, name in names.items() if (edge := limit(run)) is not None}
    several = len(names) > 1
    return [
        Rule(
            edge, f"edge {edge:,.0f}" if edge >= 1000 else f"edge {edge:.3g}", panel=name if several else None
        )
        for name, edge in limits.items()
    ]


def _chart(data: pl.DataFrame, picture: Picture, axis: Axis, rules: Sequence[Rule]) -> alt.TopLevelMixin:
    step, value = Axis("step", title="step"), Axis("value", title=picture.axis, log=picture.log)
    several = data["quantity"].n_unique() > 1
    if data[axis.column].n_unique() == 1:
        return lines(data, step, value, Axis("quantity", title="curve") if several else None, rules=rules)
    series = Axis("quantity", title="curve") if several else None
    if axis.title:  # a bare number over a panel does not say what it is of
        data = data.with_columns(pl.concat_str(pl.lit(f"{axis.title} "), pl.col(axis.column)))
        rules = [
            Rule(rule.value, rule.label, panel=rule.panel and f"{axis.title} {rule.panel}") for rule in rules
        ]
    return small_multiples(data, step, value, axis, series, rules=rules, **_PANELS)


def _alignment(numbers: pl.DataFrame, axis: Axis) -> list[Figure]:
    shares = numbers.filter(pl.col("name") == "gradient_alignment")
    if not shares.height:
        return []
    data = shares.group_by(axis.column, "step", maintain_order=True).agg(pl.col("value").sum().alias("share"))
    chart = lines(data, Axis("step", title="step"), Axis("share", title="share of ‖g‖²", domain=(0, 1)), axis)
    return [
        Figure(
            "edge-alignment", "Gradient within the leading eigenvectors",
            "Share of the gradient's squared length that lies in the `top` followed eigenvectors of the Hessian.",
            chart, data,
        )
    ]  # fmt: skip


def _share_of_layers(numbers: pl.DataFrame, axis: Axis) -> list[Figure]:
    """lambda(H) over the sum of the layers' own, from numbers that are recorded anyway."""
    sharpness = numbers.filter(pl.col("name") == "sharpness")
    by = [axis.column, "step"]
    layers = sharpness.filter(pl.col("part") != "").group_by(by, maintain_order=True).agg(
        pl.col("value").sum().alias("layers"), pl.len().alias("count")
    )  # fmt: skip
    both = sharpness.filter(pl.col("part") == "").join(layers.filter(pl.col("count") > 1), on=by)
    if not both.height:
        return []
    data = both.select(*by, (pl.col("value") / pl.col("layers")).alias("alignment"))
    chart = lines(data, Axis("step", title="step"), Axis("alignment", title="λ(H) / Σ λ(H_ll)"), axis)
    return [
        Figure(
            "edge-layer-alignment", "How far the layers' sharp directions act together",
            "Sharpness of the whole network over the sum of the layers' own. For a positive semidefinite matrix it is "
            "between 1 over the number of layers and 1: at 1 the leading directions of all layers add up to one.",
            chart, data,
        )
    ]  # fmt: skip


def _densities(numbers: pl.DataFrame, axis: Axis) -> list[Figure]:
    """Share of eigenvalues above each value, whole and per layer, at the last measurement of each run."""
    rules = numbers.filter(pl.col("name").is_in(["spectrum_node", "spectrum_weight"]))
    if not rules.height:
        return []
    last = rules.filter(pl.col("step") == pl.col("step").max().over(axis.column))
    wide = last.pivot("name", index=[axis.column, "step", "part"], values="value")
    wide = wide.filter(pl.col("spectrum_weight") > _LEAST_WEIGHT)
    split = pl.col("part").str.extract_groups(r"^(?<layer>.*):(?<rank>\d+)$")
    tails = wide.with_columns(split.struct.field("layer"), split.struct.field("rank").cast(pl.Int64)).sort(
        axis.column, "layer", "rank"
    )
    above = pl.col("spectrum_weight").reverse().cum_sum().reverse().over(axis.column, "layer")
    data = tails.select(
        axis.column,
        pl.col("layer").replace("", "whole network"),
        pl.col("spectrum_node").alias("eigenvalue"),
        above.alias("share"),
    )
    chart = small_multiples(
        data, Axis("eigenvalue", title="eigenvalue λ"), Axis("share", title="share of eigenvalues ≥ λ", log=True),
        Axis("layer"), axis, **_PANELS,
    )  # fmt: skip
    return [
        Figure(
            "edge-spectrum", "Spectrum",
            "Share of the eigenvalues at or above λ, from a Lanczos quadrature at the last measurement: the bulk at "
            "zero, the negative tail on the left, single outliers on the right.",
            chart, data,
        )
    ]  # fmt: skip
