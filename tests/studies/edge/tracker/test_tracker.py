"""The tracker against dense curvature, a clock of the test's own, and what may go wrong in a loop."""

import math
import random
import runpy
import shutil
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import netassay
from netassay.errors import ConfigError, ModelError, RunFailed
from netassay.performing import summarise
from netassay.presenting import report
from netassay.runs import Run, Store
from netassay.studies.edge.tracker.module import left_as_it_was
from netassay.studies.edge.tracker.tracker import EdgeWarning, SharpnessTracker, TrackerWarning

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


def fit(module, loader, callback, folder, **settings):
    """Trains by Lightning's own loop, without what it writes and prints; its trainer."""
    import lightning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            callbacks=[callback],
            logger=False,
            enable_checkpointing=False,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            **settings,
        )
        trainer.fit(module, loader)
    return trainer


def test_tracked_numbers_are_the_sharpness_at_those_weights(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, weight_decay=0.01)
    with SharpnessTracker(model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, budget=1e9, tolerance=1e-8) as t:
        loop(model, optimizer, t, 3)
        truth = netassay.sharpness(model, nn.MSELoss(), [(X, Y)], blocks="layer", tolerance=1e-8)
    metrics = {(n, p): v for s, n, p, v in t.run.metrics().iter_rows() if s == 2}
    assert metrics["sharpness", ""] == pytest.approx(float(truth.values[0]), rel=1e-6)
    assert metrics["sharpness", "2"] == pytest.approx(float(truth.blocks["2"].values[0]), rel=1e-6)
    # heavy ball: 2 (1 + b) / eta, and weight decay adds to every curvature
    assert metrics["edge_ratio", ""] == pytest.approx((float(truth.values[0]) + 0.01) * 0.1 / 3, rel=1e-6)
    assert metrics["threshold", ""] == pytest.approx(3 / 0.1 - 0.01)


def bits(model, optimizer):
    """Everything that a look must leave alone, as values that compare by their bits."""
    tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters() if p.grad is not None)]
    for state in optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    modes = [module.training for module in model.modules()]
    numbers = [tensor.detach().numpy().tobytes() for tensor in (*tensors, torch.get_rng_state())]
    return numbers, str(groups), modes, str(np.random.get_state()), torch.is_grad_enabled()  # noqa: NPY002


