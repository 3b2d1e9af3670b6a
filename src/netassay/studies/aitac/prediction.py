"""What a finished run predicts for sequences and regions that are not in its atlas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from netassay.errors import DataError
from netassay.formats.bases import FOREIGN, UNKNOWN, encode
from netassay.formats.fasta import read_fasta, read_windows
from netassay.formats.intervals import guess_form, read_intervals
from netassay.runs import Run
from netassay.studies.aitac.assay import config_of, trained
from netassay.studies.aitac.predicting import predict


@dataclass(frozen=True)
class Predictions:
    """A row a sequence: name, for regions chromosome, start, end (0-based, end exclusive) of the window, outputs.

    `dropped` counts sequences left out, `notes` those changed, by reason.
    """

    table: pl.DataFrame
    dropped: Mapping[str, int]
    notes: Mapping[str, int]


def predict_sequences(run: Run, fasta: Path | str) -> Predictions:
    """Outputs for every sequence of a FASTA file.

    Longer sequences are cut to the network's length about their middle, shorter ones stand in the middle of unknown
    bases; both are counted. Raises DataError for a run without weights, and for letters that are not DNA.
    """
    length = _length(run)
    names, rows = [], []
    notes: Counter[str] = Counter()
    for record in read_fasta(Path(fasta)):
        codes = encode(record.letters)
        if (codes == FOREIGN).any():
            place = int((codes == FOREIGN).argmax())
            raise DataError(
                f"{fasta}:{record.line}: sequence {record.name!r} has a letter at base {place + 1} that "
                "is not DNA; allowed "
                "are A, C, G, T, U, N and the IUPAC letters, in either case"
            )
        spare = len(codes) - length
        if spare:
            notes[
                "longer than the network, cut about the middle"
                if spare > 0
                else "shorter, unknown bases added"
            ] += 1
        names.append(record.name)
        rows.append(_fitted(codes, length))
    return _predicted(run, pl.DataFrame({"name": names}), np.stack(rows), {}, notes)


def predict_regions(run: Run, regions: Path | str, genome: Path | str) -> Predictions:
    """Outputs for a window about the summit or middle of each region of a BED or narrowPeak file.

    Regions on a contig that the genome (FASTA) does not have, and windows beyond its end, are left out and counted.
    Raises DataError for a run without weights, or if no region is left.
    """
    length = _length(run)
    skipped: Counter[str] = Counter()
    frame = read_intervals(Path(regions), guess_form(Path(regions)), skipped=skipped)
    middle = (pl.col("start") + pl.col("end")) // 2
    centre = pl.coalesce("summit", middle) if "summit" in frame.columns else middle
    begin = (centre - length // 2).alias("begin")
    windows = frame.select("name", "chromosome", begin)
    found = read_windows(Path(genome), windows["chromosome"].to_list(), windows["begin"].to_numpy(), length)
    kept = ~(found.missing | found.beyond)
    dropped = {
        **skipped,
        f"on a contig that {Path(genome).name} does not have": int(found.missing.sum()),
        "window beyond the end of its contig": int(found.beyond.sum()),
    }
    if not kept.any():
        raise DataError(
            f"{regions}: no region is left ({_words(dropped)}); take the genome they were called on"
        )
    where = windows.filter(pl.Series(kept)).select(
        "name", "chromosome", pl.col("begin").alias("start"), (pl.col("begin") + length).alias("end")
    )
    moved = int(((frame["end"] - frame["start"]) != length).sum())
    notes = Counter({f"of another width, {length} bases about summit or middle taken": moved})
    return _predicted(run, where, found.codes[kept], dropped, notes)


def _predicted(
    run: Run, where: pl.DataFrame, codes: np.ndarray, dropped: Mapping[str, int], notes: Mapping[str, int]
) -> Predictions:
    config = config_of(run)
    output = predict(
        trained(run),
        torch.from_numpy(codes),
        both_strands=config.strands == "augmented",
        precision=getattr(torch, config.precision),
    )
    cell_types = run.table("cell_types")["cell type"].to_list()
    table = where.hstack(
        [pl.Series(f"predicted {name}", output[:, i].numpy()) for i, name in enumerate(cell_types)]
    )
    return Predictions(table, *({why: n for why, n in counts.items() if n} for counts in (dropped, notes)))


def _length(run: Run) -> int:
    if "cell_types" not in run.tables():
        raise DataError(
            f"run {run.id} is {run.state} and has no scored model; finish it first: netassay resume "
            f"{run.folder}"
            if run.study == "aitac"
            else f"run {run.id} is of study {run.study}; predictions are made by runs of study aitac"
        )
    return int(dict(run.table("atlas").iter_rows())["length"])


def _fitted(codes: np.ndarray, length: int) -> np.ndarray:
    spare = len(codes) - length
    if spare >= 0:
        return codes[spare // 2 : spare // 2 + length]
    before = -spare // 2
    return np.pad(codes, (before, -spare - before), constant_values=UNKNOWN)


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {why}" for why, n in counts.items() if n)
