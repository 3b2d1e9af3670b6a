"""What a file is by its first bytes, and the documents of text files: a line, a paragraph, a record or all of it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from netassay.errors import DataError, first_line
from netassay.inputs import bound, refuse_odd_file, refuse_size, require_utf_8_name

HEAD = 512

_OF_TEXT = bytes(b for b in range(256) if b >= 32 and b != 127) + b"\t\n\v\f\r\x1b"


class Signature(NamedTuple):
    """First bytes, the form that they begin, and what to do if it cannot be read here."""

    begin: bytes
    name: str
    advice: str | None = None


GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"
ZSTANDARD = b"\x28\xb5\x2f\xfd"
PARQUET, ARROW, ARROW_STREAM = b"PAR1", b"ARROW1\x00\x00", b"\xff\xff\xff\xff"
NPY = b"\x93NUMPY"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")

LLM_C = {20240520: "uint16", 20240801: "uint32"}
"""First integer of files of llm.c, and the type of the ids that follow their header."""
LLM_C_HEADER = 1024

_OLD_PICKLE = re.compile(rb"\([ldt]p\d+\r?\n|c[a-z_][\w.]*\r?\n\w+\r?\n(?:p\d+\r?\n|\()")
"""How pickles of protocol 0, which are ASCII, begin: a container, or the name of a class."""

_LETTERS = (b"ORC", b"GGUF", BZIP2, PARQUET)
"""Letters that a text may begin with as well; a binary file continues with other bytes."""

_PICKLE = "a pickle may run any code when it is opened; write its content as JSON lines, Parquet or .npy"
_UNPACK = "unpack it and give the files that it holds"

SIGNATURES = (
    Signature(GZIP, "gzip"),
    Signature(BZIP2, "bzip2"),
    Signature(XZ, "xz"),
    Signature(ZSTANDARD, "Zstandard"),
    Signature(PARQUET, "Parquet"),
    Signature(ARROW, "an Arrow file"),
    Signature(ARROW_STREAM, "an Arrow stream"),
    Signature(NPY, "an array of NumPy (.npy)"),
    Signature(b"\xff\xfe\x00\x00", "UTF-32", "convert it: iconv -f UTF-32 -t UTF-8 FILE > NEW"),
    Signature(b"\x00\x00\xfe\xff", "UTF-32", "convert it: iconv -f UTF-32 -t UTF-8 FILE > NEW"),
    Signature(UTF_16[0], "UTF-16"),
    Signature(UTF_16[1], "UTF-16"),
    Signature(
        b"PK\x03\x04",
        "a zip archive (.zip, .npz, .pt, .docx and others are)",
        f"{_UNPACK}; of a .npz write one array with numpy.save",
    ),
    Signature(b"PK\x05\x06", "an empty zip archive", "give a file that holds a corpus"),
    Signature(b"\x04\x22\x4d\x18", "LZ4", "unpack it: lz4 -d FILE NEW"),
    Signature(b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    Signature(b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    *(Signature(bytes([0x80, protocol]), "a pickle", _PICKLE) for protocol in (2, 3, 4, 5)),
    Signature(b"\x89HDF\r\n\x1a\n", "HDF5", "write the texts or ids as JSON lines, Parquet or .npy"),
    Signature(b"SQLite format 3\x00", "an SQLite database", "export a table: sqlite3 -json or -csv"),
    Signature(b"Obj\x01", "Avro", "write it as Parquet or JSON lines"),
    Signature(b"ORC", "ORC", "write it as Parquet"),
    Signature(b"%PDF-", "a PDF", "take its text out first: pdftotext FILE NEW"),
    Signature(b"{\\rtf", "rich text (RTF)", "save it as plain text"),
    Signature(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of old Office", "save it as plain text or CSV"),
    Signature(b"GGUF", "weights in GGUF", "give the corpus, not a model"),
    Signature(
        b"MMIDIDX\x00\x00",
        "the index of a Megatron corpus (.idx)",
        "give the .bin beside it, with a dtype and the id that ends its documents",
    ),
    Signature(
        b"version https://git-lfs.github.com/spec/",
        "a pointer of Git LFS, not the data",
        "fetch the data: git lfs pull",
    ),
)


def signature_of(head: bytes) -> Signature | None:
    """The signature that the first bytes (512 or more, where the file has them) begin with, if one is known."""
    if head[257:262] == b"ustar":
        return Signature(b"ustar", "a tar archive", _UNPACK)
    if _OLD_PICKLE.match(head):
        return Signature(b"", "a pickle", _PICKLE)
    for signature in SIGNATURES:
        if head.startswith(signature.begin) and not (signature.begin in _LETTERS and reads_as_text(head[:32])):
            return signature
    return None


def reads_as_text(data: bytes) -> bool:
    """Whether bytes hold no control characters other than white space, as is true of nearly any text."""
    return not data.translate(None, _OF_TEXT)


def first_bytes(path: Path, size: int = HEAD) -> bytes:
    """The beginning of a regular file; DataError for one that cannot be read, and for a pipe."""
    try:
        refuse_odd_file(path)
        with path.open("rb") as file:
            return file.read(size)
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}") from error


def refuse_unreadable(path: Path, head: bytes) -> None:
    """Raises DataError, with what to do, where the first bytes are of a form that cannot be read here."""
    if (signature := signature_of(head)) and signature.advice:
        raise DataError(f"{path}: is by its first bytes {signature.name}; {signature.advice}")


class Header(NamedTuple):
    """What the header of a file of llm.c says: the kind of its ids, and how many there are."""

    dtype: str
    tokens: int


def llm_c(head: bytes) -> Header | None:
    """The header of llm.c at the beginning of a file: 256 integers, magic, version and number of tokens first."""
    magic, version, tokens = (int.from_bytes(head[i : i + 4], "little") for i in (0, 4, 8))
    # it is padded with zeros, which no ids of a text are
    filled = len(head) == HEAD and not any(head[12:])
    return Header(LLM_C[magic], tokens) if magic in LLM_C and version < 100 and filled else None


Unit = Literal["line", "paragraph", "file", "record"]

LONGEST = 1 << 40
"""More tokens than any document has; a longer length or window is a typing error."""

SEPARATOR = "<|endoftext|>"


def read_text(
    path: Path, unit: Unit = "line", *, separator: str = SEPARATOR, skipped: Counter[str] | None = None
) -> Iterator[str]:
    """Documents of a UTF-8 file, plain or gzip, one at a time, cut as `cut_text` cuts them.

    A line ends at a line feed, a carriage return before it is taken off. Raises DataError for a file that cannot
    be read, naming line and byte where it is not UTF-8 or holds a zero, and for a blank separator.
    """
    return cut_text(_lines_of_text(path), unit, separator=separator, skipped=skipped)


def _lines_of_text(path: Path) -> Iterator[str]:
    for number, line in enumerate(read_lines(path), 1):
        if "\0" in line:
            raise DataError(
                f"{path}:{number}: holds a zero byte (character {line.index(chr(0))} of the line), as no text does; "
                "take it out, for example with tr -d '\\0', if the file is text all the same"
            )
        yield line


def cut_text(
    lines: Iterable[str],
    unit: Unit = "line",
    *,
    separator: str = SEPARATOR,
    skipped: Counter[str] | None = None,
) -> Iterator[str]:
    """Documents of a text given by its lines, one at a time.

    Paragraphs are separated by blank lines, records by `separator` wherever it occurs. Line ends within a document
    stay as line feeds, those at its ends are removed. Documents of nothing but white space are left out and
    counted in `skipped`. Raises DataError for an unknown unit and for a blank separator.
    """
    skipped = Counter() if skipped is None else skipped
    for document in _documents(lines, unit, separator):
        if document.strip():
            yield document
        else:
            skipped[f"blank {unit}"] += 1


def read_lines(path: Path, *, old_mac: bool = False) -> Iterator[str]:
    """Lines of a UTF-8 or marked UTF-16 file, plain or packed, without their ends; a byte-order mark is taken off.

    Packed is gzip, bzip2, xz or Zstandard, known by the first bytes whatever the name. Raises DataError as
    `read_text` does, and for a file whose lines all end with carriage returns alone; with `old_mac` it is one line.
    """
    head = first_bytes(path)
    if head.startswith(ZSTANDARD):
        yield from _zstandard_lines(path)
        return
    refuse_unreadable(path, head)
    before = 0
    for number, raw in enumerate(_raw_lines(path), 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            raise DataError(
                f"{path}:{number}: byte 0x{byte:02x} at offset {before + error.start} is not UTF-8 "
                f"({error.reason}); convert the file, for example with iconv -t UTF-8"
            ) from error
        if number == 1 and not old_mac and not line.endswith("\n") and "\r" in line[:-1]:
            raise DataError(
                f"{path}: has no line feed; its lines end with carriage returns alone, as on old Macs (the first at "
                f"character {line.index(chr(13))}); convert it: tr '\\r' '\\n' < FILE > NEW"
            )
        before += len(raw)
        yield line.removesuffix("\n").removesuffix("\r")


def _documents(lines: Iterable[str], unit: Unit, separator: str) -> Iterator[str]:
    if unit == "line":
        return iter(lines)
    if unit == "paragraph":
        return _paragraphs(lines)
    if unit == "file":
        return iter(["\n".join(lines)])
    if unit == "record":
        if not separator.strip() or "\n" in separator:
            raise DataError(
                f"the record separator is {separator!r}; give text within a line, such as {SEPARATOR!r} "
                "(for blank lines between documents, take paragraphs)"
            )
        return _records(lines, separator)
    raise DataError(f"document unit {unit!r}: allowed are line, paragraph, file, record")


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    paragraph: list[str] = []
    for line in lines:
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield "\n".join(paragraph)
            paragraph = []
    if paragraph:
        yield "\n".join(paragraph)


def _records(lines: Iterable[str], separator: str) -> Iterator[str]:
    """The text between separators; nothing follows a separator that ends the file."""
    record: list[str] = []
    for line in lines:
        *closed, rest = line.split(separator)
        for part in closed:
            yield "\n".join([*record, part]).strip("\n")
            record = []
        if record or rest.strip() or not closed:
            record.append(rest)
    if any(line.strip() for line in record):
        yield "\n".join(record).strip("\n")


def _raw_lines(path: Path) -> Iterator[bytes]:
    with unpacked(path) as stream:
        head = stream.peek(4)
        if head.startswith(UTF_16) and not head.startswith(b"\xff\xfe\x00\x00"):
            yield from _utf_16_lines(path, stream)
        else:
            yield from _bounded_lines(path, stream)


def _bounded_lines(path: Path, stream: Any) -> Iterator[bytes]:
    """Lines of a stream; DataError for one too long for memory, which a few compressed bytes can produce."""
    limit = bound("LONGEST_LINE")
    number = 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) > limit:
            refuse_size(f"{path}:{number}", len(line), "LONGEST_LINE", phrase="begins a line of at least")
        yield line


def _utf_16_lines(path: Path, stream: Any) -> Iterator[bytes]:
    """Lines of UTF-16 in UTF-8."""
    number = 0
    try:
        # lines end at line feeds here too, and at nothing else
        with TextIOWrapper(stream, "utf-16", newline="\n") as text:
            while line := text.readline(bound("LONGEST_LINE") + 1):
                number += 1
                refuse_size(f"{path}:{number}", len(line), "LONGEST_LINE", phrase="begins a line of at least")
                yield line.encode()
    except UnicodeError as error:
        raise DataError(
            f"{path}:{number + 1}: is UTF-16 by its first bytes, and what follows is not ({error}); convert the file "
            "to UTF-8"
        ) from error


def _zstandard_lines(path: Path) -> Iterator[str]:
    import polars as pl

    require_utf_8_name(path)
    lines = 0
    try:
        for batch in pl.scan_lines(path, glob=False).collect_batches(maintain_order=True):
            texts = batch.to_series().to_list()
            if not lines and texts:
                texts[0] = texts[0].removeprefix("\ufeff")
            lines += len(texts)
            # carriage returns before line feeds are taken off by the reader
            yield from texts
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path}: after line {lines} the Zstandard stream is damaged, or its content is not UTF-8 "
            f"({first_line(error)}); unpack it with zstd -d to see which"
        ) from error


def is_json(text: str) -> bool:
    """Whether a text is JSON that can be parsed."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


