"""Under losses that leave an offset free, everything by output is told less the mean: the same for outputs moved."""

from dataclasses import replace

import pytest
import torch
from small_networks import draws, network, sequences
from torch import nn

from netassay.dna.attributions.contributions import attribute
from netassay.dna.attributions.saturation import mutagenesis
from netassay.dna.influence.pairs import interactions
from netassay.dna.influence.singles import influence
from netassay.dna.influence.synergy import spacing
from netassay.dna.network.network import (
    LESS_MEAN,
    Network,
    contrast,
    less_mean,
    offset_is_free,
    outputs_in_words,
    predict,
)

LENGTH = 50
ACGT = torch.eye(4)


class Moved(nn.Module):
    """The model with a number of its own, that depends on the sequence, added to every output."""

    def __init__(self, model, size):
        super().__init__()
        torch.manual_seed(0)
        self.model, self.offset, self.size = model, nn.Conv1d(4, 1, 9), size

    def forward(self, x):
        return self.model(x) + self.size * self.offset(x).relu().sum((1, 2))[:, None]


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.relu = nn.Conv1d(4, 5, 7), nn.ReLU()
        self.head = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4))
        with torch.no_grad():
            self.conv.weight.mul_(6)

    def forward(self, x):
        return self.head(self.relu(self.conv(x)).mean(2))


def ways(layer):
    return {
        "predict": lambda m, x: predict(m, x),
        "influence": lambda m, x: influence(m, x, layer=layer).by_output,
        "direction": lambda m, x: influence(m, x, layer=layer).direction,
        "interactions": lambda m, x: (
            interactions(m, x, [[0], [1]], layer=layer, permutations=3, generator=draws()).by_peak
        ),
        "mutagenesis": lambda m, x: mutagenesis(m, x).effects,
        "one output": lambda m, x: mutagenesis(m, x, output=2).effects,
        "gradient": lambda m, x: attribute(m, x, output=1).hypothetical,
        "spacing": lambda m, x: spacing(m, ACGT, ACGT, x, generator=draws(), distances=[9]).synergy,
    }


@pytest.mark.parametrize("way", ways(None))
def test_an_offset_of_a_row_changes_nothing(way):
    x = sequences(8, LENGTH)
    call = ways("model.conv")[way]
    one, other = (Network(Moved(Small(), size).eval(), less_mean=True) for size in (0.0, 3.0))
    found, moved = call(one, x), call(other, x)
    torch.testing.assert_close(moved, found, rtol=1e-3, atol=1e-5, equal_nan=True)
    raw = call(replace(other, less_mean=False), x)
    assert (raw - found).abs().nan_to_num().max() > 0.02 * found.abs().nan_to_num().max() > 1e-6


@pytest.mark.parametrize("both", [False, True])
def test_the_fast_ways_of_aitac_do_the_same(both):
    """Against the model with its mean taken off in the last layer, by hand."""
    x, model = sequences(8, LENGTH), network(LENGTH, outputs=4).eval()
    by_hand = network(LENGTH, outputs=4).eval()
    with torch.no_grad():
        for part in (by_hand.output.weight, by_hand.output.bias):
            part -= part.mean(0, keepdim=True)
    asked = Network.of(model, both_strands=both)
    asked = replace(asked, less_mean=True)
    for name, call in ways(None).items():
        want = call(Network.of(by_hand, both_strands=both), x)
        # a correlation of small losses: differences of outputs in float32
        near = 5e-3 if name == "direction" else 1e-5
        torch.testing.assert_close(call(asked, x), want, rtol=1e-3, atol=near, equal_nan=True)


def test_one_function_says_what_it_is():
    y = torch.randn(5, 4, generator=draws())
    assert torch.allclose(less_mean(y), y - y.mean(1, keepdim=True))
    assert torch.allclose(y.double() @ contrast(2, 4), less_mean(y.double())[:, 2])
    assert offset_is_free("pearson") and offset_is_free("cross_entropy")
    assert not offset_is_free("mse") and not offset_is_free("poisson")
    assert outputs_in_words(True) == LESS_MEAN != outputs_in_words(False)
