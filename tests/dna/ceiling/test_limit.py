"""Ceilings where the truth is known: of Gaussian halves by formula, of simulated cells by a perfect model."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from netassay import score_ceiling, simulate_atlas
from netassay.dna.ceiling import reliability
from netassay.dna.ceiling.limit import ceiling_of
from netassay.errors import DataError


def places(n):
    return pl.DataFrame({"chromosome": ["chr1"] * n, "start": np.arange(n)})


def gaussian(n, types, spread, seed=0):
    """Halves about a signal, and the score of the signal against their mean."""
    draw = np.random.default_rng(seed)
    signal = draw.standard_normal((n, types)) * spread
    halves = signal[..., None] + draw.standard_normal((n, types, 2))
    return halves, signal


def test_correlations_are_those_of_scipy():
    draw = np.random.default_rng(0)
    first, second = draw.random((2, 5, 7))
    ours = reliability.correlations(first, second)
    np.testing.assert_allclose(ours, [stats.pearsonr(a, b)[0] for a, b in zip(first, second, strict=True)])
    assert np.isnan(reliability.correlations(np.ones((1, 4)), second[:1, :4]))[0]


def test_many_cell_types_give_the_formula():
    halves, signal = gaussian(600, 60, 1.0)
    found = ceiling_of(halves, places(600))
    r = 0.5  # of signal to signal and noise
    assert found.overall.value == pytest.approx(np.sqrt(2 * r / (1 + r)), abs=0.015)
    score = reliability.correlations(signal, halves.mean(2)).mean()
    assert found.overall.low <= score <= found.overall.high
    assert found.share(score / 2) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("types", [19])
def test_few_cell_types_of_mixed_reliability(types):
    """Where the mean of the formula and the formula of the mean are both wrong."""
    draw = np.random.default_rng(types)
    spread = np.where(draw.random((2000, 1)) < 0.5, 0.3, 2.0)
    halves, signal = gaussian(2000, types, spread, seed=types)
    score = reliability.correlations(signal, halves.mean(2)).mean()
    found = ceiling_of(halves, places(2000))
    assert abs(found.overall.value - score) < 0.03
    assert found.overall.low - 0.01 <= score <= found.overall.high + 0.01
    r = reliability.correlations(halves[..., 0], halves[..., 1])
    of_mean = np.sqrt(reliability.spearman_brown(r.mean()))
    assert abs(of_mean - score) > abs(found.overall.value - score)
    # peaks of a strong signal have the higher ceilings
    each = found.peaks["ceiling"].to_numpy()
    assert each[spread[:, 0] > 1].mean() > each[spread[:, 0] < 1].mean() + 0.1
    assert each.mean() == pytest.approx(found.overall.value, abs=0.03)


def test_cell_types_by_hand():
    halves, signal = gaussian(2000, 3, np.array([0.5, 1.0, 3.0]), seed=1)
    found = ceiling_of(halves, places(2000), cell_types=("a", "b", "c")).cell_types
    for column, row in enumerate(found.iter_rows(named=True)):
        r = stats.pearsonr(halves[:, column, 0], halves[:, column, 1])[0]
        assert row["r_halves"] == pytest.approx(r)
        assert row["ceiling"] == pytest.approx(np.sqrt(2 * r / (1 + r)))
        truth = stats.pearsonr(signal[:, column], halves[:, column].mean(1))[0]
        assert row["low"] <= truth <= row["high"]


def test_against_one_of_two_replicates():
    halves, signal = gaussian(3000, 10, 1.0)
    found = ceiling_of(halves, places(3000), target="one")
    score = reliability.correlations(signal, halves[..., 0]).mean()
    assert found.overall.low <= score <= found.overall.high
    both = ceiling_of(halves, places(3000))
    assert both.overall.low > found.overall.high


def test_noise_alone_has_no_ceiling():
    halves, _ = gaussian(500, 8, 0.0)
    found = ceiling_of(halves, places(500))
    assert found.note.startswith("no ceiling can be given") and np.isnan(found.overall.value)
    assert found.peaks["ceiling"].null_count() == 500 and found.share(0.3) is None
    assert found.cell_types["ceiling"].null_count() >= 6
    few = ceiling_of(halves[:, :2], places(500))
    assert "2 cell types" in few.note


def inside(seed, cells, depth):
    atlas = simulate_atlas(800, length=80, seed=seed, cells=cells, depth=depth)
    truth = atlas.truth["signal"].to_numpy()
    found = score_ceiling(atlas)
    score = reliability.correlations(truth, atlas.heights.numpy()).mean()
    assert abs(found.overall.value - score) < 0.015
    return found.overall.low <= score <= found.overall.high


def test_a_perfect_model_scores_the_ceiling():
    assert inside(0, cells=50, depth=2000)


@pytest.mark.slow
@pytest.mark.parametrize(("cells", "depth"), [(40, 2500), (100, 5000)])
def test_a_perfect_model_is_within_in_19_of_20_seeds(cells, depth):
    assert sum(inside(seed, cells, depth) for seed in range(20)) >= 19


def test_a_replicate_and_what_does_not_fit():
    atlas = simulate_atlas(200, length=80, cells=40, depth=3000)
    other = simulate_atlas(200, length=80, cells=40, depth=3000)
    assert score_ceiling(atlas, replicate=other).reliability.value == pytest.approx(1)
    with pytest.raises(DataError, match="holds no halves"):
        score_ceiling(simulate_atlas(50, length=80))
    with pytest.raises(DataError, match="has no peak 'simulated_150' "):
        score_ceiling(atlas, replicate=simulate_atlas(150, length=80))
    with pytest.raises(DataError, match="no peak on chrX"):
        score_ceiling(atlas, chromosomes=["chrX"])
    part = score_ceiling(atlas, chromosomes=["1", "chr2"])
    assert len(part.peaks) == 40
    with pytest.raises(DataError, match="cells = 1"):
        simulate_atlas(50, length=80, cells=1)
