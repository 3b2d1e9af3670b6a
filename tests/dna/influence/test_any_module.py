"""Networks and inputs of other kinds than our own: read where it makes sense, refused in words where it does not."""

import numpy as np
import pytest
import torch
from small_networks import draws, sequences
from torch import nn

from netassay.dna.attributions.contributions import attribute
from netassay.dna.attributions.saturation import mutagenesis
from netassay.dna.influence.pairs import interactions
from netassay.dna.influence.singles import influence
from netassay.dna.motifs.filters import filter_motifs
from netassay.dna.motifs.reproducibility import reproducible_filters
from netassay.dna.network.network import predict
from netassay.errors import DataError, ModelError
from netassay.formats.bases import one_hot


class Small(nn.Module):
    """A convolution, ReLU, the mean over places, a linear layer."""

    def __init__(self, outputs=2):
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv1d(4, 5, 7, padding=3), nn.ReLU(), nn.Linear(5, outputs)

    def forward(self, x):
        return self.head(self.relu(self.conv(x)).mean(2))


class Weightless(nn.Module):
    """How much there is of A and of C in a sequence, A twice."""

    def forward(self, x):
        return torch.stack([2 * x[:, 0].sum(1), x[:, 1].sum(1)], dim=1)


def small(kind=Small, dtype=torch.float32):
    torch.manual_seed(0)
    return kind().to(dtype)


WAYS = {
    "predict": lambda model, x: predict(model, x),
    "influence": lambda model, x: influence(model, x, layer="conv").by_output,
    "interactions": lambda model, x: (
        interactions(model, x, [[0], [1, 2]], layer="conv", permutations=5, generator=draws()).by_output
    ),
    "gradient": lambda model, x: attribute(model, x, output=1).hypothetical,
    "deepshap": lambda model, x: attribute(model, x, "deepshap", output=1, references=2).hypothetical,
    "integrated": lambda model, x: attribute(model, x, "integrated_gradients", output=1, references=2).hypothetical,
    "mutagenesis": lambda model, x: mutagenesis(model, x).effects,
    "motifs": lambda model, x: filter_motifs(model, x, "conv").pwm,
}
TAKE_ONE_HOT = [way for way in WAYS if way != "predict"]


@pytest.mark.parametrize("way", WAYS)
def test_double_precision_gives_the_same(way):
    if way == "deepshap":
        pytest.importorskip("tangermeme")
    x = sequences(12, 40)
    single, double = (WAYS[way](small(dtype=dtype), x) for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(double.float(), single.float(), rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("way", TAKE_ONE_HOT)
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.uint8, torch.bool])
def test_one_hot_of_any_type_is_taken(way, dtype):
    if way == "deepshap":
        pytest.importorskip("tangermeme")
    x = sequences(6, 40, letters=5)
    torch.testing.assert_close(WAYS[way](small(), one_hot(x).to(dtype)), WAYS[way](small(), x), equal_nan=True)


HOT = one_hot(sequences(3, 40))


@pytest.mark.parametrize("way", TAKE_ONE_HOT)
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (HOT.transpose(1, 2), r"\(\d, 40, 4\)"),
        (HOT[0], r"\(\d, 40\)"),
        (HOT / 2, "one-hot"),
        (HOT * torch.nan, "one-hot"),
        (HOT.argmax(1), "int64"),
        (HOT.argmax(1).byte() + 5, r"has code [5-8];"),
        (["ACGT"], "type list; give a tensor"),
        (np.zeros((3, 40), np.uint8), "type ndarray; give a tensor"),
    ],
)
def test_what_is_no_sequence_is_refused(way, given, says):
    with pytest.raises(DataError, match=says):
        WAYS[way](small(), given)


def test_a_module_without_weights_is_explained():
    x = sequences(5, 30)
    expected = torch.tensor([1.5, -0.5, -0.5, -0.5])[:, None].expand(5, 4, 30)
    torch.testing.assert_close(attribute(Weightless(), x, output=0).hypothetical, expected)
    torch.testing.assert_close(attribute(Weightless(), x, "mutagenesis", output=0).hypothetical, expected)
    with pytest.raises(ModelError, match="no module of that name"):
        influence(Weightless(), x, layer="conv")


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda m, x: influence(m, x, layer="conv", batch=0), DataError, "batch = 0; give 1 or more"),
        (lambda m, x: filter_motifs(m, x, "conv", batch=0), DataError, "batch = 0; give 1 or more"),
        (lambda m, x: mutagenesis(m, x, batch=0), DataError, "batch = 0; give 1 or more"),
        (lambda m, x: attribute(m, x, output=0, batch=0), DataError, "batch = 0; give 1 or more"),
        (lambda m, x: influence(m, x, torch.ones(4), layer="conv"), DataError, r"heights of shape \(4,\)"),
        (lambda m, x: influence(m, x, np.ones((4, 2)), layer="conv"), DataError, "heights of ndarray"),
        (lambda m, x: filter_motifs(m, x, "conv", heights=torch.ones(4)), DataError, r"shape \(4,\)"),
        (lambda m, x: influence(m, x, layer="conv", sets=[]), DataError, "no set of channels"),
        (lambda m, x: influence(m, x, layer="conv", sets=[0, 1]), DataError, r"give \[\[0\], \[1\]\]"),
        (lambda m, x: filter_motifs(m, x, None), ModelError, "no layer 'None'"),
        (lambda m, x: filter_motifs(m, x, ""), ModelError, "no layer '' in Small; its"),
        (lambda m, x: attribute(m, x, output="K562"), ModelError, "output = 'K562': give the number"),
        (lambda m, x: attribute(m, x, output=1.5), ModelError, "output = 1.5: give the number"),
        (lambda m, x: reproducible_filters([], q=0, generator=draws()), DataError, "above 0 and at most 1"),
        (
            lambda m, x: reproducible_filters([], share=3, generator=draws()),
            DataError,
            "share 3: give numbers",
        ),
    ],
)
def test_words_that_mean_nothing_are_refused(call, error, says):
    with pytest.raises(error, match=says):
        call(small(), sequences(4, 40))


@pytest.mark.parametrize("number", [np.int64(1), torch.tensor(1), [np.int64(1)]])
def test_the_number_of_an_output_may_be_of_any_integer_type(number):
    x = sequences(2, 40)
    wanted = attribute(small(), x, output=1).hypothetical
    assert torch.equal(attribute(small(), x, output=number).hypothetical, wanted)
