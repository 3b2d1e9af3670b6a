"""The shared small inputs about gradient flow, central flow, symmetry, randomness and convergence, each against its
right answer.
"""

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest
import torch

import netassay
from netassay.curvature.eigen import lanczos
from netassay.errors import ModelError
from netassay.numerics import devices

CASES = Path(__file__).parents[3] / "shared" / "cases" / "edge"
OTHERS = {
    "03_ddp_hang": "tracker",
    "04_lm_padding": "models",
    "05_attention": "models",
    "07_memory": "models",
    "10_first_look": "tracker",
}

pytestmark = [
    pytest.mark.skipif(not CASES.is_dir(), reason=f"the shared cases are not at {CASES}"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def _settings_of_torch_are_put_back():
    dtype, state = torch.get_default_dtype(), torch.get_rng_state()
    yield
    torch.set_default_dtype(dtype)
    torch.set_rng_state(state)


def played(name, leave_out=()):
    """The names that a case leaves behind, and what it printed."""
    lines = (CASES / f"{name}.py").read_text().splitlines()
    here = Path(f"{name}.py")
    here.write_text("\n".join(line for line in lines if not line.startswith(tuple(leave_out))))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = runpy.run_path(str(here), run_name="case")
    return names, printed.getvalue()


def test_01_gradient_flow_is_scipys_within_its_stated_error():
    names, printed = played("01_gradient_flow")
    exact = float(names["loss"](names["end"]))
    assert exact == pytest.approx(0.2135, abs=1e-4)
    assert len(re.findall(r"loss 0\.2135", printed)) == 3
    data = [(names["X"], names["Y"])]
    path = netassay.gradient_flow(names["m"], names["L"], data, times=[50.0], alpha=1.0)
    assert abs(path.losses[0] - exact) <= path.loss_errors[0] < 1e-4
    weights = torch.cat([path.weights[key].reshape(-1) for key in names["keys"]])
    assert float((weights - names["end"]).norm()) <= path.weights_errors[0]
    chain = names["f"]
    assert chain.reached and abs(chain.losses[0] - 2.277e-5) <= chain.loss_errors[0] + 1e-8


def test_02_layer_norm_equals_the_same_from_primitives():
    _, printed = played("02_central_flow_layernorm")
    found = [re.findall(r"[\d.]+(?:e-\d+)?$", line)[0] for line in printed.splitlines()]
    assert len(found) == 2 and float(found[0]) == pytest.approx(float(found[1]), rel=1e-3)


def test_06_weight_norm_has_its_right_spectrum():
    names, _ = played("06_weight_norm")
    assert float((names["op"] - names["op"].T).abs().max()) < 1e-12
    top = float(names["true"][-1])
    assert abs(float(names["s"].values[0]) - top) <= float(names["s"].errors[0]) and names["s"].converged
    assert names["d"].exact and float((names["d"].nodes[0] - names["true"]).abs().max()) < 1e-6


REST = ('tell("b', 'tell("c', 'tell("d', 'tell("e', 'tell("f', 'tell("g', "from netassay.numerics.eigen", "m = ",
        "w = ", "class MySGD", "for _ in range(3)", "from netassay.studies", 'print("l.')  # fmt: skip


def test_08_randomness_outside_torch_is_refused_and_what_did_not_converge_says_so():
    names, printed = played("08_small_ones", leave_out=REST)
    (first,) = (line for line in printed.splitlines() if line.startswith("a."))
    assert "ModelError" in first and "drew random numbers" in first
    few = names["s"]
    assert not few.converged and float(few.errors[0]) > 1e-3
    assert abs(float(few.values[0]) - 1) <= float(few.errors[0])


def test_08_one_eigenvalue_is_found_in_the_vectors_that_fit(monkeypatch):
    """The same share of memory as 22 GB are of 400 million weights."""
    monkeypatch.setattr(devices, "free_memory", lambda device: 13 * 4 * 400_000)
    found = lanczos(lambda v: v, 400_000, dtype=torch.float32)
    assert found.converged and float(found.values[0]) == pytest.approx(1, rel=1e-4)
    monkeypatch.setattr(devices, "free_memory", lambda device: 12 * 4 * 400_000)
    with pytest.raises(ModelError) as refusal:
        lanczos(lambda v: v, 400_000, dtype=torch.float32)
    assert "fewer eigenvalues" not in str(refusal.value)


@pytest.mark.parametrize("name", OTHERS)
def test_cases_of_other_subjects(name):
    pytest.skip(f"belongs to the tests of the {OTHERS[name]}")
