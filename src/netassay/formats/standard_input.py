"""Standard input as a file: a corpus is looked at before it is read, which a stream does not allow."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from netassay.errors import DataError
from netassay.inputs import refuse_size

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
