"""What is recorded only where it is asked for, against dense matrices."""

import pytest
import torch
from dense import dense_ggn, dense_hessian, rows
from memory import Memory

from netassay.curvature.thresholds import threshold
from netassay.studies.edge.assay import assay, build
from netassay.studies.edge.config import OPTIMISERS, EdgeConfig
from netassay.studies.edge.findings import METRICS
from netassay.studies.edge.instruments import INSTRUMENTS
from netassay.studies.edge.networks import mse

SMALL = EdgeConfig(examples=30, width=3, steps=4, curvature_every=4, step_size=0.3, dtype="float64", tolerance=1e-8)
ASKED = {"gauss_newton": True, "alignment": True, "trace_products": 260, "density_steps": 260, "top": 3}


@pytest.fixture(scope="module")
def seen():
    memory = Memory()
    assay(SMALL.replace(**ASKED), memory)
    return memory.steps


@pytest.fixture(scope="module")
def truth():
    descent = build(SMALL)
    for step in range(4):
        descent.measure(step)
        descent.advance()
    model, (x, y) = descent.model, descent.data.train
    target = torch.nn.functional.one_hot(y, 10).double()
    g = torch.cat([s.reshape(-1) for s in torch.autograd.grad(mse(model(x), y), list(model.parameters()))])
    where = {name: rows(model, [f"{name}.weight", f"{name}.bias"]) for name in ("layer1", "layer2", "output")}
    return dense_hessian(model, mse, x, target), dense_ggn(model, mse, x, target), g, where


def test_gauss_newton_and_what_is_left_of_the_hessian(seen, truth):
    h, ggn, _, where = truth
    found = seen[4]
    assert found[("ggn_sharpness", "")] == pytest.approx(float(torch.linalg.eigvalsh(ggn)[-1]), rel=1e-7)
    assert found[("residual_sharpness", "")] == pytest.approx(float(torch.linalg.eigvalsh(h - ggn)[-1]), rel=1e-6)
    blocks = 0.0
    for name, at in where.items():
        block = float(torch.linalg.eigvalsh(ggn[at][:, at])[-1])
        assert found[("ggn_sharpness", name)] == pytest.approx(block, rel=1e-7)
        assert block <= found[("ggn_sharpness", "")] * (1 + 1e-9)
        blocks += block
    # of a positive semidefinite matrix
    assert found[("ggn_sharpness", "")] <= blocks


def test_alignment_and_directional_sharpness(seen, truth):
    h, _, g, where = truth
    _, vectors = torch.linalg.eigh(h)
    for rank in (1, 2, 3):
        share = float((vectors[:, -rank] @ g) ** 2 / (g @ g))
        assert seen[4][("gradient_alignment", str(rank))] == pytest.approx(share, rel=1e-2, abs=1e-6)
    assert seen[4][("directional_sharpness", "")] == pytest.approx(float(g @ h @ g / (g @ g)), rel=1e-9)
    for name, at in where.items():
        part = g[at]
        expected = float(part @ h[at][:, at] @ part / (part @ part))
        assert seen[4][("directional_sharpness", name)] == pytest.approx(expected, rel=1e-9)


def test_trace_and_spectrum_exact_where_the_products_suffice(seen, truth):
    h, _, _, where = truth
    assert seen[4][("trace", "")] == pytest.approx(float(h.trace()), rel=1e-9)
    assert seen[4][("trace_error", "")] == 0
    nodes = [seen[4][("spectrum_node", f":{i}")] for i in range(1, len(h) + 1)]
    assert nodes == pytest.approx(torch.linalg.eigvalsh(h).tolist(), abs=1e-10)
    for name, at in where.items():
        assert seen[4][("trace", name)] == pytest.approx(float(h[at, at].sum()), rel=1e-9)
        weights = [seen[4][("spectrum_weight", f"{name}:{i}")] for i in range(1, len(at) + 1)]
        assert weights == pytest.approx([1 / len(at)] * len(at))


def test_what_is_not_asked_for_is_not_recorded_and_changes_nothing(seen):
    plain = Memory()
    assay(SMALL.replace(top=3), plain)
    for step, values in plain.steps.items():
        assert {key: seen[step][key] for key in values} == values
    names = {key[0] for key in plain.steps[4] if isinstance(key, tuple)}
    assert not {"trace", "spectrum_node", "ggn_sharpness", "gradient_alignment", "projection"} & names


