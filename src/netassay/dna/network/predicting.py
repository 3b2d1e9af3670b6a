"""Predictions of a trained network for any number of sequences."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout
from netassay.dna.network.network import Network
from netassay.formats.bases import reverse_complement

BATCH = 200
"""Sequences at a time: as many as the caches of a core serve best."""


def predict(
    model: nn.Module | Network,
    codes: UInt8[Tensor, "n length"],
    *,
    both_strands: bool | None = None,
    precision: torch.dtype | None = None,
    readout: Readout = None,
    layout: Layout | None = None,
    batch: int = BATCH,
) -> Float[Tensor, "n outputs"]:
    """Outputs of `model` in evaluation mode, on the CPU; the model's mode is restored.

    With `both_strands` the mean over each sequence and its reverse complement. `precision` bfloat16 is that of the
    matrix products, all but the last; outputs are float32 all the same. Not given, they are what a `Network` says,
    and one strand in float32 for a module. AI-TAC goes through `Folded`, any other model through its own forward, under
    autocast; which of its outputs is meant, and which way round it reads, `readout` and `layout` say (see `Network`).
    """
    network = Network.of(
        model, both_strands=both_strands, precision=precision, readout=readout, layout=layout
    )
    found = []
    with network.asked():
        forward = network.forward()
        for part in codes.split(batch):
            here = part.to(network.device)
            output = forward(here).float()
            if network.both_strands:
                output = (output + forward(reverse_complement(here)).float()) / 2
            found.append(network.read(output).cpu())
    # a clone made outside inference mode is an ordinary tensor
    return torch.cat(found).clone() if found else torch.empty(0)
