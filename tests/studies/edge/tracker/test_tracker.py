"""The tracker against dense curvature, a clock of the test's own, and what may go wrong in a loop."""

import math
import runpy
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import netassay
from netassay.errors import ConfigError, DataError, ModelError
from netassay.performing import summarise
from netassay.presenting import report
from netassay.runs import Run, Store
from netassay.studies.edge.tracker.tracker import EdgeWarning, SharpnessTracker

X = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(8, 3)
Y = X.square().sum(dim=1, keepdim=True)


class Clock:
    """Seconds that pass only when told: one a training step, `look` a look of the tracker at the network."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def loop(model, optimizer, tracker, steps, clock=None):
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = nn.functional.mse_loss(model(X), Y)
        value.backward()
        optimizer.step()
        if clock:
            clock.now += 1.0
        seen.append(tracker.step(value))
    return seen


def test_tracked_numbers_are_the_sharpness_at_those_weights(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, weight_decay=0.01)
    with SharpnessTracker(
        model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, budget=1e9, tolerance=1e-8
    ) as t:
        loop(model, optimizer, t, 3)
        truth = netassay.sharpness(model, nn.MSELoss(), [(X, Y)], blocks="layer", tolerance=1e-8)
    metrics = {(n, p): v for s, n, p, v in t.run.metrics().iter_rows() if s == 2}
    assert metrics["sharpness", ""] == pytest.approx(float(truth.values[0]), rel=1e-6)
    assert metrics["sharpness", "2"] == pytest.approx(float(truth.blocks["2"].values[0]), rel=1e-6)
    # heavy ball: 2 (1 + b) / eta, and weight decay adds to every curvature
    assert metrics["edge_ratio", ""] == pytest.approx((float(truth.values[0]) + 0.01) * 0.1 / 3, rel=1e-6)
    assert metrics["threshold", ""] == pytest.approx(3 / 0.1 - 0.01)


def test_the_network_is_left_as_it_was(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    with SharpnessTracker(model, nn.MSELoss(), [(X, Y)], 0.1, store=tmp_path) as tracker:
        assert tracker.step() is not None
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert model[0].weight.requires_grad
    assert model[2].training
    assert not model[1].training
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("budget", [0.05, 0.2, 1.0])
def test_time_spent_stays_within_the_budget_after_the_first_look(tmp_path, monkeypatch, budget):
    clock, model = Clock(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    tracker = SharpnessTracker(
        model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, budget=budget, clock=clock
    )
    look = tracker._look

    def costly():
        clock.now += 3.0
        return look()

    monkeypatch.setattr(tracker, "_look", costly)
    seen = loop(model, optimizer, tracker, 400, clock)
    tracker.close()
    looks = sum(s is not None for s in seen)
    assert seen[0] is not None
    # the clock of the first step begins when the tracker is made: 400 seconds of training, 3 a look
    assert tracker.share <= budget
    assert looks == pytest.approx(budget * 400 / 3, abs=1)


def test_nearing_the_edge_is_told_once(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sharp = float(netassay.sharpness(model, nn.MSELoss(), [(X, Y)]).values[0])
    for group in optimizer.param_groups:
        group["lr"] = 0.95 * 2 / sharp
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, budget=1e9)
    with pytest.warns(EdgeWarning, match="of the edge of stability"):
        tracker.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.step()
    tracker.close()
    called = []
    own = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, on_edge=called.append)
    own.step()
    own.close()
    assert called == [own]


def test_what_has_no_curvature_is_an_error_at_the_first_step(tmp_path):
    model = network()
    tracker = SharpnessTracker(model, nn.MSELoss(reduction="none"), [(X, Y)], store=tmp_path)
    with pytest.raises(ModelError):
        tracker.step()
    assert str(tracker.run.state) == "failed"
    with pytest.raises(DataError, match="NaN"):
        SharpnessTracker(model, nn.MSELoss(), [(X * math.nan, Y)], store=tmp_path).step()
    for wrong in ({"budget": 0.0}, {"optimizer": -1.0}):
        with pytest.raises(ConfigError):
            SharpnessTracker(model, nn.MSELoss(), [(X, Y)], store=tmp_path, **wrong)


def test_a_training_that_diverges_is_not_stopped_by_the_tracker(tmp_path):
    model = network()
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], 0.01, store=tmp_path, budget=1e9)
    tracker.step(1.0)
    with torch.no_grad():
        model[0].weight.mul_(math.nan)
    with pytest.warns(UserWarning, match="no longer tracked"):
        assert tracker.step(math.nan) is None
    assert tracker.step(math.nan) is None
    assert str(tracker.run.state) == "diverged"
    tracker.close()


def test_an_error_of_the_loop_leaves_an_interrupted_run(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        SharpnessTracker(network(), nn.MSELoss(), [(X, Y)], store=tmp_path) as tracker,
    ):
        tracker.step()
        raise ZeroDivisionError("the loop's own")
    assert str(tracker.run.state) == "interrupted"
    assert "ZeroDivisionError" in tracker.run.message


def test_tracked_runs_are_drawn_and_cannot_be_performed(tmp_path):
    trackers = []
    for optimizer in (0.1, None):
        with SharpnessTracker(
            network(), nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, name="<b>"
        ) as tracker:
            tracker.step(1.0)
        trackers.append(tracker)
    runs = Store(tmp_path).select({})
    page = report(runs, tmp_path / "page.html").read_text()
    assert "Tracked trainings" in page
    assert "<b>" not in page.split("<body")[1].split("<script")[0]
    assert summarise(runs[0])["looks"] == 1
    with pytest.raises(ConfigError, match="own training loop"):
        netassay.resume(trackers[0].run.folder)
    report([trackers[1].run], tmp_path / "one.html")


def test_a_script_of_ones_own_gains_the_tracker_in_three_lines(tmp_path):
    path = Path(__file__).parents[4] / "examples" / "tracker.py"
    lines = path.read_text().splitlines()
    added = [line for line in lines if "netassay" in line and not line.startswith(("Run", '"""'))]
    added += [line for line in lines if "tracker.step" in line]
    assert len(added) == 3
    runpy.run_path(str(path))["main"](steps=30)
    (folder,) = (tmp_path / "runs").glob("edge-tracker-*")
    # without a call of close() the end of the process closes the run; here its lock is still held
    run = Run.open(folder)
    assert str(run.state) == "running"
    assert run.config["name"] == "sines"


def test_lightning_callback(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    from netassay.studies.edge.tracker.lightning import sharpness_callback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network().float()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            return nn.functional.mse_loss(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    x, y = X.float(), Y.float()
    callback = sharpness_callback(nn.MSELoss(), [(x, y)], store=tmp_path, budget=1e9)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=2, callbacks=[callback], logger=False, enable_checkpointing=False, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(Module(), loader)
    metrics = callback.tracker.run.metrics()
    assert metrics["step"].max() == 3
    assert metrics.filter(metrics["name"] == "loss").height == 4
    assert metrics.filter((metrics["name"] == "edge_ratio") & (metrics["part"] == "")).height == 4
    assert str(callback.tracker.run.state) == "finished"
