"""Tracked trainings on the page: loss, sharpness beside the optimiser's own edge, layers, and the cost of looking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from netassay.reporting import Axis, Figure, Note, Rule, Section, Table, lines, small_multiples
from netassay.runs import Run
from netassay.studies.edge.tracker.findings import summary, verdict
from netassay.study import unique_names


def sections(runs: Sequence[Run]) -> list[Section]:
    """All tracked runs together and each one's layers; runs without numbers are named as such."""
    title = "Tracked trainings"
    metrics_of = {run: metrics for run in runs if (metrics := run.metrics()).height}
    silent = [run.id for run in runs if run not in metrics_of]
    notes = (Note(f"No numbers yet: {', '.join(silent)}."),) if silent else ()
    if not metrics_of:
        return [Section(title, items=notes or (Note("There are no tracked trainings."),))]
    names = unique_names({run: run.config.get("name") or run.id for run in metrics_of})
    numbers = pl.concat(metrics.with_columns(pl.lit(names[run]).alias("run")) for run, metrics in metrics_of.items())
    text = (
        "Sharpness λ (largest Hessian eigenvalue of the loss on the tracked examples) while a loop of the user's own "
        "trains. The edge is the sharpness at which the optimiser, at its present step size, turns unstable on a "
        "quadratic."
    )
    return [
        Section(
            title, text, (*notes, *_verdicts(names), *_network(numbers), *_exact_and_forward(numbers), _runs(names))
        ),
        Section("Tracked layers", "", _layers(numbers)),
    ]


def _network(numbers: pl.DataFrame) -> tuple[Figure | Note, ...]:
    run, step = Axis("run", title="tracked run"), Axis("step", title="training step")
    loss = _metric(numbers, "loss")
    loss = loss if loss.height else _metric(numbers, "tracked_loss").rename({"tracked_loss": "loss"})
    course = Figure(
        "tracker-loss",
        "Loss",
        "The loop's own loss if given, else the loss on the tracked examples.",
        lines(loss, step, Axis("loss", title="loss", log=bool((loss["loss"] > 0).all())), run),
        loss,
    )
    if not _metric(numbers, "sharpness").height:
        return (course, Note("No exact sharpness was measured."))
    pieces = [
        frame.select("step", value, pl.concat_str("run", pl.lit(words)).alias("run"))
        for name, words in (("sharpness", ": λ"), ("threshold", ": edge"))
        if (frame := _metric(numbers, name)).height
        for value in [pl.col(name).alias("sharpness")]
    ]
    ratio = _metric(numbers, "edge_ratio")
    preconditioned = "preconditioned_sharpness" in numbers["name"].to_list()
    # the edge of an adaptive method bounds the preconditioned Hessian, not this λ
    sharpness = pieces[0] if preconditioned or len(pieces) == 1 else pl.concat(pieces)
    figures = [
        course,
        Figure(
            "tracker-sharpness",
            "Sharpness and edge",
            "λ, and the largest λ that is stable at the step size of the moment (not for adaptive methods, whose "
            "edge is one of the preconditioned Hessian).",
            lines(sharpness, step, Axis("sharpness", title="sharpness λ"), run),
            sharpness,
        ),
    ]
    if ratio.height:
        figures.append(
            Figure(
                "tracker-ratio",
                "Distance from the edge",
                "Sharpness (for adaptive methods that of the "
                "preconditioned Hessian) over the edge; above 1 the steepest direction is unstable.",
                lines(ratio, step, Axis("edge_ratio", title="fraction of the edge"), run, rules=[Rule(1.0, "edge")]),
                ratio,
            )
        )
        return tuple(figures)
    return (
        *figures,
        Note("The edge is unknown: the tracker has no optimiser, or one without a known edge."),
    )


def _verdicts(names: Mapping[Run, str]) -> tuple[Note, ...]:
    """One note per run: whether it reached its edge, by exact values, and by those along its updates."""
    return tuple(Note(f"{name}: {words}.") for run, name in names.items() if (words := verdict(run)))


def _exact_and_forward(numbers: pl.DataFrame) -> tuple[Figure, ...]:
    """The distance from the edge and the share of the critical step size, one above the other."""
    kinds = {
        "edge_ratio": "exact: sharpness over its edge",
        "critical_ratio": "forward: rate over critical rate",
    }
    parts = [
        frame.select("run", "step", pl.col(name).alias("ratio"), pl.lit(words).alias("kind"))
        for name, words in kinds.items()
        if (frame := _metric(numbers, name)).height
    ]
    data = pl.concat(parts) if parts else pl.DataFrame()
    if "critical_ratio" not in numbers["name"].to_list() or not data.height:
        return ()
    data = data.filter(pl.col("ratio") > 0)
    chart = small_multiples(
        data,
        Axis("step", title="training step"),
        Axis("ratio", title="ratio (1: edge)", log=True),
        Axis("kind"),
        Axis("run", title="tracked run"),
        columns=2,
        width=300,
        height=200,
        rules=[Rule(1.0, "edge")],
    )
    caption = (
        "Exact: sharpness over the largest that is stable. Forward: the learning rate over the smallest one along the "
        "optimiser's next update that raises the loss on the tracked examples; with full batches it stays far below 1 "
        "until oscillation dominates the update: it shows when a training begins to oscillate, not how close it is."
    )
    return (Figure("tracker-critical", "Exact and forward-only values", caption, chart, data),)


def _layers(numbers: pl.DataFrame) -> tuple[Figure | Note, ...]:
    parts = numbers.filter((pl.col("name") == "sharpness") & (pl.col("part") != ""))
    data = parts.select("run", "step", "part", pl.col("value").alias("sharpness"))
    if not data.height:
        return (Note("Layers were not tracked."),)
    chart = small_multiples(
        data,
        Axis("step", title="training step"),
        Axis("sharpness", title="layer sharpness λ"),
        Axis("part"),
        Axis("run", title="tracked run"),
        columns=3,
        width=168,
        height=140,
    )
    caption = "Largest eigenvalue of each layer's own block of the Hessian, on one scale."
    return (Figure("tracker-layers", "Sharpness of each layer", caption, chart, data),)


def _metric(numbers: pl.DataFrame, name: str) -> pl.DataFrame:
    rows = numbers.filter((pl.col("name") == name) & (pl.col("part") == ""))
    return rows.select("run", "step", pl.col("value").alias(name))


def _runs(names: dict[Run, str]) -> Table:
    rows = [
        {
            "name": name,
            "run": run.id,
            "state": str(run.state),
            "model": run.config.get("model"),
            "optimiser": run.config.get("optimiser"),
            **{k: v for k, v in summary(run).items() if k != "name"},
            "message": run.message,
        }
        for run, name in names.items()
    ]
    table = pl.DataFrame(rows, infer_schema_length=None).rename(
        {
            "edge_ratio": "fraction of the edge",
            "first_step_at_the_edge": "first step at the edge",
            "share": "tracking / training time",
            "critical_ratio": "fraction of the critical rate",
        }
    )
    formats = {
        "loss": ".4g",
        "sharpness": ".4g",
        "fraction of the edge": ".3f",
        "fraction of the critical rate": ".3f",
        "tracking / training time": ".1%",
    }
    return Table("tracker-runs", "Tracked runs", "Last numbers of each.", table, formats=formats)
