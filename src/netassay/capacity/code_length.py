"""Bits that a model saves in coding a corpus, against a reference that has not seen it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64

from netassay.numerics.devices import generator

GROUPS = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Bits:
    """Code length of the predicted tokens under a reference less that under the model, in bits.

    Negative if the reference codes them better. Against "uniform" and "unigram" all that the model learned counts,
    grammar as well as wording: to measure only what it knows of these documents, use a second model, trained on
    other data, as reference. The cost of describing the model or the unigram frequencies is not included.

    Attributes:
        reference: "uniform" over the model's vocabulary, "unigram" (the frequencies of the predicted tokens
            themselves), or "model".
        bits: The difference, in total.
        low: Lower end of its interval, from a bootstrap over documents (95 %, percentiles).
        high: Upper end; nan, like `low`, where there is a single unit.
        units: Number of documents resampled, or of rows if there is only one document.
        parameters: Parameters of the model.
        bits_by_the_better: The sum over documents of the differences above 0, as Morris et al. count, who code a
            document with the better of the two models.

    Source:
        Morris et al. (2025), sections 2 and 3.

    Example:
        >>> import torch, netassay
        >>> result = netassay.capacity.memorisation(torch.nn.Embedding(3, 3), [[0, 1, 2], [0, 1, 2]])
        >>> [bits.reference for bits in result.bits]
        ['uniform', 'unigram']
    """

    reference: str
    bits: float
    low: float
    high: float
    units: int
    parameters: int
    bits_by_the_better: float

    @property
    def per_parameter(self) -> float:
        """Bits a parameter; nan for a model without parameters."""
        return self.bits / self.parameters if self.parameters else math.nan

    @property
    def interval_per_parameter(self) -> tuple[float, float]:
        """The interval of the bits a parameter."""
        if not self.parameters:
            return math.nan, math.nan
        return self.low / self.parameters, self.high / self.parameters


def bits_saved(
    reference: str,
    reference_nats: Float64[np.ndarray, " P"],
    nats: Float64[np.ndarray, " P"],
    documents: Int64[np.ndarray, " P"],
    rows: Int64[np.ndarray, " P"],
    *,
    parameters: int,
    resamples: int,
    seed: int,
) -> Bits:
    """The bits saved against the reference's losses, resampling documents, or rows if there is only one document."""
    differences = (reference_nats - nats) / math.log(2)
    units = documents if documents[0] != documents[-1] else rows
    _, owner = np.unique(units, return_inverse=True)
    by_unit = np.bincount(owner, weights=differences)
    low, high = interval(by_unit, resamples, seed)
    better = float(np.maximum(by_unit, 0).sum())
    return Bits(reference, math.fsum(by_unit), low, high, len(by_unit), parameters, better)


def uniform_nats(predictions: int, vocabulary: int) -> Float64[np.ndarray, " P"]:
    """-ln q of every prediction if all tokens are equally likely."""
    return np.full(predictions, math.log(vocabulary))


def unigram_nats(targets: Int[np.ndarray, " P"]) -> Float64[np.ndarray, " P"]:
    """-ln of the frequency of each predicted token among all that are predicted."""
    _, where, counts = np.unique(targets, return_inverse=True, return_counts=True)
    return np.log(len(targets) / counts)[where]


def interval(by_unit: Float64[np.ndarray, " units"], resamples: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the sum, units drawn with replacement; more than 10,000 in groups of neighbours."""
    if len(by_unit) < 2 or not resamples:
        return math.nan, math.nan
    if len(by_unit) > GROUPS:
        by_unit = np.add.reduceat(by_unit, np.linspace(0, len(by_unit), GROUPS, endpoint=False).astype(int))
    draws = np.random.default_rng(generator(seed, "bootstrap").initial_seed())
    sums = [by_unit[draws.integers(len(by_unit), size=len(by_unit))].sum() for _ in range(resamples)]
    low, high = np.quantile(sums, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
