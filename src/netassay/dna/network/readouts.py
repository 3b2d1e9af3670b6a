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
    """Columns of weights over the outputs, one for each number that is explained.

    Args:
        output: An integer: that output; several: their mean; a float tensor (outputs,): a combination with these
            weights; None: every output by itself.
        n_outputs: Number of outputs (1 or more).

    Returns:
        (outputs, k) float64.

    Raises:
        ModelError: For outputs that the network does not have.

    Example:
        >>> from netassay.dna.network import readout
        >>> readout([0, 2], 3)[:, 0].tolist()
        [0.5, 0.0, 0.5]
    """
    if output is None:
        return torch.eye(n_outputs, dtype=torch.float64)
    if isinstance(output, Tensor) and output.is_floating_point():
        if output.shape != (n_outputs,) or not output.isfinite().all():
            raise ModelError(
                f"weights of shape {tuple(output.shape)} over the outputs: give {n_outputs} finite numbers, "
                "one per output"
            )
        return output.detach().cpu().double()[:, None]
    numbers = _numbers(output)
    if not numbers:
        raise ModelError("no output is named; give one or more, counted from 0")
    for i in numbers:
        if not 0 <= i < n_outputs:
            raise ModelError(f"output {i}: the network has {n_outputs}, counted from 0 to {n_outputs - 1}")
    weights = torch.zeros(n_outputs, 1, dtype=torch.float64)
    weights.index_put_((torch.tensor(numbers),), torch.tensor(1 / len(numbers), dtype=torch.float64), accumulate=True)
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
    """Outputs of a peak minus their mean over all cell types: the differences, without what all have in common.

    Args:
        outputs: (..., outputs).

    Returns:
        (..., outputs).

    Example:
        >>> import torch
        >>> from netassay.dna.network import less_mean
        >>> less_mean(torch.tensor([1.0, 3.0])).tolist()
        [-1.0, 1.0]
    """
    return outputs - outputs.mean(-1, keepdim=True)


def contrast(output: int, n_outputs: int) -> Float[Tensor, " outputs"]:
    """Weights of one output minus the mean of all.

    Args:
        output: Number of the output.
        n_outputs: Number of outputs (1 or more).

    Returns:
        (outputs,) float64.

    Raises:
        ModelError: For an output that the network does not have.

    Example:
        >>> from netassay.dna.network import contrast
        >>> contrast(0, 2).tolist()
        [0.5, -0.5]
    """
    return less_mean(readout(None, n_outputs))[output]
