"""Contigs of a genome in UCSC's 2bit form; needs the extra `twobit`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from netassay.errors import DataError, ExtraMissing
from netassay.formats.bases import encode
from netassay.inputs import refuse_odd_file

_SIGNATURES = (bytes.fromhex("1a412743"), bytes.fromhex("4327411a"))


def is_twobit(path: Path) -> bool:
    """Whether the file begins as 2bit files do, in either order of bytes."""
    refuse_odd_file(path)
    try:
        with path.open("rb") as file:
            return file.read(4) in _SIGNATURES
    except OSError:
        return False


@dataclass(frozen=True, eq=False)
class TwoBitContig:
    """A contig whose windows are read on demand."""

    path: Path
    name: str
    sequence: Any

    @property
    def length(self) -> int:
        return len(self.sequence)

    def windows(self, starts: Int64[np.ndarray, " n"], width: int) -> UInt8[np.ndarray, "n width"]:
        """Bases [start, start + width) (0-based), all within the contig; N is an unknown base."""
        codes = np.empty((len(starts), width), np.uint8)
        order = np.argsort(starts, kind="stable")
        try:
            letters = "".join(self.sequence[start : start + width] for start in starts[order].tolist())
        except Exception as error:  # the library's own kinds, EOFError, ValueError
            raise _damaged(self.path, error) from error
        if len(letters) != codes.size:
            raise _damaged(self.path, f"contig {self.name!r} is shorter than it says")
        codes[order] = encode(letters).reshape(codes.shape)
        return codes


def twobit_contigs(path: Path) -> Iterator[TwoBitContig]:
    """Contigs in the order of the file. Raises DataError for a damaged file, ExtraMissing without the library."""
    try:
        import twobitreader
    except ImportError as error:
        raise ExtraMissing(
            f"{path}: 2bit needs the package twobitreader; install netassay[twobit], or turn the file into FASTA "
            "(twoBitToFa)"
        ) from error
    try:
        opened = twobitreader.TwoBitFile(str(path))
    except Exception as error:  # the same
        raise _damaged(path, error) from error
    with opened:
        for name, sequence in opened.items():
            yield TwoBitContig(path, name, sequence)


def _damaged(path: Path, reason: object) -> DataError:
    words = str(reason) or type(reason).__name__
    return DataError(f"{path}: is a damaged 2bit file ({words}); fetch it again, or give the genome as FASTA")
