"""The networks of this study, its losses, and its metrics at one set of weights.

A metric's part is "" for the whole network or the name of a layer; eigenvalues have their rank as part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from netassay.curvature.eigen import Eigenpairs
from netassay.curvature.largest_curvature import Sharpness
from netassay.nets.cnn import CNN
from netassay.nets.decoder import ExperimentDecoder
from netassay.nets.mlp import MLP, NORMALISATIONS
from netassay.nets.sequence_cnn import AITAC, STAGES
from netassay.numerics.devices import generator
from netassay.studies.edge.config import Setting
from netassay.studies.edge.data import Data, Examples, require_bases, require_image
from netassay.training import Metric

Build = Callable[[Setting, Data, torch.Generator, torch.dtype], nn.Module]


def _mlp(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return MLP(
        data.train.inputs.shape[1],
        data.classes,
        residual=setting.residual,
        **_layers(setting, weights, dtype),
    )


def _cnn(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return CNN(require_image(setting, data), data.classes, **_layers(setting, weights, dtype))


def _layers(setting: Setting, weights: torch.Generator, dtype: torch.dtype) -> dict[str, Any]:
    keys = ("depth", "width", "activation", "bias", "normalisation", "initialisation")
    return {**{key: getattr(setting, key) for key in keys}, "generator": weights, "dtype": dtype}


def _decoder(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return ExperimentDecoder(data.classes, setting.width, activation=setting.activation, generator=weights, dtype=dtype)


class RowsAITAC(AITAC):
    """AI-TAC on flat rows, without dropout, so that its loss is a function of the weights alone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unflatten(1, (4, self.length)))


def _aitac(setting: Setting, data: Data, weights: torch.Generator, dtype: torch.dtype) -> nn.Module:
    """The published proportions at width 300: 200 channels, 1,000 hidden units."""
    width = setting.width
    channels = max(1, round(2 * width / 3))
    model = RowsAITAC(
        data.classes,
        length=require_bases(setting, data),
        n_filters=width,
        n_channels=channels,
        n_hidden=max(1, round(10 * width / 3)),
        dropout=0.0,
        generator=weights,
    )
    for i in range(1, len(STAGES) + 1):
        # running averages would make the loss depend on more than the weights: the set's own statistics, or none
        norm = NORMALISATIONS.get(setting.normalisation)
        features = width if i == 1 else channels
        setattr(model, f"norm{i}", nn.Identity() if norm is None else norm(features, dtype=dtype))
    return model.to(dtype)


NETWORKS: dict[str, Build] = {"mlp": _mlp, "cnn": _cnn, "decoder": _decoder, "aitac": _aitac}
"""A new network is one entry here and one word of `Setting.network`."""


def network(setting: Setting, data: Data, *, dtype: torch.dtype, seed: int | None = None) -> nn.Module:
    """The network of a setting for its data, at the first weights of its seed (or of `seed`), on the CPU."""
    weights = generator(setting.seed if seed is None else seed, "init")
    return NETWORKS[setting.network](setting, data, weights, dtype)


Loss = Callable[[Tensor, Tensor], Tensor]


def mse(
    output: Float[Tensor, "*n classes"], labels: Int[Tensor, "*n"] | Float[Tensor, "n classes"]
) -> Float[Tensor, ""]:
    """Half the sum of squares to the one-hot class or given targets, averaged over examples (Cohen et al. 2021)."""
    target = labels if labels.is_floating_point() else F.one_hot(labels, output.shape[-1]).to(output.dtype)
    return 0.5 * (output - target).square().sum(dim=-1).mean()


def cross_entropy(output: Float[Tensor, "*n classes"], labels: Int[Tensor, "*n"]) -> Float[Tensor, ""]:
    """- log softmax of the true class, in nats, averaged over examples (for text: over positions)."""
    return F.cross_entropy(output.flatten(0, -2), labels.flatten())


LOSSES: dict[str, Loss] = {"mse": mse, "cross_entropy": cross_entropy}


@torch.no_grad()
def constant_loss(name: str, labels: Int[Tensor, "*n"] | Float[Tensor, "n outputs"]) -> float:
    """The named loss of the best constant output: the loss to beat.

    mse: half the targets' variance, summed over outputs; cross_entropy: the entropy of the classes' shares, in nats.
    """
    target = labels if labels.is_floating_point() else F.one_hot(labels.flatten())
    target = target.double()
    if name == "mse":
        return 0.5 * (target - target.mean(dim=0)).square().sum(dim=1).mean().item()
    return torch.special.entr(target.mean(dim=0)).sum().item()


@torch.no_grad()
def accuracy(output: Float[Tensor, "*n classes"], labels: Int[Tensor, "*n"]) -> float:
    """Share of examples whose largest output is the true class, 0 to 1."""
    return (output.argmax(dim=-1) == labels).double().mean().item()


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


def curvature_metrics(
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


def preconditioned_metrics(sharpness: Sharpness, edge_ratio: Callable[[float], float]) -> dict[Metric, float]:
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
