"""Language models from files: folders of transformers, checkpoints of nanoGPT, modules made by a Python file."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from netassay.errors import ConfigError, DataError, ModelError, StoreError
from netassay.extras import require
from netassay.formats.weights import read_checkpoint, read_weights
from netassay.inputs import refuse_odd_file
from netassay.nets.decoder import ExperimentDecoder
from netassay.nets.module_file import load_weights, module_of
from netassay.numerics.devices import generator
from netassay.runs.models import DESCRIPTION, describe_model, load_model

UNTRAINED = "untrained"
"""A small decoder with random weights: the zero of the scale."""

_FORMS = (
    "a folder with config.json and safetensors, as transformers saves it; a checkpoint of nanoGPT (ckpt.pt); a folder "
    f"of `netassay construct --save`; FILE.py:make; or {UNTRAINED}"
)
_BINARY = ("pytorch_model.bin", "model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A causal model, the file of its tokenizer, and its words if tokens are numbered words; else None."""

    model: nn.Module
    tokenizer: Path | None = None
    words: tuple[str, ...] | None = None


def model_of(model: str, *, module: str = "", weights: str = "") -> Loaded | None:
    """The model of a folder, a checkpoint or a Python file; None for "untrained", which is made for its corpus.

    Raises ConfigError for names that conflict or do not exist, DataError for files that cannot be read without running
    their code, ModelError for weights that do not fit, and ExtraMissing without transformers.
    """
    spec = module or (model if model.rpartition(":")[0].endswith(".py") else "")
    if module and model != UNTRAINED:
        raise ConfigError(f"model = {model!r} and module = {module!r} are two models; give one")
    if spec:
        network = module_of(spec)
        if weights:
            load_weights(network, read_weights(weights), Path(weights))
        return Loaded(network)
    if weights:
        raise ConfigError(f"weights = {weights!r}: they are of a module that a file makes; give module FILE.py:make")
    if model == UNTRAINED:
        return None
    path = Path(model)
    if (path / "config.json").is_file():
        return _of_folder(path)
    if (path / DESCRIPTION).is_file():
        return _saved(path)
    if path.is_file():
        return Loaded(_nano_gpt(path))
    problem = "is a folder without config.json" if path.is_dir() else "is not a file or folder here"
    raise ConfigError(f"model = {model!r} {problem}; give {_FORMS}")


def _saved(folder: Path) -> Loaded:
    """A model that `save_model` wrote, with the words of its tokens."""
    try:
        words = describe_model(folder).get("about", {}).get("words")
        model = load_model(folder)
    except StoreError as cause:
        raise ModelError(str(cause)) from cause
    if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        raise ModelError(f"{folder / DESCRIPTION}: its words are no list of words; write the model again")
    return Loaded(model, words=None if words is None else tuple(words))


def untrained(vocabulary: int, seed: int) -> nn.Module:
    """A decoder of 64 neurons with random weights."""
    return ExperimentDecoder(vocabulary, 64, generator=generator(seed, "untrained"))


def digest(model: nn.Module) -> str:
    """A checksum (CRC-32) of a model's parameters and buffers."""
    check = 0
    for name, tensor in sorted(model.state_dict().items()):
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy() if tensor.numel() else b""
        check = zlib.crc32(raw, zlib.crc32(name.encode(), check))
    return f"{check:08x}"


def _of_folder(folder: Path) -> Loaded:
    transformers = require("transformers", "transformers", f"{folder}: reading it")
    if not any(folder.glob("*.safetensors")):
        pickles = [name for name in _BINARY if (folder / name).exists()]
        why = f"its weights are {pickles[0]}, a pickle" if pickles else "it holds no *.safetensors"
        raise DataError(
            f"{folder}: {why}; load the model where it was trained and save it again: "
            "model.save_pretrained(FOLDER, safe_serialization=True)"
        )
    for path in folder.iterdir():
        refuse_odd_file(path)  # transformers opens what is there, and waits for a pipe
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype="auto"
        )
    except Exception as error:  # a folder of unknown kind may make the reader raise anything
        first = (str(error).strip().splitlines() or [""])[0][:300]
        raise DataError(
            f"{folder}: transformers cannot make a causal language model of it ({type(error).__name__}: {first}); code "
            "in a folder is never run: make the module yourself and give --module FILE.py:make"
        ) from None
    tokenizer = folder / "tokenizer.json"
    return Loaded(model, tokenizer if tokenizer.is_file() else None)


def _nano_gpt(path: Path) -> nn.Module:
    """GPT-2 of transformers with the weights of a nanoGPT checkpoint, whose linear layers are transposed."""
    tensors, beside = read_checkpoint(path)
    sizes = beside.get("model_args")
    if not isinstance(sizes, Mapping) or "n_head" not in sizes:
        raise DataError(
            f"{path}: is not a checkpoint of nanoGPT (it has no model_args beside its weights); for weights of another "
            "module give --module FILE.py:make --weights FILE"
        )
    for name in ("vocab_size", "block_size", "n_embd", "n_layer", "n_head"):
        if type(size := sizes.get(name)) is not int or not 0 < size < 1 << 31:
            raise DataError(f"{path}: model_args has {name} = {size!r:.80}; a checkpoint of nanoGPT has a size there")
    if sizes["n_embd"] % sizes["n_head"]:
        raise DataError(f"{path}: model_args has n_embd = {sizes['n_embd']}, no multiple of n_head = {sizes['n_head']}")
    transformers = require("transformers", "transformers", f"{path}: reading it")
    config = transformers.GPT2Config(
        vocab_size=sizes["vocab_size"],
        n_positions=sizes["block_size"],
        n_embd=sizes["n_embd"],
        n_layer=sizes["n_layer"],
        n_head=sizes["n_head"],
        activation_function="gelu",
        bos_token_id=None,
        eos_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(config)
    state = {name.removeprefix("_orig_mod."): tensor for name, tensor in tensors.items()}
    linear = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    own: dict[str, Tensor] = {}
    for name, target in model.state_dict().items():
        tensor = state.pop(name, None)
        if tensor is None and name.endswith(".bias"):
            tensor = torch.zeros_like(target)  # nanoGPT with bias=False
        if tensor is None:
            raise ModelError(f"{path}: holds no {name}, so it is not a checkpoint of nanoGPT's GPT")
        tensor = tensor.T if name.endswith(linear) else tensor
        if tensor.shape != target.shape:
            raise ModelError(
                f"{path}: {name} has shape {tuple(tensor.shape)}; its model_args say {tuple(target.shape)}"
            )
        own[name] = tensor.contiguous()
    # older versions saved a mask among the weights
    if surplus := [name for name in state if not name.endswith("attn.bias")]:
        raise ModelError(f"{path}: holds {surplus[0]} besides the weights of nanoGPT's GPT; give --module FILE.py:make")
    model.load_state_dict(own)
    return model.eval()
