"""The summed cross-entropy of contexts and its gradient, in one pass over the logits."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.corpus.target import Targets

DEEPEST = -60.0
"""Lower bound of logits in nats, relative to their largest: exp(-60) is lost in a float32 sum, and below it exp would
be a denormal number, which makes late training several times slower."""

CELLS_AT_ONCE = 1 << 18  # 1 MB of float32 logits, which the second-level cache holds through all passes


def cross_entropy(
    hidden: Float[Tensor, "n m"],
    weight: Float[Tensor, "zeta m"],
    bias: Float[Tensor, " zeta"],
    to: Targets,
) -> Float[Tensor, ""]:
    """- sum of c ln q over the entries of `to`, q the softmax of the logits hidden @ weight.T + bias; float64.

    Differentiable once. The rows are processed in blocks: logits, softmax and the three gradients of a block are
    computed while it is in the cache, and the (n, zeta) matrix never exists as a whole. Logits are clamped at DEEPEST.
    """
    return _CrossEntropy.apply(hidden, weight, bias, to)  # type: ignore[no-untyped-call]


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, to: Targets) -> Tensor:
        by_hidden = torch.empty_like(hidden)
        by_weight, by_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        loss = torch.zeros((), dtype=torch.float64)
        rows = max(16, CELLS_AT_ONCE // to.vocabulary)
        for first in range(0, len(to), rows):
            last = min(first + rows, len(to))
            block = hidden[first:last]
            value, by_logits = _block(torch.addmm(bias, block, weight.T), to, first, last)
            loss += value
            torch.mm(by_logits, weight, out=by_hidden[first:last])
            by_weight.addmm_(by_logits.T, block)
            by_bias += by_logits.sum(0)
        ctx.save_for_backward(by_hidden, by_weight, by_bias)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        by_hidden, by_weight, by_bias = ctx.saved_tensors
        factor = upstream[0].to(by_hidden.dtype)
        return by_hidden * factor, by_weight * factor, by_bias * factor, None


def _block(logits: Tensor, to: Targets, first: int, last: int) -> tuple[Tensor, Tensor]:
    """The loss of contexts first..last - 1 and its gradient, which overwrites the logits."""
    entries = slice(to.edges[first], to.edges[last])
    counts, totals = to.counts[entries].to(logits.dtype), to.totals[first:last].to(logits.dtype)
    index = (to.contexts[entries] - first) * to.vocabulary + to.tokens[entries]
    logits.sub_(logits.amax(1, keepdim=True)).clamp_(min=DEEPEST)
    flat = logits.view(-1)
    observed = torch.dot(counts.double(), flat[index].double())
    logits.exp_()
    sums = logits.sum(1)
    loss = torch.dot(totals.double(), sums.double().log()) - observed
    logits.mul_((totals / sums).unsqueeze(1))
    flat.index_add_(0, index, counts, alpha=-1)
    return loss, logits
