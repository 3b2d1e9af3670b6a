"""Charts of what a corpus holds, and of what a model holds or could hold of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import altair as alt
import polars as pl

from netassay.errors import DataError
from netassay.reporting.chart import lines
from netassay.reporting.points import forest
from netassay.reporting.section import Axis

_LENGTH = Axis("length", title="tokens of context")


def entropy(result: Any) -> alt.TopLevelMixin:
    """The least loss by length of context, in bits per token."""
    if not result.by_length:
        raise DataError("this entropy has no lengths to draw; count with by_length=True")
    return _least_loss((row["length"], row["predictions"], row["nats"]) for row in result.by_length)


def contexts(result: Any) -> alt.TopLevelMixin:
    """The least loss by length of context, in bits per token."""
    arrays = (result.predictions_by_length.tolist(), result.nats_by_length.tolist())
    return _least_loss((length, *row) for length, row in enumerate(zip(*arrays, strict=True)))


def _least_loss(rows: Iterable[tuple[int, int, float]]) -> alt.TopLevelMixin:
    bits = [(length, nats / predictions / math.log(2)) for length, predictions, nats in rows if predictions]
    if not bits:
        raise DataError("nothing is predicted, so there is no loss to draw")
    data = pl.DataFrame(bits, schema={"length": pl.Int64, "bits": pl.Float64}, orient="row")
    return lines(data, _LENGTH, Axis("bits", title="least loss", unit="bits per token"))


def memorisation(result: Any) -> alt.TopLevelMixin:
    """The model's loss and its bound by length of context, in bits per token."""
    rows = [
        (name, group.low, nats / group.predictions / math.log(2))
        for name in ("loss", "bound")
        for group in result.by_length
        if group.predictions
        for nats in [getattr(group, f"{name}_nats")]
    ]
    data = pl.DataFrame(rows, schema={"of": pl.String, "length": pl.Int64, "bits": pl.Float64}, orient="row")
    return lines(data, _LENGTH, Axis("bits", title="loss and its bound", unit="bits per token"), Axis("of", title=" "))


def bounds(result: Any) -> alt.TopLevelMixin:
    """How many contexts each theorem allows; a dashed line at those of the corpus, if there is one."""
    numbers = {
        "surely (Theorems 21, 23)": result.lower_construct,
        "every corpus, at most (Theorem 13)": result.upper_empirical,
        "any distributions, at most (Lemma 9)": result.upper_general,
    }
    rows = [(words, float(number)) for words, number in numbers.items() if number is not None and number >= 1]
    if not rows:
        raise DataError("no theorem allows this model a context")
    data = pl.DataFrame(rows, schema={"bound": pl.String, "value": pl.Float64}, orient="row")
    blank = data.with_columns(low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64))
    reference = float(result.verdict.contexts) if result.verdict else None
    title = "contexts; dashed: those of the corpus" if result.verdict else "contexts"
    return forest(blank, Axis("value", title=title, log=True), "bound", reference=reference, width=420)
