"""Areas under curves by scikit-learn, their intervals, and the lower bound of their ceiling."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from netassay.dna.ceiling.areas import area_floor, area_intervals
from netassay.dna.ceiling.bootstrap import Blocks, blocks_of


@pytest.mark.parametrize("ties", [False, True])
def test_areas_are_those_of_scikit_learn(ties):
    draw = np.random.default_rng(0)
    truth = draw.random(200) < 0.2
    guess = truth + draw.standard_normal(200)
    guess = np.round(guess) if ties else guess
    found = area_intervals(guess, truth, Blocks(np.arange(200), ""), repeats=50)
    assert found.auroc.value == pytest.approx(roc_auc_score(truth, guess))
    assert found.auprc.value == pytest.approx(average_precision_score(truth, guess))
    assert found.auroc.low < found.auroc.value < found.auroc.high
    # Hanley and McNeil's standard error
    a, n, m = found.auroc.value, truth.sum(), (~truth).sum()
    q1, q2 = a / (2 - a), 2 * a**2 / (1 + a)
    error = np.sqrt((a * (1 - a) + (n - 1) * (q1 - a**2) + (m - 1) * (q2 - a**2)) / (n * m))
    assert (found.auroc.high - found.auroc.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.35)


def test_one_kind_has_no_area():
    assert np.isnan(area_intervals(np.arange(5.0), np.ones(5, bool), Blocks(np.arange(5), "")).auroc.value)


def test_the_floor_lies_below_a_perfect_model():
    draw = np.random.default_rng(1)
    truth = draw.standard_normal((1000, 2))
    halves = truth[..., None] + 0.7 * draw.standard_normal((1000, 2, 2))
    blocks = blocks_of(pl.DataFrame({"chromosome": ["chr1"] * 1000, "start": range(1000)}))
    for column, floor in enumerate(area_floor(halves, 0.0, blocks)):
        perfect = np.mean([roc_auc_score(halves[:, column, half] > 0, truth[:, column]) for half in (0, 1)])
        by_hand = np.mean([roc_auc_score(halves[:, column, half] > 0, halves[:, column, 1 - half]) for half in (0, 1)])
        assert floor.auroc.value == pytest.approx(by_hand)
        assert 0.6 < floor.auroc.value < perfect
