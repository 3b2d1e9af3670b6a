"""An optimiser's edge by trial: on a quadratic its own steps shrink below ratio 1 and grow above."""

import pytest
import torch
from torch import nn

from netassay.curvature.thresholds import threshold
from netassay.studies.edge.tracker.motion import AT_REST, Motion, motion

CURVATURES = torch.tensor([5.0, 0.3], dtype=torch.float64)


def quadratic(optimizer, steps):
    """Largest |x| over the last steps relative to the first."""
    (p,) = optimizer.param_groups[0]["params"][:1]
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * CURVATURES @ p.square()).backward()
        optimizer.step()
        seen.append(float(p.detach().abs().max()))
    return max(seen[-20:])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.6, "dampening": 0.5},
        {"weight_decay": 2.0},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 2.0},
    ],
)
def test_ratio_one_is_where_sgd_turns_unstable(options):
    for factor, grows in ((0.98, False), (1.02, True)):
        p = nn.Parameter(torch.ones(2, dtype=torch.float64))
        probe = motion(torch.optim.SGD([p], lr=1.0, **options), {"p": p})
        assert isinstance(probe, Motion)
        rate = factor / probe.edge_ratio(5.0)
        assert (quadratic(torch.optim.SGD([p], lr=rate, **options), 900) > 1) is grows


def test_learning_rates_of_groups_are_a_preconditioner():
    a, b = (nn.Parameter(torch.ones(n, dtype=torch.float64)) for n in (2, 1))
    optimizer = torch.optim.SGD([{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.4}])
    found = motion(optimizer, {"a": a, "b": b})
    # eta P^-1 must be each group's own rate
    torch.testing.assert_close(found.step_size / found.preconditioner, torch.tensor([0.1, 0.1, 0.4]).double())


