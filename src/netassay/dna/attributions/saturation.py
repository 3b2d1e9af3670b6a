"""Saturation mutagenesis: the exact effect of every single-base change of a sequence on a network's outputs.

Any module is run in full for every change. In AI-TAC only the units that a change reaches are computed, for many
changes together (`Reach`). A base lies under 19 positions of the first convolution, whose sums change by a row of a
table; they lie in 7 pooling windows. The second convolution is linear before its ReLU: the change of 7 windows changes
17 positions (25 products per pair of channels by frequencies, where the whole sequence takes 924), in 5 windows; in the
third, these change 11 positions in 4 windows. The hidden layers take changes as well. The scale of a batch norm goes
into the weights after it, its shift cancels. As everything is a difference from the sequence itself, small effects keep
their digits.

Windows are static: changes with the same alignment to the windows (16 kinds) are computed together, whatever their
sequence, position and base. Sums beyond the ends are minus infinity, which no finite change moves: windows there never
change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout, as_codes, check_batch, greatest_of_windows, scale_and_shift
from netassay.dna.network.network import BATCH, Network, Output
from netassay.formats.bases import UNKNOWN, one_hot, reverse_complement
from netassay.nets.sequence_cnn import (
    AITAC,
    STAGES,
    Transforms,
    check_length,
    pooled_lengths,
    transformed_taps,
    transforms,
)
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


_MUTANTS = 256  # maximum number in one matrix product


class _Geometry(NamedTuple):
    """A convolution of which `run` neighbouring inputs change, and the pooling after it."""

    width: int
    pool: int
    run: int

    @property
    def touched(self) -> int:
        """Positions that see a changed input."""
        return self.run + self.width - 1

    @property
    def windows(self) -> int:
        """Maximum number of pooling windows that hold them, whatever their alignment."""
        return (self.touched + self.pool - 2) // self.pool + 1

    def first(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """The first of these windows for changes that begin at `start`, and the index of the first position in it."""
        shifted = start - self.width // 2 + 1  # window k is of positions pool k - 1 ... pool k + pool - 2
        return shifted.div(self.pool, rounding_mode="floor"), shifted.remainder(self.pool)


class _Base(NamedTuple):
    """A layer of the unchanged sequences: sums before pooling, and the activation of each window.

    Rows are sequence by sequence, `margin` windows before the first and behind the last one.
    """

    sums: Float[Tensor, "rows channels"]
    active: Float[Tensor, "rows channels"]
    windows: int
    margin: int

    def sums_from(
        self, sequence: Tensor, first: Tensor, count: int, pool: int
    ) -> Float[Tensor, "positions m channels"]:
        """Sums at the positions of `count` windows of each change, from window `first` on."""
        return _gather(self.sums, (sequence * self.windows + first + self.margin) * pool, count * pool)

    def active_from(self, sequence: Tensor, first: Tensor, count: int) -> Float[Tensor, "windows m channels"]:
        """Activations of these windows."""
        return _gather(self.active, sequence * self.windows + first + self.margin, count)


def _gather(rows: Tensor, begin: Int64[Tensor, " m"], count: int) -> Float[Tensor, "count m channels"]:
    """`count` rows from each of `begin` on."""
    index = begin + torch.arange(count, device=begin.device)[:, None]
    return rows.index_select(0, index.flatten()).view(count, len(begin), rows.shape[1])


class Reach:
    """Effects of the single-base changes of sequences on combinations of outputs of `model`, at the weights it has now.

    As in evaluation mode; of one strand, also for a model that takes the mean of both.
    """

    @torch.no_grad()
    def __init__(self, model: AITAC, weights: Float[Tensor, "outputs k"], precision: torch.dtype) -> None:
        self.model, self.precision = model, precision
        self.lengths = pooled_lengths(model.length)
        self.geometry: list[_Geometry] = []
        run = 1
        for stage in STAGES:
            self.geometry.append(_Geometry(*stage, run))
            run = self.geometry[-1].windows
        layers: list[nn.Conv1d] = [getattr(model, f"convolution{i}") for i in (1, 2, 3)]
        self.norms = [scale_and_shift(getattr(model, f"norm{i}")) for i in (1, 2, 3)]
        self.table = _table(layers[0].weight, self.geometry[0])
        self.convolutions = [
            _Change(layer.weight.double() * scale[:, None], geometry, precision)
            for layer, geometry, (scale, _) in zip(layers[1:], self.geometry[1:], self.norms, strict=False)
        ]
        channels, windows = layers[2].out_channels, self.lengths[-1]
        hidden = model.hidden1.weight.double().view(-1, channels, windows) * self.norms[2][0][:, None]
        weights = weights.to(model.output.weight.device, torch.float64)
        self.output = (weights.T @ model.output.weight.double()).float()
        self.bias = (weights.T @ model.output.bias.double()).float()
        self.hidden = (
            hidden.transpose(1, 2).flatten(1).to(precision),
            model.hidden2.weight.to(precision),
        )

    def effects(self, codes: UInt8[Tensor, "n length"]) -> tuple[Tensor, Tensor]:
        """Outputs (n, k) of the sequences, and effects (n, 4, length, k) of their single-base changes."""
        check_length(codes.shape[1], self.model.length)
        with torch.autocast(codes.device.type, enabled=False):
            bases, hidden = self._unchanged(codes)
            reference = F.linear(F.relu(hidden[1]), self.output, self.bias)
            changes = reference.new_zeros(len(codes), 4, codes.shape[1], reference.shape[1])
            for row, position, base in self._kinds(codes):
                changes[row, base, position] = self._effects(codes, row, position, base, bases, hidden)
        return reference, changes

    def _unchanged(self, codes: Tensor) -> tuple[list[_Base], list[Tensor]]:
        """Every convolution of the sequences themselves, and the hidden sums before ReLU."""
        model, bases = self.model, []
        h = one_hot(codes)
        for i, (geometry, norm) in enumerate(zip(self.geometry, self.norms, strict=True), 1):
            layer = getattr(model, f"convolution{i}")
            sums = F.conv1d(h, layer.weight, layer.bias, padding=geometry.width // 2)
            bases.append(self._base(i, sums))
            active = bases[-1].active.view(len(codes), -1, sums.shape[1])
            inner = active[:, geometry.windows : geometry.windows + self.lengths[i - 1]]
            scale, shift = norm
            h = (inner * scale.float() + shift.float()).transpose(1, 2)
        first = model.hidden1(h.flatten(1))
        return bases, [first, model.hidden2(F.relu(first))]

    def _base(self, i: int, sums: Float[Tensor, "n channels length"]) -> _Base:
        geometry, inner = self.geometry[i - 1], self.lengths[i - 1]
        margin = geometry.windows
        windows = inner + 2 * margin
        padded = sums.new_full((len(sums), windows * geometry.pool, sums.shape[1]), -torch.inf)
        count = min(sums.shape[2], inner * geometry.pool - 1)  # a maximum may leave out the last positions
        begin = margin * geometry.pool + 1
        padded[:, begin : begin + count] = sums[:, :, :count].transpose(1, 2)
        best = padded.view(-1, geometry.pool, sums.shape[1]).amax(1)
        return _Base(padded.flatten(0, 1), self._active(i, best), windows, margin)

    def _active(self, i: int, best: Tensor) -> Tensor:
        return best.exp_() if i == 1 and self.model.first_activation == "exponential" else best.relu_()

    def _kinds(self, codes: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """All changes (sequence, position, base), grouped by their alignment to the windows of every layer."""
        rows, places, bases = mutants(codes)
        start, kind = places, torch.zeros_like(places)
        for i, geometry in enumerate(self.geometry):
            start, phase = geometry.first(start)
            if i:
                kind = kind * geometry.pool + phase
        order = kind.argsort(stable=True)
        for part in order.split(kind.bincount().tolist()):
            for piece in part.split(_MUTANTS):
                if len(piece):
                    yield rows[piece], places[piece], bases[piece]

    def _effects(
        self,
        codes: Tensor,
        row: Int64[Tensor, " m"],
        position: Int64[Tensor, " m"],
        base: Int64[Tensor, " m"],
        bases: list[_Base],
        hidden: list[Tensor],
    ) -> Float[Tensor, "m k"]:
        first, phase = self.geometry[0].first(position)
        change = self._first(codes[row, position].long(), row, first, phase, base, bases[0])
        for i, (convolution, geometry) in enumerate(zip(self.convolutions, self.geometry[1:], strict=True), 2):
            start = first
            first, phase = geometry.first(start)
            layer = bases[i - 1]
            sums = layer.sums_from(row, first, geometry.windows, geometry.pool)
            sums = convolution.add_to(change, int(phase[0]), sums)
            change = self._change(i, sums, layer, row, first)
        flat = change.new_zeros(len(row), bases[2].windows, change.shape[2])
        reached = (first + bases[2].margin)[:, None] + torch.arange(len(change), device=row.device)
        flat[torch.arange(len(row), device=row.device)[:, None], reached] = change.transpose(0, 1)
        margin = bases[2].margin
        delta = flat[:, margin : margin + self.lengths[2]].flatten(1)
        for weight, sums in zip(self.hidden, hidden, strict=True):
            before = sums[row]
            after = F.linear(delta.to(weight.dtype), weight).float().add_(before)
            delta = after.relu_().sub_(before.relu_())
        return F.linear(delta, self.output)

    def _first(
        self, was: Tensor, row: Tensor, first: Tensor, phase: Tensor, base: Tensor, layer: _Base
    ) -> Float[Tensor, "windows m filters"]:
        geometry = self.geometry[0]
        kind = (phase * (UNKNOWN + 1) + was) * 4 + base
        sums = layer.sums_from(row, first, geometry.windows, geometry.pool)
        sums.add_(self.table.index_select(0, kind).transpose(0, 1))
        return self._change(1, sums, layer, row, first)

    def _change(
        self, i: int, sums: Float[Tensor, "positions m channels"], layer: _Base, row: Tensor, first: Tensor
    ) -> Float[Tensor, "windows m channels"]:
        """Change of the activation of each window, given the new sums."""
        geometry = self.geometry[i - 1]
        return self._active(i, greatest_of_windows(sums, geometry.pool)).sub_(
            layer.active_from(row, first, geometry.windows)
        )


class _Change:
    """A convolution of changes: of `run` neighbouring inputs, added to the sums of all windows that they reach."""

    def __init__(self, weight: Float[Tensor, "outputs inputs width"], geometry: _Geometry, precision: torch.dtype):
        positions = tuple(range(geometry.touched))
        exact: Transforms = transforms(
            geometry.run, geometry.width, geometry.width - 1, positions, torch.float64, weight.device
        )
        self.precision = precision
        self.taps = transformed_taps(weight, exact).to(precision)
        self.inputs = exact.inputs.float()
        # where the positions begin in their first window is the phase; the others of the windows do not change
        self.inverses = []
        for phase in range(geometry.pool):
            inverse = weight.new_zeros(geometry.windows * geometry.pool, len(exact.inverse))
            inverse[phase : phase + geometry.touched] = exact.inverse.T
            self.inverses.append(inverse.float())

    def add_to(self, change: Float[Tensor, "run m inputs"], phase: int, sums: Tensor) -> Tensor:
        run, m, channels = change.shape
        spectrum = (self.inputs @ change.view(run, -1)).view(-1, m, channels)
        products = torch.bmm(spectrum.to(self.precision), self.taps).float()
        sums.view(len(sums), -1).addmm_(self.inverses[phase], products.view(len(products), -1))
        return sums


def _table(weight: Float[Tensor, "filters 4 width"], geometry: _Geometry) -> Float[Tensor, "kinds positions filters"]:
    """Changes of the sums of all windows, for each phase, base before (unknown too) and base after."""
    filters, _, width = weight.shape
    taps = F.pad(weight.double().flip(2).permute(1, 2, 0), (0, 0, 0, 0, 0, 1))  # (letters, width, filters)
    change = taps[None, :4] - taps[:, None]  # (before, after, width, filters)
    table = change.new_zeros(geometry.pool, UNKNOWN + 1, 4, geometry.windows * geometry.pool, filters)
    for phase in range(geometry.pool):
        table[phase, :, :, phase : phase + width] = change
    return table.float().flatten(0, 2)
