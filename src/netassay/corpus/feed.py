"""What a language model is fed from a corpus: rows of tokens, and which of their tokens it is to predict."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int, Int64

from netassay.errors import ConfigError, DataError
from netassay.formats.documents import Documents


@dataclass(frozen=True, eq=False)
class Feed:
    """Rows that a causal model reads, row i being `tokens[starts[i] : starts[i] + lengths[i]]`.

    A row's token at place t is predicted from the t tokens before it in that row, for t from `skips[i]` on. So a
    context has the length that the model sees, including the `first` token. Predictions are numbered row by row.

    Attributes:
        tokens: (t,) tokens.
        starts: (N,) where each row begins.
        lengths: (N,) tokens of each row, the last of which is only predicted.
        skips: (N,) place of the first token that is predicted (1 or more); those before it are context only.
        owners: (t,) document of each token; -1 for a `first` token.
        documents: Documents of the corpus.
        corpus_tokens: Tokens of the corpus, before any was cut.
        shortened: Documents cut to `length`.
        first: Token prepended to every row; None: the rows begin with tokens of the corpus.
        blocks: Tokens of context in a packed row; None: a row is a document.
        stride: Tokens from one packed row to the next.
        source: The documents, with the vocabulary of their tokens.

    Example:
        >>> import netassay
        >>> feed = netassay.corpus.Feed.of([[5, 6, 7, 8, 9], [5, 6]], blocks=3)
        >>> feed.lengths.tolist(), feed.predictions
        ([4, 4], 6)
    """

    tokens: Int[np.ndarray, " t"]
    starts: Int64[np.ndarray, " N"]
    lengths: Int64[np.ndarray, " N"]
    skips: Int64[np.ndarray, " N"]
    owners: Int64[np.ndarray, " t"]
    documents: int
    corpus_tokens: int
    shortened: int
    first: int | None
    blocks: int | None
    stride: int | None
    source: Documents = field(repr=False)

    @classmethod
    def of(
        cls,
        documents: Documents,
        *,
        length: int | None = None,
        blocks: int | None = None,
        stride: int | None = None,
        first: int | None = None,
    ) -> Feed:
        """A row for each document, or rows packed across documents as language models are trained.

        Args:
            documents: Integer sequences.
            length: Cut every document to its first tokens (1 or more).
            blocks: Maximum length of a context (1 or more): documents are concatenated, and a row is that many tokens
                and the one after them. Every token is predicted once, the very first only with `first`.
            stride: Tokens from one row to the next (1 to `blocks`, which is the default). With fewer than `blocks`
                the rows overlap, and a row predicts only tokens that no earlier row did.
            first: Token prepended to every row, so that a document's first token is predicted too.

        Returns:
            The rows.

        Raises:
            ConfigError: For sizes out of range.
            DataError: For documents that are not integer sequences, and where there is nothing to predict.

        Example:
            >>> import netassay
            >>> netassay.corpus.Feed.of([[5, 6, 7]], first=0).predictions
            3
        """
        _require(length, blocks, stride, first)
        source = Documents.of(documents)
        corpus = source if length is None else source.beginnings(length)
        shortened = 0 if length is None else int((source.lengths > length).sum())
        owners = np.repeat(np.arange(len(corpus)), corpus.lengths)
        if blocks is None:
            starts, lengths = corpus.offsets[:-1], corpus.lengths
            skips = np.ones(len(starts), np.int64)
        else:
            size = blocks if first is None else blocks - 1
            stride = size if stride is None else stride
            starts, lengths, skips = _packed(len(corpus.tokens), size, stride)
        tokens = corpus.tokens
        if first is not None:
            starts, lengths, tokens, owners = _with_first(starts, lengths, tokens, owners, first)
            # a document's first token has a context now; other packed rows begin with tokens predicted before
            packed = np.arange(len(skips)) > 0 if blocks is not None else np.zeros(len(skips), bool)
            skips = skips + packed
        rows = lengths > skips
        if not rows.any():
            raise DataError("no row has two tokens, so there is nothing to predict; give longer documents")
        return cls(
            tokens,
            starts[rows],
            lengths[rows],
            skips[rows],
            owners,
            len(source),
            len(source.tokens),
            shortened,
            first,
            blocks,
            stride,
            source,
        )

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def edges(self) -> Int64[np.ndarray, " N+1"]:
        """Where the predictions of each row begin, and their number."""
        edges = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.lengths - self.skips, out=edges[1:])
        return edges

    @property
    def predictions(self) -> int:
        """Number of tokens predicted."""
        return int((self.lengths - self.skips).sum())

    @property
    def longest(self) -> int:
        """Tokens of the longest context."""
        return int(self.lengths.max()) - 1

    @property
    def unpredicted(self) -> int:
        """Tokens of the corpus that no row predicts: cut off, or the first of a row."""
        return self.corpus_tokens - self.predictions

    def context_lengths(self) -> Int64[np.ndarray, " P"]:
        """(P,) tokens of the context of each prediction."""
        return self._places() - np.repeat(self.starts, self.lengths - self.skips)

    def targets(self) -> Int[np.ndarray, " P"]:
        """(P,) the predicted tokens."""
        return self.tokens[self._places()]

    def documents_of(self) -> Int64[np.ndarray, " P"]:
        """(P,) the document of each predicted token."""
        return self.owners[self._places()]

    def row_of(self, prediction: int) -> int:
        """The row of a prediction."""
        return int(np.searchsorted(self.edges, prediction, "right")) - 1

    def context(self, prediction: int) -> Int[np.ndarray, " length"]:
        """The tokens that a prediction is made from."""
        row = self.row_of(prediction)
        end = self.starts[row] + self.skips[row] + prediction - self.edges[row]
        return self.tokens[self.starts[row] : end]

    def row(self, i: int) -> Int[np.ndarray, " length"]:
        """The tokens of row i."""
        return self.tokens[self.starts[i] : self.starts[i] + self.lengths[i]]

    def digest(self) -> str:
        """SHA-256 of tokens and rows."""
        sha = hashlib.sha256()
        for numbers in (self.tokens, self.starts, self.lengths, self.skips):
            sha.update(np.ascontiguousarray(numbers, "<i8").data)
        return sha.hexdigest()

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text, a first token by its number; ids separated by spaces if the words are not known."""
        ids = list(tokens)
        head = ""
        if self.first is not None and ids[:1] == [self.first]:
            head, ids = f"<{self.first}>", ids[1:]
        text = self.source.text(ids)
        return head + (" ".join(map(str, ids)) if text is None else text)

    def _places(self) -> Int64[np.ndarray, " P"]:
        """Where in `tokens` each predicted token is."""
        sizes = self.lengths - self.skips
        return np.arange(sizes.sum()) + np.repeat(self.starts + self.skips - self.edges[:-1], sizes)


