"""Random sequences with motif instances written into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netassay.dna.atlas.scoring import Scorer

# rows: this base, columns: the next, in the order A, C, G, T; C is seldom followed by G, as in vertebrate genomes
NEXT_BASE = np.array(
    [
        [0.32, 0.18, 0.26, 0.24],
        [0.32, 0.28, 0.06, 0.34],
        [0.27, 0.22, 0.27, 0.24],
        [0.20, 0.22, 0.26, 0.32],
    ]
)
MOST_SITES, TRIES = 4, 12
PAIRED, AT_PREFERRED = 0.4, 0.6


@dataclass(frozen=True, eq=False)
class Instances:
    """Motif instances that were written: peak, motif, first base, strand (+1 or -1)."""

    peak: np.ndarray
    motif: np.ndarray
    start: np.ndarray
    strand: np.ndarray


def background(n: int, length: int, draw: np.random.Generator) -> np.ndarray:
    """Codes (n, length) of a chain in which each base depends on the one before (`NEXT_BASE`)."""
    cumulated = NEXT_BASE.cumsum(axis=1)
    cumulated[:, -1] = 1
    uniform = draw.random((n, length))
    codes = np.empty((n, length), np.uint8)
    codes[:, 0] = (uniform[:, 0] * 4).astype(np.uint8)
    for position in range(1, length):
        codes[:, position] = (uniform[:, position, None] >= cumulated[codes[:, position - 1]]).sum(axis=1)
    return codes


def plant(
    codes: np.ndarray,
    probabilities: Sequence[np.ndarray],
    scorers: Sequence[Scorer],
    pairs: Sequence[tuple[int, int, float]],
    draw: np.random.Generator,
) -> Instances:
    """Writes up to four instances into every sequence, in place; none overlaps another.

    A share of the sequences gets the two motifs of a pair (first, second, preferred distance of their centres),
    most of these at about that distance, the others anywhere; the remaining instances are of any motif.
    """
    instances: list[tuple[int, int, int, int]] = []
    for peak, sequence in enumerate(codes):
        occupied = np.zeros(len(sequence), bool)
        for motif, start in _places(len(sequence), scorers, pairs, draw):
            width = scorers[motif].width
            if start < 0 or start + width > len(sequence) or occupied[start : start + width].any():
                continue
            strand = 1 if draw.random() < 0.5 else -1
            letters = instance(probabilities[motif], scorers[motif], draw)
            sequence[start : start + width] = letters if strand > 0 else 3 - letters[::-1]
            occupied[start : start + width] = True
            instances.append((peak, motif, start, strand))
    return Instances(*np.array(instances, dtype=np.int64).reshape(-1, 4).T)


def _places(
    length: int, scorers: Sequence[Scorer], pairs: Sequence[tuple[int, int, float]], draw: np.random.Generator
) -> list[tuple[int, int]]:
    """Motifs and their first bases, to be tried in this order."""
    sites = []
    if pairs and draw.random() < PAIRED:
        first, second, distance = pairs[int(draw.integers(len(pairs)))]
        start = int(draw.integers(length - scorers[first].width + 1))
        sites.append((first, start))
        if draw.random() < AT_PREFERRED:
            side = 1 if draw.random() < 0.5 else -1
            centre = start + scorers[first].width / 2 + side * (distance + draw.normal(0, 2))
            sites.append((second, round(centre - scorers[second].width / 2)))
        else:
            sites.append((second, int(draw.integers(length - scorers[second].width + 1))))
    for _ in range(int(draw.integers(MOST_SITES + 1 - len(sites)))):
        motif = int(draw.integers(len(scorers)))
        sites.append((motif, int(draw.integers(length - scorers[motif].width + 1))))
    return sites


def instance(probabilities: np.ndarray, scorer: Scorer, draw: np.random.Generator) -> np.ndarray:
    """Codes of a sequence drawn from a motif (4, width) that is a site of it; its consensus if chance gives none."""
    cumulated = probabilities.cumsum(axis=0)
    candidates = (draw.random((TRIES, 1, scorer.width)) >= cumulated[:3]).sum(axis=1)
    scores = scorer.odds[candidates, np.arange(scorer.width)].sum(axis=1)
    good = np.flatnonzero(scores >= scorer.threshold)
    return (candidates[good[0]] if len(good) else scorer.odds.argmax(axis=0)).astype(np.uint8)
