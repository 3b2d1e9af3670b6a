"""Sets of regions: the consensus of several peak sets, and background regions of the peaks' composition."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from netassay.dna.agreement.overlap import by_coordinates, marked_by
from netassay.errors import DataError
from netassay.files import whole_file
from netassay.formats.bases import UNKNOWN, known_as
from netassay.formats.fasta import read_windows
from netassay.formats.peak_tables import read_regions
from netassay.formats.rows import read_rows
from netassay.inputs import utf_8_name
from netassay.numerics.draws import numpy_draws

GC_BINS = 50
"""Number of bins of the share of G and C, in which background regions match peaks."""

DRAWS_A_PEAK, ROUNDS = 10, 20


@dataclass(frozen=True, eq=False)
class RegionSet:
    """Regions, and how many were left out, by reason.

    Attributes:
        regions: Columns chromosome, start, end (0-based, end exclusive), name and any others.
        left_out: Regions that are not among them, by reason.

    Example:
        >>> import netassay
        >>> netassay.consensus_peaks(["peaks.bed"], width=51).left_out
        Counter()
    """

    regions: pl.DataFrame
    left_out: Counter[str] = field(default_factory=Counter)

    def write(self, path: Path | str) -> Path:
        """Writes the regions as BED: chromosome, start, end, name. The file is complete or not there."""
        with whole_file(path, refusal=DataError) as part:
            frame = self.regions.select("chromosome", "start", "end", "name")
            part.write_text(frame.write_csv(separator="\t", include_header=False), encoding="utf-8")
        return Path(path)


def consensus_of(
    files: Sequence[Path],
    width: int,
    *,
    genome: Path | None = None,
    chromosomes: Sequence[str] = (),
    blacklist: Path | None = None,
) -> RegionSet:
    """Peaks of several sets, each `width` bases about its summit or middle, of which no two overlap.

    The peak with the highest score is kept, those that overlap it are left out, and so on. Scores are column 5 of each
    file over their sum, so that sets of unequal depth count equally; without scores, so do all peaks of a set.
    """
    if not files:
        raise DataError("there is no set of peaks; give one or more files")
    if width < 1:
        raise DataError(f"width = {width} is not allowed: 1 base or more")
    left_out: Counter[str] = Counter()
    pooled = pl.concat(_read_scored(path, number) for number, path in enumerate(files))
    middle = pl.coalesce("summit", (pl.col("start") + pl.col("end")) // 2)
    pooled = pooled.with_columns(start=middle - width // 2).with_columns(end=pl.col("start") + width)
    pooled = _restrict(pooled, chromosomes, blacklist, left_out)
    pooled = _within(pooled, genome, width, left_out)
    order = pooled.sort("score", "chromosome", "start", "file", descending=[True, False, False, False])
    rows = _apart(order["chromosome"].to_list(), order["start"].to_list(), width)
    left_out["overlaps a peak of a higher score"] += len(order) - len(rows)
    regions = order[rows].sort("chromosome", "start")
    if not len(regions):
        raise DataError(f"no peak is left of {', '.join(path.name for path in files)} ({dict(left_out)})")
    table = regions.with_columns(
        name=pl.format("{}:{}-{}", "chromosome", "start", "end"),
        file=pl.col("file").replace_strict(dict(enumerate(map(utf_8_name, files))), return_dtype=pl.String),
    )
    return RegionSet(table.select("chromosome", "start", "end", "name", "score", "file"), +left_out)


def background_of(
    peaks: Path,
    genome: Path,
    *,
    number: int | None = None,
    chromosomes: Sequence[str] = (),
    blacklist: Path | None = None,
    seed: int = 0,
) -> RegionSet:
    """Regions outside the peaks with their width, chromosomes and shares of G and C, drawn at random.

    Each bin of G and C gets as many as there are peaks in it (or in proportion, for another `number`); no two overlap,
    and none has an unknown base.
    """
    left_out: Counter[str] = Counter()
    peak_regions = _restrict(read_regions(peaks), chromosomes, None, left_out)
    width = int(np.median((peak_regions["end"] - peak_regions["start"]).to_numpy())) if len(peak_regions) else 0
    if not width:
        raise DataError(f"{peaks}: holds no peak on these chromosomes")
    middle = ((peak_regions["start"] + peak_regions["end"]) // 2).to_numpy() - width // 2
    windows = read_windows(genome, peak_regions["chromosome"].to_list(), middle, width)
    sound = ~windows.missing & ~windows.beyond
    left_out["peak that is not on the genome, not matched"] += int((~sound).sum())
    if not sound.any():
        raise DataError(f"{peaks}: no peak lies on a contig of {genome}; take the genome that they were called on")
    bins = _gc_bins(windows.codes[sound])
    targets = np.bincount(bins[bins >= 0], minlength=GC_BINS + 1)
    lengths = windows.lengths
    names = sorted({known_as(name, lengths) or name for name in peak_regions["chromosome"].unique()} & {*lengths})
    if number is not None:
        if number > (most := sum(lengths[name] // width for name in names)):
            raise DataError(
                f"number = {number:,} is not allowed; at most {most:,} regions of {width:,} bases fit side by side on "
                "the chromosomes of the peaks"
            )
        targets = _in_proportion(targets, number)
    sizes = np.array([max(lengths[name] - width, 0) for name in names], np.float64)
    off = [peak_regions, *([] if blacklist is None else [read_regions(blacklist)])]
    avoided = pl.concat(frame.select("chromosome", "start", "end") for frame in off)
    draws = numpy_draws(seed, 0x6763)
    picks: list[tuple[str, int]] = []
    open_bins = targets.copy()
    places: defaultdict[str, dict[int, list[int]]] = defaultdict(dict)
    for _ in range(ROUNDS):
        if not open_bins.any() or not sizes.any():
            break
        count = DRAWS_A_PEAK * int(targets.sum())
        where = [names[i] for i in draws.choice(len(names), count, p=sizes / sizes.sum())]
        starts = (draws.random(count) * np.array([lengths[name] - width for name in where])).astype(np.int64)
        frame = pl.DataFrame({"chromosome": where, "start": starts, "end": starts + width})
        free = ~by_coordinates(frame, avoided).marked
        where, starts = [name for name, is_free in zip(where, free, strict=True) if is_free], starts[free]
        share = _gc_bins(read_windows(genome, where, starts, width).codes)
        for name, start, its in zip(where, starts.tolist(), share.tolist(), strict=True):
            if its >= 0 and open_bins[its] and _is_free(places[name], start, width):
                open_bins[its] -= 1
                picks.append((name, start))
    left_out["wanted, but no region of this share of G and C was met"] += int(open_bins.sum())
    regions = pl.DataFrame(picks, schema={"chromosome": pl.String, "start": pl.Int64}, orient="row")
    regions = regions.with_columns(end=pl.col("start") + width).sort("chromosome", "start")
    return RegionSet(regions.with_columns(name=pl.format("background_{}", pl.int_range(pl.len()))), +left_out)


def _read_scored(path: Path, number: int) -> pl.DataFrame:
    """The regions of a file with the share of each in the sum of scores, and the file's number."""
    frame = read_regions(path)
    words = [line.split("\t") if "\t" in line else line.split() for line in read_rows(path)]
    scores = []
    for line in frame["line"].to_list():
        row = words[line - 1] if line is not None and line <= len(words) else []
        try:
            scores.append(max(float(row[4]), 0.0))
        except (IndexError, ValueError):
            scores.append(0.0)
    total = sum(scores)
    shares = [1e6 * score / total for score in scores] if total else [0.0] * len(scores)
    return frame.select("chromosome", "start", "end", "summit").with_columns(
        score=pl.Series(shares, dtype=pl.Float64), file=pl.lit(number, pl.Int64)
    )


