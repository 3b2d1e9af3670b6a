"""Critical sharpness against closed forms and finely sampled losses, and what a look leaves behind."""

import copy
import math
import random
import statistics

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import netassay
from netassay.errors import DataError, ModelError

A = torch.diag(torch.tensor([4.0, 1.0, 0.5], dtype=torch.float64))


class Quadratic(nn.Module):
    """(w - c)'A(w - c) / 2, whatever its input is."""

    def __init__(self, point=(1.0, -2.0, 3.0), matrix=A):
        super().__init__()
        self.w, self.matrix = nn.Parameter(torch.tensor(point, dtype=torch.float64)), matrix

    def forward(self, x):
        off = self.w - x
        return 0.5 * off @ self.matrix @ off


AT_ZERO = [(torch.zeros(3, dtype=torch.float64), torch.zeros(1))]


def value(output, target):
    return output


def critical(model, batches=AT_ZERO, loss=value, **keywords):
    return netassay.critical_sharpness(model, loss, batches, **keywords)


def small_network(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3)).to(dtype)
    x, y = torch.randn(40, 6, dtype=dtype), torch.randint(0, 3, (40,))
    return model, [(x[:25], y[:25]), (x[25:], y[25:])]


def crossing(model, batches, direction, loss=F.cross_entropy):
    """The smallest rate at which the loss is above that at the weights, by bisection of a fine walk; slow."""
    weights = [p.detach().clone() for p in model.parameters()]
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])

    @torch.no_grad()
    def at(rate):
        for p, w, d in zip(model.parameters(), weights, direction, strict=True):
            p.copy_(w - rate * d)
        found = float(loss(model(x), y))
        for p, w in zip(model.parameters(), weights, strict=True):
            p.copy_(w)
        return found

    base, low, high = at(0.0), 0.0, 1e-3
    while at(high) <= base:
        low, high = high, 1.02 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle) <= base else (low, middle)
    return high


def test_along_the_gradient_of_a_quadratic_it_is_the_directional_sharpness_and_not_the_largest_eigenvalue():
    model = Quadratic()
    g = A @ model.w.detach()
    found = critical(model, tolerance=0.01)
    closed = float(g @ A @ g / (g @ g))
    assert found.value == pytest.approx(closed, rel=1e-9)
    assert found.lower <= closed <= found.upper <= 1.02021 * found.lower
    assert (found.status, found.converged, found.loss) == (
        "measured",
        True,
        float(model(torch.zeros(3)).detach()),
    )
    assert found.rate == pytest.approx(2 / closed)
    assert closed < float(netassay.sharpness(model, value, AT_ZERO).values[0]) * 0.95


@pytest.mark.parametrize("seed", range(3))
def test_along_a_unit_vector_of_a_quadratic(seed):
    model = Quadratic()
    g = A @ model.w.detach()
    v = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    v = v / torch.linalg.vector_norm(v) * torch.sign(g @ v)
    closed = float(v @ A @ v / (g @ v))
    assert critical(model, direction=v).value == pytest.approx(closed, rel=1e-9)
    # twice the direction needs half the rate
    assert critical(model, direction=[2 * v]).value == pytest.approx(2 * closed, rel=1e-9)
    for by in ("product", "differences"):
        beside = critical(model, direction={"w": v}, directional=by).directional
        assert beside.value == pytest.approx(closed, rel=1e-9)
        assert beside.curvature == pytest.approx(float(v @ A @ v), rel=1e-9)
        assert beside.slope == pytest.approx(-float(g @ v), rel=1e-9)


@pytest.mark.parametrize("kind", ["gradient", "adam", "momentum"])
def test_on_a_network_it_is_where_a_fine_walk_first_rises(kind):
    model, batches = small_network()
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    F.cross_entropy(model(x), y).backward()
    direction, unit = "gradient", [p.grad for p in model.parameters()]
    if kind != "gradient":
        direction = (
            torch.optim.Adam(model.parameters(), lr=0.01)
            if kind == "adam"
            else torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        )
        twin = copy.deepcopy(model)
        other = type(direction)(twin.parameters(), **direction.defaults)
        for p, q in zip(twin.parameters(), model.parameters(), strict=True):
            p.grad = q.grad.clone()
        other.step()
        rate = direction.defaults["lr"]
        unit = [((q - p) / rate).detach() for p, q in zip(twin.parameters(), model.parameters(), strict=True)]
    truth = crossing(model, batches, unit)
    found = critical(model, batches, F.cross_entropy, direction=direction)
    assert found.lower <= 2 / truth <= found.upper
    assert found.value == pytest.approx(2 / truth, rel=0.01)
    if kind != "gradient":
        assert found.edge_ratio == pytest.approx(rate / truth, rel=0.01)
    fine = critical(model, batches, F.cross_entropy, direction=direction, start=found, tolerance=1e-4)
    assert fine.value == pytest.approx(2 / truth, rel=2e-4)


