"""The tracker in loops that others wrote, and in ones that accumulate, scale or mix precisions."""

import warnings

import pytest
import torch
from torch import nn

import netassay
from netassay.errors import ConfigError
from netassay.studies.edge.tracker.tracker import SharpnessTracker, TrackerWarning

LOSS = nn.functional.cross_entropy
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(32, 6, generator=GENERATOR), torch.randint(3, (32,), generator=GENERATOR)


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def by_step(tracker, name):
    metrics = tracker.run.metrics()
    chosen = metrics.filter((metrics["name"] == name) & (metrics["part"] == ""))
    return dict(zip(chosen["step"], chosen["value"], strict=True))


def test_accumulated_gradients_are_those_of_one_batch(tmp_path):
    values = []
    for pieces in (1, 4):
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        with SharpnessTracker(model, LOSS, [(X, Y)], optimizer, store=tmp_path, every=1, level="leading") as tracker:
            for _ in range(3):
                optimizer.zero_grad()
                for x, y in zip(X.chunk(pieces), Y.chunk(pieces), strict=True):
                    (LOSS(model(x), y) / pieces).backward()
                optimizer.step()
                tracker.step()
        values.append([by_step(tracker, name) for name in ("critical_sharpness", "sharpness")])
    for one, four in zip(*values, strict=True):
        assert list(four.values()) == pytest.approx(list(one.values()), rel=0.05)


@pytest.mark.parametrize("mixed", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fused", [False, True])
def test_scaled_and_mixed_training_is_looked_at_in_full_precision_and_unscaled(tmp_path, mixed, fused):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    tracker = SharpnessTracker(model, LOSS, [(X, Y)], optimizer, store=tmp_path, every=1, level="leading")
    truth = []
    for step in range(4):
        optimizer.zero_grad()
        with torch.autocast("cpu", mixed):
            value = LOSS(model(X), Y)
        scaler.scale(value).backward()
        plain = [p.grad / scaler.get_scale() for p in model.parameters()]
        if step == 2:  # this step overflows, and the scaler leaves it out
            model[0].weight.grad[0, 0] = float("inf")
        else:
            held = [p.grad for p in model.parameters()]
            for p, slope in zip(model.parameters(), plain, strict=True):
                p.grad = slope
            truth.append(netassay.critical_sharpness(model, LOSS, [(X, Y)], direction=optimizer).value)
            for p, slope in zip(model.parameters(), held, strict=True):
                p.grad = slope
        scaler.step(optimizer)
        scaler.update()
        tracker.step()
    tracker.close()
    measured = by_step(tracker, "critical_sharpness")
    assert list(measured) == [0, 1, 3]
    assert list(measured.values()) == pytest.approx(truth, rel=0.06)
    assert len(by_step(tracker, "sharpness")) == 4


class Model(nn.Module):
    """Returns its loss, as the models of Hugging Face do."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x, labels=None):
        logits = self.net(x)
        return {"loss": LOSS(logits, labels), "logits": logits}


def trained(folder, callback, **options):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    data = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    arguments = transformers.TrainingArguments(
        folder / "out",
        max_steps=4,
        per_device_train_batch_size=8,
        learning_rate=0.01,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        **options,
    )
    model = Model()
    trainer = transformers.Trainer(
        model, arguments, train_dataset=data, callbacks=[] if callback is None else [callback]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        trainer.train()
    return model


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}, {"bf16": True}, {"warmup_steps": 2}])
def test_trainer_callback(tmp_path, options):
    pytest.importorskip("transformers")
    from netassay.studies.edge.tracker.hugging_face import sharpness_callback

    alone = trained(tmp_path, None, **options)
    callback = sharpness_callback([{"x": X, "labels": Y}], store=tmp_path, every=1)
    model = trained(tmp_path, callback, **options)
    # the training is the same to the last bit
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), model.parameters(), strict=True))
    along, exact = by_step(callback.tracker, "critical_sharpness"), by_step(callback.tracker, "sharpness")
    assert list(along) == ([1, 2, 3] if "warmup_steps" in options else [0, 1, 2, 3])
    assert list(exact) == [0, 1, 2, 3]
    truth = netassay.sharpness(model.net, LOSS, [(X, Y)], tolerance=1e-4)
    assert exact[3] == pytest.approx(float(truth.values[0]), rel=2e-2)
    assert str(callback.tracker.run.state) == "finished"


def test_trainer_goes_on_where_there_is_nothing_to_track(tmp_path):
    pytest.importorskip("transformers")
    from netassay.studies.edge.tracker.hugging_face import sharpness_callback

    callback = sharpness_callback([{"x": X, "labels": Y}], store=__file__)
    with pytest.warns(TrackerWarning, match="not tracked"):
        callback.on_train_begin(
            None, type("State", (), {"is_world_process_zero": True}), None, model=Model(), optimizer=0.1
        )
    assert callback.tracker is None
    callback.on_train_end(None, None, None)


@pytest.mark.parametrize("precision, accumulated", [("no", 1), ("no", 2), ("bf16", 2)])
def test_accelerate_counts_the_steps_of_the_optimiser(tmp_path, precision, accumulated):
    accelerate = pytest.importorskip("accelerate")
    from netassay.studies.edge.tracker.accelerate import sharpness_tracker

    accelerate.state.AcceleratorState._reset_state(True)
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision=precision, gradient_accumulation_steps=accumulated)
    raw = network()
    raw_optimizer = torch.optim.AdamW(raw.parameters(), lr=0.01)
    model, optimizer = accelerator.prepare(raw, raw_optimizer)
    forward = model.forward
    tracker = sharpness_tracker(accelerator, model, LOSS, [(X, Y)], optimizer, store=tmp_path, every=1)
    for i in range(4):
        with accelerator.accumulate(model):
            rows = slice(8 * i, 8 * i + 8)
            accelerator.backward(LOSS(model(X[rows]), Y[rows]))
            optimizer.step()
            optimizer.zero_grad()
    tracker.close()
    assert model.forward == forward
    steps = [*range(4 // accumulated)]
    assert list(by_step(tracker, "critical_sharpness")) == steps
    exact = by_step(tracker, "sharpness")
    assert list(exact) == steps
    truth = netassay.sharpness(network_of(raw), LOSS, [(X, Y)], tolerance=1e-4)
    assert exact[steps[-1]] == pytest.approx(float(truth.values[0]), rel=1.1e-2)
    with pytest.raises(ConfigError, match="prepare"):
        sharpness_tracker(accelerator, model, LOSS, [(X, Y)], raw_optimizer, store=tmp_path)


def network_of(model):
    """A module of its own with the weights of another, without what wraps that one's forward pass."""
    copy = network()
    copy.load_state_dict(model.state_dict())
    return copy
