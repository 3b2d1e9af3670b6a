"""Nulls keep what they say and lose the rest."""

from collections import Counter
from itertools import pairwise, permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netassay.dna.atlas.atlas import permute_cells, permute_rows, shuffle_dinucleotides, shuffle_mononucleotides


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def codes(n=300, length=60):
    return torch.randint(0, 4, (n, length), generator=draws(9)).to(torch.uint8)


def pairs(row):
    return Counter(pairwise(row.tolist()))


def test_rows_stay_whole_and_move():
    heights = torch.randn(50, 4, generator=draws())
    found = permute_rows(heights, draws(1))
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, heights.tolist()))
    assert (found != heights).any(1).sum() > 40


def test_cells_move_within_each_peak():
    heights = torch.randn(50, 6, generator=draws())
    found = permute_cells(heights, draws(1))
    assert torch.equal(found.sort(1).values, heights.sort(1).values)
    assert (found != heights).any(1).sum() > 40
    # each peak in an order of its own
    orders = {tuple(row.argsort().argsort().tolist()) for row in (found - 0)}
    assert len(orders) > 40


def test_mononucleotides_are_kept():
    given_codes = codes()
    found = shuffle_mononucleotides(given_codes, draws(1))
    assert torch.equal(found.sort(1).values, given_codes.sort(1).values)
    assert (found != given_codes).any(1).all()


def test_dinucleotides_are_kept_exactly():
    given_codes = codes()
    given_codes[::7, 20:25] = 4  # unknown bases are a letter too
    given_codes[5] = 2
    found = shuffle_dinucleotides(given_codes, draws(1))
    for before, after in zip(given_codes, found, strict=True):
        assert pairs(before) == pairs(after)
        assert before[0] == after[0]
        assert before[-1] == after[-1]
    assert (found != given_codes).any(1).sum() >= len(given_codes) - 1
    # what they do not keep: triplets
    triplets = [Counter(zip(r, r[1:], r[2:], strict=False)) for r in (given_codes[1].tolist(), found[1].tolist())]
    assert triplets[0] != triplets[1]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 1000))
def test_dinucleotides_of_any_sequence(row, seed):
    one = torch.tensor([row], dtype=torch.uint8)
    assert pairs(shuffle_dinucleotides(one, draws(seed))[0]) == pairs(one[0])


def test_every_arrangement_comes_equally_often():
    row = (0, 1, 0, 2, 1, 1, 2, 0)
    same = {
        (0, *middle, 0)
        for middle in permutations(row[1:-1])
        if pairs(torch.tensor((0, *middle, 0))) == pairs(torch.tensor(row))
    }
    n = 400 * len(same)
    found = shuffle_dinucleotides(torch.tensor([row] * n, dtype=torch.uint8), draws(3))
    counts = Counter(map(tuple, found.tolist()))
    assert set(counts) == same
    chi_square = sum((count - 400) ** 2 / 400 for count in counts.values())
    assert chi_square < len(same) + 4 * (2 * len(same)) ** 0.5


@pytest.mark.parametrize("shuffle", [shuffle_mononucleotides, shuffle_dinucleotides])
def test_the_generator_alone_decides(shuffle):
    given_codes = codes(20)
    assert torch.equal(shuffle(given_codes, draws(1)), shuffle(given_codes, draws(1)))
    assert not torch.equal(shuffle(given_codes, draws(1)), shuffle(given_codes, draws(2)))
