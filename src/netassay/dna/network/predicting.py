"""Predictions of a trained network for any number of sequences."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout
from netassay.dna.network.network import Network
from netassay.formats.bases import reverse_complement
from netassay.pace import paced

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
    """Outputs of a model in evaluation mode, on the CPU; the model's mode is restored.

    AI-TAC goes through `Folded`, any other model through its own forward, under autocast. Arguments that are not given
    are what a `Network` says, and one strand in float32 for a module.

    Args:
        model: The module or network.
        codes: (n, length) a byte for each base.
        both_strands: Whether to take the mean over each sequence and its reverse complement.
        precision: torch.float32, or torch.bfloat16 for all matrix products except the last; outputs are float32 in any
            case.
        readout: Which of the model's outputs is meant (see `Network`).
        layout: "channels_first" or "channels_last".
        batch: Sequences at a time (1 or more).

    Returns:
        (n, outputs) float32.

    Raises:
        ModelError: For sequences that do not fit the model.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.dna.network.predict(model, codes, both_strands=True).shape
        torch.Size([20, 3])
    """
    network = Network.of(model, both_strands=both_strands, precision=precision, readout=readout, layout=layout)
    found = []
    with network.asked():
        forward = network.forward()
        for part in paced(codes.split(batch), "sequences", total=len(codes), size=batch):
            here = part.to(network.device)
            output = forward(here).float()
            if network.both_strands:
                output = (output + forward(reverse_complement(here)).float()) / 2
            found.append(network.read(output).cpu())
    # a clone made outside inference mode is an ordinary tensor
    return torch.cat(found).clone() if found else torch.empty(0)
