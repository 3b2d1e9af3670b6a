"""Weights of a network from other programs: safetensors, or a state dict that PyTorch saved; nothing is unpickled.

`torch.load(weights_only=True)` builds only tensors and plain containers, and refuses anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from netassay.errors import DataError
from netassay.inputs import refuse_odd_file

_WITHIN = ("state_dict", "model_state_dict", "model", "weights")  # where training scripts put it
_HOW = "save the weights alone: safetensors.torch.save_file(model.state_dict(), FILE)"


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Tensors of a file by name, on the CPU.

    The file is safetensors, or a state dict of PyTorch, by itself or under a key such as state_dict. DataError for a
    file that cannot be read, that is neither, or that holds objects of other kinds.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Tensors of a file as `read_weights` gives them, and the plain values beside them."""
    path = Path(path)
    refuse_odd_file(path)
    try:
        with path.open("rb") as file:
            begin = file.read(9)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); give a file that is there") from None
    # eight bytes of length, then JSON
    checkpoint = _safetensors(path) if begin[8:] == b"{" else _pytorch(path)
    inner = _weights_in(checkpoint)
    tensors = {name: tensor for name, tensor in inner.items() if isinstance(tensor, Tensor)}
    if not tensors:
        raise DataError(f"{path}: holds no tensors by name; {_HOW}")
    return tensors, {name: value for name, value in checkpoint.items() if value is not inner and name not in tensors}


def _weights_in(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    # first, as there may be other tensors beside the weights, such as nanoGPT's best_val_loss
    inner = [checkpoint[key] for key in _WITHIN if isinstance(checkpoint.get(key), Mapping)]
    return inner[0] if inner else checkpoint


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: is damaged, or no safetensors file ({error})") from None


def _pytorch(path: Path) -> Mapping[str, Any]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file of unknown kind makes of its reader
        why = str(error).split("\n", 1)[0][:200]
        raise DataError(
            f"{path}: is neither safetensors nor a state dict that PyTorch saved ({why}); a file of whole modules "
            f"holds code, which is never run: {_HOW}"
        ) from None
    if not isinstance(checkpoint, Mapping):
        raise DataError(f"{path}: holds a {type(checkpoint).__name__} and no tensors by name; {_HOW}")
    return checkpoint
