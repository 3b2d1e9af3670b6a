"""A small image network: convolutions, pooling, a linear output."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from netassay.nets.mlp import ACTIVATIONS, initialise, linear
from netassay.nets.unset import unset

POOLED_AT = 4
"""Images are halved by average pooling after each layer while both sides have at least this many pixels."""

# batch: by the statistics of the batch at hand; layer: over channels and pixels of one image
NORMALISATIONS: dict[str, Callable[..., nn.Module]] = {
    "batch": lambda width, dtype: nn.BatchNorm2d(width, track_running_stats=False, dtype=dtype),
    "layer": lambda width, dtype: nn.GroupNorm(1, width, dtype=dtype),
}


class CNN(nn.Sequential):
    """`depth` convolutions of 3 x 3 pixels with `width` channels, and a linear output.

    Inputs (n, channels * height * width) are taken as images of shape `image`. Each convolution keeps the size and is
    followed by the normalisation, if any, the activation, and 2 x 2 average pooling, smooth so that the loss has a
    Hessian (Cohen et al. 2021, Appendix), as long as both sides have at least `POOLED_AT` pixels. Layers are named
    layer1, norm1, ..., output. Weights are drawn only from `generator`, by a rule of `nets.initialisation`.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        outputs: int,
        *,
        depth: int = 2,
        width: int = 32,
        activation: str = "tanh",
        bias: bool = True,
        normalisation: str = "none",
        initialisation: str = "pytorch",
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        channels, height, breadth = image
        layers: OrderedDict[str, nn.Module] = OrderedDict(image=nn.Unflatten(1, image))
        for i in range(1, depth + 1):
            layers[f"layer{i}"] = unset(nn.Conv2d, channels, width, 3, padding=1, bias=bias, dtype=dtype)
            if normalisation != "none":
                layers[f"norm{i}"] = NORMALISATIONS[normalisation](width, dtype=dtype)
            layers[f"{activation}{i}"] = ACTIVATIONS[activation]()
            if min(height, breadth) >= POOLED_AT:
                layers[f"pool{i}"] = nn.AvgPool2d(2)
                height, breadth = height // 2, breadth // 2
            channels = width
        layers["flatten"] = nn.Flatten()
        layers["output"] = linear(channels * height * breadth, outputs, bias=bias, dtype=dtype)
        super().__init__(layers)
        initialise(self, initialisation, generator)
