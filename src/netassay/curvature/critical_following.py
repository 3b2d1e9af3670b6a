"""Critical sharpness during training, each measurement starting from the one before."""

from __future__ import annotations

from typing import Any

from torch import nn

from netassay.curvature.critical import CriticalSharpness, critical_sharpness
from netassay.curvature.forward import Batches, Loss
from netassay.curvature.line_search import MEASURED


class CriticalFollower:
    """Measures the critical sharpness of a model repeatedly while it is trained.

    A measurement starts from the last one, and takes 2 or 3 forward passes if that is still near. After an error (see
    `critical_sharpness`) the next one starts afresh.

    Args:
        direction: As for `critical_sharpness`.
        tolerance: Half the relative width of the interval (0 to 0.5).
        keywords: Other arguments of `critical_sharpness`.

    Example:
        >>> import torch, netassay
        >>> model, x, y = torch.nn.Linear(3, 1), torch.randn(20, 3), torch.randn(20, 1)
        >>> follower = netassay.CriticalFollower()
        >>> looks = [follower.follow(model, torch.nn.MSELoss(), [(x, y)]) for _ in range(2)]
        >>> looks[1].passes <= looks[0].passes
        True
    """

    def __init__(self, *, direction: Any = "gradient", tolerance: float = 0.05, **keywords: Any) -> None:
        self.direction, self.tolerance, self.keywords = direction, tolerance, keywords
        self.last: CriticalSharpness | None = None
        """The last result that was measured."""

    def follow(
        self, model: nn.Module, loss: Loss, batches: Batches, *, present_loss: float | None = None
    ) -> CriticalSharpness:
        """At the present weights; `present_loss` is the loss over the batches there, if the training knows it."""
        begin, self.last = self.last, None
        now = critical_sharpness(
            model,
            loss,
            batches,
            direction=self.direction,
            tolerance=self.tolerance,
            start=begin,
            present_loss=present_loss,
            **self.keywords,
        )
        self.last = now if now.status == MEASURED else begin
        return now
