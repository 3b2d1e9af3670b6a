"""Blocks of the genome, and the share of bootstrap intervals that hold the truth."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from netassay.dna.ceiling.bootstrap import Blocks, blocks_of, mean_interval


def test_blocks_by_hand():
    five = pl.DataFrame({"chromosome": ["chr1"] * 12 + ["chr2"], "start": [5_000_000 * i for i in range(12)] + [1]})
    blocks = blocks_of(five)
    assert (blocks.words, blocks.total) == ("blocks of 5 Mb", 13)
    near = five.with_columns(pl.col("start") // 10)
    assert blocks_of(near).words == "single peaks"
    ten = pl.DataFrame({"chromosome": [f"chr{i % 10}" for i in range(40)], "start": range(40)})
    assert blocks_of(ten).words == "chromosomes"
    assert len({*zip(blocks_of(ten).codes.tolist(), ten["chromosome"], strict=True)}) == 10
    assert blocks_of(ten.with_columns(start=pl.lit(None, pl.Int64))).words == "single peaks"


def test_equal_to_scipy_on_single_peaks():
    values = np.random.default_rng(0).exponential(size=300)
    ours = mean_interval(values, Blocks(np.arange(300), "single peaks"))
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=2000, rng=np.random.default_rng(1))
    assert ours.value == pytest.approx(values.mean())
    np.testing.assert_allclose(ours[1:], theirs.confidence_interval, atol=0.02)


def test_nothing_known():
    assert np.isnan(mean_interval(np.array([np.nan, np.nan]), Blocks(np.arange(2), "single peaks"))).all()


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Values of a block are alike, so that single peaks would give intervals that are far too narrow."""
    draw = np.random.default_rng(2)
    codes = np.repeat(np.arange(60), 20)
    held = {"blocks": 0, "peaks": 0}
    for _ in range(100):
        values = np.repeat(draw.standard_normal(60), 20) + 0.5 * draw.standard_normal(1200)
        for name, blocks in (("blocks", Blocks(codes, "")), ("peaks", Blocks(np.arange(1200) % 300, ""))):
            found = mean_interval(values, blocks, repeats=200)
            held[name] += found.low <= 0 <= found.high
    assert 0.89 <= held["blocks"] / 100 <= 0.985
    assert held["peaks"] / 100 < 0.6
