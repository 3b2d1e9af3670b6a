"""Metrics of the edge study at one set of weights: names and numbers.

A metric's part is "" for the whole network or the name of a layer; eigenvalues have their rank as part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from netassay.curvature.eigen import Eigenpairs
from netassay.curvature.largest_curvature import Sharpness
from netassay.studies.edge.data import Examples
from netassay.studies.edge.networks import Loss, accuracy
from netassay.training import Metric

Layers = Mapping[str, Sequence[str]]


def norms(name: str, tensors: Mapping[str, Tensor], layers: Layers) -> dict[Metric, float]:
    """Euclidean norms of a parameter-shaped vector: in total, and of each layer."""
    squares = {key: value.double().square().sum().item() for key, value in tensors.items()}
    total: dict[Metric, float] = {(name, ""): sum(squares.values()) ** 0.5}
    return total | {(name, layer): sum(squares[key] for key in keys) ** 0.5 for layer, keys in layers.items()}


@torch.no_grad()
def performance(model: nn.Module, loss: Loss, train: Examples, test: Examples) -> dict[Metric, float]:
    """Accuracy on both sets and the loss on the test set.

    An empty test set gives no numbers; a regression (targets of floating point) has no accuracy.
    """
    values: dict[Metric, float] = {}
    classes = not train.labels.is_floating_point()
    if classes:
        values[("accuracy", "train")] = accuracy(model(train.inputs), train.labels)
    if len(test.labels):
        output = model(test.inputs)
        values[("test_loss", "")] = loss(output, test.labels).item()
        if classes:
            values[("accuracy", "test")] = accuracy(output, test.labels)
    return values


def curvature(
    sharpness: Sharpness, edge_ratio: Callable[[float], float], tensors: Mapping[str, Tensor], layers: Layers
) -> dict[Metric, float]:
    """Sharpness of the network and of each block with its error, residual, products and edge ratio.

    `edge_ratio` divides an eigenvalue by the optimiser's threshold: for gradient descent eta lambda / 2.

    leading_weight is the share of each layer in the leading eigenvector, ||v_l||^2; the shares sum to one.
    `tensors` (the parameters) give names and sizes of the eigenvector's entries, in their order.
    """
    values: dict[Metric, float] = {}
    matrices: dict[str, Sharpness | Eigenpairs] = {"": sharpness, **sharpness.blocks}
    for part, pairs in matrices.items():
        leading = pairs.values[0].item()
        values |= {
            ("sharpness", part): leading,
            ("sharpness_error", part): pairs.errors[0].item(),
            ("sharpness_residual", part): pairs.residuals[0].item(),
            ("edge_ratio", part): edge_ratio(leading),
            ("products", part): float(pairs.products),
        }
    for rank, value in enumerate(sharpness.values.tolist(), start=1):
        values[("eigenvalue", str(rank))] = value
    pieces = sharpness.vectors[:, 0].double().square().split([tensor.numel() for tensor in tensors.values()])
    weights = {key: piece.sum().item() for key, piece in zip(tensors, pieces, strict=True)}
    return values | {("leading_weight", layer): sum(weights[key] for key in keys) for layer, keys in layers.items()}


def preconditioned(sharpness: Sharpness, edge_ratio: Callable[[float], float]) -> dict[Metric, float]:
    """The same for P^-1 H, in total and per block, whose ratio to the threshold replaces the Hessian's."""
    values: dict[Metric, float] = {}
    matrices: dict[str, Sharpness | Eigenpairs] = {"": sharpness, **sharpness.blocks}
    for part, pairs in matrices.items():
        leading = pairs.values[0].item()
        values |= {
            ("preconditioned_sharpness", part): leading,
            ("preconditioned_sharpness_error", part): pairs.errors[0].item(),
            ("preconditioned_products", part): float(pairs.products),
            ("edge_ratio", part): edge_ratio(leading),
        }
    return values
