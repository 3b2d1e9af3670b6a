"""The entropy lower bound beside group-bys written by hand for it, beside the definition's triple loop, and on disk.

Run: .venv/bin/python benchmarks/entropy.py [--tokens 10000000] [--large 100000000]. One thread everywhere; times
are CPU seconds, medians of interleaved repeats. DuckDB takes part if it is installed (benchmarks/peers.txt). With
--large, that many tokens are written to a temporary .npy, raw file and .parquet and counted by the command in child
processes, with little memory and with much; their peak is the kernel's, their seconds contain the start of Python. With
--reading, Parquet is counted beside reading it, and text beside reading and tokenising it (netassay[tokenizers]).
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["POLARS_MAX_THREADS"] = "1"
os.environ["RAYON_NUM_THREADS"] = "1"

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import torch

import netassay
from netassay.corpus.context import contexts
from netassay.formats.corpus import read_corpus

LENGTH = 10
VOCABULARY = 50_000
MULTIPLIER = 0x9E3779B97F4A7C15
STORIES = Path(__file__).parents[2] / "shared" / "data" / "text" / "tinystories.txt"


def zipf(tokens: int, exponent: float, seed: int = 0) -> np.ndarray:
    """Documents of ten tokens drawn independently, the k-th most frequent with weight k^-exponent."""
    weights = np.arange(1, VOCABULARY + 1) ** -exponent
    drawn = np.random.default_rng(seed).choice(VOCABULARY, size=tokens, p=weights / weights.sum())
    return drawn.reshape(-1, LENGTH)


def by_netassay(documents: np.ndarray) -> float:
    return contexts(documents, length=LENGTH).bound_nats_with_empty


def entropy_of_counts(counts: pl.DataFrame) -> float:
    return float(counts.select((pl.col("len") * pl.col("len").log()).sum()).item())


def by_polars_hash(documents: np.ndarray) -> float:
    """A rolling hash column, grouped once a length; equal lengths, so the levels telescope to the last."""
    frame = pl.DataFrame({"h": np.zeros(len(documents), np.uint64)})
    sums = [len(documents) * math.log(len(documents))]
    with np.errstate(over="ignore"):
        for column in documents.T:
            h = (frame["h"].to_numpy() + column.astype(np.uint64) + np.uint64(1)) * np.uint64(MULTIPLIER)
            frame = pl.DataFrame({"h": h ^ (h >> np.uint64(29))})
            sums.append(entropy_of_counts(frame.group_by("h").len()))
    return math.fsum(a - b for a, b in pairwise(sums))


def by_polars_columns(documents: np.ndarray) -> float:
    """Whole documents grouped by their ten columns, then rolled up a column at a time."""
    names = [f"t{i}" for i in range(LENGTH)]
    frame = pl.DataFrame(dict(zip(names, documents.T.astype(np.int32), strict=True)))
    counts = frame.group_by(names).len()
    sums = [entropy_of_counts(counts)]
    for size in range(LENGTH - 1, 0, -1):
        counts = counts.group_by(names[:size]).agg(pl.col("len").sum())
        sums.append(entropy_of_counts(counts))
    sums.append(len(documents) * math.log(len(documents)))
    return math.fsum(b - a for a, b in pairwise(sums))


def by_duckdb(documents: np.ndarray) -> float:
    """Whole documents grouped by their ten columns, then rolled up a column at a time, in SQL."""
    import duckdb

    columns = {f"t{i}": column.astype(np.int32) for i, column in enumerate(documents.T)}
    names = ", ".join(columns)
    with duckdb.connect(config={"threads": 1}) as base:
        base.register("documents", columns)
        base.execute(f"create table g as select {names}, count(*) as c from documents group by {names}")
        sums = [base.execute("select sum(c * ln(c)) from g").fetchone()[0]]
        for size in range(LENGTH - 1, 0, -1):
            kept = ", ".join(list(columns)[:size])
            base.execute(f"create or replace table g as select {kept}, sum(c) as c from g group by {kept}")
            sums.append(base.execute("select sum(c * ln(c)) from g").fetchone()[0])
    sums.append(len(documents) * math.log(len(documents)))
    return math.fsum(b - a for a, b in pairwise(sums))


def by_triple_loop(documents: list[torch.Tensor]) -> float:
    """The definition, word by word: contexts, tokens of the vocabulary, documents."""
    found = {tuple(d[:t].tolist()): d[:t] for d in documents for t in range(len(d))}
    vocabulary = torch.cat(documents).unique()
    bound = 0.0
    for context in found.values():
        t = len(context)
        counts = []
        for token in vocabulary:
            count = 0
            for document in documents:
                count += torch.equal(document[:t], context) and bool(document[t] == token)
            counts.append(count)
        bound -= sum(c * math.log(c / sum(counts)) for c in counts if c)
    return bound


def by_list_loop(documents: list[list[int]]) -> float:
    """The same loops over lists of Python integers."""
    vocabulary = {token for d in documents for token in d}
    bound = 0.0
    for context in {tuple(d[:t]): d[:t] for d in documents for t in range(len(d))}.values():
        t = len(context)
        counts = [sum(d[:t] == context and d[t] == token for d in documents) for token in vocabulary]
        bound -= sum(c * math.log(c / sum(counts)) for c in counts if c)
    return bound


def timed(job: Callable[[], float]) -> tuple[float, float]:
    begin = time.process_time()
    value = job()
    return time.process_time() - begin, value


def beside_group_bys(tokens: int, exponent: float, repeats: int) -> None:
    documents = zipf(tokens, exponent)
    jobs = {
        "netassay": by_netassay,
        "Polars, rolling hash": by_polars_hash,
        "Polars, columns": by_polars_columns,
    }
    if find_spec("duckdb"):
        jobs["DuckDB, columns"] = by_duckdb
    else:
        print("DuckDB is not installed (pip install netassay[bench]); it is left out")
    runs = [{name: timed(lambda job=job: job(documents)) for name, job in jobs.items()} for _ in range(repeats)]
    print(f"{tokens:,} Zipf tokens of exponent {exponent:g} in documents of {LENGTH}, {VOCABULARY:,} different")
    for name in jobs:
        seconds = median(run[name][0] for run in runs)
        ratio = median(run[name][0] / run["netassay"][0] for run in runs)
        assert math.isclose(runs[0][name][1], runs[0]["netassay"][1], rel_tol=1e-9), name
        print(f"  {name:22} {seconds:7.3f} s  {tokens / seconds / 1e6:6.1f} M tokens/s  {ratio:6.1f} times netassay's")


def beside_loops(stories: int) -> None:
    corpus = read_corpus(STORIES, document="record", limit=LENGTH).documents
    documents = [document.tolist() for document in corpus][:stories]
    array, tensors = np.array(documents), [torch.tensor(document) for document in documents]
    own = median(timed(lambda: by_netassay(array))[0] for _ in range(301))
    expected = by_netassay(array)
    print(f"first {LENGTH} tokens of {stories} stories: netassay {1e3 * own:.2f} ms")
    for name, loop, held in [("tensors", by_triple_loop, tensors), ("lists", by_list_loop, documents)]:
        seconds, value = timed(lambda loop=loop, held=held: loop(held))
        assert math.isclose(value, expected, rel_tol=1e-9), name
        print(f"  triple loop over {name:8} {seconds:7.2f} s  {seconds / own:10,.0f} times netassay's")


def write_large(folder: Path, tokens: int) -> dict[str, tuple[str, ...]]:
    """The same documents as a file of each kind, and the words that tell the command how to read it."""
    shape = (tokens // LENGTH, LENGTH)
    array = np.lib.format.open_memmap(folder / "large.npy", mode="w+", dtype=np.uint16, shape=shape)
    rows = 1_000_000
    with (folder / "large.bin").open("wb") as file:
        for number, first in enumerate(range(0, len(array), rows)):
            some = zipf(rows * LENGTH, 1.0, seed=number)[: len(array) - first]
            array[first : first + rows] = some
            np.insert(some, LENGTH, VOCABULARY, axis=1).astype(np.uint16).tofile(file)
    array.flush()
    pl.DataFrame({"ids": np.asarray(array)}).write_parquet(folder / "large.parquet", row_group_size=100_000)
    return {
        "large.npy": (),
        "large.bin": ("--dtype", "uint16", "--end", str(VOCABULARY)),
        "large.parquet": ("--column", "ids"),
    }


def on_disk(tokens: int, sizes: tuple[str, ...], repeats: int) -> None:
    """The command on a large file: each memory gives the same numbers, to the last bit, and is kept."""
    print(f"{tokens:,} Zipf tokens of exponent 1 in documents of {LENGTH}, {VOCABULARY:,} different: netassay entropy")
    with TemporaryDirectory() as folder:
        # modules are compiled once, as where they are installed
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/compiled"
        commanded("topics")
        files = write_large(Path(folder), tokens)
        cases = [(name, size) for name in files for size in sizes]
        runs = [
            {(name, size): commanded(Path(folder) / name, *files[name], "--memory", size) for name, size in cases}
            for _ in range(repeats)
        ]
        for name, size in cases:
            seconds, answer = median(run[name, size][0] for run in runs), runs[0][name, size][1]
            on = "on disk" if answer["counted_on_disk"] else "no disk"
            print(
                f"  {name:14} --memory {size:6} {on:8} {seconds:6.2f} s  "
                f"{answer['tokens'] / seconds / 1e6:5.1f} M tokens/s  peak {answer['peak_bytes'] / 1e6:6.0f} MB"
            )
        # the raw file ends every document with a token more
        for names in (("large.npy", "large.parquet"), ("large.bin",)):
            answers = {
                (run[case][1]["contexts"], run[case][1]["bound_nats"])
                for run in runs
                for case in cases
                if case[0] in names
            }
            (contexts_, bound), *others = answers
            assert not others, answers
            print(f"  {' and '.join(names)}: contexts {contexts_:,}, bound {bound!r} nats, from each of them")


def beside_reading(tokens: int, repeats: int) -> None:
    """Counting Parquet beside reading it alone, and counting its text beside reading and tokenising it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        ids, text, tokenizer = folder / "ids.parquet", folder / "text.parquet", folder / "tokenizer.json"
        documents = zipf(tokens, 1.0).astype(np.uint16)
        pl.DataFrame({"ids": documents}).write_parquet(ids, row_group_size=100_000)
        np.save(folder / "ids.npy", documents)
        jobs = {
            "Polars, token lists": lambda: read_lists(ids),
            "pyarrow, token lists": lambda: read_lists_by_pyarrow(ids),
            "netassay, token lists": lambda: counted(ids, column="ids"),
            "netassay, the same as .npy": lambda: counted(folder / "ids.npy"),
        }
        if STORIES.exists() and find_spec("tokenizers"):
            write_stories(text, tokenizer, 20_000)
            jobs |= {
                "Polars, text and tokenizer": lambda: read_and_tokenise(text, tokenizer),
                "netassay, text and tokenizer": lambda: counted(text, tokenizer=str(tokenizer)),
            }
        runs = [{job: timed(function) for job, function in jobs.items()} for _ in range(repeats)]
    print("Parquet: counting beside reading alone, beside reading and tokenising alone")
    for job in jobs:
        seconds, size = median(run[job][0] for run in runs), runs[0][job][1]
        alone = "Polars, text and tokenizer" if "text" in job else "Polars, token lists"
        ratio = median(run[job][0] / run[alone][0] for run in runs)
        print(f"  {job:29} {size:12,.0f} tokens {seconds:7.3f} s  {size / seconds / 1e6:6.1f} M tokens/s  {ratio:5.2f}")


