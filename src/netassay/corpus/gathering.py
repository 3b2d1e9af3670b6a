"""The portions of a shuffled corpus: each counted by itself, then all added up."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from netassay.corpus.context import Contexts, summed_contexts
from netassay.corpus.counting import counting_bytes
from netassay.corpus.parting import PARTING_BYTES, Part, Sums, continuations, count_documents, count_parts
from netassay.corpus.shuffle import Manifest, Shuffle
from netassay.errors import DataError, StoreError
from netassay.files import whole_file
from netassay.formats.documents import Documents
from netassay.formats.spill import Spill, read_block

COPY_BYTES = 16
"""Memory for each token of a portion in addition to counting it."""


def write_index(shuffle: Shuffle, manifests: Sequence[Manifest]) -> Int64[np.ndarray, " portions"]:
    """Writes where the blocks of every portion are; returns the tokens of each portion."""
    rows = np.concatenate([np.insert(manifest.index, 1, shard, axis=1) for shard, manifest in enumerate(manifests)])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    small = all(manifest.about["small"] for manifest in manifests)
    # the last row says whether all ids are small, and the length of the longest document
    with whole_file(shuffle.index) as part:
        np.save(part, np.append(rows, [[int(small), _longest(manifests), 0, 0, 0]], 0))
    return np.bincount(rows[:, 0], weights=rows[:, 4], minlength=shuffle.portions).astype(np.int64)


def count_portion(folder: Path, portion: int) -> None:
    """Counts the contexts of a portion, on disk if necessary, and writes its numbers.

    Raises DataError where a context needs more memory, and StoreError where a file cannot be read or written.
    """
    begin = time.perf_counter()
    shuffle = Shuffle.read(folder)
    index = _index(shuffle)
    small = bool(index[-1, 0])
    first, last = np.searchsorted(index[:-1, 0], [portion, portion + 1])
    rows = np.array(index[first:last])
    documents, tokens = int(rows[:, 3].sum()), int(rows[:, 4].sum())
    sums = Sums(int(index[-1, 1]))
    following = _Following()
    if counting_bytes(documents, tokens, small) + COPY_BYTES * tokens <= shuffle.memory:
        if documents:
            _count(Documents.concatenate(_blocks(shuffle, rows)), shuffle, sums, following)
    else:
        _count_on_disk(shuffle, rows, small, sums, following)
    about = {"documents": documents, "tokens": tokens, "seconds": time.perf_counter() - begin}
    with whole_file(shuffle.tally(portion)) as part:
        arrays: dict[str, Any] = {**sums.arrays(), **following.arrays()}
        np.savez(part, about=np.array(json.dumps(about)), **arrays)


class _Following:
    """How often each count of documents occurs among the tokens after a node."""

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = [np.empty((0, 3), np.int64)]

    def add(self, nodes: np.ndarray, counts: np.ndarray) -> None:
        pairs, times = np.unique(np.stack([nodes, counts], axis=1), axis=0, return_counts=True)
        self._rows.append(np.concatenate([pairs, times[:, None]], axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        return {"following": np.concatenate(self._rows)}


def _count(corpus: Documents, shuffle: Shuffle, sums: Sums, following: _Following) -> None:
    """Counts documents in memory, those of one depth together: what follows a node separates them."""
    nodes = corpus.tokens[corpus.offsets[:-1]]
    depths = shuffle.spine.depths[nodes]
    for depth in np.unique(depths).tolist():
        chosen = depths == depth
        some, its_nodes = corpus.select(chosen), nodes[chosen].astype(np.int64)
        documents = some.gathered(some.offsets[:-1] + 1, some.lengths - 1)
        heads = documents.tokens[documents.offsets[:-1]].astype(np.int64)
        cells, of, counts = _cells(its_nodes, heads)
        documents.tokens[documents.offsets[:-1]] = of
        following.add(cells, counts)
        count_documents(documents, depth, False, sums)


def _cells(nodes: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The node of each distinct (node, token), which of these a document has, and how many have it."""
    order = np.lexsort((heads, nodes))
    nodes, heads = nodes[order], heads[order]
    new = np.ones(len(nodes), bool)
    new[1:] = (nodes[1:] != nodes[:-1]) | (heads[1:] != heads[:-1])
    numbers = np.cumsum(new) - 1
    of = np.empty(len(nodes), np.int64)
    of[order] = numbers
    return nodes[new], of, np.bincount(numbers)


