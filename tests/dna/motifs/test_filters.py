"""Motifs of filters against windows cut out one by one."""

import math

import pytest
import torch
from torch import nn

from netassay.dna.motifs.filters import filter_motifs, well_predicted
from netassay.dna.network.layers import activations
from netassay.errors import DataError
from netassay.formats.bases import encode, one_hot
from netassay.nets import AITAC


def random_codes(n, length, letters=5, seed=1):
    return torch.randint(0, letters, (n, length), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def network(length=60, **changes):
    g = torch.Generator().manual_seed(0)
    model = AITAC(3, length=length, n_filters=10, n_channels=6, n_hidden=8, generator=g, **changes)
    with torch.no_grad():
        for norm in (model.norm1, model.norm2):
            norm.weight.normal_(generator=g)
            norm.bias.normal_(0, 0.3, generator=g)
            norm.running_mean.normal_(0.1, 0.1, generator=g)
    return model.eval()


def slow(active, codes, field):
    """Counts (filters, 4, width) and what else is told of the sites, by a loop over them."""
    counts = torch.zeros(active.shape[1], 4, field.width, dtype=torch.float64)
    letters = codes.tolist()
    for peak, channel, place in active.nonzero().tolist():
        for column in range(field.width):
            at = field.first + field.stride * place + column
            if 0 <= at < codes.shape[1] and letters[peak][at] < 4:
                counts[channel, letters[peak][at], column] += 1
    return counts, active.sum((0, 2)), active.any(2)


def agrees(found, values, codes, heights, thresholds):
    active = values > thresholds.to(values)[:, None]
    counts, sites, seen = slow(active, codes, found.field)
    assert sites.sum() > 50
    assert torch.equal(found.counts, counts)
    assert torch.equal(found.sites, sites)
    assert torch.equal(found.peaks, seen.sum(0))
    assert torch.equal(found.positions, active.sum(0))
    told = found.peaks > 0
    profile = (seen.T.double() @ heights.double()) / seen.sum(0)[:, None]
    assert torch.allclose(found.profile[told], profile[told])
    assert bool(found.profile[~told].isnan().all())


@pytest.mark.parametrize("layer", ["convolution1", "convolution2", "convolution3"])
@pytest.mark.parametrize("first", ["relu", "exponential"])
def test_counts_are_those_of_a_loop_over_sites(layer, first):
    model, codes = network(first_activation=first).double(), random_codes(25, 60)
    heights = torch.randn(25, 3, generator=torch.Generator().manual_seed(2))
    found = filter_motifs(model, codes, layer, heights=heights, batch=7)
    values = activations(model, codes, layer)
    most = values.amax((0, 2)).clamp(min=0)
    assert torch.allclose(found.references, most, rtol=1e-6)
    agrees(found, values, codes, heights, found.thresholds)
    assert torch.allclose(found.thresholds, most / 2, rtol=1e-6)


def test_the_first_layer_is_that_of_the_network():
    model, codes = network(), random_codes(9, 60)
    with torch.no_grad():
        assert torch.allclose(activations(model, codes), model.first_layer(one_hot(codes)), atol=1e-6)


def test_one_hot_sequences_are_read_as_their_codes():
    model, codes = network(), random_codes(9, 60)
    a, b = filter_motifs(model, codes), filter_motifs(model, one_hot(codes))
    assert torch.equal(a.counts, b.counts)
    assert torch.equal(a.positions, b.positions)
    assert a.profile is None


class Hand(nn.Module):
    """Two filters written by hand, for ACGT and for GG after anything, and one that is never active."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(4, 3, 4), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(3, 2))
        with torch.no_grad():
            weight, bias = torch.zeros(3, 4, 4), torch.tensor([-2.0, -1.0, -9.0])
            for place, base in enumerate((0, 1, 2, 3)):
                weight[0, base, place] = 1.0
            weight[1, 2, 2:] = 1.0
            self.body[0].weight.copy_(weight)
            self.body[0].bias.copy_(bias)

    def forward(self, x):
        return self.body(x)


def test_motifs_of_filters_written_by_hand():
    codes = torch.stack(
        [torch.from_numpy(encode(word).copy()) for word in ("ACGTTTTT", "TTACGATT", "TTTTTAGG", "NNCCCCCC")]
    )
    found = filter_motifs(Hand(), codes, "body.0", heights=torch.tensor([[1.0], [2.0], [5.0], [7.0]]))
    # filter 0 reaches 2 at ACGT and 1, which is not more than half of it, at ACGA: one site
    assert found.sites.tolist() == [1, 1, 0]
    assert found.silent == ("filter_2",)
    assert found.references.tolist() == [2, 1, 0]
    assert "".join("ACGT"[i] for i in found.counts[0].argmax(0)) == found.consensus[0] == "ACGT"
    # of TAGG
    assert found.counts[1].nonzero().tolist() == [[0, 1], [2, 2], [2, 3], [3, 0]]
    assert found.information[:2].tolist() == [[2.0] * 4] * 2
    assert found.information[2].tolist() == [0.0] * 4
    assert found.profile[:2, 0].tolist() == [1, 5]
    # at a lower threshold both places are sites
    lower = filter_motifs(Hand(), codes, "body.0", threshold=0.4)
    assert lower.counts[0, :, 3].tolist() == [1, 0, 0, 1]
    assert lower.peaks.tolist() == [2, 1, 0]


def test_random_dna_gives_the_background():
    """A filter that is active everywhere sees what is there, at the ends less of it."""
    model, codes = network().double(), random_codes(300, 60, letters=4)
    with torch.no_grad():
        model.convolution1.weight.zero_()
        model.convolution1.bias.fill_(1)
    found = filter_motifs(model, codes)
    assert found.sites.tolist() == [300 * 60] * 10
    assert found.counts[0].sum(0).tolist() == [300 * (60 - abs(column - 9)) for column in range(19)]
    assert found.information.max() < 1e-3
    assert set(found.consensus) == {""}


def test_a_quantile_instead_of_the_maximum():
    model, codes = network(), random_codes(200, 60)
    most = activations(model, codes).amax(2)
    for quantile in (0.5, 0.9, 1.0):
        found = filter_motifs(model, codes, quantile=quantile, batch=64)
        rank = math.ceil(quantile * 200) - 1
        want = most.sort(0).values[rank].double()
        assert torch.allclose(found.references, want, rtol=0.008)
        assert bool((found.references >= want * (1 - 1e-6)).all())


def test_pseudocounts_and_background():
    model, codes = network(), random_codes(50, 60)
    law = (0.3, 0.2, 0.2, 0.3)
    found = filter_motifs(model, codes, pseudocount=2, background=law)
    q = torch.tensor(law, dtype=torch.float64)[:, None]
    counts = found.counts + 2 * q
    p = counts / counts.sum(1, keepdim=True)
    bits = (p * (p / q).log2()).sum(1)
    assert torch.allclose(found.pwm, p)
    assert torch.allclose(found.information, bits)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"threshold": 1.0}, "threshold 1.0"),
        ({"quantile": 0.0}, "quantile 0.0"),
        ({"heights": torch.zeros(2, 3)}, "3 sequences"),
        ({"sequences": torch.zeros(0, 60, dtype=torch.uint8)}, "no sequences"),
        ({"sequences": torch.full((2, 60), 7, dtype=torch.uint8)}, "has code 7"),
        ({"sequences": torch.full((2, 4, 60), 0.5)}, "single 1"),
    ],
)
def test_numbers_and_sequences_that_mean_nothing(words, says):
    given = {"sequences": random_codes(3, 60)} | words
    with pytest.raises(DataError, match=says):
        filter_motifs(network(), **given)


def test_a_network_that_was_not_trained_to_the_end():
    model = network()
    with torch.no_grad():
        model.convolution1.bias[2] = math.nan
    with pytest.raises(DataError, match="not finite"):
        filter_motifs(model, random_codes(3, 60))


def test_peaks_that_are_predicted_well():
    r = torch.tensor([0.9, math.nan, 0.8, 0.1, 0.76])
    assert well_predicted(r).tolist() == [0, 2, 4]
    assert well_predicted(r, best=2).tolist() == [0, 2]
    with pytest.raises(
        DataError,
        match=r"above 0.95 \(the best of 5 has 0.90\); take the best ones instead, such as best = 4",
    ):
        well_predicted(r, 0.95)
    with pytest.raises(DataError, match="best 5: give 1 to 4"):
        well_predicted(r, best=5)
    with pytest.raises(DataError, match="none has a correlation"):
        well_predicted(r[1:2])