def test_the_forward_passes_are_counted_and_few():
    model, batches = small_network(torch.float32)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    found, warm = None, []
    for step in range(40):
        optimizer.zero_grad()
        losses = [F.cross_entropy(model(x), y) * len(x) / 40 for x, y in batches]
        sum(losses).backward()
        calls.clear()
        found = critical(model, batches, F.cross_entropy, direction=optimizer, start=found)
        assert found.passes * len(batches) == len(calls)
        if step == 0:
            assert found.passes <= 8
        else:
            warm.append(found.passes)
        calls.clear()
        saved = critical(
            model, batches, F.cross_entropy, direction=optimizer, start=found, present_loss=float(sum(losses).detach())
        )
        assert saved.passes * len(batches) == len(calls) == 2 * len(batches)
        optimizer.step()
    assert statistics.median(warm) <= 3


def test_a_cold_look_costs_eight_passes_at_most_beside_the_gradient():
    model, batches = small_network()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    good = critical(model, batches, F.cross_entropy)
    assert len(calls) <= 8 * len(batches)
    for factor in (0.1, 10.0):
        calls.clear()
        found = critical(model, batches, F.cross_entropy, start=factor * good.rate)
        assert found.passes * len(batches) == len(calls) <= 9 * len(batches)
        assert found.lower <= good.upper and good.lower <= found.upper


def test_the_loss_of_one_data_set_along_the_update_of_another():
    model = Quadratic()
    other = [(torch.tensor([-5.0, 0.0, 2.0], dtype=torch.float64), torch.zeros(1))]
    g = A @ model.w.detach()
    d = A @ (model.w.detach() - other[0][0])
    closed = float(d @ A @ d / (g @ d))
    assert closed > 0
    assert critical(model, along=other).value == pytest.approx(closed, rel=1e-9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    found = critical(model, direction=optimizer, along=other)
    assert found.value == pytest.approx(closed, rel=1e-9)
    assert model.w.grad is None
    # an update that helps the other data set and harms this one
    opposite = [(2 * model.w.detach(), torch.zeros(1))]
    assert critical(model, along=opposite).status == "not a descent direction"


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_an_ascent_gives_a_status_and_no_number(scale):
    model = Quadratic()
    found = critical(model, direction=-scale * (A @ model.w.detach()))
    assert found.status == "not a descent direction"
    assert math.isnan(found.value) and math.isnan(found.rate) and math.isnan(found.lower)
    assert not found.converged


def test_a_loss_that_only_falls_has_none():
    model = Quadratic()
    found = critical(model, loss=lambda output, target: -output)
    assert (found.status, found.value, found.rate, found.converged) == ("no rise", 0.0, math.inf, False)


def test_max_passes_is_kept_and_said():
    found = critical(Quadratic(), start=1e-9, max_passes=2)
    assert (found.status, found.converged) == ("out of passes", False)
    assert found.lower <= critical(Quadratic()).value <= found.upper


def bits(model, optimizer):
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [p.grad for p in model.parameters() if p.grad is not None]
    tensors += [v for entry in optimizer.state.values() for v in entry.values() if torch.is_tensor(v)]
    return (
        [(id(t), t.data_ptr(), t._version, t.dtype, t.detach().float().numpy().tobytes()) for t in tensors],
        [module.training for module in model.modules()],
        repr(optimizer.state_dict()["param_groups"]),
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        repr(np.random.get_state()),  # noqa: NPY002
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("direction", ["gradient", "optimizer", "vector"])
def test_a_look_leaves_everything_bit_for_bit(dtype, direction):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, 3)).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    x, y = torch.randn(40, 6, dtype=dtype), torch.randint(0, 3, (40,))
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    output = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    output.backward(retain_graph=True)
    before = bits(model, optimizer)
    given = {
        "gradient": "gradient",
        "optimizer": optimizer,
        "vector": [p.grad for p in model.parameters()],
    }[direction]
    found = critical(model, [(x, y)], F.cross_entropy, direction=given, directional="differences")
    assert found.status == "measured"
    assert bits(model, optimizer) == before
    assert x.dtype == dtype
    output.backward()  # the caller's graph still holds