@pytest.mark.parametrize("method", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_steps_along_its_preconditioner(method):
    p = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = method([p], lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    assert "not taken a step" in motion(optimizer, {"p": p})
    for _ in range(3):
        optimizer.zero_grad()
        (0.5 * CURVATURES @ p.square()).backward()
        before = p.detach().clone()
        optimizer.step()
    found = motion(optimizer, {"p": p})
    # theta <- theta - eta P^-1 m with m the averaged gradient itself
    step = found.step_size * optimizer.state[p]["exp_avg"] / found.preconditioner
    torch.testing.assert_close(before - p.detach(), step)
    assert found.limit == pytest.approx(38.0)


def test_rmsprop_steps_along_its_preconditioner():
    p = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = torch.optim.RMSprop([p], lr=0.01)
    (0.5 * CURVATURES @ p.square()).backward()
    before, gradient = p.detach().clone(), p.grad.clone()
    optimizer.step()
    found = motion(optimizer, {"p": p})
    torch.testing.assert_close(before - p.detach(), found.step_size * gradient / found.preconditioner)


def test_what_has_no_known_edge_is_said_in_words():
    p, q = (nn.Parameter(torch.ones(1)) for _ in range(2))
    for optimizer in (
        torch.optim.Adagrad([p]),
        torch.optim.Adam([p], weight_decay=0.1),
        torch.optim.SGD([p], lr=0.0),
        torch.optim.SGD([p], maximize=True),
    ):
        assert isinstance(motion(optimizer, {"p": p}), str)
    assert "does not hold the trainable parameter 'q'" in motion(torch.optim.SGD([p]), {"p": p, "q": q})


class Ascending(torch.optim.Optimizer):
    """Sharpness-aware minimisation as its usual wrapper is built: it holds the optimiser that it steps with."""

    def __init__(self, params, base, rho=0.05, adaptive=False, **options):
        super().__init__(params, {"rho": rho, "adaptive": adaptive, **options})
        self.base_optimizer = base(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups


class Own(torch.optim.SGD):
    """A class of the user's own."""


class Further(Own):
    """And one derived from it."""


class Holding:
    """A wrapper that is not an optimiser itself, as Lightning's and Accelerate's are not always."""

    def __init__(self, optimizer):
        self.optimizer = optimizer


def test_subclasses_and_wrappers_step_as_what_they_derive_from_or_hold():
    p = nn.Parameter(torch.ones(2))
    for kind in (Own, Further):
        found = motion(kind([p], lr=0.1, momentum=0.5), {"p": p})
        assert (found.step_size, found.limit) == (0.1, 3.0)
        assert f"SGD, which {kind.__name__}" in found.remark
    assert motion(torch.optim.SGD([p], lr=0.1), {"p": p}).remark == ""
    for wrapped in (Holding(Own([p], lr=0.1)), Holding(Holding(torch.optim.SGD([p], lr=0.1)))):
        assert motion(wrapped, {"p": p}).edge_ratio(20.0) == pytest.approx(1.0)
    adam = type("AdamOfMine", (torch.optim.AdamW,), {})([p], lr=0.1)
    p.grad = torch.ones(2)
    adam.step()
    assert motion(adam, {"p": p}).limit == pytest.approx(38.0)
    for unknown in (object(), Holding(None), Holding(torch.optim.Adagrad([p]))):
        assert "give motion=" in motion(unknown, {"p": p})
    loop = Holding(None)
    loop.optimizer = loop
    assert isinstance(motion(loop, {"p": p}), str)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_ratio_one_is_where_sharpness_aware_steps_turn_unstable(momentum):
    rho, norm, curvature = 0.1, 2.0, 5.0

    def largest(rate):
        """x of a quadratic whose gradient, at the norm of this moment, is taken rho uphill."""
        x, v = 1.0, 0.0
        for _ in range(900):
            v = momentum * v + curvature * (x + rho * curvature * x / norm)
            x -= rate * v
        return abs(x)

    p = nn.Parameter(torch.ones(1))

    def edge(rate):
        found = motion(Ascending([p], torch.optim.SGD, rho=rho, lr=rate, momentum=momentum), {"p": p})
        assert found.ascent == rho
        return found.edge_ratio(curvature, norm)

    low, high = 1e-3, 2.0
    for _ in range(60):
        low, high = (low, (low + high) / 2) if edge((low + high) / 2) > 1 else ((low + high) / 2, high)
    assert largest(0.98 * low) < 1
    assert largest(1.02 * low) > 1
    if not momentum:
        assert motion(Ascending([p], torch.optim.SGD, rho=rho, lr=0.1), {"p": p}).edge(norm) == pytest.approx(
            threshold("sam", 0.1, rho=rho, gradient_norm=norm)
        )


def test_sharpness_aware_steps_of_an_adaptive_method_have_the_ratio_of_the_method_and_say_so():
    p = nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    sam = Ascending([p], torch.optim.Adam, lr=0.1)
    sam.base_optimizer.step()
    found = motion(sam, {"p": p})
    assert found.edge_ratio(380.0) == pytest.approx(1.0)
    assert "lower" in found.remark


def still(p, gradient_of, rate, decays, steps=4000):
    """Largest |x| of AdamW's recursion with a preconditioner that stands still at 1."""
    x, m = torch.ones_like(p), torch.zeros_like(p)
    for _ in range(steps):
        m = 0.9 * m + 0.1 * gradient_of(x)
        x = x * (1 - rate * decays) - rate * m
    return float(x.abs().max())


@pytest.mark.parametrize("decays", [(2.0, 2.0), (2.0, 0.0), (0.0, 8.0)])
def test_decay_apart_from_the_gradient_lowers_the_edge(decays):
    p, q = (nn.Parameter(torch.ones(1, dtype=torch.float64)) for _ in range(2))
    hessian = torch.tensor([[5.0, 1.0], [1.0, 4.0]], dtype=torch.float64)

    def ratio(rate):
        optimizer = torch.optim.AdamW(
            [{"params": [a], "weight_decay": d} for a, d in zip((p, q), decays, strict=True)],
            lr=rate,
            eps=1.0,
        )
        p.grad = q.grad = torch.zeros(1, dtype=torch.float64)
        optimizer.step()
        for a in (p, q):  # the averages have settled, and their root with eps is 1
            optimizer.state[a]["step"].fill_(1e6)
        found = motion(optimizer, {"p": p, "q": q})
        if isinstance(found, str):
            assert "unstable by itself" in found
            return 2.0
        scale = (torch.ones(2) if found.preconditioner is None else found.preconditioner).double().rsqrt()
        return found.edge_ratio(float(torch.linalg.eigvalsh(scale[:, None] * hessian * scale).max()))

    low, high = 1e-3, 100.0
    for _ in range(60):
        low, high = (low, (low + high) / 2) if ratio((low + high) / 2) > 1 else ((low + high) / 2, high)
    grown = [still(torch.ones(2).double(), lambda x: hessian @ x, f * low, torch.tensor(decays)) for f in (0.98, 1.02)]
    assert grown[0] < 1 < grown[1]


def test_the_edge_of_adamw_falls_by_half_of_rate_times_decay():
    p = nn.Parameter(torch.ones(1))
    p.grad = torch.ones(1)
    edges = []
    for method, decay in ((torch.optim.AdamW, 0.0), (torch.optim.AdamW, 2.0)):
        optimizer = method([p], lr=0.05, weight_decay=decay)
        optimizer.step()
        edges.append(motion(optimizer, {"p": p}).edge())
    assert edges[1] / edges[0] == pytest.approx(0.95)
    decoupled = torch.optim.Adam([p], lr=0.05, weight_decay=2.0, decoupled_weight_decay=True)
    decoupled.step()
    assert motion(decoupled, {"p": p}).edge() == pytest.approx(edges[1])


def test_parameters_that_do_not_move_are_no_reason_for_no_ratio():
    p, q = (nn.Parameter(torch.ones(2)) for _ in range(2))
    adam = torch.optim.Adam([p, q], lr=0.1)
    p.grad = torch.ones(2)
    adam.step()  # q has no gradient, as the weights of an unused head have none
    assert motion(adam, {"p": p, "q": q}).preconditioner[2:].tolist() == pytest.approx([AT_REST] * 2)
    sgd = torch.optim.SGD([{"params": [p], "lr": 0.1}, {"params": [q], "lr": 0.0}])
    assert motion(sgd, {"p": p, "q": q}).preconditioner.tolist() == pytest.approx([1, 1, AT_REST, AT_REST])


@pytest.mark.parametrize(
    "method, options",
    [(torch.optim.Adam, {"amsgrad": True}), (torch.optim.RMSprop, {"centered": True})],
)
def test_variants_step_along_their_preconditioners(method, options):
    p = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = method([p], lr=0.01, **options)
    for scale in (1.0, 0.1, 0.3):
        p.grad = scale * torch.tensor([1.0, 3.0], dtype=torch.float64)
        before = p.detach().clone()
        optimizer.step()
    found = motion(optimizer, {"p": p})
    direction = optimizer.state[p]["exp_avg"] if method is torch.optim.Adam else p.grad
    torch.testing.assert_close(before - p.detach(), found.step_size * direction / found.preconditioner)
    moving = motion(torch.optim.RMSprop([p], lr=0.01, momentum=0.5), {"p": p})
    assert "not taken a step" in moving
