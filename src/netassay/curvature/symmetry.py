"""How far a matrix known only by its products is from symmetric."""

from __future__ import annotations

import torch
from torch import Tensor


def asymmetry(u: Tensor, hu: Tensor, v: Tensor, hv: Tensor) -> float:
    """sqrt(n) |u'Hv - v'Hu| / max(|Hu|, |Hv|) for unit u and v: the difference of the two sides, equal for a
    symmetric H, as a share of the products; the square root compensates for the small overlap of random vectors.
    """
    u, hu, v, hv = (t.double() for t in (u, hu, v, hv))
    lengths = torch.linalg.vector_norm(u), torch.linalg.vector_norm(v)
    size = max(float(torch.linalg.vector_norm(hu) / lengths[0]), float(torch.linalg.vector_norm(hv) / lengths[1]))
    apart = float((u @ hv - v @ hu).abs() / (lengths[0] * lengths[1]))
    return len(u) ** 0.5 * apart / size if size > 0 else 0.0