@pytest.mark.parametrize("mode", ["eval", "as_is"])
@pytest.mark.parametrize("method", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
@pytest.mark.parametrize("fails", [False, True])
def test_the_training_is_left_as_it_was(tmp_path, mode, method, fails):
    class Data(torch.utils.data.Dataset):
        """Reads of a user's own data may draw from every generator."""

        def __len__(self):
            return 8

        def __getitem__(self, i):
            random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
            return X[i], Y[i]

    drop = nn.Dropout(0.5) if mode == "eval" else nn.Identity()
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), drop, nn.Linear(4, 1)).double()
    optimizer = method(model.parameters(), lr=0.01, **({"momentum": 0.5} if method is torch.optim.SGD else {}))
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X), Y).backward()
        optimizer.step()
    model[1].training = mode == "as_is"

    def loss(output, target):
        if fails:
            random.random(), np.random.rand()  # noqa: NPY002
            raise ZeroDivisionError
        return nn.functional.mse_loss(output, target)

    loader = torch.utils.data.DataLoader(Data(), batch_size=8, shuffle=True)
    tracker = SharpnessTracker(model, loss, loader, optimizer, store=tmp_path, budget=1e9, mode=mode)
    before = bits(model, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.no_grad():
            seen = [tracker.step() for _ in range(3)]
    assert [one is None for one in seen] == [fails] * 3
    assert bits(model, optimizer) == before
    tracker.close()


def test_pythons_generator_is_put_back():
    # the type checks of the tests draw from it themselves, so this is no test of a whole look
    model = network()
    before = random.getstate()
    with pytest.raises(ZeroDivisionError), left_as_it_was(model, "eval"):
        assert not model.training
        random.random()
        raise ZeroDivisionError
    assert random.getstate() == before
    assert model.training


@pytest.mark.parametrize("budget", [0.05, 0.2, 1.0])
def test_time_spent_stays_within_the_budget_after_the_first_look(tmp_path, monkeypatch, budget):
    clock, model = Clock(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, budget=budget, clock=clock)
    enter = tracker._exact._enter

    def costly(stack):
        clock.now += 3.0
        return enter(stack)

    monkeypatch.setattr(tracker._exact, "_enter", costly)
    seen = loop(model, optimizer, tracker, 400, clock)
    tracker.close()
    looks = sum(s is not None for s in seen)
    assert seen[0] is not None
    # the clock of the first step begins when the tracker is made: 400 seconds of training, 3 a look
    assert tracker.share <= budget
    assert looks == pytest.approx(budget * 400 / 3, abs=1)


def test_most_steps_ask_nothing_keep_their_loss_and_no_look_is_late(tmp_path, monkeypatch):
    readings, clock, model = [], Clock(), network()

    def read():
        readings.append(clock.now)
        return clock.now

    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], 0.01, store=tmp_path, budget=0.1, blocks=None, clock=read)
    enter = tracker._exact._enter

    def costly(stack):
        clock.now += 1.0
        return enter(stack)

    monkeypatch.setattr(tracker._exact, "_enter", costly)
    loss, looks = torch.zeros(()), []
    for step in range(3200):
        clock.now += 0.01
        loss.fill_(step)  # as loops with a buffer for it do
        if tracker.step(loss) is not None:
            looks.append(step)
    tracker.close()
    assert tracker.share <= 0.1
    # a second costs ten of training; half a second is expected after the first look, and then one
    assert looks == pytest.approx([0, 1500, 3000], abs=3)
    assert len(readings) < 3200 / 5
    kept = tracker.run.metrics().filter(pl.col("name") == "loss")
    assert kept["step"].to_list() == kept["value"].to_list() == [*range(3200)]


def test_nearing_the_edge_is_reported_once(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sharp = float(netassay.sharpness(model, nn.MSELoss(), [(X, Y)]).values[0])
    for group in optimizer.param_groups:
        group["lr"] = 0.95 * 2 / sharp
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, budget=1e9)
    assert tracker.forecast() is None
    with pytest.warns(EdgeWarning, match="SGD at 0.95 of its edge since step 0: warm up longer or lower the rate"):
        tracker.step()
    assert tracker.forecast().largest == pytest.approx(2 / sharp, rel=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.step()
    tracker.close()
    called = []
    own = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, on_edge=called.append)
    own.step()
    own.close()
    assert called == [own]


