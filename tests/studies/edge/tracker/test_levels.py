"""Levels of the tracker: critical sharpness before a step, exact values after it, and what each may cost."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import netassay
from netassay.errors import ConfigError
from netassay.presenting import report
from netassay.runs import Store
from netassay.studies.edge.tracker.findings import verdict
from netassay.studies.edge.tracker.forward_level import SHARE, numbers
from netassay.studies.edge.tracker.tracker import EdgeWarning, SharpnessTracker, TrackerWarning

X = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(8, 3)
Y = X.square().sum(dim=1, keepdim=True)
LOSS = nn.MSELoss()
OPTIMIZERS = [
    lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9),
    lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
]


def network(*more):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), *more, nn.Tanh(), nn.Linear(4, 1)).double()


def take_steps(model, optimizer, tracker, steps, before=lambda: None):
    for _ in range(steps):
        optimizer.zero_grad()
        LOSS(model(X), Y).backward()
        before()
        optimizer.step()
        tracker.step()


def by_name(tracker, name):
    metrics = tracker.run.metrics()
    chosen = metrics.filter((metrics["name"] == name) & (metrics["part"] == ""))
    return dict(zip(chosen["step"], chosen["value"], strict=True))


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_numbers_before_a_step_are_the_critical_sharpness_along_it(tmp_path, make):
    model = network()
    optimizer = make(model.parameters())
    truth = []

    def measure():
        truth.append(netassay.critical_sharpness(model, LOSS, [(X, Y)], direction=optimizer))

    with SharpnessTracker(model, LOSS, [(X, Y)], optimizer, store=tmp_path, every=2, level="forward") as tracker:
        take_steps(model, optimizer, tracker, 5, measure)
    values, ratios = by_name(tracker, "critical_sharpness"), by_name(tracker, "critical_ratio")
    assert list(values) == [0, 2, 4]
    for step, value in values.items():
        assert truth[step].lower * 0.95 <= value <= truth[step].upper * 1.05
        assert ratios[step] == pytest.approx(value * optimizer.param_groups[0]["lr"] / 2)
    assert not by_name(tracker, "sharpness")
    assert tracker.critical.status == "measured"
    assert str(tracker.run.state) == "finished"


@pytest.mark.parametrize("level, layers", [("leading", False), ("layers", True)])
def test_exact_values_are_those_without_a_level(tmp_path, level, layers):
    exact = {}
    for chosen in (None, level):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with SharpnessTracker(model, LOSS, [(X, Y)], optimizer, store=tmp_path, every=1, level=chosen) as tracker:
            take_steps(model, optimizer, tracker, 3)
        metrics = tracker.run.metrics()
        parts = metrics.filter(metrics["name"] == "sharpness").select("step", "part", "value")
        exact[chosen] = parts if layers else parts.filter(parts["part"] == "")
        assert (parts["part"] != "").any() == (layers or chosen is None)
    assert exact[None].equals(exact[level])
    assert list(by_name(tracker, "critical_sharpness")) == [0, 1, 2]


def bits(model, optimizer):
    tensors = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())]
    tensors += [t for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t)]
    return (
        [(id(t), t.data_ptr(), t._version, t.detach().numpy().tobytes()) for t in tensors],
        [module.training for module in model.modules()],
        repr(optimizer.state_dict()["param_groups"]),
        torch.get_rng_state().numpy().tobytes(),
        repr(np.random.get_state()),  # noqa: NPY002
    )


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("fails", [False, True])
def test_a_look_before_a_step_leaves_everything_bit_for_bit(tmp_path, make, fails):
    model = network(nn.BatchNorm1d(4), nn.Dropout(0.5))
    optimizer = make(model.parameters())

    def loss(output, target):
        if fails:
            np.random.rand()  # noqa: NPY002
            raise ZeroDivisionError
        return LOSS(output, target)

    tracker = SharpnessTracker(model, loss, [(X, Y)], optimizer, store=tmp_path, every=1, level="forward")
    for _ in range(3):
        optimizer.zero_grad()
        LOSS(model(X), Y).backward()
        before = bits(model, optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrackerWarning)
            critical = tracker.before_step()
        assert (critical is None) == fails
        assert bits(model, optimizer) == before
        optimizer.step()
        tracker.step()
    tracker.close()
    assert str(tracker.run.state) == ("failed" if fails else "finished")


class Seconds:
    """A clock on which a forward pass of the tracked network takes one second, and training steps what they say."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("level", ["forward", "leading", "layers"])
