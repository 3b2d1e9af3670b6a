"""Each optimiser: its steps against torch.optim or hand-made recursions, its threshold on a quadratic."""

import copy

import pytest
import torch
from memory import Memory

from netassay.curvature.combined import Preconditioned
from netassay.curvature.curvature import Curvature
from netassay.curvature.eigen import lanczos
from netassay.curvature.thresholds import threshold
from netassay.errors import ConfigError
from netassay.studies.edge.assay import assay, build, optimiser
from netassay.studies.edge.config import OPTIMISERS, EdgeConfig
from netassay.studies.edge.networks import mse

SMALL = EdgeConfig(examples=40, width=3, steps=12, curvature_every=4, step_size=0.05, dtype="float64", tolerance=1e-8)
SPECTRUM = torch.tensor([3.0, 1.0, 0.2], dtype=torch.float64)


def quadratic(config, steps, start=1e-3, frozen=None):
    """|x| after `steps` on f = sum lambda_i x_i^2 / 2, all in float64; `frozen` fixes an adaptive preconditioner."""
    x = torch.nn.Parameter(torch.full((3,), start, dtype=torch.float64))
    way = optimiser(config, {"x": x}, examples=1)

    def gradient(_=None):
        return {"x": SPECTRUM * x.detach()}

    if frozen is not None:
        square = "exp_avg_sq" if config.optimiser == "adam" else "square_avg"
        state = {"x/step": torch.tensor(1e14), f"x/{square}": frozen.square()}
        if config.optimiser == "adam":
            state["x/exp_avg"] = torch.zeros(3, dtype=torch.float64)
        way.load(state)
        seen = way.preconditioner(gradient())
        torch.testing.assert_close(seen, frozen, rtol=1e-5, atol=0)
    for _ in range(steps):
        way.advance(gradient(), gradient)
        if float(x.detach().abs().max()) > 1e4 * start:  # it diverges; an adaptive method would adapt in the end
            break
    return float(x.detach().abs().max()), way


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("method", [name for name, own in OPTIMISERS.items() if own.edge and not own.preconditioned])
def test_just_below_the_threshold_it_converges_just_above_it_diverges(method, momentum):
    own = {"momentum": momentum} if "momentum" in OPTIMISERS[method].usual else {}
    limit = threshold(method, 1.0, momentum=momentum if own else 0.0) / float(SPECTRUM[0])
    for factor, holds in ((0.99, True), (1.01, False)):
        config = EdgeConfig(optimiser=method, step_size=factor * limit, **own)
        size, way = quadratic(config, 3000)
        assert (size < 1e-6) is holds, (factor, size)
        assert (way.edge_ratio(float(SPECTRUM[0]), 1.0) < 1) is holds
        assert way.edge_ratio(float(SPECTRUM[0]), 1.0) == pytest.approx(factor)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("method", [name for name, own in OPTIMISERS.items() if own.preconditioned])
def test_adaptive_methods_at_the_threshold_of_the_preconditioned_hessian(method, momentum):
    """The preconditioner stands still: its averaging is slower than anything else by far."""
    frozen = torch.tensor([2.0, 0.05, 1.0], dtype=torch.float64)
    own = {"beta2": 1 - 1e-12, "epsilon": 1e-12}
    if method == "adam":
        own["momentum"] = momentum
    elif momentum:
        pytest.skip("rmsprop has no momentum here")
    top = float((SPECTRUM / frozen).max())
    assert top == 20
    limit = threshold(method, 1.0, momentum=momentum) / top
    for factor, holds in ((0.99, True), (1.01, False)):
        config = EdgeConfig(optimiser=method, step_size=factor * limit, **own)
        size, way = quadratic(config, 4000, start=1e-6, frozen=frozen)
        assert (size < 1e-8) is holds, (factor, size)
        assert way.edge_ratio(top, 1.0) == pytest.approx(factor)


