"""Which number of a network's outputs an attribution explains: one output, the mean of some, or a combination."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.errors import ModelError

Output = int | Sequence[int] | Tensor | None


def readout(output: Output, n_outputs: int) -> Float[Tensor, "outputs k"]:
    """Columns of weights (float64) over the outputs, one for each number that is explained.

    An integer names one output; several name their mean; a float tensor (outputs,) is a combination with these
    weights, such as one output less the mean of all; None is every output by itself. Raises ModelError for outputs
    that the network does not have.
    """
    if output is None:
        return torch.eye(n_outputs, dtype=torch.float64)
    if isinstance(output, Tensor) and output.is_floating_point():
        if output.shape != (n_outputs,) or not output.isfinite().all():
            raise ModelError(
                f"weights of shape {tuple(output.shape)} over the outputs: give {n_outputs} finite numbers, "
                "one an output"
            )
        return output.detach().cpu().double()[:, None]
    chosen = _numbers(output)
    if not chosen:
        raise ModelError("no output is named; give one or more, counted from 0")
    for i in chosen:
        if not 0 <= i < n_outputs:
            raise ModelError(f"output {i}: the network has {n_outputs}, counted from 0 to {n_outputs - 1}")
    weights = torch.zeros(n_outputs, 1, dtype=torch.float64)
    weights.index_put_(
        (torch.tensor(chosen),), torch.tensor(1 / len(chosen), dtype=torch.float64), accumulate=True
    )
    return weights


def _numbers(output: int | Sequence[int] | Tensor) -> list[int]:
    try:
        return [index(output)]  # type: ignore[arg-type]
    except TypeError:
        pass
    try:
        return [index(i) for i in output]  # type: ignore[union-attr]
    except TypeError:
        raise ModelError(
            f"output = {output!r}: give the number of an output, counted from 0, several of them for their mean, or a "
            "float tensor of weights over all"
        ) from None


def less_mean(outputs: Float[Tensor, "*n outputs"]) -> Float[Tensor, "*n outputs"]:
    """Outputs of a peak less their mean over all cell types: what sets each apart, free of what all have in common."""
    return outputs - outputs.mean(-1, keepdim=True)


def contrast(output: int, n_outputs: int) -> Float[Tensor, " outputs"]:
    """Weights of one output less the mean of all, `less_mean` as weights."""
    return less_mean(readout(None, n_outputs))[output]
