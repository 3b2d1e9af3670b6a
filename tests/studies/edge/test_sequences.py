"""Text and DNA, and the networks of the other studies on them, against plain readings and dense Hessians."""

import re

import numpy as np
import pytest
import torch
from memory import Memory
from torch import nn
from torch.func import functional_call, hessian

import netassay
from netassay.errors import ConfigError, DataError
from netassay.nets import sequence_cnn
from netassay.performing import perform
from netassay.studies.edge.assay import assay, build
from netassay.studies.edge.config import EdgeConfig, Setting
from netassay.studies.edge.data import TOKENS, Data, Examples, load
from netassay.studies.edge.networks import LOSSES, constant_loss, network
from netassay.studies.edge.stepsize.config import tiny

F64 = torch.float64
DECODER = {"data": "text", "network": "decoder", "activation": "gelu", "loss": "cross_entropy"}
AITAC = {"network": "aitac", "activation": "relu", "loss": "cross_entropy"}
LINES = """\
one two three four five six seven eight nine ten eleven
too short

a b, c d e f g h i j k
two two two two two two two two two two
the last line of them is for testing; nothing more than that"""


def dense_hessian(model, loss, x, y):
    flat = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in flat.values()]

    def of(vector):
        pieces = dict(zip(flat, vector.split(sizes), strict=True))
        return loss(functional_call(model, {n: pieces[n].view_as(flat[n]) for n in flat}, (x,)), y)

    matrix = hessian(of)(torch.cat([p.reshape(-1) for p in flat.values()]))
    owners = [name.rpartition(".")[0] for name, size in zip(flat, sizes, strict=True) for _ in range(size)]
    return matrix, np.array(owners)


def holds(found, matrix, owners):
    """Sharpness whole and of each layer is the largest eigenvalue of the dense matrix and of its diagonal blocks."""
    assert float(found.values[0]) == pytest.approx(float(torch.linalg.eigvalsh(matrix)[-1]), rel=1e-6)
    assert set(found.blocks) == set(owners)
    for name, pairs in found.blocks.items():
        at = torch.from_numpy(np.flatnonzero(owners == name))
        block = float(torch.linalg.eigvalsh(matrix[at][:, at])[-1])
        assert float(pairs.values[0]) == pytest.approx(block, rel=1e-5, abs=1e-9), name


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus.txt").write_text(LINES)
    return str(tmp_path / "corpus.txt")


def bases(n, length, seed=0):
    """Random sequences as rows, and classes."""
    g = torch.Generator().manual_seed(seed)
    codes = torch.randint(4, (n, length), generator=g)
    x = torch.nn.functional.one_hot(codes, 4).transpose(1, 2).flatten(1).to(F64)
    return Data(Examples(x, torch.arange(n) % 3), Examples(x[:4], torch.arange(4) % 3), 3, (1, 4, length))


