"""One run: a stage for each number of features, solved in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_digits

from double_descent.config import DoubleDescentConfig
from double_descent.findings import tables as tables
from netassay.numerics.devices import generator
from netassay.training import Metric, Recorder, Result, stages


def assay(config: DoubleDescentConfig, recorder: Recorder, **keywords: Any) -> Result:
    """Fits every number of features that is left to do; keywords go to `training.stages`."""
    widths, regression = config.widths(), Regression(config)
    # all that later stages depend on follows from the config, so a checkpoint needs no facts of its own
    names = [f"{width} features" for width in widths]
    return stages(recorder, lambda step: regression.fit(widths[step]), facts=dict, names=names, **keywords)


class Regression:
    """Digits, their labels as rows of 0 and 1, and random features; those of a small fit are among those of a large."""

    def __init__(self, config: DoubleDescentConfig) -> None:
        images, digits = load_digits(return_X_y=True)
        order = torch.randperm(len(digits), generator=generator(config.seed, "images"))
        pixels, labels = torch.tensor(images)[order] / 16, torch.tensor(digits)[order]
        noisy = torch.rand(len(order), generator=generator(config.seed, "noise")) < config.noise
        noisy[config.examples :] = False
        drawn = torch.randint(10, (len(order),), generator=generator(config.seed, "labels"))
        self.targets = torch.nn.functional.one_hot(torch.where(noisy, drawn, labels), 10).double()
        draws = generator(config.seed, "features")
        directions = torch.randn(config.most_features, pixels.shape[1], generator=draws, dtype=torch.float64)
        self.features = torch.relu(pixels @ directions.T)
        self.examples, self.ridge = config.examples, config.ridge

    def fit(self, width: int) -> Mapping[Metric, float]:
        """Losses of the fit on the first `width` features."""
        features = self.features[:, :width] / width**0.5
        train, test = features[: self.examples], features[self.examples :]
        known, unknown = self.targets[: self.examples], self.targets[self.examples :]
        weights = least_squares(train, known, self.ridge)
        wrong = (test @ weights).argmax(dim=1) != unknown.argmax(dim=1)
        return {
            "features": float(width),
            "loss": float((train @ weights - known).square().mean()),
            "test_loss": float((test @ weights - unknown).square().mean()),
            "test_error": float(wrong.double().mean()),
            "norm": float(weights.norm()),
        }


def least_squares(inputs: torch.Tensor, targets: torch.Tensor, ridge: float) -> torch.Tensor:
    """Weights (features, outputs) of least mean square plus `ridge` times their square; of least norm for 0."""
    if ridge == 0:
        return torch.linalg.lstsq(inputs, targets, driver="gelsd").solution
    gram = inputs.T @ inputs + ridge * len(inputs) * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    return torch.linalg.solve(gram, inputs.T @ targets)
