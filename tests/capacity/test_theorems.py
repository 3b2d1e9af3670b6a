import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from netassay.capacity import theorems
from netassay.errors import ConfigError, ModelError

sizes = st.integers(0, 10**12)
vocabularies = st.integers(2, 10**6)


@given(sizes, vocabularies)
def test_the_theorems_in_exact_arithmetic(k, zeta):
    general = Fraction(k, zeta - 1)
    theorem = (2 + Fraction(1, zeta - 1)) * general + 2
    assert theorems.capacity_upper(k, zeta) == pytest.approx(float(general), rel=1e-15)
    assert theorems.empirical_capacity_upper(k, zeta) == pytest.approx(float(theorem), rel=1e-14)
    assert theorems.empirical_capacity_upper_tight(k, zeta) == pytest.approx(float(theorem - 1), rel=1e-14)


@given(st.integers(0, 10**9), vocabularies)
def test_the_fewest_parameters_invert_theorem_13(n, zeta):
    def reach(k):
        return (2 + Fraction(1, zeta - 1)) * Fraction(k, zeta - 1) + 2

    least = theorems.fewest_parameters(n, zeta)
    assert reach(least) >= n
    assert least == 0 or reach(least - 1) < n
    assert theorems.fewest_parameters_any_distribution(n, zeta) == n * (zeta - 1)


def test_a_vocabulary_of_one_bounds_nothing():
    assert theorems.capacity_upper(5, 1) == theorems.empirical_capacity_upper(5, 1) == math.inf
    assert theorems.fewest_parameters(1000, 1) == 0


def test_lower_bounds():
    assert theorems.decoder_capacity_lower(64) == theorems.averaging_capacity_lower(64) == 64
    assert theorems.empirical_capacity_lower(64) == 64


def test_counts_of_the_papers_experiment():
    # section 5's corpora: 182 tokens with a width of 32, 690 with 32, 690 with 256
    assert theorems.experiment_parameters(182, 32) == 10_550
    assert theorems.experiment_parameters(690, 32) == 35_442
    assert theorems.experiment_parameters(690, 256) == 193_810
    for zeta, m in [(5, 3), (690, 512)]:
        assert theorems.experiment_parameters(zeta, m) == zeta * m + 17 * (zeta + m) + 1088
        assert theorems.experiment_output_parameters(zeta, m) == zeta * m + zeta + 17 * m


class Decoder(nn.Module):
    """Equation (4), its tensors only."""

    def __init__(self, zeta, m, d, longest, heads, key, value):
        super().__init__()
        shapes = [
            (d, zeta),
            (d, longest),
            (heads, d, key),
            (heads, key, d),
            (heads, value, d),
            (d, heads * value),
        ]
        self.parts = nn.ParameterList(torch.zeros(s) for s in [*shapes, (d, m), (m,), (m, zeta)])


def experiment(zeta, m, d):
    linear = [nn.Linear(d, d) for _ in range(4)]
    return nn.ModuleList([nn.Embedding(zeta, d), *linear, nn.Linear(d, m), nn.Linear(m, zeta)])


@pytest.mark.parametrize(
    ("zeta", "m", "d", "longest", "heads", "key", "value"), [(7, 5, 4, 3, 2, 3, 1), (20, 1, 2, 9, 1, 2, 2)]
)
def test_counts_are_those_of_modules(zeta, m, d, longest, heads, key, value):
    count = theorems.decoder_parameters(zeta, m, embedding=d, longest=longest, heads=heads, key=key, value=value)
    assert count == theorems.trainable_count(Decoder(zeta, m, d, longest, heads, key, value))
    assert theorems.experiment_parameters(zeta, m, embedding=d) == theorems.trainable_count(experiment(zeta, m, d))
    for trained, count in [
        ("all", theorems.experiment_parameters(zeta, m, embedding=d)),
        ("feed_forward", theorems.experiment_output_parameters(zeta, m, embedding=d)),
        ("output", theorems.trainable_count(nn.Linear(m, zeta))),
    ]:
        assert theorems.trained_parameters(zeta, m, trained=trained, embedding=d) == count
    output = nn.Sequential(nn.Linear(d, m), nn.Linear(m, zeta))
    assert theorems.experiment_output_parameters(zeta, m, embedding=d) == theorems.trainable_count(output)
    averaging = nn.ParameterList(torch.zeros(s) for s in [(d, zeta), (longest,), (d, m), (m,), (m, zeta)])
    assert theorems.averaging_parameters(zeta, m, embedding=d, longest=longest) == theorems.trainable_count(averaging)


def test_equation_5():
    zeta, m, d, longest, m0, d0, d1 = 690, 64, 16, 10, 2, 8, 4
    expected = 1 + (d + 2) / (zeta - 1) + (2 * m0 * (d0 + d1) * d + (zeta + longest) * d) / ((zeta - 1) * m)
    found = theorems.upper_to_lower(zeta, m, embedding=d, longest=longest, heads=m0, key=d0, value=d1)
    assert found == pytest.approx(expected, rel=1e-14)


def test_what_is_trained_is_counted_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    assert theorems.trainable_count(model) == 9
    assert theorems.trainable_count(nn.ParameterList([torch.zeros(2, dtype=torch.complex64)])) == 4
    with pytest.raises(ModelError, match=r"weight.*run the module once"):
        theorems.trainable_count(nn.LazyLinear(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theorems.capacity_upper(-1, 5), "parameters is -1"),
        (lambda: theorems.empirical_capacity_upper(5, 0), "vocabulary is 0"),
        (lambda: theorems.decoder_capacity_lower(-1), "width is -1"),
        (lambda: theorems.upper_to_lower(5, 0, embedding=2, longest=3), "width is 0"),
        (lambda: theorems.fewest_parameters(-1, 5), "contexts is -1"),
    ],
)
def test_sizes_out_of_range_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