@pytest.mark.parametrize("name", [*OPTIMISERS])
def test_an_entry_says_all_that_the_study_asks(name):
    method, config = OPTIMISERS[name], EdgeConfig(optimiser=name)
    assert set(method.usual) <= set(EdgeConfig.model_fields)
    assert config.optimiser_settings() == method.usual
    for key, value in method.usual.items():
        assert EdgeConfig(optimiser=name, **{key: int(value) if key == "batch_size" else value}) != config
    way = optimiser(config, {"x": torch.nn.Parameter(torch.ones(3))}, examples=40)
    assert (way.preconditioner({"x": torch.ones(3)}) is not None) is method.preconditioned
    assert way.every_step is not method.batches
    limits = [method.threshold(size, method.usual, 1e9) for size in (0.1, 0.2)]
    assert limits[0] == pytest.approx(2 * limits[1], rel=1e-3)
    assert way.edge_ratio(limits[0], 1e9) == pytest.approx(1)


def test_thresholds_of_the_literature():
    assert threshold("gd", 0.02) == pytest.approx(100)
    assert threshold("polyak", 0.1, momentum=0.9) == pytest.approx(38)
    assert threshold("nesterov", 0.1, momentum=0.9) == pytest.approx(38 / 2.8)
    assert threshold("adam", 1e-3, momentum=0.9) == pytest.approx(38 / 1e-3)
    assert threshold("rmsprop", 1e-3) == pytest.approx(2000)


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
def test_sam_shrinks_the_error_below_its_edge_and_not_above(size):
    """One step along the eigenvector, the gradient being what it is there."""
    curvature, rho = float(SPECTRUM[0]), 0.05
    for factor, shrinks in ((0.99, True), (1.01, False)):
        # the step size at which this curvature is `factor` of the edge, by bisection in the threshold
        low, high = 1e-6, 10.0
        for _ in range(200):
            middle = (low + high) / 2
            limit = threshold("sam", middle, rho=rho, gradient_norm=curvature * size)
            low, high = (middle, high) if curvature / limit < factor else (low, middle)
        x = torch.nn.Parameter(torch.tensor([size, 0.0, 0.0], dtype=torch.float64))
        way = optimiser(EdgeConfig(optimiser="sam", step_size=low, rho=rho), {"x": x}, examples=1)

        def gradient(_=None, x=x):
            return {"x": SPECTRUM * x.detach()}

        assert way.edge_ratio(curvature, curvature * size) == pytest.approx(factor)
        way.advance(gradient(), gradient)
        assert (abs(float(x.detach()[0])) < size) is shrinks


def test_sam_on_a_quadratic_stays_bounded_below_two_over_lambda_only():
    rho = 0.05
    for factor, holds in ((0.97, True), (1.03, False)):
        size, _ = quadratic(EdgeConfig(optimiser="sam", step_size=factor * 2 / 3, rho=rho), 2000, start=1e-2)
        # the period-two orbit of a -> a (1 - eta lambda) - eta lambda rho sign(a)
        orbit = factor * 2 * rho / (2 - factor * 2)
        assert (size < 1.5 * orbit) if holds else (size > 1)
    assert threshold("sam", 0.1, rho=0.0) == 20
    assert threshold("sam", 0.1, rho=0.05, gradient_norm=0.0) == 0
    assert threshold("sam", 0.1, rho=0.05, gradient_norm=1e9) == pytest.approx(20, rel=1e-6)


@pytest.mark.parametrize(
    ("method", "reference"),
    [
        ("polyak", lambda p, eta: torch.optim.SGD(p, lr=eta, momentum=0.9)),
        ("nesterov", lambda p, eta: torch.optim.SGD(p, lr=eta, momentum=0.9, nesterov=True)),
        ("adam", lambda p, eta: torch.optim.Adam(p, lr=eta)),
        ("rmsprop", lambda p, eta: torch.optim.RMSprop(p, lr=eta)),
    ],
)
def test_the_path_is_that_of_torch(method, reference):
    config = SMALL.replace(optimiser=method, step_size=0.01)
    memory = Memory()
    assay(config, memory)
    start = build(config)
    model, data = copy.deepcopy(start.model), start.data.train
    other = reference(model.parameters(), config.step_size)
    for step in range(config.steps + 1):
        other.zero_grad()
        loss = mse(model(data.inputs), data.labels)
        loss.backward()
        assert memory.steps[step]["loss"] == pytest.approx(loss.item(), rel=1e-12)
        other.step()