def _require(length: int | None, blocks: int | None, stride: int | None, first: int | None) -> None:
    if length is not None and length < 1:
        raise ConfigError(f"length is {length}; it counts tokens: 1 or more")
    if first is not None and first < 0:
        raise ConfigError(f"first is {first}; it is a token id: 0 or more")
    require_blocks(blocks, stride, first)


def require_blocks(blocks: int | None, stride: int | None, first: int | None = None) -> None:
    """Raises ConfigError for blocks and strides out of range, or where a first token leaves no room in a block."""
    for name, value in (("blocks", blocks), ("stride", stride)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; it counts tokens: 1 or more")
    if blocks is None:
        if stride is not None:
            raise ConfigError(f"stride is {stride}, the distance from one block to the next; give blocks too")
        return
    limit = blocks if first is None else blocks - 1
    if not limit:
        raise ConfigError(f"blocks is {blocks}, which the first token fills; give 2 or more")
    if stride is not None and stride > limit:
        raise ConfigError(
            f"stride is {stride}, and a block has {limit} tokens of the corpus, so that tokens between blocks would "
            f"be left out; give 1 to {limit}"
        )


def _packed(tokens: int, blocks: int, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, lengths and skips of rows that predict every token but the first once."""
    last = max(tokens - 1, 0)
    # the last row is the first that reaches the end
    count = max(-(-max(last - blocks, 0) // stride) + 1, 1) if tokens else 0
    starts = np.arange(count) * stride
    lengths = np.minimum(starts + blocks + 1, tokens) - starts
    skips = np.full(count, blocks - stride + 1)
    skips[:1] = 1
    return starts, lengths, skips


def _with_first(
    starts: np.ndarray, lengths: np.ndarray, tokens: np.ndarray, owners: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The rows, each preceded by a first token."""
    edges = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(lengths + 1, out=edges[1:])
    heads = edges[:-1]
    behind = np.ones(int(edges[-1]), bool)
    behind[heads] = False
    begin = np.cumsum(lengths) - lengths
    index = np.arange(int(lengths.sum())) + np.repeat(starts - begin, lengths)
    rows = np.full(len(behind), first, np.promote_types(tokens.dtype, np.min_scalar_type(first)))
    rows[behind] = tokens[index]
    own = np.full(len(behind), -1, np.int64)
    own[behind] = owners[index]
    return heads, lengths + 1, rows, own
