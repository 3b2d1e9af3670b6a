"""Findings of edge runs in words: when the edge is reached, how long it lasts, which layer leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from netassay.references import COHEN, FOX
from netassay.reporting.section import Finding
from netassay.runs import Run, State
from netassay.studies.edge.config import OPTIMISERS
from netassay.studies.edge.findings import phase_table
from netassay.study import command, enumeration

QUESTION = "How stably does it train?"
READING = (
    "The sharpness is the largest curvature of the training loss. Above the dashed line, a step overshoots along that "
    "direction."
)
REFERENCES = (FOX, COHEN)

LARGEST_ERROR = 0.05
"""Median stated error of the sharpness, relative, above which there is no finding about the edge."""
LEADING = 0.8
"""Share of the measured steps at which a layer must have the largest sharpness to be called the leading one."""


class Edge(NamedTuple):
    """A run at its edge: first and last step, and its ratio to the threshold in between."""

    run: Run
    first: int
    last: int
    low: float
    median: float
    high: float


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Sentences about finished runs; runs that differ only in their step size share one."""
    sentences: list[Finding] = []
    for group in _alike([run for run in runs if run.state in (State.FINISHED, State.DIVERGED)]):
        sentences += [*_at_the_edge(group), *_below_the_edge(group), *_divergence(group), *_leading_layer(group)]
    return sentences


