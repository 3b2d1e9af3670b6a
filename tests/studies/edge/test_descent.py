"""Descent and its recorded quantities against plain loops and dense Hessians."""

import copy

import pytest
import torch
from memory import Memory
from torch.func import functional_call, hessian

from netassay import training
from netassay.studies.edge.assay import assay, build
from netassay.studies.edge.config import EdgeConfig
from netassay.studies.edge.data import digits
from netassay.studies.edge.networks import LOSSES

SMALL = EdgeConfig(
    examples=40, width=3, depth=2, steps=12, curvature_every=4, step_size=0.3, top=3, dtype="float64", tolerance=1e-9
)


def dense_hessian(model, loss, x, y):
    """(P, P) Hessian over the flat parameters, and the slice of each layer in it."""
    flat = {name: p.detach() for name, p in model.named_parameters()}
    sizes = [p.numel() for p in flat.values()]

    def of(vector):
        pieces = dict(zip(flat, vector.split(sizes), strict=True))
        return loss(functional_call(model, {n: pieces[n].view_as(flat[n]) for n in flat}, (x,)), y)

    matrix = hessian(of)(torch.cat([p.reshape(-1) for p in flat.values()]))
    layers, start = {}, 0
    for name, size in zip(flat, sizes, strict=True):
        layer = name.rpartition(".")[0]
        layers[layer] = slice(layers[layer].start if layer in layers else start, start + size)
        start += size
    return matrix, layers


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("bias", [True, False])
def test_recorded_curvature_is_that_of_the_dense_hessian(loss, bias):
    config = SMALL.replace(loss=loss, bias=bias)
    memory = Memory()
    assay(config, memory)
    descent = build(config)
    for step in range(9):
        descent.measure(step)
        if step == 8:
            break
        descent.advance()
    matrix, layers = dense_hessian(descent.model, LOSSES[loss], *descent.data.train)
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    seen = memory.steps[8]
    for rank in (1, 2, 3):
        assert seen[("eigenvalue", str(rank))] == pytest.approx(eigenvalues[-rank].item(), rel=1e-6)
    assert seen[("sharpness", "")] == seen[("eigenvalue", "1")]
    assert seen[("edge_ratio", "")] == pytest.approx(config.step_size * eigenvalues[-1].item() / 2, rel=1e-6)
    for name, where in layers.items():
        block = torch.linalg.eigvalsh(matrix[where, where])[-1].item()
        assert seen[("sharpness", name)] == pytest.approx(block, rel=1e-6)
        assert seen[("leading_weight", name)] == pytest.approx(vectors[where, -1].square().sum().item(), abs=1e-4)
    assert sum(
        value
        for (key, _), value in ((k, v) for k, v in seen.items() if isinstance(k, tuple))
        if key == "leading_weight"
    ) == pytest.approx(1)


def test_descent_is_sgd_on_the_whole_set():
    config = SMALL.replace(step_size=0.5)
    memory = Memory()
    assay(config, memory)
    start = build(config)
    model, data = copy.deepcopy(start.model), start.data.train
    optimiser = torch.optim.SGD(model.parameters(), lr=config.step_size)
    for step in range(config.steps + 1):
        optimiser.zero_grad()
        loss = LOSSES[config.loss](model(data.inputs), data.labels)
        loss.backward()
        assert memory.steps[step]["loss"] == pytest.approx(loss.item(), rel=1e-12)
        norm = torch.cat([p.grad.reshape(-1) for p in model.parameters()]).norm().item()
        assert memory.steps[step][("gradient_norm", "")] == pytest.approx(norm, rel=1e-10)
        optimiser.step()
    moved = [p - q for p, q in zip(model.parameters(), start.model.parameters(), strict=True)]
    assert sum(d.square().sum().item() for d in moved) > 0


def test_norms_accuracy_and_test_loss():
    memory = Memory()
    assay(SMALL, memory)
    descent = build(SMALL)
    seen = memory.steps[0]
    weights = {name: p.detach() for name, p in descent.model.named_parameters()}
    assert seen[("distance", "")] == 0
    for layer in ("layer1", "layer2", "output"):
        squares = sum(p.square().sum() for name, p in weights.items() if name.startswith(layer))
        assert seen[("parameter_norm", layer)] == pytest.approx(squares.sqrt().item())
    with torch.no_grad():
        output = descent.model(descent.data.test.inputs)
    labels = descent.data.test.labels
    right = sum(int(row.argmax() == label) for row, label in zip(output, labels, strict=True))
    assert seen[("accuracy", "test")] == pytest.approx(right / len(labels))
    assert seen[("test_loss", "")] == pytest.approx(LOSSES["mse"](output, labels).item())


def test_curvature_is_measured_when_due_and_at_the_end():
    memory = Memory()
    assay(SMALL.replace(steps=10), memory)
    assert [step for step, values in memory.steps.items() if ("sharpness", "") in values] == [0, 4, 8, 10]


def test_without_layers_no_layer_is_measured():
    memory = Memory()
    assay(SMALL.replace(layers=False, steps=0), memory)
    assert {part for name, part in (k for k in memory.steps[0] if isinstance(k, tuple)) if name == "sharpness"} == {""}


def test_a_linear_network_has_one_layer():
    memory = Memory()
    assay(SMALL.replace(depth=0, steps=0), memory)
    assert memory.steps[0][("sharpness", "output")] == pytest.approx(memory.steps[0][("sharpness", "")], rel=1e-9)


