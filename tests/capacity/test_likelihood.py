"""Losses a few rows at a time, against logarithms of softmax row by row, ties and 16 bits included."""

import math

import pytest
import torch

from netassay.capacity import likelihood


@pytest.mark.parametrize("in_cache", [1, 23, 1 << 19])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_losses_and_likeliest_tokens_are_those_of_each_row(in_cache, dtype, monkeypatch):
    monkeypatch.setattr(likelihood, "LOGITS_IN_CACHE", in_cache)
    draws = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(3, 5, 7, generator=draws)).round(decimals=0).to(dtype)  # many ties
    logits[0, 0, 3] = -math.inf
    targets = torch.randint(7, (3, 5), generator=draws)
    targets[0, 0] = 2
    losses, right = likelihood.losses_of(logits, targets)
    ties = 0
    for i in range(3):
        for t in range(5):
            row = [float(x) for x in logits[i, t]]
            truth = math.log(sum(math.exp(x) for x in row)) - row[int(targets[i, t])]
            assert float(losses[i, t]) == pytest.approx(truth, rel=1e-6, abs=1e-6)
            assert bool(right[i, t]) == (row.index(max(row)) == int(targets[i, t]))
            ties += row.count(max(row)) > 1 and row[int(targets[i, t])] == max(row) and not bool(right[i, t])
    assert ties
