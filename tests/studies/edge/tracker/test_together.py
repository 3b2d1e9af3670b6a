"""Two processes that look together against one that has all the data."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from netassay.curvature.shards import ELEMENTWISE, sharded_update
from netassay.errors import ConfigError, ModelError
from netassay.studies.edge.tracker.module import together
from netassay.studies.edge.tracker.tracker import SharpnessTracker

SCRIPT = Path(__file__).with_name("together.py")
TRAINING = runpy.run_path(str(SCRIPT))
LOSS, STEPS, data, network = (TRAINING[name] for name in ("LOSS", "STEPS", "data", "network"))

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without processes")


KINDS = ("replicas", "kept", "resharded")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What each process wrote, by kind."""
    folder = tmp_path_factory.mktemp("two")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *KINDS],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {kind: [json.loads((folder / f"{kind}-{rank}.json").read_text()) for rank in (0, 1)] for kind in KINDS}


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """The same training in one process, on all examples at once."""
    model, (x, y) = network(), data()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    looks = []
    with SharpnessTracker(
        model, LOSS, [(x, y)], optimizer, store=tmp_path_factory.mktemp("one"), every=1, level="layers", tolerance=1e-5
    ) as tracker:
        for _ in range(STEPS):
            optimizer.zero_grad()
            LOSS(model(x), y).backward()
            critical = tracker.before_step()
            optimizer.step()
            looks.append((critical, tracker.step(), tracker.edge_ratio))
    return looks, float(torch.cat([p.detach().reshape(-1) for p in model.parameters()]).double().sum())


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_measure_what_one_with_all_the_data_does(measured, kind, truth):
    looks, weights = truth
    first, second = measured[kind]
    assert first["said"] == second["said"]
    assert (first["run"], second["run"]) == (True, False)
    assert first["same"]
    assert second["same"]
    assert first["weights"] == second["weights"] == pytest.approx(weights, rel=1e-5)
    for said, (critical, seen, ratio) in zip(first["said"], looks, strict=True):
        value, lower, upper, edge = said["critical"]
        assert lower <= critical.upper
        assert critical.lower <= upper
        assert edge == pytest.approx(0.01 * value / 2)
        if kind == "resharded":
            assert said["sharpness"] is None
            continue
        assert said["sharpness"] == pytest.approx(float(seen.values[0]), rel=1e-4)
        assert said["loss"] == pytest.approx(seen.loss, rel=1e-5)
        assert said["ratio"] == pytest.approx(ratio, rel=1e-3)
        assert said["layers"] == pytest.approx({n: float(b.values[0]) for n, b in seen.blocks.items()}, rel=1e-3)
    refusals = [words for words in first["warnings"] if "reshard_after_forward=False" in words]
    assert len(refusals) == (1 if kind == "resharded" else 0)
    assert len(first["warnings"]) == len(refusals)


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_the_update_of_shards_is_that_of_the_weights(kind):
    from netassay.curvature.updates import next_update

    torch.manual_seed(0)
    model = network()
    optimizer = kind(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        LOSS(model(data()[0]), data()[1]).backward()
        optimizer.step()
    parameters = dict(model.named_parameters())
    plain = next_update(optimizer, parameters)
    pieces = sharded_update(optimizer, parameters, 0.01)
    for name, part in plain.direction.items():
        torch.testing.assert_close(pieces[name], part, rtol=1e-5, atol=1e-7)


def test_optimisers_that_need_whole_matrices_are_refused_on_shards():
    model = torch.nn.Linear(3, 2, bias=False)
    with pytest.raises(ModelError, match="Muon"):
        sharded_update(torch.optim.Muon(model.parameters()), dict(model.named_parameters()), 0.1)
    with pytest.raises(ConfigError, match="processes"):
        together(model, "every")
