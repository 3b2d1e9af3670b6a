import json
import os

import pytest
import torch
from torch import nn

from netassay.errors import ConfigError, RunDamaged, StoreError
from netassay.nets.decoder import AveragingNetwork, Decoder, ExperimentDecoder
from netassay.numerics.devices import generator
from netassay.runs.models import describe_model, load_model, save_model

MODELS = [
    lambda dtype: Decoder(
        5, 4, embedding=3, longest=6, heads=2, key=1, value=2, activation="tanh", generator=generator(1), dtype=dtype
    ),
    lambda dtype: AveragingNetwork(5, 4, embedding=3, longest=6, generator=generator(1), dtype=dtype),
    lambda dtype: ExperimentDecoder(5, 4, embedding=3, generator=generator(1), dtype=dtype),
]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_comes_back_bit_for_bit(tmp_path, make, dtype):
    model = make(dtype)
    save_model(tmp_path / "a" / "m", model, {"gap": float("nan"), "ids": [1, 2]})
    again = load_model(tmp_path / "a" / "m")
    assert type(again) is type(model)
    tokens = torch.tensor([[0, 4, 2, 1]])
    assert torch.equal(again(tokens), model(tokens))
    assert describe_model(tmp_path / "a" / "m")["about"] == {"gap": None, "ids": [1, 2]}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["m"]


def test_nothing_is_overwritten_or_half_written(tmp_path, monkeypatch):
    model = MODELS[1](torch.float32)
    (tmp_path / "m").mkdir()
    with pytest.raises(StoreError, match="exists already"):
        save_model(tmp_path / "m", model)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        save_model(tmp_path / "n", model)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    with pytest.raises(ConfigError, match="the model is a Linear"):
        save_model(tmp_path / "o", nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda held: held.update(kind="Perceptron"), StoreError, "'Perceptron'"),
        (lambda held: held["sizes"].update(width=9), StoreError, "do not belong together"),
        (lambda held: held["sizes"].update(depth=9), StoreError, "do not belong together"),
        (lambda held: held.update(format=7), StoreError, "format 1"),
        (lambda held: held.update(sha256="0"), RunDamaged, "SHA-256"),
        (lambda held: held.update(kind=["Decoder"]), StoreError, "not known here"),
        (lambda held: held.update(about=["a"]), StoreError, "its entry about is no mapping"),
    ],
)
def test_what_was_changed_on_disk_is_refused(tmp_path, change, error, message):
    save_model(tmp_path / "m", MODELS[0](torch.float32))
    path = tmp_path / "m" / "model.json"
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))
    with pytest.raises(error, match=message):
        load_model(tmp_path / "m")


def test_damaged_and_missing_files(tmp_path):
    with pytest.raises(StoreError, match="not a description of a saved model"):
        load_model(tmp_path)
    save_model(tmp_path / "m", MODELS[0](torch.float32))
    weights = tmp_path / "m" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(RunDamaged):
        load_model(tmp_path / "m")
    weights.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_pipes_and_devices_are_not_read(tmp_path, name):
    save_model(tmp_path / "m", MODELS[0](torch.float32))
    for put in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (tmp_path / "m" / name).unlink()
        put(tmp_path / "m" / name)
        with pytest.raises(StoreError, match="not a file; write its output to a file"):
            load_model(tmp_path / "m")


def test_a_description_of_nests_or_gigabytes_is_refused(tmp_path):
    (tmp_path / "model.json").write_text("[" * 100_000)
    with pytest.raises(StoreError, match="not a description"):
        describe_model(tmp_path)
    os.truncate(tmp_path / "model.json", 10 << 30)
    with pytest.raises(StoreError, match="raise NETASSAY_LONGEST_LINE"):
        describe_model(tmp_path)
