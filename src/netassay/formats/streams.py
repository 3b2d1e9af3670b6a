"""Bytes of a file, plain or gzip, a block at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from netassay.errors import DataError

BLOCK = 1 << 22


def blocks(path: Path) -> Iterator[bytes]:
    """Blocks of 4 MiB of a file's content; gzip is known by its first bytes, whatever the name.

    Raises DataError for a file that cannot be read and for a damaged or cut gzip stream.
    """
    try:
        with path.open("rb") as begin:
            zipped = begin.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as stream:
            while block := stream.read(BLOCK):
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: the gzip stream is damaged or cut ({error}); fetch the file again"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
