"""Motifs in the minimal MEME text format, read and written.

Our own parser: universalmotif's rescales rows that do not sum to one, accepts repeated names and anything
before the first motif, and names no line; Biopython's requires a background, which the format leaves optional.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import torch
from torch import Tensor

from netassay.errors import DataError
from netassay.files import write_file
from netassay.formats.bases import ALPHABET
from netassay.formats.motifs import UNIFORM, Motifs
from netassay.formats.rows import is_number, read_rows

_MOST_SITES = 2**53
_SITES = 20  # of a motif without nsites=, as the tools of the MEME suite assume
_SUM_TOLERANCE = 0.01  # files are written with few digits
_KEYS = ("alength", "w", "nsites")  # an E that is not a number does no harm
_FIELD = re.compile(r"(\w+)\s*=\s*(\S+)")
_LETTER = re.compile(r"(?:^|~)\s*([A-Za-z])(?=\s|$)")
_ADVICE = "a file in MEME format begins with a line such as 'MEME version 4'"


def read_meme(path: Path | str) -> Motifs:
    """Motifs of a file in MEME format (plain or gzip): ids as names, the words after them as titles.

    Counts are shares times the number of sites (20 where it is missing or 0). The keys of a matrix are optional;
    without w= its rows end it. Sections that hold no letter probabilities are skipped.

    Args:
        path: The file.

    Returns:
        The motifs. `notes` counts motifs left out because they have no rows or occur twice; repeated names
        with different matrices, called NAME#2; and matrices with nsites= 0.

    Raises:
        DataError: With file and line, for a file in another format, letters other than DNA's, rows that are not
            shares, more or fewer rows than w= says, and if no motif is left.

    Source:
        Bailey, Elkan (1994), MEME.

    Example:
        >>> import netassay
        >>> motifs = netassay.read_database("jaspar-plants").select(range(2))
        >>> netassay.read_meme(netassay.write_meme(motifs, "two.meme")).names == motifs.names
        True
    """
    return _Reading(Path(path)).motifs()


def write_meme(motifs: Motifs, path: Path | str) -> Path:
    """Write motifs in MEME format, all of the file or nothing; columns without counts as the background.

    Trailing columns without counts of motifs narrower than the widest are left out. Motifs without any sites are
    written with nsites= 0.

    Args:
        motifs: The motifs.
        path: The file.

    Returns:
        The path of the file.

    Raises:
        DataError: For a name with white space and a file that cannot be written.

    Source:
        Bailey, Elkan (1994), MEME.

    Example:
        >>> import netassay
        >>> netassay.write_meme(netassay.read_database("jaspar-plants"), "plants.meme").name
        'plants.meme'
    """
    text = "\n".join(chain(_head(motifs), *(_motif_lines(motifs, i) for i in range(len(motifs))))) + "\n"
    return write_file(path, text.encode(), refusal=DataError)


def _head(motifs: Motifs) -> list[str]:
    law = " ".join(f"{base} {share:.10g}" for base, share in zip(ALPHABET, motifs.background, strict=True))
    alphabet = f"ALPHABET= {ALPHABET}"
    return ["MEME version 4", "", alphabet, "", "strands: + -", "", "Background letter frequencies", law]


def _motif_lines(motifs: Motifs, i: int) -> Iterator[str]:
    name, title = motifs.names[i], " ".join(motifs.titles[i].split())
    if not name or any(letter.isspace() for letter in name):
        raise DataError(f"motif name {name!r}: the names of a MEME file are not empty and have no white space")
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
        self.lines = read_rows(path)
        self.waiting: str | None = None  # a line that was read ahead and is to be read again
        self.background = UNIFORM
        self.entries: dict[str, tuple[str, Tensor, int]] = {}
        self.open: tuple[str, str, int] | None = None  # a motif that waits for its matrix
        self.notes: Counter[str] = Counter()
        self.other_matrices = False

    def motifs(self) -> Motifs:
        self._begin()
        for line in self:
            word = line.strip()
            if word.startswith("ALPHABET"):
                self._alphabet(word)
            elif word.startswith("Background letter frequencies"):
                self._law()
            elif re.match(r"MOTIF(\s|$)", line):
                self._motif(word)
            elif word.startswith("letter-probability matrix"):
                self._matrix(word)
            elif word.startswith("log-odds matrix"):
                self.other_matrices = True
        self._closed()
        if not self.entries:
            explanation = (
                f" ({reasons})" if (reasons := ", ".join(f"{n} {why}" for why, n in self.notes.items())) else ""
            )
            only = "; log-odds alone cannot be turned back into shares" if self.other_matrices else ""
            raise DataError(
                f"{self.path}: holds no motifs with a letter-probability matrix{explanation}{only}; a motif is "
                "a line such as 'MOTIF MA0080.7 Spi1' and such a matrix below it"
            )
        titles, matrices, sites = zip(*self.entries.values(), strict=True)
        motifs = Motifs.of_matrices(list(self.entries), matrices, sites, titles, self.background)
        return replace(motifs, notes=self.notes)

    def __iter__(self) -> Iterator[str]:
        """The lines that are not comments."""
        while (line := self._next()) is not None:
            yield line

    def _next(self) -> str | None:
        if self.waiting is not None:
            line, self.waiting = self.waiting, None
            self.number += 1
            return line
        for line in self.lines:
            self.number += 1
            if not line.startswith("#"):
                return line
        return None

    def _again(self, line: str) -> None:
        """Puts back the line just read."""
        self.waiting = line
        self.number -= 1

    def _refuse(self, words: str) -> DataError:
        return DataError(f"{self.path}:{self.number}: {words}")

    def _begin(self) -> None:
        """Reads up to the line with the version; the output of MEME itself has a banner before it."""
        for line in self:
            if line.startswith("MEME version"):
                return
            if line.strip() and not line.startswith(("*", "MEME - ")):
                raise self._refuse(f"is not a MEME file, it begins with {line[:40]!r}; {_ADVICE}")
        raise DataError(f"{self.path}: is empty; {_ADVICE}")

    def _alphabet(self, line: str) -> None:
        alphabet = line.removeprefix("ALPHABET").strip(" =\t")
        if "=" not in line and alphabet.upper() != ALPHABET:
            # a block: one letter or pair of letters a line, up to END ALPHABET
            letters: list[str] = []
            for inner in self:
                if inner.strip().startswith("END ALPHABET"):
                    break
                if re.match(r"(MOTIF|letter-probability)", inner.strip()):
                    raise self._refuse("the block of the ALPHABET does not end; close it with END ALPHABET")
                # letters for several bases, "N = ACGT", are not letters of a matrix
                letters += _LETTER.findall(inner.strip()) if "~" in inner else []
            alphabet = "".join(sorted(letters))
        if alphabet.upper() not in (ALPHABET, "DNA"):
            raise self._refuse(
                f"motifs over the letters {alphabet!r}; only those of DNA, ACGT, can be compared with sequences"
            )

    def _law(self) -> None:
        words: list[str] = []
        while len(words) < 8 and (line := self._next()) is not None:
            if re.match(r"MOTIF(\s|$)", line):
                self._again(line)
                break
            words += line.split()
        shares = [self._number(word) for word in words[1::2]]
        letters = [word.upper() for word in words[0::2]]
        if letters != list(ALPHABET) or min(shares) <= 0 or abs(sum(shares) - 1) > _SUM_TOLERANCE:
            raise self._refuse(
                f"background {' '.join(words)[:60]!r}; give shares above 0 that sum to 1, such as "
                "'A 0.25 C 0.25 G 0.25 T 0.25'"
            )
        a, c, g, t = (share / sum(shares) for share in shares)
        self.background = (a, c, g, t)

    def _motif(self, line: str) -> None:
        self._closed()
        _, *words = line.split(maxsplit=2)
        if not words:
            raise self._refuse("a MOTIF line without a name; write it as 'MOTIF MA0080.7 Spi1'")
        self.open = (words[0], words[1].strip() if len(words) > 1 else "", self.number)

    def _closed(self) -> None:
        """A motif that is still open has no letter-probability matrix."""
        if self.open is not None:
            self.notes["motifs without a letter-probability matrix, left out"] += 1
            self.open = None

    def _matrix(self, line: str) -> None:
        if self.open is None:
            raise self._refuse("a letter-probability matrix that belongs to no motif; a MOTIF line comes before it")
        (name, title, _), self.open = self.open, None
        keys = {key: self._number(value) for key, value in _FIELD.findall(line) if key in _KEYS}
        if keys.get("alength", 4) != 4:
            raise self._refuse(f"motif {name!r} has {keys['alength']:g} letters; DNA has 4")
        width = keys.get("w")
        if width is not None and (width < 0 or width != int(width)):
            raise self._refuse(f"motif {name!r} has w= {width:g}; give the number of its rows")
        sites = round(keys.get("nsites", _SITES))
        if not 0 <= sites <= _MOST_SITES:
            raise self._refuse(f"motif {name!r} has nsites= {sites:.3g}; give the number of sequences it was made from")
        rows = self._rows(name, None if width is None else int(width))
        if not rows:
            self.notes["motifs without a letter-probability matrix, left out"] += 1
            return
        shares = torch.tensor(rows, dtype=torch.float64).T
        law = torch.tensor(self.background, dtype=torch.float64)[:, None]
        # a motif without any site is written as the background; other shares come from real counts
        if not sites and not torch.allclose(shares, law.expand_as(shares), rtol=0, atol=1e-6):
            self.notes["motifs with nsites= 0, read as missing"] += 1
            sites = _SITES
        self._add(name, title, shares * sites, sites)

    def _add(self, name: str, title: str, counts: Tensor, sites: int) -> None:
        if name in self.entries:
            _, before, before_sites = self.entries[name]
            if before.shape == counts.shape and torch.allclose(before * sites, counts * before_sites):
                self.notes["motifs that are there twice, left out"] += 1
                return
            self.notes["motifs named as one before with another matrix, called NAME#2"] += 1
            number = next(i for i in count(2) if f"{name}#{i}" not in self.entries)
            name = f"{name}#{number}"
        self.entries[name] = (title, counts, sites)

    def _rows(self, name: str, width: int | None) -> list[list[float]]:
        """Rows of a matrix, as many as `width` says, else up to a line that is none; blank lines may part them."""
        rows: list[list[float]] = []
        while True:
            line = self._next()
            words = [] if line is None else line.split()
            if line is not None and not words:
                continue
            ends = line is None or words[0] in ("MOTIF", "URL")
            if width and len(rows) < width:
                if ends:
                    raise self._refuse(
                        f"motif {name!r} ends after {len(rows)} of {width} rows; the file is cut or its w= is wrong"
                    )
            elif ends or not is_number(words[0]):
                if line is not None:
                    self._again(line)
                return rows
            elif width is not None:
                raise self._refuse(
                    f"motif {name!r} has more rows than the {width} that w= says; correct w= or the rows"
                )
            rows.append(self._row(name, len(rows), words))

    def _row(self, name: str, i: int, words: list[str]) -> list[float]:
        shares = [self._number(word) for word in words]
        if len(shares) != 4 or min(shares) < 0 or abs(sum(shares) - 1) > _SUM_TOLERANCE:
            are_counts = len(shares) == 4 and min(shares) >= 0 and all(share.is_integer() for share in shares)
            hint = " (these look like counts: divide each row by its sum)" if are_counts and sum(shares) > 1 else ""
            raise self._refuse(
                f"row {i + 1} of motif {name!r} is {' '.join(words)[:60]!r}; a row is four shares from 0 to 1 that sum "
                f"to 1, of A, C, G and T{hint}"
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
