"""Variants of a VCF file: the five columns that say what is changed, one alternative allele a row.

Our own parser, because the libraries for this (pysam, cyvcf2) bring a C library of 20 MB or more for five columns,
and do not say on which line a file is wrong. bcftools converts BCF, the binary form, to VCF.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import polars as pl

from netassay.errors import DataError
from netassay.formats.bases import IUPAC
from netassay.formats.rows import read_rows
from netassay.formats.text import blocks

_BASES = frozenset("ACGT")
_LETTERS = _BASES | set(IUPAC)
_COLUMNS = "CHROM, POS, ID, REF, ALT"


class Variant(NamedTuple):
    """An alternative allele at a place of the genome; `position` counts from 1, as in the file, letters are capital.

    `left_out` says why it is not a sequence that can replace REF, None if it is one.
    """

    chromosome: str
    position: int
    id: str
    ref: str
    alt: str
    line: int
    left_out: str | None = None


SCHEMA = {
    "chromosome": pl.String,
    "position": pl.Int64,
    "id": pl.String,
    "ref": pl.String,
    "alt": pl.String,
    "line": pl.Int64,
}
LEFT_OUT = "left out"
"""Column of the reason for which an allele is left out."""


def read_vcf(path: Path, *, skipped: Counter[str] | None = None) -> pl.DataFrame:
    """Variants of a VCF, plain or gzip (BGZF too): chromosome, position (from 1), id, ref, alt, line.

    A line with several alternative alleles gives a row for each. Left out and counted in `skipped`: alleles that are
    no sequence (symbolic such as <DEL>, breakends, *, .), those equal to REF, and those with bases other than A, C,
    G, T. A variant without an id is called chromosome:position:ref>alt. Raises DataError, naming the line, for lines
    that are not tab-separated columns as VCF has them, and for a file without a variant.
    """
    skipped = Counter() if skipped is None else skipped
    alleles = read_alleles(path, skipped=skipped)
    for reason in alleles[LEFT_OUT].drop_nulls():
        skipped[reason] += 1
    variants = alleles.filter(pl.col(LEFT_OUT).is_null()).drop(LEFT_OUT)
    if not len(variants):
        reasons = "".join(f"; {count} left out: {reason}" for reason, count in skipped.items())
        raise DataError(f"{path}: holds no variant with an alternative sequence{reasons}")
    return variants


def read_alleles(path: Path, *, skipped: Counter[str] | None = None) -> pl.DataFrame:
    """All alternative alleles of a VCF, as `read_vcf` gives them, with a column `left out` of reasons.

    `skipped` counts blank lines. Raises DataError as `read_vcf` does, but only for a file without any allele.
    """
    skipped = Counter() if skipped is None else skipped
    _refuse_binary(path)
    rows: list[Variant] = []
    for number, line in enumerate(read_rows(path, skipped=skipped), 1):
        if line.startswith("#"):
            continue
        if line.strip():
            rows += _variants(line, number, path)
        else:
            skipped["blank line"] += 1
    if not rows:
        raise DataError(f"{path}: holds no variant: there is no line below the header")
    return pl.DataFrame(rows, schema={**SCHEMA, LEFT_OUT: pl.String}, orient="row")


def _variants(line: str, number: int, path: Path) -> list[Variant]:
    columns = line.split("\t", 5)
    where = f"{path}:{number}"
    if len(columns) < 5:
        _refuse_headings(line.split(), where)
        hint = "; its columns are separated by spaces" if len(line.split()) >= 5 else ""
        raise DataError(f"{where}: VCF has {_COLUMNS} and more, separated by tabs{hint}: {line!r:.80}")
    chromosome, position, name, ref, alts = (column.strip() for column in columns[:5])
    if not chromosome:
        raise DataError(f"{where}: CHROM is empty; give the name of the chromosome")
    if not (position.isascii() and position.isdigit() and len(position) < 16):
        _refuse_headings(columns, where)
        raise DataError(f"{where}: POS is {position!r:.40}; give a whole number, counted from 1")
    ref = ref.upper()
    if ref in ("-", "."):
        raise DataError(f"{where}: REF is {ref!r}; {_UNANCHORED.format(what='an insertion', ref='A', alt='ACG')}")
    if not ref or not _LETTERS.issuperset(ref):
        raise DataError(f"{where}: REF is {ref!r:.40}; give the bases of the reference (A, C, G, T, N)")
    variants = []
    for alt in alts.upper().split(","):
        reason = _no_sequence(alt, ref)
        if alt == "-":
            words = _UNANCHORED.format(what="a deletion", ref="GA", alt="G")
            raise DataError(f"{where}: ALT is '-'; {words}")
        if reason is None and (not alt or not _LETTERS.issuperset(alt)):
            hint = f"; {_SCORER}" if alt and _LETTERS.issuperset(name.upper()) and name not in ("", ".") else ""
            raise DataError(
                f"{where}: ALT is {alts!r:.40}; give bases, <...>, * or ., with commas between several{hint}"
            )
        if int(position) == 0:
            reason = "position 0, before the first base"
        elif reason is None and not _BASES.issuperset(alt):
            reason = "alternative with bases other than A, C, G, T"
        words = name if name not in ("", ".") else f"{chromosome}:{position}:{ref}>{alt}"
        variants.append(Variant(chromosome, int(position), words, ref, alt, number, reason))
    return variants


_UNANCHORED = (
    "this is {what} as MAF files (TCGA), ANNOVAR and Ensembl's VEP write it, without a base of the reference. In VCF "
    "the preceding base comes first in both alleles and POS is that base's, such as REF {ref} and ALT {alt}: add it "
    "there (maf2vcf, or ANNOVAR's convert2annovar, does it)"
)
_SCORER = (
    "columns chr, pos, allele1, allele2 and id are the list that ChromBPNet's variant-scorer takes; VCF is "
    "CHROM, POS, ID, REF, ALT: awk -v OFS='\\t' '{print $1, $2, $5, $3, $4}' makes one of it"
)


def _refuse_headings(words: list[str], where: str) -> None:
    """A line of headings without #, as other lists of variants have it."""
    plain = [word.lower() for word in words]
    if {"allele1", "allele2"} <= {*plain}:
        raise DataError(f"{where}: {' '.join(words)[:60]!r} heads no VCF; {_SCORER} (leave this line out)")
    if len(plain) > 1 and plain[1] in ("pos", "position", "start", "start_position"):
        raise DataError(
            f"{where}: {' '.join(words)[:60]!r} names the columns, but does not begin with #; VCF has a header "
            f"'#CHROM' with {_COLUMNS}, separated by tabs: put the columns in this order, and a # before their names"
        )


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
