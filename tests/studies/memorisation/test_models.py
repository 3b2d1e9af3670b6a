"""Models of transformers, nanoGPT and Python files, tiny and with random weights, against plain loops."""

import json
import math
import os
from itertools import pairwise

import numpy as np
import pytest
import torch

import netassay
from netassay.cli import main
from netassay.errors import ConfigError, DataError, ModelError
from netassay.nets.decoder import AveragingNetwork
from netassay.numerics.devices import generator
from netassay.runs.models import save_model
from netassay.studies.memorisation.model import model_of

SOUND = {"vocab_size": 8, "block_size": 8, "n_embd": 4, "n_layer": 1, "n_head": 2}
DOCUMENTS = np.random.default_rng(0).integers(0, 30, (24, 9)).tolist()

SIZES = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1}
ATTENTION = {"intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
NO_MARKS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
MODELS = {
    "Llama": SIZES | ATTENTION,
    "Qwen2": SIZES | ATTENTION,
    "Gemma2": SIZES | ATTENTION | {"head_dim": 4},
    "Mixtral": SIZES | ATTENTION | {"num_local_experts": 2, "num_experts_per_tok": 1},
    "Mamba": SIZES | {"state_size": 4},
    "GPT2": {"vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8},
}


def made(name, seed=0):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    config = getattr(transformers, f"{name}Config")(**MODELS[name], **NO_MARKS)
    kind = "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM"
    return getattr(transformers, kind)(config).eval()


def loss_by_hand(model, documents):
    total = 0.0
    for document in documents:
        with torch.no_grad():
            logs = model(torch.tensor([document[:-1]])).logits[0].double().log_softmax(-1)
        total -= sum(float(logs[t, document[t + 1]]) for t in range(len(document) - 1))
    return total


@pytest.mark.parametrize("name", MODELS)
def test_untrained_architectures_hold_nothing(name, tmp_path):
    model = made(name)
    found = netassay.memorisation(model, DOCUMENTS, tokens_at_once=50)
    assert math.isclose(found.loss_nats, loss_by_hand(model, DOCUMENTS), rel_tol=1e-6)
    assert found.vocabulary == 30
    uniform, unigram = found.bits
    assert uniform.low <= 0
    assert unigram.high < 0
    assert found.extraction.sequences == 0

    model.save_pretrained(tmp_path / "saved")
    again = netassay.memorisation(tmp_path / "saved", DOCUMENTS, prefix=2, suffix=2)
    assert math.isclose(again.loss_nats, found.loss_nats, rel_tol=1e-6)
    assert again.parameters == found.parameters
    assert again.extraction.sequences == 24
    assert not again.extraction.greedy.any()


def test_float64_equals_a_loop_to_nine_digits(tmp_path):
    model = made("GPT2").double()
    found = netassay.memorisation(model, DOCUMENTS)
    assert math.isclose(found.loss_nats, loss_by_hand(model, DOCUMENTS), rel_tol=1e-9)
    made("GPT2").save_pretrained(tmp_path / "saved")
    saved = netassay.memorisation(tmp_path / "saved", DOCUMENTS, arithmetic="float64")
    assert math.isclose(saved.loss_nats, found.loss_nats, rel_tol=1e-9)


def nano_gpt(model, bias):
    """The checkpoint that nanoGPT's training loop would write of a GPT-2 of transformers."""
    state = {}
    for name, tensor in model.state_dict().items():
        if not bias and name.endswith(".bias"):
            continue
        linear = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        state[f"_orig_mod.{name}"] = tensor.T.contiguous() if linear else tensor
    sizes = {
        "n_layer": 1,
        "n_head": 2,
        "n_embd": 16,
        "block_size": 8,
        "bias": bias,
        "vocab_size": 30,
        "dropout": 0.0,
    }
    return {
        "model": state,
        "model_args": sizes,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}},
        "iter_num": 5,
        "best_val_loss": torch.tensor(3.2),
        "config": {"dataset": "tiny"},
    }


