"""The next update of an optimiser is the step that it then takes, and asking for it changes nothing."""

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from netassay.curvature.updates import next_update
from netassay.errors import ModelError

KINDS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.01), foreach=False),
    "adamw foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.01),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=0.5),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.01),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "groups": lambda p: torch.optim.Adam([{"params": p[:1], "lr": 0.1}, {"params": p[1:], "lr": 0.01}]),
}


def setting(kind, steps, dtype=torch.float64):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(dtype)
    optimizer = KINDS[kind]([*model.parameters()])
    x, y = torch.randn(9, 3, dtype=dtype), torch.randn(9, 2, dtype=dtype)

    def backward():
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()

    for _ in range(steps):
        backward()
        optimizer.step()
    backward()
    return model, optimizer


def everything(model, optimizer):
    """All that a step writes to, by identity and by bits."""
    tensors = [t for p in model.parameters() for t in (p, p.data, p.grad)]
    state = optimizer.state_dict()
    tensors += [v for entry in optimizer.state.values() for v in entry.values() if torch.is_tensor(v)]
    tensors += [v for group in optimizer.param_groups for v in group.values() if torch.is_tensor(v)]
    return (
        [(t.data_ptr(), t._version, t.detach().numpy().tobytes()) for t in tensors],
        repr(state),
        {key: id(value) for key, value in vars(optimizer).items()},
        torch.get_rng_state().numpy().tobytes(),
    )


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_step_that_follows(kind, steps):
    model, optimizer = setting(kind, steps)
    before = everything(model, optimizer)
    update = next_update(optimizer, dict(model.named_parameters()))
    assert everything(model, optimizer) == before
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step()
    for name, p in model.named_parameters():
        moved = weights[name] - update.rate * update.direction[name]
        torch.testing.assert_close(moved, p.detach(), rtol=1e-12, atol=1e-12)
    assert update.memory >= 3 * 8 * sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_too_small_for_the_weights_is_not_rounded_away(dtype):
    model, optimizer = setting("adam", 2, dtype)
    for group in optimizer.param_groups:
        group["lr"], group["weight_decay"] = 1e-12, 0.0
    before = everything_of(model)
    small = next_update(optimizer, dict(model.named_parameters()))
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    large = next_update(optimizer, dict(model.named_parameters()))
    assert everything_of(model) == before
    for name in small.direction:
        torch.testing.assert_close(small.direction[name], large.direction[name], rtol=1e-3, atol=1e-3)
        assert float(small.direction[name].abs().min()) > 0


def everything_of(model):
    return [t.detach().float().numpy().tobytes() for p in model.parameters() for t in (p, p.grad)]


def test_gradients_of_other_data_take_the_place_of_those_at_hand():
    model, optimizer = setting("momentum", 2)
    parameters = dict(model.named_parameters())
    others = {name: torch.ones_like(p) for name, p in parameters.items()}
    before = everything(model, optimizer)
    update = next_update(optimizer, parameters, others)
    assert everything(model, optimizer) == before
    for name, p in parameters.items():
        p.grad = others[name]
        weights = p.detach().clone()
        parameters[name] = weights
    optimizer.step()
    for name, p in model.named_parameters():
        torch.testing.assert_close(parameters[name] - 0.1 * update.direction[name], p.detach())


def test_hooks_and_wrapped_steps_do_not_run():
    model, optimizer = setting("adam", 1)
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    handle = register_optimizer_step_pre_hook(lambda *_: calls.append("global"))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    next_update(optimizer, dict(model.named_parameters()))
    assert calls == []
    optimizer.step()
    handle.remove()
    assert calls == ["global", "before", "after"]
    schedule.step()


class Noisy(torch.optim.SGD):
    """Draws random numbers, counts its steps in attributes and its state, and writes to its gradients."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self.draws = torch.Generator().manual_seed(0)
        self.taken, self.sums = [], torch.zeros(1)

    def step(self, closure=None):
        self.taken.append(len(self.taken))
        self.sums += 1
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p][f"step {len(self.taken)}"] = torch.ones(1)
                p.grad += torch.randn(p.shape, dtype=p.dtype) + torch.rand(1, generator=self.draws, dtype=p.dtype)
        return super().step()


def test_an_optimiser_of_ones_own_is_left_as_it_was():
    model, _ = setting("sgd", 0)
    optimizer = Noisy(model.parameters())
    optimizer.step()
    before, draws = everything(model, optimizer), optimizer.draws.get_state()
    update = next_update(optimizer, dict(model.named_parameters()))
    assert everything(model, optimizer) == before
    assert (optimizer.taken, float(optimizer.sums)) == ([0], 1.0)
    assert torch.equal(optimizer.draws.get_state(), draws)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step()
    for name, p in model.named_parameters():
        torch.testing.assert_close(weights[name] - 0.1 * update.direction[name], p.detach())


def test_an_optimiser_in_a_wrapper():
    model, inner = setting("adamw", 2)
    wrapper = Wrapper(inner)
    before = everything(model, inner)
    update = next_update(wrapper, dict(model.named_parameters()))
    assert everything(model, inner) == before
    plain = next_update(inner, dict(model.named_parameters()))
    assert all(torch.equal(update.direction[name], plain.direction[name]) for name in plain.direction)


class Wrapper:
    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.param_groups, self.state = optimizer.param_groups, optimizer.state

    def step(self, closure=None):
        self.optimizer.step()


class Failing(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        raise RuntimeError("out of luck")


def test_what_is_no_fixed_update_is_refused_in_a_sentence():
    model, optimizer = setting("adam", 1)
    parameters = dict(model.named_parameters())
    with pytest.raises(ModelError, match=r"LBFGS steps by a closure .* no fixed direction"):
        next_update(torch.optim.LBFGS(model.parameters()), parameters)
    failing = Failing(model.parameters(), lr=0.1)
    before = everything(model, failing)
    with pytest.raises(ModelError, match=r"Failing.step\(\) failed .* out of luck"):
        next_update(failing, parameters)
    assert everything(model, failing) == before
    other = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ModelError, match="holds none of the trainable parameters"):
        next_update(other, parameters)
    optimizer.param_groups[0]["lr"] = 0.0
    with pytest.raises(ModelError, match="learning rate of Adam is 0"):
        next_update(optimizer, parameters)
    optimizer.zero_grad()
    with pytest.raises(ModelError, match=r"no trainable parameter has a gradient"):
        next_update(optimizer, parameters)


def test_a_look_leaves_the_accumulators_of_gradients_and_so_the_hooks_on_them():
    # DistributedDataParallel averages gradients by such hooks
    from netassay.curvature import critical_sharpness

    for dtype in (torch.float32, torch.bfloat16):
        model = nn.Linear(3, 2).to(dtype)
        x = torch.ones(4, 3, dtype=dtype)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        (accumulator,) = {p.view_as(p).grad_fn.next_functions[0][0] for p in [model.weight]}
        calls = []
        accumulator.register_hook(lambda *_, calls=calls: calls.append(1))
        model(x).square().mean().backward()
        critical_sharpness(model, nn.MSELoss(), [(x, torch.zeros(4, 2, dtype=dtype))], direction=optimizer)
        assert model.weight.view_as(model.weight).grad_fn.next_functions[0][0] is accumulator
        model(x).square().mean().backward()
        assert len(calls) == 2
