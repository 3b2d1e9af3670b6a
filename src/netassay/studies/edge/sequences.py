"""Sequences as data of the edge study: text as token ids, DNA as one-hot rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from netassay.dna.atlas.dhs4 import CELL_TYPES, LENGTH, read_sites
from netassay.errors import DataError
from netassay.formats.bases import one_hot
from netassay.formats.corpus import TOPICS, read_in_parts
from netassay.formats.documents import Documents
from netassay.formats.text import Unit
from netassay.numerics.seeds import generator
from netassay.studies.edge.data import Data, Examples

TOKENS = 10
"""First tokens of each document: the experiment of Madden, Fox, Thrampoulidis (2025), section 7."""

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
