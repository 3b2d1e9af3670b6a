"""Named layers of any module, and which bases their positions see."""

import pytest
import torch
from torch import nn

from netassay.dna.network.layers import Field, activations, field_by_changes, field_of_aitac, find_layer, replaced
from netassay.errors import ModelError
from netassay.formats.bases import one_hot
from netassay.nets import AITAC


def random_codes(n, length):
    return torch.randint(0, 4, (n, length), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


class Image(nn.Module):
    """DNA as an image of one channel and four rows, as many published networks read it."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv2d(1, 6, (4, 7), padding=(0, 3)), nn.ReLU(), nn.MaxPool2d((1, 2)))
        self.second = nn.Conv2d(6, 5, (1, 5))
        self.unused = nn.Conv1d(4, 4, 3)
        self.output = nn.Linear(5, 3)

    def forward(self, x):
        return self.output(self.second(self.convolution(x[:, None]))[:, :, 0].mean(2))


class Whole(nn.Module):
    """A convolution after something that mixes all positions."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(40, 40)
        self.late = nn.Conv1d(4, 3, 5)

    def forward(self, x):
        return self.late(self.mix(x)).mean(2)


@pytest.mark.parametrize(("i", "want"), [(1, (-9, 1, 19)), (2, (-25, 3, 51)), (3, (-64, 12, 132))])
def test_bases_seen_by_calculation_are_those_that_matter(i, want):
    model = AITAC(2, n_filters=24, n_channels=16, n_hidden=8, generator=torch.Generator().manual_seed(0)).eval()
    layer = find_layer(model, f"convolution{i}", 251)
    with torch.inference_mode():
        found = field_by_changes(lambda codes: torch.cat([part for _, part in layer.sums(codes)]), 251, "it")
    assert found == layer.field == field_of_aitac(i) == Field(*want)
    assert layer.positions == (251, 84, 21)[i - 1]


def test_layers_of_a_network_over_images():
    torch.manual_seed(0)
    model, codes = Image(), random_codes(4, 40)
    first, second = find_layer(model, "convolution.0", 40), find_layer(model, "second", 40)
    assert (first.field, first.channels, first.positions) == (Field(-3, 1, 7), 6, 40)
    assert (second.field, second.channels, second.positions) == (Field(-3, 2, 16), 5, 16)
    with torch.no_grad():
        want = model.convolution[1](model.convolution[0](one_hot(codes)[:, None]))[:, :, 0]
    assert torch.allclose(activations(model, codes, "convolution.0", batch=3), want)
    negative = activations(model, codes, "convolution.0", activation=torch.neg)
    assert torch.equal(negative.clamp(max=0), -want)


def test_mode_and_hooks_are_left_as_they_were():
    model = Image().train()
    activations(model, random_codes(2, 40), "second")
    assert model.training and not model.second._forward_hooks
    out = model(one_hot(random_codes(2, 40)))
    with replaced(model, "second", torch.zeros_like):
        assert torch.equal(model(one_hot(random_codes(2, 40))), model.output.bias.expand(2, 3))
    assert torch.equal(model(one_hot(random_codes(2, 40))), out)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "secnd",
            r"no layer 'secnd' in Image \(did you mean 'second'\?\); its convolutions: convolution.0, second, unused",
        ),
        ("", "no layer ''"),
        ("output", "'output' is a Linear, which has no filters"),
        ("unused", "forward pass of Image does not call layer 'unused'"),
    ],
)
def test_layers_that_cannot_be_read(name, says):
    with pytest.raises(ModelError, match=says):
        find_layer(Image(), name, 40)


def test_what_has_no_window_is_refused():
    with pytest.raises(ModelError, match="fewer than two of its 36 positions see a part"):
        find_layer(Whole(), "late", 40)
    never = pytest.raises(ModelError, match="the forward pass of Image does not call layer 'unused'")
    with never, replaced(Image(), "unused", torch.zeros_like):
        pass
    model = AITAC(2, length=60, n_filters=4, n_channels=4, n_hidden=4)
    whole = pytest.raises(ModelError, match="not called one by one")
    with whole, replaced(model, "convolution1", torch.zeros_like):
        pass
    with pytest.raises(ModelError, match="sequences of 59 bases; this network takes 60"):
        find_layer(model, "convolution1", 59)
