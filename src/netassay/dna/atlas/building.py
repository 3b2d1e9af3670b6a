"""An atlas from files: regions, heights and a genome joined by name, with a count of every peak lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
import torch

from netassay.dna.atlas.annotated import IN_MEMORY, is_annotated, read_annotated
from netassay.dna.atlas.atlas import Atlas
from netassay.dna.atlas.choices import FLAWS, Flaw, Form, Normalisation, Statistic
from netassay.dna.atlas.coverage import Reads, count_heights, restrict
from netassay.dna.atlas.draft import Draft, advice, as_array, check_flaws, refuse_odd_heights
from netassay.dna.atlas.heights import LOGARITHMS, nearly_linear, normalise
from netassay.dna.atlas.joins import join
from netassay.dna.atlas.labels import mark_classes, read_labelled, region_files
from netassay.dna.atlas.sample import read_sample
from netassay.dna.reads.choices import Scale
from netassay.dna.reads.scaling import scale_factors
from netassay.errors import DataError
from netassay.extras import require
from netassay.formats.bases import MITOCHONDRION, known_as
from netassay.formats.fasta import Windows, is_fasta, read_windows
from netassay.formats.intervals import Repeats, guess_form, heads_a_table, read_intervals
from netassay.formats.peak_tables import read_peak_table
from netassay.formats.signals import read_signal
from netassay.formats.tables import NumberTable, read_numbers, read_pairs
from netassay.inputs import utf_8_name
from netassay.processes import paced

SIGNAL_ENDINGS = (".bw", ".bigwig")
WIDEST = 1_000_000
NO_READS = Reads()


def build_atlas(
    peaks: Path | str | Any,
    heights: Path | str | Sequence[Path | str] = (),
    *,
    genome: Path | str | None = None,
    form: Form = "auto",
    lineages: Path | str | None = None,
    normalisation: Normalisation = "none",
    pseudocount: float | None = None,
    width: int | None = None,
    statistic: Statistic = "mean",
    drop: Sequence[Flaw] = (),
    order: str = "ATGC",
    layer: str | None = None,
    common: float = 0.5,
    scale: Scale = "none",
    chromosomes: Sequence[str] = (),
    blacklist: Path | str | None = None,
    reads: Reads = NO_READS,
) -> Atlas:
    """An atlas from files.

    `netassay.build_atlas` says the same in more words, and saves it.

    Args:
        peaks: BED, narrowPeak, ImmGen's table, a table with a header, .h5ad, an AnnData object, or a folder of arrays.
        heights: Table with a row for each peak, or bigWigs, one for each cell type (or their folder).
        genome: FASTA or 2bit.
        form: Form of the peaks, where it cannot be told from the file.
        lineages: Table of two columns, cell type and lineage.
        normalisation: How heights are normalised, over the peaks that are left.
        pseudocount: Number added before the logarithm instead of 1.
        width: Take windows of this many bases around the summit or middle.
        statistic: Statistic of a bigWig over the peak that is its height.
        drop: Flaws of peaks that are left out and counted. Otherwise an unknown base is a column of zeros, a constant
            row and a region that occurs twice are kept (all counted), other flaws are refused.
        order: Order of the bases in the rows of one-hot arrays.
        layer: Layer of a .h5ad that holds the heights, instead of X.
        common: Smallest share (0 to 1) of names that peaks and table must have in common.
        scale: How counts of cell types of unequal depth are made comparable, before the normalisation.
        chromosomes: Only peaks on these.
        blacklist: Regions whose peaks are left out.
        reads: Files of fragments from which heights are counted, or how single cells are summed.

    Returns:
        The atlas.

    Raises:
        DataError: With file and line, for files that cannot be read or do not fit each other.

    Source:
        Maslova et al. (2020).

    Example:
        >>> import netassay
        >>> len(netassay.dna.atlas.build_atlas("peaks.bed", "heights.csv", genome="genome.fa"))
        40
    """
    in_memory = is_annotated(peaks)
    if not in_memory and not isinstance(peaks, str | Path):
        raise DataError(f"peaks are {type(peaks).__name__}; give a path, or an AnnData object")
    source = Path(IN_MEMORY) if in_memory else Path(peaks)
    kind = "h5ad" if in_memory else _form(source, form)
    if unknown := set(drop) - set(FLAWS):
        raise DataError(f"drop {', '.join(sorted(unknown))!r}: allowed are {', '.join(FLAWS)}")
    if not 0 <= common <= 1:
        raise DataError(f"common = {common} is not allowed: a share from 0 to 1 (--common, common=)")
    if layer is not None and kind != "h5ad":
        raise DataError(f"layer {layer!r} is for .h5ad, and {source} is of form {kind}; leave it out")
    signals = [Path(heights)] if isinstance(heights, (str, Path)) else [Path(path) for path in heights]
    if kind == "arrays":
        draft = read_sample(source, order)
    elif kind == "h5ad":
        draft = read_annotated(
            peaks if in_memory else source,
            layer=layer,
            twice="twice" in drop,
            group_by=reads.group_by,
            seed=reads.seed,
        )
    elif kind == "fasta":
        draft = _from_fasta(source, signals, genome, width, reads)
    elif reads.files:
        draft = _from_fragments(source, kind, signals, genome, width, drop, (chromosomes, blacklist), reads)
    else:
        draft = _from_regions(source, kind, signals, genome, width, statistic, drop, common)
    if kind in ("arrays", "h5ad") and (signals or reads.files):
        raise DataError(f"{source}: holds its own heights; leave {(*signals, *reads.files)[0]} out")
    if reads.group_by is not None and kind != "h5ad" and not reads.files:
        raise DataError(f"group_by {reads.group_by!r}: is for fragments and for single cells of .h5ad; leave it out")
    if kind in ("arrays", "h5ad") and draft.codes is not None and (width is not None or genome is not None):
        raise DataError(f"{source}: holds its own sequences; leave width and genome out")
    if draft.codes is None:
        draft = _with_bases(_windows_of(draft, width) if kind == "h5ad" else draft, genome, drop)
    draft = check_flaws(restrict(draft, chromosomes, None if blacklist is None else Path(blacklist)), drop)
    if not len(draft.peaks):
        raise DataError(f"{source}: no peak is left ({_counts(draft.dropped)}); the atlas would be empty")
    origin = _origin(source, kind, [*signals, *reads.files], genome, normalisation, pseudocount)
    origin += "" if scale == "none" else f", scale {scale}"
    return _finish(draft, normalisation, pseudocount, lineages, origin, scale)


def _origin(
    source: Path,
    form: Form,
    signals: Sequence[Path],
    genome: Path | str | None,
    normalisation: Normalisation,
    pseudocount: float | None,
) -> str:
    """Names of the files, without their folders, and what was done."""
    words = [f"{source.name} ({form})"]
    if signals:
        more = f" and {len(signals) - 1} more" if len(signals) > 1 else ""
        words.append(f"heights {signals[0].name}{more}")
    if genome is not None:
        words.append(f"genome {Path(genome).name}")
    added = "" if pseudocount is None or normalisation not in LOGARITHMS else f", pseudocount {pseudocount:g}"
    return ", ".join([*words, f"normalisation {normalisation}{added}"])


def _form(source: Path, form: Form) -> Form:
    if form not in get_args(Form):
        raise DataError(f"form {form!r}: allowed are {', '.join(get_args(Form))}")
    if form != "auto":
        return form
    if source.is_dir():
        return "arrays"
    if is_fasta(source):
        return "fasta"
    return "h5ad" if source.name.lower().endswith((".h5ad", ".h5mu")) else guess_form(source)


def _from_fasta(
    source: Path, signals: Sequence[Path], genome: Path | str | None, width: int | None, reads: Reads
) -> Draft:
    if reads.files or genome is not None:
        raise DataError(f"{source}: holds its own sequences; leave {reads.files[0] if reads.files else 'genome'} out")
    if len(signals) != 1:
        raise DataError(f"{source}: is FASTA, and {len(signals)} files of labels are given; give one table (--heights)")
    return read_labelled(source, signals[0], width)


def _from_fragments(
    source: Path,
    form: Form,
    signals: Sequence[Path],
    genome: Path | str | None,
    width: int | None,
    drop: Sequence[Flaw],
    where: tuple[Sequence[str], Path | str | None],
    reads: Reads,
) -> Draft:
    if signals:
        raise DataError(f"heights are counted from {reads.files[0].name}; leave {signals[0]} out, or the fragments")
    draft, own = _regions(source, form, "drop" if "twice" in drop else "refuse", ())
    if own is not None and own.columns:
        draft = draft.note(f"columns of heights in {source.name}, not used", len(own.columns))
    chromosomes, blacklist = where
    draft = restrict(_windows_of(draft, width), chromosomes, None if blacklist is None else Path(blacklist))
    if not len(draft.peaks):
        raise DataError(f"{source}: no peak is left ({_counts(draft.dropped)}); the atlas would be empty")
    return count_heights(_with_bases(draft, genome, drop), reads)


def _from_regions(
    source: Path,
    form: Form,
    signals: Sequence[Path],
    genome: Path | str | None,
    width: int | None,
    statistic: Statistic,
    drop: Sequence[Flaw],
    common: float,
) -> Draft:
    classes = region_files(signals)
    files = _signal_files(signals) if signals and not classes else []
    if files:  # before peaks and genome are read
        require("pybigtools", "dna", f"{files[0]}: bigWig")
    if len(signals) > 1 and not files and not classes:
        raise DataError(
            f"heights {', '.join(map(str, signals))}: give one table, or bigWigs (.bw, .bigWig) alone, or sets of "
            "regions (.bed) alone"
        )
    table = read_numbers(signals[0]) if signals and not files and not classes else None
    names = () if table is None else table.rows.to_list()
    draft, own = _regions(source, form, "drop" if "twice" in drop else "refuse", names)
    if not signals and (own is None or not own.columns):
        raise DataError(
            f"{source}: gives regions and no heights; add a table (a row a peak, a column a cell type), "
            "bigWigs, or fragments"
        )
    if own is not None and own.columns and signals:
        draft = draft.note(f"columns of heights in {source.name}, not used", len(own.columns))
    if classes:
        return mark_classes(_windows_of(draft, width), signals)
    if files:
        # first the bases: peaks over the end of a chromosome are refused or dropped there, by their line
        return _with_signals(_with_bases(_windows_of(draft, width), genome, drop), files, statistic)
    if table is not None:
        draft = _with_table(draft, table, drop, common)
    else:
        assert own is not None
        draft = replace(draft, heights=own.values, cell_types=own.columns)
        if "not-finite" not in drop:
            refuse_odd_heights(draft, draft.where)
    return _windows_of(draft, width)


def _regions(source: Path, form: Form, repeats: Repeats, names: Sequence[str]) -> tuple[Draft, NumberTable | None]:
    """Peaks without heights, and the table that gave them where there is one."""
    skipped: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    own = None
    if form == "table" or heads_a_table(source):
        first_base = {"bed": 0, "immgen": 1}.get(form)
        table = read_peak_table(source, first_base=first_base, repeats=repeats)
        regions, own = table.regions, table.numbers
        notes.update(table.notes)
    else:
        kind: Literal["bed", "immgen"] = "immgen" if form == "immgen" else "bed"
        regions = read_intervals(
            source, kind, skipped=skipped, notes=notes, repeats=repeats, shared_names=True, required_names=names
        )
    draft = Draft(regions, np.empty((len(regions), 0), np.float32), (), source)
    for reason, count in skipped.items():
        again = "that stood there before" in reason
        draft = (
            replace(draft, dropped=draft.dropped + Counter({reason: count}))
            if again
            else draft.note(f"{reason} in {source.name}, skipped", count)
        )
    for reason, count in notes.items():
        draft = draft.note(reason, count)
    return draft, own


def _signal_files(signals: Sequence[Path]) -> list[Path]:
    """The files, if all are bigWigs, or the bigWigs of a folder, sorted by name; otherwise none."""
    if len(signals) == 1 and signals[0].is_dir():
        files = sorted(p for p in signals[0].iterdir() if p.suffix.lower() in SIGNAL_ENDINGS)
        if not files:
            raise DataError(f"{signals[0]}: holds no bigWig (.bw, .bigWig); give a file of heights, or their folder")
        return files
    return list(signals) if all(p.suffix.lower() in SIGNAL_ENDINGS for p in signals) else []


def _with_signals(draft: Draft, files: Sequence[Path], statistic: Statistic) -> Draft:
    names = tuple(Path(utf_8_name(path)).stem for path in files)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"two bigWigs are called {twice[0]!r}; cell types are named after the files: rename one")
    chromosomes = draft.peaks["chromosome"].to_list()
    starts, ends = draft.peaks["start"].to_numpy(), draft.peaks["end"].to_numpy()
    heights = np.empty((len(draft.peaks), len(files)), np.float32)
    for column, path in paced(enumerate(files), "files of heights", total=len(files)):
        signal = read_signal(path, chromosomes, starts, ends, statistic)
        heights[:, column] = signal.values
        draft = draft.note(f"on a chromosome without signal in {path.name}, height 0", signal.absent)
        draft = draft.note(f"found in {path.name} under another name of the chromosome", signal.renamed)
        draft = draft.note(f"with a base that is NaN in {path.name}, which counts as zero", signal.with_nan)
    return replace(draft, heights=heights, cell_types=names)


def _with_table(draft: Draft, table: NumberTable, drop: Sequence[Flaw], common: float) -> Draft:
    """Rows of the table put in the order of the peaks, by name or place."""
    for reason, count in table.notes.items():
        draft = draft.note(reason, count)
    matches = join(draft.peaks, table, draft.path, common=common)
    if matches.how:
        draft = draft.note(f"rows of {table.path.name} {matches.how}", matches.matched)
    draft = replace(draft, heights=np.empty((len(matches.rows), 0), np.float32))
    draft = draft.keep(matches.rows >= 0, "without heights")
    rows = matches.rows[matches.rows >= 0]
    without = len(table.rows) - len(np.unique(rows))
    if without:
        draft = replace(draft, dropped=draft.dropped + Counter({"heights without a peak": without}))
    draft = replace(draft, heights=table.values[rows], cell_types=table.columns)
    if "not-finite" not in drop:
        refuse_odd_heights(draft, lambda row: f"{table.where(rows[row])}: peak {draft.peaks['name'][row]!r}")
    return draft


def _windows_of(draft: Draft, width: int | None) -> Draft:
    """Peaks of one width: as they are, or `width` bases around summit or middle."""
    widths = (draft.peaks["end"] - draft.peaks["start"]).to_numpy()
    if width is None:
        if (wide := np.flatnonzero(widths > WIDEST)).size:
            raise DataError(
                f"{draft.where(int(wide[0]))} has {widths[wide[0]]:,} bases; allowed are {WIDEST:,}, choose "
                "narrower windows with --width (width=)"
            )
        usual = int(np.bincount(widths).argmax())
        if (odd := np.flatnonzero(widths != usual)).size:
            raise DataError(
                f"{draft.where(int(odd[0]))} has {widths[odd[0]]} bases, {(widths == usual).sum():,} others have "
                f"{usual}; a network takes one width: choose one, say --width {usual} (width={usual}), for windows "
                "around summits or middles"
            )
        return draft
    if not 1 <= width <= WIDEST:
        raise DataError(f"width = {width} is not allowed: windows of 1 to {WIDEST:,} bases (--width, width=)")
    middle = (pl.col("start") + pl.col("end")) // 2
    centre = pl.coalesce("summit", middle) if "summit" in draft.peaks else middle
    begin = centre - width // 2
    changed = int((widths != width).sum())
    windows = draft.peaks.with_columns(start=begin, end=begin + width)
    return replace(draft, peaks=windows).note(f"of another width, made {width} around summit or middle", changed)


def _with_bases(draft: Draft, genome: Path | str | None, drop: Sequence[Flaw]) -> Draft:
    if genome is None:
        raise DataError(f"{draft.path}: gives regions and no bases; add the genome (FASTA or 2bit) they were called on")
    width = int(draft.peaks["end"][0] - draft.peaks["start"][0])
    path = Path(genome)
    windows = read_windows(path, draft.peaks["chromosome"].to_list(), draft.peaks["start"].to_numpy(), width)
    draft = replace(draft, codes=windows.codes, lengths=windows.lengths)
    mitochondrial = draft.peaks["chromosome"].is_in(MITOCHONDRION).to_numpy()
    draft = draft.note(
        'found in the genome under the name with or without "chr"',
        int((windows.renamed & ~mitochondrial).sum()),
    )
    draft = draft.note(
        "found in the genome under another name of the mitochondrial genome (chrM, MT)",
        int((windows.renamed & mitochondrial).sum()),
    )
    if windows.missing.any() and "missing-contig" not in drop:
        row = int(windows.missing.argmax())
        raise DataError(
            f"{draft.where(row)} is on a chromosome that {path} does not have (it has "
            f"{', '.join(list(windows.lengths)[:6])}{', ...' if len(windows.lengths) > 6 else ''}); "
            f"{advice(windows.missing, 'missing-contig', 'take the genome the peaks were called on')}"
        )
    if windows.beyond.any() and "beyond-contig" not in drop:
        raise DataError(_beyond(draft, windows, path))
    draft = draft.keep(~windows.missing, FLAWS["missing-contig"])
    return draft.keep(~windows.beyond[~windows.missing], FLAWS["beyond-contig"])


def _beyond(draft: Draft, windows: Windows, genome: Path) -> str:
    row = int(windows.beyond.argmax())
    name, start = draft.peaks["chromosome"][row], draft.peaks["start"][row]
    length = windows.lengths[known_as(name, windows.lengths) or name]
    hint = advice(windows.beyond, "beyond-contig", "take the genome the peaks were called on")
    if start < 0:
        return f"{draft.where(row)} begins before the chromosome's first base; {hint}"
    return f"{draft.where(row)} ends beyond its chromosome, which has {length:,} bases in {genome}; {hint}"


def _finish(
    draft: Draft,
    normalisation: Normalisation,
    pseudocount: float | None,
    lineages: Path | str | None,
    source: str,
    scale: Scale,
) -> Atlas:
    assert draft.codes is not None
    lineage_names, heights = draft.lineages, as_array(draft.heights)
    halves = draft.halves
    if scale != "none":
        factors = scale_factors(heights, scale).astype(np.float32)
        heights = heights * factors
        halves = None if halves is None else halves * factors[:, None]
    if lineages is not None:
        lineage_names, draft = _lineages(draft, Path(lineages))
    low, median = nearly_linear(heights) if normalisation in LOGARITHMS and pseudocount is None else (0, 1.0)
    draft = draft.note(
        "heights between 0 and 1, as most are, where log2(x + 1) is nearly linear; a smaller --pseudocount "
        f"(pseudocount=), such as {median / 10:.1g}, keeps ratios",
        low,
    )
    added = 1.0 if pseudocount is None else pseudocount
    heights = normalise(heights, normalisation, added)
    if halves is not None:
        # doubled, a half has the depth of both
        parts = [normalise(2 * halves[..., half], normalisation, added) for half in (0, 1)]
        halves = np.stack(parts, axis=2).astype(np.float32)
    peaks = draft.peaks.drop("line", strict=False)
    if "summit" in peaks and peaks["summit"].is_null().all():
        peaks = peaks.drop("summit")
    return Atlas(
        codes=torch.from_numpy(np.ascontiguousarray(draft.codes)),
        heights=torch.from_numpy(np.ascontiguousarray(heights)),
        peaks=peaks,
        cell_types=draft.cell_types,
        lineages=lineage_names,
        source=source,
        simulated=draft.simulated,
        dropped=dict(draft.dropped),
        notes=dict(draft.notes),
        halves=None if halves is None else torch.from_numpy(np.ascontiguousarray(halves)),
    )


def _lineages(draft: Draft, path: Path) -> tuple[tuple[str, ...], Draft]:
    pairs = read_pairs(path)
    lineages = tuple(pairs.get(name, "") for name in draft.cell_types)
    if not any(name in pairs for name in draft.cell_types):
        raise DataError(
            f"{path}: names none of the cell types ({', '.join(draft.cell_types[:5])}, ...) but {next(iter(pairs))!r}, "
            "...; give two columns, cell type and lineage"
        )
    return lineages, draft.note(f"cell types without a lineage in {path.name}", lineages.count(""))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
