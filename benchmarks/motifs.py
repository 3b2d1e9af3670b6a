"""Motifs of AI-TAC's filters against plain inference, memory over the number of peaks, Tomtom from a cold start.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/motifs.py [speed] [memory] [tomtom]. Times are CPU seconds, medians
of interleaved repeats; those of Tomtom are of a whole new process. Random DNA of 251 bases, untrained networks.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from sequence_cnn import LENGTH, OUTPUTS, PUBLISHED_BATCH, Published, dna, inference, rates

from netassay import filter_motifs, write_meme
from netassay.dna.network.network import predict
from netassay.nets import AITAC

MANY = 600
PEAKS = (500, 5_000)

MEMORY = """
import torch
from netassay import filter_motifs
from netassay.nets import AITAC
from netassay.processes import peak_bytes
codes = torch.randint(0, 4, ({n}, {length}), dtype=torch.uint8)
filter_motifs(AITAC({outputs}), codes, {layer!r})
print(peak_bytes() // 2**20)
"""
TOMTOM = """
from netassay import match_motifs, read_meme
found = match_motifs(read_meme({path!r}), permutations={permutations})
print(int(found.best_q.isfinite().sum()))
"""


def codes_of(n: int) -> torch.Tensor:
    return torch.randint(0, 4, (n, LENGTH), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def speed() -> None:
    model, codes, x = AITAC(OUTPUTS).eval(), codes_of(MANY), dna(PUBLISHED_BATCH)
    found = rates(
        {
            "published": (inference(Published(), x), len(x)),
            "predict": (lambda: predict(model, codes), MANY),
            "layer 1": (lambda: filter_motifs(model, codes), 2 * MANY),
            "layer 2": (lambda: filter_motifs(model, codes, "convolution2"), 2 * MANY),
        },
        repeats=3,
    )
    plain, ours = found["published"], found["predict"]
    print(f"plain inference, published form, fp32, batch {PUBLISHED_BATCH}: {plain:,.0f} sequences/s")
    print(f"netassay's predict, fp32: {ours:,.0f} sequences/s")
    for layer in ("layer 1", "layer 2"):
        rate = found[layer]
        print(
            f"motifs of {layer}, per pass: {rate:,.0f} sequences/s, {rate / plain:.1f} of plain inference (target "
            f"0.7), {rate / ours:.1f} of predict"
        )


def memory() -> None:
    for layer in ("convolution1", "convolution2"):
        told = []
        for n in PEAKS:
            script = MEMORY.format(n=n, length=LENGTH, outputs=OUTPUTS, layer=layer)
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            told.append(f"{n:,} peaks {int(done.stdout)} MB")
        print(f"peak memory of a process, motifs of {layer}: {', '.join(told)}")


def tomtom() -> None:
    motifs = filter_motifs(AITAC(OUTPUTS, generator=torch.Generator().manual_seed(1)), codes_of(1000), threshold=0.8)
    with tempfile.TemporaryDirectory() as folder:
        path = str(write_meme(motifs, Path(folder) / "filters.meme"))
        for permutations in (0, 1):
            script = TOMTOM.format(path=path, permutations=permutations)
            before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            null = " and as many with permuted columns" if permutations else ""
            print(
                f"Tomtom of {len(motifs)} filters{null} against JASPAR vertebrates, {int(done.stdout)} compared, "
                f"start-up included: {cpu:.1f} CPU s, {wall:.1f} s (target 5)"
            )


PARTS = {"speed": speed, "memory": memory, "tomtom": tomtom}

if __name__ == "__main__":
    print(f"torch {torch.__version__}, 1 thread")
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
