"""Batch norm over a batch whose rows are spread over processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, distributed, nn


class SharedBatchNorm(nn.BatchNorm1d):
    """In training, normalises by mean and variance of the rows of all processes of the default group together.

    Equals what one process would compute for the whole batch, gradients included, up to rounding, even where a process
    has no row; all must call it and its backward pass in the same order. torch.nn.SyncBatchNorm works only on GPUs. A
    batch of one row is normalised as in evaluation. In evaluation it is an ordinary batch norm.
    """

    def forward(self, x: Float[Tensor, "rows channels"]) -> Float[Tensor, "rows channels"]:
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        exact = x.to(self.weight.dtype)
        totals = _sum(torch.cat([exact.sum(0), exact.new_tensor([float(len(x))])]))
        count = totals[-1].item()
        if count <= 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        mean = totals[:-1] / count
        centred = exact - mean
        variance = _sum(centred.square().sum(0)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias, centred, scale).to(x.dtype)


def share_statistics(model: nn.Module) -> None:
    """Replaces every batch norm of `model` by a `SharedBatchNorm` with the same parameters and buffers."""
    for name, norm in list(model.named_modules()):
        if type(norm) is nn.BatchNorm1d:
            shared = SharedBatchNorm(norm.num_features, eps=norm.eps, momentum=norm.momentum)
            # an optimiser may hold the parameters already
            for part, tensor in [*norm.named_parameters(), *norm.named_buffers()]:
                setattr(shared, part, tensor)
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, shared.train(norm.training))


def _sum(part: Tensor) -> Tensor:
    return _Sum.apply(part)  # type: ignore[no-untyped-call]


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each process's loss depends on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        return _Sum._over_processes(part)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return _Sum._over_processes(slope)

    @staticmethod
    def _over_processes(part: Tensor) -> Tensor:
        total = part.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total