@pytest.mark.parametrize(
    "loss, data",
    [
        (nn.MSELoss(reduction="none"), (X, Y)),  # no number
        (nn.MSELoss(), (X * math.nan, Y)),
        (nn.MSELoss(), (X[:, :2], Y)),  # the network fails
        (lambda output, target: 1 / 0, (X, Y)),  # no error of torch's or ours
    ],
)
def test_what_fails_in_a_look_is_one_warning_and_an_event(tmp_path, loss, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    tracker = SharpnessTracker(model, loss, [data], optimizer, store=tmp_path, budget=1e9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop(model, optimizer, tracker, 20)
        tracker.close()
    assert [w.category for w in caught] == [TrackerWarning]
    assert "the training goes on" in str(caught[0].message)
    assert tracker.run.events().filter(pl.col("what") == "look failed").height == 1
    assert str(tracker.run.state) == "failed"
    assert "never measured" in tracker.run.message
    # the loop's own numbers are kept all the same, and tries become rarer: steps 0, 1, 3, 7, 15
    assert tracker.run.metrics().filter(pl.col("name") == "loss").height == 20
    assert "5 looks failed" in tracker.run.message


def test_arguments_that_cannot_be_right_are_refused_before_the_loop(tmp_path):
    for wrong in ({"budget": 0.0}, {"optimizer": -1.0}, {"every": 0}, {"motion": 3.0}):
        with pytest.raises(ConfigError):
            SharpnessTracker(network(), nn.MSELoss(), [(X, Y)], store=tmp_path, **wrong)
    with pytest.raises(ModelError, match="did you mean"):
        SharpnessTracker(network(), nn.MSELoss(), [(X, Y)], store=tmp_path, blocks={"a": ["0.weigth"]})


def test_tracking_starts_anew_after_a_step_that_is_not_finite(tmp_path):
    model = network()
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], 0.01, store=tmp_path, budget=1e9, tolerance=1e-6)
    tracker.step(1.0)
    weight = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
    with pytest.warns(TrackerWarning, match="not measured"):
        assert tracker.step(math.nan) is None
    with torch.no_grad():
        model[0].weight.copy_(weight)
    truth = float(netassay.sharpness(model, nn.MSELoss(), [(X, Y)], tolerance=1e-8).values[0])
    assert float(tracker.step(1.0).values[0]) == pytest.approx(truth, rel=1e-5)
    tracker.close()
    assert str(tracker.run.state) == "finished"
    assert "1 looks failed" in tracker.run.message


def test_a_training_that_diverges_is_not_stopped_by_the_tracker(tmp_path):
    model = network()
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], 0.01, store=tmp_path, budget=1e9)
    tracker.step(1.0)
    with torch.no_grad():
        model[0].weight.mul_(math.nan)
    with pytest.warns(TrackerWarning, match="not measured"):
        assert tracker.step(math.nan) is None
    assert tracker.step(math.nan) is None
    tracker.close()
    assert str(tracker.run.state) == "diverged"


def test_tracking_starts_anew_with_other_parameters(tmp_path):
    model = network()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, budget=1e9, tolerance=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(tracker.step().blocks) == {"2"}
        for change in (
            lambda: model[0].requires_grad_(True),
            lambda: model.float(),
            lambda: setattr(model, "0", nn.Linear(3, 4)),  # not in the optimiser: no ratio, but a sharpness
        ):
            change()
            data = [(X.to(model[0].weight), Y.to(model[0].weight))]
            tracker.batches = data
            seen = tracker.step()
            truth = netassay.sharpness(model, nn.MSELoss(), data, blocks="layer", tolerance=1e-6)
            assert float(seen.values[0]) == pytest.approx(float(truth.values[0]), rel=1e-4)
            assert set(seen.blocks) == {"0", "2"}
    assert tracker.edge_ratio is None
    assert "does not hold" in tracker.edge_unknown
    tracker.close()


@pytest.mark.parametrize("failing", ["commit", "record", "note", "finish"])
@pytest.mark.parametrize(
    "error", [RunFailed("disk full"), OSError(28, "No space left"), sqlite3.OperationalError("io")]
)
def test_what_the_store_refuses_is_a_warning(tmp_path, monkeypatch, failing, error):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monkeypatch.setattr("netassay.studies.edge.tracker.journal.COMMIT_SECONDS", 0.0)
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], None, store=tmp_path, budget=1e9)

    def refuse(*args, **keywords):
        raise error

    with monkeypatch.context() as patch, pytest.warns(TrackerWarning) as caught:
        patch.setattr(tracker._journal.writer, failing, refuse)
        loop(model, optimizer, tracker, 4)
        if failing == "finish":
            tracker.close()
    assert len(caught) == 1
    loop(model, optimizer, tracker, 1)
    tracker.close()
    if failing == "commit":  # what was not taken is written later
        assert tracker.run.metrics().filter(pl.col("name") == "loss").height == 5


