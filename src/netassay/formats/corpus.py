"""A corpus from a file of any of the known forms, or one that Python brings with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from netassay.errors import DataError
from netassay.formats.columns import holds_token_ids, read_json_lines, read_table, read_token_column
from netassay.formats.documents import Documents
from netassay.formats.text import SEPARATOR, Unit, cut_text, read_text
from netassay.formats.token_files import read_tokens_in_parts
from netassay.formats.tokenizers import TOKENS_AT_ONCE, tokenize_in_parts

TOPICS = "topics"
"""Python's help topics (pydoc_data.topics), real English text that needs no file; a document is a topic."""

TABLES = (".parquet", ".arrow", ".feather")


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as token ids, and how many documents were left out, by reason."""

    documents: Documents
    skipped: Mapping[str, int]


def read_corpus(
    source: str | Path,
    *,
    document: Unit | None = None,
    tokenizer: str | Path = "wordpunct",
    separator: str = SEPARATOR,
    column: str | None = None,
    dtype: str | None = None,
    end: int | None = None,
    limit: int | None = None,
) -> Corpus:
    """The token ids of a file's documents; the ending of its name tells its form.

    `.jsonl`, `.ndjson` (also `.gz`), `.parquet`, `.arrow` and `.feather`: a document is `column` ("text" unless given)
    of a row, text or, in the last three, a list of token ids. `.npy`, and anything with a `dtype`: token ids as
    `read_tokens_in_parts` takes them. Everything else is text, cut into documents by `document` ("line" unless given).
    The word "topics" (a text, not a Path) is the help topics of Python itself, a topic a document unless
    `document` cuts them further. `limit` reads no more than the first tokens of each document. Raises DataError
    for files that are not what they should be, and for a corpus without a document.
    """
    skipped: Counter[str] = Counter()
    parts = read_in_parts(
        source,
        document=document,
        tokenizer=tokenizer,
        separator=separator,
        column=column,
        dtype=dtype,
        end=end,
        limit=limit,
        skipped=skipped,
    )
    documents = Documents.joined(parts)
    require_tokens(source, len(documents.tokens), skipped)
    return Corpus(documents, skipped)


def read_in_parts(
    source: str | Path,
    *,
    document: Unit | None = None,
    tokenizer: str | Path = "wordpunct",
    separator: str = SEPARATOR,
    column: str | None = None,
    dtype: str | None = None,
    end: int | None = None,
    limit: int | None = None,
    skipped: Counter[str] | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> Iterator[Documents]:
    """What `read_corpus` reads, in parts of whole documents and about `tokens_at_once` tokens (one at least)."""
    skipped = Counter() if skipped is None else skipped
    name = str(source).lower().removesuffix(".gz")
    if dtype is not None or name.endswith(".npy"):
        return read_tokens_in_parts(
            Path(source), dtype=dtype, end=end, limit=limit, tokens_at_once=tokens_at_once
        )
    if end is not None:
        raise DataError(f"{source}: end={end} parts token ids; for text, choose what a document is")
    if name.endswith(TABLES):
        path, column = Path(source), column or "text"
        if holds_token_ids(path, column):
            return read_token_column(path, column, limit=limit, skipped=skipped)
        texts = read_table(path, column, skipped=skipped)
    elif name.endswith((".jsonl", ".ndjson")):
        texts = read_json_lines(Path(source), column or "text", skipped=skipped)
    elif column is not None:
        raise DataError(
            f"{source}: column {column!r} is of files that end in .jsonl, .ndjson, {', '.join(TABLES)}; "
            "leave it out for text"
        )
    elif source == TOPICS:
        texts = _topics(document, separator, skipped)
    else:
        texts = read_text(Path(source), document or "line", separator=separator, skipped=skipped)
    return tokenize_in_parts(texts, tokenizer, limit=limit, skipped=skipped, tokens_at_once=tokens_at_once)


def require_tokens(source: str | Path, tokens: int, skipped: Mapping[str, int]) -> None:
    """Raises DataError, with the reasons for what was left out, where a corpus holds no token."""
    if not tokens:
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items()) or "the file is empty"
        raise DataError(f"{source}: holds no document with a token ({reasons})")


def _topics(document: Unit | None, separator: str, skipped: Counter[str]) -> Iterator[str]:
    from pydoc_data.topics import topics

    for text in topics.values():
        yield from cut_text(text.split("\n"), document or "file", separator=separator, skipped=skipped)
