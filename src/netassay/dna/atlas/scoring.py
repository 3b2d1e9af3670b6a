"""Motif scores along sequences: integers, so that every sum is exact, with exact p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from netassay.formats.bases import one_hot
from netassay.processes import paced

UNITS_PER_BIT = 100
PEAKS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Scorer:
    """Log odds (4, width) against equally frequent bases in hundredths of a bit, and the lowest score of a site."""

    odds: Int64[np.ndarray, "4 width"]
    threshold: int

    @property
    def width(self) -> int:
        return self.odds.shape[1]

    @property
    def best(self) -> int:
        """The score of the consensus."""
        return int(self.odds.max(axis=0).sum())


def scorer(probabilities: np.ndarray, p_value: float) -> Scorer:
    """Scores of a motif (4, width); at most `p_value` of random sequences reach the score of a site.

    The law of the score is found exactly, column by column (Staden 1989). The consensus is always a site, and every
    site has at least half of its score.
    """
    odds = np.round(UNITS_PER_BIT * np.log2(probabilities * 4)).astype(np.int64)
    low = odds.min(axis=0)
    law = np.ones(1)
    for column, lowest in zip(odds.T, low, strict=True):
        wider = np.zeros(len(law) + int(column.max() - lowest))
        for score in column:
            shift = int(score - lowest)
            wider[shift : shift + len(law)] += law / 4
        law = wider
    tail = np.cumsum(law[::-1])[::-1]
    reached = np.flatnonzero(tail <= p_value * (1 + 1e-9))
    best = int(odds.max(axis=0).sum())
    rare = int(reached[0] + low.sum()) if len(reached) else best
    return Scorer(odds, max(rare, best // 2))


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites in the order of peak, then motif; `start` is on the forward strand, `strand` +1 or -1."""

    peak: Int64[np.ndarray, " s"]
    motif: Int64[np.ndarray, " s"]
    start: Int64[np.ndarray, " s"]
    strand: Int64[np.ndarray, " s"]
    score: Int64[np.ndarray, " s"]


def scan(codes: UInt8[Tensor, "n length"], scorers: Sequence[Scorer]) -> Sites:
    """Every site of every motif on both strands that lies entirely within its sequence; a place with sites on both
    strands counts once, with the better."""
    width = max(entry.width for entry in scorers)
    kernels = torch.zeros(2, len(scorers), 4, width)
    ends = torch.full((len(scorers), 1), codes.shape[1])
    for i, entry in enumerate(scorers):
        odds = torch.from_numpy(entry.odds).float()
        kernels[0, i, :, : entry.width] = odds
        kernels[1, i, :, : entry.width] = odds.flip(0, 1)  # A C G T reversed is T G C A
        ends[i] -= entry.width
    thresholds = torch.tensor([[float(entry.threshold)] for entry in scorers])
    fits = torch.arange(codes.shape[1])[None] <= ends
    parts = []
    firsts = range(0, len(codes), PEAKS_AT_ONCE)
    for first in paced(firsts, "peaks", total=len(codes), size=PEAKS_AT_ONCE):
        rows = one_hot(codes[first : first + PEAKS_AT_ONCE])
        padded = torch.nn.functional.pad(rows, (0, width - 1))
        scores = torch.nn.functional.conv1d(padded, kernels.flatten(0, 1)).unflatten(1, (2, -1))
        better, strand = scores.max(dim=1)
        peak, motif, start = ((better >= thresholds) & fits).nonzero(as_tuple=True)
        index = (peak, motif, start)
        parts.append(torch.stack([peak + first, motif, start, 1 - 2 * strand[index], better[index].round().long()]))
    peak, motif, start, strand, score = torch.cat(parts, dim=1).numpy()
    return Sites(peak, motif, start, strand, score)
