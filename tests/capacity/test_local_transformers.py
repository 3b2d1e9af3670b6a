"""Ranks of real architectures of the `transformers` package, tiny and with random weights."""

import copy

import pytest
import torch
from torch.overrides import TorchFunctionMode

from netassay.capacity.local import local_capacity
from netassay.errors import DataError

transformers = pytest.importorskip("transformers")

ALIKE = [(3,), (3, 3), (3, 3, 3)]
APART = [(1,), (2,), (1, 2), (2, 1)]
SIZES = {"vocab_size": 6, "hidden_size": 8, "num_hidden_layers": 1}
ATTENTION = {"intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
NO_MARKS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
MODELS = {
    "Llama": (SIZES | ATTENTION, 5),
    "Qwen2": (SIZES | ATTENTION, 5),
    "Gemma2": (SIZES | ATTENTION | {"head_dim": 4}, 5),
    "Mixtral": (SIZES | ATTENTION | {"num_local_experts": 2, "num_experts_per_tok": 1}, 5),
    "Mamba": (SIZES | {"state_size": 4}, 15),
    "GPT2": ({"vocab_size": 6, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}, 15),
}
"""Options, and the rank at contexts of one repeated token: attention by rotations sees one point, others three."""


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


def make(name):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**MODELS[name][0], **NO_MARKS)
    kind = "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM"
    return getattr(transformers, kind)(config)


class InDouble(TorchFunctionMode):
    """Whatever a forward would do in float32 is done in float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double

        def raised(value):
            return torch.float64 if value is torch.float32 else value

        return func(*map(raised, args), **{key: raised(value) for key, value in (kwargs or {}).items()})


def explicit_jacobian(name, contexts):
    """Row by row in float64 throughout, held against central differences along random directions."""
    model = copy.deepcopy(make(name)).double().eval()
    if name == "Mixtral":
        model.set_experts_implementation("eager")
    parameters = list(model.parameters())

    def logits():
        with InDouble():
            ends = [model(torch.tensor([context])).logits[0, -1] for context in contexts]
        assert all(end.dtype == torch.float64 for end in ends)
        out = torch.stack(ends)
        return (out - out.mean(1, keepdim=True)).flatten()

    rows = []
    out = logits()
    for value in out:
        parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([part.flatten() for part in parts]))
    jacobian = torch.stack(rows)
    draws = torch.Generator().manual_seed(0)
    for _ in range(3):
        along = [torch.randn(p.shape, generator=draws, dtype=p.dtype) for p in parameters]

        def moved(step, along=along):
            with torch.no_grad():
                torch._foreach_add_(parameters, along, alpha=step)
                there = logits()
                torch._foreach_add_(parameters, along, alpha=-step)
            return there

        slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
        torch.testing.assert_close(jacobian @ torch.cat([v.flatten() for v in along]), slope, rtol=1e-5, atol=1e-6)
    return jacobian


@pytest.mark.parametrize("contexts", [ALIKE, APART], ids=["alike", "apart"])
def test_the_rank_is_that_of_an_explicit_jacobian_in_float64(name, contexts):
    values = torch.linalg.svdvals(explicit_jacobian(name, contexts))
    truth = int((values > 1e-12 * values[0]).sum())
    assert truth == (MODELS[name][1] if contexts is ALIKE else 20)
    for method in ("dense", "sketch"):
        found = local_capacity(make(name), contexts, method=method)
        assert (found.rank, found.upper) == (truth, 5 * len(contexts))
        if name == "GPT2":
            assert found.uncertified == ""
            assert found.contexts_certified == len(contexts)
            continue
        assert found.contexts_certified == 0
        wanted = "does not run in float64" if name == "Mixtral" else "computes in float32 inside ("
        assert wanted in found.uncertified


def test_ids_and_positions_beyond_the_model_are_named(name):
    with pytest.raises(DataError, match=r"context 1 holds the token 6, .* vocabulary of 6 tokens"):
        local_capacity(make(name), [(1,), (1, 6)])
    if name == "GPT2":
        with pytest.raises(DataError, match="context 0 has 9 tokens; the model takes at most 8"):
            local_capacity(make(name), [(1,) * 9])


def test_tuples_and_the_last_position_alone_are_read():
    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = make("GPT2")

        def forward(self, tokens):
            return self.inner(tokens, return_dict=False, logits_to_keep=1)

    found = local_capacity(Last(), APART)
    assert (found.rank, found.contexts_certified) == (20, 4)
