"""A corpus from files of any supported form, or one that ships with Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netassay.errors import DataError
from netassay.formats.columns import (
    lines_hold_token_ids,
    read_delimited,
    read_json,
    read_json_lines,
    read_table,
    read_token_column,
    read_token_lines,
    token_kind,
)
from netassay.formats.documents import Documents, Words
from netassay.formats.encoder import Encoder
from netassay.formats.shards import form_of, shards
from netassay.formats.text import SEPARATOR, Unit, cut_text, read_text
from netassay.formats.token_files import TokenFile, read_tokens_in_parts
from netassay.formats.tokenizers import TOKENS_AT_ONCE, encoder, tokenize_in_parts

TOPICS = "topics"
"""Python's help topics (pydoc_data.topics), real English text that needs no file; a document is a topic."""

WORDPUNCT = "wordpunct"

Source = str | Path | Sequence[str | Path]
"""A file, folder or pattern, the word "topics", or several of these: one corpus."""


@dataclass(frozen=True)
class Reading:
    """How the files of a corpus become documents of token ids: the keys of every command, config and function.

    `form`: text, jsonl, json, csv, parquet, arrow, npy or raw, where first bytes and ending do not show it. For text:
    what a `document` is (by default "line"; for the topics, a topic) and the `separator` between records. For
    forms with columns, where a row is a document: the `column`, by default "text"; "a.b" reaches into objects.
    For all text: the `tokenizer`, and `add_end`, which closes every document with a token of its own, so that a
    document differs from one that it begins. For raw token ids: `dtype`, and `skip`, bytes of a header; for these
    and .npy: `end`, the id that closes a document. For token ids in any form: `ignore`, an id such as padding,
    removed wherever it occurs. What does not apply to a file is refused.
    """

    document: Unit | None = None
    tokenizer: str | Path = WORDPUNCT
    separator: str = SEPARATOR
    column: str | None = None
    add_end: bool = False
    dtype: str | None = None
    end: int | None = None
    skip: int = 0
    form: str | None = None
    ignore: int | None = None


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as token ids, and how many documents were left out, by reason."""

    documents: Documents
    skipped: Mapping[str, int]

    @property
    def words(self) -> tuple[str, ...] | None:
        """What the token ids 0, 1, 2, ... stand for, if words were numbered as they came up; else None.

        For any corpus but one of bare ids `documents.words(ids)` spells ids out.
        """
        vocabulary = self.documents.vocabulary
        return tuple(vocabulary.numbers) if isinstance(vocabulary, Words) else None


def read_corpus(
    source: Source,
    *,
    document: Unit | None = None,
    tokenizer: str | Path = WORDPUNCT,
    separator: str = SEPARATOR,
    column: str | None = None,
    add_end: bool = False,
    dtype: str | None = None,
    end: int | None = None,
    skip: int = 0,
    form: str | None = None,
    ignore: int | None = None,
    words: Sequence[str] | None = None,
    limit: int | None = None,
) -> Corpus:
    """The token ids of the documents of one or several files, folders or patterns, in one vocabulary.

    First bytes give the form of a file, then the ending of its name, before one for gzip, bzip2, xz or Zstandard:
    `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, `.parquet`, `.arrow`, `.feather` are read by column, a document for
    each row, text or (not of .json and tables) a list of token ids; `.npy`, files of llm.c and anything with a `dtype`
    are token ids. A folder of `datasets.save_to_disk` is read by its own list of files. Everything else is text.

    Args:
        source: Files, folders or patterns; or "topics" (a text, not a Path): the help topics of Python itself.
        document: What a document of text is: "line", "paragraph", "file" or "record".
        tokenizer: wordpunct, whitespace, characters, bytes, a tokenizer.json, a SentencePiece .model, a .tiktoken file
            or tiktoken:NAME.
        separator: Text between records.
        column: Column that holds the text or the token ids; by default "text".
        add_end: End every document of text with a token of its own.
        dtype: Integer type of raw token ids.
        end: Token id that ends a document.
        skip: Bytes of a header before raw ids.
        form: Form of the files, where first bytes and ending do not show it.
        ignore: Token id to remove, such as padding or an ignored position.
        words: Number words by their position in this list (of a saved model, say) instead of in order of occurrence.
        limit: Read only this many tokens of each document.

    Returns:
        The documents, and how many were left out, by reason.

    Raises:
        DataError: For files that are not what they should be, arguments that do not apply to them, words that are not
            in the list, and a corpus without a document.

    Example:
        >>> import netassay
        >>> corpus = netassay.read_corpus("stories.txt")
        >>> len(corpus.documents), corpus.words[:3]
        (3, ('the', 'cat', 'sat'))
    """
    skipped: Counter[str] = Counter()
    parts = read_in_parts(
        source,
        document=document,
        tokenizer=tokenizer,
        separator=separator,
        column=column,
        add_end=add_end,
        dtype=dtype,
        end=end,
        skip=skip,
        form=form,
        ignore=ignore,
        words=words,
        limit=limit,
        skipped=skipped,
    )
    documents = Documents.concatenate(parts)
    require_tokens(source, len(documents.tokens), skipped)
    return Corpus(documents, skipped)


def read_in_parts(
    source: Source,
    *,
    document: Unit | None = None,
    tokenizer: str | Path = WORDPUNCT,
    separator: str = SEPARATOR,
    column: str | None = None,
    add_end: bool = False,
    dtype: str | None = None,
    end: int | None = None,
    skip: int = 0,
    form: str | None = None,
    ignore: int | None = None,
    words: Sequence[str] | None = None,
    limit: int | None = None,
    skipped: Counter[str] | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> Iterator[Documents]:
    """What `read_corpus` reads, in parts of complete documents.

    All files are checked before the first is read. They share one numbering of words; parts of two calls are joined
    by `contexts_within` and `Documents.concatenate`.

    Args:
        source: Files, folders or patterns, as for `read_corpus`.
        document: As for `read_corpus`.
        tokenizer: As for `read_corpus`.
        separator: As for `read_corpus`.
        column: As for `read_corpus`.
        add_end: As for `read_corpus`.
        dtype: As for `read_corpus`.
        end: As for `read_corpus`.
        skip: As for `read_corpus`.
        form: As for `read_corpus`.
        ignore: As for `read_corpus`.
        words: As for `read_corpus`.
        limit: As for `read_corpus`.
        skipped: Counts the documents left out, by reason.
        tokens_at_once: Approximate number of tokens of a part (1 or more).

    Returns:
        An iterator over the parts.

    Raises:
        DataError: As for `read_corpus`.

    Example:
        >>> import netassay
        >>> sum(len(part) for part in netassay.read_in_parts("stories.txt", tokens_at_once=1))
        3
    """
    skipped = Counter() if skipped is None else skipped
    reading = Reading(document, tokenizer, separator, column, add_end, dtype, end, skip, form, ignore)
    files = _files(source, reading, skipped)
    # a tokenizer is made once for all files, as it numbers their words
    encodes = encoder(tokenizer) if any(not file.ids for file in files) else None
    if words is not None and encodes is None:
        raise DataError(f"{source_name(source)}: holds token ids, which have no words; leave words out")
    vocabulary = None if words is None else Words(words, closed=True)
    return _all_parts(files, reading, encodes, vocabulary, limit=limit, skipped=skipped, tokens_at_once=tokens_at_once)


def lone_documents(source: Source, reading: Reading) -> list[Path]:
    """The files of a corpus that are one document each: one line of token ids, without an `end`."""
    files = [Path(path) for path in shards(source, names=(TOPICS,)) if path != TOPICS]
    return [
        path
        for path in files
        if form_of(path, form=reading.form, dtype=reading.dtype) in ("npy", "raw")
        and TokenFile.of(path, reading.dtype, reading.end, reading.skip).one_document
    ]


def of_token_ids(source: Source, reading: Reading) -> bool:
    """Whether the files of a corpus hold token ids rather than text."""
    return any(file.ids for file in _files(source, reading, Counter()))


def require_tokens(source: Source, tokens: int, skipped: Mapping[str, int]) -> None:
    """Raises DataError, with the reasons for what was left out, where a corpus holds no token."""
    if not tokens:
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items()) or "the file is empty"
        raise DataError(f"{source_name(source)}: holds no document with a token ({reasons})")


def source_name(source: Source) -> str:
    """A corpus in words: its file, or the first and how many more."""
    if isinstance(source, str | Path):
        return str(source)
    first, *further = source
    return f"{first} and {len(further)} more" if further else str(first)


@dataclass(frozen=True)
class _File:
    """A file of a corpus, its form, the type of its token ids ("" for text), and its size and modification time."""

    path: str | Path
    form: str
    kind: str
    stamp: tuple[int, int] | None

    @property
    def ids(self) -> bool:
        """Whether it holds token ids rather than text."""
        return bool(self.kind)


def _files(source: Source, reading: Reading, skipped: Counter[str]) -> list[_File]:
    """The files of a corpus; DataError for a key that does not apply to one, and for ids beside text."""
    files = []
    for path in shards(source, names=(TOPICS,), skipped=skipped):
        if path == TOPICS:
            file = _File(path, "text", "", None)
        else:
            form = form_of(Path(path), form=reading.form, dtype=reading.dtype)
            file = _File(path, form, _kind(Path(path), form, reading), _stamp(path))
        _require_applying(file, reading)
        files.append(file)
    if {file.ids for file in files} == {True, False}:
        text = next(file.path for file in files if not file.ids)
        ids = next(file.path for file in files if file.ids)
        raise DataError(
            f"{text} holds text and {ids} token ids; the files of a corpus have one vocabulary, so give text alone "
            "or ids alone"
        )
    for file in files[1:]:
        if file.kind != files[0].kind:
            raise DataError(
                f"{files[0].path} holds token ids as {files[0].kind} and {file.path} as {file.kind}; the shards of a "
                "corpus are of one kind: write them again as one"
            )
    return files


def _kind(path: Path, form: str, reading: Reading) -> str:
    """The type of a file's token ids; "" for text."""
    column = reading.column or "text"
    if form in ("parquet", "arrow"):
        return token_kind(path, column)
    if form == "jsonl":
        return "lists" if lines_hold_token_ids(path, column) else ""
    if form in ("npy", "raw"):
        return str(TokenFile.of(path, reading.dtype, reading.end, reading.skip).array().dtype)
    return ""


def _stamp(path: str | Path) -> tuple[int, int]:
    about = Path(path).stat()
    return about.st_size, about.st_mtime_ns


_FORMS = {
    "text": "text",
    "jsonl": "JSON lines",
    "json": "JSON",
    "csv": "CSV",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "npy": "an array of token ids (.npy)",
    "raw": "raw token ids",
}


def _require_applying(file: _File, reading: Reading) -> None:
    """Raises DataError, listing all keys that were set but do not apply to a file of this form."""
    columns = file.form in ("jsonl", "json", "csv", "parquet", "arrow")
    flat = file.form in ("npy", "raw")
    checks = (
        ("document", reading.document is not None, file.form == "text", "a row is a document"),
        (
            "separator",
            reading.separator != SEPARATOR,
            file.form == "text" and reading.document == "record",
            "it separates records (document record)",
        ),
        ("tokenizer", reading.tokenizer != WORDPUNCT, not file.ids, "ids are tokens already"),
        ("column", reading.column is not None, columns, "it is for JSON, CSV, Parquet and Arrow"),
        ("add_end", reading.add_end, not file.ids, "documents of ids are not changed"),
        ("dtype", reading.dtype is not None, file.form == "raw", "it is for raw token ids"),
        ("end", reading.end is not None, flat, "it separates token ids; for text, choose what a document is"),
        ("skip", reading.skip != 0, file.form == "raw", "it is for raw token ids, with a dtype"),
        ("ignore", reading.ignore is not None, file.ids, "it is for token ids"),
    )
    wrong = [f"{key} ({why})" for key, is_set, applies, why in checks if is_set and not applies]
    if wrong:
        ids = " of token ids" if file.ids and columns else ""
        raise DataError(
            f"{file.path}: is read as {_FORMS[file.form]}{ids}, to which these do not apply: {', '.join(wrong)}; "
            "leave them out"
        )


def _all_parts(
    files: Sequence[_File],
    reading: Reading,
    encodes: Encoder | None,
    vocabulary: Words | None,
    *,
    limit: int | None,
    skipped: Counter[str],
    tokens_at_once: int,
) -> Iterator[Documents]:
    """The parts of all files, numbered by `vocabulary` if there is one, without ids to ignore."""
    # ignored tokens do not count towards the limit
    read_limit = limit if reading.ignore is None else None
    for file in files:
        before = 0
        how: dict[str, Any] = {"limit": read_limit, "skipped": skipped, "tokens_at_once": tokens_at_once}
        for part in _parts(file, reading, encodes, **how):
            if reading.ignore is not None:
                part, removed = part.without(reading.ignore)
                skipped[f"token of id {reading.ignore}"] += removed
                part = part if limit is None else part.beginnings(limit)
            yield part if vocabulary is None else part.named_by(vocabulary, where=str(file.path), before=before)
            before += len(part)
        if file.stamp is not None and _stamp(file.path) != file.stamp:
            raise DataError(f"{file.path}: changed while it was read; read it when nothing writes to it any more")
        if not before and len(files) > 1:
            raise DataError(
                f"{file.path}: is an empty shard, without a document, as of a writer that failed; leave it out, or "
                "fetch it again"
            )
    skipped += Counter()


def _parts(
    file: _File,
    reading: Reading,
    encodes: Encoder | None,
    *,
    limit: int | None,
    skipped: Counter[str],
    tokens_at_once: int,
) -> Iterable[Documents]:
    path = Path(file.path)
    if file.form in ("npy", "raw"):
        return read_tokens_in_parts(
            path,
            dtype=reading.dtype,
            end=reading.end,
            skip=reading.skip,
            limit=limit,
            ignore=reading.ignore,
            tokens_at_once=tokens_at_once,
        )
    if file.ids:
        reader = read_token_lines if file.form == "jsonl" else read_token_column
        return reader(path, reading.column or "text", limit=limit, ignore=reading.ignore, skipped=skipped)
    assert encodes is not None, "text is read by an encoder"
    return tokenize_in_parts(
        _texts(file, reading, skipped),
        encodes,
        limit=limit,
        add_end=reading.add_end,
        skipped=skipped,
        # tokens of text are gathered one by one, those of token files are read at once
        tokens_at_once=min(tokens_at_once, TOKENS_AT_ONCE),
        where=str(file.path),
    )


def _texts(file: _File, reading: Reading, skipped: Counter[str]) -> Iterator[str]:
    path, column = Path(file.path), reading.column or "text"
    if file.path == TOPICS:
        return _topics(reading.document, reading.separator, skipped)
    if file.form == "text":
        return read_text(path, reading.document or "line", separator=reading.separator, skipped=skipped)
    reader = {"jsonl": read_json_lines, "json": read_json, "csv": read_delimited}.get(file.form, read_table)
    return reader(path, column, skipped=skipped)


def _topics(document: Unit | None, separator: str, skipped: Counter[str]) -> Iterator[str]:
    from pydoc_data.topics import topics

    for text in topics.values():
        yield from cut_text(text.split("\n"), document or "file", separator=separator, skipped=skipped)
