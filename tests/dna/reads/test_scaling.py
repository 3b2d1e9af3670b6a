"""Factors by hand, and by the published formula of CREsted written out again."""

import numpy as np
import pytest

from netassay.dna.reads.scaling import gini, scale_factors
from netassay.errors import DataError


def test_counts_per_million_and_none():
    counts = np.array([[1.0, 3.0], [3.0, 1.0]])
    assert (counts * scale_factors(counts, "cpm")).sum(0).tolist() == [1e6, 1e6]
    assert scale_factors(counts, "none").tolist() == [1, 1]


def test_size_factors_find_the_depths():
    draw = np.random.default_rng(0)
    means = draw.gamma(2, 50, (500, 1))
    depths = np.array([1.0, 2.0, 0.5, 4.0])
    counts = draw.poisson(means * depths).astype(float)
    counts[:20, 0] *= 30  # peaks of one cell type do not move the median
    factors = scale_factors(counts, "size-factors")
    np.testing.assert_allclose(factors * depths / (factors * depths)[0], 1, atol=0.03)
    positive = counts[(counts > 0).all(1)]
    by_hand = np.median(positive / np.exp(np.log(positive).mean(1))[:, None], axis=0)
    np.testing.assert_allclose(1 / factors, by_hand)


def test_gini_by_pairs():
    row = np.array([[1.0, 4.0, 5.0, 10.0]])
    mean_difference = np.abs(row[0][:, None] - row[0][None]).mean()
    assert gini(row)[0] == pytest.approx(mean_difference / (2 * row.mean()), rel=1e-6)
    assert gini(np.ones((1, 5)))[0] == pytest.approx(0, abs=1e-9)


def as_crested_does(matrix, share=0.01, deviations=1.0):
    """normalize_peaks of CREsted 1.4, for a matrix without zeros."""

    def index(values):
        values = np.sort(values + 1e-7)
        number = np.arange(1, len(values) + 1)
        return ((2 * number - len(values) - 1) * values).sum() / (len(values) * values.sum())

    scores = np.array([index(row) for row in matrix])
    limit = scores.mean() - deviations * scores.std()
    tops = []
    for column in matrix.T:
        count = int(len(column) * share)
        order = np.argsort(column)[::-1][:count]
        low = np.flatnonzero(scores[order] < limit)
        tops.append(np.sort(column)[::-1][low].mean())
    return max(tops) / np.array(tops)


def test_specificity_is_that_of_crested():
    draw = np.random.default_rng(1)
    shared = draw.gamma(4, 20, (4000, 1)) * np.ones((1, 5))
    own = draw.gamma(0.3, 5, (4000, 5))
    matrix = np.where(draw.random((4000, 1)) < 0.2, shared, own) * np.array([1, 2, 3, 0.5, 1]) + 0.01
    np.testing.assert_allclose(scale_factors(matrix, "specificity"), as_crested_does(matrix), rtol=1e-9)


@pytest.mark.parametrize(
    ("counts", "kind", "words"),
    [
        ([[1.0, 0.0]], "cpm", "number 2 has no count"),
        ([[1.0, -1.0]], "cpm", "lowest height is -1"),
        ([[1.0, 0.0], [0.0, 1.0]], "size-factors", "no peak has a count in every"),
        ([[1.0, 2.0]], "specificity", "none is alike"),
        ([[1.0]], "rpkm", "allowed are none, cpm"),
    ],
)
def test_what_cannot_be_scaled(counts, kind, words):
    with pytest.raises(DataError, match=words):
        scale_factors(np.array(counts), kind)
