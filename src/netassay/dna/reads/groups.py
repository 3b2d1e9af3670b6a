"""Which group each cell barcode belongs to, and which half of its group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from netassay.errors import DataError
from netassay.formats.cells import read_obs
from netassay.formats.tables import read_pairs
from netassay.formats.word_tables import read_words
from netassay.numerics.draws import numpy_draws

_HEADERS = {"barcode", "barcodes", "cell", "cells", "cell_id", "cellid", "cell_barcode", "index", "id", ""}
_NO_GROUP = {"", "na", "nan", "none", "null"}
BY_FRAGMENT = -1
"""Half of a barcode that is the only one of its group: its fragments are halved instead."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of barcodes.

    Attributes:
        names: Names of the groups, sorted.
        table: Columns barcode, group (its number) and half (0, 1, or -1 where fragments are halved instead).
        source: Name of the table in messages.
        notes: Barcodes without a group, and groups of one barcode.

    Example:
        >>> from netassay.dna.reads import read_groups
        >>> read_groups({"AAAC-1": "B", "AAAG-1": "T"}).table["group"].to_list()
        [0, 1]
    """

    names: tuple[str, ...]
    table: pl.DataFrame
    source: str
    notes: Counter[str] = field(default_factory=Counter)


def read_groups(source: Path | str | Mapping[str, str], *, seed: int = 0) -> Groups:
    """Groups of cell barcodes, each group split at random into two halves of cells.

    Args:
        source: Table of two columns, barcode and group; or FILE:COLUMN, a column of `obs` of a .h5ad or .h5mu, or a
            column of a table whose first column holds the barcodes; or a mapping from barcode to group.
        seed: Seed of the halves.

    Returns:
        The groups.

    Raises:
        DataError: For a file that cannot be read, a column that is not in it, and a table without a group.

    Example:
        >>> from netassay.dna.reads import read_groups
        >>> read_groups({"AAAC-1": "B", "AAAG-1": "T", "AAAT-1": "T"}).names
        ('B', 'T')
    """
    if isinstance(source, Mapping):
        pairs, where = dict(source), "group_by"
    else:
        pairs, where = _pairs(str(source)), str(source)
    return groups_of([*pairs], [*pairs.values()], where, seed=seed)


def groups_of(barcodes: Sequence[str], labels: Sequence[Any], where: str, *, seed: int = 0) -> Groups:
    """Groups of barcodes by their labels; those whose label is empty or missing have none, and are counted."""
    words = [None if label is None or label != label else str(label).strip() for label in labels]
    entries = [
        (str(barcode), word)
        for barcode, word in zip(barcodes, words, strict=True)
        if word is not None and word.lower() not in _NO_GROUP
    ]
    if not entries:
        raise DataError(f"{where}: gives no barcode a group; give two columns, barcode and group")
    names = tuple(sorted({word for _, word in entries}))
    numbers = {name: i for i, name in enumerate(names)}
    frame = pl.DataFrame(
        {"barcode": [barcode for barcode, _ in entries], "group": [numbers[word] for _, word in entries]},
        schema={"barcode": pl.String, "group": pl.Int64},
    )
    notes = Counter({f"cells of {Path(where).name} without a group": len(words) - len(entries)})
    halves = np.full(len(frame), BY_FRAGMENT)
    draws = numpy_draws(seed, 0x6861)
    group = frame["group"].to_numpy()
    # independent of the order of the table
    order = frame["barcode"].arg_sort().to_numpy()
    for number in range(len(names)):
        cells = order[group[order] == number]
        if len(cells) > 1:
            halves[draws.permutation(cells)] = np.arange(len(cells)) % 2
        else:
            notes["groups with one cell, whose fragments are halved in place of its cells"] += 1
    return Groups(names, frame.with_columns(half=pl.Series(halves, dtype=pl.Int64)), where, +notes)


def _pairs(source: str) -> dict[str, str]:
    path, _, column = source.rpartition(":")
    if not path or not Path(path).exists():
        pairs = read_pairs(Path(source))
        first = next(iter(pairs))
        return {key: value for key, value in pairs.items() if key != first or key.lower() not in _HEADERS}
    file = Path(path)
    if file.suffix.lower() in (".h5ad", ".h5mu"):
        barcodes, labels = read_obs(file, column)
    else:
        barcodes, labels = read_words(file, column)
    if twice := [name for name, count in Counter(barcodes).items() if count > 1]:
        raise DataError(f"{path}: barcode {twice[0]!r} occurs twice; give each one row")
    return {
        barcode: "" if label is None or (isinstance(label, float) and math.isnan(label)) else str(label)
        for barcode, label in zip(barcodes, labels, strict=True)
    }
