"""Findings of the memorisation study in words: the bits of a corpus that a model holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from netassay.corpus.context import BITS_PER_PARAMETER
from netassay.references import MADDEN, MORRIS
from netassay.reporting.section import Finding
from netassay.runs import Run, State
from netassay.studies.memorisation.findings import answer_of
from netassay.study import command

QUESTION = "How much of a corpus does it hold?"
READING = "Bits saved on the corpus against each reference, per parameter; 0 is what a model that holds nothing saves."
REFERENCES = (MADDEN, MORRIS)
_REFERENCES = {
    "model": "the other model",
    "unigram": "the frequencies of its tokens",
    "uniform": "tokens that are all equally likely",
}
"""What a corpus is coded by, those that leave the least to be explained first."""


def findings(runs: Sequence[Run]) -> list[Finding]:
    """A sentence about each finished run with intervals."""
    return [finding for run in runs if run.state is State.FINISHED for finding in _bits(run)]


def _bits(run: Run) -> list[Finding]:
    """Bits against the strictest reference, if their interval does not contain 0."""
    answer = answer_of(run)
    rows = {row["reference"]: row for row in answer.get("bits", ())}
    reference = next((name for name in _REFERENCES if name in rows), None)
    if reference is None:
        return []
    row, totals = rows[reference], answer["whole"]
    # where there is no interval its ends are NaN, and in runs of 0.1.0 missing
    interval = [math.nan if row[name] is None else row[name] for name in ("bits", "low", "high")]
    if not all(map(math.isfinite, interval)) or row["low"] <= 0 <= row["high"]:
        return []
    sign, word = (1, "less") if row["bits"] > 0 else (-1, "more")
    low, high = sorted((sign * row["low"], sign * row["high"]))
    per_bit = totals["predictions"] * math.log(2)
    text = (
        f"The model codes the corpus in {sign * row['bits']:,.0f} bits [{low:,.0f}, {high:,.0f}] {word} than "
        f"{_REFERENCES[reference]} do{'es' if reference == 'model' else ''}{_share(row)}; its loss is "
        f"{totals['loss_nats'] / per_bit:.2f} bits per token, and the least that any model can reach "
        f"{totals['bound_nats'] / per_bit:.2f}. (95 %, {row['units']:,} units resampled.)"
    )
    return [Finding(text, "memorisation-bits", command(run), QUESTION)]


def _share(row: dict[str, Any]) -> str:
    """Bits per parameter beside the most that was measured for random data, where the model saves any."""
    if row["bits"] <= 0 or not row["parameters"]:
        return ""
    return (
        f", {row['bits'] / row['parameters']:.3g} per parameter (decoders were measured to store up to "
        f"{BITS_PER_PARAMETER} of random data)"
    )
