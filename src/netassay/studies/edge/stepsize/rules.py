"""Findings about the largest step size in words: what each architecture allows, and which allow more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from netassay.references import COHEN, FOX
from netassay.reporting.section import Finding
from netassay.runs import Run, State
from netassay.studies.edge.stepsize.findings import agreement, largest
from netassay.study import command, run_names

QUESTION = "Which networks allow which step sizes?"
READING = "η* is the largest step size that trained, the median over the seeds."
REFERENCES = (FOX, COHEN)
CLEAR_CORRELATION = 5
"""Minimum number of networks for stating a rank correlation."""


class Bracket(NamedTuple):
    """Bracket over the networks of one run: a step size at which all trained, and one at which all failed."""

    run: Run
    name: str
    low: float
    high: float
    seeds: int


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Brackets of finished runs, compared if they do not overlap."""
    finished = [run for run in runs if run.state is State.FINISHED]
    if not finished:
        return []
    names = run_names(finished).of
    brackets = [bracket for run in finished if (bracket := _bracket(run, names[run]))]
    return [*_comparison(brackets), *_alone(brackets), *_prediction(finished)]


def _bracket(run: Run, name: str) -> Bracket | None:
    networks = largest(run)
    if not networks.height or networks["largest"].null_count() or networks["failing"].null_count():
        return None
    low, high = networks["largest"].min(), networks["failing"].max()
    return Bracket(run, name, float(low), float(high), networks.height)  # type: ignore[arg-type]


def _comparison(brackets: Sequence[Bracket]) -> list[Finding]:
    """The architectures that allow the largest and smallest steps, if their brackets do not overlap."""
    if len(brackets) < 2:
        return []
    larger = max(brackets, key=lambda bracket: bracket.low)
    smaller = min(brackets, key=lambda bracket: bracket.high)
    if smaller.high >= larger.low:
        return []
    text = (
        f"The largest step size that trains is {larger.low / smaller.high:.1f} or more times as large for "
        f"{larger.name} as for {smaller.name}: {_interval(larger)} against {_interval(smaller)} ({_seeds(brackets)}; "
        f"of {len(brackets)} architectures, these two have brackets that do not overlap)."
    )
    return [Finding(text, "stepsize-largest", command(larger.run), "Which architecture allows larger steps?")]


def _alone(brackets: Sequence[Bracket]) -> list[Finding]:
    if len(brackets) != 1:
        return []
    only = brackets[0]
    text = (
        f"The largest step size that trains lies in {_interval(only)} ({_seeds(brackets)}: the largest that trained "
        f"every network, the smallest that failed for every one)."
    )
    return [Finding(text, "stepsize-largest", command(only.run), "What is the largest stable step size?")]


def _prediction(runs: Sequence[Run]) -> list[Finding]:
    """How well 2 / sharpness at the start predicts, over all networks of all runs."""
    import polars as pl

    rows = pl.concat(largest(run) for run in runs)
    result = agreement(rows["largest"], rows["by_start"])
    if result is None or result.networks < CLEAR_CORRELATION or result.correlation != result.correlation:
        return []
    text = (
        f"The largest stable step size is {result.ratio:.1f} times 2/λ at the start in the median (quartiles "
        f"{result.ratio_low:.1f} to {result.ratio_high:.1f}, {result.networks} networks; a perfect predictor gives 1); "
        f"the rank correlation is {result.correlation:.2f}."
    )
    return [Finding(text, "stepsize-over-by-start", command(runs[0]), "Does the initial sharpness predict it?")]


def _interval(bracket: Bracket) -> str:
    return f"[{bracket.low:.3g}, {bracket.high:.3g}]"


def _seeds(brackets: Sequence[Bracket]) -> str:
    counts = sorted({bracket.seeds for bracket in brackets})
    return f"{counts[0] if len(counts) == 1 else f'{counts[0]} to {counts[-1]}'} seeds each"
