"""The unique contexts of a corpus and their next-token counts, as a decoder is trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from netassay.corpus.context import Contexts
from netassay.corpus.distribution import Distributions
from netassay.errors import DataError
from netassay.processes import machine_bytes

ROUNDING = 1e-9
LOGITS_AT_ONCE = 1 << 22
_COPIES = 5
"""Tables of sequences that are in memory at once while they are ordered."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What to memorise: n contexts in B sequences, and k pairs of a context and a next token with its count.

    Tokens are numbered 0..vocabulary - 1 in ascending order of the corpus's own ids.

    Attributes:
        sequences: (B, T) the contexts that are not the beginning of another, padded with token 0; every context is
            the beginning of one of them.
        places: (n,) the flat index b T + t of the model's output that is its prediction for context i, by causality.
        contexts: (k,) the context of each pair, sorted.
        tokens: (k,) the next token of each pair.
        counts: (k,) how often it follows.
        totals: (n,) the counts summed for each context.
        edges: (n + 1,) where the pairs of each context begin.
        vocabulary: Number of tokens.
        bound: Entropy lower bound in nats, the empty context left out.

    Example:
        >>> import netassay
        >>> result = netassay.corpus.targets(netassay.contexts([[0, 1, 2], [0, 2, 1]]))
        >>> result.totals.tolist(), round(result.bound, 3)
        ([2.0, 1.0, 1.0], 1.386)
    """

    sequences: Int64[Tensor, "B T"]
    places: Int64[Tensor, " n"]
    contexts: Int64[Tensor, " k"]
    tokens: Int64[Tensor, " k"]
    counts: Float[Tensor, " k"]
    totals: Float[Tensor, " n"]
    edges: tuple[int, ...]
    vocabulary: int
    bound: float

    def __len__(self) -> int:
        return len(self.places)


@runtime_checkable
class ReadOut(Protocol):
    """A next-token predictor whose logits are a function of features, as those of `nets.decoder`."""

    def features(self, tokens: Tensor) -> Tensor: ...

    def read_out(self, features: Tensor) -> Tensor: ...


def targets(contexts: Contexts) -> Targets:
    """The targets of a corpus's contexts; counts and totals in float32, exact up to 2^24.

    Args:
        contexts: Contexts of the corpus.

    Returns:
        The targets.

    Raises:
        DataError: For contexts that were counted on disk, and sequences that would take half of this machine's memory.

    Example:
        >>> import netassay
        >>> netassay.corpus.targets(netassay.contexts([[0, 1, 2], [0, 2, 1]])).sequences.shape
        torch.Size([2, 2])
    """
    ids = np.unique(contexts.corpus.tokens)
    distributions = contexts.distributions()
    sequences, places = _sequences(contexts, distributions, ids)
    return Targets(
        sequences=torch.from_numpy(sequences),
        places=torch.from_numpy(places),
        contexts=torch.from_numpy(np.repeat(np.arange(len(distributions)), distributions.supports)),
        tokens=torch.from_numpy(np.searchsorted(ids, distributions.tokens)),
        counts=torch.from_numpy(distributions.counts).to(torch.float32),
        totals=torch.from_numpy(distributions.totals).to(torch.float32),
        edges=tuple(distributions.edges.tolist()),
        vocabulary=len(ids),
        bound=contexts.bound_nats,
    )


def gathered(model: ReadOut, to: Targets) -> Float[Tensor, "n d"]:
    """The model's features at every context."""
    return model.features(to.sequences).flatten(0, 1)[to.places]


