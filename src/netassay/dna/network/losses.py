"""Losses from predictions and heights (peaks, cell types), as means over peaks, and what they leave free."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from netassay.dna.network.classes import FEWEST

FREE = ("pearson", "cross_entropy")
"""Losses that stay the same when all outputs of a peak rise together: correlation across cell types, softmax."""

LESS_MEAN = "outputs less their mean over the cell types of the peak"
"""How outputs are reported under these losses, in words."""


AS_THEY_ARE = "outputs as the network gives them"


def outputs_in_words(less_mean: bool) -> str:
    """How outputs are reported, in words."""
    return LESS_MEAN if less_mean else AS_THEY_ARE


def offset_is_free(loss: str) -> bool:
    """Whether a network trained by this loss may add any number to a peak's row of outputs."""
    return loss in FREE


def loss_of(module: str, loss: str) -> str:
    """The loss of a user's network; where it is not given, that of AI-TAC (no module) is a correlation."""
    return loss or ("mse" if module else "pearson")


EPSILON = 1e-6

Loss = Callable[[Tensor, Tensor], Tensor]


def pearson_loss(
    prediction: Float[Tensor, "peaks cell_types"], observed: Float[Tensor, "peaks cell_types"]
) -> Float[Tensor, ""]:
    """Mean over peaks of 1 - Pearson correlation across cell types.

    The correlation is the cosine of the centred rows, each norm at least 1e-6: a constant row counts as r = 0 and
    moves no weight. Free of scale and offset of each row.

    Args:
        prediction: (peaks, cell types).
        observed: (peaks, cell types).

    Returns:
        The loss, 0 to 2.

    Source:
        Maslova et al. (2020).

    Example:
        >>> import torch, netassay
        >>> round(float(netassay.pearson_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 1.0]]))), 5)
        2.0
    """
    a, b = (rows - rows.mean(dim=1, keepdim=True) for rows in (prediction, observed))
    return (1 - F.cosine_similarity(a, b, dim=1, eps=EPSILON)).mean()


def pearson_rows(
    prediction: Float[Tensor, "rows columns"], observed: Float[Tensor, "rows columns"]
) -> Float[Tensor, " rows"]:
    """Pearson correlation of each row, in double precision.

    Args:
        prediction: (rows, columns).
        observed: (rows, columns).

    Returns:
        (rows,); NaN where a row is constant or not finite, and for fewer than three columns, where the correlation is
        1 or -1 whatever the values.

    Source:
        Maslova et al. (2020).

    Example:
        >>> import torch, netassay
        >>> one, other = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 4.0, 6.0]])
        >>> round(float(netassay.pearson_rows(one, other)), 6)
        1.0
    """
    if prediction.shape[1] < FEWEST:
        return torch.full((len(prediction),), torch.nan, dtype=torch.float64, device=prediction.device)
    centred = []
    for rows in (prediction, observed):
        exact = rows.double()
        constant = (exact == exact[:, :1]).all(dim=1, keepdim=True)
        less_mean = exact - exact.mean(dim=1, keepdim=True)
        centred.append(torch.where(constant, torch.nan, less_mean))
    a, b = (rows / rows.norm(dim=1, keepdim=True) for rows in centred)
    return (a * b).sum(dim=1).clamp(-1, 1)


def mse(prediction: Float[Tensor, "peaks cell_types"], observed: Float[Tensor, "peaks cell_types"]) -> Tensor:
    """Squared error, mean over peaks and cell types."""
    return F.mse_loss(prediction, observed)


def poisson(prediction: Float[Tensor, "peaks cell_types"], observed: Float[Tensor, "peaks cell_types"]) -> Tensor:
    """Poisson negative log likelihood without its constant, exp(prediction) the rate; heights from 0 up."""
    return F.poisson_nll_loss(prediction, observed, log_input=True)


def cross_entropy(
    prediction: Float[Tensor, "peaks cell_types"],
    observed: Float[Tensor, "peaks cell_types"],
    smoothing: float = 0.0,
) -> Tensor:
    """- log softmax at the cell type in which the peak is open, in nats; `observed` is one-hot."""
    return F.cross_entropy(prediction, observed, label_smoothing=smoothing)


def binary_cross_entropy(
    prediction: Float[Tensor, "peaks cell_types"], observed: Float[Tensor, "peaks cell_types"]
) -> Tensor:
    """- log of the logistic chance of each label, in nats, mean over peaks and labels; a peak may have several."""
    return F.binary_cross_entropy_with_logits(prediction, observed)


def loss_named(name: str, smoothing: float = 0.0) -> Loss:
    """The loss of that name."""
    losses: dict[str, Loss] = {
        "pearson": pearson_loss,
        "mse": mse,
        "poisson": poisson,
        "binary_cross_entropy": binary_cross_entropy,
        "cross_entropy": partial(cross_entropy, smoothing=smoothing),
    }
    return losses[name]


def is_one_of_k(heights: Float[Tensor, "peaks cell_types"]) -> bool:
    """Whether every peak is open (1) in exactly one of several cell types and closed (0) in the others."""
    return heights.shape[1] > 1 and bool(((heights == 0) | (heights == 1)).all() and (heights.sum(dim=1) == 1).all())


def is_labels(heights: Float[Tensor, "peaks cell_types"]) -> bool:
    """Whether every height is 0 or 1, and both occur."""
    return bool(((heights == 0) | (heights == 1)).all() and (heights == 0).any() and (heights == 1).any())
