"""Predictions of a trained network for any number of sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from netassay.dna.network.folded import Folded
from netassay.errors import ModelError
from netassay.formats.bases import one_hot, reverse_complement
from netassay.nets.sequence_cnn import AITAC

BATCH = 200
"""Sequences at a time: as many as the caches of a core serve best."""


def predict(
    model: nn.Module,
    codes: UInt8[Tensor, "n length"],
    *,
    both_strands: bool = False,
    precision: torch.dtype = torch.float32,
    batch: int = BATCH,
) -> Float[Tensor, "n outputs"]:
    """Outputs of `model` in evaluation mode, on the CPU; the model's mode is restored.

    With `both_strands` the mean over each sequence and its reverse complement. `precision` bfloat16 is that of the
    matrix products, all but the last; outputs are float32 all the same. AI-TAC goes through `Folded`, any other model
    through its own forward, under autocast.
    """
    device, _ = form_of(model)
    found = []
    with evaluating(model), torch.inference_mode(), autocast(device, precision):
        forward = Folded(model, precision) if type(model) is AITAC else _from_codes(model)
        for part in codes.split(batch):
            here = part.to(device)
            output = forward(here).float()
            if both_strands:
                output = (output + forward(reverse_complement(here)).float()) / 2
            found.append(output.cpu())
    # a clone made outside inference mode is an ordinary tensor
    return torch.cat(found).clone() if found else torch.empty(0)


def _from_codes(model: nn.Module) -> Callable[[Tensor], Tensor]:
    _, dtype = form_of(model)
    return lambda codes: outputs_of(model, one_hot(codes, dtype))


def form_of(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where the weights of a model lie and of what type they are, as its inputs must be; CPU, float32 without any."""
    held = (t for t in chain(model.parameters(), model.buffers()) if t.is_floating_point())
    like = next(held, torch.empty(0))
    return like.device, like.dtype


def outputs_of(model: nn.Module, x: Float[Tensor, "n 4 length"]) -> Float[Tensor, "n outputs"]:
    """What the model gives; ModelError where that is not a row of outputs a sequence."""
    found = model(x)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(x):
        form = f"outputs of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ModelError(
            f"{type(model).__name__} gives {form} for {len(x)} sequences; it must give a tensor (n, outputs)"
        )
    return found


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """bf16 where asked for, else nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode of every module as it was afterwards."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode
