"""DNA letters as one byte a base, and as one-hot tensors in the order A, C, G, T; names of chromosomes.

Different sources call one chromosome differently: chr1 and 1, chrM and MT.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ALPHABET = "ACGT"
UNKNOWN = 4
"""The code of N and of every other letter that names more than one base; its one-hot column is zero."""

IUPAC = "NRYSWKMBDHV"
"""Letters for more than one base (IUPAC-IUB 1984), which DNA files may hold beside A, C, G and T."""

FOREIGN = 255
"""What `encode` gives for a byte that is not a letter of DNA."""


_CODES = np.full(256, FOREIGN, np.uint8)
for _letters, _code in (*((letter, code) for code, letter in enumerate(ALPHABET)), ("U", 3), (IUPAC, UNKNOWN)):
    _CODES[np.frombuffer((_letters + _letters.lower()).encode(), np.uint8)] = _code
_LETTERS = np.frombuffer(b"ACGTN", np.uint8)


def encode(letters: bytes | str) -> UInt8[np.ndarray, " length"]:
    """Codes of letters in either case: A 0, C 1, G 2, T and U 3, other IUPAC letters 4, anything else 255."""
    text = letters.encode("latin-1", "replace") if isinstance(letters, str) else letters
    return _CODES[np.frombuffer(text, np.uint8)]


def decode(codes: UInt8[np.ndarray, " length"]) -> str:
    """The letters of codes 0 to 4, N for 4."""
    return _LETTERS[np.asarray(codes)].tobytes().decode("ascii")


def reverse_complement(codes: Any) -> Any:
    """Codes (..., length) of the other strand, read from its own beginning; an array or a tensor, as given."""
    # 3 - code for the four bases; 4 stays 4
    table = np.array([3, 2, 1, 0, UNKNOWN], np.uint8)
    if isinstance(codes, np.ndarray):
        return table[codes[..., ::-1]]
    import torch

    return torch.from_numpy(table)[codes.flip(-1).int()]


def one_hot(codes: UInt8[Tensor, "*n length"], dtype: torch.dtype | None = None) -> Float[Tensor, "*n 4 length"]:
    """One row a base in the order A, C, G, T; a column of zeros where the base is not known.

    `dtype` defaults to float32. Memory is contiguous along the length, as convolutions expect.
    """
    import torch

    shape = (*codes.shape[:-1], 4, codes.shape[-1])
    rows = torch.empty(shape, dtype=dtype or torch.float32, device=codes.device)
    for base in range(4):
        torch.eq(codes, base, out=rows.select(-2, base))
    return rows


def from_one_hot(planes: np.ndarray, order: str = ALPHABET, *, label: str = "array") -> UInt8[np.ndarray, "n length"]:
    """Codes of a one-hot array (n, 4, length) whose four rows are the letters of `order`.

    Raises DataError, naming `label` and the first position, for values other than 0 and 1, more than one base at a
    position, or an order that is not a permutation of ACGT.
    """
    from netassay.errors import DataError

    if sorted(order) != sorted(ALPHABET):
        raise DataError(
            f"one-hot order {order!r}: give the four letters A, C, G, T in the order of the rows, such as ATGC"
        )
    if planes.ndim != 3 or planes.shape[1] != 4:
        raise DataError(f"{label}: has shape {planes.shape}; one-hot sequences are peaks x 4 bases x length")
    hot = planes == 1
    odd = ~(hot | (planes == 0)).all(axis=1) | (hot.sum(axis=1) > 1)
    if odd.any():
        peak, position = np.argwhere(odd)[0]
        raise DataError(
            f"{label}: peak {peak}, position {position} (both from 0) holds "
            f"{planes[peak, :, position].tolist()}; allowed are a single 1 (a base) or four zeros (no base known)"
        )
    letters = np.array([ALPHABET.index(letter) for letter in order], np.uint8)
    return np.where(hot.any(axis=1), letters[hot.argmax(axis=1)], np.uint8(UNKNOWN))


MITOCHONDRION = ("chrM", "MT", "M", "chrMT")
"""Names of the mitochondrial genome: UCSC's, Ensembl's, and mixtures of the two."""


def other_names(name: str) -> tuple[str, ...]:
    """Other names of the same contig, most likely first."""
    if name in MITOCHONDRION:
        return tuple(alias for alias in MITOCHONDRION if alias != name)
    return (name[3:],) if name.startswith("chr") else (f"chr{name}",)


def known_as(name: str, names: Container[str]) -> str | None:
    """The name of the contig among `names`: its own if it is there, else another; None if there is none."""
    return next((form for form in (name, *other_names(name)) if form in names), None)


def canonical(name: str) -> str:
    """One name for all names of a contig: without "chr", MT for the mitochondrial genome."""
    return "MT" if name in MITOCHONDRION else name.removeprefix("chr")
