"""Fragments of paired reads in a BAM file; needs the extra `reads`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from netassay.errors import DataError
from netassay.extras import require
from netassay.formats.fragments import SCHEMA

SHIFT = (4, -5)
"""Bases added to start and end, so that they are where the transposase cut (Buenrostro et al. 2013)."""

FRAGMENTS_AT_ONCE = 500_000
UNMAPPED, MATE_UNMAPPED, SECONDARY, FAILED, DUPLICATE, SUPPLEMENTARY = 4, 8, 256, 512, 1024, 2048
_REASONS = {
    UNMAPPED | MATE_UNMAPPED: "unmapped, or their mate",
    SECONDARY | SUPPLEMENTARY: "secondary or supplementary",
    FAILED: "failed by the sequencer",
    DUPLICATE: "marked as duplicates",
}


def is_bam(path: Path) -> bool:
    """Whether a file's name ends in .bam, .cram or .sam."""
    return path.suffix.lower() in (".bam", ".cram", ".sam")


def read_alignments(
    path: Path,
    *,
    tag: str = "CB",
    quality: int = 30,
    shift: tuple[int, int] = SHIFT,
    left_out: Counter[str] | None = None,
) -> Iterator[pl.DataFrame]:
    """Fragments between the outer ends of proper pairs, as `read_fragments` gives them; no index or order is needed.

    Both mates must be mapped with at least `quality`, be primary, and not marked as failed or duplicate. The start is
    that of the forward read plus 4, the end that of the reverse read less 5, so that they are those of a fragment file
    of 10x. The barcode is the value of `tag`, null where a read has none. Reads that give no fragment are counted in
    `left_out`. Raises DataError for a file that is not BAM, is truncated, or holds no read pair.
    """
    left_out = Counter() if left_out is None else left_out
    waiting: dict[str, Any] = {}
    rows: list[tuple[str, int, int, str | None]] = []
    pairs = 0
    for read in _reads(path):
        if (reason := _refused(read, quality)) is not None:
            left_out[f"reads {reason}"] += 1
            continue
        mate = waiting.pop(read.query_name, None)
        if mate is None:
            waiting[read.query_name] = read
            continue
        pairs += 1
        forward, reverse = (mate, read) if read.is_reverse else (read, mate)
        start, end = forward.reference_start + shift[0], reverse.reference_end + shift[1]
        if start < 0 or end <= start or forward.reference_id != reverse.reference_id:
            left_out["read pairs that hold no base between their cuts"] += 1
            continue
        barcode = read.get_tag(tag) if read.has_tag(tag) else None
        rows.append((read.reference_name, start, end, barcode))
        if len(rows) >= FRAGMENTS_AT_ONCE:
            yield pl.DataFrame(rows, schema=SCHEMA, orient="row")
            rows = []
    left_out["reads whose mate was left out or is not in the file"] += len(waiting)
    if not pairs:
        raise DataError(
            f"{path}: holds no proper pair of reads ({_counts(left_out)}); fragments need paired-end reads, mapped "
            f"with quality {quality} or more"
        )
    yield pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _reads(path: Path) -> Iterator[Any]:
    pysam = require("pysam", "reads", f"{path}: BAM")
    # the library itself reports a missing index and damage on standard error
    before = pysam.set_verbosity(0)
    try:
        with pysam.AlignmentFile(str(path), check_sq=False) as opened:
            yield from opened.fetch(until_eof=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read as BAM: {reason}; if it is truncated, copy it again") from error
    finally:
        pysam.set_verbosity(before)


def _refused(read: Any, quality: int) -> str | None:
    for flags, reason in _REASONS.items():
        if read.flag & flags:
            return reason
    if not read.is_proper_pair:
        return "not in a proper pair"
    return f"mapped with a quality below {quality}" if read.mapping_quality < quality else None


def _counts(left_out: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count) or "it is empty"
