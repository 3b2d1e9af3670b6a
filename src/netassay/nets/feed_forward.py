"""The wide part of a next-token predictor: features to logits through one hidden layer."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from netassay.nets.mlp import ACTIVATIONS


def feed_forward(
    features: int, width: int, vocabulary: int, *, activation: str, output_bias: bool, dtype: torch.dtype
) -> nn.Sequential:
    """`hidden` (linear, with bias), the activation, `output` (linear); its weights are not drawn yet."""
    return nn.Sequential(
        OrderedDict(
            hidden=linear(features, width, bias=True, dtype=dtype),
            activation=ACTIVATIONS[activation](),
            output=linear(width, vocabulary, bias=output_bias, dtype=dtype),
        )
    )


def linear(fan_in: int, fan_out: int, *, bias: bool, dtype: torch.dtype) -> nn.Linear:
    """A linear layer whose weights are not drawn: its constructor's own draw would be from the global generator."""
    return torch.nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=bias, dtype=dtype)


def embedding(tokens: int, size: int, *, dtype: torch.dtype, generator: torch.Generator) -> nn.Embedding:
    """Vectors of tokens or positions, standard normal as PyTorch draws them."""
    layer: nn.Embedding = torch.nn.utils.skip_init(nn.Embedding, tokens, size, dtype=dtype)
    nn.init.normal_(layer.weight, generator=generator)
    return layer
