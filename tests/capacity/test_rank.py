from fractions import Fraction

import pytest
import torch

from netassay.capacity.rank import POLYNOMIALS, _matrix, ranks
from netassay.errors import ConfigError


def exact_rank(rows):
    """Over the rational numbers, where a pivot is zero or not."""
    rows = [list(row) for row in rows]
    rank = 0
    for column in range(len(rows[0])):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][column] / rows[rank][column]
            rows[i] = [x - factor * y for x, y in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


@pytest.mark.parametrize("activation", list(POLYNOMIALS))
@pytest.mark.parametrize(("n", "m"), [(3, 5), (6, 4), (9, 9)])
def test_polynomials_have_the_rank_of_exact_arithmetic(activation, n, m):
    a = [Fraction(i * i + 1, 7) for i in range(n)]
    b = [Fraction(3 * j + 1, 5) for j in range(m)]
    rows = [[sum((x * y) ** p for p in POLYNOMIALS[activation]) for y in b] for x in a]
    expected = min(n, m, len(POLYNOMIALS[activation]))
    assert exact_rank(rows) == expected
    found = {row.arithmetic: row for row in ranks([activation], sizes=[n], widths=[m])}
    assert found["400 digits"].measured == found["400 digits"].theorem == expected


@pytest.mark.parametrize("activation", ["tanh", "gelu", "sigmoid", "sin", "exp"])
def test_analytic_activations_have_full_rank_that_float64_does_not_keep(activation):
    found = {(row.n, row.arithmetic): row for row in ranks([activation], sizes=[4, 24])}
    for n in (4, 24):
        assert found[n, "400 digits"].measured == found[n, "400 digits"].theorem == n
    assert found[4, "float64"].measured == 4
    assert found[24, "float32"].measured < found[24, "float64"].measured < 24


def test_the_matrix_is_the_activation_of_the_outer_product():
    for name, function in [("tanh", torch.tanh), ("gelu", torch.nn.functional.gelu), ("sin", torch.sin)]:
        a, b = [0.3, -1.2], [2.0, 0.1, -0.7]
        made = torch.tensor([[float(x) for x in row] for row in _matrix(name, a, b, 60)], dtype=torch.float64)
        expected = function(torch.outer(*(torch.tensor(x, dtype=torch.float64) for x in (a, b))))
        torch.testing.assert_close(made, expected, rtol=1e-14, atol=1e-15)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ConfigError, match="activation 'relu': allowed are tanh"):
        ranks(["relu"])
    with pytest.raises(ConfigError, match="four digits a row"):
        ranks(["tanh"], sizes=[32], digits=100)
    with pytest.raises(ConfigError, match="n = 2 and m = 4097: at most 4,096 entries"):
        ranks(["tanh"], sizes=[2], widths=[4097])
    with pytest.raises(ConfigError, match="n = 0"):
        ranks(["tanh"], sizes=[0])
