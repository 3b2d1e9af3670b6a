"""Token sequences of any lengths in one array, and the words of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, islice
from typing import Any

import numpy as np
from jaxtyping import Int, Int64

from netassay.errors import DataError
from netassay.processes import paced

END_WORD = "<end of document>"
"""The word of an end token; no tokenizer that splits at white space gives it."""


class Words:
    """Words numbered from 0 in the order they come up, or in a given order that is closed to new words."""

    def __init__(self, words: Iterable[str] = (), *, closed: bool = False) -> None:
        self.closed = closed
        self.numbers: dict[str, int] = {}
        for token, word in enumerate(words):
            if self.numbers.setdefault(word, token) != token:
                raise DataError(
                    f"word {word!r:.60} is given as token {self.numbers[word]} and {token}; give each word once"
                )
        self._spelled: list[str] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def number(self, word: str) -> int | None:
        """The id of a word, a new one if necessary; None for an unknown word of a closed vocabulary."""
        if self.closed:
            return self.numbers.get(word)
        return self.numbers.setdefault(word, len(self.numbers))

    def word(self, token: int) -> str:
        """The word of an id."""
        if len(self._spelled) < len(self.numbers):
            self._spelled = list(self.numbers)
        return self._spelled[token]


@dataclass(frozen=True)
class Codes:
    """Ids that a tokenizer fixes, the same in every file.

    `name` names the tokenizer, `spell` gives the text of an id, and `decode` that of several, where it is more than
    the texts one after another.
    """

    name: str
    spell: Callable[[int], str]
    decode: Callable[[Sequence[int]], str] | None = None

    def word(self, token: int) -> str:
        """The text of an id."""
        return self.spell(token)


Vocabulary = Words | Codes


def spelled(vocabulary: Vocabulary | None, tokens: Sequence[int]) -> tuple[str, ...] | None:
    """The words of token ids; None if only the ids are known."""
    return None if vocabulary is None else tuple(vocabulary.word(token) for token in tokens)


def text_of(vocabulary: Vocabulary | None, tokens: Sequence[int]) -> str | None:
    """The text that token ids stand for, words separated by spaces; None if only the ids are known."""
    if isinstance(vocabulary, Codes) and vocabulary.decode is not None:
        return vocabulary.decode(tokens)
    words = spelled(vocabulary, tokens)
    return None if words is None else ("" if isinstance(vocabulary, Codes) else " ").join(words)


DOCUMENTS_AT_ONCE = 65_536
MULTIPLES = 1 << 18


@dataclass(frozen=True, eq=False)
class Documents:
    """A corpus: document i is `tokens[offsets[i] : offsets[i + 1]]`, possibly empty.

    `tokens` (t,) holds integers of any kind and range, `offsets` (N + 1,) rises from 0 to t. `vocabulary` says what
    the tokens stand for, where that is known.
    """

    tokens: Int[np.ndarray, " t"]
    offsets: Int64[np.ndarray, " N+1"]
    vocabulary: Vocabulary | None = None

    @classmethod
    def of(cls, documents: Documents | Iterable[Sequence[int]]) -> Documents:
        """The documents of an iterable of integer sequences, or the rows of a two-dimensional integer array.

        Raises DataError for what is not a sequence of integers, naming the document.
        """
        if isinstance(documents, Documents):
            return documents
        if isinstance(documents, str | bytes):
            raise DataError("the documents are one text; tokenize it first (netassay.formats.tokenizers)")
        if hasattr(documents, "__array__"):
            return rows_of(np.asarray(documents))
        if not isinstance(documents, Iterable):
            raise DataError(
                f"the documents are a {type(documents).__name__}; give an iterable of sequences of integers"
            )
        tokens, lengths = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        remaining, first = iter(documents), 0
        while chunk := list(islice(remaining, DOCUMENTS_AT_ONCE)):
            flat, sizes = _flatten(chunk, first)
            tokens.append(flat)
            lengths.append(sizes)
            first += len(chunk)
        arrays = tokens[1:] or tokens
        return cls(np.concatenate(arrays), _edges(np.concatenate(lengths)))

    @classmethod
    def of_length(cls, tokens: Int[np.ndarray, " t"], length: int, vocabulary: Vocabulary | None = None) -> Documents:
        """Documents of `length` tokens each, 1 or more, one after another."""
        documents = cls(tokens, _multiples(length, len(tokens) // length), vocabulary)
        documents.__dict__["common_length"] = length
        return documents

    @classmethod
    def concatenate(cls, parts: Iterable[Documents]) -> Documents:
        """The documents of all parts, one after another, tokens named by the vocabulary of the first.

        Raises DataError where parts have vocabularies that cannot become one.
        """
        return cls.joined(list(in_one_vocabulary(parts)))

    @classmethod
    def joined(cls, pieces: Sequence[Documents]) -> Documents:
        """The documents of parts that have one vocabulary, one after another."""
        if len(pieces) == 1:
            return pieces[0]
        tokens = np.concatenate([part.tokens for part in pieces]) if pieces else np.empty(0, np.int64)
        vocabulary = next((part.vocabulary for part in pieces if len(part)), None)
        if len(common := {part.common_length for part in pieces}) == 1 and (length := common.pop()):
            return cls.of_length(tokens, length, vocabulary)
        lengths = [part.lengths for part in pieces]
        return cls(tokens, _edges(np.concatenate(lengths) if pieces else np.empty(0, np.int64)), vocabulary)

    @property
    def lengths(self) -> Int64[np.ndarray, " N"]:
        """Tokens of each document; read only."""
        if length := self.__dict__.get("common_length"):
            return np.broadcast_to(np.int64(length), len(self))
        return self.offsets[1:] - self.offsets[:-1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Int[np.ndarray, " length"]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        index %= len(self)
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[Int[np.ndarray, " length"]]:
        return (self[i] for i in range(len(self)))

    def first(self, count: int) -> Documents:
        """The first `count` documents, or all if there are fewer."""
        return self.between(0, min(max(count, 0), len(self)))

    def words(self, tokens: Sequence[int]) -> tuple[str, ...] | None:
        """What token ids stand for; None where that is not known."""
        return spelled(self.vocabulary, tokens)

    def text(self, tokens: Sequence[int]) -> str | None:
        """The text that token ids stand for; None where that is not known."""
        return text_of(self.vocabulary, tokens)

    def cut(self, length: int) -> Documents:
        """Every document's first `length` tokens, words numbered as if no more had been read."""
        return self.beginnings(length).renumbered()

    def renumbered(self) -> Documents:
        """The same documents with words numbered in the order they come up here; others stay as they are."""
        if not isinstance(self.vocabulary, Words) or self.vocabulary.closed or not len(self.tokens):
            return self
        running_max = np.maximum.accumulate(self.tokens)
        if running_max[0] == 0 and (running_max[1:] - running_max[:-1] <= 1).all():
            return self
        del running_max
        first = np.full(int(self.tokens.max()) + 1, len(self.tokens))
        np.minimum.at(first, self.tokens, np.arange(len(self.tokens)))
        order = np.argsort(first, kind="stable")[: np.count_nonzero(first < len(self.tokens))]
        numbers = np.zeros(len(first), np.int64)
        numbers[order] = np.arange(len(order))
        words = Words(self.vocabulary.word(token) for token in order.tolist())
        return Documents(numbers[self.tokens], self.offsets, words)

    def named_by(self, vocabulary: Vocabulary | None, *, where: str = "", before: int = 0) -> Documents:
        """The same documents with tokens numbered by another vocabulary.

        `where` (a file, say) and the number of documents `before` these are named in errors. Raises DataError where
        the two have nothing in common, and for a word that a closed vocabulary does not have.
        """
        own = self.vocabulary
        if own is vocabulary:
            return self
        if isinstance(own, Codes) and isinstance(vocabulary, Codes) and own.name == vocabulary.name:
            return Documents(self.tokens, self.offsets, vocabulary)
        if own is None or not isinstance(vocabulary, Words) or not (vocabulary.closed or isinstance(own, Words)):
            raise DataError(
                f"documents of {_vocabulary_name(own)} follow documents of {_vocabulary_name(vocabulary)}; "
                "a corpus has one vocabulary: read all of it with one tokenizer, or take all of it as token ids"
            )
        distinct, places = np.unique(self.tokens, return_inverse=True)
        numbers = [vocabulary.number(own.word(token)) for token in distinct.tolist()]
        if None in numbers:
            missing = int(distinct[numbers.index(None)])
            position = int((self.tokens == missing).argmax())
            number = int(np.searchsorted(self.offsets, position, "right")) - 1
            raise DataError(
                f"{where}{': ' if where else ''}document {before + number + 1} (from 1) holds "
                f"{own.word(missing)!r:.60} as token {position - self.offsets[number] + 1}, which is none of the "
                f"{len(vocabulary):,} words given; give a corpus of these words, cut to the length that they were "
                "taken from"
            )
        return Documents(np.array(numbers, np.int64)[places], self.offsets, vocabulary)

    def without(self, token: int) -> tuple[Documents, int]:
        """The documents without any occurrence of a token, and how often it occurred."""
        mask = self.tokens != token
        removed = len(mask) - int(np.count_nonzero(mask))
        if not removed:
            return self, 0
        edges = np.concatenate([[0], np.cumsum(mask)])[self.offsets]
        return Documents(self.tokens[mask], edges, self.vocabulary), removed

    def beginnings(self, length: int) -> Documents:
        """Every document's first `length` tokens, numbered as they are."""
        lengths = self.lengths
        if not (lengths > length).any():
            return self
        return self.gathered(self.offsets[:-1], np.minimum(lengths, length))

    def with_tokens(self, tokens: Int[np.ndarray, " t"]) -> Documents:
        """Documents of the same lengths with other tokens, which have no vocabulary."""
        if length := self.__dict__.get("common_length"):
            return Documents.of_length(tokens, length)
        return Documents(tokens, self.offsets)

    def select(self, mask: np.ndarray) -> Documents:
        """The documents for which the boolean array `mask` (N,) is true."""
        return self if mask.all() else self.gathered(self.offsets[:-1][mask], self.lengths[mask])

    def parts(self, tokens_at_once: int) -> Iterator[Documents]:
        """The documents in parts of a maximum number of tokens, a longer document by itself."""
        first = 0
        while first < len(self):
            limit = self.offsets[first] + tokens_at_once
            last = max(first + 1, int(np.searchsorted(self.offsets, limit, "right")) - 1)
            yield self.between(first, last)
            first = last

    def between(self, first: int, last: int) -> Documents:
        """Documents `first` to `last` - 1."""
        begin, end = self.offsets[first], self.offsets[last]
        if (length := self.__dict__.get("common_length")) and first < last:
            return Documents.of_length(self.tokens[begin:end], length, self.vocabulary)
        return Documents(self.tokens[begin:end], self.offsets[first : last + 1] - begin, self.vocabulary)

    def ordered(self, order: Int64[np.ndarray, " n"]) -> Documents:
        """The documents of these numbers, in this order."""
        if (length := self.common_length) is None:
            return self.gathered(self.offsets[:-1][order], self.lengths[order])
        return Documents.of_length(
            self.tokens.reshape(-1, length).take(order, axis=0).reshape(-1), length, self.vocabulary
        )

    def without_first(self, count: int) -> Documents:
        """Every document without its first `count` tokens, of which it has as many."""
        length = self.common_length
        if length is None or length == count:
            return self.gathered(self.offsets[:-1] + count, self.lengths - count)
        tokens = self.tokens.reshape(-1, length)[:, count:].reshape(-1)
        return Documents.of_length(tokens, length - count, self.vocabulary)

    @cached_property
    def common_length(self) -> int | None:
        """The number of tokens, 1 or more, that all documents have; None if they differ."""
        length = int(self.offsets[1] - self.offsets[0]) if len(self) else 0
        return length if length and (self.lengths == length).all() else None

    def gathered(self, starts: Int64[np.ndarray, " n"], lengths: Int64[np.ndarray, " n"]) -> Documents:
        """The documents `tokens[start : start + length]`."""
        edges = _edges(lengths)
        index = np.arange(edges[-1]) + np.repeat(starts - edges[:-1], lengths)
        return Documents(self.tokens[index], edges, self.vocabulary)


