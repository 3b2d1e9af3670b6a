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
"""Sequences at a time; fits the caches of a core best."""


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

    AI-TAC runs as `Folded`, any other model by its own forward pass, under autocast. Defaults are those of a `Network`,
    and one strand in float32 for a module.

    Args:
        model: The module or network.
        codes: (n, length) one byte for each base.
        both_strands: Whether to take the mean over each sequence and its reverse complement.
        precision: torch.float32, or torch.bfloat16 for all matrix products except the last; outputs are float32 in any
            case.
        readout: Which of the model's outputs to use (see `Network`).
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
    outputs = []
    with network.asked():
        forward = network.forward()
        for part in paced(codes.split(batch), "sequences", total=len(codes), size=batch):
            rows = part.to(network.device)
            output = forward(rows).float()
            if network.both_strands:
                output = (output + forward(reverse_complement(rows)).float()) / 2
            outputs.append(network.read(output).cpu())
    # a clone made outside inference mode is an ordinary tensor
    return torch.cat(outputs).clone() if outputs else torch.empty(0)
