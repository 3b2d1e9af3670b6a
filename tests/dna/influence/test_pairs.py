"""Interactions: hand-made networks whose answer is known, whole passes, permutations against all choices."""

from itertools import combinations

import pytest
import torch
from hand_made_nets import Sites, additive, product
from plain_aitac import PlainAITAC, random_aitac

from netassay import interactions
from netassay.dna.influence.pairs import sites_of, stratified_test
from netassay.dna.motifs.match import q_values
from netassay.dna.network.network import Network
from netassay.errors import DataError
from netassay.formats.bases import one_hot

SIZES = {"n_filters": 9, "n_channels": 12, "n_hidden": 14}


def draws(seed=1):
    return torch.Generator().manual_seed(seed)


def random_codes(n, length, seed=1):
    return torch.randint(0, 4, (n, length), generator=draws(seed), dtype=torch.uint8)


WORDS = 6  # of six bases each, one a filter


class Grammar(torch.nn.Module):
    """Words whose strongest places add up, two of them `together` beyond that, behind a curve."""

    def __init__(self, curve, seed, together=0.0):
        super().__init__()
        draw = draws(seed)
        self.words = torch.randint(0, 4, (WORDS, 6), generator=draw)
        self.conv = torch.nn.Conv1d(4, WORDS, 6)
        with torch.no_grad():
            self.conv.weight.copy_(torch.nn.functional.one_hot(self.words, 4).transpose(1, 2))
            self.conv.bias.fill_(-4.0)
        self.relu, self.curve, self.together = torch.nn.ReLU(), curve, together
        self.weights = torch.rand(WORDS, generator=draw) * 0.9 + 0.2

    def forward(self, x):
        answers = self.relu(self.conv(x)).amax(2)
        total = answers @ self.weights + self.together * answers[:, 0] * answers[:, 1]
        return self.curve(total)[:, None]

    def sequences(self, n, seed):
        draw = draws(100 + seed)
        codes = torch.randint(0, 4, (n, 60), generator=draw, dtype=torch.uint8)
        for row in codes:
            for word in self.words[torch.rand(WORDS, generator=draw) < 0.4]:
                at = int(torch.randint(0, 55, (1,), generator=draw))
                row[at : at + 6] = word.to(torch.uint8)
        return codes


BENDS = {
    "none": lambda z: z,
    "sigmoid": lambda z: torch.sigmoid(z - 1.5),
    "steep": lambda z: torch.sigmoid(3 * (z - 1.5)),
    "exponential": torch.exp,
    "root": lambda z: z.clamp(min=1e-6).sqrt(),
    "cut": lambda z: torch.relu(z - 1),
}


class Rows(Grammar):
    """Four outputs, each with weights of its own for the words, moved together by an offset of the sequence."""

    def __init__(self, curve, seed, together=0.0):
        super().__init__(curve, seed, together)
        draw = draws(1000 + seed)
        self.by_output = torch.rand(WORDS, 4, generator=draw) * 0.9 + 0.2
        self.offset = torch.nn.Conv1d(4, 1, 9)
        with torch.no_grad():
            self.offset.weight.copy_(0.3 * torch.randn(1, 4, 9, generator=draw))
            self.offset.bias.zero_()

    def forward(self, x):
        answers = self.relu(self.conv(x)).amax(2)
        total = answers @ self.by_output
        total = total + self.together * (answers[:, 0] * answers[:, 1])[:, None] * torch.tensor([1.0, 1, 0, 0])
        return self.curve(total) + 3 * self.offset(x).relu().mean((1, 2))[:, None]


def significant(curve, seed, n=800, *, rows=False, **words):
    model = (Rows if rows else Grammar)(BENDS[curve], seed, **words)
    found = interactions(
        Network(model, less_mean=rows),
        model.sequences(n, seed),
        [(i,) for i in range(WORDS)],
        layer="relu",
        generator=draws(seed),
        permutations=1000,
    )
    return [tuple(pair) for pair, q in zip(found.pairs.tolist(), found.q, strict=True) if (q < 0.05).any()], found


@pytest.mark.parametrize("curve", BENDS)
@pytest.mark.parametrize("seed", range(2))
def test_a_sum_behind_any_curve_has_no_pair(curve, seed):
    assert significant(curve, seed)[0] == []


@pytest.mark.slow
@pytest.mark.parametrize("curve", BENDS)
@pytest.mark.parametrize("rows", [False, True])
def test_of_twenty_sums_behind_a_curve_one_at_most_has_a_pair(curve, rows):
    assert sum(bool(significant(curve, seed, rows=rows)[0]) for seed in range(20)) <= 1


@pytest.mark.parametrize(("curve", "seed"), [("none", 0), ("sigmoid", 3), ("root", 5)])
def test_outputs_less_their_mean_have_no_pair_where_words_add_up(curve, seed):
    """No curve makes them additive again; by normal shares of the others these had pairs."""
    assert significant(curve, seed, rows=True)[0] == []


