"""A corpus in shards written anew in portions that share no context: what one shard contributes to each portion.

Every file is written completely or not at all and is the same whoever writes it, so a task may be repeated anywhere.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Int64

from netassay.corpus.context import Census
from netassay.corpus.distribution import window_starts
from netassay.corpus.parting import PARTING_BYTES
from netassay.corpus.spine import Spine, scattered
from netassay.corpus.tallies import run_edges
from netassay.errors import DataError, StoreError
from netassay.files import whole_file, write_file
from netassay.formats.corpus import read_in_parts
from netassay.formats.documents import Documents
from netassay.formats.spill import write_block

FEWEST_AT_ONCE, MOST_AT_ONCE = 1 << 20, 1 << 26
RUN_TOKENS = 1 << 14
"""Tokens of a portion that are written together, on average, where memory allows."""

_FILE = "shuffle.json"


@dataclass(frozen=True)
class Shuffle:
    """What is shuffled and how, as the file shuffle.json of a folder that all workers see.

    Attributes:
        folder: Where everything is written.
        files: Paths of the shards.
        stamps: Size and time of change (ns) of each.
        reading: Arguments of `read_in_parts`.
        length: Maximum tokens of a document.
        exact_length: Whether shorter documents are left out.
        window: Contexts are the last `window` tokens; None: all before.
        runs: With a window, all runs of window + 1 tokens instead of the beginnings of documents.
        portions: Number of portions.
        memory: Bytes that a worker may take.
        parents: As `Spine` has them.
        tokens: As `Spine` has them.
    """

    folder: Path
    files: tuple[str, ...]
    stamps: tuple[tuple[int, int], ...]
    reading: dict[str, Any]
    length: int | None
    exact_length: bool
    window: int | None
    runs: bool
    portions: int
    memory: int
    parents: tuple[int, ...]
    tokens: tuple[int, ...]

    def write(self) -> None:
        """Writes the file that `read` reads."""
        values = {key: value for key, value in asdict(self).items() if key != "folder"}
        write_file(self.folder / _FILE, json.dumps(values).encode())

    @classmethod
    def read(cls, folder: Path) -> Shuffle:
        """The shuffle of a folder. StoreError where there is none."""
        try:
            values = json.loads((folder / _FILE).read_bytes())
            values |= {name: tuple(values[name]) for name in ("files", "parents", "tokens")}
            return cls(folder, **{**values, "stamps": tuple((size, changed) for size, changed in values["stamps"])})
        except (OSError, ValueError, TypeError, KeyError) as cause:
            raise StoreError(f"{folder / _FILE}: cannot be read ({cause}); delete the folder and count again") from None

    @cached_property
    def spine(self) -> Spine:
        """The prefixes by which documents are separated."""
        return Spine(self.parents, self.tokens)

    @property
    def digest(self) -> str:
        """Changes with any shard."""
        return hashlib.sha256(repr((self.files, self.stamps)).encode()).hexdigest()[:12]

    def data(self, shard: int) -> Path:
        """What a shard contributes to the portions, one after another in blocks."""
        size, changed = self.stamps[shard]
        return self.folder / f"shard-{shard:05}-{size:x}-{changed:x}.tokens"

    def manifest(self, shard: int) -> Path:
        """Where in `data` each portion is; it is written last."""
        return self.data(shard).with_suffix(".npz")

    @property
    def index(self) -> Path:
        """Portion, shard, offset, documents and tokens of all blocks, by portion."""
        return self.folder / f"index-{self.digest}.npy"

    def tally(self, portion: int) -> Path:
        """The numbers of a portion."""
        return self.folder / f"portion-{self.digest}-{portion:05}.npz"

    def documents(self, shard: int, census: Census, skipped: Counter[str], at_once: int) -> Iterator[Documents]:
        """What is counted of a shard, in parts."""
        limit = None if self.length is None else self.length + 1
        parts = read_in_parts(
            Path(self.files[shard]), **self.reading, limit=limit, skipped=skipped, tokens_at_once=at_once
        )
        for part in map(census.take, parts):
            if self.window is None:
                yield part
            elif not self.runs:
                yield part.beginnings(self.window)
            else:
                starts = window_starts(part, self.window)
                step = max(at_once // (self.window + 1), 1)
                for first in range(0, len(starts), step):
                    some = starts[first : first + step]
                    yield part.gathered(some, np.full(len(some), self.window + 1))


def stamp(path: Path | str) -> tuple[int, int]:
    """Size and time of change of a file."""
    about = Path(path).stat()
    return about.st_size, about.st_mtime_ns


def write_portions(folder: Path, shard: int) -> None:
    """Writes what a shard contributes to each portion, then its manifest.

    Raises DataError for a shard that has changed, is empty, or cannot be read, and StoreError where the disk is full.
    """
    begin = time.perf_counter()
    shuffle = Shuffle.read(folder)
    path = shuffle.files[shard]
    if not Path(path).exists() or stamp(path) != shuffle.stamps[shard]:
        raise DataError(f"{path}: is not on this node what it was for the command (its size or time of change differs)")
    census = Census(shuffle.memory, shuffle.length, shuffle.exact_length)
    skipped: Counter[str] = Counter()
    at_once = min(shuffle.memory // PARTING_BYTES, max(FEWEST_AT_ONCE, shuffle.portions * RUN_TOKENS), MOST_AT_ONCE)
    ended, index = np.zeros(len(shuffle.spine), np.int64), [np.empty((0, 4), np.int64)]
    written = tokens = longest = 0
    with whole_file(shuffle.data(shard)) as part, part.open("wb") as file:
        for documents in shuffle.documents(shard, census, skipped, at_once):
            for block in documents.parts(MOST_AT_ONCE):
                index.append(_write(file, block, shuffle, ended))
                written += len(block)
                tokens += len(block.tokens)
                longest = max(longest, int(block.lengths.max(initial=0)))
        size = file.tell()
    counts = census.counts()
    if not counts["documents"] + counts["dropped"] and len(shuffle.files) > 1:
        raise DataError(
            f"{path}: is an empty shard, without a document, as of a writer that failed; leave it out, or fetch it "
            "again"
        )
    about = {
        "counts": counts,
        "skipped": dict(skipped),
        "small": census.small,
        "longest": longest,
        "documents": written,
        "tokens": tokens,
        "bytes": size,
        "seconds": time.perf_counter() - begin,
    }
    with whole_file(shuffle.manifest(shard)) as part:
        np.savez(
            part, about=np.array(json.dumps(about)), index=np.concatenate(index), ended=ended, ids=census.distinct()
        )


def _write(file: BinaryIO, block: Documents, shuffle: Shuffle, ended: np.ndarray) -> np.ndarray:
    """Appends documents by portion, each as the node of its prefix and the tokens after it; returns their index.

    Documents that end at a node are added to `ended`.
    """
    nodes = shuffle.spine.nodes_of(block)
    depths, starts, lengths = shuffle.spine.depths[nodes], block.offsets[:-1], block.lengths
    going = lengths > depths
    ended += np.bincount(nodes[~going], minlength=len(ended))
    nodes, starts, lengths = nodes[going], (starts + depths)[going], (lengths - depths)[going]
    tokens = block.tokens.astype(np.int64, copy=False)
    portions = scattered(nodes, tokens[starts], shuffle.portions)
    order = np.argsort(portions, kind="stable")
    # one token more in front, which the node replaces
    ready = Documents(tokens, block.offsets).gathered(starts[order] - 1, lengths[order] + 1)
    ready.tokens[ready.offsets[:-1]] = nodes[order]
    rows = []
    portions = portions[order]
    for first, last in pairwise(run_edges(portions).tolist()):
        piece = ready.between(first, last)
        rows.append((int(portions[first]), file.tell(), len(piece), len(piece.tokens) - len(piece)))
        write_block(file, piece)
    return np.array(rows, np.int64).reshape(-1, 4)


@dataclass(frozen=True)
class Manifest:
    """What is said of a shard's portions: `about` in words, `index` (k, 4), `ended` (nodes,), distinct token `ids`."""

    about: dict[str, Any]
    index: Int64[np.ndarray, "k 4"]
    ended: Int64[np.ndarray, " nodes"]
    ids: Int64[np.ndarray, " v"]

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest of a file. StoreError where it cannot be read."""
        try:
            with np.load(path) as file:
                return cls(json.loads(str(file["about"])), file["index"], file["ended"], file["ids"])
        except (OSError, ValueError, KeyError) as cause:
            raise StoreError(f"{path}: cannot be read ({cause}); delete it and count again") from None
