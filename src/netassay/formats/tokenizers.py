"""Tokenizers: text to the token ids of documents."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from netassay.errors import DataError, reraised
from netassay.extras import require
from netassay.formats.documents import END_WORD, Codes, Documents, Vocabulary, Words
from netassay.formats.encoder import Encoder
from netassay.formats.published_tokenizers import (
    sentencepiece_encoder,
    tiktoken_encoder,
    tiktoken_file_encoder,
)
from netassay.inputs import refuse_odd_file

TEXTS_AT_ONCE = 1_024
TOKENS_AT_ONCE = 1 << 22

WORD_OR_PUNCTUATION = re.compile(r"\w+|[^\w\s]+")


class _Refused(Exception):
    """The text of this index cannot be encoded."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


def tokenize(
    texts: Iterable[str],
    tokenizer: str | Path,
    *,
    limit: int | None = None,
    add_end: bool = False,
    skipped: Counter[str] | None = None,
) -> Documents:
    """Token ids of texts, in one array; of each text the first `limit` at most.

    `tokenizer` is "wordpunct" (runs of word characters, and of neither those nor white space), "whitespace"
    (the words between it), "characters" (code points), "bytes" (of UTF-8) or the path of a JSON file of Hugging
    Face's `tokenizers`, without the special tokens it would add. Words are numbered in the order they come up.
    With `add_end` every text ends with one more token, an id of its own, which counts for the limit. Texts without a
    token are left out and counted in `skipped`. Raises DataError for an unknown name, a file of another kind and
    a text that it cannot encode, ExtraMissing where the package `tokenizers` is needed and absent.
    """
    parts = tokenize_in_parts(texts, encoder(tokenizer), limit=limit, add_end=add_end, skipped=skipped)
    return Documents.concatenate(parts)


def tokenize_in_parts(
    texts: Iterable[str],
    encoder: Encoder,
    *,
    limit: int | None = None,
    add_end: bool = False,
    skipped: Counter[str] | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
    where: str = "",
) -> Iterator[Documents]:
    """What `tokenize` gives, in parts of whole documents that end once they hold `tokens_at_once` tokens.

    `where` (a file, say) is named where a text cannot be encoded.
    """
    skipped = Counter() if skipped is None else skipped
    tokens, lengths = array("q"), array("q", [0])
    remaining, before = iter(texts), 0
    while batch := list(islice(remaining, TEXTS_AT_ONCE)):
        try:
            for ids in encoder.encode(batch, limit):
                if not ids:
                    skipped["without a token"] += 1
                    continue
                tokens.extend(ids)
                # a text that reaches the limit may have been cut
                closed = add_end and (limit is None or len(ids) < limit)
                if closed:
                    tokens.append(encoder.end())
                lengths.append(len(ids) + closed)
                if len(tokens) >= tokens_at_once:
                    yield _part(tokens, lengths, encoder.vocabulary)
                    tokens, lengths = array("q"), array("q", [0])
        except _Refused as refused:
            raise DataError(
                f"{where}{': ' if where else ''}document {before + refused.index + 1} (from 1, "
                f"{batch[refused.index]!r:.60}) cannot be encoded: {refused}"
            ) from refused
        before += len(batch)
    if tokens:
        yield _part(tokens, lengths, encoder.vocabulary)


def _part(tokens: array[int], lengths: array[int], vocabulary: Vocabulary) -> Documents:
    return Documents(np.frombuffer(tokens, np.int64), np.cumsum(np.frombuffer(lengths, np.int64)), vocabulary)


def encoder(tokenizer: str | Path) -> Encoder:
    """The encoder of a name or tokenizer file, as `tokenize` takes them; with a vocabulary of its own."""
    if tokenizer in _BUILT_IN:
        return _BUILT_IN[str(tokenizer)]()
    if str(tokenizer).startswith("tiktoken:"):
        return tiktoken_encoder(str(tokenizer).removeprefix("tiktoken:"))
    readers = {".json": _from_file, ".model": sentencepiece_encoder, ".tiktoken": tiktoken_file_encoder}
    if (reader := readers.get(Path(tokenizer).suffix)) is None:
        raise DataError(
            f"tokenizer {str(tokenizer)!r}: allowed are {', '.join(_BUILT_IN)} or the path of a tokenizer.json of "
            "Hugging Face's tokenizers, a SentencePiece .model or a .tiktoken file, or tiktoken:NAME"
        )
    refuse_odd_file(tokenizer, "LONGEST_LINE")
    return reader(Path(tokenizer))


