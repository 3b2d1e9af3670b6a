"""Tensors to bytes and back, every bit kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from netassay.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """One safetensors file; tensors that share memory are written apart. StoreError for an unknown dtype."""
    import torch
    from safetensors.torch import save

    # clones, because the format refuses views and shared memory
    apart = {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    try:
        return save(apart)
    except KeyError as unknown:
        odd = [name for name, tensor in apart.items() if tensor.dtype == unknown.args[0]]
        raise StoreError(
            f"tensor {odd or list(apart)} has dtype {unknown}, which safetensors cannot hold; "
            "store it as view_as_real or another dtype"
        ) from None


def unpack(data: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    return load(data)
