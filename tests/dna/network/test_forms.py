"""Modules of other forms give what the plain module does: outputs, inputs, in-place writing, both strands."""

from types import SimpleNamespace

import pytest
import torch
from small_networks import draws, sequences
from torch import nn

from netassay.dna.attributions.contributions import attribute
from netassay.dna.attributions.saturation import mutagenesis
from netassay.dna.influence.ablation import Ablation
from netassay.dna.influence.pairs import interactions
from netassay.dna.influence.singles import influence
from netassay.dna.influence.synergy import spacing
from netassay.dna.motifs.filters import filter_motifs
from netassay.dna.network.network import Network, predict
from netassay.errors import ModelError
from netassay.formats.bases import one_hot

LENGTH = 40


class Plain(nn.Module):
    """A convolution, ReLU, mean over places, a linear layer: (n, 4, length) to (n, 2)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu, self.head = nn.Conv1d(4, 5, 7, padding=3), nn.ReLU(), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.relu(self.conv(x)).mean(2))


class Pair(Plain):
    def forward(self, x):
        return torch.zeros(len(x), 1, x.shape[2]), super().forward(x)


class Named(Plain):
    def forward(self, x):
        return {"profile": torch.zeros(len(x), 1, x.shape[2]), "counts": super().forward(x)}


class Attributes(Plain):
    def forward(self, x):
        return SimpleNamespace(counts=super().forward(x))


class Tracks(Plain):
    """Each output at every place, (n, 2, length)."""

    def forward(self, x):
        return super().forward(x)[:, :, None] + torch.linspace(-1, 1, x.shape[2])


class One(Plain):
    """The second output alone, without an axis of outputs."""

    def forward(self, x):
        return super().forward(x)[:, 1]


class Trailing(Plain):
    def forward(self, x):
        return super().forward(x)[:, :, None, None]


class Last(Plain):
    """Takes (n, length, 4)."""

    def forward(self, x):
        assert x.shape[2] == 4
        return super().forward(x.transpose(1, 2))


class InPlace(Plain):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.head(self.relu(self.conv(x)).mean(2))


class Discarded(InPlace):
    def forward(self, x):
        found = self.conv(x)
        self.relu(found)  # what it gives back is the same tensor
        return self.head(found.mean(2))


FORMS = {
    "tuple": (Pair, {"readout": 1}),
    "last of a tuple": (Pair, {"readout": -1}),
    "dict": (Named, {"readout": "counts"}),
    "attributes": (Attributes, {"readout": "counts"}),
    "tracks": (Tracks, {"readout": lambda y: y.mean(2)}),
    "axes of one place": (Trailing, {}),
    "channels last": (Last, {"layout": "channels_last"}),
    "in place": (InPlace, {}),
    "in place, discarded": (Discarded, {}),
}
ACGT = torch.eye(4)

WAYS = {
    "predict": lambda m, x, **k: predict(m, x, **k),
    "both strands": lambda m, x, **k: predict(m, x, both_strands=True, **k),
    "influence": lambda m, x, **k: influence(m, x, layer="relu", **k).by_output,
    "direction": lambda m, x, **k: influence(m, x, layer="conv", **k).direction,
    "interactions": lambda m, x, **k: (
        interactions(m, x, [[0], [1, 2]], layer="conv", permutations=5, generator=draws(), **k).by_output
    ),
    "gradient": lambda m, x, **k: attribute(m, x, output=1, **k).hypothetical,
    "deepshap": lambda m, x, **k: attribute(m, x, "deepshap", output=1, references=2, **k).hypothetical,
    "mutagenesis": lambda m, x, **k: mutagenesis(m, x, **k).effects,
    "spacing": lambda m, x, **k: spacing(m, ACGT, ACGT, x, generator=draws(), distances=[9], **k).synergy,
    "motifs": lambda m, x, **k: filter_motifs(m, x, "conv", **{n: v for n, v in k.items() if n == "layout"}).counts,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS)
def test_a_module_of_another_form_gives_what_the_plain_one_does(form, way):
    if way == "deepshap":
        pytest.importorskip("tangermeme")
    kind, words = FORMS[form]
    x = sequences(6, LENGTH)
    if way == "deepshap" and kind is Discarded:
        with pytest.raises(ModelError, match=r"modules .*relu write into their inputs"):
            WAYS[way](kind().eval(), x)
        return
    want = WAYS[way](Plain().eval(), x)
    torch.testing.assert_close(WAYS[way](kind().eval(), x, **words), want, rtol=1e-4, atol=1e-6, equal_nan=True)
    network = Network(kind().eval(), **words)
    torch.testing.assert_close(WAYS[way](network, x), want, rtol=1e-4, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("n", [1, 4])
def test_one_number_a_sequence_is_one_output(n):
    x = sequences(n, LENGTH)
    assert torch.equal(predict(One(), x), predict(Plain(), x)[:, 1:])
    assert attribute(One(), x).hypothetical.shape == (n, 4, LENGTH)


class Squeezed(Plain):
    def forward(self, x):
        return super().forward(x).squeeze()


def test_a_batch_of_one_that_was_squeezed_away_is_there_again():
    x = sequences(5, LENGTH)
    torch.testing.assert_close(predict(Squeezed(), x, batch=2), predict(Plain(), x))


@pytest.mark.parametrize(
    ("kind", "words", "says"),
    [
        (
            Pair,
            {},
            r"Pair gives a tuple of 2 \(a tensor \(4, 1, 40\), a tensor \(4, 2\)\) for 4 seq.*readout=1",
        ),
        (
            Named,
            {},
            "Named gives a dict with 'profile', 'counts' .* readout='profile', or another of its names",
        ),
        (Tracks, {}, r"Tracks gives a tensor \(4, 2, 40\) .* readout=lambda y: y.mean\(2\)"),
        (Named, {"readout": "count"}, "readout = 'count': Named gives a dict with 'profile', 'counts'"),
        (Pair, {"readout": 2}, "readout = 2: Pair gives a tuple of 2"),
        (Plain, {"layout": "nlc"}, "layout = 'nlc'; allowed are channels_first, channels_last"),
    ],
)
def test_what_cannot_be_read_is_reported_with_the_remedy(kind, words, says):
    with pytest.raises(ModelError, match=says):
        predict(kind(), sequences(4, LENGTH), **words)


class Strands(Plain):
    """The same convolution on the sequence and on its reverse complement, in two runs or in one batch."""

    def __init__(self, together):
        super().__init__()
        self.together = together

    def forward(self, x):
        turned = x.flip(1, 2)
        if self.together:
            here, there = self.relu(self.conv(torch.cat([x, turned]))).split(len(x))
        else:
            here, there = self.relu(self.conv(x)), self.relu(self.conv(turned))
        return self.head((here.mean(2) + there.mean(2)) / 2)


@pytest.mark.parametrize("together", [False, True])
def test_a_convolution_run_on_both_strands_is_read_on_both(together):
    """A linear head: the mean over both strands of the plain network, without a filter on either strand."""
    x = sequences(12, LENGTH)
    model, plain = Strands(together).eval(), Plain().eval()
    heights = torch.rand(12, 2, generator=draws())
    mine = influence(model, x, heights, layer="conv")
    want = influence(plain, x, heights, layer="conv", both_strands=True)
    # the plain one is filled with the mean over both strands, this one strand by strand: over places the same here
    torch.testing.assert_close(mine.by_output, want.by_output, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(mine.direction, want.direction, rtol=1e-3, atol=1e-5)
    assert torch.equal(filter_motifs(model, x, "conv").counts, filter_motifs(plain, x, "conv").counts)
    two = [
        interactions(m, x, [[0], [1]], layer="conv", within=5, permutations=2, generator=draws(), **words)
        for m, words in ((model, {}), (plain, {"both_strands": True}))
    ]
    assert torch.equal(two[0].both_sites, two[1].both_sites) and torch.equal(two[0].apart, two[1].apart)


class Placed(Strands):
    """What a filter answers counts by its place, on each strand from its own beginning."""

    def out(self, here, there):
        weights = torch.linspace(-1, 2, LENGTH)
        return self.head(((here * weights).mean(2) + (there * weights).mean(2)).square())

    def active(self, x):
        return self.relu(self.conv(x)), self.relu(self.conv(x.flip(1, 2)))

    def forward(self, x):
        return self.out(*self.active(x))


def test_each_strand_is_filled_with_its_own_mean_place_by_place():
    """By hand: both maps with a filter at its mean over the sequences."""
    x, model = sequences(12, LENGTH), Placed(False).eval()
    found = influence(model, x, layer="conv")
    survey = Ablation(model, x, layer="conv").survey
    with torch.no_grad():
        here, there = model.active(one_hot(x))
        for f in range(5):
            maps = [part.clone() for part in (here, there)]
            for part in maps:
                part[:, f] = part[:, f].mean(0)
            loss = (model(one_hot(x)) - model.out(*maps)).square().mean(0)
            torch.testing.assert_close(found.by_output[f].float(), loss, rtol=1e-3, atol=1e-9)
    best = torch.stack([here.amax(2), there.amax(2)])
    place = torch.where(best[0] >= best[1], here.argmax(2), LENGTH - 1 - there.argmax(2))
    assert torch.equal(survey.position, place)


class Twice(Plain):
    """A block that runs at two depths."""

    def __init__(self):
        super().__init__()
        self.block = nn.Conv1d(5, 5, 3, padding=1)

    def forward(self, x):
        return self.head(self.relu(self.block(self.relu(self.block(self.relu(self.conv(x)))))).mean(2))


def test_a_convolution_run_on_different_things_has_no_motifs():
    with pytest.raises(ModelError, match="'block' runs 2 times in a pass of Twice, on other things"):
        filter_motifs(Twice(), sequences(4, LENGTH), "block")


def test_no_module_is_left_changed():
    model = InPlace()
    attribute(model, sequences(2, LENGTH), output=0)
    influence(model, sequences(4, LENGTH), layer="conv")
    assert model.relu.inplace and model.training and not model.conv._forward_hooks
