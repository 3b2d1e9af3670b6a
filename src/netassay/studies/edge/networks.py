"""The networks of the edge study by the name that configs use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from netassay.nets.cnn import CNN
from netassay.nets.mlp import MLP
from netassay.numerics.seeds import generator
from netassay.studies.edge.data import Data, require_image
from netassay.studies.edge.setting import Setting

Build = Callable[[Setting, Data, torch.Generator, torch.dtype], nn.Module]


def _mlp(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return MLP(
        data.train.inputs.shape[1],
        data.classes,
        depth=setting.depth,
        width=setting.width,
        activation=setting.activation,
        bias=setting.bias,
        normalisation=setting.normalisation,
        residual=setting.residual,
        initialisation=setting.initialisation,
        generator=weights,
        dtype=dtype,
    )


def _cnn(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return CNN(
        require_image(setting, data),
        data.classes,
        depth=setting.depth,
        width=setting.width,
        activation=setting.activation,
        bias=setting.bias,
        normalisation=setting.normalisation,
        initialisation=setting.initialisation,
        generator=weights,
        dtype=dtype,
    )


NETWORKS: dict[str, Build] = {"mlp": _mlp, "cnn": _cnn}
"""A further network is one entry here and one word of `Setting.network`."""


def network(setting: Setting, data: Data, *, dtype: torch.dtype, seed: int | None = None) -> nn.Module:
    """The network of a setting for its data, at the first weights of its seed (or of `seed`), on the CPU."""
    weights = generator(setting.seed if seed is None else seed, "init")
    return NETWORKS[setting.network](setting, data, weights, dtype)
