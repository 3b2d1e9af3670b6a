"""The grammar of a simulated atlas: a lineage tree, factors that act at its nodes, pairs of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
