"""Losses of a model on a corpus batch by batch, and their evaluation: a `training.Trainee` that trains nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from netassay.capacity.likelihood import Evaluation
from netassay.capacity.recall import Memorisation, judge
from netassay.errors import DataError
from netassay.studies.memorisation.config import MemorisationConfig
from netassay.studies.memorisation.material import Material
from netassay.studies.memorisation.model import digest
from netassay.training import Metric

TRIES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
LIKELY = (0.1, 0.5, 0.9)


class Examination:
    """The second model's batches, if there is one, then the model's; a step is a batch, and the last step evaluates."""

    def __init__(self, config: MemorisationConfig, data: Material) -> None:
        self._config, self._read = config, data
        models = [data.model] if data.reference is None else [data.reference, data.model]
        self._evaluations = [Evaluation(model, data.feed, tokens_at_once=config.tokens_at_once) for model in models]
        self._digests = {"corpus": data.feed.digest(), "model": [digest(model) for model in models]}
        self._judged: dict[str, Any] | None = None

    @property
    def steps(self) -> int:
        """Number of batches."""
        return sum(evaluation.batches for evaluation in self._evaluations)

    def measure(self, step: int) -> Mapping[Metric, float]:
        """The mean loss of one batch; at the last step the numbers of the corpus."""
        remaining = [evaluation for evaluation in self._evaluations if not evaluation.over]
        if remaining:
            loss = remaining[0].advance()
            predictions = sum(evaluation.predicted for evaluation in self._evaluations)
            share = predictions / len(self._evaluations) / self._read.feed.predictions
            return {"loss": loss, "tokens": float(predictions), "share": share}
        totals = self.answer()["whole"]
        numbers: dict[Metric, float] = {
            ("corpus", name): float(totals[name]) for name in ("documents", "predictions", "contexts", "bound_nats")
        }
        bits: dict[Metric, float] = {("bits", row["reference"]): row["bits"] for row in self.answer()["bits"]}
        return {"loss": totals["loss_nats"] / totals["predictions"], **numbers, **bits}

    def advance(self) -> None:
        """Nothing is trained."""

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        tensors = {
            f"{number}/{name}": tensor.clone()
            for number, evaluation in enumerate(self._evaluations)
            for name, tensor in evaluation.state().items()
        }
        facts: dict[str, Any] = {**self._digests, "batches": [e.batch for e in self._evaluations]}
        if all(evaluation.over for evaluation in self._evaluations):
            facts |= self.answer()
        return tensors, facts

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        for kind, now in self._digests.items():
            if facts[kind] != now:
                raise DataError(
                    f"the {kind} is not the one this run began with (its checksum differs); restore that one, "
                    "or begin a run in another store"
                )
        for number, (evaluation, batch) in enumerate(zip(self._evaluations, facts["batches"], strict=True)):
            sums = {name: tensors[f"{number}/{name}"] for name in ("nats", "right")}
            evaluation.load(sums, batch)

    def answer(self) -> dict[str, Any]:
        """The results of the losses, in JSON form."""
        if self._judged is None:
            config = self._config
            *references, evaluation = self._evaluations
            memorisation = judge(
                self._read.model,
                evaluation,
                self._read.feed,
                reference=references[0] if references else None,
                prefix=config.prefix,
                suffix=config.suffix,
                listed=config.listed,
                resamples=config.resamples,
                seed=config.seed,
            )
            self._judged = plain(memorisation, config.listed) | {"skipped": dict(self._read.skipped)}
        return self._judged


def plain(memorisation: Memorisation, limit: int) -> dict[str, Any]:
    """A memorisation in JSON's types; numbers without a value are NaN, as in the memorisation itself."""
    totals = {
        name: getattr(memorisation, name)
        for name in (
            "parameters", "vocabulary", "documents", "rows", "predictions", "unpredicted", "shortened", "loss_nats",
            "bound_nats", "contexts", "certain", "right",
        )
    }  # fmt: skip
    extraction = memorisation.extraction
    feed = memorisation.feed
    sequences = []
    for index in extraction.likeliest(limit):
        row = feed.row(int(extraction.rows[index])).tolist()
        begin = extraction.prefix + (feed.first is not None)
        sequences.append(
            {
                "prefix": feed.text(row[:begin]),
                "suffix": feed.text(row[begin : begin + extraction.suffix]),
                "log_probability": float(extraction.log_probabilities[index]),
                "greedy": bool(extraction.greedy[index]),
            }
        )
    tries = [
        {
            "tries": n,
            **{f"p{p}": extraction.share_extractable(n, p) for p in LIKELY},
            "expected": float(extraction.probabilities(n).mean()) if extraction.sequences else math.nan,
        }
        for n in TRIES
    ]
    return {
        "whole": totals,
        "by_length": [asdict(group) for group in memorisation.by_length],
        "by_occurrences": [asdict(group) for group in memorisation.by_occurrences],
        "by_continuations": [asdict(group) for group in memorisation.by_continuations],
        "bits": [asdict(bits) for bits in memorisation.bits],
        "extraction": {
            "prefix": extraction.prefix,
            "suffix": extraction.suffix,
            "sequences": extraction.sequences,
            "greedy": int(extraction.greedy.sum()),
            "tries": tries,
        },
        "sequences": sequences,
        "largest": [{**asdict(gap), "context": list(gap.context[-64:])} for gap in memorisation.largest],
    }
