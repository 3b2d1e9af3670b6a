"""The map of largest stable step sizes over architectures, beside predictions from the curvature, from run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from netassay.reporting import Axis, Figure, Note, Section, Table, heat_map
from netassay.runs import Run
from netassay.studies.edge.stepsize.findings import PREDICTORS, agreement, largest
from netassay.study import differing

_NAMES = {"by_start": "2/λ₀", "by_flow": "2/max λ on the flow"}
_NOT_ARCHITECTURE = ("seed", "seeds")
_FIRST = ("activation", "depth", "width")


def sections(runs: Sequence[Run]) -> list[Section]:
    """The map, how well it is predicted, and the results of each network; runs without numbers are named as such."""
    title = "Largest stable step size"
    answers = {run: largest(run) for run in runs}
    silent = [run.id for run, frame in answers.items() if not frame.height]
    notes = (Note(f"No numbers yet: {', '.join(silent)}."),) if silent else ()
    answers = {run: frame for run, frame in answers.items() if frame.height}
    if not answers:
        return [Section(title, items=notes or (Note("There are no searches for the largest stable step size."),))]
    keys = _varied_keys(list(answers))
    networks = pl.concat(
        frame.select(pl.lit(run.id).alias("run"), *(pl.lit(run.config[key]).alias(key) for key in keys), pl.all())
        for run, frame in answers.items()
    )
    cells = _ordered(_cells(networks, keys), keys)
    text = (
        "Full-batch gradient descent from the same initial weights, at step sizes bisected until the largest that "
        "trains to the goal and the smallest that fails are close. On a quadratic the largest is 2/λ; a network may "
        "start above it and move to lower curvature (catapult), or sharpen on its way and become unstable."
    )
    return [
        Section(title, text, (*notes, *_maps(cells, keys), _cell_table(cells, keys))),
        Section("Predictors", "", _prediction(networks)),
        Section("Networks one by one", "", (_network_table(networks),)),
    ]


def _varied_keys(runs: Sequence[Run]) -> list[str]:
    """Config keys that distinguish architectures; activation and depth first, since they are the axes of the map."""
    keys = differing(runs, _NOT_ARCHITECTURE)
    return [*(key for key in _FIRST if key in keys), *(key for key in keys if key not in _FIRST)]


def _cells(networks: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """One row per architecture: medians over its networks, and how many of them trained at all."""
    by = list(keys) or ["run"]
    return (
        networks.group_by(by, maintain_order=True)
        .agg(
            pl.col("largest").median(),
            pl.col("largest").min().alias("least"),
            pl.col("largest").max().alias("most"),
            *(pl.col(name).median() for name in PREDICTORS),
            pl.col("largest").count().alias("trained"),
            pl.len().alias("networks"),
            (pl.col("failing_outcome") == "diverged").sum().alias("diverged above"),
        )
        .with_columns((pl.col("largest") / pl.col(name)).alias(f"over_{name}") for name in PREDICTORS)
    )


def _ordered(cells: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Numbers ascending, words by their median largest step size, so that the map reads from small to large."""
    for key in reversed(keys):
        rank = pl.col("largest").median().over(key) if cells[key].dtype == pl.String else pl.col(key)
        cells = cells.sort(rank, pl.col(key), maintain_order=True, nulls_last=True)
    return cells


def _maps(cells: pl.DataFrame, keys: Sequence[str]) -> tuple[Figure | Note, ...]:
    if len(keys) != 2:
        varied = ", ".join(keys) or "none"
        return (Note(f"A map needs runs that differ in exactly two keys; these differ in: {varied}."),)
    across, down = (keys[1], keys[0]) if cells[keys[0]].dtype == pl.String else (keys[0], keys[1])
    x, y = (Axis(key, title=_title(key)) for key in (across, down))
    maps = {
        "largest": (
            "Largest step size that trains",
            "Median over the networks of a cell, by bisection.",
            "η*",
        ),
        "over_by_start": (
            "Against the curvature at the start",
            "The largest step size in multiples of 2/λ₀, λ₀ the sharpness at the initial weights. 1: as on a "
            "quadratic.",
            "η* λ₀ / 2",
        ),
        "over_by_flow": (
            "Against the curvature along gradient flow",
            "The largest step size in multiples of 2/max λ, the largest sharpness on gradient flow up to the goal. 1: "
            "descent trains exactly as long as it stays near the flow.",
            "η* max λ / 2",
        ),
    }
    return tuple(
        Figure(
            f"stepsize-{name.replace('_', '-')}",
            words[0],
            words[1],
            heat_map(cells, x, y, Axis(name, title=words[2], log=True)),
            cells.select(*keys, name, "least", "most", "trained", "networks"),
        )
        for name, words in maps.items()
        if cells[name].count()
    )


def _title(key: str) -> str:
    return {"depth": "hidden layers", "activation": "activation"}.get(key, key.replace("_", " "))


def _cell_table(cells: pl.DataFrame, keys: Sequence[str]) -> Table:
    names: Mapping[str, str] = {
        "largest": "η* median",
        "least": "η* least",
        "most": "η* most",
        **_NAMES,
        "over_by_start": "η*λ₀/2",
        "over_by_flow": "η* max λ/2",
    }
    return Table(
        "stepsize-architectures",
        "Architectures",
        "Medians over the networks of an architecture. trained: number that reached the goal at some step size; "
        "diverged above: number that diverge, rather than run out of steps, at the next larger step size tried.",
        cells.rename(dict(names)),
        formats=dict.fromkeys(names.values(), ".3g"),
    )


def _prediction(networks: pl.DataFrame) -> tuple[Table | Note, ...]:
    rows: list[dict[str, Any]] = [
        {"predictor": _NAMES[name], **agreed._asdict()}
        for name in PREDICTORS
        if (agreed := agreement(networks["largest"], networks[name])) is not None
    ]
    if not rows:
        return (Note("A rank correlation needs at least three networks that trained and whose predictor is known."),)
    table = pl.DataFrame(rows).rename(
        {
            "correlation": "rank correlation",
            "ratio_low": "ratio, lower quartile",
            "ratio": "ratio, median",
            "ratio_high": "ratio, upper quartile",
        }
    )
    caption = (
        "Spearman's rank correlation between predictor and largest step size over all networks (NaN if either is "
        "constant), and the quartiles of largest step size / predictor."
    )
    formats = dict.fromkeys(table.columns[2:], ".3g")
    return (Table("stepsize-prediction", "Predictors", caption, table, formats=formats),)


def _network_table(networks: pl.DataFrame) -> Table:
    names = {
        "largest": "η*",
        "failing": "fails at",
        "failing_outcome": "how",
        "sharpness": "λ₀",
        "flow_sharpness": "max λ on the flow",
        "flow_reached": "flow reached the goal",
        **_NAMES,
    }
    numbers = ("largest", "failing", "sharpness", "flow_sharpness", "by_start", "by_flow")
    return Table(
        "stepsize-networks",
        "Networks",
        "η*: largest step size that trained; fails at: the smallest above it that did not, and how it ended. If the "
        "flow did not reach the goal, max λ is that of the part that was followed, and 2/max λ is missing.",
        networks.rename(names),
        formats={names[key]: ".4g" for key in numbers},
        first=(
            *(key for key in networks.columns if key not in names and key not in ("run", "trials", "how")),
            *(names[key] for key in ("largest", "failing", "by_start", "by_flow") if key in names),
        ),
    )