def test_sam_takes_the_gradient_uphill():
    config = SMALL.replace(optimiser="sam", rho=0.1, step_size=0.3)
    descent = build(config)
    descent.measure(0)
    before = {n: p.detach().clone() for n, p in descent.parameters.items()}
    norm = sum(g.square().sum() for g in descent.gradient.values()).sqrt()
    uphill = copy.deepcopy(descent.model)
    with torch.no_grad():
        for name, p in uphill.named_parameters():
            p.add_(0.1 / norm * descent.gradient[name])
    loss = mse(uphill(descent.data.train.inputs), descent.data.train.labels)
    slopes = torch.autograd.grad(loss, list(uphill.parameters()))
    descent.advance()
    for (name, p), slope in zip(descent.parameters.items(), slopes, strict=True):
        torch.testing.assert_close(p.detach(), before[name] - 0.3 * slope)


def test_every_epoch_of_batches_has_each_example_once_in_an_order_of_its_own():
    way = optimiser(EdgeConfig(optimiser="sgd", batch_size=12, seed=3), {}, examples=40)
    epochs = [[way.batch(4 * epoch + i) for i in range(4)] for epoch in range(3)]
    orders = [torch.cat(batches) for batches in epochs]
    assert [len(batch) for batch in epochs[0]] == [12, 12, 12, 4]
    for order in orders:
        assert order.sort().values.tolist() == list(range(40))
    assert not torch.equal(orders[0], orders[1])


def test_sgd_steps_along_the_gradient_of_its_batch():
    config = SMALL.replace(optimiser="sgd", batch_size=8)
    descent = build(config)
    descent.measure(1)
    x, y = descent.data.train
    picked = descent.optimiser.batch(0)
    model = copy.deepcopy(descent.model)
    slopes = torch.autograd.grad(mse(model(x[picked]), y[picked]), list(model.parameters()))
    descent.advance()
    for p, q, slope in zip(descent.model.parameters(), model.parameters(), slopes, strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - config.step_size * slope)


@pytest.mark.parametrize("method", ["adam", "rmsprop"])
def test_the_preconditioner_is_that_of_the_next_step(method):
    """theta_t - theta_{t+1} = eta P^-1 m: with P in hand and m from torch's state, the step comes out."""
    descent = build(SMALL.replace(optimiser=method, step_size=0.01))
    for step in range(5):
        descent.measure(step)
        before = torch.cat([p.detach().reshape(-1).clone() for p in descent.parameters.values()])
        diagonal = descent.optimiser.preconditioner(descent.gradient)
        g = torch.cat([g.reshape(-1) for g in descent.gradient.values()])
        descent.advance()
        after = torch.cat([p.detach().reshape(-1) for p in descent.parameters.values()])
        held = descent.optimiser.method.state
        moment = g
        if method == "adam":
            moment = torch.cat([held[p]["exp_avg"].reshape(-1) for p in descent.parameters.values()])
        torch.testing.assert_close(before - after, 0.01 * moment / diagonal)


