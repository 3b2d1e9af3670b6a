import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from netassay.numerics.ranking import average_precision, roc_area


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [2, 5, 1_000_000])
@pytest.mark.parametrize("size", [2, 3, 10, 1000])
def test_areas_are_those_of_scikit_learn_to_the_last_bit(kind, levels, size):
    draws = np.random.default_rng([levels, size])
    for _ in range(10):
        truth = draws.random(size) < 0.3
        truth[:2] = True, False
        scores = draws.integers(levels, size=size).astype(kind) / kind(3)
        assert roc_area(truth, scores) == roc_auc_score(truth, scores)
        assert average_precision(truth, scores) == average_precision_score(truth, scores)


def test_the_area_is_the_share_of_pairs_in_order():
    draws = np.random.default_rng(0)
    truth, scores = draws.random(60) < 0.4, draws.integers(8, size=60).astype(float)
    pairs = [(up > low) + (up == low) / 2 for up in scores[truth] for low in scores[~truth]]
    assert roc_area(truth, scores) == pytest.approx(np.mean(pairs))
