"""Convolution along a sequence with fewer multiplications, as one matrix product per frequency.

A correlation y_t = sum_k w_k x_{t+k-p} is bilinear, so it can be written y = C^T [(A x) * (G w)] with fixed matrices.
Here A and G are the discrete Fourier transform of a length that holds the whole linear correlation, and C is its
inverse. The product of two complex numbers takes three real ones (Gauss); the sums that this needs are rows of A and G
and columns of C, so that real matrix products are all there is. For 84 positions and 11 taps this takes 140
products per pair of channels where the definition takes 924. Gradients use the same three matrices.

Source: Winograd, Arithmetic Complexity of Computations (1980); Mathieu, Henaff, LeCun, Fast training of convolutional
networks through FFTs (ICLR 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Transforms(NamedTuple):
    """y = inverse^T [(inputs x) * (taps w)]; rank r is the number of products for each pair of channels."""

    inputs: Float[Tensor, "r length"]
    taps: Float[Tensor, "r width"]
    inverse: Float[Tensor, "r positions"]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # they are cached, and training cannot use tensors made in inference mode
def transforms(
    length: int,
    width: int,
    padding: int,
    positions: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> Transforms:
    """The three matrices for inputs of `length`, `width` taps and outputs at `positions` (may repeat).

    Position t is the one at which an ordinary convolution padded by `padding` zeros gives its t-th output.
    """
    period = length + width - 1
    angle = 2 * math.pi / period
    position = torch.arange(length, dtype=torch.float64)
    # a correlation is a convolution with the taps reversed, whose output number t + width - 1 - padding is ours
    tap = width - 1 - torch.arange(width, dtype=torch.float64)
    output = torch.tensor(positions, dtype=torch.float64) + (width - 1 - padding)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for frequency in range(period // 2 + 1):
        turn = angle * frequency
        if frequency == 0 or 2 * frequency == period:  # the two real ones
            rows.append((torch.cos(turn * position), torch.cos(turn * tap), torch.cos(turn * output) / period))
            continue
        x_re, x_im = torch.cos(turn * position), -torch.sin(turn * position)
        w_re, w_im = torch.cos(turn * tap), -torch.sin(turn * tap)
        c, s = 2 * torch.cos(turn * output) / period, 2 * torch.sin(turn * output) / period
        # k1 = w_re (x_re + x_im), k2 = x_re (w_im - w_re), k3 = x_im (w_re + w_im): product (k1 - k3) + i (k1 + k2)
        rows += [(x_re + x_im, w_re, c - s), (x_re, w_im - w_re, -s), (x_im, w_re + w_im, -c)]
    return Transforms(*(torch.stack(part).to(device=device, dtype=dtype) for part in zip(*rows, strict=True)))


def saves_work(length: int, width: int, positions: int, inputs: int, outputs: int) -> bool:
    """Whether transforms and products take less than half of the multiplications of the definition."""
    rank = 3 * (length + width) // 2
    work = rank * (inputs * length + outputs * positions + inputs * outputs)
    return 2 * work < positions * width * inputs * outputs


def correlate(
    x: Float[Tensor, "length batch inputs"],
    weight: Float[Tensor, "outputs inputs width"],
    positions: Sequence[int],
    *,
    padding: int,
) -> Float[Tensor, "positions batch outputs"]:
    """`conv1d(x, weight, padding=padding)` at `positions`, for inputs and outputs with the length first.

    In single precision it agrees with the definition to about 1e-6 of the largest output.
    """
    matrices = transforms(len(x), weight.shape[2], padding, tuple(positions), x.dtype, x.device)
    return correlate_transformed(x, transformed_taps(weight, matrices), matrices)


def transformed_taps(
    weight: Float[Tensor, "outputs inputs width"], matrices: Transforms
) -> Float[Tensor, "r inputs outputs"]:
    """G w, the taps by frequency; the same for every batch."""
    outputs, inputs, width = weight.shape
    return (matrices.taps @ weight.permute(2, 1, 0).reshape(width, -1)).view(-1, inputs, outputs)


def correlate_transformed(
    x: Float[Tensor, "length batch inputs"], taps: Float[Tensor, "r inputs outputs"], matrices: Transforms
) -> Float[Tensor, "positions batch outputs"]:
    """`correlate` with taps that `transformed_taps` made for the same matrices."""
    length, batch, inputs = x.shape
    spectrum = (matrices.inputs @ x.reshape(length, -1)).view(len(taps), batch, inputs)  # (r, batch, inputs)
    products = torch.bmm(spectrum, taps)  # (r, batch, outputs)
    outputs = matrices.inverse.T @ products.view(len(taps), -1)
    return outputs.view(len(outputs), batch, taps.shape[2])
