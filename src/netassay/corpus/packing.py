"""Documents packed one after another into rows of equal length, as language models are trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from netassay.corpus.feed import require_blocks
from netassay.formats.documents import Documents, in_one_vocabulary


def packed(parts: Iterable[Documents], blocks: int, stride: int | None = None) -> Iterator[Documents]:
    """Rows of `blocks` tokens of context and the one after them, across documents.

    Args:
        parts: Documents in parts, in one vocabulary.
        blocks: Maximum length of a context (1 or more).
        stride: Tokens from one row to the next (1 to `blocks`, which is the default: every token but the first is then
            predicted once). With fewer, rows overlap and tokens are predicted several times.

    Returns:
        An iterator over the rows, in parts; the last row may be shorter.

    Raises:
        ConfigError: For sizes out of range.

    Example:
        >>> import netassay
        >>> rows = netassay.corpus.packed(netassay.read_in_parts("stories.txt"), 4)
        >>> [row.tolist() for part in rows for row in part]
        [[0, 1, 2, 0, 3], [3, 2, 0, 1, 4]]
    """
    require_blocks(blocks, stride)
    return _rows(parts, blocks, blocks if stride is None else stride)


def _rows(parts: Iterable[Documents], blocks: int, stride: int) -> Iterator[Documents]:
    rest, vocabulary, rows = np.empty(0, np.int64), None, 0
    for part in in_one_vocabulary(parts):
        stream = np.concatenate([rest, part.tokens]) if len(rest) else part.tokens
        vocabulary = vocabulary if part.vocabulary is None else part.vocabulary
        count = max(-(-(len(stream) - blocks) // stride), 0)
        if count:
            windows = sliding_window_view(stream, blocks + 1)[: count * stride : stride]
            yield Documents.of_length(windows.reshape(-1), blocks + 1, vocabulary)
            rows += count
        rest = stream[count * stride :]
    # tokens that no earlier row has predicted
    if len(rest) - 1 > (blocks - stride if rows else 0):
        yield Documents(rest, np.array([0, len(rest)]), vocabulary)
