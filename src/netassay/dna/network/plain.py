"""AI-TAC built only from PyTorch's own modules, for tools that attach rules to modules (DeepLIFT)."""

from __future__ import annotations

from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.dna.network.network import form_of
from netassay.nets.sequence_cnn import AITAC, STAGES


class Exponential(nn.Module):
    """exp(x), as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


class BothStrands(nn.Module):
    """Mean output of a module over each one-hot sequence and its reverse complement."""

    def __init__(self, strand: nn.Module) -> None:
        super().__init__()
        self.strand = strand

    def forward(self, x: Float[Tensor, "batch 4 length"]) -> Float[Tensor, "batch outputs"]:
        return (self.strand(x) + self.strand(x.flip(1, 2))) / 2


def plain(model: AITAC) -> nn.Module:
    """A copy of `model` in evaluation mode with the same outputs, in the order of the paper: activation, then pooling.

    Convolutions, activations, poolings, norms and linear layers are modules, not function calls, so that each can have
    a rule. Weights are copies without gradients.
    """
    layers: list[nn.Module] = []
    for i, stage in enumerate(STAGES, 1):
        exponential = i == 1 and model.first_activation == "exponential"
        layers += [
            getattr(model, f"convolution{i}"),
            Exponential() if exponential else nn.ReLU(),
            nn.MaxPool1d(stage.pool, padding=1),
            getattr(model, f"norm{i}"),
        ]
    layers += [nn.Flatten(), model.hidden1, nn.ReLU(), model.hidden2, nn.ReLU(), model.output]
    strand = nn.Sequential(*deepcopy(layers))
    module = BothStrands(strand) if model.reverse_complement else strand
    return module.eval().requires_grad_(False)


def combined(model: nn.Module, weights: Float[Tensor, "outputs k"]) -> nn.Module:
    """`model` followed by a combination of its outputs."""
    device, dtype = form_of(model)
    last = nn.utils.skip_init(nn.Linear, *weights.shape, bias=False, device=device, dtype=dtype)
    with torch.no_grad():
        last.weight.copy_(weights.T)
    return nn.Sequential(model, last.requires_grad_(False))
