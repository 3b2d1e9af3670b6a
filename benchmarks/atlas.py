"""How fast letters become one-hot rows, and what it takes to build an atlas of the size of ImmGen's.

Run: .venv/bin/python benchmarks/atlas.py [--peaks 300000] [--contig-megabases 20]; 135 makes a genome as large as a
mouse's. The genome, peaks and heights are
random and made here, and not part of what is timed. Each build is a process of its own; its memory is the most that
process held at once.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
import torch

from netassay import Atlas, build_atlas
from netassay.formats.bases import encode, one_hot
from netassay.processes import peak_bytes

CONTIGS, LINE, LENGTH, CELL_TYPES = 20, 60, 251, 81
ROWS = {"A": [1, 0, 0, 0], "C": [0, 1, 0, 0], "G": [0, 0, 1, 0], "T": [0, 0, 0, 1]}


def letter_by_letter(sequences: list[str]) -> torch.Tensor:
    """One-hot rows by a dictionary of letters, as scripts do it."""
    rows = np.array([[ROWS.get(letter, [0, 0, 0, 0]) for letter in sequence] for sequence in sequences])
    return torch.from_numpy(rows.transpose(0, 2, 1).astype(np.float32))


def by_table(codes: np.ndarray) -> torch.Tensor:
    """Codes looked up in a table of rows, then turned."""
    table = np.vstack([np.eye(4, dtype=np.float32), np.zeros((1, 4), np.float32)])
    return torch.from_numpy(np.ascontiguousarray(table[codes].transpose(0, 2, 1)))


def seconds(job: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        job()
        times.append(time.process_time() - begin)
    return median(times)


def encoding(n: int = 20_000) -> None:
    draw = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGTN", np.uint8)[draw.integers(0, 5, (n, LENGTH))]
    text, sequences = letters.tobytes(), [row.tobytes().decode() for row in letters]
    codes = torch.from_numpy(encode(text).reshape(n, LENGTH))
    assert torch.equal(one_hot(codes[:200]), letter_by_letter(sequences[:200]))
    assert torch.equal(one_hot(codes[:200]), by_table(codes[:200].numpy()))
    size = n * LENGTH / 1e6
    rows = one_hot(codes)
    jobs: dict[str, tuple[Callable[[], object], float]] = {
        "letters to codes (netassay)": (lambda: encode(text), 1),
        "codes to one-hot float32 (netassay)": (lambda: one_hot(codes), 1),
        "codes to one-hot bf16 (netassay)": (lambda: one_hot(codes, torch.bfloat16), 1),
        "letters to one-hot float32 (netassay)": (
            lambda: one_hot(torch.from_numpy(encode(text).reshape(n, LENGTH))),
            1,
        ),
        "codes looked up in a NumPy table": (lambda: by_table(codes.numpy()), 1),
        "letters by a dictionary": (lambda: letter_by_letter(sequences[: n // 20]), 1 / 20),
        "floor: the float32 rows copied": (lambda: rows.clone(), 1),
    }
    print(f"one-hot encoding of {n:,} sequences of {LENGTH} bases, one thread")
    for name, (job, share) in jobs.items():
        taken = seconds(job, 9)
        print(f"  {name:38} {size * share / taken:8.1f} MB of sequence/s")


def write_inputs(folder: Path, peaks: int, contig_bases: int) -> None:
    draw = np.random.default_rng(1)
    entries, offset = [], 0
    with (folder / "genome.fa").open("wb") as file:
        for i in range(CONTIGS):
            header = f">chr{i + 1}\n".encode()
            letters = np.frombuffer(b"ACGT", np.uint8)[draw.integers(0, 4, (contig_bases // LINE, LINE), np.uint8)]
            lines = np.hstack([letters, np.full((len(letters), 1), 10, np.uint8)])
            file.write(header)
            file.write(lines.tobytes())
            offset += len(header)
            entries.append(f"chr{i + 1}\t{letters.size}\t{offset}\t{LINE}\t{LINE + 1}\n")
            offset += lines.size
    (folder / "genome.fa.fai").write_text("".join(entries))
    starts = draw.integers(0, contig_bases // LINE * LINE - LENGTH, peaks)
    chromosomes = draw.integers(1, CONTIGS + 1, peaks)
    names = [f"peak_{i}" for i in range(peaks)]
    with (folder / "peaks.bed").open("w") as file:
        file.writelines(f"chr{c}\t{s}\t{s + LENGTH}\t{n}\n" for c, s, n in zip(chromosomes, starts, names, strict=True))
    counts = draw.gamma(1.0, 8.0, (peaks, CELL_TYPES)).astype(np.float32)
    frame = pl.DataFrame(counts, schema=[f"type_{i}" for i in range(CELL_TYPES)])
    frame.insert_column(0, pl.Series("name", names)).sample(fraction=1.0, shuffle=True, seed=0).write_csv(
        folder / "heights.csv", float_precision=3
    )


def child(folder: Path) -> None:
    """Builds and saves; prints seconds and memory. Run in a process of its own."""
    begin, used = time.perf_counter(), time.process_time()
    atlas = build_atlas(
        folder / "peaks.bed",
        folder / "heights.csv",
        genome=folder / "genome.fa",
        normalisation="log2-quantile",
    )
    built, used = time.perf_counter() - begin, time.process_time() - used
    atlas.save(folder / "atlas")
    peak = peak_bytes()
    saved = time.perf_counter() - begin - built
    print(json.dumps({"build": built, "cpu": used, "save": saved, "memory": peak, "digest": atlas.digest}))


def building(peaks: int, contig_bases: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, peaks, contig_bases)
        sizes = {file.name: file.stat().st_size / 1e9 for file in folder.iterdir()}
        print(
            f"\natlas of {peaks:,} peaks x {CELL_TYPES} cell types from a genome of {sizes['genome.fa']:.2f} GB and a "
            f"table of {sizes['heights.csv']:.2f} GB; log2 and quantile normalisation"
        )
        digests = set()
        for form in ("indexed", "without an index"):
            if form == "without an index":
                (folder / "genome.fa.fai").unlink()
            done = subprocess.run(
                [sys.executable, __file__, "--child", str(folder)], capture_output=True, text=True, check=True
            )
            told = json.loads(done.stdout)
            digests.add(told["digest"])
            memory = told["memory"] / 1e9
            # CPU seconds hold on a machine that does other work too
            taken = f"build {told['build']:6.1f} s ({told['cpu']:.1f} CPU s), save {told['save']:5.1f} s"
            print(f"  {form:18} {taken}, memory {memory:5.2f} GB")
            begin = time.perf_counter()
            atlas = Atlas.open(folder / "atlas")
            opened = time.perf_counter() - begin
            begin = time.perf_counter()
            atlas.sequences(torch.arange(0, len(atlas), max(len(atlas) // 1_000, 1)))
            first = time.perf_counter() - begin
            print(f"  {'':18} open {opened:.3f} s, 1,000 sequences from all over it {first:.3f} s")
            for file in sorted((folder / "atlas").rglob("*"), reverse=True):
                file.unlink()
            (folder / "atlas").rmdir()
        assert len(digests) == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peaks", type=int, default=300_000)
    parser.add_argument("--contig-megabases", type=int, default=20)
    parser.add_argument("--child", type=Path)
    words = parser.parse_args()
    torch.set_num_threads(1)
    if words.child:
        child(words.child)
        return
    encoding()
    building(words.peaks, words.contig_megabases * 1_000_000)


if __name__ == "__main__":
    main()
