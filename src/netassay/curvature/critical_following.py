"""Critical sharpness along a training, each look from the one before."""

from __future__ import annotations

from typing import Any

from torch import nn

from netassay.curvature.critical import CriticalSharpness, critical_sharpness
from netassay.curvature.forward import Batches, Loss
from netassay.curvature.line_search import MEASURED


class CriticalFollower:
    """Looks at the critical sharpness of a model again and again while it is trained.

    A look begins from the last that was measured, and spends 2 or 3 forward passes where that is still near. The
    arguments are those of `critical_sharpness`, whose errors it raises; after one, the next look begins anew.
    """

    def __init__(self, *, direction: Any = "gradient", tolerance: float = 0.05, **keywords: Any) -> None:
        self.direction, self.tolerance, self.keywords = direction, tolerance, keywords
        self.last: CriticalSharpness | None = None
        """The last result that was measured."""

    def follow(
        self, model: nn.Module, loss: Loss, batches: Batches, *, present_loss: float | None = None
    ) -> CriticalSharpness:
        """At the present weights; `present_loss` is the loss over the batches there, where the training knows it."""
        begin, self.last = self.last, None
        now = critical_sharpness(
            model, loss, batches, direction=self.direction, tolerance=self.tolerance, start=begin,
            present_loss=present_loss, **self.keywords,
        )  # fmt: skip
        self.last = now if now.status == MEASURED else begin
        return now
