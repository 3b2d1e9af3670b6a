"""An optimiser's edge by trial: on a quadratic its own steps shrink below ratio 1 and grow above."""

import pytest
import torch
from torch import nn

from netassay.studies.edge.tracker.motion import Motion, motion

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
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.6, "dampening": 0.5},
     {"weight_decay": 2.0}],
)  # fmt: skip
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
