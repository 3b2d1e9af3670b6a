"""Evaluation of a model beside a plain batched loss loop, and eight lengths of context beside one.

Run: .venv/bin/python benchmarks/memorisation.py [--rows 96] [--tokens 2000000]. One thread; times are CPU seconds,
medians of interleaved repeats. Needs netassay[transformers].
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["POLARS_MAX_THREADS"] = "1"

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from netassay.capacity.likelihood import Evaluation
from netassay.corpus.conditional import conditional_entropies
from netassay.corpus.context import contexts
from netassay.corpus.feed import Feed
from netassay.corpus.occurrence import occurrences
from netassay.formats.documents import Documents

BLOCK, BATCH = 128, 8
LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128)


def seconds(*functions: Callable[[], object], repeats: int = 5) -> list[float]:
    """Median CPU seconds of each function, called in turn."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for taken, function in zip(times, functions, strict=True):
            begin = time.process_time()
            function()
            taken.append(time.process_time() - begin)
    return [median(taken) for taken in times]


def model_of(vocabulary: int, width: int, layers: int) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=vocabulary, n_positions=BLOCK, n_embd=width, n_layer=layers, n_head=4, use_cache=False)
    ).eval()


def plain(model: GPT2LMHeadModel, rows: torch.Tensor) -> float:
    total = 0.0
    with torch.no_grad():
        for batch in rows.split(BATCH):
            logits = model(batch[:, :-1]).logits
            total += torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum"
            ).item()
    return total


def evaluation(model: GPT2LMHeadModel, feed: Feed) -> None:
    made = Evaluation(model, feed, tokens_at_once=BATCH * BLOCK)
    while not made.over:
        made.advance()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--tokens", type=int, default=2_000_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    draws = np.random.default_rng(0)
    print(f"evaluation of {given.rows} blocks of {BLOCK} tokens, CPU seconds")
    for vocabulary, width, layers in ((768, 80, 3), (8_192, 256, 4), (50_257, 128, 2)):
        stream = draws.integers(0, vocabulary, given.rows * BLOCK + 1)
        feed = Feed.of([stream], blocks=BLOCK)
        rows = torch.from_numpy(np.stack([feed.row(i) for i in range(len(feed))]))
        model = model_of(vocabulary, width, layers)
        loop, ours = seconds(lambda m=model, r=rows: plain(m, r), lambda m=model, f=feed: evaluation(m, f))
        (bound,) = seconds(lambda f=feed: occurrences(f).nats())
        print(
            f"  vocabulary {vocabulary}, {layers} layers of {width}: plain loop {loop:.3f}, netassay {ours:.3f}, "
            f"ratio {ours / loop:.3f}; bound of all predictions {bound:.4f}"
        )

    weights = np.arange(1, 5_001) ** -1.0
    documents = Documents.of(draws.choice(5_000, given.tokens, p=weights / weights.sum()).reshape(-1, 200))
    one, eight, window = seconds(
        lambda: conditional_entropies([documents], [8]),
        lambda: conditional_entropies([documents], LENGTHS),
        lambda: contexts(documents, window=8),
        repeats=3,
    )
    print(f"lengths of context, {given.tokens:,} tokens, CPU seconds")
    print(f"  one length (8): {one:.2f}; eight lengths (1 to 128): {eight:.2f}, ratio {eight / one:.2f}")
    small = 1 << 26
    one_on_disk, eight_on_disk = seconds(
        lambda: conditional_entropies(documents.parts(1 << 16), [8], memory=small),
        lambda: conditional_entropies(documents.parts(1 << 16), LENGTHS, memory=small),
        repeats=3,
    )
    print(
        f"  on disk, in {small >> 20} MiB: one length {one_on_disk:.2f}; eight {eight_on_disk:.2f}, "
        f"ratio {eight_on_disk / one_on_disk:.2f}"
    )
    print(f"  window of 8 by the trie read forwards: {window:.2f}, {window / one:.2f} times as long as one length")


if __name__ == "__main__":
    main()
