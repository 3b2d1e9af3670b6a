"""Tokenizers: text to the token ids of documents."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from netassay.errors import DataError, ExtraMissing
from netassay.formats.documents import Documents

TEXTS_AT_ONCE = 1_024
TOKENS_AT_ONCE = 1 << 22

Encoder = Callable[[list[str], int | None], Iterable[Sequence[int]]]
"""Token ids of each of some texts, no more than the first so many of each."""

WORD_OR_PUNCTUATION = re.compile(r"\w+|[^\w\s]+")


def tokenize(
    texts: Iterable[str],
    tokenizer: str | Path,
    *,
    limit: int | None = None,
    skipped: Counter[str] | None = None,
) -> Documents:
    """Token ids of texts, in one array; of each text the first `limit` at most.

    `tokenizer` is "wordpunct" (runs of word characters, and of neither those nor white space), "whitespace"
    (what stands between it), "characters" (code points), "bytes" (of UTF-8) or the path of a JSON file of Hugging
    Face's `tokenizers`, without the special tokens it would add. Words are numbered in the order they come up.
    Texts without a token are left out and counted in `skipped`. Raises DataError for an unknown name or a file
    that is no tokenizer, ExtraMissing where the package `tokenizers` is needed and absent.
    """
    return Documents.joined(tokenize_in_parts(texts, tokenizer, limit=limit, skipped=skipped))


def tokenize_in_parts(
    texts: Iterable[str],
    tokenizer: str | Path,
    *,
    limit: int | None = None,
    skipped: Counter[str] | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> Iterator[Documents]:
    """What `tokenize` gives, in parts of whole documents that end once they hold `tokens_at_once` tokens."""
    encode = encoder(tokenizer)
    skipped = Counter() if skipped is None else skipped
    tokens, lengths = array("q"), array("q", [0])
    remaining = iter(texts)
    while some := list(islice(remaining, TEXTS_AT_ONCE)):
        for ids in encode(some, limit):
            if not ids:
                skipped["without a token"] += 1
                continue
            tokens.extend(ids)
            lengths.append(len(ids))
            if len(tokens) >= tokens_at_once:
                yield _part(tokens, lengths)
                tokens, lengths = array("q"), array("q", [0])
    if tokens:
        yield _part(tokens, lengths)


def _part(tokens: array[int], lengths: array[int]) -> Documents:
    return Documents(np.frombuffer(tokens, np.int64), np.cumsum(np.frombuffer(lengths, np.int64)))


def encoder(tokenizer: str | Path) -> Encoder:
    """The encoder of a name or tokenizer file, as `tokenize` takes them."""
    if tokenizer in _BUILT_IN:
        return _BUILT_IN[str(tokenizer)]()
    if Path(tokenizer).suffix != ".json":
        raise DataError(
            f"tokenizer {str(tokenizer)!r}: allowed are {', '.join(_BUILT_IN)} or the path of a tokenizer.json of "
            "Hugging Face's tokenizers"
        )
    return _from_file(Path(tokenizer))


def _words(split: Callable[[str, int | None], Iterable[str]]) -> Encoder:
    numbers: dict[str, int] = {}

    def encode(texts: list[str], limit: int | None) -> Iterator[list[int]]:
        for text in texts:
            yield [numbers.setdefault(word, len(numbers)) for word in islice(split(text, limit), limit)]

    return encode


def _wordpunct(text: str, limit: int | None) -> Iterable[str]:
    if limit is None:
        return WORD_OR_PUNCTUATION.findall(text)
    return (found.group() for found in WORD_OR_PUNCTUATION.finditer(text))


def _whitespace(text: str, limit: int | None) -> list[str]:
    return text.split(maxsplit=-1 if limit is None else limit)


def _characters(texts: list[str], limit: int | None) -> Iterator[list[int]]:
    return (list(map(ord, text[:limit])) for text in texts)


def _bytes(texts: list[str], limit: int | None) -> Iterator[bytes]:
    return (text[:limit].encode()[:limit] for text in texts)


_BUILT_IN: dict[str, Callable[[], Encoder]] = {
    "wordpunct": lambda: _words(_wordpunct),
    "whitespace": lambda: _words(_whitespace),
    "characters": lambda: _characters,
    "bytes": lambda: _bytes,
}


def _from_file(path: Path) -> Encoder:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"tokenizer {path}: cannot be read: {error}") from error
    try:
        import tokenizers
    except ImportError as error:
        raise ExtraMissing(
            f"tokenizer {path}: reading it needs the package tokenizers; install netassay[tokenizers]"
        ) from error
    try:
        held: Any = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception for files it cannot read
        raise DataError(
            f"tokenizer {path}: is no tokenizer file of Hugging Face's tokenizers ({error}); give a tokenizer.json"
        ) from error
    held.no_truncation()
    held.no_padding()

    def encode(texts: list[str], limit: int | None) -> Iterator[list[int]]:
        return (found.ids[:limit] for found in held.encode_batch(texts, add_special_tokens=False))

    return encode
