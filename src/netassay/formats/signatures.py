"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from netassay.errors import DataError
from netassay.inputs import refuse_odd_file

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
