"""How fast fragments become heights and profiles, beside `bedtools coverage`, and single cells their sums.

Run: .venv/bin/python benchmarks/reads.py [--fragments 10000000] [--peaks 50000] [--cells 8000]; needs bedtools for the
comparison, and anndata. Fragments, peaks and cells are random and made here, half of the fragments about peaks, and not
part of what is timed. Each job is a process of its own on one core; seconds are of CPU, memory is the most that process
held at once.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["POLARS_MAX_THREADS"] = "1"

import argparse
import gzip
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from netassay.processes import peak_bytes

CONTIGS, LONGEST, WIDTH, GROUPS = 20, 130_000_000, 500, 10
COLUMNS = ["chromosome", "start", "end"]


def make(folder: Path, fragments: int, peaks: int, cells: int) -> None:
    draw = np.random.default_rng(0)
    contig, start = draw.integers(1, CONTIGS + 1, fragments), draw.integers(0, LONGEST, fragments)
    of, at = np.sort(draw.integers(1, CONTIGS + 1, peaks)), draw.integers(1_000, LONGEST, peaks)
    near = draw.integers(0, peaks, fragments // 2)
    contig[: len(near)], start[: len(near)] = of[near], at[near] + draw.integers(-200, WIDTH, len(near))
    barcodes = np.array(["".join(draw.choice([*"ACGT"], 16)) + "-1" for _ in range(cells)])
    frame = pl.DataFrame(
        {
            "chromosome": contig,
            "start": start,
            "end": start + draw.integers(30, 600, fragments),
            "barcode": barcodes[draw.integers(0, cells, fragments)],
        }
    ).sort("chromosome", "start")
    named = frame.with_columns(pl.format("chr{}", "chromosome").alias("chromosome"), reads=pl.lit(1))
    with gzip.open(folder / "fragments.tsv.gz", "wb", compresslevel=1) as file:
        named.write_csv(file, separator="\t", include_header=False)
    regions = pl.DataFrame({"chromosome": of, "start": at, "end": at + WIDTH}).sort("chromosome", "start")
    regions = regions.with_columns(pl.format("chr{}", "chromosome").alias("chromosome"))
    regions.write_csv(folder / "peaks.bed", separator="\t", include_header=False)
    groups = pl.DataFrame({"barcode": barcodes, "group": [f"group {i % GROUPS}" for i in range(cells)]})
    groups.write_csv(folder / "groups.tsv", separator="\t")


def make_cells(folder: Path, cells: int, peaks: int, share: float = 0.03) -> None:
    import anndata
    import pandas
    import scipy.sparse

    matrix = scipy.sparse.random(cells, peaks, share, "csr", np.float32, np.random.default_rng(0))
    matrix.data[:] = 1
    obs = pandas.DataFrame(
        {"type": [f"group {i % GROUPS}" for i in range(cells)]}, index=[f"cell {i}" for i in range(cells)]
    )
    var = pandas.DataFrame(index=[f"chr1:{1000 * i}-{1000 * i + WIDTH}" for i in range(peaks)])
    anndata.AnnData(matrix, obs=obs, var=var).write_h5ad(folder / "cells.h5ad")


def count(folder: Path, job: str) -> dict[str, float]:
    """The job, in this process."""
    begun = time.process_time()
    if job == "cells":
        from netassay.dna.atlas.annotated import read_annotated

        total = float(read_annotated(folder / "cells.h5ad", group_by="type").heights.sum())
    else:
        from netassay.dna.reads import count_fragments, read_groups

        regions = pl.read_csv(folder / "peaks.bed", separator="\t", has_header=False, new_columns=COLUMNS)
        groups = read_groups(folder / "groups.tsv") if "groups" in job else None
        kind = "fragments" if job == "fragments" else "insertions"
        counts = count_fragments(
            folder / "fragments.tsv.gz", regions, groups=groups, count=kind, profiles="profiles" in job
        )
        total = float(counts.values.sum(dtype=np.float64))
    return {"seconds": time.process_time() - begun, "total": total}


def measured(words: list[str]) -> tuple[float, str]:
    """CPU seconds of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(["/usr/bin/env", *words], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fragments", type=int, default=10_000_000)
    parser.add_argument("--peaks", type=int, default=50_000)
    parser.add_argument("--cells", type=int, default=8_000)
    parser.add_argument("--cell-peaks", type=int, default=120_000)
    parser.add_argument("--job", nargs=2)
    asked = parser.parse_args()
    if asked.job:
        answer = count(Path(asked.job[0]), asked.job[1])
        print(json.dumps({**answer, "gigabytes": peak_bytes() / 2**30}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, asked.fragments, asked.peaks, asked.cells)
        print(f"{asked.fragments:,} fragments, {asked.peaks:,} peaks of {WIDTH} bases, {asked.cells:,} barcodes; gzip")
        peers = {}
        if shutil.which("bedtools"):
            files = ["-a", str(folder / "peaks.bed"), "-b", str(folder / "fragments.tsv.gz")]
            for what, more in (
                ("bedtools coverage -counts", []),
                ("bedtools coverage -counts -sorted", ["-sorted"]),
            ):
                seconds, said = measured(["bedtools", "coverage", "-counts", *more, *files])
                peers[what] = seconds
                total = sum(int(line.rpartition("\t")[2]) for line in said.splitlines())
                print(f"{what:42} {seconds:7.1f} s CPU  sum {total:,}")
        for job in ("fragments", "insertions", "profiles", "groups", "groups and profiles"):
            report(folder, job, peers)
        make_cells(folder, asked.cells, asked.cell_peaks)
        print(
            f"{asked.cells:,} cells x {asked.cell_peaks:,} peaks of a .h5ad, 3 % of them 1, summed by {GROUPS} groups"
        )
        report(folder, "cells", {})


def report(folder: Path, job: str, peers: dict[str, float]) -> None:
    _, said = measured([sys.executable, __file__, "--job", str(folder), job])
    held = json.loads(said)
    ratios = ", ".join(f"{seconds / held['seconds']:.2f} x {what}" for what, seconds in peers.items())
    print(
        f"netassay, {job:32} {held['seconds']:7.1f} s CPU  {held['gigabytes']:.2f} GB  sum {held['total']:,.0f}  "
        f"{ratios}"
    )


if __name__ == "__main__":
    main()
