"""q-values: the lowest false discovery rate at which each of many tests is rejected (Benjamini and Hochberg 1995)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64
from scipy import stats
from torch import Tensor


def q_values(p: Float64[Tensor, "*shape"], tests: int | None = None) -> Float64[Tensor, "*shape"]:
    """q of every p that is not NaN, over all of them.

    Args:
        p: p-values (0 to 1) of any shape.
        tests: Total number of tests, the others with p = 1; by default those given.

    Returns:
        q-values of the same shape.

    Source:
        Benjamini, Hochberg (1995).

    Example:
        >>> import torch
        >>> from netassay.dna.motifs import q_values
        >>> q_values(torch.tensor([0.01, 0.5], dtype=torch.float64)).tolist()
        [0.02, 0.5]
    """
    defined = ~p.isnan()
    values = p[defined].numpy()
    q = torch.full_like(p, torch.nan)
    if len(values):
        ones = np.ones(max(0, (tests or 0) - len(values)))
        adjusted = stats.false_discovery_control(np.concatenate([values, ones]))
        q[defined] = torch.from_numpy(adjusted[: len(values)])
    return q


def q_values_by_row(p: Float64[Tensor, "rows n"]) -> Float64[Tensor, "rows n"]:
    """q-values of each row by itself; no p may be NaN."""
    return torch.from_numpy(stats.false_discovery_control(p.numpy(), axis=1))