def test_weights_of_sixteen_bits_are_taken_in_float32():
    model, batches = small_network(torch.bfloat16)
    twin = copy.deepcopy(model).float()
    found = critical(model, batches, F.cross_entropy)
    plain = critical(twin, [(x.float(), y) for x, y in batches], F.cross_entropy)
    assert (found.value, found.lower, found.loss) == (plain.value, plain.lower, plain.loss)
    assert found.memory >= 8 * sum(p.numel() for p in model.parameters())
    adam = torch.optim.Adam(model.parameters(), lr=1e-7)
    F.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    # steps of 1e-7 round to nothing in bfloat16
    found = critical(model, batches, F.cross_entropy, direction=adam)
    assert found.status == "measured"


def test_under_autocast_the_interval_holds_its_noise():
    inside, noises = 0, []
    for seed in range(12):
        model, batches = small_network(torch.float32, seed)
        truth = critical(model, batches, F.cross_entropy, tolerance=0.005).value
        with torch.autocast("cpu", torch.bfloat16):
            found = critical(model, batches, F.cross_entropy, tolerance=0.02)
        noises.append(found.noise)
        inside += found.lower <= truth <= found.upper
    assert inside >= 10
    assert statistics.median(noises) > 1e-5


def test_the_interval_of_a_sample_holds_the_value_of_the_whole():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    x = torch.randn(800, 6, dtype=torch.float64)
    y = x[:, :3].argmax(1)
    F.cross_entropy(model(x), y).backward()
    direction = [p.grad for p in model.parameters()]
    whole = critical(model, [(x, y)], F.cross_entropy, direction=direction, tolerance=0.005)
    inside, widths = 0, []
    for draw in range(30):
        order = torch.randperm(800, generator=torch.Generator().manual_seed(draw))[:160].split(10)
        batches = [(x[rows], y[rows]) for rows in order]
        found = critical(model, batches, F.cross_entropy, direction=direction, sample=True, start=whole)
        inside += found.lower <= whole.value <= found.upper
        widths.append(found.upper / found.lower)
    assert inside >= 26
    assert statistics.median(widths) > 1.2
    with pytest.raises(ModelError, match="two or more"):
        critical(model, [(x, y)], F.cross_entropy, sample=True)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(8, 24), nn.Linear(8, 2)

    def forward(self, x):
        q, k, v = self.inner(x).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v).mean(1))


def test_where_there_is_no_second_derivative():
    torch.manual_seed(0)
    model = Attention()
    batches = [(torch.randn(9, 5, 8), torch.randint(0, 2, (9,)))]
    F.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    plain = critical(model, batches, F.cross_entropy, direction=optimizer)
    with torch.no_grad():
        assert critical(model, batches, F.cross_entropy, direction=optimizer) == plain
        assert critical(model, batches, F.cross_entropy) == critical(model, batches, F.cross_entropy)
    compiled = torch.compile(model, backend="eager")
    assert critical(compiled, batches, F.cross_entropy, direction=optimizer) == plain
    model.inner.requires_grad_(False)
    assert critical(model, batches, F.cross_entropy, direction=optimizer).status == "measured"


def test_the_passes_build_no_graph_and_leave_torch_its_fast_attention():
    torch.manual_seed(0)
    model, batch = Attention(), (torch.randn(9, 5, 8), torch.randint(0, 2, (9,)))
    states = []
    model.register_forward_hook(
        lambda *_: states.append((torch.is_grad_enabled(), torch.backends.cuda.flash_sdp_enabled()))
    )
    size = sum(p.numel() for p in model.parameters())
    critical(model, [batch], F.cross_entropy, direction=torch.ones(size), directional="differences")
    assert set(states) == {(False, True)}
    netassay.sharpness(model, F.cross_entropy, [batch])
    assert (True, False) in states


class Packed(nn.Module):
    """A layer of whole numbers, as quantised ones are, before one that is trained."""

    def __init__(self):
        super().__init__()
        self.packed = nn.Parameter(torch.randint(-8, 8, (5, 6), dtype=torch.int8), requires_grad=False)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        return self.head(torch.relu(x @ (self.packed.to(x.dtype) / 8).T))


def test_quantised_parts_stay_as_they_are():
    torch.manual_seed(0)
    model = Packed()
    assert critical(model, [(torch.randn(9, 6), torch.randint(0, 2, (9,)))], F.cross_entropy).converged


class Loader:
    """A loader of which every pass has a batch less."""

    def __init__(self, batches):
        self.batches = [*batches]

    def __iter__(self):
        yield from self.batches
        self.batches = self.batches[:-1]


class Random(nn.Linear):
    def forward(self, x):
        return super().forward(x) * next(COUNT)


