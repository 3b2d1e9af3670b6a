"""How unlikely it is that two motifs are as much alike by chance, for many pairs at once."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from netassay.formats.motifs import Motifs
from netassay.studies.aitac.interpret.match import compare

_AT_ONCE = 256  # queries: the table of their pairs is held as rows


def likeness(queries: Motifs, targets: Motifs) -> Float64[Tensor, "queries targets"]:
    """Tomtom's p-value (`compare`) of every query against every target, 1 where either is too short."""
    p = torch.ones(len(queries), len(targets), dtype=torch.float64)
    for first in range(0, len(queries), _AT_ONCE):
        part = queries.select(range(first, min(first + _AT_ONCE, len(queries))))
        pairs = compare(part, targets)
        p[pairs["query"].to_torch() + first, pairs["target"].to_torch()] = pairs["p"].to_torch()
    return p
