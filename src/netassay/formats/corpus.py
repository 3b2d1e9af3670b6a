"""A corpus from a file of any of the known forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from netassay.errors import DataError
from netassay.formats.columns import read_json_lines, read_parquet
from netassay.formats.documents import Documents, read_tokens
from netassay.formats.text import SEPARATOR, Unit, read_text
from netassay.formats.tokenizers import tokenize


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as token ids, and how many documents were left out, by reason."""

    documents: Documents
    skipped: Mapping[str, int]


def read_corpus(
    path: Path,
    *,
    unit: Unit = "line",
    tokenizer: str | Path = "wordpunct",
    separator: str = SEPARATOR,
    column: str | None = None,
    dtype: str | None = None,
    end: int | None = None,
    limit: int | None = None,
) -> Corpus:
    """The token ids of a file's documents; the ending of its name tells its form.

    `.jsonl`, `.ndjson` (also `.gz`) and `.parquet`: a document is the text of `column` ("text" unless given) of a
    row. `.npy`, and anything with a `dtype`: token ids as `read_tokens` takes them. Everything else is text, cut
    into documents by `unit`. `limit` reads no more than the first tokens of each document of text. Raises
    DataError for files that are not what they should be, and for a corpus without a document.
    """
    skipped: Counter[str] = Counter()
    name = path.name.lower().removesuffix(".gz")
    if dtype is not None or name.endswith(".npy"):
        documents = read_tokens(path, dtype=dtype, end=end)
    else:
        if end is not None:
            raise DataError(f"{path}: end={end} parts token ids; for text, choose the unit of a document")
        texts = _texts(path, name, unit, separator, column, skipped)
        documents = tokenize(texts, tokenizer, limit=limit, skipped=skipped)
    if not len(documents.tokens):
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items()) or "the file is empty"
        raise DataError(f"{path}: holds no document with a token ({reasons})")
    return Corpus(documents, skipped)


def _texts(
    path: Path, name: str, unit: Unit, separator: str, column: str | None, skipped: Counter[str]
) -> Iterator[str]:
    if name.endswith((".jsonl", ".ndjson")):
        return read_json_lines(path, column or "text", skipped=skipped)
    if name.endswith(".parquet"):
        return read_parquet(path, column or "text", skipped=skipped)
    if column is not None:
        raise DataError(
            f"{path}: column {column!r} is of files that end in .jsonl, .ndjson or .parquet; leave it out for text"
        )
    return read_text(path, unit, separator=separator, skipped=skipped)
