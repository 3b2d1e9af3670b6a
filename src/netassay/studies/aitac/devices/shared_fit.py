"""Training by several processes, each with its share of every batch.

Rank 0 has the state of the run: weights, moments, their mean, the best epoch, the record. The others have the data and
a copy of the weights that is sent with every step, and follow the orders of rank 0. A batch is drawn and augmented as
in one process and divided into parts of nearly equal size; batch norm uses the statistics of the entire batch, dropout
its mask; losses and gradients of the parts add up, weighted by their numbers of peaks. So a step equals that of one
process up to rounding, and the course of a run follows from the checkpoint alone.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from netassay.nets.sequence_cnn import AITAC, Share
from netassay.nets.shared_norm import share_statistics
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.devices.group import Group, device_of
from netassay.studies.aitac.fit import Fit, Material


class Order(IntEnum):
    """Orders of rank 0 to the other processes."""

    END = 0
    FORWARD = 1
    BACKWARD = 2


class SharedFit(Fit):
    """`Fit` in which every process of `group` computes its part of each batch; rank 0 is the trainee of the loop."""

    def __init__(
        self, config: AitacConfig, data: Material, group: Group, start: AITAC | None = None, origin: str = ""
    ) -> None:
        super().__init__(config.replace(device=device_of(config, group.rank)), data, start, origin)
        self.group = group
        share_statistics(self.model)

    def serve(self) -> None:
        """Loop of the processes other than rank 0, until the order to end."""
        while True:
            order, step = self.group.send(torch.zeros(2, dtype=torch.int64, device=self.device)).tolist()
            if order == Order.END:
                return
            if order == Order.FORWARD:
                self._forward(self._batch(step), step)
            else:
                self._backward()

    def tell(self, order: Order, step: int = 0) -> None:
        """Sends an order, if this process leads."""
        if self.group.leads:
            self.group.send(torch.tensor([order, step], device=self.device))

    def _forward(self, batch: Tensor, step: int) -> float:
        self.tell(Order.FORWARD, step)
        self._send_weights()
        first, last = part_of(len(batch), self.group.rank, self.group.size)
        self.model.share = Share(first, last, len(batch))
        output = self._output(self._augment(batch, step)[first:last], step)
        if first < last:
            loss = self.loss(output, self.data.heights[batch[first:last]].to(self.device))
            self.pending = loss * ((last - first) / len(batch))
        else:
            self.pending = output.sum()  # 0 for no peaks; its gradients are computed like those of the others
        return self.group.sum(self.pending.detach().clone()).item()

    def _backward(self) -> None:
        self.tell(Order.BACKWARD)
        super()._backward()
        slopes = [p.grad for p in self.model.parameters() if p.grad is not None]
        # one tensor of fixed layout, so that the order of summation is fixed
        total = self.group.sum(torch.cat([slope.flatten() for slope in slopes]))
        _spread(total, slopes)

    @torch.no_grad()
    def _send_weights(self) -> None:
        tensors = [t for t in self.model.state_dict().values() if t.is_floating_point()]
        values = self.group.send(torch.cat([t.flatten() for t in tensors]))
        if not self.group.leads:
            _spread(values, tensors)


def part_of(peaks: int, rank: int, size: int) -> tuple[int, int]:
    """First and last (exclusive) peak of a batch for a process; sizes differ by at most one."""
    return peaks * rank // size, peaks * (rank + 1) // size


def _spread(values: Tensor, targets: list[Tensor]) -> None:
    parts = values.split([target.numel() for target in targets])
    for part, target in zip(parts, targets, strict=True):
        target.copy_(part.view_as(target))
