"""A smaller network with only some first-layer filters, to show how much of what was learned is in them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from netassay.errors import ModelError
from netassay.nets.sequence_cnn import AITAC

FROZEN = ("convolution1", "norm1")
"""The first layer, which a reduced network keeps unchanged."""


@torch.no_grad()
def reduced_network(model: AITAC, filters: Sequence[int]) -> AITAC:
    """A copy of a network in which the first layer has only some of its filters.

    Weights, biases and batch norm of the first layer and the input channels of the second are copied filter by filter,
    everything else unchanged; the first layer takes no gradients. With all filters, in any order, it computes what
    `model` does. Mode and device are those of `model`.

    Args:
        model: The network.
        filters: Numbers of the filters (from 0), in this order.

    Returns:
        The reduced network.

    Raises:
        ModelError: For numbers that do not exist or occur twice, and for none.

    Source:
        Maslova et al. (2020), reproducible filters.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.reduced_network(model, [0, 2]).n_filters
        2
    """
    n_filters = model.n_filters
    rows = [int(number) for number in filters]
    if wrong := [number for number in rows if not 0 <= number < n_filters]:
        raise ModelError(f"filter {wrong[0]} does not exist; the network has filters 0 to {n_filters - 1}")
    if len(set(rows)) < len(rows):
        raise ModelError(f"filter {next(n for n in rows if rows.count(n) > 1)} is given twice; give it once")
    if not rows:
        raise ModelError("no filter is left; keep at least one")
    state = dict(model.state_dict())
    index = torch.tensor(rows, device=model.output.weight.device)
    for name, tensor in state.items():
        if name.startswith(FROZEN) and tensor.ndim:  # num_batches_tracked is a single number for the layer
            state[name] = tensor[index]
    state["convolution2.weight"] = state["convolution2.weight"][:, index]
    smaller = AITAC(
        len(model.output.bias),
        length=model.length,
        n_filters=len(rows),
        n_channels=len(state["norm2.weight"]),
        n_hidden=len(state["hidden1.bias"]),
        dropout=model.dropout,
        first_activation=model.first_activation,
        reverse_complement=model.reverse_complement,
        generator=torch.Generator(),
    ).to(index.device)
    smaller.load_state_dict(state)
    freeze(smaller)
    return smaller.train(model.training)


def freeze(model: AITAC) -> None:
    """Turns off the gradients of the first layer; its batch norm is fixed only in evaluation mode."""
    for name in FROZEN:
        model.get_submodule(name).requires_grad_(False)
