"""Models that memorise TinyStories without training: how long that takes and how near they come.

`python benchmarks/construct.py STORIES.txt [--long]`: stories are separated by <|endoftext|> and cut to their first
tokens; --long adds the largest corpus, which takes about a minute. One line a construction: contexts n, width m, tokens
zeta, seconds of the whole (reading excluded), its CPU seconds, how many bare LU factorisations of an n x n matrix those
are, rank, condition, largest residual of a logit, and in float64 and float32 the largest deviation of a probability and
the gap over the entropy bound.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

from netassay.capacity.construction import Construction, construct, realise
from netassay.corpus.context import Contexts, contexts
from netassay.formats.corpus import read_corpus


def corpus(path: Path, stories: int, length: int) -> Contexts:
    read = read_corpus(path, document="record", limit=length)
    return contexts(read.documents.select(np.arange(len(read.documents)) < stories), length=length)


def bare_lu(n: int) -> float:
    matrix = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    begin = time.process_time()
    torch.linalg.lu_factor(matrix)
    return time.process_time() - begin


def line(name: str, made: Construction, seconds: float, cpu: float) -> None:
    lu = bare_lu(made.contexts)
    shown = [
        f"{name:<34} n {made.contexts:>6,} m {made.width:>6,} zeta {made.vocabulary:>5,} {seconds:7.2f} s",
        f"CPU {cpu:7.2f} s = {cpu / lu:5.1f} LU",
        f"rank {made.rank or '-':>6} condition {made.condition or float('nan'):8.1e}",
        f"residual {made.residual or float('nan'):8.1e}",
        f"float64 {made.float64.deviation:7.1e} {made.float64.relative_gap:8.1e}",
        f"float32 {made.float32.deviation:7.1e} {made.float32.relative_gap:8.1e}",
    ]
    if made.lower is not None:
        shown.append(f"no less than {made.lower / made.bound - 1:.1e} of the bound above it (certified)")
    print("  ".join(shown), flush=True)


def timed(name: str, found: Contexts, **options: object) -> None:
    begin, cpu = time.perf_counter(), time.process_time()
    made = construct(found, **options)  # type: ignore[arg-type]
    line(name, made, time.perf_counter() - begin, time.process_time() - cpu)


def main(words: list[str]) -> None:
    path = Path(words[0])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    draws = np.random.default_rng(0)
    given = sorted({tuple(draws.integers(0, 50, draws.integers(2, 9))) for _ in range(2500)})[:2000]
    p = draws.dirichlet(np.ones(50), 2000).clip(1e-12)
    realise(given[:50], p[:50] / p[:50].sum(1, keepdims=True))  # what is loaded on first use
    for architecture in ("averaging", "decoder"):
        begin, cpu = time.perf_counter(), time.process_time()
        made = realise(given, p / p.sum(1, keepdims=True), architecture=architecture)  # type: ignore[arg-type]
        line(f"interior, {architecture}", made, time.perf_counter() - begin, time.process_time() - cpu)
    found = corpus(path, 1000, 10)
    timed("1,000 stories, averaging, m = n", found, width=found.n)
    timed("1,000 stories, averaging, m = 1.1 n", found)
    timed("1,000 stories, decoder, m = n", found, width=found.n, architecture="decoder")
    timed("1,000 stories, decoder, m = 1.1 n", found, architecture="decoder")
    timed("1,000 stories, ladder", found, method="ladder")
    if "--long" in words:
        found = corpus(path, 1000, 18)
        timed("1,000 stories of 18, m = n", found, width=found.n)
        timed("1,000 stories of 18, ladder", found, method="ladder")


if __name__ == "__main__":
    main(sys.argv[1:])
