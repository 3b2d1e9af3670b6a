"""The aitac study's part of a report: scores beside nulls and baseline, the peaks, the cell types, the atlas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from netassay.dna.network.classes import CLASSES, FEWEST, no_correlation
from netassay.reporting import (
    Axis,
    Figure,
    FigureSpec,
    Note,
    Section,
    TableSpec,
    forest,
    lines,
    small_multiples,
)
from netassay.runs import Run, State
from netassay.runs.facts import fact_words, stored_facts
from netassay.studies.aitac import figures
from netassay.studies.aitac.cross_validation import cross_validation
from netassay.studies.aitac.findings import (
    CENTRED,
    SPREADS,
    ceiling_facts,
    cell_types_of,
    verdict,
)
from netassay.studies.aitac.reduction_pages import reductions
from netassay.study import differing, unique_names

NULL_WORDS = {
    "none": "model",
    "rows": "null: rows",
    "cells": "null: cells",
    "mononucleotide": "null: mononucleotide",
    "dinucleotide": "null: dinucleotide",
}
BASELINE = "baseline: column means"
_NULLS = (
    "Null rows: trained on heights permuted over peaks; cells: on heights permuted within each peak; mononucleotide "
    "and dinucleotide: on sequences shuffled with those counts kept. Baseline: the training mean of each cell type for "
    "every peak."
)
_CELL_TYPE_WORDS = {
    "AUROC": "How well the prediction of a cell type separates its open test peaks from the others",
    "r": "Pearson correlation over the test peaks",
    CENTRED: "Pearson correlation over the test peaks of heights and predictions, each minus its mean over the cell "
    "types of the peak, which this loss leaves free",
}
_CENTRED_WORDS = ", of heights and predictions minus their mean over the cell types of the peak"
_MOST_SERIES = 12
_UNTOLD = ("null", "device", "start_from")
_R, _SHARE = Axis("r", title="r across cell types", domain=(-1, 1)), Axis("share", title="share of peaks")


SCORE = FigureSpec(
    "aitac-score-{slug}",
    "Score: {title}",
    "{first} of the test set, on which nothing was chosen. " + _NULLS,
    figures.dots,
    options={"value": "value", "row": "row", "colour": "kind"},
)
VERDICT = FigureSpec(
    "aitac-verdict",
    "What the score is worth",
    "Mean r over the test peaks across cell types, {name}, with 95 % intervals ({resampled} resampled). Ceiling: the "
    "mean r that a perfect model could be expected to reach, from the two halves of the cells or reads of the atlas.",
    forest,
    (Axis("r", title="mean r over peaks"), Axis("what")),
    {"width": 420},
)
VERDICT_TABLE = TableSpec(
    "aitac-verdict-table",
    "Above baseline and nulls",
    "above: mean over peaks of the model's r minus this one's, with its 95 % interval. r beyond column means: partial "
    "correlation of heights and predictions, given the training mean of each cell type.",
)
LEARNING = FigureSpec(
    "aitac-learning",
    "Learning",
    "Mean training loss of each epoch, and loss on the validation set after it, of {kept} ({losses}). The epoch of the "
    "smallest validation loss is kept.",
    small_multiples,
    (Axis("epoch", title="epoch"), Axis("loss", title="loss"), Axis("set"), Axis("model", title=" ")),
    {"height": 220},
)
RUNS = TableSpec(
    "aitac-runs",
    "Runs",
    "Scores of the test set with the weights of the epoch of smallest validation loss. r: Pearson correlation across "
    "cell types, of each peak. r of cell types: over the peaks, mean over the cell types; rows centred: heights and "
    "predictions minus their mean over the cell types of the peak, which the losses pearson and cross_entropy leave "
    "free. Weighted: by the variance of the observed row. Baseline: the training mean of each cell type.",
    first=("model", "state", "r mean", "baseline r", "r of cell types, rows centred", "AUROC", "AUPRC", "accuracy"),
)
R = FigureSpec(
    "aitac-r",
    "Correlation of each peak",
    "Share of the test peaks in each of 40 bins of r across cell types, for every model and for the baseline.",
    lines,
    (_R, _SHARE, Axis("sample", title=" ")),
    {"height": 280},
)
CLASS_TABLE = TableSpec(
    "aitac-classes",
    "How many peaks are predicted how well",
    "Classes of r of the test peaks ({name}). Height SD and IQR: standard deviation and interquartile range of the "
    "observed heights of a peak over the cell types, the median over the peaks of the class, and the quartiles.",
)
PROFILES = FigureSpec(
    "aitac-profiles",
    "Profiles of random peaks",
    "Observed heights and predictions of up to three test peaks of each class, drawn at random. Predictions are "
    "rescaled to the mean and standard deviation of the observed heights, which do not affect r.",
    figures.profiles,
)
SPREAD = FigureSpec(
    "aitac-classes-spread",
    "Spread of heights by class of r",
    "How much the observed heights of a peak vary over the cell types, by how well it is predicted: median and "
    "quartiles over the test peaks of each class. A class without peaks is empty.",
    forest,
    (Axis("value", title="of the observed heights over cell types"), Axis("class")),
    {"panel": Axis("spread"), "width": 260},
)
VARIANCE = FigureSpec(
    "aitac-r-variance",
    "Correlation against variance",
    "Peaks with similar heights in all cell types have little to predict. Number of test peaks by r and by the "
    "variance of the observed row ({name}).",
    figures.variance_map,
)
CELL_TYPES = FigureSpec(
    "aitac-cell-types",
    "Score of each cell type: {title}",
    "{what} ({name}).",
    figures.dots,
    options={"row": "cell type", "colour": "lineage"},
)
CELL_TYPE_TABLE = TableSpec(
    "aitac-cell-type-scores",
    "Scores",
    "r: over the test peaks{centred}. The column means predict the same for every peak: their r is undefined, their "
    "AUROC is 0.5.",
)
ATLAS = TableSpec("aitac-atlas-{number}", "Atlas {name}", "As run {run} read it.")
DROPPED = TableSpec("aitac-dropped-{number}", "Peaks left out or changed", "By reason.")


def sections(runs: Sequence[Run]) -> list[Section]:
    """Scores, peaks, cell types, cross-validation and atlas of the given runs, in any state."""
    if not runs:
        return [Section("From DNA to accessibility", items=(Note("There are no runs of the aitac study."),))]
    ordered = sorted(runs, key=_order)
    numbers = {run: run.metrics() for run in ordered}
    names = _names(ordered)
    parts = [_scores(ordered, numbers, names), *_verdict(ordered, names)]
    if scored := [run for run in ordered if "peaks" in run.tables()]:
        parts += [_peaks(scored, names), _cell_types(scored, names)]
    return [*parts, *reductions(scored, names), *cross_validation(scored), _atlas(ordered)]


def _order(run: Run) -> tuple[Any, ...]:
    config = run.config
    return (list(NULL_WORDS).index(config["null"]), config["seed"], config["repeat"], config["fold"], run.id)


def _names(runs: Sequence[Run]) -> dict[Run, str]:
    """Each run in words: what was shuffled, and the other keys in which the runs differ."""
    keys = differing(runs, _UNTOLD)
    words = {}
    for run in runs:
        settings = ", ".join(f"{key.replace('_', ' ')} {run.config[key]}" for key in keys if key in run.config)
        words[run] = NULL_WORDS[run.config["null"]] + (f" ({settings})" if settings else "")
    return unique_names(words)


def _scores(runs: Sequence[Run], numbers: dict[Run, pl.DataFrame], names: dict[Run, str]) -> Section:
    notes = [
        Note(f"{run.id}: {run.state}. {run.message}".strip(), "info") for run in runs if run.state is not State.FINISHED
    ]
    if any(_simulated(run) for run in runs):
        notes.insert(
            0,
            Note("SIMULATED DATA: sequences and heights of at least one run were made by a program.", "warning"),
        )
    if not any(run.config["null"] != "none" for run in runs):
        notes.append(
            Note(
                "No null model is among these runs; a score counts only above that of a null model (--null rows).",
                "warning",
            )
        )
    counts = {cell_types_of(run) for run in runs}
    notes += [Note(f"There is {no_correlation(n)}.") for n in sorted(n for n in counts if n) if n < FEWEST]
    rows, marks = [], []
    for run in runs:
        last = run.last_values()
        rows.append(_row(run, names[run], last))
        marks += _marks(names[run], run, last)
    items: list[Any] = [*notes]
    if marks:
        kinds = ["model", "null", "baseline"]
        marks.sort(key=lambda mark: kinds.index(mark["kind"]))
        frame = pl.DataFrame(marks).unique(["row", "score"], keep="first", maintain_order=True)
        for score, title, slug in (
            ("auroc", "mean AUROC over cell types", "auroc"),
            ("r_mean", "mean r over peaks", "r"),
        ):
            points = frame.filter(pl.col("score") == score, pl.col("value").is_finite())
            if points.height:
                words = {"slug": slug, "title": title, "first": title[0].upper() + title[1:]}
                items.append(SCORE.of(points, csv=points.drop("score"), words=words, title=title))
    items += _learning(runs, numbers, names)
    formats = {key: ".3f" for row in rows for key, value in row.items() if isinstance(value, float)}
    table = pl.DataFrame(rows, infer_schema_length=None)
    items.append(RUNS.of(table, formats=formats))
    text = (
        "A convolutional network predicts from DNA alone how open each peak is in every cell type (Maslova et al. "
        "2020). What counts is its score on unseen chromosomes, above that of models whose data were shuffled."
    )
    return Section("From DNA to accessibility", text, tuple(items))


def _verdict(runs: Sequence[Run], names: dict[Run, str]) -> list[Section]:
    """The score of the first model beside its baseline, its nulls among the runs, and its ceiling."""
    main = next((run for run in runs if run.config["null"] == "none" and "peaks" in run.tables()), None)
    if main is None:
        return []
    nulls = {
        run.config["null"]: run
        for run in runs
        if run.config["null"] != "none" and {**run.config, "null": "none"} == {**main.config, "null": "none"}
    }
    worth = verdict(main, nulls)
    assert worth is not None
    if worth.table["r"].null_count() == len(worth.table):
        return []
    notes = [Note(worth.sentence, "info")]
    if "dinucleotide" not in nulls:
        notes.append(Note("How much composition explains is unknown: there is no run with --null dinucleotide."))
    ceiling = ceiling_facts(main)
    if ceiling is None:
        notes.append(Note("No ceiling: the atlas has no halves of its cells or reads; an atlas built from them has."))
    elif ceiling["note"]:
        notes.append(Note(ceiling["note"][0].upper() + ceiling["note"][1:] + ".", "warning"))
    words = {"name": names[main], "resampled": worth.resampled}
    formats = dict.fromkeys(worth.table.columns[1:-2], ".3f") | {"share": ".0%"}
    scored = worth.table.drop_nulls("r")
    items: tuple[Any, ...] = (
        *notes,
        VERDICT.of(scored, words=words),
        VERDICT_TABLE.of(worth.table, words=words, formats=formats),
    )
    return [Section("Verdict", "", items)]


def _row(run: Run, name: str, last: dict[tuple[str, str], float]) -> dict[str, Any]:
    columns = {
        "r mean": ("r_mean", "test"), "baseline r": ("r_mean", "baseline"), "r median": ("r_median", "test"),
        "r weighted": ("r_weighted", "test"), "share r > 0.75": ("share_above_075", "test"),
        "r of cell types": ("cell_r_mean", "test"),
        "r of cell types, rows centred": ("cell_r_mean_centred", "test"),
        "AUROC": ("auroc", "test"), "AUPRC": ("auprc", "test"),
        "accuracy": ("accuracy", "test"), "r undefined": ("r_undefined", "test"),
    }  # fmt: skip
    values = {word: last[key] for word, key in columns.items() if key in last}
    if "r undefined" in values:
        values["r undefined"] = int(values["r undefined"])
    best = last.get(("best_epoch", ""))
    epoch = None if best is None else int(best)
    return {
        "model": name,
        "run": run.id,
        "state": str(run.state),
        "atlas": run.config["atlas"],
        "best epoch": epoch,
        **values,
    }


def _marks(name: str, run: Run, last: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    kind = "model" if run.config["null"] == "none" else "null"
    marks = []
    for score in ("r_mean", "auroc"):
        for part, row, group in (("test", name, kind), ("baseline", BASELINE, "baseline")):
            if (score, part) in last:
                marks.append({"row": row, "kind": group, "score": score, "value": last[(score, part)], "run": run.id})
    return marks


def _learning(runs: Sequence[Run], numbers: dict[Run, pl.DataFrame], names: dict[Run, str]) -> list[Figure]:
    frames = [_epochs(numbers[run], names[run]) for run in runs[:_MOST_SERIES]]
    data = pl.concat(frames)
    if not data.height:
        return []
    selection = f"the first {_MOST_SERIES} runs" if len(runs) > _MOST_SERIES else "every run"
    losses = ", ".join(sorted({run.config["loss"] for run in runs}))
    return [LEARNING.of(data, words={"kept": selection, "losses": losses})]


def _epochs(metrics: pl.DataFrame, name: str) -> pl.DataFrame:
    """Training and validation loss of each epoch of one run: set, epoch, loss, model."""
    epochs = metrics.filter(pl.col("name") == "epoch_loss").sort("step").with_row_index("epoch", offset=1)
    words = {"epoch_loss": "training", "validation_loss": "validation"}
    return (
        metrics.filter(pl.col("name").is_in(list(words)))
        .join(epochs.select("step", "epoch"), on="step")
        .sort("name", "epoch")
        .select(
            pl.col("name").replace_strict(words, return_dtype=pl.String).alias("set"),
            pl.col("epoch").cast(pl.Int64),
            pl.col("value").alias("loss"),
            pl.lit(name).alias("model"),
        )
    )


def _peaks(runs: Sequence[Run], names: dict[Run, str]) -> Section:
    main = runs[0]
    peaks = main.table("peaks")
    samples = {names[run]: run.table("peaks")["r"] for run in runs[:6]} | {BASELINE: peaks["r_baseline"]}
    histogram = figures.r_histogram(samples)
    profiles = main.table("profiles")
    undefined = peaks["r"].null_count()
    items: list[Any] = (
        [Note(f"{undefined:,} of {len(peaks):,} test peaks have no defined r (a constant row) and are left out here.")]
        if undefined
        else []
    )
    words, classes = {"name": names[main]}, main.table("classes")
    items += [
        R.of(histogram),
        *_variance(peaks, names[main]),
        *_spreads(classes),
        CLASS_TABLE.of(classes, words=words, formats=_decimals(classes)),
        PROFILES.of(profiles, list(CLASSES)),
    ]
    return Section(
        "Peaks",
        f"The test set of {main.id}, {len(peaks):,} peaks, by the correlation across cell types.",
        tuple(items),
    )


def _spreads(classes: pl.DataFrame) -> list[Figure]:
    """Spread of the observed heights by class of r; older runs have no such columns."""
    if not set(SPREADS) <= set(classes.columns) or not classes["peaks"].sum():
        return []
    spreads = pl.concat(
        classes.select(
            "class",
            "peaks",
            pl.lit(name.removeprefix("height ")).alias("spread"),
            pl.col(name).alias("value"),
            pl.col(f"{name} lower quartile").alias("low"),
            pl.col(f"{name} upper quartile").alias("high"),
        )
        for name in SPREADS
    )
    return [SPREAD.of(spreads)]


def _variance(peaks: pl.DataFrame, name: str) -> list[Figure | Note]:
    # rows with the same values in another order may differ in the last digit
    if peaks.drop_nulls("r")["variance"].round_sig_figs(9).n_unique() < 2:
        return [Note("All test peaks have the same variance over cell types, so r is not drawn against it.")]
    return [VARIANCE.of(figures.variance_histogram(peaks), words={"name": name})]


def _cell_types(runs: Sequence[Run], names: dict[Run, str]) -> Section:
    main = runs[0]
    table = main.table("cell_types")
    value = next(name for name in ("AUROC", CENTRED, "r") if name in table.columns)
    title = {"r": "r over peaks", CENTRED: "r over peaks, rows centred"}.get(value, value)
    scored = table.filter(pl.col(value).is_not_null())
    words = {
        "title": title,
        "what": _CELL_TYPE_WORDS[value],
        "name": names[main],
        "centred": _CENTRED_WORDS if CENTRED in table.columns else "",
    }
    figure = CELL_TYPES.of(scored, value=value, title=title, words=words)
    return Section("Cell types", "", (figure, CELL_TYPE_TABLE.of(table, words=words, formats=_decimals(table))))


def _decimals(table: pl.DataFrame) -> dict[str, str]:
    return {key: ".3f" for key, kind in table.schema.items() if kind == pl.Float64}


def _atlas(runs: Sequence[Run]) -> Section:
    atlases: dict[str, Run] = {}
    for run in runs:
        if "atlas" in run.tables():
            atlases.setdefault(run.config["atlas"], run)
    items: list[Any] = []
    for i, (name, run) in enumerate(atlases.items(), start=1):
        if _simulated(run):
            items.append(Note(f"Atlas {name!r} is SIMULATED.", "warning"))
        words = {"number": i, "name": name, "run": run.id}
        items.append(ATLAS.of(fact_words(run.table("atlas")), words=words))
        dropped = run.table("dropped")
        if dropped.height:
            items.append(DROPPED.of(dropped, words=words))
        else:
            items.append(Note(f"No peak of atlas {name!r} was left out or changed."))
    return Section("Data", "", tuple(items) or (Note("No run has ended yet, so no atlas is described."),))


def _simulated(run: Run) -> bool:
    if run.config["atlas"] == "simulated":
        return True
    if "atlas" not in run.tables():
        return False
    return bool(stored_facts(run, "atlas")["simulated"])
