import pytest
import torch
from dense import network
from torch import nn

from netassay.curvature.model import layer_blocks, resolve_blocks
from netassay.errors import ModelError


def test_layers_join_weight_and_bias_under_module_names():
    assert layer_blocks(network()) == {
        "0": ("0.weight", "0.bias"),
        "2": ("2.weight", "2.bias"),
        "4": ("4.weight", "4.bias"),
    }
    assert layer_blocks(nn.Linear(2, 1)) == {"": ("weight", "bias")}
    names = dict(nn.TransformerEncoderLayer(4, 2).named_modules())
    assert set(layer_blocks(nn.TransformerEncoderLayer(4, 2))) <= set(names)


def test_none_layer_and_mapping():
    model = network()
    assert resolve_blocks(model, None) == {}
    assert resolve_blocks(model, "layer") == layer_blocks(model)
    assert resolve_blocks(model, {"a": ["2.bias"], "b": ("2.bias", "0.weight")}) == {
        "a": ("2.bias",),
        "b": ("2.bias", "0.weight"),
    }


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"a": ["0.wieght"]}, "did you mean '0.weight'"),
        ({"a": ["nothing like it"]}, "known: 0.weight"),
        ({"a": []}, "block 'a' is empty"),
        ({"a": ["0.bias", "0.bias"]}, "names the parameter '0.bias' twice"),
        ({"a": ["2.bias"]}, "frozen"),
        ({"a": "0.bias"}, r"\['0.bias'\]"),
        ("layers", "'layers'"),
        (["0.bias"], "a list"),
    ],
)
def test_bad_blocks_are_refused(blocks, message):
    model = network()
    model[2].bias.requires_grad_(False)
    with pytest.raises(ModelError, match=message):
        resolve_blocks(model, blocks)


def test_second_name_of_a_shared_parameter_points_to_the_first():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    with pytest.raises(ModelError, match=r"shared with '0\.weight'"):
        resolve_blocks(model, {"a": ["1.weight"]})


def test_nothing_to_train_and_mixed_or_half_precision():
    with pytest.raises(ModelError, match="no parameter with requires_grad"):
        layer_blocks(nn.ReLU())
    with pytest.raises(ModelError, match="float16 on cpu"):
        layer_blocks(nn.Linear(2, 2).half())
    mixed = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).to(torch.float64))
    with pytest.raises(ModelError, match="float32 on cpu, float64 on cpu"):
        layer_blocks(mixed)
