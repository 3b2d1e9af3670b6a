"""How far to trust contributions of bases: do methods agree, and do they depend on what was learned?"""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def shuffled_weights(model: Module, generator: torch.Generator) -> Module:
    """A copy in which every unit keeps its weights but loses which of its inputs each belongs to.

    Contributions that stay the same do not depend on what was learned. Biases and norms are unchanged.

    Args:
        model: Any module.
        generator: Draws the orders.

    Returns:
        The copy.

    Source:
        Adebayo et al. (2018), sanity checks for saliency maps.

    Example:
        >>> import torch
        >>> from netassay.dna.attributions import shuffled_weights
        >>> model = torch.nn.Linear(5, 2)
        >>> shuffled = shuffled_weights(model, torch.Generator())
        >>> bool((shuffled.weight.sort().values == model.weight.sort().values).all())
        True
    """
    copy = deepcopy(model)
    for layer in copy.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            rows = layer.weight.flatten(1)
            order = torch.rand(rows.shape, generator=generator, dtype=torch.float64).argsort(1)
            layer.weight.copy_(rows.gather(1, order.to(rows.device)).view_as(layer.weight))
    return copy


def site_auroc(contributions: Float[Tensor, "n length"], inside: Bool[Tensor, "n length"]) -> Float[Tensor, " n"]:
    """How well the size of contributions separates bases in a site from the others of a sequence, 0.5 by chance.

    Args:
        contributions: (n, length).
        inside: (n, length) whether each base is in a site.

    Returns:
        (n,) areas under the ROC curve; NaN where all bases are of one kind.

    Example:
        >>> import torch
        >>> from netassay.dna.attributions import site_auroc
        >>> site_auroc(torch.tensor([[0.1, -2.0, 1.0]]), torch.tensor([[False, True, True]])).tolist()
        [1.0]
    """
    from scipy.stats import rankdata

    ranks = torch.from_numpy(np.asarray(rankdata(contributions.abs().double().numpy(), axis=1), np.float64))
    n_inside = inside.sum(1).double()
    n_outside = inside.shape[1] - n_inside
    above = (ranks * inside).sum(1) - n_inside * (n_inside + 1) / 2
    return torch.where((n_inside > 0) & (n_outside > 0), above / (n_inside * n_outside), torch.nan)
