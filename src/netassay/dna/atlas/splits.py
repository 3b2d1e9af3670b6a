"""Training, validation and test sets: by chromosome, at random, in folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
import polars as pl
import torch
from jaxtyping import Int64
from torch import Tensor

from netassay.dna.atlas.choices import SplitKind
from netassay.errors import DataError
from netassay.formats.contigs import known_as
from netassay.numerics.devices import generator


class Split(NamedTuple):
    """Rows of three disjoint sets, each ascending: the epoch is chosen on validation, the score is that on test.

    Attributes:
        train: Rows of the training set.
        validation: Rows of the validation set.
        test: Rows of the test set.

    Example:
        >>> import torch
        >>> from netassay.dna.atlas import Split
        >>> Split(torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([3])).test.tolist()
        [3]
    """

    train: Int64[Tensor, " train"]
    validation: Int64[Tensor, " validation"]
    test: Int64[Tensor, " test"]


def by_chromosome(chromosomes: pl.Series, *, test: Sequence[str], validation: Sequence[str]) -> Split:
    """Whole chromosomes held out; names match with or without "chr"."""
    available = chromosomes.unique().drop_nulls().to_list()
    if not available:
        raise DataError(
            "the atlas has no chromosomes, so neighbours cannot be kept apart; split it at random or in folds"
        )
    groups = {}
    for role, names in (("test", test), ("validation", validation)):
        groups[role] = {_known_chromosome(name, available, role) for name in names}
    if shared := groups["test"] & groups["validation"]:
        raise DataError(f"chromosome {', '.join(sorted(shared))} is named for test and for validation; give it once")
    tested, validated = (chromosomes.is_in(list(groups[role])).to_numpy() for role in ("test", "validation"))
    return _split_of(~(tested | validated), validated, tested)


def at_random(n: int, *, seed: int, test_share: float, validation_share: float) -> Split:
    """A random share of all peaks for testing, and of the rest for validation."""
    for name, share in (("test_share", test_share), ("validation_share", validation_share)):
        if not 0 <= share < 1:
            raise DataError(f"{name} = {share}: a share is from 0 to below 1")
    order = torch.randperm(n, generator=generator(seed, "split")).numpy()
    tested = round(n * test_share)
    validated = round((n - tested) * validation_share)
    return _from_parts(n, order[:tested], order[tested : tested + validated])


def in_folds(n: int, *, seed: int, folds: int, fold: int) -> Split:
    """Fold `fold` (from 0) for testing, the next one for validation, the rest for training."""
    _check_fold(n, folds, fold, "peaks")
    parts = np.array_split(torch.randperm(n, generator=generator(seed, "folds")).numpy(), folds)
    return _from_parts(n, parts[fold], parts[(fold + 1) % folds])


def in_chromosome_folds(chromosomes: pl.Series, *, seed: int, folds: int, fold: int) -> Split:
    """As `in_folds`, with every chromosome in a single fold; folds hold about equally many peaks.

    Chromosomes go to the emptiest fold, the largest first, ties in an order drawn from the seed.
    """
    counts = dict(chromosomes.drop_nulls().value_counts().sort(chromosomes.name).iter_rows())
    _check_fold(len(counts), folds, fold, "chromosomes")
    tie = torch.randperm(len(counts), generator=generator(seed, "folds")).tolist()
    order = sorted(zip(counts, tie, strict=True), key=lambda pair: (-counts[pair[0]], pair[1]))
    numbers = torch.randperm(folds, generator=generator(seed, "places")).tolist()
    filled, home = [0] * folds, {}
    for name, _ in order:
        emptiest = min(range(folds), key=lambda i: filled[i])
        filled[emptiest] += counts[name]
        home[name] = numbers[emptiest]
    where = chromosomes.replace_strict(home, return_dtype=pl.Int64, default=None).to_numpy()
    validated = where == (fold + 1) % folds
    return _split_of(~((where == fold) | validated), validated, where == fold)


def choose(
    kind: SplitKind,
    chromosomes: pl.Series,
    *,
    test: Sequence[str],
    validation: Sequence[str],
    seed: int,
    test_share: float,
    validation_share: float,
    folds: int,
    fold: int,
) -> Split:
    """The split of that kind; arguments that the kind does not use are ignored."""
    n = len(chromosomes)
    if kind == "chromosome":
        return by_chromosome(chromosomes, test=test, validation=validation)
    if kind == "random":
        return at_random(n, seed=seed, test_share=test_share, validation_share=validation_share)
    if kind == "folds":
        return in_folds(n, seed=seed, folds=folds, fold=fold)
    if kind == "chromosome-folds":
        return in_chromosome_folds(chromosomes, seed=seed, folds=folds, fold=fold)
    raise DataError(f"split {kind!r}: allowed are {', '.join(get_args(SplitKind))}")


def _known_chromosome(name: str, names: list[str], role: str) -> str:
    if form := known_as(name, names):
        return form
    raise DataError(
        f"{role} chromosome {name!r} holds no peak; the atlas has {', '.join(sorted(names)[:30])}; name one of these, "
        "or split at random or in folds"
    )


def _check_fold(n: int, folds: int, fold: int, unit: str) -> None:
    if not 3 <= folds <= n:
        raise DataError(
            f"folds = {folds}: allowed are 3 (test, validation and training need one each) to {n}, the number of {unit}"
        )
    if not 0 <= fold < folds:
        raise DataError(f"fold = {fold}: allowed are 0 to {folds - 1}")


def _from_parts(n: int, test: np.ndarray, validation: np.ndarray) -> Split:
    roles = np.zeros(n, np.int8)
    roles[validation], roles[test] = 1, 2
    return _split_of(roles == 0, roles == 1, roles == 2)


def _split_of(train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> Split:
    if not train.any():
        raise DataError("the split leaves no peak for training; keep fewer chromosomes or a smaller share out")
    return Split(*(torch.from_numpy(np.flatnonzero(part)) for part in (train, validation, test)))
