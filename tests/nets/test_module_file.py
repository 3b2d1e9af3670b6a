"""Weights put into modules that a file makes."""

from pathlib import Path

import pytest
import torch
from torch import nn

from netassay.errors import ModelError
from netassay.nets.module_file import load_weights


def test_lazy_layers_take_the_shapes_of_the_weights():
    state = nn.Sequential(nn.Linear(3, 2)).state_dict()
    lazy = nn.Sequential(nn.LazyLinear(2))
    load_weights(lazy, state, Path("x.safetensors"))
    x = torch.ones(1, 3)
    assert torch.equal(lazy(x), x @ state["0.weight"].T + state["0.bias"])


def test_another_shape_is_refused():
    with pytest.raises(ModelError, match=r"0.weight has shape \(2, 3\), the module Sequential takes \(2, 4\)"):
        load_weights(nn.Sequential(nn.Linear(4, 2)), nn.Sequential(nn.Linear(3, 2)).state_dict(), Path("x"))
