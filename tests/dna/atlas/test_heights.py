import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay.dna.atlas.heights import normalise, quantile
from netassay.errors import DataError


def slow(table):
    """The definition, value by value: the mean over columns at each rank, averaged over the ranks a tie fills."""
    n, columns = len(table), len(table[0])
    ordered = [sorted(row[c] for row in table) for c in range(columns)]
    means = [sum(column[rank] for column in ordered) / columns for rank in range(n)]
    result = [[0.0] * columns for _ in range(n)]
    for c in range(columns):
        for row in range(n):
            ranks = [rank for rank in range(n) if ordered[c][rank] == table[row][c]]
            result[row][c] = sum(means[rank] for rank in ranks) / len(ranks)
    return result


@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=12))
def test_quantile_normalisation_with_ties(table):
    found = quantile(np.array(table, np.float32))
    np.testing.assert_allclose(found, slow(table), rtol=1e-6)


def test_without_ties_all_columns_have_one_distribution():
    draw = np.random.default_rng(0)
    found = quantile((draw.standard_normal((500, 4)) * [1, 2, 3, 4]).astype(np.float32))
    ordered = np.sort(found, axis=0)
    assert (ordered == ordered[:, :1]).all()
    assert found.dtype == np.float32


def test_logarithm_first_then_quantiles():
    counts = np.array([[0, 7], [3, 0], [1, 1]], np.float32)
    np.testing.assert_allclose(normalise(counts, "log2"), np.log2(counts + 1))
    np.testing.assert_allclose(normalise(counts, "log2-quantile"), slow(np.log2(counts + 1).tolist()), rtol=1e-6)
    assert normalise(counts, "none") is counts


def test_what_cannot_be_normalised():
    with pytest.raises(DataError, match="the lowest height is -1"):
        normalise(np.array([[-1.0]], np.float32), "log2")
    with pytest.raises(DataError, match="allowed are none, log2"):
        normalise(np.array([[1.0]], np.float32), "zscore")
