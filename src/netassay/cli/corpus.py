"""Commands on a corpus: how their answers are shown."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from netassay.cli.command import Ask, Command, Format, count, numbers_in_a_row
from netassay.cli.output import answer, table
from netassay.commands import bounds as judge
from netassay.commands import corpus, theory
from netassay.processes import peak_bytes

if TYPE_CHECKING:
    from netassay.capacity.corpus_bounds import Bounds, Verdict


def entropy(ask: Ask, *, format: Format = "table") -> None:
    begin = time.perf_counter()
    values = {key: value for key, value in vars(ask()).items() if value is not None}
    # of the command, not of the corpus
    answer({**values, "seconds": time.perf_counter() - begin, "peak_bytes": peak_bytes()}, format)


def bounds(ask: Ask, *, format: Format = "table") -> None:
    answer(_judged(ask()), format)


def _judged(judged: Bounds) -> dict[str, Any]:
    of_files = ("verdict", "bound_nats", "skipped", "beside")
    values = {name: value for name, value in vars(judged).items() if name not in of_files}
    if judged.verdict is None:
        return values
    corpus_values = {"bound_nats": judged.bound_nats, "skipped": judged.skipped}
    return values | _verdict(judged.verdict) | corpus_values | {"beside": [vars(row) for row in judged.beside]}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.answer,
        "not_for_almost_all_frequencies": verdict.not_for_almost_all_frequencies,
        "degrees_of_freedom": verdict.fewest_parameters_this_corpus,
        "degrees_of_freedom_unequal": verdict.degrees_of_freedom_unequal,
        "verdict_worst_case": verdict.worst_case,
        "words": verdict.words,
        "contexts": verdict.contexts,
        "fewest_parameters_worst_case": verdict.fewest_parameters_worst_case,
        "fewest_parameters_this_corpus": verdict.fewest_parameters_this_corpus,
        "predicted_parameters": verdict.predicted_parameters,
        "sufficient_width": verdict.sufficient_width,
    }


def construct(ask: Ask, *, save: Any = None, format: Format = "table") -> None:
    begin = time.perf_counter()
    values = theory.numbers_of(ask())
    if save is not None:
        values["saved"] = str(save)
    answer({**values, "seconds": time.perf_counter() - begin}, format)


def injectivity(ask: Ask, *, format: Format = "table") -> None:
    table([asdict(row) for row in ask()], format)


def rank(ask: Ask, *, format: Format = "table") -> None:
    table([asdict(row) for row in ask()], format)


COMMANDS = (
    Command(
        corpus.entropy,
        entropy,
        "netassay entropy stories.txt --document record --length 10 --format json",
        converters={"lengths": numbers_in_a_row},
        progress="said",
    ),
    Command(
        judge.bounds,
        bounds,
        "netassay bounds --parameters 35442 --vocabulary 690 --width 32",
        names={"corpus": "files", "model": "parameters"},
        named=("model", "vocabulary"),
        positional=("corpus",),
        converters={"model": count, "vocabulary": count, "width": count},
        progress="said",
    ),
    Command(
        theory.construct,
        construct,
        "netassay construct stories.txt --document record --length 10 --save memorised",
        progress="said",
    ),
    Command(
        theory.injectivity,
        injectivity,
        "netassay injectivity stories.txt --document record --length 10 --page injectivity.html",
        progress="said",
    ),
    Command(
        theory.rank,
        rank,
        "netassay rank tanh gelu --size 8 --size 16 --size 32",
        progress="said",
    ),
)
