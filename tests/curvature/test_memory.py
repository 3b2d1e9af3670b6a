"""Graphs are kept while they fit and built anew otherwise: the same products, in bounded memory."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from dense import examples, half_square, network
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import netassay
from netassay.curvature.curvature import Curvature
from netassay.errors import DataError, ModelError
from netassay.numerics import devices

X, LABEL, Y = examples()
BATCHES = [(X[a:b], Y[a:b]) for a, b in ((0, 6), (6, 12), (12, 20))]


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_products_do_not_depend_on_what_is_kept(kind):
    model = network()
    kept = Curvature(model, half_square, BATCHES, kind=kind, blocks="layer")
    assert (kept.graphs, kept.batches) == (3, 3)
    v = torch.linspace(-1, 1, 2 * kept.size, dtype=torch.float64).view(-1, 2)
    w = v[: kept.block_size("2")]
    # of the three graphs none fits, the first two, all
    for memory, count in ((0, 0), (int(kept.graph_bytes * 0.7), 2), (kept.graph_bytes, 3)):
        again = Curvature(model, half_square, BATCHES, kind=kind, blocks="layer", memory=memory)
        assert (again.graphs, again.batches, again.graph_bytes) == (count, 3, kept.graph_bytes)
        assert again.loss == kept.loss
        torch.testing.assert_close(again.gradient, kept.gradient, rtol=1e-13, atol=1e-15)
        torch.testing.assert_close(again.product(v), kept.product(v), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(again.block_product("2", w), kept.block_product("2", w), rtol=1e-12, atol=1e-14)


def test_the_estimate_is_the_bytes_that_a_graph_keeps():
    """One product of two square matrices: what autograd keeps for a second derivative can be counted by hand."""
    n = 64

    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(n, n))

        def forward(self, x):
            return (x @ self.w).exp()

    x = torch.full((n, n), 1e-3)
    curvature = Curvature(Square(), lambda o, t: o.sum(), [(x, x)])
    # x for the slope of w, the exponential for its own slope, and that times ones, which expand takes nothing for
    square = 4 * n * n
    assert 2 * square <= curvature.graph_bytes <= 5 * square
    one = curvature.graph_bytes
    assert Curvature(Square(), lambda o, t: o.sum(), [(x, x)] * 4, reduction="sum").graph_bytes == 4 * one


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_a_loader_gives_the_same_batches_for_every_product(shuffle, own):
    generator = torch.Generator().manual_seed(3) if own else None
    loader = DataLoader(TensorDataset(X, Y), batch_size=6, shuffle=shuffle, generator=generator)
    truth = Curvature(network(), half_square, [(X, Y)])
    v = torch.linspace(-1, 1, truth.size, dtype=torch.float64)
    room = Curvature(network(), half_square, BATCHES).graph_bytes // 2
    for memory in (0, room, None):
        curvature = Curvature(network(), half_square, loader, memory=memory)
        for _ in range(3):
            # the order of the batches is that of the first pass, whatever was drawn since
            torch.rand(3)
            _ = generator and torch.rand(3, generator=generator)
            before = torch.get_rng_state(), generator and generator.get_state()
            torch.testing.assert_close(curvature.product(v), truth.product(v))
            assert torch.equal(torch.get_rng_state(), before[0])
            assert generator is None or torch.equal(generator.get_state(), before[1])


def test_data_that_change_between_products_are_refused():
    x = X.clone()
    batches = [(x[:10], Y[:10]), (x[10:], Y[10:])]
    curvature = Curvature(network(), half_square, batches, memory=0)
    v = torch.ones(curvature.size, dtype=torch.float64)
    curvature.product(v)
    x[12] += 1.0
    with pytest.raises(DataError, match="batch 1 changed while the curvature was in use"):
        curvature.product(v)
    x[12] -= 1.0
    batches.pop()
    with pytest.raises(DataError, match="1 of 2 batches left"):
        curvature.product(v)


def test_a_change_of_mode_between_products_is_refused():
    model = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 3)).double().eval()
    curvature = Curvature(model, half_square, BATCHES, memory=0)
    v = torch.ones(curvature.size, dtype=torch.float64)
    curvature.product(v)
    model.train()
    with pytest.raises(ModelError, match="in train mode"):
        curvature.product(v)


def test_after_release_or_a_step_nothing_is_built_anew():
    model = network()
    curvature = Curvature(model, half_square, BATCHES, memory=0)
    v = torch.ones(curvature.size, dtype=torch.float64)
    with torch.no_grad():
        model[0].weight.add_(0.1)
    with pytest.raises(ModelError, match="weights changed"):
        curvature.product(v)
    curvature.release()
    with pytest.raises(ModelError, match="released"):
        curvature.product(v)


@pytest.mark.parametrize("memory", [-1, float("nan")])
def test_memory_is_a_number_of_bytes(memory):
    with pytest.raises(ModelError, match="a number of bytes"):
        Curvature(network(), half_square, BATCHES, memory=memory)


def test_buffers_and_statistics_stay_as_they_are_however_often_they_are_computed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    model(X)
    model.eval()
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    a, b = (Curvature(model, half_square, BATCHES, memory=memory) for memory in (None, 0))
    v = torch.linspace(-1, 1, a.size, dtype=torch.float64)
    torch.testing.assert_close(a.product(v), b.product(v))
    assert all(torch.equal(b, buffers[n]) for n, b in model.named_buffers())
    assert all(p.grad is None for p in model.parameters())


def test_a_batch_whose_graph_cannot_fit_is_reported_before_it_is_made(monkeypatch):
    x = torch.ones(40_000, 5, dtype=torch.float64)
    monkeypatch.setattr(devices, "free_memory", lambda device: 1_000_000)
    with pytest.raises(ModelError, match=r"batch 0: the graph of its loss takes .* GB.*more and smaller batches"):
        Curvature(network(), half_square, [(x, x[:, :3])])
    Curvature(network(), half_square, [(x[:100], x[:100, :3])] * 2)


PEAK = """
import sys, torch
from pathlib import Path
from torch import nn
import netassay
def peak():
    # the peak of this process alone: that of `resource` begins with its parent's
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
torch.set_num_threads(1)
torch.manual_seed(0)
kind, form, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
bends = [module for _ in range(4) for module in (nn.Tanh(), nn.Sigmoid(), nn.Softplus())]
model = nn.Sequential(nn.Linear(8, 64), *bends, nn.Linear(64, 10))
data = [(torch.randn(3000, 8), torch.randint(10, (3000,))) for _ in range(count)]
known = nn.functional.cross_entropy
loss = known if form == "known" else lambda o, t: known(o, t)
base = peak()
netassay.sharpness(model, loss, data, kind=kind, tolerance=0.05, max_products=3, memory=0)
print(peak() - base)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize(("kind", "form"), [("hessian", "known"), ("ggn", "known"), ("hessian", "own")])
def test_peak_memory_of_many_batches_is_that_of_one(kind, form):
    def peak(count):
        command = [sys.executable, "-c", PEAK, kind, form, str(count)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    one = peak(1)
    assert one > 15_000
    assert peak(32) <= 1.2 * one


def test_sharpness_of_cross_entropy_with_no_graph_kept():
    batches = [(X[:9], LABEL[:9]), (X[9:], LABEL[9:])]
    whole = netassay.sharpness(network(), F.cross_entropy, [(X, LABEL)], blocks="layer", tolerance=1e-9)
    parts = netassay.sharpness(network(), F.cross_entropy, batches, blocks="layer", tolerance=1e-9, memory=0)
    torch.testing.assert_close(parts.values, whole.values, rtol=1e-9, atol=0.0)
    for name, pairs in whole.blocks.items():
        torch.testing.assert_close(parts.blocks[name].values, pairs.values, rtol=1e-9, atol=0.0)