def test_the_budget_picks_what_is_looked_at(tmp_path, level):
    clock, model = Seconds(), network()
    model.register_forward_hook(lambda *_: setattr(clock, "now", clock.now + 1.0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with SharpnessTracker(
        model, LOSS, [(X, Y)], optimizer, store=tmp_path, budget=0.1, level=level, clock=clock
    ) as tracker:
        shares = []
        for _ in range(400):
            optimizer.zero_grad()
            LOSS(model(X), Y).backward()
            clock.now += 2.0
            optimizer.step()
            tracker.step()
            shares.append(tracker.share)
    along, exact = by_name(tracker, "critical_passes"), by_name(tracker, "sharpness")
    assert min(along) == 0
    # once the first look is paid for the share stays at what was asked for, but for one look along the update
    assert shares[-1] <= 0.1 + 10 / (3 * 400)
    if level == "forward":
        assert not exact
        assert len(along) > 20
    else:
        # the first exact look is not taken on credit
        assert min(exact) * 3 * 0.1 >= 80
        assert set(exact) <= set(along)
        between = [step for step in along if step not in exact]
        assert sum(along[step] for step in between) <= SHARE * 0.1 * 3 * 400 + 10


def test_a_module_without_second_derivative_is_followed_by_forward_passes_alone(tmp_path):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.square()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope):
            return 2 * ctx.saved_tensors[0] * slope

    class Squared(nn.Module):
        def forward(self, x):
            return Once.apply(x)

    model = network(Squared())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    tracker = SharpnessTracker(model, LOSS, [(X, Y)], optimizer, store=tmp_path, every=1, level="layers")
    with pytest.warns(TrackerWarning, match="once_differentiable"):
        take_steps(model, optimizer, tracker, 3)
    tracker.close()
    assert list(by_name(tracker, "critical_sharpness")) == [0, 1, 2]
    assert not by_name(tracker, "sharpness")
    assert str(tracker.run.state) == "finished"
    assert "looks failed" in tracker.run.message


def test_a_step_size_that_raises_the_loss_is_a_warning_of_the_forward_level(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=50.0)
    tracker = SharpnessTracker(model, LOSS, [(X, Y)], optimizer, store=tmp_path, every=1, level="forward")
    with pytest.warns(EdgeWarning, match="critical"):
        take_steps(model, optimizer, tracker, 1)
    assert tracker.critical.edge_ratio > 1
    tracker.close()


def test_a_step_size_in_place_of_an_optimiser_and_an_optimiser_without_hooks(tmp_path):
    class Bare:
        """Steps as SGD does, and tells nobody."""

        def __init__(self, parameters):
            self.param_groups = [{"params": list(parameters), "lr": 0.1}]
            self.state = {}

        def step(self):
            for p in self.param_groups[0]["params"]:
                p.data -= self.param_groups[0]["lr"] * p.grad

    values = []
    for make in (lambda model: 0.1, lambda model: Bare(model.parameters())):
        model = network()
        with SharpnessTracker(model, LOSS, [(X, Y)], make(model), store=tmp_path, every=1, level="forward") as tracker:
            LOSS(model(X), Y).backward()
            critical = tracker.before_step()
            assert tracker.before_step() is None
            tracker.step()
        values.append(critical.value)
        assert critical.edge_ratio == pytest.approx(0.1 * critical.value / 2)
    assert values[0] == pytest.approx(values[1], rel=0.1)


def test_steps_that_do_not_move_are_no_looks_and_no_warning(tmp_path):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    with SharpnessTracker(model, LOSS, [(X, Y)], optimizer, store=tmp_path, every=1, level="forward") as tracker:
        take_steps(model, optimizer, tracker, 1)
        optimizer.param_groups[0]["lr"] = 0.01
        take_steps(model, optimizer, tracker, 1)
    assert list(by_name(tracker, "critical_sharpness")) == [1]


def test_the_hook_is_taken_off_with_the_end(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tracker = SharpnessTracker(model, LOSS, [(X, Y)], optimizer, store=tmp_path, level="forward")
    assert len(optimizer._optimizer_step_pre_hooks) == 1
    tracker.close()
    assert not optimizer._optimizer_step_pre_hooks


def test_closure_optimisers_are_one_warning(tmp_path):
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters())
    tracker = SharpnessTracker(model, LOSS, [(X, Y)], optimizer, store=tmp_path, level="forward")
    LOSS(model(X), Y).backward()
    with pytest.warns(TrackerWarning, match="closure"):
        tracker.before_step()
    tracker.close()


def test_a_level_without_an_optimiser_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="level='forward'"):
        SharpnessTracker(network(), LOSS, [(X, Y)], store=tmp_path, level="forward")


def test_an_update_that_descends_nowhere_has_no_value():
    model = network()
    LOSS(model(X), Y).backward()
    uphill = torch.optim.SGD(model.parameters(), lr=0.1, maximize=True)
    critical = netassay.critical_sharpness(model, LOSS, [(X, Y)], direction=uphill)
    assert critical.status == "not a descent direction"
    assert list(numbers(critical)) == ["critical_passes", "tracked_loss"]


@pytest.mark.parametrize("level", ["forward", "leading"])
def test_the_page_has_both_and_says_whether_the_edge_was_reached(tmp_path, level):
    for name, rate in (("calm", 0.01), ("wild", 0.9)):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        with (
            warnings.catch_warnings(),
            SharpnessTracker(
                model, LOSS, [(X, Y)], optimizer, store=tmp_path, name=name, every=1, level=level
            ) as tracker,
        ):
            warnings.simplefilter("ignore", EdgeWarning)
            take_steps(model, optimizer, tracker, 4)
        reached, _, along = verdict(tracker.run).partition("; ")
        if level == "leading":
            assert reached.startswith("reached" if name == "wild" else "did not reach")
            reached = along
        assert reached.startswith("a next step raised" if name == "wild" else "no next step raised")
    text = report(Store(tmp_path).select({}), tmp_path / "page.html").read_text()
    assert "tracker-critical" in text
    assert ("did not reach the edge of stability" in text) == (level == "leading")
