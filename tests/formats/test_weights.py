"""Weights of others: safetensors and state dicts are read, code in a file is never run."""

import pickle
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from netassay.errors import DataError
from netassay.formats.weights import read_weights

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(found):
    return found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize(
    "held",
    [
        STATE,
        OrderedDict(STATE),
        {"state_dict": STATE, "epoch": 3},
        {"model_state_dict": STATE, "optimizer": {}},
        {"model": STATE},
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_a_state_dict_that_pytorch_saved(held, old, tmp_path):
    torch.save(held, tmp_path / "w.pth", _use_new_zipfile_serialization=not old)
    assert same(read_weights(tmp_path / "w.pth"))


def test_safetensors_whatever_the_file_is_called(tmp_path):
    save_file(STATE, tmp_path / "weights.bin")
    assert same(read_weights(tmp_path / "weights.bin"))


class Trap:
    """Unpickled it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("zipped", [False, True])
def test_code_in_a_file_is_refused_and_never_run(zipped, tmp_path):
    held = {"a.weight": Trap(tmp_path / "sprung")}
    if zipped:
        torch.save(held, tmp_path / "w.pth")
    else:
        (tmp_path / "w.pth").write_bytes(pickle.dumps(held))
    with pytest.raises(DataError, match=r"w\.pth: is neither safetensors nor a state dict .* code, which is never run"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "sprung").exists()


def test_a_whole_module_is_refused_with_the_remedy(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(DataError, match=r"save the weights alone: safetensors.torch.save_file"):
        read_weights(tmp_path / "whole.pt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "neither safetensors nor"),
        (b"not weights at all", "neither safetensors nor"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{damaged header}", "damaged, or no safetensors"),
    ],
)
def test_what_holds_no_weights_is_refused(content, says, tmp_path):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_weights(tmp_path / "w")


@pytest.mark.parametrize(("held", "says"), [([torch.ones(2)], "holds a list"), ({"epoch": 3}, "holds no tensors")])
def test_other_things_than_tensors_by_name_are_refused(held, says, tmp_path):
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(DataError, match=says):
        read_weights(tmp_path / "w.pth")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_weights(tmp_path / "nowhere.pth")
