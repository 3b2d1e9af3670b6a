"""Tokenizers of tiktoken and SentencePiece, each an extra."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from netassay.errors import DataError
from netassay.extras import require
from netassay.formats.documents import END_WORD, Codes
from netassay.formats.encoder import Encoder

_GPT_2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
_GPT_4 = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"
    r"\s+(?!\S)|\s"
)
_PATTERNS = {"r50k_base": _GPT_2, "p50k_base": _GPT_2, "cl100k_base": _GPT_4}
"""How tiktoken splits text before it merges bytes; a file of ranks does not say it."""


def tiktoken_encoder(name: str) -> Encoder:
    """A published encoding of tiktoken by its name, such as gpt2; the package may fetch it once and cache it.

    Raises ExtraMissing without the package, and DataError for a name that it does not know or cannot fetch.
    """
    tiktoken = require("tiktoken", "tiktoken", f"tokenizer tiktoken:{name}: reading it")
    names = tiktoken.list_encoding_names()
    if name not in names:
        raise DataError(f"tokenizer tiktoken:{name}: known are {', '.join(sorted(names))}")
    try:
        encoding = tiktoken.get_encoding(name)
    except Exception as error:  # of the network
        raise DataError(
            f"tokenizer tiktoken:{name}: cannot be fetched ({type(error).__name__}); put its file into the folder that "
            "TIKTOKEN_CACHE_DIR names, or give the .tiktoken file"
        ) from error
    return _of_encoding(encoding, f"tiktoken {name}")


def tiktoken_file_encoder(path: Path) -> Encoder:
    """A file of ranks named for its encoding: r50k_base, p50k_base or cl100k_base."""
    tiktoken = require("tiktoken", "tiktoken", f"tokenizer {path}: reading it")
    if path.stem not in _PATTERNS:
        raise DataError(
            f"tokenizer {path}: a file of ranks does not say how text is split; name it {', '.join(_PATTERNS)} as it "
            "was published, or give tiktoken:NAME or a tokenizer.json"
        )
    from tiktoken.load import load_tiktoken_bpe

    try:
        text = path.read_bytes()
        ranks = load_tiktoken_bpe(str(path))
        encoding = tiktoken.Encoding(path.stem, pat_str=_PATTERNS[path.stem], mergeable_ranks=ranks, special_tokens={})
    except Exception as error:  # whatever a file of unknown kind makes of its reader
        raise DataError(f"tokenizer {path}: is not a file of tiktoken's ranks ({error})") from error
    return _of_encoding(encoding, f"tiktoken {hashlib.sha256(text).hexdigest()[:12]}")


def sentencepiece_encoder(path: Path) -> Encoder:
    """A SentencePiece model, without the tokens that it would put before and behind."""
    package = require("sentencepiece", "sentencepiece", f"tokenizer {path}: reading it")
    try:
        model = path.read_bytes()
        processor = package.SentencePieceProcessor(model_proto=model)
        size = processor.get_piece_size()
    except Exception as error:  # whatever a file of unknown kind makes of its reader
        raise DataError(f"tokenizer {path}: is not a SentencePiece model ({error})") from error

    def encode(texts: list[str], limit: int | None) -> Iterator[list[int]]:
        return (ids[:limit] for ids in processor.encode(texts, add_bos=False, add_eos=False))

    def spell(token: int) -> str:
        return END_WORD if token == size else str(processor.id_to_piece(token))

    def decode(tokens: Sequence[int]) -> str:
        return str(processor.decode([token for token in tokens if token < size]))

    name = f"SentencePiece {hashlib.sha256(model).hexdigest()[:12]}"
    return Encoder(encode, Codes(name, spell, decode), lambda: size)


def _of_encoding(encoding: Any, name: str) -> Encoder:
    size = encoding.n_vocab

    def encode(texts: list[str], limit: int | None) -> Iterator[list[int]]:
        # words such as <|endoftext|> in a text are text
        return (ids[:limit] for ids in encoding.encode_ordinary_batch(texts, num_threads=1))

    def spell(token: int) -> str:
        if token == size:
            return END_WORD
        return encoding.decode_single_token_bytes(token).decode(errors="replace")

    def decode(tokens: Sequence[int]) -> str:
        return str(encoding.decode([token for token in tokens if token < size]))

    return Encoder(encode, Codes(name, spell, decode), lambda: size)
