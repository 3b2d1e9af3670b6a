"""A network says how it is asked; what is given with the question goes before what it says."""

import pytest
import torch
from small_networks import network as small
from small_networks import sequences
from torch import nn

from netassay.dna.attributions.variants import variant_effects
from netassay.dna.network.network import Network, predict
from netassay.errors import DataError


def codes(n=5, length=60):
    return sequences(n, length)


def aitac(**words):
    return small(60, **words).eval()


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.head = nn.Conv1d(4, 6, 5), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.convolution(x).relu().amax(2))


@pytest.mark.parametrize("model", [aitac(), Small().eval()], ids=["aitac", "any module"])
def test_strands_and_precision_are_part_of_the_network(model):
    x = codes()
    both = predict(model, x, both_strands=True, precision=torch.bfloat16)
    network = Network(model, both_strands=True, precision=torch.bfloat16)
    assert torch.equal(predict(network, x), both)
    assert torch.equal(predict(network, x, both_strands=False, precision=torch.float32), predict(model, x))
    assert not torch.equal(both, predict(model, x))


def test_of_a_network_is_itself_with_what_is_given():
    network = Network.of(aitac(), names=["a", "b", "c"])
    assert network.length == 60 and network.names == ("a", "b", "c") and not network.both_strands
    other = Network.of(network, both_strands=True)
    assert other.both_strands and other.names == network.names and other.model is network.model


def test_both_strands_are_heard_where_the_model_takes_their_mean():
    assert Network.of(aitac(reverse_complement=True)).hears_both
    assert not Network.of(aitac()).hears_both
    assert Network.of(Small(), both_strands=True).hears_both
    assert Network.of(Small()).length is None and Network.of(Small()).aitac is None


def test_outputs_have_words_of_their_own_or_numbers():
    assert Network(aitac()).words(2) == ("output 0", "output 1")
    with pytest.raises(DataError, match="2 names are given for 3 outputs"):
        Network(aitac(), names=("a", "b")).words(3)


def test_variants_are_asked_as_the_network_says(tmp_path):
    x = codes(1, 400)[0]
    letters = "".join("ACGT"[int(i)] for i in x)
    (tmp_path / "genome.fa").write_text(f">chr1\n{letters}\n")
    other = "ACGT"[(int(x[200]) + 1) % 4]
    (tmp_path / "one.vcf").write_text(f"#CHROM\tPOS\tID\tREF\tALT\nchr1\t201\t.\t{letters[200]}\t{other}\n")
    files = tmp_path / "one.vcf", tmp_path / "genome.fa"
    window = x[None, 170:230].clone()
    for both in (False, True):
        made = variant_effects(Network.of(aitac(), both_strands=both, names=["a", "b", "c"]), *files, null=0)
        assert torch.equal(made.reference, predict(aitac(), window, both_strands=both))
        assert made.outputs == ("a", "b", "c")
    assert torch.equal(made.reference, variant_effects(aitac(), *files, null=0).reference)