BLOCK = 1 << 22


def blocks(path: Path) -> Iterator[bytes]:
    """Blocks of 4 MiB of a file's content; gzip, bzip2 and xz are known by their first bytes, whatever the name.

    Raises DataError for a file that cannot be read and for a damaged or cut stream.
    """
    with unpacked(path) as stream:
        while block := stream.read(BLOCK):
            yield block


def content_head(path: Path, size: int) -> bytes:
    """The first bytes of a file's content, unpacked."""
    if first_bytes(path).startswith(ZSTANDARD):
        return "\n".join(islice(_zstandard_lines(path), 64)).encode()[:size]
    with unpacked(path) as stream:
        return stream.read(size)


@contextmanager
def unpacked(path: Path) -> Iterator[Any]:
    """A file's content as a stream of bytes, decompressed from gzip, bzip2 or xz.

    Raises DataError for a file that cannot be read, for Zstandard, and for a damaged or cut stream.
    """
    head = first_bytes(path)
    kind = signature_of(head)
    begin = kind.begin if kind else b""
    if begin == ZSTANDARD:
        raise DataError(f"{path}: is Zstandard by its first bytes; unpack it: zstd -d FILE")
    openers: dict[bytes, Callable[[Path], Any]] = {GZIP: gzip.open, BZIP2: bz2.open, XZ: lzma.open}
    opener = openers.get(begin)
    try:
        with path.open("rb") if opener is None else opener(path) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise DataError(
            f"{path}: the {kind.name if kind else 'gzip'} stream is damaged or cut ({error}); fetch the file again"
        ) from error
    except OSError as error:
        if opener is bz2.open and error.errno is None:
            raise DataError(f"{path}: the bzip2 stream is damaged or cut ({error}); fetch the file again") from error
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