def _restrict(
    frame: pl.DataFrame, chromosomes: Sequence[str], blacklist: Path | None, left_out: Counter[str]
) -> pl.DataFrame:
    if chromosomes:
        names = [name for name in frame["chromosome"].unique() if known_as(name, {*chromosomes})]
        subset = frame.filter(pl.col("chromosome").is_in(names))
        left_out["on other chromosomes than asked for"] += len(frame) - len(subset)
        frame = subset
    if blacklist is not None and len(frame):
        marked = marked_by(blacklist, frame, read_regions(blacklist))
        left_out[f"in a region of {blacklist.name}"] += int(marked.sum())
        frame = frame.filter(pl.Series(~marked))
    return frame


def _within(frame: pl.DataFrame, genome: Path | None, width: int, left_out: Counter[str]) -> pl.DataFrame:
    """Only windows that lie on their contig; without a genome, those that do not begin before the first base."""
    if genome is None:
        fits = (frame["start"] >= 0).to_numpy()
    else:
        windows = read_windows(genome, frame["chromosome"].to_list(), frame["start"].to_numpy(), width)
        left_out["on a chromosome that the genome does not have"] += int(windows.missing.sum())
        frame, fits = frame.filter(pl.Series(~windows.missing)), ~windows.beyond[~windows.missing]
    left_out["beyond the end of the chromosome"] += int((~fits).sum())
    return frame.filter(pl.Series(fits))


def _apart(chromosomes: Sequence[str], starts: Sequence[int], width: int) -> list[int]:
    """Rows, in order, that overlap no earlier one."""
    places: defaultdict[str, dict[int, list[int]]] = defaultdict(dict)
    pairs = enumerate(zip(chromosomes, starts, strict=True))
    return [row for row, (name, start) in pairs if _is_free(places[name], start, width)]


def _is_free(places: dict[int, list[int]], start: int, width: int) -> bool:
    """Whether a window overlaps none in `places` (starts by start // width), to which it is then added."""
    cell = start // width
    for near in (cell - 1, cell, cell + 1):
        if any(abs(start - neighbour) < width for neighbour in places.get(near, ())):
            return False
    places.setdefault(cell, []).append(start)
    return True


def _gc_bins(codes: np.ndarray) -> np.ndarray:
    """The bin of each sequence's share of G and C; -1 with an unknown base."""
    share = ((codes == 1) | (codes == 2)).mean(axis=1) if codes.size else np.zeros(len(codes))
    return np.where((codes >= UNKNOWN).any(axis=1), -1, np.round(share * GC_BINS).astype(np.int64))


def _in_proportion(counts: np.ndarray, number: int) -> np.ndarray:
    """Integers with the sum `number` in proportion to counts, the largest remainders rounded up."""
    if number < 1:
        raise DataError(f"number = {number} is not allowed: 1 or more")
    exact = counts * number / counts.sum()
    parts = np.floor(exact).astype(np.int64)
    parts[np.argsort(parts - exact, kind="stable")[: number - parts.sum()]] += 1
    return parts
