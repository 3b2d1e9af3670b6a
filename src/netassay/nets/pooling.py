"""The maximum over neighbours, with a backward pass that streams through memory."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def greatest(x: Float[Tensor, "windows pool batch channels"]) -> Float[Tensor, "windows batch channels"]:
    """The maximum of each window, along dimension 1; its slope goes to the first place that attains it.

    Values and slopes are those of PyTorch's max-pooling, which on tensors with the length first takes several times
    as long.
    """
    return _Greatest.apply(x)[0] if x.requires_grad else x.amax(1)  # type: ignore[no-untyped-call]


class _Greatest(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, ...]:
        best, leads = x[:, 0], []
        for rival in x.unbind(1)[1:]:
            leads.append(rival - best)  # above zero exactly where the rival overtakes
            best = torch.maximum(best, rival)
        return best, *leads

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> Tensor:
        pieces = []
        for lead in reversed(ctx.saved_tensors):
            taken = torch.ops.aten.threshold_backward(slope, lead, 0)  # the slope where lead > 0, else 0
            pieces.append(taken)
            slope = slope - taken
        return torch.stack([slope, *reversed(pieces)], 1)