def test_text_is_the_first_tokens_of_lines_that_are_long_enough(corpus):
    data = load(Setting(**DECODER, path=corpus, examples=3, test_examples=5), dtype=F64)
    rows = [re.findall(r"\w+|[^\w\s]+", line)[:TOKENS] for line in LINES.splitlines()]
    rows = [row for row in rows if len(row) == TOKENS]
    words = list(dict.fromkeys(word for row in rows for word in row))
    named = torch.tensor([[words.index(word) for word in row] for row in rows])
    tokens = torch.cat([data.train.inputs, data.test.inputs])
    # the numbering may be another one, but one for one
    pairs = set(zip(tokens.flatten().tolist(), named[:, :-1].flatten().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert torch.equal(data.train.inputs[:, 1:], data.train.labels[:, :-1])
    assert (len(data.train.labels), len(data.test.labels)) == (3, 1)
    assert data.classes == len(words)
    assert data.left_out == {"blank line": 1, f"shorter than {TOKENS} tokens": 1}
    with pytest.raises(DataError, match=r"holds 4 lines of 10 tokens or more for training, 9 are requested"):
        load(Setting(**DECODER, path=corpus, examples=9), dtype=F64)


def test_short_lines_after_the_last_that_is_needed_are_not_counted(corpus):
    data = load(Setting(**DECODER, path=corpus, examples=1, test_examples=0), dtype=F64)
    assert data.left_out.get(f"shorter than {TOKENS} tokens", 0) == 0
    assert len(data.test.labels) == 0


def test_python_s_own_help_is_the_text_unless_another_is_given():
    data = load(Setting(**DECODER, examples=30, test_examples=10), dtype=F64)
    assert data.train.inputs.shape == (30, TOKENS - 1)
    assert int(data.train.labels.max()) < data.classes


def test_losses_of_positions_are_those_of_rows():
    g = torch.Generator().manual_seed(0)
    output = torch.randn(3, 4, 5, generator=g, dtype=F64)
    labels = torch.randint(5, (3, 4), generator=g)
    for name, loss in LOSSES.items():
        torch.testing.assert_close(loss(output, labels), loss(output.reshape(12, 5), labels.reshape(12)))
        assert constant_loss(name, labels) == pytest.approx(constant_loss(name, labels.reshape(12)))


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_curvature_of_the_decoder_is_that_of_the_dense_hessian(corpus, loss):
    setting = Setting(**DECODER | {"loss": loss}, path=corpus, examples=3, width=4)
    data = load(setting, dtype=F64)
    model = network(setting, data, dtype=F64)
    # the embedding of words, by far the most weights, stays as drawn: the dense matrix is small
    model.embedding.weight.requires_grad_(False)
    found = netassay.sharpness(model, LOSSES[loss], [tuple(data.train)], blocks="layer", tolerance=1e-9)
    holds(found, *dense_hessian(model, LOSSES[loss], *data.train))


class Normalised(nn.Module):
    """Batch or layer norm in plain operations: torch.func.hessian is wrong through PyTorch's own (scale by any other
    weight), as differences of gradients show.
    """

    def __init__(self, weight, bias, over):
        super().__init__()
        self.weight, self.bias, self.over = weight, bias, over

    def forward(self, x):
        mean, variance = x.mean(self.over, keepdim=True), x.var(self.over, keepdim=True, correction=0)
        return (x - mean) / (variance + 1e-5).sqrt() * self.weight + self.bias


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
def test_curvature_of_aitac_is_that_of_the_dense_hessian(monkeypatch, normalisation):
    """Dense derivatives through PyTorch's own maximum, and through the batch's statistics."""
    data = bases(9, 60)
    setting = Setting(**AITAC, data="arrays", path=".", normalisation=normalisation, width=3)
    model = network(setting, data, dtype=F64)
    loss = LOSSES["cross_entropy"]
    found = netassay.sharpness(model, loss, [tuple(data.train)], blocks="layer", tolerance=1e-9)
    monkeypatch.setattr(sequence_cnn, "greatest", lambda x: x.amax(1))
    for name in ("norm1", "norm2", "norm3") if normalisation != "none" else ():
        norm = getattr(model, name)
        setattr(model, name, Normalised(norm.weight, norm.bias, 0 if normalisation == "batch" else 1))
    matrix, owners = dense_hessian(model, loss, *data.train)
    holds(found, matrix, owners)
    assert ("norm2" in owners) == (normalisation != "none")
    assert not list(model.buffers())


def test_aitac_has_the_published_proportions():
    setting = Setting(**AITAC, data="arrays", path=".", normalisation="batch", width=300)
    model = network(setting, bases(2, 251)._replace(classes=81), dtype=torch.float32)
    assert sum(p.numel() for p in model.parameters()) == 3_047_981


def test_dna_is_one_hot_and_chr1_is_for_testing():
    pytest.importorskip("polars")
    from netassay.dna.atlas.dhs4 import read_sites
    from netassay.errors import ExtraMissing

    try:
        sites = read_sites()
    except ExtraMissing as missing:
        pytest.skip(str(missing))
    data = load(Setting(data="dhs4", examples=200, test_examples=50), dtype=F64)
    held_out = (sites.table["chr"] == "chr1").to_numpy()
    known = {row.tobytes(): bool(side) for row, side in zip(sites.codes, held_out, strict=True)}
    for part, side in ((data.train, False), (data.test, True)):
        planes = part.inputs.unflatten(1, (4, 200))
        assert torch.equal(planes.sum(1), torch.ones(len(planes), 200, dtype=F64))
        assert {known[row.tobytes()] for row in planes.argmax(1).numpy().astype(np.uint8)} == {side}
    assert min(data.train.labels.bincount().tolist()) > 30


@pytest.mark.parametrize("optimiser", ["gd", "sgd"])
def test_a_decoder_goes_through_every_part_of_a_run(tmp_path, corpus, optimiser):
    values = {
        **DECODER,
        "path": corpus,
        "examples": 3,
        "width": 5,
        "optimiser": optimiser,
        "gauss_newton": True,
    }
    run = perform(EdgeConfig(steps=2, curvature_every=1, **values), tmp_path, threads=1)
    last = {(name, part): value for _, name, part, value in run.metrics().iter_rows()}
    assert last["left_out", "blank line"] == 1
    assert 0 <= last["accuracy", "test"] <= 1
    assert last["sharpness", "attended"] <= last["sharpness", ""] * (1 + 1e-6)


def test_aitac_on_arrays_stops_and_goes_on_bit_for_bit(tmp_path):
    data = bases(12, 40)
    np.savez(tmp_path / "a.npz", x=data.train.inputs.unflatten(1, (4, 40)).numpy(), y=data.train.labels.numpy())
    config = EdgeConfig(
        **AITAC,
        data="arrays",
        path=str(tmp_path / "a.npz"),
        normalisation="batch",
        examples=12,
        width=6,
        steps=6,
        curvature_every=2,
    )
    whole, first = Memory(), Memory()
    assay(config, whole)
    first.stop = lambda: len(first.steps) == 3
    assay(config, first)
    first.stop = lambda: False
    assay(config, first)
    assert first.steps == whole.steps
    assert build(config).layers.keys() >= {"convolution1", "norm1", "hidden2", "output"}


def test_the_largest_step_of_a_decoder_is_searched_for(tmp_path, corpus):
    config = tiny().replace(
        **DECODER, path=corpus, examples=3, test_examples=0, depth=2, width=4, goal=0.95, flow_steps=20
    )
    run = perform(config, tmp_path, threads=1)
    assert run.metrics().filter(run.metrics()["name"] == "step_size").height > 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data": "text"}, "text takes the decoder"),
        ({"network": "decoder"}, "the decoder takes text"),
        (DECODER | {"depth": 3}, "depth = 3 is not allowed: network = 'decoder' has depth = 2 only"),
        ({"network": "aitac", "data": "dhs4"}, "activation = 'tanh' is not allowed"),
        (AITAC | {"data": "dhs4", "examples": 43_308}, "dhs4 has 43307"),
    ],
)
def test_networks_made_one_way_refuse_another(values, words):
    with pytest.raises(ConfigError, match=words):
        Setting(**values)


def test_images_are_no_dna():
    setting = Setting(**AITAC, examples=20)
    with pytest.raises(DataError, match=r"'digits' are not DNA.*data = 'dhs4'"):
        network(setting, load(setting, dtype=F64), dtype=F64)