def test_estimates_with_few_products_are_repeatable_and_have_errors():
    config = SMALL.replace(trace_products=9, density_steps=5, width=20, dtype="float32", tolerance=1e-3)
    first, second = Memory(), Memory()
    assay(config, first)
    assay(config, second)
    assert first.steps == second.steps
    assert first.steps[4][("trace_error", "")] > 0
    assert first.steps[0][("trace", "")] != first.steps[4][("trace", "")]


def test_batch_sharpness_of_the_whole_set_is_the_directional_one():
    config = SMALL.replace(optimiser="sgd", batch_size=30, batch_probes=2, alignment=True)
    memory = Memory()
    assay(config, memory)
    for step in (0, 4):
        values = memory.steps[step]
        assert values[("batch_sharpness", "")] == pytest.approx(values[("directional_sharpness", "")], rel=1e-9)
        assert values[("batch_sharpness_error", "")] < 1e-9
        assert values[("batch_edge_ratio", "")] == pytest.approx(0.15 * values[("batch_sharpness", "")])
    assert ("gradient_norm", "") not in memory.steps[1]


def test_batch_sharpness_exceeds_the_sharpness_of_the_whole_loss():
    config = SMALL.replace(optimiser="sgd", batch_size=3, batch_probes=40, examples=100, steps=0)
    memory = Memory()
    assay(config, memory)
    values = memory.steps[0]
    assert values[("batch_sharpness", "")] > 0
    assert 0 < values[("batch_sharpness_error", "")] < values[("batch_sharpness", "")]


@pytest.mark.parametrize(
    ("method", "own"), [("polyak", {"momentum": 0.9}), ("nesterov", {"momentum": 0.9}), ("sgd", {})]
)
def test_the_recorded_ratio_is_to_the_optimisers_own_threshold(method, own):
    memory = Memory()
    assay(SMALL.replace(optimiser=method, steps=0, **own), memory)
    values = memory.steps[0]
    limit = threshold(method, 0.3, **own)
    for part in ("", "layer1", "layer2", "output"):
        assert values[("edge_ratio", part)] == pytest.approx(values[("sharpness", part)] / limit)


def test_sam_s_ratio_is_to_the_edge_of_its_gradient():
    memory = Memory()
    assay(SMALL.replace(optimiser="sam", rho=0.2), memory)
    values = memory.steps[4]
    limit = threshold("sam", 0.3, rho=0.2, gradient_norm=values[("gradient_norm", "")])
    assert values[("edge_ratio", "")] == pytest.approx(values[("sharpness", "")] / limit)
    assert limit < 2 / 0.3


def test_every_instrument_together_is_resumed_bit_for_bit():
    config = SMALL.replace(
        **{**ASKED, "trace_products": 9, "density_steps": 6},
        projections=5,
        flow=True,
        dtype="float32",
        tolerance=1e-3,
        steps=9,
        curvature_every=3,
    )
    whole, first = Memory(), Memory()
    assay(config, whole)
    first.stop = lambda: len(first.steps) == 5
    assay(config, first)
    first.stop = lambda: False
    assay(config, first)
    assert first.steps == whole.steps
    assert all(torch.equal(t, first.checkpoint.tensors[k]) for k, t in whole.checkpoint.tensors.items())


ON = {"gauss_newton": True, "alignment": True, "trace_products": 6, "density_steps": 4, "projections": 2,
      "flow": True, "central_flow": True, "batch_probes": 2}  # fmt: skip


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.key)
def test_an_instrument_records_what_its_entry_says_and_no_more(instrument):
    own = {"optimiser": "sgd", "batch_size": 10} if instrument.key == "batch_probes" else {}
    config = SMALL.replace(steps=0, step_size=0.01, tolerance=1e-3, **own)
    without, beside = Memory(), Memory()
    assay(config, without)
    assay(config.replace(**{instrument.key: ON[instrument.key]}), beside)
    more = beside.steps[0].keys() - without.steps[0].keys()
    described = {metric for metric in more for row in instrument.quantities if row.is_of(*metric)}
    assert more == described
    assert {name for row in instrument.quantities for name in row.names} <= {name for name, _ in more}
    assert all(row.key == instrument.key for row in instrument.quantities)


@pytest.mark.parametrize("method", OPTIMISERS)
def test_what_is_always_recorded_is_described(method):
    memory = Memory()
    assay(SMALL.replace(optimiser=method, steps=0, tolerance=1e-3), memory)
    for metric in memory.steps[0]:
        name, part = (metric, "") if isinstance(metric, str) else metric
        assert any(row.is_of(name, part) for row in METRICS), metric