def counted(path: Path, **words: str) -> float:
    return netassay.entropy(path, memory="10GB", **words).tokens


def read_lists(path: Path) -> float:
    size = 0
    for batch in pl.scan_parquet(path).collect_batches(chunk_size=8_192, maintain_order=True):
        size += len(batch["ids"].explode().to_numpy())
    return size


def read_lists_by_pyarrow(path: Path) -> float:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(batch_size=8_192, use_threads=False)
        return sum(len(batch.column("ids").flatten().to_numpy(zero_copy_only=False)) for batch in batches)


def write_stories(path: Path, tokenizer: Path, stories: int) -> None:
    """Stories of ten sentences drawn from TinyStories, and a tokenizer trained on TinyStories."""
    import tokenizers

    sentences = [
        part.strip() + "." for part in STORIES.read_text().replace("<|endoftext|>", "").split(".") if part.strip()
    ]
    draws = np.random.default_rng(0).integers(0, len(sentences), (stories, 10))
    pl.DataFrame({"text": [" ".join(sentences[i] for i in row) for row in draws]}).write_parquet(path)
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(sentences, vocab_size=8_000, show_progress=False)
    bpe.save(str(tokenizer))


def read_and_tokenise(path: Path, tokenizer: Path) -> float:
    import tokenizers

    encoder = tokenizers.Tokenizer.from_file(str(tokenizer))
    size = 0
    for batch in pl.scan_parquet(path).collect_batches(chunk_size=1_024, maintain_order=True):
        encodings = encoder.encode_batch(batch["text"].to_list(), add_special_tokens=False)
        size += sum(len(encoding.ids) for encoding in encodings)
    return size


def commanded(*words: str | Path) -> tuple[float, dict[str, object]]:
    """CPU seconds and answer of netassay entropy in a child process; its peak is the kernel's VmHWM."""
    before = os.times()
    command = [sys.executable, "-m", "netassay", "entropy", *map(str, words), "--format", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", type=int, default=0)
    parser.add_argument("--memory", nargs="+", default=["250MB", "500MB", "10GB"])
    parser.add_argument("--reading", action="store_true")
    words = parser.parse_args()
    if words.large:
        on_disk(words.large, tuple(words.memory), words.repeats)
        return
    if words.reading:
        beside_reading(words.tokens, words.repeats)
        return
    torch.set_num_threads(1)
    for exponent in (1.0, 1.2):
        beside_group_bys(words.tokens, exponent, words.repeats)
    if STORIES.exists():
        beside_loops(100)


if __name__ == "__main__":
    main()
