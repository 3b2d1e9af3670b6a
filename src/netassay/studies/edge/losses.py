"""The losses of the edge study, as means over examples; for text over positions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(
    output: Float[Tensor, "*n classes"], labels: Int[Tensor, "*n"] | Float[Tensor, "n classes"]
) -> Float[Tensor, ""]:
    """Half the sum of squares to the one-hot class or given targets, averaged over examples (Cohen et al. 2021)."""
    target = labels if labels.is_floating_point() else F.one_hot(labels, output.shape[-1]).to(output.dtype)
    return 0.5 * (output - target).square().sum(dim=-1).mean()


def cross_entropy(output: Float[Tensor, "*n classes"], labels: Int[Tensor, "*n"]) -> Float[Tensor, ""]:
    """- log softmax of the true class, in nats, averaged over examples (for text: over positions)."""
    return F.cross_entropy(output.flatten(0, -2), labels.flatten())


LOSSES: dict[str, Loss] = {"mse": mse, "cross_entropy": cross_entropy}


@torch.no_grad()
def constant_loss(name: str, labels: Int[Tensor, "*n"] | Float[Tensor, "n outputs"]) -> float:
    """The named loss of the best constant output: the loss to beat.

    mse: half the targets' variance, summed over outputs; cross_entropy: the entropy of the classes' shares, in nats.
    """
    target = labels if labels.is_floating_point() else F.one_hot(labels.flatten())
    target = target.double()
    if name == "mse":
        return 0.5 * (target - target.mean(dim=0)).square().sum(dim=1).mean().item()
    return torch.special.entr(target.mean(dim=0)).sum().item()


@torch.no_grad()
def accuracy(output: Float[Tensor, "*n classes"], labels: Int[Tensor, "*n"]) -> float:
    """Share of examples whose largest output is the true class, 0 to 1."""
    return (output.argmax(dim=-1) == labels).double().mean().item()
