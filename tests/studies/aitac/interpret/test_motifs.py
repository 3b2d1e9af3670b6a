"""Motifs of filters against windows cut out one by one."""

import pytest
import torch

from netassay.formats.bases import one_hot
from netassay.nets import AITAC
from netassay.studies.aitac.interpret.layers import activations
from netassay.studies.aitac.interpret.motifs import filter_motifs


def random_codes(n, length, letters=5, seed=1):
    return torch.randint(
        0, letters, (n, length), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )


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
    channels, positions = active.shape[1:]
    counts = torch.zeros(channels, 4, field.width, dtype=torch.float64)
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
