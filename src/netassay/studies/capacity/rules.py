"""Findings about memory capacity in words: how few neurons suffice, for how many contexts, against which bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from netassay.references import MADDEN, MORRIS
from netassay.reporting.section import Finding
from netassay.runs import Run, State
from netassay.studies.capacity.config import CapacityConfig
from netassay.studies.capacity.findings import attempt_table, bound_table, corpus_of
from netassay.study import command, enumeration

QUESTION = "How much can it memorise?"
READING = (
    "A network has memorised a corpus when its loss reaches the entropy bound, the smallest loss of any predictor. "
    "Each point is the best network of the search: narrower ones may exist."
)
REFERENCES = (MADDEN, MORRIS)
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Fewest(NamedTuple):
    """The narrowest width of a run that met the criterion, the widest below it that did not."""

    run: Run
    contexts: int
    width: int
    failing: int | None
    gap: float
    criterion: float
    share_certain: float


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Sentences about finished runs, those with one criterion, solver and trained part together."""
    sentences: list[Finding] = []
    groups: dict[tuple[object, ...], list[Fewest]] = {}
    finished = [run for run in runs if run.state is State.FINISHED]
    for run in finished:
        fewest = _fewest(run)
        if fewest is not None:
            key = tuple(run.config.get(name) for name in ("corpus", "trained", "solver", "widths"))
            groups.setdefault((*key, fewest.criterion), []).append(fewest)
    # a search by bisection is closest to the fewest neurons, so it comes first
    for key, group in sorted(groups.items(), key=lambda item: item[0][3] != "bisection"):
        sentences += _sufficient(sorted(group, key=lambda entry: entry.contexts), str(key[0]))
    if groups:
        sentences += _necessary([entry for group in groups.values() for entry in group])
    sentences += _not_memorised([run for run in finished if _fewest(run) is None])
    return sentences


def _fewest(run: Run) -> Fewest | None:
    attempts, corpus = attempt_table(run), corpus_of(run.metrics())
    met = attempts.filter("met").sort("width", "gap")
    if not met.height or "contexts" not in corpus:
        return None
    best = met.row(0, named=True)
    narrower: Any = attempts.filter(pl.col("width") < best["width"])["width"].max()
    return Fewest(
        run,
        int(corpus["contexts"]),
        best["width"],
        None if narrower is None else int(narrower),
        best["gap"],
        CapacityConfig.from_mapping(run.config).criterion,
        corpus.get("share_certain", float("nan")),
    )


def _sufficient(group: Sequence[Fewest], corpus: str) -> list[Finding]:
    """How many neurons sufficed for how many contexts, within the criterion, and which width did not."""
    criterion = f"{100 * group[0].criterion:.3g} %"
    narrowest = group[0]
    first = f"{_number(narrowest.width)} {_unit(narrowest.width)}"
    further = [f"{fewest.width:,} for {fewest.contexts:,}" for fewest in group[1:]]
    continuation = f", {enumeration(further)}" if len(further) > 1 else f" and {further[0]}" if further else ""
    below = [f"{fewest.failing:,}" for fewest in group if fewest.failing is not None]
    failing = f" Networks of {enumeration(below)} neurons did not get there." if len(below) == len(group) else ""
    gaps = [100 * fewest.gap for fewest in group]
    gap = f"{gaps[0]:.2g}" if len(gaps) == 1 else f"{min(gaps):.2g} to {max(gaps):.2g}"
    text = (
        f"{first[0].upper()}{first[1:]} memorise {group[0].contexts:,} contexts of “{corpus}”{continuation}: the loss "
        f"comes within {criterion} of the entropy bound (gap {gap} %).{failing}"
    )
    bisection = group[0].run.config.get("widths") == "bisection"
    figure = "capacity-fewest-contexts" if bisection else "capacity-losses"
    return [Finding(text, figure, command(group[-1].run), "How many neurons memorise how many contexts?")]


def _necessary(group: Sequence[Fewest]) -> list[Finding]:
    """The bounds beside the largest corpus that was memorised."""
    largest = max(group, key=lambda fewest: (fewest.contexts, -fewest.width))
    rows = bound_table(largest.run)
    for_any = (pl.col("says") == "necessary") & (pl.col("of") == "any corpus")
    worst: Any = rows.filter(for_any)["parameters"].max()
    enough: Any = rows.filter(pl.col("says") == "sufficient")["width"].min()
    if worst is None or enough is None:
        return []
    parameters = int(attempt_table(largest.run).filter(pl.col("width") == largest.width)["parameters"][0])
    share = f"{100 * largest.share_certain:.0f} % of its contexts have one continuation"
    text = (
        f"The theory promises {enough:,} neurons for any corpus of {largest.contexts:,} contexts, and some such "
        f"corpus needs at least {worst:,.0f} parameters; this one was memorised with {largest.width:,} neurons, "
        f"{parameters:,} parameters ({share})."
    )
    return [Finding(text, "capacity-bounds", command(largest.run), "What do the bounds say?")]


def _not_memorised(runs: Sequence[Run]) -> list[Finding]:
    sentences = []
    for run in runs:
        attempts, corpus = attempt_table(run), corpus_of(run.metrics())
        if not attempts.height or "contexts" not in corpus:
            continue
        best = attempts.sort("gap").row(0, named=True)
        config = CapacityConfig.from_mapping(run.config)
        criterion = config.criterion
        # nothing but a loss that is not finite ends a trial before its last step without a verdict
        broken = not (best["met"] or best["proved"]) and best["steps"] < config.most_steps
        advice = (
            "There the loss became NaN or infinite: a smaller --step-size might."
            if broken
            else "Other weights or more steps might."
        )
        widest: Any = attempts["width"].max()
        text = (
            f"No network of up to {widest:,} neurons came within {100 * criterion:.3g} % of the entropy bound of "
            f"{int(corpus['contexts']):,} contexts; the least gap is {100 * best['gap']:.3g} %, with "
            f"{best['width']:,} neurons after {best['steps']:,} steps. {advice}"
        )
        sentences.append(Finding(text, "capacity-losses", command(run), "How many neurons memorise it?"))
    return sentences


def _unit(number: int) -> str:
    return "neuron" if number == 1 else "neurons"


def _number(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else f"{number:,}"
