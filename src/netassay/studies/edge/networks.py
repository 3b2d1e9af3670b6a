"""The networks of this study, and its losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from netassay.nets.cnn import CNN
from netassay.nets.decoder import ExperimentDecoder
from netassay.nets.mlp import MLP, NORMALISATIONS
from netassay.nets.sequence_cnn import AITAC, STAGES
from netassay.numerics.devices import generator
from netassay.studies.edge.config import Setting
from netassay.studies.edge.data import Data, require_bases, require_image

Build = Callable[[Setting, Data, torch.Generator, torch.dtype], nn.Module]


def _mlp(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return MLP(
        data.train.inputs.shape[1],
        data.classes,
        residual=setting.residual,
        **_layers(setting, weights, dtype),
    )


def _cnn(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return CNN(require_image(setting, data), data.classes, **_layers(setting, weights, dtype))


def _layers(setting: Setting, weights: torch.Generator, dtype: torch.dtype) -> dict[str, Any]:
    keys = ("depth", "width", "activation", "bias", "normalisation", "initialisation")
    return {**{key: getattr(setting, key) for key in keys}, "generator": weights, "dtype": dtype}


def _decoder(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return ExperimentDecoder(data.classes, setting.width, activation=setting.activation, generator=weights, dtype=dtype)


class RowsAITAC(AITAC):
    """AI-TAC on flat rows, without dropout, so that its loss is a function of the weights alone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unflatten(1, (4, self.length)))


def _aitac(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    """The published proportions at width 300: 200 channels, 1,000 hidden units."""
    width = setting.width
    channels = max(1, round(2 * width / 3))
    model = RowsAITAC(
        data.classes,
        length=require_bases(setting, data),
        n_filters=width,
        n_channels=channels,
        n_hidden=max(1, round(10 * width / 3)),
        dropout=0.0,
        generator=weights,
    )
    for i in range(1, len(STAGES) + 1):
        # running averages would make the loss depend on more than the weights: the set's own statistics, or none
        norm = NORMALISATIONS.get(setting.normalisation)
        features = width if i == 1 else channels
        setattr(model, f"norm{i}", nn.Identity() if norm is None else norm(features, dtype=dtype))
    return model.to(dtype)


NETWORKS: dict[str, Build] = {"mlp": _mlp, "cnn": _cnn, "decoder": _decoder, "aitac": _aitac}
"""A new network is one entry here and one word of `Setting.network`."""


def network(setting: Setting, data: Data, *, dtype: torch.dtype, seed: int | None = None) -> nn.Module:
    """The network of a setting for its data, at the first weights of its seed (or of `seed`), on the CPU."""
    weights = generator(setting.seed if seed is None else seed, "init")
    return NETWORKS[setting.network](setting, data, weights, dtype)


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
