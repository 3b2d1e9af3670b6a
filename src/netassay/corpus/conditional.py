"""The entropy bound of predictors that see the last L tokens, for many L at once: a trie of contexts read backwards."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from netassay.corpus.prefixes import Level, levels
from netassay.corpus.tallies import ascending, branching, from_units, in_units, run_edges
from netassay.errors import ConfigError, DataError
from netassay.formats.documents import Documents, in_one_vocabulary

BYTES = 96
"""Maximum memory that counting takes for each prediction at once."""
AT_ONCE = 1 << 22
LONGEST = 1 << 20
MARK = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Conditional:
    """What the last `length` tokens say of the next one; at the beginning of a document, all tokens before it.

    Attributes:
        length: L.
        predictions: Tokens predicted, first tokens of documents left out.
        contexts: Distinct contexts.
        certain: Contexts with a single continuation.
        branches: Distinct next tokens less one, summed over contexts.
        unequal: Distinct counts of next tokens less one, summed over contexts.
        widest: Maximum number of distinct next tokens after one context.
        nats: Entropy bound: the least summed loss of any predictor of these contexts.
        once: Predictions from a context that occurs once.
        once_nats: Code length of those tokens by the frequencies of tokens alone: nothing else in the corpus shows what
            follows such a context, so only memorising it can save these nats.

    Source:
        Shannon (1951): his F_N, with the corpus's own frequencies.

    Example:
        >>> import netassay
        >>> result = netassay.corpus.conditional_entropies([netassay.contexts([[0, 1, 2], [1, 2, 0]]).corpus], [1, 2])
        >>> [row.contexts for row in result]
        [3, 4]
    """

    length: int
    predictions: int
    contexts: int
    certain: int
    branches: int
    unequal: int
    widest: int
    nats: float
    once: int
    once_nats: float

    @property
    def bits_per_token(self) -> float:
        """The bound in bits a predicted token; nan without any."""
        return self.nats / math.log(2) / self.predictions if self.predictions else math.nan

    @property
    def share_certain(self) -> float:
        """Share of the contexts with a single continuation; nan without any."""
        return self.certain / self.contexts if self.contexts else math.nan


def conditional_entropies(
    parts: Iterable[Documents],
    lengths: Sequence[int],
    *,
    memory: int = 1 << 62,
    folder: Path | None = None,
) -> tuple[Conditional, ...]:
    """The exact entropy bound at each length of context, in one pass over the contexts read backwards.

    Contexts that share their last tokens are sorted together, one token further back at a time; a context that is alone
    drops out. A larger corpus is written to a temporary folder, 4 or 8 bytes a token, and counted by last token.
    Exact: nothing is hashed.

    Args:
        parts: Documents in parts, in one vocabulary.
        lengths: Lengths of context (1 or more).
        memory: Bytes in addition to those already in use.
        folder: Where to make the temporary folder; by default the system's.

    Returns:
        A row for each length, in ascending order.

    Raises:
        ConfigError: For no length, or one below 1.
        DataError: For a corpus without a token to predict.

    Source:
        Shannon (1951).

    Example:
        >>> import netassay
        >>> parts = netassay.read_in_parts("stories.txt")
        >>> [round(row.nats, 3) for row in netassay.corpus.conditional_entropies(parts, [1, 4])]
        [3.296, 3.296]
    """
    with Backwards(folder, memory) as corpus:
        for part in in_one_vocabulary(parts):
            corpus.append(part)
        return corpus.rows(lengths)


def require_lengths(lengths: Sequence[int]) -> list[int]:
    """Lengths of context in ascending order; ConfigError for none, and for one out of range."""
    ordered = sorted(set(lengths))
    if not ordered or ordered[0] < 1 or ordered[-1] > LONGEST:
        raise ConfigError(f"lengths are {list(lengths)}; give lengths of context, 1 to {LONGEST:,} tokens")
    return ordered


class _Sums:
    """Numbers of one length of context, added up."""

    def __init__(self) -> None:
        self.contexts = self.certain = self.branches = self.unequal = self.widest = self.once = 0
        self.units = self.once_units = 0

    def add(self, other: _Sums) -> None:
        for name in ("contexts", "certain", "branches", "unequal", "once", "units", "once_units"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.widest = max(self.widest, other.widest)

    def alone(self, nats: np.ndarray) -> None:
        """Adds contexts that occur once, by the cost of their next tokens by frequency alone."""
        self.contexts += len(nats)
        self.certain += len(nats)
        self.once += len(nats)
        self.widest = max(self.widest, int(len(nats) > 0))
        self.once_units += in_units(nats)

    def numbers(self) -> tuple[int, int, int, int, int, float, int, float]:
        return (
            self.contexts,
            self.certain,
            self.branches,
            self.unequal,
            self.widest,
            from_units(self.units),
            self.once,
            from_units(self.once_units),
        )


def _count(
    stream: Backwards,
    at: Int64[np.ndarray, " p"],
    before: Int64[np.ndarray, " p"],
    lengths: Sequence[int],
    sums: Sequence[_Sums],
) -> None:
    """Adds the contribution of predictions at some places, `before` tokens into their documents, to each length.

    Read backwards, a context ends with a mark at the beginning of its document, or at the length asked for.
    """
    sizes = np.minimum(before + 1, lengths[-1])
    targets = stream.forward(at)
    costs = stream.costs[targets]
    pending, last, ended_sums = list(range(len(lengths))), None, _Sums()
    backwards, starts = stream.backwards(at)
    for level in levels(backwards, starts, sizes, stream.vocabulary + 1):
        if last is not None:
            # groups that ended are contexts of all longer lengths too
            _ended(last, level.length, sizes, targets, ended_sums)
        while pending and lengths[pending[0]] - 1 <= level.length + level.more:
            total = sums[pending.pop(0)]
            total.add(ended_sums)
            _entries(level.members, level.edges, level.counts, targets, costs, total)
        ended_sums.alone(costs[level.alone])
        last = level
    if last is not None:
        _ended(last, lengths[-1] + 1, sizes, targets, ended_sums)
    for index in pending:
        sums[index].add(ended_sums)


def _ended(last: Level, length: int, sizes: np.ndarray, targets: np.ndarray, sums: _Sums) -> None:
    """Adds the groups of a level whose members have no more than `length` tokens."""
    heads = last.edges[:-1]
    over = (last.counts > 1) & (sizes[last.members[heads]] <= length)
    if over.any():
        counts = last.counts[over]
        index = np.arange(counts.sum()) + np.repeat(heads[over] - np.cumsum(counts) + counts, counts)
        _groups(last.members[index], counts, targets, sums)


def _entries(
    members: np.ndarray,
    edges: np.ndarray,
    counts: np.ndarray,
    targets: np.ndarray,
    costs: np.ndarray,
    sums: _Sums,
) -> None:
    """Adds all groups of a level, those of one member among them."""
    single = counts == 1
    sums.alone(costs[members[edges[:-1][single]]])
    several = ~single
    _groups(members[several.repeat(counts)], counts[several], targets, sums)


def _groups(members: np.ndarray, sizes: np.ndarray, targets: np.ndarray, sums: _Sums) -> None:
    """Adds contexts of several occurrences each, by the tokens that follow."""
    if not len(sizes):
        return
    group = np.arange(len(sizes), dtype=np.uint64).repeat(sizes)
    bits = np.uint64(int(targets.max()).bit_length())
    keys = ascending((group << bits) | targets[members].astype(np.uint64))
    entries = run_edges(keys)
    widths = np.diff(run_edges(keys[entries[:-1]] >> bits))
    counts = np.diff(entries)
    sums.contexts += len(sizes)
    sums.certain += int(np.count_nonzero(widths == 1))
    sums.branches += len(counts) - len(sizes)
    sums.widest = max(sums.widest, int(widths.max()))
    unequal, units = branching(counts, widths, sizes)
    sums.unequal += unequal
    sums.units += units


class Backwards:
    """A corpus as one array, in memory or on disk, a mark before each document; its contexts are read backwards."""

    def __init__(self, folder: Path | None, memory: int) -> None:
        self._memory = memory
        self._room = tempfile.TemporaryDirectory(prefix="netassay-", dir=folder)
        self._parts: list[np.ndarray] = []
        self._size, self._spilled = 0, False
        self._file = Path(self._room.name) / "tokens"
        self._counts: dict[int, int] = {}
        self.predictions = self.vocabulary = 0
        self.costs = np.empty(0)

    def __enter__(self) -> Backwards:
        return self

    def __exit__(self, *_: object) -> None:
        self._array = np.empty(0, np.int64)
        self._room.cleanup()

    def append(self, part: Documents) -> None:
        """Adds documents of two tokens or more; shorter ones predict nothing."""
        part = part.select(part.lengths > 1)
        if not len(part):
            return
        tokens = part.tokens.astype(np.int64)
        marked = np.insert(tokens, part.offsets[:-1], MARK)
        self._parts.append(marked)
        self._size += len(marked)
        if self._size * (BYTES + 16) > self._memory:
            self._spilled = True
        if self._spilled:
            self._flush()

    def rows(self, lengths: Sequence[int], *, shortest: int = 1) -> tuple[Conditional, ...]:
        """A row for each length, of predictions with at least `shortest` tokens before them in their document."""
        ordered = require_lengths(lengths)
        self._end()
        if not self.predictions:
            raise DataError("no document has two tokens, so there is nothing to predict; give longer documents")
        sums = [_Sums() for _ in ordered]
        predictions = 0
        for at, before in self.by_last_token(self._memory // BYTES):
            if shortest > 1:
                at, before = at[before >= shortest], before[before >= shortest]
            predictions += len(at)
            if len(at):
                _count(self, at, before, ordered, sums)
        return tuple(
            Conditional(length, predictions, *total.numbers()) for length, total in zip(ordered, sums, strict=True)
        )

    def _end(self) -> None:
        """Renumbers tokens 0, 1, 2, ..., the mark being the largest."""
        if not self._size:
            return
        if self._spilled:
            self._flush()
            array: np.ndarray = np.memmap(self._file, np.int64, "r+")
        else:
            array = np.concatenate(self._parts)
        self._parts = []
        distinct = np.empty(0, np.int64)
        for block in _blocks(array):
            distinct = np.union1d(distinct, block[block != MARK])
        self.vocabulary = len(distinct)
        counts = np.zeros(self.vocabulary + 1, np.int64)
        last = self.vocabulary  # the token before a block; a mark is followed by a first token
        for block in _blocks(array):
            ids = np.where(block == MARK, self.vocabulary, np.searchsorted(distinct, block))
            shifted = np.concatenate([[last], ids[:-1]])
            predicted = (ids < self.vocabulary) & (shifted < self.vocabulary)
            counts += np.bincount(ids[predicted], minlength=len(counts))
            last = int(ids[-1])
            block[:] = ids
        self._array = array
        self.predictions = int(counts.sum())
        with np.errstate(divide="ignore"):
            self.costs = np.log(max(self.predictions, 1) / counts)

    def by_last_token(self, at_once: int) -> Iterator[tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]]:
        """Places of predictions and the tokens before each in its document, about `at_once` together, by last token."""
        if self.predictions <= at_once:
            yield self._places(0, self.vocabulary)
            return
        sizes = np.zeros(self.vocabulary + 1, np.int64)
        for _, last, _ in self._predicted():
            sizes += np.bincount(last, minlength=len(sizes))
        first = 0
        while first < self.vocabulary:
            reach = np.searchsorted(np.cumsum(sizes[first:]), at_once, "right")
            after = min(first + max(int(reach), 1), self.vocabulary)
            yield self._places(first, after)
            first = after

    def forward(self, at: Int64[np.ndarray, " p"]) -> np.ndarray:
        """The tokens at some places."""
        return np.asarray(self._array[at])

    def backwards(self, at: Int64[np.ndarray, " p"]) -> tuple[np.ndarray, Int64[np.ndarray, " p"]]:
        """The array read backwards, and where in it the token before each place is."""
        return self._array[::-1], len(self._array) - at

    def _places(self, first: int, after: int) -> tuple[np.ndarray, np.ndarray]:
        places, depths = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for at, last, before in self._predicted():
            mask = (last >= first) & (last < after)
            places.append(at[mask])
            depths.append(before[mask])
        return np.concatenate(places), np.concatenate(depths)

    def _predicted(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Blocks of predicted places, the token before each, and the number of tokens before it in its document."""
        mark, first, last = -1, 0, self.vocabulary
        for block in _blocks(self._array):
            at = np.arange(first, first + len(block))
            marks = np.maximum.accumulate(np.where(block == self.vocabulary, at, mark))
            shifted = np.concatenate([[last], block[:-1]])
            mask = (block < self.vocabulary) & (shifted < self.vocabulary)
            yield at[mask], shifted[mask], (at - marks - 1)[mask]
            mark, first, last = int(marks[-1]), first + len(block), int(block[-1])

    def _flush(self) -> None:
        with self._file.open("ab") as file:
            for array in self._parts:
                array.tofile(file)
        self._parts = []


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    return (array[first : first + AT_ONCE] for first in range(0, len(array), AT_ONCE))