def _count_on_disk(shuffle: Shuffle, rows: np.ndarray, small: bool, sums: Sums, following: _Following) -> None:
    """Counts documents node by node, those of each in a file of its own."""
    spills: dict[int, Spill] = {}
    with tempfile.TemporaryDirectory(prefix="large-", dir=shuffle.folder) as name:
        room = Path(name)
        for block in _blocks(shuffle, rows):
            nodes = block.tokens[block.offsets[:-1]]
            for node in np.unique(nodes).tolist():
                some = block.select(nodes == node)
                spill = spills.setdefault(node, Spill(room / f"node-{node}"))
                spill.append(some.gathered(some.offsets[:-1] + 1, some.lengths - 1))
        for node, spill in spills.items():
            _, counts, _ = continuations(spill, max(shuffle.memory // PARTING_BYTES, 1), shuffle.memory)
            following.add(np.full(len(counts), node), counts)
        depths = shuffle.spine.depths
        parts = [Part(spill, depth=int(depths[node]), complete=False) for node, spill in spills.items()]
        count_parts(parts, sums, shuffle.memory, small, room)


def _index(shuffle: Shuffle) -> np.ndarray:
    try:
        index: np.ndarray = np.load(shuffle.index, mmap_mode="r")
    except (OSError, ValueError) as cause:
        raise StoreError(f"{shuffle.index}: cannot be read ({cause}); start the same command again") from None
    return index


def _blocks(shuffle: Shuffle, rows: np.ndarray) -> Iterator[Documents]:
    for _, shard, offset, _, _ in rows.tolist():
        path = shuffle.data(shard)
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                block = read_block(file)
        except OSError as cause:
            raise StoreError(
                f"{path}: cannot be read ({cause.strerror or cause}); start the same command again"
            ) from None
        if block is None:
            raise StoreError(f"{path}: ends early; delete it and start the same command again")
        yield block


def added_up(shuffle: Shuffle, manifests: Sequence[Manifest]) -> Contexts:
    """The contexts of all portions, and of the prefixes by which they were separated.

    Checked against the bound from comparing entire documents.
    """
    following = [np.empty((0, 3), np.int64)]
    sums = Sums(_longest(manifests))
    tallies = []
    for portion in range(shuffle.portions):
        try:
            with np.load(shuffle.tally(portion)) as file:
                arrays = {name: file[name] for name in file.files if name != "about"}
        except (OSError, ValueError, KeyError) as cause:
            raise StoreError(f"{shuffle.tally(portion)}: cannot be read ({cause}); delete it and start again") from None
        following.append(arrays.pop("following"))
        tallies.append(arrays)
    sums.add_arrays(tallies)
    _add_nodes(shuffle, np.concatenate(following), np.sum([manifest.ended for manifest in manifests], axis=0), sums)
    documents = sum(manifest.about["documents"] for manifest in manifests)
    counts, tokens = _totals(manifests), sum(manifest.about["tokens"] for manifest in manifests)
    result = summed_contexts(sums.totals(documents, tokens), {**counts, "tokens": tokens}, length=shuffle.length)
    return replace(result, window=shuffle.window, tokens=counts["tokens"])


def _longest(manifests: Sequence[Manifest]) -> int:
    return max(int(manifest.about["longest"]) for manifest in manifests)


def _totals(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """Documents, empty, shortened, dropped, tokens and vocabulary of all shards."""
    names = ("documents", "empty", "shortened", "dropped", "tokens")
    totals = {name: sum(manifest.about["counts"][name] for manifest in manifests) for name in names}
    distinct = np.empty(0, np.int64)
    for manifest in manifests:
        distinct = np.union1d(distinct, manifest.ids)
    return {**totals, "vocabulary": len(distinct)}


def _add_nodes(shuffle: Shuffle, following: np.ndarray, ended: np.ndarray, sums: Sums) -> None:
    """Adds the contexts that are nodes, from what follows each and what passes to other nodes."""
    spine = shuffle.spine
    following = following[np.argsort(following[:, 0], kind="stable")]
    edges = np.searchsorted(following[:, 0], np.arange(len(spine) + 1))
    passing: list[list[int]] = [[] for _ in range(len(spine))]
    # children come after their parents
    for node in reversed(range(len(spine))):
        rows = following[edges[node] : edges[node + 1]]
        counts = np.concatenate([np.repeat(rows[:, 1], rows[:, 2]), np.array(passing[node], np.int64)])
        on, over = int(counts.sum()), int(ended[node])
        sums.ends(over, on)
        sums.context(int(spine.depths[node]), counts)
        if node and on + over:
            passing[spine.parents[node]].append(on + over)


def window_joined(short: Contexts, runs: Contexts | None) -> Contexts:
    """Contexts of a window from those of the beginnings of documents and those of the runs of window + 1 tokens."""
    if runs is None or not runs.documents:
        return short
    window = short.window
    assert window is not None
    names = ("contexts", "predictions", "certain", "branches", "unequal", "widest", "nats")
    numbers: dict[str, Any] = {
        f"{name}_by_length": np.append(
            getattr(short, f"{name}_by_length"), getattr(runs, f"{name}_by_length")[window : window + 1]
        )
        for name in names
    }
    return replace(short, **numbers)


def refuse_empty(manifests: Sequence[Manifest], name: str, length: int | None) -> None:
    """DataError where an exact length left out every document."""
    totals = _totals(manifests)
    if totals["dropped"] and not totals["documents"]:
        raise DataError(f"{name}: all {totals['dropped']:,} documents are shorter than {length} tokens")
