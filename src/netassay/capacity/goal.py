"""Contexts and the distributions that a constructed model should give after them, and how far a model is from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from netassay.corpus.context import Contexts
from netassay.corpus.target import ReadOut, require_above_bound, targets
from netassay.errors import DataError
from netassay.processes import paced

SCORES_AT_ONCE = 1 << 23
LOGITS_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Goal:
    """n contexts with target distributions over zeta tokens.

    `sequences` (B, T) are rows of tokens, padded with 0 at the end; context i is what a causal model has read at
    flat index `places[i]` = b T + t. `probabilities` (n, zeta) are the target p, `weights` (n,) how often each
    context counts. `documents` (n,) is the number of the document in which each first occurs.
    """

    sequences: Int64[Tensor, "B T"]
    places: Int64[Tensor, " n"]
    probabilities: Float64[Tensor, "n zeta"]
    weights: Float64[Tensor, " n"]
    documents: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def vocabulary(self) -> int:
        return self.probabilities.shape[1]

    @property
    def interior(self) -> bool:
        """Whether no probability is zero."""
        return bool((self.probabilities > 0).all())

    @property
    def entropy(self) -> float:
        """The least weighted cross-entropy in nats: that of p itself."""
        return float(torch.special.entr(self.probabilities).sum(1) @ self.weights)


@dataclass(frozen=True)
class Fit:
    """How near a model comes: `deviation` is the largest |q - p|, `loss` the weighted cross-entropy in nats,
    `gap` the Kullback-Leibler divergence that it has above the bound, summed with the weights, and
    `relative_gap` gap / bound (nan where the bound is 0)."""

    deviation: float
    loss: float
    gap: float
    relative_gap: float


def goal_of_corpus(corpus: Contexts) -> tuple[Goal, Int64[np.ndarray, " zeta"]]:
    """The empirical next-token distributions of a corpus, weighted by counts, and the token ids that the zeta
    columns stand for. Raises DataError where no context holds a token."""
    if not corpus.n:
        raise DataError("no document has two tokens, so there is no context to predict from")
    to = targets(corpus)
    p = torch.zeros(len(to), to.vocabulary, dtype=torch.float64)
    # counts from their source: targets hold them in float32
    distributions = corpus.distributions()
    p[to.contexts, to.tokens] = torch.from_numpy(distributions.probabilities)
    documents = np.searchsorted(corpus.corpus.offsets, distributions.starts, side="right") - 1
    goal = Goal(to.sequences, to.places, p, torch.from_numpy(distributions.totals).double(), documents)
    require_above_bound(goal.entropy, corpus.bound_nats)
    return goal, np.unique(corpus.corpus.tokens)


def goal_of_contexts(contexts: Sequence[Sequence[int]], probabilities: Float64[np.ndarray, "n zeta"]) -> Goal:
    """Given distributions, each context counting once.

    Raises DataError for an empty context, one given twice, a token outside 0..zeta - 1, or weights that are not a
    distribution.
    """
    p = torch.from_numpy(np.array(probabilities, np.float64))
    ids = [tuple(map(int, context)) for context in contexts]
    if p.ndim != 2 or len(p) != len(ids) or not ids:
        raise DataError(
            f"{len(ids)} contexts and probabilities of shape {tuple(p.shape)}; give one row of zeta "
            "probabilities for each context, one context at least"
        )
    first: dict[tuple[int, ...], int] = {}
    for i, context in enumerate(ids):
        if not context or min(context) < 0 or max(context) >= p.shape[1]:
            raise DataError(f"context {i} is {context!r:.60}; its tokens, one at least, are 0..{p.shape[1] - 1}")
        if first.setdefault(context, i) != i:
            raise DataError(f"contexts {first[context]} and {i} are both {context!r:.60}; give each once")
    wrong = (~((p >= 0).all(1) & ((p.sum(1) - 1).abs() < 1e-9))).nonzero()[:, 0]
    if len(wrong):
        raise DataError(f"row {int(wrong[0])} of the probabilities: they are from 0 on and sum to one")
    longest = max(map(len, ids))
    rows = torch.tensor([context + (0,) * (longest - len(context)) for context in ids])
    lengths = torch.tensor([len(context) for context in ids])
    places = torch.arange(len(ids)) * longest + lengths - 1
    return Goal(rows, places, p, torch.ones(len(ids), dtype=torch.float64), np.arange(len(ids)))


@torch.no_grad()
def features_at(model: ReadOut, goal: Goal) -> Float[Tensor, "n d"]:
    """The model's features at every context, rows read in blocks."""
    longest = goal.sequences.shape[1]
    size = max(1, SCORES_AT_ONCE // longest**2)
    features = [
        model.features(rows).flatten(0, 1)
        for rows in paced(goal.sequences.split(size), "contexts", total=len(goal.sequences), size=size)
    ]
    return torch.cat(features)[goal.places]


@torch.no_grad()
def measure(model: ReadOut, goal: Goal) -> Fit:
    """What the model's own forward pass gives after the goal's contexts, softmax and sums in float64.

    Its features are read out once for each context; a loss below the bound by more than rounding fails an
    assertion.
    """
    features = features_at(model, goal)
    deviation, loss, gap = 0.0, 0.0, 0.0
    size = max(1, LOGITS_AT_ONCE // goal.vocabulary)
    for x, p, weights in zip(
        features.split(size), goal.probabilities.split(size), goal.weights.split(size), strict=True
    ):
        log_q = model.read_out(x).double().log_softmax(-1)
        deviation = max(deviation, float((log_q.exp() - p).abs().max().nan_to_num(torch.inf)))
        loss += float(-torch.where(p > 0, p * log_q, 0).sum(1) @ weights)
        # where p > 0 only: 0 (ln 0 - ln q) is 0
        gap += float((torch.xlogy(p, p) - torch.where(p > 0, p * log_q, 0)).sum(1) @ weights)
    bound = goal.entropy
    require_above_bound(loss, bound)
    gap = max(gap, 0.0)
    return Fit(deviation, loss, gap, gap / bound if bound > 0 else float("nan"))
