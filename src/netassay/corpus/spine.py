"""The prefixes that very many documents share, as a trie; where documents leave it, they share no longer context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from netassay.corpus.tallies import spread_bits
from netassay.formats.documents import Documents

FEWEST = 16
"""Sampled documents of a prefix below which its share is not trusted."""


class Spine:
    """A trie of prefixes by which documents are separated: node i is the prefix of its parent and one more token.

    Node 0 is the empty prefix, parents come before their children. The choice of prefixes decides how evenly documents
    are spread, never what is counted.

    Attributes:
        parents: (nodes,) of each node; that of node 0 is -1.
        tokens: (nodes,) last token of each prefix; that of node 0 is 0.
        depths: (nodes,) tokens of each prefix.
    """

    def __init__(self, parents: Sequence[int], tokens: Sequence[int]) -> None:
        self.parents, self.tokens = np.array(parents, np.int64), np.array(tokens, np.int64)
        self.depths = np.zeros(len(self.parents), np.int64)
        for node in range(1, len(self.parents)):
            self.depths[node] = self.depths[self.parents[node]] + 1
        self._distinct = np.unique(self.tokens[1:])
        keys = self._keys(self.parents[1:], np.searchsorted(self._distinct, self.tokens[1:]))
        self._order = np.argsort(keys)
        self._sorted_keys = keys[self._order]

    @classmethod
    def of(cls, sample: Documents, largest: float) -> Spine:
        """The prefixes after which a sample of documents has more than a share `largest` of its tokens."""
        parents, tokens = [-1], [0]
        starts, lengths = sample.offsets[:-1], sample.lengths
        limit = largest * len(sample.tokens)
        active, nodes, depth = np.arange(len(sample)), np.zeros(len(sample), np.int64), 0
        while len(active):
            inside = lengths[active] > depth
            active, nodes = active[inside], nodes[inside]
            heads = sample.tokens[starts[active] + depth].astype(np.int64)
            order = np.lexsort((heads, nodes))
            active, nodes, heads = active[order], nodes[order], heads[order]
            new = np.ones(len(active), bool)
            new[1:] = (nodes[1:] != nodes[:-1]) | (heads[1:] != heads[:-1])
            cell = np.cumsum(new) - 1
            documents = np.bincount(cell)
            weights = np.bincount(cell, weights=lengths[active] - depth)
            heavy = np.flatnonzero((weights > limit) & (documents >= FEWEST))
            numbers = np.full(len(documents), -1)
            numbers[heavy] = len(parents) + np.arange(len(heavy))
            first = np.flatnonzero(new)[heavy]
            parents += nodes[first].tolist()
            tokens += heads[first].tolist()
            nodes = numbers[cell]
            active, nodes = active[nodes >= 0], nodes[nodes >= 0]
            depth += 1
        return cls(parents, tokens)

    def __len__(self) -> int:
        return len(self.parents)

    def nodes_of(self, documents: Documents) -> Int64[np.ndarray, " N"]:
        """The longest prefix of each document that is in the trie."""
        starts, lengths = documents.offsets[:-1], documents.lengths
        nodes = np.zeros(len(documents), np.int64)
        active = np.arange(len(documents))
        for depth in range(int(self.depths.max())):
            active = active[lengths[active] > depth]
            children = self._children(nodes[active], documents.tokens[starts[active] + depth].astype(np.int64))
            active, children = active[children > 0], children[children > 0]
            nodes[active] = children
            if not len(active):
                break
        return nodes

    def _children(self, nodes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The node that a token leads to from each node, 0 for none."""
        ranks = np.minimum(np.searchsorted(self._distinct, tokens), len(self._distinct) - 1)
        keys = self._keys(nodes, ranks)
        places = np.minimum(np.searchsorted(self._sorted_keys, keys), len(self._sorted_keys) - 1)
        matches = (self._distinct[ranks] == tokens) & (self._sorted_keys[places] == keys)
        return np.where(matches, self._order[places] + 1, 0)

    def _keys(self, nodes: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        return nodes * max(len(self._distinct), 1) + ranks


def scattered(nodes: Int64[np.ndarray, " N"], heads: Int64[np.ndarray, " N"], portions: int) -> Int64[np.ndarray, " N"]:
    """A portion, 0 to `portions` - 1, for each document by its node and the token after it."""
    bits = spread_bits(spread_bits(nodes.astype(np.uint64)) ^ heads.astype(np.uint64))
    return ((bits >> np.uint64(16)) % np.uint64(portions)).astype(np.int64)