def _alike(runs: Sequence[Run]) -> list[list[Run]]:
    """Groups of runs that differ only in their step size, ascending."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        settings = {key: value for key, value in run.config.items() if key not in ("step_size", "steps")}
        groups.setdefault(str(sorted(settings.items(), key=str)), []).append(run)
    return [sorted(group, key=lambda run: _step_size(run)) for group in groups.values()]


def _step_size(run: Run) -> float:
    return float(run.config.get("step_size", 0.0))


def _at_the_edge(runs: Sequence[Run]) -> list[Finding]:
    """At the edge: from which step on, with the median and the quartiles of the ratio to the threshold."""
    edges = [edge for run in runs if _error(run) <= LARGEST_ERROR and (edge := _edge(run))]
    if not edges:
        return []
    ratio, threshold = _words(edges[0].run)
    sizes = enumeration(f"{_step_size(edge.run):g}" for edge in edges)
    quartiles = enumeration(f"{edge.median:.2f} [{edge.low:.2f}, {edge.high:.2f}]" for edge in edges)
    starts = enumeration(f"{edge.first:,}" for edge in edges)
    if len(edges) > 1:
        text = (
            f"At step sizes η = {sizes}, the sharpness reaches {threshold} at steps {starts}, in this order, and stays "
            f"near it: {ratio} has medians {quartiles} from there on (quartiles in brackets; 1 is the edge)."
        )
    else:
        text = (
            f"At η = {sizes} the sharpness reaches {threshold} at step {starts} and stays near it until step "
            f"{edges[0].last:,}: {ratio} has median {quartiles} (quartiles in brackets; 1 is the edge)."
        )
    return [Finding(text, "edge-sharpness", command(edges[-1].run), "Does training reach the edge of stability?")]


def _edge(run: Run) -> Edge | None:
    rows = phase_table(run).filter((pl.col("part") == "") & (pl.col("phase") == "edge")).to_dicts()
    if not rows:
        return None
    row = rows[0]
    return Edge(run, row["first_step"], row["last_step"], row["ratio_low"], row["ratio_median"], row["ratio_high"])


def _below_the_edge(runs: Sequence[Run]) -> list[Finding]:
    """Never at the edge: the largest ratio, with its error."""
    sentences = []
    for run in runs:
        ratios = run.metrics("edge_ratio").filter(pl.col("part") == "").drop_nulls("value")
        finite = ratios.filter(pl.col("value").is_finite())
        error = _error(run)
        if run.state is not State.FINISHED or not finite.height or error > LARGEST_ERROR:
            continue
        largest = finite.sort("value").row(-1, named=True)
        if largest["value"] * (1 + error) < 1:
            ratio, threshold = _words(run)
            text = (
                f"At η = {_step_size(run):g} the sharpness stays below {threshold} for all {run.step:,} steps: "
                f"{ratio} is at most {largest['value']:.3f} ± {largest['value'] * error:.1g}, at step "
                f"{largest['step']:,} (1 is the edge)."
            )
            sentences.append(Finding(text, "edge-ratio", command(run), "Does training reach the edge of stability?"))
    return sentences


def _divergence(runs: Sequence[Run]) -> list[Finding]:
    sentences = []
    for run in runs:
        if run.state is not State.DIVERGED:
            continue
        rows = run.metrics("edge_ratio").filter((pl.col("part") == "") & pl.col("value").is_finite())
        ratio, _ = _words(run)
        last = rows.sort("step").tail(1).to_dicts()
        then = (
            f"; {ratio} was {_short(last[0]['value'])} when last measured, at step {last[0]['step']:,}" if last else ""
        )
        text = f"At η = {_step_size(run):g} training diverges at step {run.step:,}{then} (1 is the edge)."
        sentences.append(Finding(text, "edge-loss", command(run), "Does training stay stable?"))
    return sentences


class _Lead(NamedTuple):
    run: Run
    layer: str
    share: float
    since: int
    steps: int


def _short(value: float) -> str:
    """Two decimals; four digits of what would fill the line."""
    return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.4g}"


def _leading_layer(runs: Sequence[Run]) -> list[Finding]:
    """The layer whose own block has the largest sharpness by more than the stated errors."""
    leads = [lead for run in runs if (lead := _lead(run))]
    if not leads or len({lead.layer for lead in leads}) > 1:
        return []
    layer = leads[0].layer
    shares = enumeration(f"{lead.share:.0%}".replace("%", " %") for lead in leads)
    sizes = enumeration(f"{_step_size(lead.run):g}" for lead in leads)
    sense = "respectively, " if len(leads) > 1 else ""
    text = (
        f"{_layer_words(layer)} has the largest sharpness of all layers at {shares} of the measured steps "
        f"({sense}η = {sizes}; by more than the stated errors)."
    )
    return [Finding(text, "edge-layer-sharpness", command(leads[-1].run), "Which layer leads?")]


def _lead(run: Run) -> _Lead | None:
    rows = run.metrics().filter(pl.col("part") != "").filter(pl.col("name").is_in(["sharpness", "sharpness_error"]))
    if not rows.height:
        return None
    wide = rows.pivot("name", index=["step", "part"], values="value").drop_nulls()
    if wide["part"].n_unique() < 2 or "sharpness_error" not in wide.columns:
        return None
    winners: list[str] = []
    steps: list[int] = []
    for (step,), block in wide.sort("step").group_by("step", maintain_order=True):
        if block.height < 2:
            continue
        first, second = block.sort("sharpness", descending=True).head(2).to_dicts()
        clear = first["sharpness"] - second["sharpness"] > first["sharpness_error"] + second["sharpness_error"]
        winners.append(first["part"] if clear else "")
        steps.append(int(step))
    if not winners:
        return None
    layer = max(set(winners) - {""}, key=winners.count, default="")
    share = winners.count(layer) / len(winners)
    if not layer or share < LEADING:
        return None
    exceptions = [step for step, winner in zip(steps, winners, strict=True) if winner != layer]
    return _Lead(run, layer, share, max(exceptions, default=-1), len(winners))


def _layer_words(layer: str) -> str:
    number = layer.removeprefix("layer")
    return f"Layer {number}" if number.isdigit() else f"Layer “{layer}”"


def _error(run: Run) -> float:
    """Median stated error of the sharpness of the whole network, relative to it; infinite where none was measured."""
    rows = run.metrics().filter((pl.col("part") == "") & pl.col("name").is_in(["sharpness", "sharpness_error"]))
    if not rows.height:
        return float("inf")
    wide = rows.pivot("name", index="step", values="value")
    if "sharpness_error" not in wide.columns:
        return float("inf")
    relative: Any = (wide["sharpness_error"] / wide["sharpness"].abs()).drop_nulls().median()
    return float("inf") if relative is None else float(relative)


def _words(run: Run) -> tuple[str, str]:
    """Names of the ratio and the threshold of a run's optimiser."""
    optimiser = run.config.get("optimiser", "gd")
    if OPTIMISERS[optimiser].is_descent:
        return "ηλ/2", "2/η"
    return "sharpness over threshold", f"the threshold of {optimiser}"
