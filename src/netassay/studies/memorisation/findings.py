"""Results of a run of the memorisation study, read from its folder."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from netassay.reporting.quantity import Quantity
from netassay.runs import Run

METRICS = (
    Quantity(
        ("loss",), '""', "every step", "mean loss of the batch in nats per token; at the last step that of the corpus"
    ),
    Quantity(("tokens", "share"), '""', "every step but the last", "predictions done, and their share (0 to 1)"),
    Quantity(("corpus",), "documents, predictions, contexts, bound_nats", "last step", "the facts of the corpus"),
    Quantity(("bits",), "uniform, unigram, model", "last step", "bits that the model saves against each reference"),
)
"""Metrics of a run."""

GROUP = {
    "low": pl.Int64,
    "high": pl.Int64,
    "predictions": pl.Int64,
    "contexts": pl.Int64,
    "certain": pl.Int64,
    "right": pl.Int64,
    "loss_nats": pl.Float64,
    "bound_nats": pl.Float64,
}
BITS = {
    "reference": pl.String,
    "bits": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "units": pl.Int64,
    "parameters": pl.Int64,
    "bits_by_the_better": pl.Float64,
}
GAPS = {
    "text": pl.String,
    "next_text": pl.String,
    "occurrences": pl.Int64,
    "continuations": pl.Int64,
    "next_count": pl.Int64,
    "probability": pl.Float64,
    "loss_nats": pl.Float64,
    "bound_nats": pl.Float64,
}
SEQUENCES = {"prefix": pl.String, "suffix": pl.String, "log_probability": pl.Float64, "greedy": pl.Boolean}
TRIES = {
    "tries": pl.Int64,
    "p0.1": pl.Float64,
    "p0.5": pl.Float64,
    "p0.9": pl.Float64,
    "expected": pl.Float64,
}
SHORT = 16
STEP = 2**0.25


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """lengths, occurrences, continuations: loss and bound of groups of contexts. bits: against each reference.
    largest: contexts with the largest gaps. sequences: those most likely to be extracted. tries: extraction by
    sampling."""
    answer = answer_of(run)
    extraction = answer.get("extraction", {})
    return {
        "lengths": _frame(answer.get("by_length"), GROUP),
        "occurrences": _frame(answer.get("by_occurrences"), GROUP),
        "continuations": _frame(answer.get("by_continuations"), GROUP),
        "bits": _frame(answer.get("bits"), BITS),
        "largest": _frame(answer.get("largest"), GAPS),
        "sequences": _frame(answer.get("sequences"), SEQUENCES),
        "tries": _frame(extraction.get("tries"), TRIES),
    }


def answer_of(run: Run) -> dict[str, Any]:
    """Results of the run's losses; empty before all are computed."""
    facts = run.facts()
    trainee = {} if facts is None else facts["trainee"]
    return trainee if "whole" in trainee else {}


def summary(run: Run) -> dict[str, Any]:
    """Loss, bound and gap, bits and extraction; before the end the progress of the run."""
    answer = answer_of(run)
    if not answer:
        last = run.last_values()
        return {name: last.get((name, "")) for name in ("loss", "tokens", "share")}
    totals, extraction = answer["whole"], answer["extraction"]
    loss, bound, tokens = totals["loss_nats"], totals["bound_nats"], totals["predictions"]
    gap = None if loss is None else loss - bound
    bits = {}
    for row in answer["bits"]:
        name, parameters = row["reference"], row["parameters"]
        bits[f"bits_over_{name}"] = row["bits"]
        bits[f"bits_over_{name}_interval"] = [row["low"], row["high"]]
        bits[f"bits_per_parameter_over_{name}"] = (
            row["bits"] / parameters if parameters and row["bits"] is not None else None
        )
    return {
        **totals,
        "gap_nats": gap,
        "gap_bits": None if gap is None else gap / math.log(2),
        "loss_bits_per_token": None if loss is None else loss / tokens / math.log(2),
        "bound_bits_per_token": bound / tokens / math.log(2),
        "share_certain": totals["certain"] / totals["contexts"],
        "share_right": totals["right"] / totals["contexts"],
        **bits,
        "extraction_sequences": extraction["sequences"],
        "extracted_greedily": extraction["greedy"],
        "skipped": answer["skipped"],
    }


def per_token(groups: pl.DataFrame) -> pl.DataFrame:
    """Loss, bound and gap of groups in bits per token, and the shares of their contexts."""
    bits = 1 / math.log(2)
    return groups.with_columns(
        loss=pl.col("loss_nats") / pl.col("predictions") * bits,
        bound=pl.col("bound_nats") / pl.col("predictions") * bits,
        gap=(pl.col("loss_nats") - pl.col("bound_nats")) / pl.col("predictions") * bits,
        certain_share=pl.col("certain") / pl.col("contexts"),
        right_share=pl.col("right") / pl.col("contexts"),
    )


def length_bins(lengths: pl.DataFrame) -> pl.DataFrame:
    """Groups by length: single lengths up to 16, then bins about a fifth wide."""
    step = (pl.col("low") / SHORT).log(STEP).floor().cast(pl.Int64)
    key = pl.when(pl.col("low") <= SHORT).then(pl.col("low")).otherwise(SHORT + 1 + step)
    sums = [pl.col(name).sum() for name in GROUP if name not in ("low", "high")]
    return (
        lengths.group_by(key.alias("bin"), maintain_order=True)
        .agg(pl.col("low").min(), pl.col("high").max(), *sums)
        .drop("bin")
        .sort("low")
    )


def _frame(rows: list[dict[str, Any]] | None, schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row[name] for name in schema} for row in rows or []], schema=schema)