@pytest.mark.parametrize("offset", [-0.05, 0.05])
def test_a_linear_network_under_squared_loss_diverges_exactly_above_two_over_lambda(offset):
    config = SMALL.replace(depth=0, steps=400, curvature_every=400, divergence_factor=10.0)
    memory = Memory()
    assay(config.replace(steps=0), memory)
    edge = 2 / memory.steps[0][("sharpness", "")]
    result = assay(config.replace(step_size=edge * (1 + offset)), Memory())
    assert result.outcome is (training.Outcome.DIVERGED if offset > 0 else training.Outcome.FINISHED)


def test_a_step_size_far_too_large_is_a_result():
    memory = Memory()
    result = assay(SMALL.replace(step_size=1e6, steps=200, activation="relu", curvature_every=1), memory)
    assert result.outcome is training.Outcome.DIVERGED
    assert f"diverged at step {result.step}" in result.message
    assert all(torch.isfinite(t).all() for t in memory.checkpoint.tensors.values() if t.is_floating_point())


def test_curvature_that_overflows_before_the_loss_is_divergence_too():
    config = EdgeConfig(
        width=4, examples=20, steps=40, step_size=1e8, activation="softplus", depth=6, curvature_every=1
    )
    memory = Memory()
    result = assay(config, memory)
    assert result.outcome is training.Outcome.DIVERGED
    assert "curvature product is not finite" in result.message
    assert list(memory.steps) == list(range(result.step + 1))
    assert memory.steps[result.step].keys() == {"loss"}


def test_a_step_size_that_float32_cannot_hold_is_a_result():
    memory = Memory()
    result = assay(EdgeConfig(width=4, examples=20, steps=9, step_size=1e308), memory)
    assert result.outcome is training.Outcome.DIVERGED
    assert result.step == 1


def test_data_are_the_digits_split_once_and_for_all():
    from sklearn.datasets import load_digits

    some = digits(1500, dtype=torch.float64, device=torch.device("cpu"))
    assert (len(some.train.labels), len(some.test.labels)) == (1500, 297)
    assert some.train.inputs.mean().item() == pytest.approx(0, abs=1e-12)
    pixels = torch.as_tensor(load_digits().data)
    restored = torch.cat([some.train.inputs, some.test.inputs]) * 16
    restored = (restored - restored.min()).round()
    assert torch.equal(restored.sort(0).values, pixels.sort(0).values)
    assert torch.equal(
        some.train.labels.bincount() + some.test.labels.bincount(),
        torch.as_tensor(load_digits().target).bincount(),
    )
    again = digits(100, dtype=torch.float64, device=torch.device("cpu"))
    assert torch.equal(again.train.labels, some.train.labels[:100])


def test_the_field_s_network_climbs_to_the_edge_and_hovers_there():
    """2 hidden layers of 200, tanh, squared loss, on digits: eta lambda / 2 hovers at or just above one."""
    import numpy as np

    from netassay.studies.edge.findings import phases

    config = EdgeConfig(examples=600, step_size=0.2, steps=700, curvature_every=10, layers=False, tolerance=3e-3)
    memory = Memory()
    assert assay(config, memory).outcome is training.Outcome.FINISHED
    ratios = {step: values[("edge_ratio", "")] for step, values in memory.steps.items() if ("edge_ratio", "") in values}
    losses = np.array([values["loss"] for values in memory.steps.values()])
    found = {phase.phase: phase for phase in phases(np.array(list(ratios)), np.array(list(ratios.values())), losses)}
    assert ratios[0] < 0.8
    assert found["sharpening"].first_step < found["crossing"].first_step
    assert 0.95 <= found["edge"].ratio_median <= 1.10


def test_the_identities_of_the_layers_hold_at_every_recorded_step():
    """Interlacing of H and of G, the sum bound on G, shares that sum to one: over sharpening, crossing and edge."""
    config = SMALL.replace(
        step_size=0.6, steps=40, curvature_every=8, gauss_newton=True, tolerance=1e-4, alignment=True
    )
    memory = Memory()
    assay(config, memory)
    looks = [values for values in memory.steps.values() if ("sharpness", "") in values]
    assert len(looks) == 6
    layers = ("layer1", "layer2", "output")
    for seen in looks:
        for name in ("sharpness", "ggn_sharpness"):
            own = [seen[(name, layer)] for layer in layers]
            slack = sum(seen[(f"{name}_error", part)] for part in ("", *layers)) + 1e-9
            assert max(own) <= seen[(name, "")] + slack
        assert seen[("ggn_sharpness", "")] <= sum(seen[("ggn_sharpness", layer)] for layer in layers) + slack
        # Weyl: lambda(H) <= lambda(G) + lambda(H - G)
        assert seen[("sharpness", "")] <= seen[("ggn_sharpness", "")] + seen[("residual_sharpness", "")] + slack
        assert sum(seen[("leading_weight", layer)] for layer in layers) == pytest.approx(1)
        assert seen[("directional_sharpness", "")] <= seen[("sharpness", "")] + slack
        norms = [seen[("gradient_norm", layer)] ** 2 for layer in layers]
        assert sum(norms) == pytest.approx(seen[("gradient_norm", "")] ** 2)
    ratios = [seen[("edge_ratio", "")] for seen in looks]
    assert min(ratios) < 1 < max(ratios)