def test_the_recorded_ratio_is_that_of_the_preconditioned_hessian():
    config = SMALL.replace(optimiser="adam", step_size=1e-3, steps=8)
    memory = Memory()
    assay(config, memory)
    descent = build(config)
    for step in range(9):
        descent.measure(step)
        if step < 8:
            descent.advance()
    seen = memory.steps[8]
    diagonal = descent.optimiser.preconditioner(descent.gradient)
    with Curvature(descent.model, mse, [tuple(descent.data.train)], blocks="layer") as curvature:
        matrix = Preconditioned(curvature, diagonal)
        top = float(lanczos(matrix.product, matrix.size, tolerance=1e-8).values[0])
    assert seen[("preconditioned_sharpness", "")] == pytest.approx(top, rel=1e-6)
    assert seen[("edge_ratio", "")] == pytest.approx(top * 1e-3 / 38, rel=1e-6)
    for layer in ("layer1", "layer2", "output"):
        expected = seen[("preconditioned_sharpness", layer)] * 1e-3 / 38
        assert seen[("edge_ratio", layer)] == pytest.approx(expected)
        assert seen[("preconditioned_sharpness", layer)] <= top * (1 + 1e-6)
    assert seen[("sharpness", "")] != pytest.approx(top, rel=0.1)


@pytest.mark.parametrize("method", [*OPTIMISERS])
@pytest.mark.parametrize("cut", [1, 7])
def test_stopped_and_resumed_it_goes_on_bit_for_bit(method, cut):
    config = SMALL.replace(
        optimiser=method,
        step_size=0.02,
        dtype="float32",
        tolerance=1e-3,
        **({"batch_size": 16} if method == "sgd" else {}),
    )
    whole, first = Memory(), Memory()
    assay(config, whole)
    first.stop = lambda: len(first.steps) == cut
    assay(config, first)
    first.stop = lambda: False
    assay(config, first)
    assert first.steps == whole.steps
    for key, held in whole.checkpoint.tensors.items():
        assert torch.equal(held, first.checkpoint.tensors[key]), key


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"momentum": 0.9}, "momentum = 0.9 has no meaning for optimiser 'gd'.*polyak, nesterov, adam"),
        ({"optimiser": "rmsprop", "momentum": 0.5}, "has no meaning for optimiser 'rmsprop'"),
        ({"optimiser": "adam", "batch_size": 8}, "batch_size = 8 has no meaning.*sgd"),
        ({"rho": 0.1}, "rho = 0.1 has no meaning.*sam"),
        ({"epsilon": 0.1, "optimiser": "sam"}, "epsilon = 0.1 has no meaning.*adam, rmsprop"),
        ({"batch_probes": 3}, "batch_probes = 3 needs mini-batches"),
        ({"trace_products": 5}, "trace_products = 5 is not allowed: 0 for none, else at least 6"),
        ({"density_steps": 3}, "density_steps = 3 is not allowed"),
        ({"optimiser": "adam", "flow": True}, "flow = true needs a method whose limit"),
        ({"optimiser": "polyak", "central_flow": True}, "central flow of gradient descent, not of 'polyak'"),
    ],
)
def test_combinations_that_mean_nothing_are_refused_in_words(values, words):
    with pytest.raises(ConfigError, match=words):
        EdgeConfig(**values)


@pytest.mark.parametrize(
    ("method", "own", "low", "high"),
    [
        ("polyak", {"momentum": 0.5, "step_size": 0.4, "steps": 300}, 0.95, 1.1),
        ("nesterov", {"momentum": 0.5, "step_size": 0.3, "steps": 300}, 0.95, 1.2),
        ("adam", {"step_size": 0.004, "steps": 300}, 0.85, 1.1),
        ("rmsprop", {"step_size": 0.0005, "steps": 300}, 0.9, 1.2),
    ],
)
def test_on_digits_each_climbs_to_its_own_edge_and_hovers_there(method, own, low, high):
    config = EdgeConfig(
        examples=300, width=32, layers=False, curvature_every=5, tolerance=3e-3, optimiser=method, **own
    )
    memory = Memory()
    assay(config, memory)
    ratios = {step: values[("edge_ratio", "")] for step, values in memory.steps.items() if ("edge_ratio", "") in values}
    early = [ratio for step, ratio in ratios.items() if 10 <= step <= 50]
    late = torch.tensor([ratio for step, ratio in ratios.items() if step >= 150])
    assert min(early) < 0.9
    assert low < float(late.median()) < high, (min(early), float(late.median()), late[::4])
