"""The files of a corpus: which they are, and the form of each."""

from __future__ import annotations

import glob
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Literal, get_args

from netassay.errors import DataError, did_you_mean
from netassay.formats.text import (
    ARROW,
    ARROW_STREAM,
    NPY,
    PARQUET,
    UTF_16,
    content_head,
    first_bytes,
    is_json,
    llm_c,
    reads_as_text,
    refuse_unreadable,
    signature_of,
)
from netassay.inputs import refuse_odd_file, refuse_size

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
    if _OBJECT.match(text) and (len(content) == HEAD or is_json(text) or is_json(_first_line(text))):
        raise DataError(
            f"{path}: looks like JSON ({text.strip()[:24]!r}...), and its ending does not say so; rename it to .jsonl "
            "(one object a line) or .json, or state form jsonl or json; form text takes every word of it for prose"
        )


def _first_line(text: str) -> str:
    return next(line for line in text.split("\n") if line.strip())


PACKED = re.compile(r"\.(gz|bz2|xz|zst|zstd)$", re.IGNORECASE)


def shards(
    source: str | Path | Sequence[str | Path],
    *,
    names: Sequence[str] = (),
    skipped: Counter[str] | None = None,
) -> list[str | Path]:
    """The files of one corpus, in the order given, those of a folder or pattern (*, ?, [...], **) sorted by name.

    A text among `names` stands for itself. All files of a folder and its subfolders are taken; those whose
    names begin with "." or "_" are left out and counted in `skipped`. Raises DataError for a folder without a file or
    with files of several endings, a pattern that nothing matches, and a file that occurs twice.
    """
    skipped = Counter() if skipped is None else skipped
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise DataError("no file is given; name one at least")
    files: list[str | Path] = []
    for item in sources:
        if not str(item):
            raise DataError("a file has an empty name; name one, or . for this folder")
        if isinstance(item, str) and item in names:
            files.append(item)
        elif Path(item).is_dir():
            files += _of_folder(Path(item), skipped)
        elif glob.has_magic(str(item)) and not Path(item).exists():
            files += _matching(str(item))
        else:
            files.append(Path(item))
    places: dict[str | Path, str | Path] = {}
    for file in files:
        key = file if file in names else os.path.realpath(file)  # Path.resolve raises for links in a circle
        if key in places:
            raise DataError(
                f"{file}: is given twice (as {places[key]} before), so that its documents would count twice; give "
                "each file once"
            )
        places[key] = file
    return files


def ending(path: str | Path) -> str:
    """The ending of a file's name, without that of its compression: ".json" of "a.json.gz"."""
    return Path(PACKED.sub("", str(path))).suffix.lower()


def _of_folder(folder: Path, skipped: Counter[str]) -> list[Path]:
    if (saved := _of_datasets(folder)) is not None:
        return saved
    files = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
            skipped["hidden file"] += 1
        else:
            files.append(path)
    if not files:
        raise DataError(f"{folder}: is a folder without a file; give the folder that holds the corpus")
    by_ending = Counter(map(ending, files))
    if len(by_ending) > 1:
        kinds = ", ".join(f"{count} {end or 'without an ending'}" for end, count in by_ending.most_common(5))
        first = by_ending.most_common(1)[0][0]
        raise DataError(
            f"{folder}: holds files of several endings ({kinds}); give those of the corpus by a pattern, such as "
            f"'{folder}/**/*{first}*'"
        )
    return files


def _of_datasets(folder: Path) -> list[Path] | None:
    """The files of a folder that `save_to_disk` of Hugging Face's `datasets` wrote, in order; None of any other."""
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(path.parent.name for path in folder.glob("*/state.json"))
        raise DataError(
            f"{folder}: is a data set with the splits {', '.join(splits) or 'none'}; give one, such as "
            f"{folder / (splits[0] if splits else 'train')}"
        )
    if not (folder / "state.json").is_file() or not (folder / "dataset_info.json").is_file():
        return None
    refuse_odd_file(folder / "state.json", "LARGEST_CONFIG")
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        names = [str(file["filename"]) for file in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{folder / 'state.json'}: does not list the data set's files ({type(error).__name__}); save it again with "
            "save_to_disk"
        ) from None
    if state.get("_indices_data_files"):
        raise DataError(
            f"{folder}: was saved with a table of indices beside its rows, which is not applied here; save it after "
            "flatten_indices()"
        )
    if not names:
        raise DataError(f"{folder}: is a data set without rows; give one that holds the corpus")
    return [folder / name for name in names]


def _matching(pattern: str) -> list[Path]:
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob takes no pattern from the root)
    files = sorted(path for path in map(Path, names) if path.is_file())
    if not files:
        raise DataError(f"{pattern}: no file matches this pattern; check its spelling, or name the files")
    return files


WORDS = ("-", "/dev/stdin")
"""Words for standard input among the files of a corpus; a file that is called so is ./-."""

_BLOCK = 1 << 20


@contextmanager
def with_standard_input(
    files: Sequence[str | Path], scratch: Path | str | None = None
) -> Iterator[tuple[str | Path, ...]]:
    """The files, with standard input in place of its word, kept in a file below `scratch` as long as the context lasts.

    DataError where it is closed, is longer than a file may be, or cannot be kept.
    """
    if not {*map(str, files)}.intersection(WORDS):
        yield tuple(files)
        return
    if sys.stdin is None:
        raise DataError("standard input is closed; pipe the corpus into the command, or name its file")
    with TemporaryDirectory(prefix="netassay-", dir=scratch) as folder:
        path = Path(folder) / "standard-input"
        _keep(sys.stdin.buffer, path)
        try:
            yield tuple(path if str(file) in WORDS else file for file in files)
        except DataError as refused:
            raise DataError(str(refused).replace(str(path), "standard input")) from None


def _keep(stream: BinaryIO, path: Path) -> None:
    size = 0
    try:
        with path.open("wb") as file:
            while block := stream.read(_BLOCK):
                size += len(block)
                refuse_size("standard input", size, "LARGEST_FILE", phrase="gives at least")
                file.write(block)
    except OSError as cause:
        raise DataError(
            f"standard input: cannot be kept in {path} ({cause.strerror}); give --scratch, a folder with room, or name "
            "a file"
        ) from None
