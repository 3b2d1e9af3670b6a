from itertools import product

import numpy as np
import torch

from netassay.dna.atlas.simulate import scan, scorer
from netassay.formats.bases import reverse_complement


def test_the_threshold_against_every_sequence():
    draw = np.random.default_rng(0)
    for p_value in (0.5, 0.05, 0.01, 1e-3):
        held = scorer(draw.dirichlet(np.ones(4), size=5).T, p_value)
        scores = np.array([held.odds[list(word), range(5)].sum() for word in product(range(4), repeat=5)])
        reach = (scores >= held.threshold).mean()
        assert scores.max() == held.best
        assert held.threshold >= held.best // 2
        assert reach <= p_value or (scores >= held.threshold).sum() == (scores == held.best).sum()
        lower = scores[scores < held.threshold].max()
        assert (scores >= lower).mean() > p_value or held.threshold == held.best // 2


def slow(codes, scorers):
    found = []
    for peak, sequence in enumerate(codes):
        for motif, held in enumerate(scorers):
            for start in range(len(sequence) - held.width + 1):
                word = sequence[start : start + held.width]
                both = [
                    sum(int(held.odds[b, i]) if b < 4 else 0 for i, b in enumerate(w))
                    for w in (word, reverse_complement(word))
                ]
                if max(both) >= held.threshold:
                    strand = 1 if both[0] >= both[1] else -1
                    found.append((peak, motif, start, strand, max(both)))
    return found


def test_sites_against_a_loop_over_words():
    draw = np.random.default_rng(1)
    scorers = [scorer(draw.dirichlet(np.ones(4) * 0.3, size=w).T, 0.01) for w in (4, 7, 5)]
    codes = draw.integers(0, 5, (6, 40)).astype(np.uint8)
    sites = scan(torch.from_numpy(codes), scorers)
    found = list(zip(*(getattr(sites, n).tolist() for n in ("peak", "motif", "start", "strand", "score")), strict=True))
    assert found == slow(codes, scorers)
    assert len(found) > 10