@pytest.mark.parametrize("bias", [True, False])
def test_checkpoints_of_nano_gpt_are_read(bias, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(**MODELS["GPT2"], **NO_MARKS, activation_function="gelu")
    model = transformers.GPT2LMHeadModel(config).eval()
    torch.save(nano_gpt(model, bias), tmp_path / "ckpt.pt")
    found = netassay.memorisation(tmp_path / "ckpt.pt", DOCUMENTS)
    assert math.isclose(found.loss_nats, loss_by_hand(model, DOCUMENTS), rel_tol=1e-6)


MODULE = """
import torch
from torch import nn

class Last(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(30, 30)
    def forward(self, idx, targets=None):
        logits = self.table(idx)
        return (logits if targets is not None else logits[:, -1:]), None

def make():
    return Last()
"""


def test_modules_of_a_file_are_read_with_their_weights(tmp_path):
    from safetensors.torch import save_file

    (tmp_path / "net.py").write_text(MODULE)
    table = torch.randn(30, 30, generator=torch.Generator().manual_seed(1))
    save_file({"table.weight": table}, tmp_path / "x.safetensors")
    spec = f"{tmp_path / 'net.py'}:make"
    found = netassay.memorisation(spec, DOCUMENTS, weights=str(tmp_path / "x.safetensors"))
    logs = table.double().log_softmax(-1)
    loss = -sum(float(logs[a, b]) for document in DOCUMENTS for a, b in pairwise(document))
    assert math.isclose(found.loss_nats, loss, rel_tol=1e-6)
    module = netassay.memorisation("untrained", DOCUMENTS, module=spec)
    assert module.loss_nats != found.loss_nats
    reference = netassay.memorisation(spec, DOCUMENTS, reference=spec, weights=str(tmp_path / "x.safetensors"))
    assert math.isclose(reference.bits[2].bits, (module.loss_nats - found.loss_nats) / math.log(2), rel_tol=1e-6)


def test_a_constructed_model_is_read_with_its_words(tmp_path):
    text = tmp_path / "stories.txt"
    text.write_text("the cat sat\nthe dog sat\nthe cat ran\n")
    built = netassay.construct(str(text), save=tmp_path / "built")
    found = netassay.memorisation(tmp_path / "built", str(text))
    assert 0 <= found.gap_nats < 1e-6 * found.bound_nats
    assert found.right == found.contexts == built.contexts
    assert found.largest[0].text.split()[0] == "the"


def test_a_damaged_saved_model_is_refused_and_leaves_no_run(tmp_path, capsys):
    save_model(tmp_path / "m", AveragingNetwork(5, 4, embedding=3, longest=6, generator=generator(1)))
    (tmp_path / "corpus.txt").write_text("the cat sat\n")
    words = ["memorisation", "m", "--corpus", "corpus.txt", "--tokenizer", "whitespace", "--threads", "1"]
    for about in ({"words": 5}, {"words": [1, 2]}, "none"):
        held = json.loads((tmp_path / "m" / "model.json").read_text())
        (tmp_path / "m" / "model.json").write_text(json.dumps(held | {"about": about}))
        assert main(words) == 2
        assert "m/model.json: its " in capsys.readouterr().err
    (tmp_path / "m" / "weights.safetensors").write_bytes(b"")
    (tmp_path / "m" / "model.json").write_text(json.dumps(held | {"about": {}}))
    assert main(words) == 2
    assert "is not what was saved" in capsys.readouterr().err
    assert netassay.Store("runs").runs() == []


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x02")
    (tmp_path / "net.py").write_text(MODULE)
    torch.save({"model": {"a": torch.zeros(2)}}, tmp_path / "other.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "object.pt")
    cases = [
        ("nowhere", {}, ConfigError, "not a file or folder"),
        ("empty", {}, ConfigError, "without config.json"),
        ("pickled", {}, DataError, "safe_serialization"),
        ("other.pt", {}, DataError, "model_args"),
        ("object.pt", {}, DataError, "save the weights alone"),
        ("net.py:nothing", {}, ConfigError, "has no 'nothing'"),
        ("other.pt", {"weights": "w"}, ConfigError, "FILE.py:make"),
        ("other.pt", {"module": "net.py:make"}, ConfigError, "two models"),
        ("net.py:make", {"weights": str(tmp_path / "other.pt")}, ModelError, "lack"),
    ]
    for name, args in (
        ("few.pt", {"n_head": 2}),
        ("odd.pt", {**SOUND, "n_head": 3}),
        ("none.pt", {**SOUND, "n_embd": 0}),
    ):
        torch.save({"model": {"a": torch.zeros(2)}, "model_args": args}, tmp_path / name)
        cases.append((name, {}, DataError, "model_args has"))
    (tmp_path / "piped").mkdir()
    (tmp_path / "piped" / "config.json").write_text('{"model_type": "gpt2"}')
    os.mkfifo(tmp_path / "piped" / "model.safetensors")
    cases.append(("piped", {}, DataError, "model.safetensors: is a pipe"))
    pytest.importorskip("transformers")
    for model, how, error, said in cases:
        with pytest.raises(error, match=said):
            model_of(str(tmp_path / model), **how)


def test_bad_corpora_end_with_one_sentence_and_code_two(tmp_path, capsys):
    made("GPT2").save_pretrained(tmp_path / "gpt2")
    np.save(tmp_path / "beyond.npy", np.full((4, 6), 41))
    np.save(tmp_path / "long.npy", np.zeros((4, 12), np.int64))
    (tmp_path / "text.txt").write_text("a b c\n")
    cases = [
        ("beyond.npy", "are beyond them (41; 24 tokens)"),
        ("long.npy", "8 positions"),
        ("text.txt", "without a tokenizer.json"),
    ]
    for corpus, said in cases:
        words = ["memorisation", tmp_path / "gpt2", tmp_path / corpus, "--store", tmp_path / "runs"]
        assert main([*map(str, words)]) == 2
        said_of_it = capsys.readouterr().err.strip().splitlines()
        assert said in said_of_it[-1] and len([line for line in said_of_it if "netassay:" in line]) == 1
    assert not [*(tmp_path / "runs").glob("memorisation-*")]
