"""Training and test sets of the edge study."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netassay.numerics.seeds import generator

GREY_LEVELS = 16


class Examples(NamedTuple):
    """Inputs, grey values scaled to a range of one with the training set's mean taken off, and class labels."""

    inputs: Float[Tensor, "n features"]
    labels: Int[Tensor, " n"]


class Data(NamedTuple):
    train: Examples
    test: Examples
    classes: int


def digits(examples: int, *, dtype: torch.dtype, device: torch.device) -> Data:
    """Scikit-learn's digits: `examples` of the 1,797 for training, the others for testing.

    The order is one fixed permutation, the same for every run seed, so that runs share their data.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=generator(0, "digits"))
    x = torch.as_tensor(pixels, dtype=torch.float64)[order]
    y = torch.as_tensor(labels, dtype=torch.int64)[order]
    x = ((x - x[:examples].mean()) / GREY_LEVELS).to(device=device, dtype=dtype)
    y = y.to(device)
    return Data(Examples(x[:examples], y[:examples]), Examples(x[examples:], y[examples:]), classes=10)
