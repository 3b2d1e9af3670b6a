"""Motifs in the minimal MEME text format, read and written.

Our own parser: universalmotif's rescales rows that do not sum to one, takes motifs of the same name and whatever
stands before the first one, and names no line; Biopython's wants a background that the format leaves open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import chain, takewhile
from pathlib import Path

import torch
from torch import Tensor

from netassay.errors import DataError
from netassay.files import write_file
from netassay.formats.bases import ALPHABET
from netassay.formats.motifs import UNIFORM, Motifs
from netassay.formats.text import read_lines

_SITES = 20  # of a motif that does not tell, as the tools of the MEME suite take it
_SUM_TOLERANCE = 0.01  # files are written with few digits
_FIELD = re.compile(r"(\w+)\s*=\s*(\S+)")
_ADVICE = "a file in MEME format begins with a line such as 'MEME version 4'"


def read_meme(path: Path | str) -> Motifs:
    """Motifs of a file in MEME format (plain or gzip): ids as names, the words after them as titles.

    Counts are shares times the number of sites (20 where it is not told); sections that hold no letter probabilities
    are passed over. Raises DataError, naming file and line, for a file that is none, for other letters than DNA's,
    rows that are no shares, motifs that are cut short, without a matrix or there twice.
    """
    return _Reading(Path(path)).motifs()


def write_meme(motifs: Motifs, path: Path | str) -> Path:
    """Writes the motifs, the file being there whole or not at all; columns without counts as the background.

    Trailing columns without counts of motifs narrower than the widest are left out. Motifs without any sites are
    written with nsites= 0. Raises DataError for a name with white space and a file that cannot be written.
    """
    text = "\n".join(chain(_head(motifs), *(_written(motifs, i) for i in range(len(motifs))))) + "\n"
    return write_file(path, text.encode(), refusal=DataError)


def _head(motifs: Motifs) -> list[str]:
    law = " ".join(f"{base} {share:.10g}" for base, share in zip(ALPHABET, motifs.background, strict=True))
    alphabet = f"ALPHABET= {ALPHABET}"
    return ["MEME version 4", "", alphabet, "", "strands: + -", "", "Background letter frequencies", law]


def _written(motifs: Motifs, i: int) -> Iterator[str]:
    name, title = motifs.names[i], " ".join(motifs.titles[i].split())
    if not name or any(letter.isspace() for letter in name):
        raise DataError(
            f"motif name {name!r}: the names of a MEME file are not empty and have no white space"
        )
    width, sites = motifs.widths[i], int(motifs.sites[i])
    law = torch.tensor(motifs.background, dtype=torch.float64)
    rows = torch.where(motifs.seen[i, :, None], motifs.pwm[i].T, law)[:width]
    yield from ("", f"MOTIF {name} {title}".rstrip())
    yield f"letter-probability matrix: alength= 4 w= {width} nsites= {sites} E= 0"
    yield from (" " + " ".join(f"{share:.10f}" for share in row) for row in rows.tolist())


class _Reading:
    """One pass through the lines of a file, knowing where it is."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        self.lines = read_lines(path)
        self.background = UNIFORM
        self.found: dict[str, tuple[str, Tensor, int]] = {}
        self.open: tuple[str, str, int] | None = None  # a motif that waits for its matrix

    def motifs(self) -> Motifs:
        self._begin()
        for line in self:
            word = line.strip()
            if word.startswith("ALPHABET"):
                self._alphabet(word)
            elif word.startswith("Background letter frequencies"):
                self._law()
            elif re.match(r"MOTIF\s", line):
                self._motif(word)
            elif word.startswith("letter-probability matrix"):
                self._matrix(word)
        self._closed()
        if not self.found:
            raise DataError(
                f"{self.path}: holds no motifs; a motif begins with a line such as 'MOTIF MA0080.7 Spi1'"
            )
        titles, matrices, sites = zip(*self.found.values(), strict=True)
        return Motifs.of_matrices(list(self.found), matrices, sites, titles, self.background)

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.number += 1
            yield line

    def _refuse(self, words: str) -> DataError:
        return DataError(f"{self.path}:{self.number}: {words}")

    def _begin(self) -> None:
        """Up to the line that tells the version; the output of MEME itself has a banner before it."""
        for line in self:
            if line.startswith("MEME version"):
                return
            if line.strip() and not line.startswith(("*", "MEME - ")):
                raise self._refuse(f"is no MEME file, it begins with {line[:40]!r}; {_ADVICE}")
        raise DataError(f"{self.path}: is empty; {_ADVICE}")

    def _alphabet(self, line: str) -> None:
        given = line.removeprefix("ALPHABET").strip(" =")
        if '"' in line:  # one letter or pair of letters a line, up to END ALPHABET
            block = takewhile(lambda inner: not inner.strip().startswith("END ALPHABET"), self)
            pairs = [re.findall(r"(?:^|~)\s*([A-Z])\s", inner) for inner in block if "~" in inner]
            given = "".join(sorted(chain.from_iterable(pairs)))
        if given != ALPHABET:
            raise self._refuse(
                f"motifs over the letters {given!r}; only those of DNA, ACGT, can be compared with sequences"
            )

    def _law(self) -> None:
        words: list[str] = []
        while len(words) < 8:
            line = next(iter(self), None)
            if line is None:
                break
            words += line.split()
        shares = [self._number(word) for word in words[1::2]]
        if words[0::2] != list(ALPHABET) or min(shares) <= 0 or abs(sum(shares) - 1) > _SUM_TOLERANCE:
            raise self._refuse(
                f"background {' '.join(words)[:60]!r}; give shares above 0 that sum to 1, such as "
                "'A 0.25 C 0.25 G 0.25 T 0.25'"
            )
        a, c, g, t = (share / sum(shares) for share in shares)
        self.background = (a, c, g, t)

    def _motif(self, line: str) -> None:
        self._closed()
        _, name, *title = line.split(maxsplit=2)
        if name in self.found:
            raise self._refuse(f"motif {name!r} is there twice; give each its own name")
        self.open = (name, title[0].strip() if title else "", self.number)

    def _closed(self) -> None:
        if self.open is not None:
            name, _, number = self.open
            raise DataError(f"{self.path}:{number}: motif {name!r} has no letter-probability matrix")

    def _matrix(self, line: str) -> None:
        if self.open is None:
            raise self._refuse(
                "a letter-probability matrix that belongs to no motif; a MOTIF line comes before it"
            )
        (name, title, _), self.open = self.open, None
        told = {key: self._number(value) for key, value in _FIELD.findall(line)}
        if told.get("alength", 4) != 4:
            raise self._refuse(f"motif {name!r} has {told['alength']:g} letters; DNA has 4")
        if "w" not in told or told["w"] < 1 or told["w"] != int(told["w"]):
            raise self._refuse(f"motif {name!r} does not tell its width; write it as 'w= 12'")
        sites = round(told.get("nsites", _SITES))
        if sites < 0:
            raise self._refuse(
                f"motif {name!r} has nsites= {sites}; give how many sequences it was made from"
            )
        rows = [self._row(name, i, int(told["w"])) for i in range(int(told["w"]))]
        self.found[name] = (title, torch.tensor(rows, dtype=torch.float64).T * sites, sites)

    def _row(self, name: str, i: int, width: int) -> list[float]:
        line = next(iter(self), None)
        words = [] if line is None else line.split()
        if not words or words[0] in ("MOTIF", "URL"):
            raise self._refuse(
                f"motif {name!r} ends after {i} of {width} rows; the file is cut or its w= is wrong"
            )
        shares = [self._number(word) for word in words]
        if len(shares) != 4 or min(shares) < 0 or abs(sum(shares) - 1) > _SUM_TOLERANCE:
            raise self._refuse(
                f"row {i + 1} of motif {name!r} is {' '.join(words)[:60]!r}; a row is four shares from 0 to 1 that sum "
                "to 1, of A, C, G and T"
            )
        return shares

    def _number(self, word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._refuse(f"{word[:40]!r} is not a number")
        return value
