"""Heights counted from fragments, or summed from single cells, in two halves each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netassay.dna.agreement.overlap import marked_by
from netassay.dna.atlas.draft import Draft
from netassay.dna.reads.choices import Count, Duplicates
from netassay.dna.reads.counting import count_fragments
from netassay.dna.reads.groups import BY_FRAGMENT, groups_of, read_groups
from netassay.dna.reads.profiles import write_profiles
from netassay.errors import DataError
from netassay.files import whole_folder
from netassay.formats.bases import known_as
from netassay.formats.cells import column_of_cells, sums
from netassay.formats.peak_tables import read_regions
from netassay.numerics.draws import numpy_draws


@dataclass(frozen=True)
class Reads:
    """Files of fragments and how they are counted; see `build_atlas`."""

    files: tuple[Path, ...] = ()
    group_by: str | None = None
    count: Count = "insertions"
    duplicates: Duplicates = "auto"
    tag: str = "CB"
    quality: int = 30
    profiles: Path | None = None
    seed: int = 0


def count_heights(draft: Draft, reads: Reads) -> Draft:
    """The peaks with heights counted from fragments; those left out and groups without a fragment are noted."""
    groups = None if reads.group_by is None else read_groups(reads.group_by, seed=reads.seed)
    counts = count_fragments(
        reads.files,
        draft.peaks,
        groups=groups,
        lengths=draft.lengths,
        count=reads.count,
        duplicates=reads.duplicates,
        tag=reads.tag,
        quality=reads.quality,
        profiles=reads.profiles is not None,
        seed=reads.seed,
    )
    nonempty = np.asarray(counts.halves.any(axis=(0, 2)))
    if not nonempty.any():
        raise DataError(
            f"{', '.join(path.name for path in reads.files)}: none of the {counts.fragments:,} fragments lies in a "
            f"peak ({_words(counts.left_out)})"
        )
    draft = draft.note("fragments in the files", counts.fragments)
    for reason, number in (counts.left_out + counts.notes).items():
        draft = draft.note(reason, number)
    empty = [name for name, has_reads in zip(counts.groups, nonempty, strict=True) if not has_reads]
    if empty:
        draft = draft.note(f"groups without a fragment in a peak, left out: {', '.join(empty[:8])}", len(empty))
    names = tuple(name for name, has_reads in zip(counts.groups, nonempty, strict=True) if has_reads)
    if counts.profiles is not None and reads.profiles is not None:
        with whole_folder(reads.profiles, refusal=DataError) as part:
            write_profiles(counts.profiles, counts.groups, dict(draft.lengths or {}), part)
    halves = counts.halves[:, nonempty]
    return replace(draft, heights=halves.sum(axis=2), cell_types=names, halves=halves)


def sum_cells(cells: Any, column: str, layer: str | None, where: str, *, seed: int = 0) -> tuple[Any, Counter[str]]:
    """An AnnData object of groups in place of cells, with their halves as layers half_0 and half_1, and notes.

    `column` is a column of `obs`, or a table of barcodes as `read_groups` takes it. A group of one cell is halved by
    drawing each of its counts; if its values are not counts, there are no halves.
    """
    import anndata
    import pandas

    names = [str(name) for name in cells.obs_names]
    if column in cells.obs.columns or not (Path(column).exists() or ":" in column):
        groups = groups_of(names, column_of_cells(cells, column, where), where, seed=seed)
    else:
        groups = read_groups(column, seed=seed)
    lookup = {barcode: (group, half) for barcode, group, half in groups.table.iter_rows()}
    members = [lookup.get(name, (-1, 0)) for name in names]
    if all(group < 0 for group, _ in members):
        raise DataError(
            f"{column}: names none of the cells of {where} (such as {names[0]}) but {groups.table['barcode'][0]!r}, ..."
        )
    matrix = cells.X if layer is None else cells.layers[layer]
    count = len(groups.names)
    codes = [-1 if group < 0 else 2 * group + max(half, 0) for group, half in members]
    halves = sums(matrix, codes, 2 * count).reshape(count, 2, -1)
    total = halves.sum(axis=1)
    notes = groups.notes + Counter({"cells without a group, left out": sum(group < 0 for group, _ in members)})
    draws = numpy_draws(seed, 0x7468)
    layers = {}
    alone = sorted({group for group, half in members if half == BY_FRAGMENT})
    if _are_counts(total[alone]):
        for number in alone:
            halves[number] = _thin(total[number], draws)
        layers = {"half_0": halves[:, 0], "half_1": halves[:, 1]}
    else:
        notes["groups with one cell, whose values are no counts: nothing is halved, and no ceiling follows"] = len(
            alone
        )
    obs = pandas.DataFrame(index=list(groups.names))
    return anndata.AnnData(X=total, obs=obs, var=cells.var, layers=layers), +notes


def _are_counts(values: np.ndarray) -> bool:
    return bool(((values == np.round(values)) & (values >= 0)).all())


def _thin(counts: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Each count split in two at random."""
    first = draws.binomial(counts.astype(np.int64), 0.5)
    return np.stack([first, counts - first])


def restrict(draft: Draft, chromosomes: Sequence[str], blacklist: Path | None) -> Draft:
    """Only peaks on the chromosomes (all, if none is given) and outside the regions of a blacklist."""
    if chromosomes:
        names = {*chromosomes}
        available = draft.peaks["chromosome"].unique().drop_nulls()
        for name in chromosomes:
            if known_as(name, set(available)) is None:
                raise DataError(
                    f"chromosome {name!r}: {draft.path} has no peak there; it has {', '.join(available.sort().head(8))}"
                )
        matches = {name for name in available if known_as(name, names)}
        draft = draft.keep(
            draft.peaks["chromosome"].is_in(list(matches)).to_numpy(), "on other chromosomes than asked for"
        )
    if blacklist is not None:
        marked = marked_by(blacklist, draft.peaks, read_regions(blacklist))
        draft = draft.keep(~marked, f"in a region of {blacklist.name}")
    return draft


def _words(left_out: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason.removeprefix('fragments ')}" for reason, count in left_out.items())
