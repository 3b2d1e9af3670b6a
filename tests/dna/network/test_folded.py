"""The network made ready for predictions, against the network itself in evaluation mode."""

import pytest
import torch

from netassay.dna.network.forms import Folded
from netassay.errors import ModelError
from netassay.formats.bases import one_hot
from netassay.nets import AITAC
from netassay.nets.sequence_cnn import correlate, transforms


def network(length=60, outputs=5, **changes):
    """A network whose norms have statistics of their own, scales of both signs and one of zero."""
    g = torch.Generator().manual_seed(0)
    sizes = {"n_filters": 40, "n_channels": 24, "n_hidden": 30, **changes}
    model = AITAC(outputs, length=length, generator=g, **sizes).eval()
    with torch.no_grad():
        for norm in (model.norm1, model.norm2, model.norm3):
            norm.running_mean.normal_(0.1, 0.1, generator=g)
            norm.running_var.uniform_(0.5, 2, generator=g)
            norm.weight.normal_(generator=g)
            norm.weight[0] = 0
            norm.bias.normal_(0, 0.3, generator=g)
    return model


def bases(n, length):
    return torch.randint(0, 5, (n, length), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.mark.parametrize("length", [23, 60, 101, 251])
@pytest.mark.parametrize("first", ["relu", "exponential"])
@pytest.mark.parametrize("both", [False, True])
def test_outputs_are_those_of_the_network(length, first, both):
    model, codes = network(length, first_activation=first, reverse_complement=both).double(), bases(3, length)
    with torch.no_grad():
        want = model(one_hot(codes, torch.float64))
    assert torch.allclose(Folded(model, torch.float64)(codes), want, rtol=0, atol=1e-12)
    assert want.std() > 0.01


def test_wide_layers_by_frequencies_and_a_batch_of_one():
    model, codes = network(251, n_filters=300, n_channels=200), bases(1, 251)
    folded = Folded(model, torch.float32)
    assert all(convolution.matrices is not None for convolution in folded.convolutions)
    with torch.no_grad():
        assert torch.allclose(folded(codes), model(one_hot(codes)), rtol=0, atol=1e-5)


def test_sixteen_bits_correlate_with_thirty_two():
    model, codes = network(251, outputs=81, n_filters=300, n_channels=200, n_hidden=1000), bases(40, 251)
    with torch.no_grad():
        want = model(one_hot(codes))
        with torch.autocast("cpu", torch.bfloat16):
            direct = model(one_hot(codes))
    found = Folded(model, torch.bfloat16)(codes)
    assert found.dtype == torch.float32
    assert torch.corrcoef(torch.stack([found.flatten(), want.flatten()]))[0, 1] >= 0.9999
    # of what differs between sequences, where a new network has little to say, as close as bf16 gets otherwise
    between, error, usual = (y - y.mean(dim=0) for y in (want, found - want, direct - want))
    assert error.norm() < 1.1 * usual.norm() < 0.2 * between.norm()


def test_the_network_is_left_as_it_was():
    model, codes = network(), bases(3, 60)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    folded = Folded(model, torch.float32)
    want = folded(codes)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
    assert torch.equal(folded(codes), want)


def test_another_length_is_refused():
    with pytest.raises(ModelError, match="sequences of 59 bases; this network takes 60"):
        Folded(network(), torch.float32)(bases(2, 59))


def test_training_goes_on_after_predictions_in_inference_mode():
    transforms.cache_clear()
    with torch.inference_mode():
        Folded(network(251, n_filters=300, n_channels=200), torch.float32)(bases(1, 251))
    x = torch.randn(21, 2, 200, requires_grad=True)
    correlate(x, torch.randn(200, 200, 7, requires_grad=True), (0, *range(19)), padding=3).sum().backward()
    assert x.grad is not None