def in_one_vocabulary(parts: Iterable[Documents]) -> Iterator[Documents]:
    """Parts of a corpus, one after another, tokens named by the vocabulary of the first that has documents.

    Two readers number their words independently; here the same word becomes the same token. Raises DataError as
    `named_by`.
    """
    started, vocabulary = False, None
    for part in paced(parts, "documents", size=len):
        if not len(part):
            yield part
            continue
        if not started:
            started, vocabulary = True, part.vocabulary
        yield part.named_by(vocabulary)


def _vocabulary_name(vocabulary: Vocabulary | None) -> str:
    if vocabulary is None:
        return "bare token ids"
    return vocabulary.name if isinstance(vocabulary, Codes) else "words"


def rows_of(array: np.ndarray) -> Documents:
    """The rows of a two-dimensional array of integers, or the sequences in an array of objects."""
    if array.dtype == object and array.ndim == 1:
        return Documents.of(list(array))
    if array.ndim != 2 or (array.dtype.kind not in "iu" and array.size):
        raise DataError(
            f"the documents are an array of {array.dtype} with shape {array.shape}; give integers, documents x "
            "tokens, or a list of sequences (a single document is a list of one)"
        )
    tokens = array.reshape(-1) if array.size else np.empty(0, np.int64)
    if len(array) and array.shape[1]:
        return Documents.of_length(tokens, array.shape[1])
    return Documents(tokens, np.zeros(len(array) + 1, np.int64))


