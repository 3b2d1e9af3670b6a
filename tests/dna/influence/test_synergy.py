"""Planted pairs of motifs in networks whose taste is known."""

import pytest
import torch
from hand_made_nets import Sites, additive, product
from torch import nn

from netassay.dna.influence.synergy import plant, spacing
from netassay.errors import DataError


def draws(seed=1):
    return torch.Generator().manual_seed(seed)


def motif(letters):
    return torch.eye(4)[:, ["ACGT".index(letter) for letter in letters]]


BACKGROUND = torch.full((6, 60), 3, dtype=torch.uint8)


def test_instances_are_written_where_they_are_said_to_start():
    found = plant(BACKGROUND[:2], torch.tensor([[0, 1, 2], [2, 2, 0]], dtype=torch.uint8), torch.tensor([5, 57]))
    assert found[0, 5:8].tolist() == [0, 1, 2]
    assert found[1, 57:].tolist() == [2, 2, 0]
    assert found.eq(3).sum() == 120 - 6


def test_an_additive_network_has_no_synergy_and_a_product_the_product():
    words = {"distances": [4, 9, 20], "orientations": ["++"], "generator": draws()}
    found = spacing(Sites(additive), motif("AAA"), motif("CCC"), BACKGROUND, **words)
    assert found.synergy.abs().max() < 1e-4
    found = spacing(Sites(product), motif("AAA"), motif("CCC"), BACKGROUND, **words)
    assert torch.allclose(found.synergy, torch.tensor([4.0, -8.0]).expand(1, 3, 2).double(), atol=1e-5)
    assert found.error.abs().max() < 1e-5
    assert found.distances.tolist() == [4, 9, 20]
    # alone neither makes a product; on its other strand CCC is GGG, whose two pairs the second output counts
    assert torch.allclose(found.alone, torch.tensor([[0.0, 0.0], [0.0, 1.0]]).double(), atol=1e-5)


class Ruler(nn.Module):
    """1 where GAT stands exactly 12 bases before CCA, both read forwards."""

    def __init__(self):
        super().__init__()
        self.match = nn.Conv1d(4, 1, 15)
        with torch.no_grad():
            self.match.weight.zero_()
            self.match.weight[0, :, :3], self.match.weight[0, :, 12:] = motif("GAT"), motif("CCA")
            self.match.bias.fill_(-5.0)

    def forward(self, x):
        return self.match(x).relu().amax(2)


def test_a_preferred_distance_and_orientation_is_found():
    found = spacing(Ruler(), motif("GAT"), motif("CCA"), BACKGROUND, generator=draws(), distances=range(4, 30))
    best = found.synergy[:, :, 0]
    assert best[0].argmax() == 8
    assert float(best[0, 8]) == 1
    assert best.sum() == 1, "no other distance or orientation"
    assert found.null[8, 0] < 1


def test_on_the_other_strand_the_pair_is_reversed():
    found = spacing(
        Ruler(), motif("TGG"), motif("ATC"), BACKGROUND, generator=draws(), distances=[12], both_strands=True
    )
    assert found.synergy[:, 0, 0].tolist() == [0.5, 0, 0, 0]


def test_widths_that_differ_by_an_odd_number_tell_the_distance_they_have():
    found = spacing(Ruler(), motif("GAT"), motif("CC"), BACKGROUND, generator=draws(), distances=[10])
    assert found.distances.tolist() == [9.5]


def test_sampled_motifs_follow_their_columns():
    flat = torch.full((4, 8), 0.25)
    found = spacing(
        Sites(product),
        flat,
        flat,
        BACKGROUND,
        generator=draws(),
        distances=[10],
        orientations=["+-"],
        sampled=True,
    )
    assert found.error.max() > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"distances": [2]}, "from 3 to 54"),
        ({"distances": [55]}, "from 3 to 54"),
        ({"distances": []}, "distances none"),
        ({"orientations": ["+?"]}, "orientation '"),
        ({"backgrounds": BACKGROUND[:1]}, "two or more"),
    ],
)
def test_what_cannot_be_planted_is_said(words, message):
    given = {"backgrounds": BACKGROUND, "generator": draws()} | words
    with pytest.raises(DataError, match=message):
        spacing(Ruler(), motif("GAT"), motif("CCA"), **given)
