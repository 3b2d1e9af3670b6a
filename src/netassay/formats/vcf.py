"""Variants of a VCF file: the five columns that say what is changed, one alternative allele a row.

Own code, because the libraries for this (pysam, cyvcf2) bring a C library of 20 MB or more for what are five columns,
and do not say on which line a file is wrong. For BCF, which is binary, bcftools makes a VCF.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import polars as pl

from netassay.errors import DataError
from netassay.formats.bases import IUPAC
from netassay.formats.text import blocks, read_lines

_BASES = frozenset("ACGT")
_LETTERS = _BASES | set(IUPAC)
_COLUMNS = "CHROM, POS, ID, REF, ALT"


class Variant(NamedTuple):
    """An alternative allele at a place of the genome; `position` counts from 1, as in the file, letters are capital."""

    chromosome: str
    position: int
    id: str
    ref: str
    alt: str
    line: int


SCHEMA = {
    "chromosome": pl.String,
    "position": pl.Int64,
    "id": pl.String,
    "ref": pl.String,
    "alt": pl.String,
    "line": pl.Int64,
}


def read_vcf(path: Path, *, skipped: Counter[str] | None = None) -> pl.DataFrame:
    """Variants of a VCF, plain or gzip (BGZF too): chromosome, position (from 1), id, ref, alt, line.

    A line with several alternative alleles gives a row for each. Left out and counted in `skipped`: alleles that are
    no sequence (symbolic such as <DEL>, breakends, *, .), those equal to REF, and those with bases other than A, C,
    G, T. A variant without an id is called chromosome:position:ref>alt. Raises DataError, naming the line, for lines
    that are not tab-separated columns as VCF has them, and for a file without a variant.
    """
    skipped = Counter() if skipped is None else skipped
    _refuse_binary(path)
    rows: list[Variant] = []
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith("#"):
            continue
        if line.strip():
            rows += _variants(line, number, path, skipped)
        else:
            skipped["blank line"] += 1
    if not rows:
        reasons = "".join(f"; {count} left out: {reason}" for reason, count in skipped.items())
        raise DataError(f"{path}: holds no variant with an alternative sequence{reasons}")
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _variants(line: str, number: int, path: Path, skipped: Counter[str]) -> list[Variant]:
    columns = line.split("\t", 5)
    where = f"{path}:{number}"
    if len(columns) < 5:
        hint = "; its columns are parted by spaces" if len(line.split()) >= 5 else ""
        raise DataError(f"{where}: VCF has {_COLUMNS} and more, parted by tabs{hint}: {line!r:.80}")
    chromosome, place, name, ref, alts = (column.strip() for column in columns[:5])
    if not chromosome:
        raise DataError(f"{where}: CHROM is empty; give the name of the chromosome")
    if not (place.isascii() and place.isdigit() and len(place) < 16):
        raise DataError(f"{where}: POS is {place!r:.40}; give a whole number, counted from 1")
    ref = ref.upper()
    if not ref or not _LETTERS.issuperset(ref):
        raise DataError(f"{where}: REF is {ref!r:.40}; give the bases of the reference (A, C, G, T, N)")
    if int(place) == 0:
        skipped["position 0, before the first base"] += alts.count(",") + 1
        return []
    found = []
    for alt in alts.upper().split(","):
        if reason := _no_sequence(alt, ref):
            skipped[reason] += 1
        elif not alt or not _LETTERS.issuperset(alt):
            raise DataError(
                f"{where}: ALT is {alts!r:.40}; give bases, <...>, * or ., with commas between several"
            )
        elif not _BASES.issuperset(alt):
            skipped["alternative with bases other than A, C, G, T"] += 1
        else:
            words = name if name not in ("", ".") else f"{chromosome}:{place}:{ref}>{alt}"
            found.append(Variant(chromosome, int(place), words, ref, alt, number))
    return found


def _no_sequence(alt: str, ref: str) -> str | None:
    if alt.startswith("<") and alt.endswith(">"):
        return "symbolic allele"
    if "[" in alt or "]" in alt or (len(alt) > 1 and (alt[0] == "." or alt[-1] == ".")):
        return "breakend"
    if alt == "*":
        return "allele *, deleted by another variant"
    if alt == ".":
        return "no alternative allele"
    return "alternative equal to the reference" if alt == ref else None


def _refuse_binary(path: Path) -> None:
    if next(blocks(path), b"")[:3] == b"BCF":
        raise DataError(f"{path}: is BCF, the binary form; make a VCF of it: bcftools view -Oz")
