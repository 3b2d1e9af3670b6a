"""Saturation mutagenesis: the exact effect of every single-base change of a sequence on a network's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout, as_codes, check_batch
from netassay.dna.network.network import BATCH, Network, Output
from netassay.dna.network.reach import Reach
from netassay.formats.bases import reverse_complement
from netassay.nets.sequence_cnn import AITAC
from netassay.processes import paced

SEQUENCES = 8
"""Sequences at a time for AI-TAC: their mutants of one kind, about 50 per sequence, fill the matrix products."""

_Effects = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Mutagenesis:
    """Outputs of sequences, and the effects of their single-base changes.

    Attributes:
        reference: (n, outputs) outputs of the sequences.
        effects: (n, 4, length, outputs) output with base A, C, G, T at a position, minus `reference`. The effect of
            the base of the sequence is zero; where that is unknown, all four are changes.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.mutagenesis(model, codes[:2]).reference.shape
        torch.Size([2, 3])
    """

    reference: Float[Tensor, "n outputs"]
    effects: Float[Tensor, "n 4 length outputs"]

    def plot(self, sequence: int = 0, output: int = 0) -> Any:
        """The effect of every base on one output of one sequence, as an Altair chart."""
        return import_module("netassay.plotting").plot(self, sequence=sequence, output=output)

    @property
    def mutants(self) -> Float[Tensor, "n 4 length outputs"]:
        """Outputs of the mutated sequences."""
        return self.reference[:, None, None] + self.effects


def mutagenesis(
    model: nn.Module | Network,
    sequences: UInt8[Tensor, "n length"] | Float[Tensor, "n 4 length"],
    *,
    output: Output = None,
    both_strands: bool | None = None,
    precision: torch.dtype | None = None,
    readout: Readout = None,
    layout: Layout | None = None,
    batch: int = BATCH,
) -> Mutagenesis:
    """Effects of all 3 x length single-base changes on outputs, on the CPU.

    They agree with one forward pass for each mutant up to rounding. For AI-TAC only what a change reaches is computed;
    any other module is run in full, `batch` mutants at a time. The module runs in evaluation mode and is left
    unchanged.

    Args:
        model: Any module from one-hot (n, 4, length) to (n, outputs), or a network.
        sequences: Codes (n, length) or one-hot (n, 4, length).
        output: Which outputs (see `readout`); None: all.
        both_strands: Whether to take the mean over each sequence and its reverse complement.
        precision: torch.float32, or torch.bfloat16 for screening.
        readout: Which of the model's outputs is meant (see `Network`).
        layout: "channels_first" or "channels_last".
        batch: Mutants at a time (1 or more).

    Returns:
        The effects (n, 4, length, outputs).

    Raises:
        DataError: For sequences that are not one-hot.
        ModelError: For sequences or outputs that do not fit the network.

    Source:
        Zhou, Troyanskaya (2015), in silico saturated mutagenesis.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.mutagenesis(model, codes[:2], output=0).effects.shape
        torch.Size([2, 4, 100, 1])
    """
    check_batch(batch)
    codes = as_codes(sequences)
    network = Network.of(model, both_strands=both_strands, precision=precision, readout=readout, layout=layout)
    pairs: list[tuple[Tensor, Tensor]] = []
    with network.asked():
        effects: _Effects
        if network.aitac:
            parts, effects = SEQUENCES, _reach_effects(network, network.aitac, output)
        else:
            parts, effects = max(1, batch // (3 * codes.shape[1])), _full_passes(network, output, batch)
        for part in paced(codes.split(parts), "sequences", total=len(codes), size=parts):
            rows = part.to(network.device)
            pair = effects(rows)
            if network.hears_both:
                reverse = effects(reverse_complement(rows))
                # base b of the other strand is 3 - b on this one, and its positions count from the other end
                pair = (pair[0] + reverse[0]) / 2, (pair[1] + reverse[1].flip(1, 2)) / 2
            pairs.append((pair[0].float().cpu(), pair[1].float().cpu()))
    reference, changes = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    # clones made outside inference mode are ordinary tensors
    return Mutagenesis(reference.clone(), changes.clone())


def _reach_effects(network: Network, model: AITAC, output: Output) -> _Effects:
    """Only what each change reaches."""
    return Reach(model, network.weights(output, len(model.output.bias)), network.precision).effects


def _full_passes(network: Network, output: Output, batch: int) -> _Effects:
    """A full forward pass of every mutant."""
    outputs, device = network.forward(), network.device

    def forward(codes: Tensor) -> Tensor:
        values = outputs(codes).float()
        with torch.autocast(device.type, enabled=False):
            return values @ network.weights(output, values.shape[1]).to(values)

    def effects(codes: Tensor) -> tuple[Tensor, Tensor]:
        reference = forward(codes)
        rows, positions, bases = mutants(codes)
        changes = reference.new_zeros(len(codes), 4, codes.shape[1], reference.shape[1])
        for row, position, base in zip(*(t.split(batch) for t in (rows, positions, bases)), strict=True):
            mutated = codes[row]
            mutated[torch.arange(len(row), device=device), position] = base.to(codes.dtype)
            changes[row, base, position] = forward(mutated) - reference[row]
        return reference, changes

    return effects


def mutants(codes: UInt8[Tensor, "n length"]) -> tuple[Tensor, Tensor, Tensor]:
    """Sequence, position and new base of every single-base change, in this order."""
    changed = codes[:, :, None] != torch.arange(4, dtype=codes.dtype, device=codes.device)
    rows, places, bases = changed.nonzero(as_tuple=True)
    return rows, places, bases