@torch.no_grad()
def exact_loss(model: ReadOut, to: Targets) -> float:
    """The summed cross-entropy of a model in nats, the softmax and the sum in float64.

    Logits are those of the model in its own arithmetic. No predictor has a loss below the bound: a loss further below
    it than rounding allows is a bug and fails an assertion.

    Args:
        model: A next-token predictor of `nets`.
        to: The targets.

    Returns:
        The loss in nats.

    Example:
        >>> import netassay
        >>> corpus = netassay.contexts([[0, 1, 2], [0, 2, 1]])
        >>> model = netassay.construct(corpus).model
        >>> round(netassay.corpus.exact_loss(model, netassay.corpus.targets(corpus)), 3)
        1.386
    """
    features = gathered(model, to)
    rows = max(1, LOGITS_AT_ONCE // to.vocabulary)
    loss = 0.0
    for first in range(0, len(to), rows):
        last = min(first + rows, len(to))
        entries = slice(to.edges[first], to.edges[last])
        log_q = model.read_out(features[first:last]).double().log_softmax(-1)
        loss -= (to.counts[entries].double() * log_q[to.contexts[entries] - first, to.tokens[entries]]).sum().item()
    require_above_bound(loss, to.bound)
    return loss


def require_above_bound(loss: float, bound: float) -> None:
    """Asserts that a loss is not below the entropy bound by more than a relative 1e-9."""
    assert not loss < bound - ROUNDING * max(bound, 1.0), (
        f"a loss of {loss!r} nats lies below the entropy bound of {bound!r}, which no predictor can"
    )


def _sequences(
    contexts: Contexts, distributions: Distributions, ids: np.ndarray
) -> tuple[Int64[np.ndarray, "B T"], Int64[np.ndarray, " n"]]:
    """The contexts that begin no other, in the order of their tokens, and where in the first of them each ends."""
    longest = int(distributions.lengths.max(initial=1))
    if contexts.window is not None:
        padded = _padded(distributions.starts, distributions.lengths, longest, contexts.corpus.tokens, ids)
        return _maximal(padded, distributions.lengths)
    # without a window contexts begin documents, so that those without their last token hold all of them
    whole = contexts.corpus.lengths > 1
    starts, lengths = contexts.corpus.offsets[:-1][whole], contexts.corpus.lengths[whole] - 1
    padded = _padded(starts, lengths, longest, contexts.corpus.tokens, ids)
    sequences, ends = _maximal(padded, lengths)
    rows = ends // longest
    sizes = np.zeros(len(sequences), np.int64)
    np.maximum.at(sizes, rows, lengths)
    common = _in_common(sequences, sizes)
    rows = rows[np.searchsorted(starts, distributions.starts)]
    # of several sequences that a context begins it stands in the first
    while (earlier := common[rows] >= distributions.lengths).any():
        rows = rows - earlier
    return sequences, rows * longest + distributions.lengths - 1


def _padded(
    starts: np.ndarray, lengths: np.ndarray, longest: int, tokens: np.ndarray, ids: np.ndarray
) -> Int64[np.ndarray, "n T"]:
    """Stretches of a corpus, a row each, padded with -1."""
    needed = _COPIES * len(starts) * longest * 8
    if needed > machine_bytes() // 2:
        raise DataError(
            f"{len(starts):,} sequences filled up to the longest, {longest:,} tokens, take {needed / 1e9:,.1f} GB; cut "
            "the documents with --length, or take shorter ones (--document line)"
        )
    rows = np.full((len(starts), longest), -1)
    for i, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        rows[i, :length] = np.searchsorted(ids, tokens[start : start + length])
    return rows


def _maximal(
    padded: Int64[np.ndarray, "n T"], lengths: Int64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, "B T"], Int64[np.ndarray, " n"]]:
    """The contexts that are not the beginning of another, and where in them each context ends."""
    order = np.lexsort(padded.T[::-1])  # a context comes right before its continuations, as -1 is the smallest token
    rows, sizes = padded[order], lengths[order]
    following = np.roll(rows, -1, axis=0)
    inside = np.arange(padded.shape[1]) < sizes[:, None]
    begins_next = ((rows == following) | ~inside).all(axis=1)
    begins_next[-1:] = False  # the last is followed by nothing
    sequence = np.concatenate([[0], np.cumsum(~begins_next)[:-1]])
    places = np.empty(len(padded), np.int64)
    places[order] = sequence * padded.shape[1] + sizes - 1
    return np.maximum(rows[~begins_next], 0), places


def _in_common(sequences: Int64[np.ndarray, "B T"], sizes: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
    """How many tokens each sequence begins with that the one before begins with too; none begins another."""
    inside = np.arange(sequences.shape[1]) < np.minimum(sizes[1:], sizes[:-1])[:, None]
    same = (sequences[1:] == sequences[:-1]) & inside
    return np.concatenate([[0], same.argmin(axis=1)])
