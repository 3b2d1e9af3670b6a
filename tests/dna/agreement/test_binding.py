"""Agreement with an experiment, against tables made by hand and sites scored letter by letter."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from netassay.dna.agreement import binding
from netassay.errors import DataError
from netassay.formats.motifs import Motifs


def test_counts_and_odds_are_those_of_a_table_made_by_hand():
    # 100 peaks, the largest ten of which hold six of the ten marked ones
    values = np.arange(100.0)[:, None]
    marked = np.zeros(100, bool)
    marked[[3, 17, 40, 60, 90, 91, 92, 93, 94, 95]] = True
    row = binding.associations(values, marked, share=0.1).row(0, named=True)
    counts = [row[key] for key in ("filter", "large", "large_marked", "other", "other_marked")]
    assert counts == [0, 10, 6, 90, 4]
    # Fisher: the hypergeometric chance of six or more, nothing on the other side being as unlikely
    assert row["p"] == pytest.approx(stats.hypergeom.sf(5, 100, 10, 10))
    # Conditional estimate: the odds under which six are expected (Fisher's noncentral law)
    law = [math.comb(10, x) * math.comb(90, 10 - x) for x in range(11)]
    w = [chance * row["odds_ratio"] ** x for x, chance in enumerate(law)]
    assert sum(x * v for x, v in enumerate(w)) / sum(w) == pytest.approx(6, rel=1e-6)
    for end, tail in (("low", range(6, 11)), ("high", range(7))):
        w = [chance * row[end] ** x for x, chance in enumerate(law)]
        assert sum(w[x] for x in tail) / sum(w) == pytest.approx(0.025, rel=1e-6)


def test_only_peaks_with_a_site_are_compared_where_asked():
    values = np.stack([np.arange(40.0), np.ones(40), np.arange(40.0)], axis=1)
    marked = np.arange(40) % 4 == 0
    among = np.ones((40, 3), bool)
    among[:20, 0] = False
    among[:, 2] = False
    frame = binding.associations(values, marked, share=0.25, among=among)
    assert frame["large"].to_list() == [5, 0, 0]
    assert frame["other"].to_list() == [15, 40, 0]
    assert frame["p"].null_count() == 2
    assert frame["q"][0] == frame["p"][0]
    assert frame["q"].null_count() == 2


def test_q_values_are_those_of_benjamini_and_hochberg():
    draw = np.random.default_rng(0)
    marked = draw.random(300) < 0.2
    values = draw.random((300, 6)) + marked[:, None] * np.array([0, 0.2, 0.4, 0.6, 0.8, 1])
    frame = binding.associations(values, marked)
    p = frame["p"].to_numpy()
    order = np.argsort(p)
    want = np.empty(6)
    for place in range(6):
        want[order[place]] = min(p[order[j]] * 6 / (j + 1) for j in range(place, 6))
    assert frame["q"].to_numpy() == pytest.approx(np.minimum(want, 1))
    assert frame["odds_ratio"][5] > 3 > frame["odds_ratio"][0]


def test_enrichment_counts_tied_peaks_as_their_mean_over_orders():
    values = np.array([5.0, 3, 3, 3, 1, 1])
    marked = np.array([True, True, False, False, False, True])
    frame = binding.enrichment(values, marked, [k / 6 for k in range(1, 7)])
    for peaks, found in frame.select("peaks", "marked").rows():
        orders = [
            sum(marked[i] for i in (0, *middle, *last)[:peaks])
            for middle in itertools.permutations((1, 2, 3))
            for last in itertools.permutations((4, 5))
        ]
        assert found == pytest.approx(np.mean(orders))
    assert frame["fold"].to_list()[0] == 2.0
    assert frame["fold"].to_list()[-1] == 1.0


def test_enrichment_of_a_random_order_stays_within_its_band():
    draw = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        frame = binding.enrichment(draw.random(200), np.arange(200) < 30, [0.25])
        inside.append(frame["low"][0] <= frame["fold"][0] <= frame["high"][0])
    assert 0.92 < np.mean(inside) <= 1.0


def brute_best(codes, odds):
    both = []
    for kernel in (odds, odds[::-1, ::-1]):
        for start in range(len(codes) - odds.shape[1] + 1):
            window = codes[start : start + odds.shape[1]]
            both.append(sum(kernel[base, j] for j, base in enumerate(window) if base < 4))
    return max(both)


def test_the_best_site_is_that_of_every_place_on_both_strands():
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet(np.ones(4), 7).T
    codes = draw.integers(0, 5, (25, 20)).astype(np.uint8)
    found = binding.best_site(torch.from_numpy(codes), probabilities)
    want = [brute_best(row, np.log2(4 * probabilities)) for row in codes]
    assert found == pytest.approx(np.array(want), abs=1e-4)
    with pytest.raises(DataError, match=r"21 bases wide.*20"):
        binding.best_site(torch.from_numpy(codes), np.full((4, 21), 0.25))


def test_gc_content_is_a_share_of_the_known_bases():
    codes = torch.tensor([[1, 2, 0, 3], [1, 1, 4, 0], [4, 4, 4, 4]], dtype=torch.uint8)
    assert binding.gc_content(codes) == pytest.approx([0.5, 2 / 3, 0.5])


def test_a_factor_is_found_by_id_or_by_title_in_either_case():
    matrices = [torch.full((4, width), 5.0, dtype=torch.float64) for width in (6, 8, 7)]
    database = Motifs.of_matrices(["M1", "M2", "M3"], matrices, [20] * 3, ["SPI1", "Ctcf", "CTCF"])
    for factor, name in (("M3", "M3"), ("spi1", "M1"), ("CTCF", "M2")):
        found = binding.factor_motif(database, factor)
        assert found.names == (name,)
        assert int(found.seen.sum()) == matrices[int(name[1]) - 1].shape[1]
    with pytest.raises(DataError, match=r"none of the 3 motifs of the database is called 'ctfc'; did you mean 'CTCF'"):
        binding.factor_motif(database, "ctfc")
    with pytest.raises(DataError, match="'@'; give the name or id of one of them"):
        binding.factor_motif(database, "@")


@pytest.mark.parametrize(
    ("marks", "message"), [(np.zeros(9, bool), "none of the 9"), (np.ones(9, bool), "all 9 peaks")]
)
def test_nothing_to_compare_is_said(marks, message):
    with pytest.raises(DataError, match=message):
        binding.associations(np.random.default_rng(0).random((9, 2)), marks)
    with pytest.raises(DataError, match=message):
        binding.enrichment(np.arange(9.0), marks, [0.5])
