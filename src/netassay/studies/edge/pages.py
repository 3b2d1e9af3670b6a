"""The edge study's part of a report: figures and tables drawn from run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import polars as pl

from netassay.reporting import Axis, FigureSpec, Note, Rule, Section, TableSpec, lines, small_multiples
from netassay.runs import Run
from netassay.studies.edge.config import KEYS, OPTIMISERS
from netassay.studies.edge.findings import phase_table
from netassay.studies.edge.instruments import INSTRUMENTS, WINDOW, Derived, Picture, limit
from netassay.study import Names, run_names, setting_text


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


_MOST_SERIES = 42
_GRID_FROM = 7  # number of runs from which one pair of axes is too crowded

# keys that are left out of a name if the others distinguish the runs as well: those of an optimiser, then those of a
# network and its data, then the step size
FOLLOWING = (
    "batch_probes",
    *KEYS,
    "path",
    "data",
    "degree",
    "test_examples",
    "examples",
    "activation",
    "width",
    "steps",
    "curvature_every",
    "tolerance",
    "step_size",
)


def _chart(data: pl.DataFrame, y: Axis, names: Names, rules: Sequence[Rule] = (), **fields: Any) -> alt.TopLevelMixin:
    """All runs on one pair of axes, or, for many that differ in two keys, one panel per value of the first.

    `fields` are those of the axis that depend on the numbers.
    """
    step, y = Axis("step", title="step"), replace(y, **fields)
    if not _in_panels(names):
        return lines(data, step, y, names.axis, rules=rules)
    places = {names.of[run]: cell for run, cell in names.grid.items()}
    panel, series = (
        pl.col(names.axis.column).replace_strict({name: cell[i] for name, cell in places.items()}) for i in (0, 1)
    )
    return small_multiples(
        data.with_columns(panel.alias("panel"), series.alias("series")),
        step,
        y,
        Axis("panel"),
        Axis("series", title=names.series),
        rules=rules,
        columns=3,
        width=200,
        height=150,
    )


def _in_panels(names: Names) -> bool:
    return bool(names.grid) and len(names.of) >= _GRID_FROM


_PANELS: dict[str, Any] = {"columns": 3, "width": 168, "height": 140}
_STEP, _LAYER = Axis("step", title="step"), Axis("part")

LOSS = FigureSpec(
    "edge-loss",
    "Training loss",
    "Training loss of every run at every step. Past the crossing it no longer falls at every step.",
    _chart,
    (Axis("loss", title="training loss", log=True),),
)
SHARPNESS = FigureSpec(
    "edge-sharpness",
    "Sharpness",
    "Largest eigenvalue λ of the Hessian of the training loss. Dashed: the optimiser's threshold, above which a "
    "quadratic with this curvature diverges; for gradient descent of step size η it is 2/η.",
    _chart,
    (Axis("sharpness", title="sharpness λ"),),
)
RATIO = FigureSpec(
    "edge-ratio",
    "Distance from the edge",
    "Sharpness over the optimiser's threshold{of_descent}; 1 is the edge of stability.",
    _chart,
    (Axis("edge_ratio"),),
)
LAYER_SHARPNESS = FigureSpec(
    "edge-layer-sharpness",
    "Sharpness of each layer",
    "Largest eigenvalue λ of each layer's own block of the Hessian (weights and biases of the layer together), on one "
    "scale. No block's can exceed the sharpness of the whole network.",
    small_multiples,
    (_STEP, Axis("sharpness", title="layer sharpness λ"), _LAYER),
    _PANELS,
)
LAYER_RATIO = FigureSpec(
    "edge-layer-ratio",
    "Distance of each layer from the edge",
    "ηλ/2 with the layer's own sharpness; a layer trained alone would turn unstable at 1.",
    small_multiples,
    (_STEP, Axis("edge_ratio", title="layer ηλ/2"), _LAYER),
    _PANELS,
)
LEADING_WEIGHT = FigureSpec(
    "edge-leading-weight",
    "Share of each layer in the leading direction",
    "Squared length of each layer's part of the whole Hessian's leading eigenvector; the shares sum to one.",
    small_multiples,
    (_STEP, Axis("leading_weight", title="share of ‖v‖²", domain=(0, 1)), _LAYER),
    _PANELS,
)
PHASES = TableSpec(
    "edge-phases",
    "Phases",
    "Found in the recorded numbers by the rules in docs/edge.md; steps inclusive, ηλ/2 within each phase.",
    dict.fromkeys(("ηλ/2 first", "ηλ/2 last", "median", "lower quartile", "upper quartile"), ".3f"),
)
RUNS = TableSpec(
    "edge-runs",
    "Runs",
    "Last numbers of each run. Stated error: median over all measurements, network and layers, of the error "
    "estimate of each sharpness, relative to it. Products: Hessian products per measurement, network and layers.",
    {"loss": ".4g", "training accuracy": ".3f", "test accuracy": ".3f", "stated error": ".1e", "products": ".2f"},
)


def sections(runs: Sequence[Run]) -> list[Section]:
    """Overview, edge, layers and phases of the given runs, in any state; runs without numbers are named as such."""
    metrics_of = {run: metrics for run in runs if (metrics := run.metrics()).height}
    silent = [run.id for run in runs if run not in metrics_of]
    notes = (Note(f"No numbers yet: {', '.join(silent)}.", "info"),) if silent else ()
    if not metrics_of:
        return [Section("Edge of stability", items=notes or (Note("There are no runs of the edge study."),))]
    labels = run_names(list(metrics_of), FOLLOWING)
    axis, names = labels.axis, labels.of
    metrics_of = {run: metrics_of[run] for run in names}  # legends and tables in the order of the values
    numbers = pl.concat(
        metrics.with_columns(pl.lit(names[run]).alias(axis.column)) for run, metrics in metrics_of.items()
    )
    return [
        _edge(metrics_of, labels, numbers, (*notes, *_left_out(metrics_of, names))),
        _layers(metrics_of, names, numbers, axis),
        *quantities(metrics_of, names, axis),
        _phases(metrics_of, names, axis),
        _runs(metrics_of, labels),
    ]


def _edge(runs: dict[Run, pl.DataFrame], names: Names, numbers: pl.DataFrame, notes: tuple[Note, ...]) -> Section:
    network = numbers.filter(pl.col("part") == "")
    loss, sharpness, ratio = (
        network.filter(pl.col("name") == name).select(names.axis.column, "step", pl.col("value").alias(name))
        for name in ("loss", "sharpness", "edge_ratio")
    )
    plain = all(_is_descent(run) for run in runs)
    ratio_title = "ηλ/2" if plain else "λ / threshold"
    words = ", ηλ/2" if plain else " (of adaptive methods: the preconditioned one)"
    figures = [
        LOSS.of(loss, names),
        SHARPNESS.of(sharpness, names, _edges(runs, names), log=_wide(sharpness, runs)),
        RATIO.of(ratio, names, [Rule(1.0, "edge")], title=ratio_title, log=_far(ratio), words={"of_descent": words}),
    ]
    text = (
        "Full-batch gradient descent raises the sharpness (progressive sharpening) until it reaches 2/η, and then "
        "hovers there while the loss goes on falling, no longer at every step (Cohen et al. 2021)."
    )
    return Section("Edge of stability", text, (*notes, *_too_many(names.of), *figures))


def _far(ratio: pl.DataFrame) -> bool:
    """Whether ratios exceed the edge so far that those near it would look flat on a linear axis."""
    finite = ratio["edge_ratio"].drop_nulls().drop_nans()
    return bool(len(finite)) and float(finite.max()) > 5 and float(finite.min()) > 0  # type: ignore[arg-type]


def _wide(sharpness: pl.DataFrame, runs: Mapping[Run, pl.DataFrame]) -> bool:
    """Whether sharpness and thresholds span so much that the lower ones would lie on the axis."""
    values = [*sharpness["sharpness"].drop_nulls().drop_nans(), *filter(None, map(limit, runs))]
    return bool(values) and min(values) > 0 and max(values) > 50 * min(values)


def _layers(runs: dict[Run, pl.DataFrame], names: dict[Run, str], numbers: pl.DataFrame, axis: Axis) -> Section:
    title = "Layer by layer"
    parts = _in_order(numbers.filter(pl.col("part") != ""), axis)
    sharpness, ratio, weight = (
        parts.filter(pl.col("name") == name).select(axis.column, "step", "part", pl.col("value").alias(name))
        for name in ("sharpness", "edge_ratio", "leading_weight")
    )
    if not sharpness.height:
        return Section(title, items=(Note("The layers' own sharpness was not measured (layers = false)."),))
    figures = (
        LAYER_SHARPNESS.of(sharpness, axis),
        LAYER_RATIO.of(ratio, axis, rules=[Rule(1.0, "edge")]),
        LEADING_WEIGHT.of(weight, axis),
    )
    text = "The layers and the curvature: each layer alone, and its part of the leading direction."
    return Section(title, text, figures)


def _in_order(parts: pl.DataFrame, axis: Axis) -> pl.DataFrame:
    """Rows by layer, in the order of the run with the most layers; layers that it lacks come last."""
    layers = parts.filter(pl.col("name") == "sharpness").unique([axis.column, "part"], maintain_order=True)
    by_run = layers.group_by(axis.column, maintain_order=True).agg("part")["part"].to_list()
    order = list(dict.fromkeys(part for own in sorted(by_run, key=len, reverse=True) for part in own))
    rank = pl.col("part").replace_strict(order, range(len(order)), default=len(order), return_dtype=pl.Int64)
    return parts.sort(rank, maintain_order=True)


def _phases(runs: dict[Run, pl.DataFrame], names: dict[Run, str], axis: Axis) -> Section:
    phases = pl.concat(phase_table(run).select(pl.lit(names[run]).alias(axis.label), pl.all()) for run in runs)
    rows = phases.with_columns(pl.col("part").replace("", "whole")).rename({
        "first_step": "first step", "last_step": "last step", "ratio_start": "ηλ/2 first", "ratio_end": "ηλ/2 last",
        "ratio_median": "median", "ratio_low": "lower quartile", "ratio_high": "upper quartile",
    })  # fmt: skip
    return Section(
        "Phases",
        "",
        (PHASES.of(rows),) if rows.height else (Note("No phase was found in these runs yet."),),
    )


def _runs(runs: dict[Run, pl.DataFrame], names: Names) -> Section:
    rows = []
    for run, metrics in runs.items():
        sharpness = metrics.filter(pl.col("name").is_in(["sharpness", "sharpness_error", "products"])).pivot(
            "name", index=["step", "part"], values="value"
        )
        last = run.last_values()
        rows.append(
            {
                names.axis.label: names.of[run],
                **{key: setting_text(run.config.get(key)) for key in names.following},
                "run": run.id,
                "state": str(run.state),
                "steps": metrics["step"].max(),
                "loss": last.get(("loss", "")),
                "training accuracy": last.get(("accuracy", "train")),
                "test accuracy": last.get(("accuracy", "test")),
                "message": run.message,
                **_quality(sharpness),
            }
        )
    if not any(row["message"] for row in rows):
        rows = [{key: cell for key, cell in row.items() if key != "message"} for row in rows]
    return Section("Runs of the edge study", "", (RUNS.of(pl.DataFrame(rows, infer_schema_length=None)),))


def _quality(values: pl.DataFrame) -> dict[str, float | None]:
    if not values.height or "sharpness_error" not in values.columns:
        return {"stated error": None, "products": None}
    relative = (values["sharpness_error"] / values["sharpness"].abs()).median()
    return {"stated error": relative, "products": values["products"].sum() / values["step"].n_unique()}  # type: ignore[dict-item]


def _edges(runs: Mapping[Run, pl.DataFrame], names: Names) -> list[Rule]:
    """A rule at each run's own threshold, in the run's colour if it belongs to a single run."""
    panels, places = _in_panels(names), dict[tuple[float, str, str | None], list[str]]()
    for run in runs:
        if (edge := limit(run)) is not None:
            word = "2/η" if _is_descent(run) else "edge"
            panel, series = names.grid[run] if panels else (None, names.of[run])
            places.setdefault((edge, word, panel), []).append(series)
    return [
        Rule(
            edge,
            f"{word} = {edge:.3g}",
            series=of[0] if len(of) == 1 and len(names.of) > 1 else None,
            panel=panel,
        )
        for (edge, word, panel), of in sorted(places.items(), key=lambda item: -item[0][0])
    ]


def _is_descent(run: Run) -> bool:
    return OPTIMISERS[run.config.get("optimiser", "gd")].is_descent


def _left_out(runs: Mapping[Run, pl.DataFrame], names: Mapping[Run, str]) -> tuple[Note, ...]:
    """Data that runs could not use, each reason once."""
    reasons: dict[str, list[str]] = {}
    for run, metrics in runs.items():
        counts = metrics.filter(pl.col("name") == "left_out").select("part", "value").iter_rows()
        words = ", ".join(f"{int(count):,} {reason}" for reason, count in counts)
        if words:
            reasons.setdefault(words, []).append(names[run])
    return tuple(Note(f"Left out of the data ({'; '.join(of)}): {words}.", "info") for words, of in reasons.items())


def _too_many(names: Mapping[Run, str]) -> tuple[Note, ...]:
    if len(names) <= _MOST_SERIES:
        return ()
    return (
        Note(f"{len(names)} runs are drawn; beyond {_MOST_SERIES} some lines look alike. Select fewer for a figure."),
    )