@pytest.mark.parametrize("together", [0.8, -0.5])
def test_a_pair_is_found_in_outputs_less_their_mean_whatever_the_offset(together):
    pairs, found = significant("none", 1, rows=True, together=together)
    assert pairs == [(0, 1)]
    assert (found.difference[0, 0] > 0) == (together > 0)
    assert float(found.difference[0].sum()) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("curve", ["none", "sigmoid", "exponential", "root", "cut"])
@pytest.mark.parametrize("together", [0.8, -0.5])
def test_a_pair_that_does_more_than_add_is_found_behind_a_curve(curve, together):
    pairs, found = significant(curve, 1, together=together)
    assert pairs == [(0, 1)]
    assert (found.difference[0, 0] > 0) == (together > 0)


def test_without_a_curve_a_bend_makes_an_interaction_of_every_pair():
    model = Grammar(BENDS["sigmoid"], 0)
    words = {"layer": "relu", "permutations": 50, "generator": draws()}
    codes, sets = model.sequences(300, 0), [(i,) for i in range(WORDS)]
    bent = interactions(model, codes, sets, curve=False, **words)
    assert (bent.effect[:, 0] < -0.1 * bent.alone[:, 0]).all()


def counts_of(codes):
    pairs = codes[:, 1:] == codes[:, :-1]
    return torch.stack([(pairs & (codes[:, 1:] == letter)).sum(1) for letter in range(3)], 1).double()


def test_an_additive_head_has_no_interactions_at_all():
    codes = random_codes(200, 40)
    found = interactions(Sites(additive), one_hot(codes), [(0,), (1,), (2,)], layer="found", generator=draws())
    assert found.by_peak.abs().max() < 1e-3  # squares and exponentials of up to thousands
    assert (found.p == 1).all()
    assert found.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]


def test_a_product_head_gives_the_product_itself():
    codes = random_codes(200, 40)
    found = interactions(
        Sites(product),
        one_hot(codes),
        [(0,), (1,), (2,)],
        layer="found",
        fill="zero",
        generator=draws(),
        curve=False,
    )
    a, b, _ = counts_of(codes).T
    assert torch.allclose(found.by_peak[0, :, 0].double(), a * b, atol=1e-5)
    assert torch.allclose(found.by_peak[0, :, 1].double(), -2 * a * b, atol=1e-5)
    assert found.by_peak[1:].abs().max() < 1e-5
    # with means in the place of the filters it is the product of the deviations
    found = interactions(Sites(product), one_hot(codes), [(0,), (1,)], layer="found", generator=draws())
    assert torch.allclose(found.by_peak[0, :, 0].double(), (a - a.mean()) * (b - b.mean()), atol=1e-4)


def test_a_pair_that_acts_together_is_found_and_others_are_not():
    codes = random_codes(600, 40)
    found = interactions(
        Sites(product),
        one_hot(codes),
        [(0,), (1,), (2,)],
        layer="found",
        generator=draws(),
        permutations=2000,
        lineages=("up", "down"),
        names=("AA", "CC", "GG"),
    )
    assert found.groups == ("up", "down")
    assert found.q[0].lt(0.01).all()
    assert found.difference[0, 0] > 0 > found.difference[0, 1]
    assert found.difference[0, 1] == pytest.approx(-2 * float(found.difference[0, 0]), rel=1e-3)
    assert found.difference[1:].abs().max() < 1e-5
    a, b, _ = counts_of(codes).T
    strengths = torch.stack([(a > 0).double(), (b > 0).double()], 1)  # the filter's answer is 1 where it answers
    both = sites_of(strengths, 0.2).all(1)
    assert int(found.both_sites[0]) == int(both.sum())
    assert found.by_output[0, 0] == pytest.approx(float(((a - a.mean()) * (b - b.mean()))[both].mean()), rel=1e-4)


@pytest.mark.parametrize("activation", ["relu", "exponential"])
def test_the_fast_way_equals_whole_passes(activation):
    model = random_aitac(4, length=101, first_activation=activation, **SIZES)
    codes, sets = random_codes(40, 101), [(0, 3), (1,), (7, 8)]
    words = {"lineages": ("a", "b", "", "a"), "permutations": 50, "curve": False}
    fast = interactions(model, codes, sets, generator=draws(), **words)
    slow = interactions(PlainAITAC(model), codes, sets, layer="norm1", generator=draws(), **words)
    assert fast.groups == ("a", "b")
    assert torch.allclose(fast.by_peak, slow.by_peak, atol=1e-5)
    with torch.inference_mode():
        h = model.stem(one_hot(codes))

        def lost(*chosen):
            changed = h.clone()
            changed[:, :, list(chosen)] = h.mean(1, keepdim=True)[:, :, list(chosen)]
            return model.head(changed)

        mixed = model.head(h) - lost(0, 3) - lost(7, 8) + lost(0, 3, 7, 8)
    assert torch.allclose(fast.by_peak[1, :, 0], (mixed[:, 0] + mixed[:, 3]) / 2, atol=1e-5)
    assert mixed.abs().max() > 1e-3