def test_a_store_that_vanishes_does_not_end_the_training(tmp_path, monkeypatch):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monkeypatch.setattr("netassay.studies.edge.tracker.journal.COMMIT_SECONDS", 0.0)
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path / "s", budget=1e9)
    loop(model, optimizer, tracker, 2)
    shutil.rmtree(tmp_path / "s")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop(model, optimizer, tracker, 5)
        tracker.close()
    assert 1 <= len(caught) <= 2  # writing, and ending the run
    assert {w.category for w in caught} == {TrackerWarning}


def test_the_whole_network_first_and_layers_as_the_budget_allows(tmp_path):
    clock, model = Clock(), network()

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model
            self.own = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self, x):
            clock.now += 1.0  # a look costs something, a training step three times as much
            return self.inner(x) + self.own.sum()

    net = Counting()
    tracker = SharpnessTracker(net, nn.MSELoss(), [(X, Y)], 0.01, store=tmp_path, budget=0.2, clock=clock)
    follow = tracker._exact._follow

    def costly(part, curvature):
        clock.now += 1.0
        return follow(part, curvature)

    tracker._exact._follow = costly
    first = tracker.step()
    assert not first.blocks
    measured = dict.fromkeys(("(root)", "inner.0", "inner.2"), 0)
    for _ in range(400):
        clock.now += 3.0
        for name in getattr(tracker.step(), "blocks", {}):
            measured[name] += 1
        values = {p: v for _, n, p, v in tracker.run.metrics().iter_rows() if n == "sharpness"}
    tracker.close()
    assert tracker.share <= 0.2
    assert min(measured.values()) >= 10
    assert max(measured.values()) - min(measured.values()) <= 1
    # the parameters of the module itself are a layer, and do not take the place of the whole
    values = {p: v for _, n, p, v in tracker.run.metrics().iter_rows() if n == "sharpness"}
    truth = netassay.sharpness(net, nn.MSELoss(), [(X, Y)], blocks="layer")
    assert values[""] == pytest.approx(float(truth.values[0]), rel=0.02)
    assert values["(root)"] == pytest.approx(float(truth.blocks[""].values[0]), rel=0.02)


@pytest.mark.parametrize("method", [torch.optim.SGD, torch.optim.Adam])
def test_a_first_look_at_many_examples_takes_fewer_products(tmp_path, method):
    model = network()
    g = torch.Generator().manual_seed(0)
    x = torch.randn(500, 3, generator=g, dtype=torch.float64)
    y = torch.sin(x).sum(1, keepdim=True)
    optimizer = method(model.parameters(), lr=0.01)
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
    with SharpnessTracker(model, nn.MSELoss(), [(x, y)], optimizer, store=tmp_path, every=5) as tracker:
        first = tracker.step()
    truth = netassay.sharpness(model, nn.MSELoss(), [(x, y)], blocks="layer", tolerance=1e-6)
    for pairs, exact in ((first, truth), *((first.blocks[n], truth.blocks[n]) for n in truth.blocks)):
        assert abs(float(pairs.values[0] - exact.values[0])) <= float(pairs.errors[0])
        assert float(pairs.errors[0]) <= 1.1e-2 * float(exact.values[0])
    assert first.products <= 8


def test_every_sets_the_steps_of_the_looks(tmp_path):
    model, clock = network(), Clock()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    tracker = SharpnessTracker(
        model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, every=5, budget=1e-6, clock=clock
    )
    seen = loop(model, optimizer, tracker, 12, clock)
    tracker.close()
    assert [i for i, one in enumerate(seen) if one is not None] == [0, 5, 10]
    assert all(set(one.blocks) == {"0", "2"} for one in seen if one is not None)


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
        with SharpnessTracker(network(), nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, name="<b>") as tracker:
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
    fit(Module(), loader, callback, tmp_path, max_epochs=2)
    metrics = callback.tracker.run.metrics()
    assert metrics["step"].max() == 3
    assert metrics.filter(metrics["name"] == "loss").height == 4
    assert metrics.filter((metrics["name"] == "edge_ratio") & (metrics["part"] == "")).height == 4
    assert str(callback.tracker.run.state) == "finished"


