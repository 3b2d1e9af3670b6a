"""Training and test sets of the edge study, including those without files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from netassay.errors import DataError
from netassay.numerics.seeds import generator
from netassay.studies.edge.setting import Setting

GREY_LEVELS = 16


class Examples(NamedTuple):
    """Inputs, one flat row per example, and class labels, or the targets of a regression.

    For text both are token ids: the inputs of each position, and the tokens that follow.
    """

    inputs: Float[Tensor, "n features"] | Int[Tensor, "n tokens"]
    labels: Int[Tensor, " n"] | Int[Tensor, "n tokens"] | Float[Tensor, "n outputs"]

    def to(self, device: torch.device | str) -> Examples:
        return Examples(self.inputs.to(device), self.labels.to(device))


class Data(NamedTuple):
    """`classes` is the number of outputs; `image` the channels, height and width of a row that is an image.

    `left_out` counts data of the source that could not be used, by reason.
    """

    train: Examples
    test: Examples
    classes: int
    image: tuple[int, int, int] | None = None
    left_out: Mapping[str, int] = MappingProxyType({})

    def to(self, device: torch.device | str) -> Data:
        return self._replace(train=self.train.to(device), test=self.test.to(device))

    def digest(self) -> str:
        """SHA-256 of the training set's numbers."""
        digest = hashlib.sha256()
        for part in self.train:
            digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def require(self, digest: str) -> None:
        """DataError if the training set is not the one of that digest: a run must not go on with other data."""
        if (own := self.digest()) != digest:
            raise DataError(
                f"the training data changed since this run began: SHA-256 {digest[:12]} then, {own[:12]} now; restore "
                "the old data, or begin a new run in another store"
            )


def digits(
    examples: int,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    test_examples: int | None = None,
) -> Data:
    """Scikit-learn's digits: `examples` of the 1,797 for training, at most `test_examples` of the others for testing.

    Grey values are scaled to a range of one, minus the training set's mean. The order is one fixed
    permutation, the same for every run seed, so that runs share their data.
    """
    pixels, labels = _digits()
    order = torch.randperm(len(labels), generator=generator(0, "digits"))
    x = torch.as_tensor(pixels, dtype=torch.float64)[order]
    y = torch.as_tensor(labels, dtype=torch.int64)[order]
    x = ((x - x[:examples].mean()) / GREY_LEVELS).to(dtype)
    data = split(x, y, examples, test_examples)
    return data._replace(classes=10, image=(1, 8, 8)).to(device)


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    # otherwise reading the file takes a third of the time of short runs
    import polars as pl

    with resources.as_file(resources.files("netassay") / "shipped" / "digits.parquet") as file:
        digits = pl.read_parquet(file)
    return np.array(digits["pixels"].to_list(), np.float64), np.array(digits["label"])


def chebyshev(points: int, degree: int, *, dtype: torch.dtype) -> Data:
    """T_degree, the Chebyshev polynomial, at evenly spaced points of [-1, 1]; tested midway between them.

    The toy regression of Cohen et al. (2021): 20 points, degree 3 to 5. A single point is at -1.
    """
    x = torch.linspace(-1, 1, points, dtype=torch.float64)
    sets = [x, (x[1:] + x[:-1]) / 2]
    train, test = (
        Examples(s[:, None].to(dtype), torch.special.chebyshev_polynomial_t(s, degree)[:, None].to(dtype)) for s in sets
    )
    return Data(train, test, classes=1)


def split(x: Tensor, y: Tensor, examples: int, test_examples: int | None) -> Data:
    """The first `examples` for training, the following (at most `test_examples`) for testing; outputs as in y."""
    last = None if test_examples is None else examples + test_examples
    outputs = y.shape[1] if y.is_floating_point() else int(y.max()) + 1
    return Data(Examples(x[:examples], y[:examples]), Examples(x[examples:last], y[examples:last]), outputs)


def require_image(setting: Setting, data: Data) -> tuple[int, int, int]:
    """Channels, height and width of the data's rows; DataError if they are not images."""
    if data.image is None:
        raise DataError(
            f"data = {setting.data!r} are not images, which network = 'cnn' needs; use network = 'mlp', or arrays "
            "whose x has the shape (n, height, width) or (n, channels, height, width)"
        )
    return data.image


def require_bases(setting: Setting, data: Data) -> int:
    """Length of the sequences that are the data's rows; DataError if they are not one-hot DNA."""
    if data.image is None or data.image[:2] != (1, 4):
        raise DataError(
            f"data = {setting.data!r} are not DNA, which network = 'aitac' needs; use data = 'dhs4', or arrays whose x "
            "has the shape (n, 4, length), one row each for A, C, G and T"
        )
    return data.image[2]
