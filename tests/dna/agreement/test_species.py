"""Another atlas: maps of cell types, their nulls, ranks; with a reader that knows the grammar of a simulated atlas."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from netassay.dna.agreement import species
from netassay.dna.atlas.grammar import HAEMATOPOIESIS
from netassay.dna.atlas.simulate import simulate_atlas
from netassay.dna.network import evaluate
from netassay.dna.network.network import predict
from netassay.errors import DataError
from netassay.nets import AITAC

NETWORK, ATLAS = ("b1", "b2", "t", "nk"), ("T", "B", "NK", "liver")


def test_several_that_stand_for_one_are_averaged_in_the_order_of_the_atlas():
    found = species.cell_type_map([("b1", "B"), ("t", "T"), ("b2", "B"), ("t", "NK")], NETWORK, ATLAS)
    output = torch.tensor([[1.0, 3, 10, 7], [0, -2, 5, 9]])
    assert found.targets == ("T", "B", "NK")
    assert found.sources == (("t",), ("b1", "b2"), ("t",))
    assert found.predictions(output).tolist() == [[10, 2, 10], [5, -1, 5]]
    assert found.heights(torch.tensor([[1.0, 2, 3, 4]])).tolist() == [[1, 2, 3]]
    assert (found.unused_sources, found.unused_targets) == (("nk",), ("liver",))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("b3", "B")], "map.csv:2: the network has no cell type 'b3'; allowed are: b1, b2, t, nk"),
        ([("b1", "Liver"), ("t", "T")], r"the atlas has no cell type 'Liver'; did you mean 'liver'\? Allowed are: T,"),
        ([("mouse", "human"), ("b1", "B")], "map.csv:2.*if this line is a header, write it as source,target"),
        ([("b1", "?!")], r"no cell type '\?!'; allowed are: T, B, NK, liver"),
        ([("b1", "B"), ("t", "T"), ("b1", "B")], "map.csv:4: the pair b1, B occurs twice"),
        ([("b1", "B"), ("t", "T")], "gives 2 of the atlas's 4 cell types.*needs 3"),
        ([], "gives 0 of"),
    ],
)
def test_maps_that_fit_neither_side_are_refused(pairs, message):
    places = [f"map.csv:{line}" for line in range(2, 2 + len(pairs))]
    with pytest.raises(DataError, match=message):
        species.cell_type_map(pairs, NETWORK, ATLAS, places=places)


def read_by(grammar_of, atlas):
    """Heights as one who knows the effects in `grammar_of` reads them from the sites in `atlas`."""
    sites, effects = atlas.truth["sites"], grammar_of.truth["effects"]
    factors = effects["factor"].unique(maintain_order=True).to_list()
    found = np.zeros((len(atlas), len(factors)))
    which = [factors.index(name) for name in sites["factor"]]
    np.add.at(found, (sites["peak"].to_numpy(), which), sites["strength"].to_numpy())
    return torch.from_numpy(found @ effects["effect"].to_numpy().reshape(len(factors), -1)).float()


@pytest.fixture(scope="module")
def atlases():
    factors = HAEMATOPOIESIS.factors
    turned = [replace(f, effects=g.effects) for f, g in zip(factors, factors[5:] + factors[:5], strict=True)]
    other = replace(HAEMATOPOIESIS, factors=tuple(turned))
    return [
        simulate_atlas(600, seed=0),
        simulate_atlas(600, seed=1),
        simulate_atlas(600, seed=1, grammar=other),
    ]


def test_the_same_grammar_agrees_and_another_grammar_or_map_does_not(atlases):
    own, same, other = atlases
    pairs = [(name, name) for name in own.cell_types]
    held = species.cell_type_map(pairs, own.cell_types, same.cell_types)

    def mean_r(predictions, atlas):
        return evaluate.scores(predictions, held.heights(atlas.heights), one_of_k=False)["r_mean"]

    read = held.predictions(read_by(own, same))
    truth = mean_r(read, same)
    assert truth > 0.6
    assert abs(mean_r(held.predictions(read_by(own, other)), other)) < 0.15
    draws = torch.Generator().manual_seed(0)
    maps = [mean_r(moved, same) for _, moved in species.permuted_maps(read, draws, 10)]
    assert len(maps) == 10
    assert abs(np.mean(maps)) < 0.1
    assert max(maps) < truth / 2
    for heights in species.permuted_rows(same.heights, draws, 3):
        assert sorted(heights[:, 0].tolist()) == sorted(same.heights[:, 0].tolist())
        rows = {tuple(row) for row in same.heights.tolist()}
        assert all(tuple(row) in rows for row in heights.tolist())
        r = evaluate.scores(read, heights, one_of_k=False)["r_mean"]
        assert abs(r) < 0.2 < truth


def test_in_permuted_maps_no_cell_type_keeps_its_own():
    few = species.permuted_maps(torch.rand(2, 4), torch.Generator(), 20)
    assert sorted(order for order, _ in few) == sorted({order for order, _ in few})
    assert len(few) == 9  # the derangements of four
    values = torch.rand(3, 7)
    many = species.permuted_maps(values, torch.Generator().manual_seed(0), 20)
    assert len(many) == 20
    for order, moved in [*few, *many]:
        assert all(a != b for a, b in enumerate(order))
        assert sorted(order) == list(range(len(order)))
        if len(order) == 7:
            assert torch.equal(moved, values[:, list(order)])


def test_rank_agreement_is_spearmans_with_its_permutation_law():
    draw = np.random.default_rng(0)
    one = draw.integers(0, 20, 25).astype(float)
    other = one + draw.normal(0, 12, 25)
    found = species.rank_agreement(one, other, torch.Generator().manual_seed(0), times=4000)
    want = stats.spearmanr(one, other)
    assert found.rho == pytest.approx(want.statistic)
    assert found.p == pytest.approx(want.pvalue, abs=0.02)
    assert found.low < found.rho < found.high
    assert found.n == 25
    same = species.rank_agreement(one, one, torch.Generator().manual_seed(0))
    assert same.rho == pytest.approx(1)
    assert same.p == pytest.approx(1 / 1000)


def test_intervals_hold_the_true_correlation_as_often_as_they_say():
    draw = np.random.default_rng(0)
    rho = 6 / np.pi * np.arcsin(0.5 / 2)  # Spearman's of a normal pair with r = 0.5
    held = 0
    for _ in range(300):
        pair = draw.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 40)
        found = species.rank_agreement(pair[:, 0], pair[:, 1], torch.Generator().manual_seed(0), times=1)
        held += found.low <= rho <= found.high
    assert 0.91 < held / 300 < 0.99


@pytest.mark.parametrize("other", [[1.0, 1, 1, 1, 1], [1.0, 2, 3, np.nan, np.nan]])
def test_where_ranks_are_not_defined_there_is_no_number(other):
    found = species.rank_agreement(np.arange(5.0), np.array(other), torch.Generator())
    assert np.isnan([found.rho, found.low, found.high, found.p]).all()


def test_a_mapped_network_predicts_what_the_map_makes_of_the_networks_predictions():
    draws = torch.Generator().manual_seed(0)
    model = AITAC(4, length=60, n_filters=6, n_channels=5, n_hidden=7, generator=draws).eval()
    found = species.cell_type_map([("b1", "B"), ("t", "T"), ("b2", "B"), ("t", "NK")], NETWORK, ATLAS)
    codes = torch.randint(0, 5, (9, 60), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    before = torch.get_rng_state()
    mapped = species.mapped_network(model, found)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(predict(mapped, codes), found.predictions(predict(model, codes)), atol=1e-5)
    assert predict(model, codes).shape == (9, 4)
    assert not mapped.training
