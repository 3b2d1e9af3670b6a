"""Curves behind the outputs: of sums whose parts are known, and what they do to values."""

from itertools import combinations

import pytest
import torch

from netassay.dna.influence.synergy import fit_curves, straight_lines

PAIRS = torch.tensor(list(combinations(range(5), 2)))


def ablated(curve, n=400, together=0.0):
    """Outputs of a sum of five parts behind a curve: whole, without each part, without each pair; and the sums."""
    draws = torch.Generator().manual_seed(0)
    parts = torch.rand(n, 5, generator=draws, dtype=torch.float64) * (
        torch.rand(n, 5, generator=draws, dtype=torch.float64) < 0.5
    )

    def without(*lost):
        kept = parts.clone()
        kept[:, list(lost)] = 0.2
        return kept.sum(1) + together * kept[:, 0] * kept[:, 1]

    sums = torch.stack([without(), *(without(i) for i in range(5)), *(without(*pair) for pair in PAIRS.tolist())])
    outputs = curve(sums)[:, :, None]
    return outputs[0], outputs[1:6], outputs[6:], sums


def shares(held, curves):
    """Interaction of each pair as a share of the smaller single effect, root mean squares."""
    whole, single, double = (curves(part) for part in held[:3])
    mixed = whole - single[PAIRS[:, 0]] - single[PAIRS[:, 1]] + double
    effect = (whole - single).square().mean((1, 2)).sqrt()
    return mixed.square().mean((1, 2)).sqrt() / torch.minimum(effect[PAIRS[:, 0]], effect[PAIRS[:, 1]])


@pytest.mark.parametrize("curve", [torch.exp, torch.tanh, lambda z: torch.sigmoid(4 * z - 4), torch.sqrt, torch.square])
def test_the_sum_behind_a_curve_is_found_again(curve):
    held = ablated(curve)
    curves = fit_curves(*held[:3], PAIRS)
    assert shares(held, straight_lines(1)).min() > 0.05
    assert shares(held, curves).max() < 0.07  # the curve that bends most; others a tenth of this
    # the scale is free by a factor and an offset
    mapped = torch.cat([curves(part).flatten() for part in (held[0], held[1], held[2])])
    assert float(torch.corrcoef(torch.stack([mapped, held[3].flatten()]))[0, 1]) > 0.999


def test_a_straight_line_stays_one():
    held = ablated(lambda z: 3 * z - 1)
    values = torch.linspace(-3, 20, 50)[:, None]
    torch.testing.assert_close(fit_curves(*held[:3], PAIRS)(values), values.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("curve", [lambda z: z, torch.exp])
def test_a_pair_of_its_own_is_left_to_itself(curve):
    held = ablated(curve, together=1.0)
    left = shares(held, fit_curves(*held[:3], PAIRS))
    assert left[0] > 0.2
    assert left[1:].max() < 0.03


def test_of_too_few_pairs_no_curve_is_given():
    whole, single, double, _ = ablated(torch.exp)
    assert fit_curves(whole, single, double[:2], PAIRS[:2]).straight
    assert not fit_curves(whole, single, double[:3], PAIRS[:3]).straight


def test_values_and_slopes_are_those_of_a_rising_curve():
    curves = fit_curves(*ablated(torch.exp)[:3], PAIRS)
    values = torch.linspace(-5, 40, 4001, dtype=torch.float64)[:, None]
    mapped = curves(values)
    assert (mapped.diff(dim=0) >= 0).all()
    steep = mapped.diff(dim=0) / values.diff(dim=0)
    middle = (values[1:] + values[:-1]) / 2
    torch.testing.assert_close(steep, curves.slope(middle), rtol=0.01, atol=2e-3)
    assert torch.equal(straight_lines(2).slope(torch.ones(3, 2)), torch.ones(3, 2, dtype=torch.float64))


def test_a_constant_output_has_a_line():
    whole, single, double, _ = ablated(torch.exp)
    both = [torch.cat([part, torch.full_like(part, 2.0)], dim=-1) for part in (whole, single, double)]
    curves = fit_curves(*both, PAIRS)
    assert torch.equal(curves(both[0])[:, 1], both[0][:, 1])
    torch.testing.assert_close(curves(both[0])[:, 0], fit_curves(whole, single, double, PAIRS)(whole)[:, 0])
