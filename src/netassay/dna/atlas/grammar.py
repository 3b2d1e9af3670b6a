"""The grammar of the simulated atlas: a lineage tree, factors that act at its nodes, pairs; their sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netassay.dna.atlas.scoring import Scorer


@dataclass(frozen=True)
class Factor:
    """A transcription factor: its JASPAR matrix, and what a site adds to heights below each node of the tree."""

    name: str
    matrix: str
    effects: Mapping[str, float]


@dataclass(frozen=True)
class Pair:
    """Two factors whose sites together add `effect` below `node`, most at `distance` bases between their centres.

    The addition falls off as a Gaussian of standard deviation `spread` around the preferred distance; above zero
    the pair is synergistic, below antagonistic.
    """

    first: str
    second: str
    node: str
    effect: float
    distance: float
    spread: float

    @property
    def name(self) -> str:
        return f"{self.first}+{self.second}"

    @property
    def kind(self) -> str:
        return "synergistic" if self.effect > 0 else "antagonistic"


@dataclass(frozen=True)
class Grammar:
    """The rule by which a simulated atlas's heights follow from its sequences.

    Attributes:
        parents: Parent of each node of the lineage tree, except the root.
        sizes: Number of cell types that hang from a node.
        lineages: Nodes that name the lineages.
        factors: Factors with their motifs and effects.
        pairs: Pairs of factors with their distances and effects.

    Example:
        >>> from netassay.dna.atlas.grammar import HAEMATOPOIESIS
        >>> len(HAEMATOPOIESIS.factors), len(HAEMATOPOIESIS.pairs)
        (16, 6)
    """

    parents: Mapping[str, str]
    sizes: Mapping[str, int]
    lineages: tuple[str, ...]
    factors: tuple[Factor, ...]
    pairs: tuple[Pair, ...]

    @property
    def cell_types(self) -> tuple[str, ...]:
        return tuple(f"{node}.{i + 1}" for node, size in self.sizes.items() for i in range(size))

    def path(self, node: str) -> tuple[str, ...]:
        """The node and all above it, up to the root."""
        above = [node]
        while above[-1] in self.parents:
            above.append(self.parents[above[-1]])
        return tuple(above)

    def nodes(self, cell_type: str) -> tuple[str, ...]:
        """The nodes above a cell type."""
        return self.path(cell_type.rpartition(".")[0])

    def lineage(self, cell_type: str) -> str:
        return next((node for node in self.nodes(cell_type) if node in self.lineages), "")


HAEMATOPOIESIS = Grammar(
    parents={
        "stem": "all",
        "lymphoid": "all",
        "myeloid": "all",
        "B": "lymphoid",
        "T": "lymphoid",
        "innate": "lymphoid",
        "B.early": "B",
        "B.late": "B",
        "T.naive": "T",
        "T.active": "T",
        "monocyte": "myeloid",
        "granulocyte": "myeloid",
    },
    sizes={
        "stem": 3,
        "B.early": 2,
        "B.late": 2,
        "T.naive": 3,
        "T.active": 2,
        "innate": 3,
        "monocyte": 2,
        "granulocyte": 2,
    },
    lineages=("stem", "B", "T", "innate", "myeloid"),
    factors=(
        Factor("Spi1", "MA0080.7", {"myeloid": 1.6, "B": 0.6}),
        Factor("CEBPA", "MA0102.5", {"myeloid": 1.2, "granulocyte": 0.4}),
        Factor("IRF8", "MA0652.2", {"monocyte": 1.2, "B": 0.5}),
        Factor("PAX5", "MA0014.4", {"B": 1.5}),
        Factor("EBF1", "MA0154.5", {"B": 1.3}),
        Factor("PRDM1", "MA0508.4", {"B.late": -1.2}),
        Factor("NFKB1", "MA0105.4", {"B.late": 1.0, "T.active": 0.6}),
        Factor("TCF7", "MA0769.3", {"T": 1.2, "stem": 0.4}),
        Factor("GATA3", "MA0037.5", {"T": 1.1, "innate": 0.6}),
        Factor("KLF2", "MA1515.2", {"T.naive": 1.1}),
        Factor("BATF", "MA1634.2", {"T.active": 1.3}),
        Factor("Runx1", "MA0002.3", {"lymphoid": 0.8, "stem": 0.4}),
        Factor("TBX21", "MA0690.3", {"innate": 1.3, "T.active": 0.5}),
        Factor("HOXA9", "MA0594.3", {"stem": 1.4}),
        Factor("MEIS1", "MA1639.2", {"stem": 1.0}),
        Factor("CTCF", "MA0139.2", {"all": 0.8}),
    ),
    pairs=(
        Pair("PAX5", "EBF1", "B", 1.6, distance=20, spread=4),
        Pair("Spi1", "CEBPA", "myeloid", 1.5, distance=16, spread=4),
        Pair("BATF", "NFKB1", "T.active", 1.6, distance=24, spread=5),
        Pair("Runx1", "TCF7", "T", 1.2, distance=30, spread=6),
        Pair("PAX5", "PRDM1", "B.late", -1.5, distance=25, spread=6),
        Pair("Spi1", "GATA3", "myeloid", -1.6, distance=18, spread=5),
    ),
)
"""Named after mouse immune cells and their known factors; the numbers are made up."""


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