def _flatten(chunk: list[Any], first: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and lengths of some documents, `first` being the number of the first."""
    try:
        chunk = [d if hasattr(d, "__len__") else list(d) for d in chunk]
        lengths = np.fromiter(map(len, chunk), np.int64, len(chunk))
        arrays = all(isinstance(d, np.ndarray) and d.ndim == 1 for d in chunk)
        flat = np.concatenate(chunk) if arrays else np.array(list(chain.from_iterable(chunk)))
    except (TypeError, ValueError) as error:
        raise DataError(_culprit(chunk, first)) from error
    if flat.size == 0:
        return np.empty(0, np.int64), lengths
    if flat.dtype.kind not in "iu" or flat.ndim != 1:
        raise DataError(_culprit(chunk, first))
    return flat, lengths


def _culprit(chunk: list[Any], first: int) -> str:
    advice = "give every document as a sequence of integers that 64 bits hold"
    for number, document in enumerate(chunk, first):
        try:
            array = np.asarray(list(document))
        except (TypeError, ValueError):
            return f"document {number} (from 0) is {document!r:.60}; {advice}"
        if array.size and (array.dtype.kind not in "iu" or array.ndim != 1):
            return f"document {number} (from 0) begins {list(document)[:3]!r:.60}; {advice}"
    return f"the documents mix kinds of numbers; {advice}"


def _multiples(length: int, count: int) -> Int64[np.ndarray, " N+1"]:
    """The first multiples of a length, from 0 to `count` times it; read only."""
    if count > MULTIPLES:
        return np.arange(0, count * length + 1, length)
    return _many_multiples(length)[: count + 1]


@lru_cache(maxsize=4)
def _many_multiples(length: int) -> np.ndarray:
    multiples = np.arange(0, MULTIPLES * length + 1, length)
    multiples.flags.writeable = False
    return multiples


def _edges(lengths: np.ndarray) -> Int64[np.ndarray, " N+1"]:
    edges = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=edges[1:])
    return edges