@pytest.mark.parametrize("only_first", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_replicas_in_two_processes_train_on_and_the_first_looks(tmp_path, only_first):
    script = Path(__file__).with_name("replicas.py")
    arguments = [sys.executable, str(script), str(tmp_path), *(["only"] if only_first else [])]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (looks, weights, run), (others, same, no_run) = (
        (tmp_path / f"ended-{rank}").read_text().split() for rank in (0, 1)
    )
    assert weights == same
    assert int(looks) >= 1
    assert int(others) == 0
    assert (run, no_run) == ("True", "False")
    (tracked,) = Store(tmp_path / "runs").select({})
    assert str(tracked.state) == "finished"
    assert tracked.config["model"] == "Sequential"


@pytest.mark.parametrize("kind", ["SyncBatchNorm", "FullyShardedDataParallel"])
def test_what_needs_the_other_processes_is_not_looked_at(tmp_path, kind):
    """One process that waited for others in a look would wait for ever."""
    model = nn.Sequential(nn.Linear(3, 4), nn.SyncBatchNorm(4), nn.Linear(4, 1)).double()
    with (
        SharpnessTracker(model, nn.MSELoss(), [(X, Y)], store=tmp_path, mode="as_is") as tracker,
        pytest.warns(TrackerWarning, match="waits for all"),
    ):
        assert tracker.step() is None


def test_shards_over_no_mesh_of_one_dimension_are_refused_at_once(tmp_path):
    model = type("FSDPModule", (nn.Sequential,), {})(nn.Linear(3, 1)).double()
    with pytest.raises(ModelError, match="one mesh of one dimension is supported"):
        SharpnessTracker(model, nn.MSELoss(), [(X, Y)], store=tmp_path)


def test_wrappers_of_the_module_are_taken_off(tmp_path):
    inner = network()
    for model in (nn.DataParallel(inner), torch.compile(inner, backend="eager")):
        with SharpnessTracker(model, nn.MSELoss(), [(X, Y)], store=tmp_path, every=1) as tracker:
            assert set(tracker.step().blocks) == {"0", "2"}


@pytest.mark.parametrize("wrong", [None, math.nan, "a string"])
def test_a_motion_that_is_no_motion_is_reported_and_the_sharpness_kept(tmp_path, wrong):
    given = (lambda optimizer, parameters: 1 / 0) if wrong is None else (lambda optimizer, parameters: wrong)
    model = network()
    tracker = SharpnessTracker(model, nn.MSELoss(), [(X, Y)], store=tmp_path, budget=1e9, motion=given)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [tracker.step() is not None for _ in range(3)] == [True] * 3
    assert len(caught) == (1 if wrong is None else 0)
    assert tracker.edge_ratio is None
    assert tracker.edge_unknown
    assert tracker.run.events().filter(pl.col("what") == "edge").height == 1
    tracker.close()


def test_motion_gives_the_edge_of_any_other_optimiser(tmp_path):
    model = network()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    sharp = float(netassay.sharpness(model, nn.MSELoss(), [(X, Y)], tolerance=1e-6).values[0])
    for given in (netassay.Motion(0.1, 4.0), lambda optimizer, parameters: netassay.Motion(0.1, 4.0)):
        with SharpnessTracker(
            model, nn.MSELoss(), [(X, Y)], optimizer, store=tmp_path, every=1, motion=given
        ) as tracker:
            tracker.step()
        assert tracker.edge_ratio == pytest.approx(0.1 * sharp / 4, rel=1e-2)


@pytest.mark.parametrize("batches, accumulated, steps", [(2, 1, 8), (4, 4, 4), (5, 2, 12)])
def test_lightning_counts_the_steps_of_the_optimiser(tmp_path, batches, accumulated, steps):
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
            return torch.optim.SGD(self.parameters(), lr=0.0)

    x, y = X.float(), Y.float()
    callback = sharpness_callback(nn.MSELoss(), [(x, y)], store=tmp_path, every=2)
    data = [(x, y + i) for i in range(batches)]
    loader = torch.utils.data.DataLoader(data, batch_size=None)
    trainer = fit(Module(), loader, callback, tmp_path, max_epochs=4, accumulate_grad_batches=accumulated)
    assert trainer.global_step == steps
    metrics = callback.tracker.run.metrics()
    losses = metrics.filter(pl.col("name") == "loss")
    assert losses["step"].to_list() == [*range(steps)]
    assert metrics.filter(pl.col("name") == "tracked_loss")["step"].to_list() == [*range(0, steps, 2)]
    if accumulated == 4:  # the mean of all batches that made the step
        net = network().float()
        mean = sum(float(nn.functional.mse_loss(net(x), b).detach()) for _, b in data) / 4
        assert losses["value"].to_list() == pytest.approx([mean] * 4, rel=1e-5)


def test_lightning_trains_on_where_there_is_nothing_to_track(tmp_path):
    pytest.importorskip("lightning.pytorch")
    from netassay.studies.edge.tracker.lightning import sharpness_callback

    one = torch.optim.SGD(network().parameters(), lr=0.1)
    for optimizers, first, store in (
        ([one, one], True, tmp_path),
        ([one], False, tmp_path),
        ([one], True, __file__),
    ):
        trainer = SimpleNamespace(optimizers=optimizers, is_global_zero=first, global_step=0)
        callback = sharpness_callback(nn.MSELoss(), [(X, Y)], store=store)
        if first:
            with pytest.warns(TrackerWarning, match="not tracked"):
                callback.on_train_start(trainer, network())
        else:
            callback.on_train_start(trainer, network())
        trainer.global_step = 1
        callback.on_train_batch_end(trainer, None, {"loss": torch.tensor(1.0)}, None, 0)
        callback.on_train_end(trainer, None)
        callback.on_exception(trainer, None, ValueError())
        assert callback.tracker is None


def test_weights_head_and_memory_are_those_of_sharpness(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, x):
            outputs = self.inner(x)
            return {"scale": outputs.sum(), "outputs": outputs}

    def loss(output, target):
        return (output - target).square().mean()

    truth = netassay.sharpness(network(), loss, [(X, Y)], tolerance=1e-6)
    tracker = SharpnessTracker(
        Two(),
        loss,
        [(X[:3], Y[:3]), (X[3:], Y[3:])],
        every=1,
        tolerance=1e-6,
        store=tmp_path,
        weights=(n for n in (3, 5)),
        head="outputs",
        memory=0,
    )
    for _ in range(2):
        seen = tracker.step()
        assert seen.values[0].item() == pytest.approx(truth.values[0].item(), rel=1e-6)
        assert seen.loss == pytest.approx(truth.loss, rel=1e-12)
    tracker.close()
    with pytest.raises(ConfigError, match="memory=-1"):
        SharpnessTracker(Two(), loss, [(X, Y)], store=tmp_path, memory=-1)


def test_how_batches_weigh_is_tried_once(tmp_path):
    calls = 0

    def loss(output, target):
        nonlocal calls
        calls += 1
        return (output - target).square().mean()

    cut = [(X[:3], Y[:3]), (X[3:], Y[3:])]
    tracker = SharpnessTracker(network(), loss, cut, every=1, store=tmp_path)
    spent = []
    for _ in range(3):
        before = calls
        tracker.step()
        spent.append(calls - before)
    tracker.close()
    assert spent[0] > 2
    assert spent[1:] == [2, 2]
    assert tracker.sharpness.loss == pytest.approx(netassay.sharpness(network(), loss, [(X, Y)]).loss, rel=1e-12)
