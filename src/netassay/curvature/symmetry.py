"""How far a matrix known only by its products is from symmetric."""

from __future__ import annotations

import torch
from torch import Tensor

PIECE = 2**17  # numbers converted to float64 at once, few enough for a processor's cache


def asymmetry(u: Tensor, hu: Tensor, v: Tensor, hv: Tensor) -> float:
    """sqrt(n) |u'Hv - v'Hu| / max(|Hu|, |Hv|) for unit u and v: the difference of the two sides, equal for a
    symmetric H, as a share of the products; the square root compensates for the small overlap of random vectors.
    """
    sums = torch.zeros(6, dtype=torch.float64, device=u.device)
    for a, ha, b, hb in zip(*(t.split(PIECE) for t in (u, hu, v, hv)), strict=True):
        a, ha, b, hb = a.double(), ha.double(), b.double(), hb.double()
        sums += torch.stack([a @ hb, b @ ha, a @ a, b @ b, ha @ ha, hb @ hb])
    left, right, uu, vv, huhu, hvhv = sums.tolist()
    size = max((huhu / uu) ** 0.5, (hvhv / vv) ** 0.5)
    return len(u) ** 0.5 * abs(left - right) / (uu * vv) ** 0.5 / size if size > 0 else 0.0