COUNT = iter(range(10**6))


def test_what_cannot_be_measured_is_refused_in_a_sentence():
    model, batches = small_network()
    with pytest.raises(ModelError, match="has length 0; a step along it has no effect"):
        critical(model, batches, F.cross_entropy, direction=[torch.zeros_like(p) for p in model.parameters()])
    with pytest.raises(ModelError, match=r"shape \(3,\); the 123 trainable numbers"):
        critical(model, batches, F.cross_entropy, direction=torch.ones(3))
    with pytest.raises(ModelError, match=r"shape \(2,\) for '0.weight', which is \(12, 6\)"):
        critical(model, batches, F.cross_entropy, direction=[torch.ones(2)] * 4)
    with pytest.raises(ModelError, match="1 tensors for 4 trainable"):
        critical(model, batches, F.cross_entropy, direction=[torch.ones(2)])
    with pytest.raises(ModelError, match=r"differ in '0\.bias'"):
        critical(model, batches, F.cross_entropy, direction={"0.weight": torch.ones(12, 6)})
    with pytest.raises(ModelError, match="direction='newton': allowed are"):
        critical(model, batches, F.cross_entropy, direction="newton")
    with pytest.raises(ModelError, match="direction is a int; allowed are"):
        critical(model, batches, F.cross_entropy, direction=3)
    with pytest.raises(ModelError, match="length nan"):
        critical(model, batches, F.cross_entropy, direction=torch.full((123,), math.nan))
    with pytest.raises(ModelError, match="LBFGS steps by a closure"):
        critical(model, batches, F.cross_entropy, direction=torch.optim.LBFGS(model.parameters()))
    with pytest.raises(ModelError, match=r"Dropout\(p=0.5\) in train mode"):
        critical(nn.Sequential(model, nn.Dropout()), batches, F.cross_entropy)
    with pytest.raises(DataError, match="an iterator that can be gone over only once"):
        critical(model, iter(batches), F.cross_entropy)
    with pytest.raises(DataError, match="batches changed between two passes"):
        critical(model, Loader(batches * 3), F.cross_entropy, direction=torch.ones(123))
    with pytest.raises(ModelError, match="the loss is random"):
        critical(Random(6, 3).double(), batches, F.cross_entropy, direction=torch.ones(21))
    with pytest.raises(ModelError, match="present_loss is 3 and the loss over the batches"):
        critical(model, batches, F.cross_entropy, present_loss=3.0)
    with pytest.raises(ModelError, match="present_loss is nan"):
        critical(model, batches, F.cross_entropy, present_loss=math.nan)
    with pytest.raises(ModelError, match="the direction is given"):
        critical(model, batches, F.cross_entropy, direction=torch.ones(123), along=batches)
    for words in ({"tolerance": 0.5}, {"max_passes": 1}, {"start": -1.0}, {"directional": "yes"}):
        with pytest.raises(ModelError, match=next(iter(words))):
            critical(model, batches, F.cross_entropy, **words)
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    with pytest.raises(ModelError, match="the loss is nan"):
        critical(model, batches, F.cross_entropy)
    with pytest.raises(ModelError, match="no parameter with requires_grad"):
        critical(model.requires_grad_(False), batches, F.cross_entropy)


def test_where_the_loss_leaves_the_finite_numbers_it_has_risen():
    model = Quadratic()
    found = critical(model, loss=lambda output, target: torch.where(output > 1e3, math.inf, output), start=1e9)
    assert found.value == pytest.approx(critical(model).value, rel=1e-6)


def test_a_follower_begins_from_its_last_look_and_anew_after_an_error():
    model, batches = small_network()
    follower = netassay.CriticalFollower(tolerance=0.02)
    first = follower.follow(model, F.cross_entropy, batches)
    again = follower.follow(model, F.cross_entropy, batches, present_loss=first.loss)
    assert again.passes < first.passes and again.value == pytest.approx(first.value, rel=1e-3)
    assert follower.last is again
    with pytest.raises(ModelError, match="present_loss is nan"):
        follower.follow(model, F.cross_entropy, batches, present_loss=math.nan)
    assert follower.last is None
    # what has no number is no place to begin from
    uphill = netassay.CriticalFollower(direction=torch.ones(123, dtype=torch.float64))
    assert uphill.follow(model, F.cross_entropy, batches).status in ("measured", "not a descent direction")
    follower.last = first
    follower.direction = [torch.zeros_like(p) for p in model.parameters()]
    with pytest.raises(ModelError, match="has no effect"):
        follower.follow(model, F.cross_entropy, batches)