def _words(split: Callable[[str, int | None], Iterable[str]]) -> Encoder:
    vocabulary = Words()
    numbers = vocabulary.numbers

    def encode(texts: list[str], limit: int | None) -> Iterator[list[int]]:
        for text in texts:
            yield [numbers.setdefault(word, len(numbers)) for word in islice(split(text, limit), limit)]

    return Encoder(encode, vocabulary, lambda: numbers.setdefault(END_WORD, len(numbers)))


def _wordpunct(text: str, limit: int | None) -> Iterable[str]:
    if limit is None:
        return WORD_OR_PUNCTUATION.findall(text)
    return (match.group() for match in WORD_OR_PUNCTUATION.finditer(text))


def _whitespace(text: str, limit: int | None) -> list[str]:
    return text.split(maxsplit=-1 if limit is None else limit)


_CODE_POINTS, _BYTE_VALUES = 0x110000, 256


def _characters(texts: list[str], limit: int | None) -> Iterator[list[int]]:
    return (list(map(ord, text[:limit])) for text in texts)


def _bytes(texts: list[str], limit: int | None) -> Iterator[bytes]:
    return (text[:limit].encode()[:limit] for text in texts)


def _spelled_character(token: int) -> str:
    return END_WORD if token == _CODE_POINTS else chr(token)


def _spelled_byte(token: int) -> str:
    """ASCII as it is, other bytes as <0xE9>, which is how tokenizer files spell them."""
    if token == _BYTE_VALUES:
        return END_WORD
    return chr(token) if 32 <= token < 127 else f"<0x{token:02X}>"


def _decoded_bytes(tokens: Sequence[int]) -> str:
    return bytes(token for token in tokens if token < _BYTE_VALUES).decode(errors="replace")


_BUILT_IN: dict[str, Callable[[], Encoder]] = {
    "wordpunct": lambda: _words(_wordpunct),
    "whitespace": lambda: _words(_whitespace),
    "characters": lambda: Encoder(_characters, Codes("characters", _spelled_character), lambda: _CODE_POINTS),
    "bytes": lambda: Encoder(_bytes, Codes("bytes", _spelled_byte, _decoded_bytes), lambda: _BYTE_VALUES),
}


def _from_file(path: Path) -> Encoder:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"tokenizer {path}: cannot be read: {error}") from error
    tokenizers = require("tokenizers", "tokenizers", f"tokenizer {path}: reading it")
    form = "is not a tokenizer file of Hugging Face's tokenizers"
    with reraised(lambda why: DataError(f"tokenizer {path}: {form} ({why}); give a tokenizer.json")):
        tokenizer: Any = tokenizers.Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    after_all = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def encode(texts: list[str], limit: int | None) -> Iterator[list[int]]:
        try:
            with reraised(DataError):
                encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
        except DataError:  # the library does not say for which text
            encodings = (_encoded(tokenizer, path, index, text) for index, text in enumerate(texts))
        return (encoding.ids[:limit] for encoding in encodings)

    def spell(token: int) -> str:
        return END_WORD if token == after_all else str(tokenizer.id_to_token(token))

    def decode(tokens: Sequence[int]) -> str:
        return str(tokenizer.decode([token for token in tokens if token < after_all], skip_special_tokens=False))

    name = f"tokenizer {hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return Encoder(encode, Codes(name, spell, decode), lambda: after_all)


def _encoded(tokenizer: Any, path: Path, index: int, text: str) -> Any:
    try:
        with reraised(DataError):
            return tokenizer.encode(text, add_special_tokens=False)
    except DataError as error:
        raise _Refused(
            index,
            f"tokenizer {path} says {str(error).rstrip('.')!r}; give its vocabulary the token that it takes for "
            "unknown words (unk_token), or take a tokenizer that knows all of the text",
        ) from error