@pytest.mark.parametrize("both_strands", [False, True])
def test_sites_too_far_from_each_other_are_not_a_pair(both_strands):
    codes = torch.tensor([0, 1, 2, 3]).repeat(60, 10).to(torch.uint8)  # ACGT ..., no two alike side by side
    codes[:40, 4:6] = 0  # AA
    for row in range(20, 60):
        at = 25 + 4 * (row % 4)  # CC at 25, 29, 33 or 37
        codes[row, at : at + 2] = 1
    found = interactions(
        Sites(product),
        codes,
        [(0,), (1,)],
        layer="found",
        generator=draws(),
        site_share=0.999,
        within=25,
        permutations=20,
        both_strands=both_strands,
    )
    assert (int(found.both_sites[0]), int(found.apart[0]), int(found.one_site[0])) == (10, 10, 40)


def test_the_permutation_test_counts_as_all_choices_do():
    values = torch.randn(20, 2, generator=draws(3), dtype=torch.float64)
    values[:10, 0] += 0.4
    values += 5  # of no consequence
    both = torch.arange(20) < 10
    found = stratified_test(values, both, ~both, torch.zeros(20), permutations=5000, generator=draws())
    chosen = torch.tensor(list(combinations(range(20), 10)))
    sums = torch.zeros(len(chosen), 20, dtype=torch.float64).scatter_(1, chosen, 1.0) @ values
    differences = sums / 10 - (values.sum(0) - sums) / 10
    observed = values[:10].mean(0) - values[10:].mean(0)
    exact = (differences.abs() >= observed.abs() * (1 - 1e-9)).double().mean(0)
    assert torch.allclose(found[2], exact, atol=4 * (0.25 / 5000) ** 0.5)
    assert torch.allclose(found[0] - found[1], observed)


def test_peaks_are_matched_within_fifths_of_strength():
    # the value is the strength: in all, the rows with both lie higher; within fifths they hardly do
    strength = torch.arange(400).double() / 400
    both = torch.rand(400, generator=draws(), dtype=torch.float64) < strength
    effect, matched, p = stratified_test(strength[:, None], both, ~both, strength, permutations=500, generator=draws())
    crude = float(strength[both].mean() - strength[~both].mean())
    assert crude > 0.3
    assert abs(float(effect - matched)) < crude / 4
    assert 0 < p <= 1


def test_p_values_are_uniform_where_nothing_is_there():
    draw = draws(5)
    values = torch.randn(60, 100, generator=draw, dtype=torch.float64).exp()
    both = torch.arange(60) < 20
    p = stratified_test(values, both, ~both, torch.rand(60, generator=draw), permutations=400, generator=draw)[2]
    assert 0.35 < float(p.mean()) < 0.65
    assert float((p < 0.1).double().mean()) < 0.25


def test_too_few_peaks_are_not_tested():
    values, few = torch.randn(40, 2, generator=draws(), dtype=torch.float64), torch.arange(40) < 9
    effect, matched, p = stratified_test(values, few, ~few, torch.zeros(40), permutations=10, generator=draws())
    assert p.isnan().all()
    assert torch.allclose(effect, values[:9].mean(0))
    assert torch.allclose(matched, values[9:].mean(0))


def test_q_values_are_those_of_benjamini_and_hochberg():
    scipy = pytest.importorskip("scipy.stats")
    p = torch.rand(7, 3, generator=draws(), dtype=torch.float64) ** 3
    p[2, 1] = torch.nan
    known = ~p.isnan()
    want = torch.from_numpy(scipy.false_discovery_control(p[known].numpy()))
    assert torch.allclose(q_values(p)[known], want)
    assert q_values(p)[2, 1].isnan()


@pytest.mark.parametrize(
    ("sets", "words", "message"),
    [
        ([(0,)], {}, "make no pair"),
        ([(0,), (0, 1)], {}, "both sets hold channel 0"),
        ([(0,), (1,)], {"pairs": [(0, 2)]}, "from 0 to 1"),
        ([(0,), (1,)], {"site_share": 1.0}, "between 0 and 1"),
        ([(0,), (1,)], {"lineages": ("a",)}, "1 lineages for 2 outputs"),
        ([(0,), (5,)], {}, "from 0 to 2"),
    ],
)
def test_what_cannot_be_done_is_said(sets, words, message):
    with pytest.raises(DataError, match=message):
        interactions(Sites(product), random_codes(20, 30), sets, layer="found", generator=draws(), **words)
