"""Which form a file of a corpus has: by its first bytes, by the ending of its name, or as stated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal, get_args

from netassay.errors import DataError, did_you_mean
from netassay.formats.shards import PACKED, ending
from netassay.formats.signatures import (
    ARROW,
    ARROW_STREAM,
    NPY,
    PARQUET,
    UTF_16,
    first_bytes,
    llm_c,
    reads_as_text,
    refuse_unreadable,
    signature_of,
)
from netassay.formats.text import content_head

Form = Literal["text", "jsonl", "json", "csv", "parquet", "arrow", "npy", "raw"]

IdType = Literal["uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64"]
"""Kinds of little-endian integers that a raw file of token ids may hold."""

_BY_ENDING: dict[str, Form] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".npy": "npy",
}
_BY_BYTES: dict[bytes, Form] = {PARQUET: "parquet", ARROW: "arrow", ARROW_STREAM: "arrow", NPY: "npy"}
_NO_TEXT = {
    ".npz": "is an archive of arrays by its ending; write one array with numpy.save",
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib"),
        "is a pickle by its ending, which may run any code when it is opened; write its content as JSON lines, "
        "Parquet or .npy",
    ),
    ".bin": "ends in .bin, as raw token ids do; state their dtype, such as uint16, and the id that ends a document",
}

HEAD = 1 << 16
_OBJECT = re.compile(r'\s*(\[\s*)?\{\s*"(?:[^"\\]|\\.)*"\s*:')


def form_of(path: Path, *, form: str | None = None, dtype: str | None = None) -> Form:
    """The form of a file: as stated, `raw` with a `dtype`, else by its first bytes, else by its ending; else text.

    Raises DataError, saying what the file is and what to do, where it is of a form that is not read, where its bytes
    are not text, and where text without a telling ending looks like JSON.
    """
    if form is not None and form not in get_args(Form):
        raise DataError(f"form {form!r}: {did_you_mean(form, get_args(Form))}")
    end = ending(path)
    if dtype is not None or form == "raw":
        return _raw(path, end, form, dtype)
    head = first_bytes(path)
    refuse_unreadable(path, head)
    by_bytes = next((kind for begin, kind in _BY_BYTES.items() if head.startswith(begin)), None)
    if form is None and llm_c(head) is not None:
        return "raw"
    if form is not None:
        if by_bytes not in (None, form):
            raise DataError(f"{path}: is {by_bytes} by its first bytes, not {form}; leave form out")
        return form  # type: ignore[return-value]
    if by_bytes is not None and not (by_bytes == "parquet" and reads_as_text(head[:32])):
        return by_bytes
    if end in _NO_TEXT:
        raise DataError(f"{path}: {_NO_TEXT[end]} (or state form text if it is text all the same)")
    if end in _BY_ENDING:
        return _BY_ENDING[end]
    _refuse_no_prose(path)
    return "text"


def _raw(path: Path, end: str, form: str | None, dtype: str | None) -> Form:
    if form not in (None, "raw"):
        raise DataError(f"{path}: dtype {dtype} is for raw token ids, not of form {form}; leave one of the two out")
    if dtype is None:
        raise DataError(f"{path}: raw token ids need their dtype, such as uint16")
    if form is None and (end in _BY_ENDING or end == ".txt"):
        raise DataError(
            f"{path}: dtype {dtype} is for raw token ids, and {end} is not their ending; leave dtype out (or state "
            "form raw if it holds raw ids all the same)"
        )
    if PACKED.search(str(path)):
        raise DataError(f"{path}: raw token ids are read unpacked; unpack the file first")
    return "raw"


def _refuse_no_prose(path: Path) -> None:
    """Raises DataError for a file taken as text that is binary, or looks like JSON."""
    content = content_head(path, HEAD)
    if (inner := signature_of(content)) and inner.begin not in UTF_16:
        raise DataError(f"{path}: holds {inner.name}, packed; {inner.advice or 'unpack it and give what it holds'}")
    if inner:
        content = content.decode("utf-16", errors="ignore").encode(errors="ignore")
    odd = len(content) - len(content.translate(None, bytes(b for b in range(32) if b not in b"\t\n\v\f\r\x1b")))
    if b"\x00" in content or 10 * odd > len(content):
        evidence = f"byte 0x00 at offset {content.index(0)}" if b"\x00" in content else f"{odd} control characters"
        raise DataError(
            f"{path}: holds {evidence}, as no text does; if it holds token ids, state their dtype, such as uint16; "
            "if it is UTF-16 without a mark, convert it: iconv -f UTF-16LE -t UTF-8 FILE > NEW"
        )
    text = content.decode("utf-8-sig", errors="ignore")
    if _OBJECT.match(text) and (len(content) == HEAD or _parses(text) or _parses(_first_line(text))):
        raise DataError(
            f"{path}: looks like JSON ({text.strip()[:24]!r}...), and its ending does not say so; rename it to "
            ".jsonl (one object a line) or .json, or state form jsonl or json; form text takes every word of it for "
            "prose"
        )


def _first_line(text: str) -> str:
    return next(line for line in text.split("\n") if line.strip())


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
