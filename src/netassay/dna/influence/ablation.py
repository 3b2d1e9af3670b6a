"""A layer of a network over many sequences, and the outputs of the network without some of its channels.

A channel is ablated by replacing its output, position by position, with its mean over the data set: what it says about
this sequence is lost, what it says about all of them is kept. AI-TAC's first layer is computed fast (`first_layer`),
any other layer of any module by full passes (`any_layer`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from netassay.dna.influence.any_layer import AnyLayer
from netassay.dna.influence.first_layer import FirstLayer
from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout
from netassay.dna.network.network import Network
from netassay.dna.network.sequences import as_codes, check_batch
from netassay.errors import DataError, ModelError
from netassay.formats.bases import reverse_complement

Fill = Literal["mean", "zero", "published"]
"""What replaces an output: its mean over the data set at the same position; zero; or, as in the published analysis, the
mean of the activation over all positions before pooling and batch norm (AI-TAC only)."""

BATCH = 100
"""Sequences at a time, each with all its ablations."""


@dataclass(frozen=True, eq=False)
class Survey:
    """Outputs of a layer over a data set: `mean` at each position, `lowest` and `greatest` of each channel anywhere.

    `highest` is the greatest value of each channel in each sequence (either strand), at `position`.
    """

    mean: Float[Tensor, "positions channels"]
    lowest: Float[Tensor, " channels"]
    greatest: Float[Tensor, " channels"]
    highest: Float[Tensor, "n channels"]
    position: Int64[Tensor, "n channels"]

    @property
    def strength(self) -> Float[Tensor, "n channels"]:
        """The greatest value in each sequence, from the channel's lowest (0) to greatest (1); 0 if it is constant."""
        span = self.greatest - self.lowest
        return torch.where(span > 0, (self.highest - self.lowest) / span, 0.0)


class Removal(NamedTuple):
    """Outputs for a batch of sequences: of the intact network, and without each set of channels.

    `removed` is how much each set's outputs lay above their fill, summed over channels and positions.
    """

    rows: slice
    intact: Float[Tensor, "batch outputs"]
    without: Float[Tensor, "sets batch outputs"]
    removed: Float[Tensor, "batch sets"]


class Ablation:
    """A network, one of its layers and a data set, ready to leave out channels.

    `sequences` are codes (n, length), or one-hot floats (n, 4, length). `layer` names the module whose output is
    replaced, (n, channels, positions); a convolution is read behind the norm and activation that directly follow it.
    For AI-TAC it is the first layer after pooling and batch norm, and no name is given. With `both_strands` outputs
    are means over each sequence and its reverse complement, and so is the fill. `precision` bfloat16 is that of the
    matrix products. The model is not changed. Raises ModelError for layers that it does not have, DataError for
    sequences of another form.
    """

    def __init__(
        self,
        model: nn.Module | Network,
        sequences: UInt8[Tensor, "n length"] | Float[Tensor, "n 4 length"],
        *,
        layer: str | None = None,
        fill: Fill = "mean",
        both_strands: bool | None = None,
        precision: torch.dtype | None = None,
        readout: Readout = None,
        layout: Layout | None = None,
        batch: int = BATCH,
    ) -> None:
        self.network, self.batch = (
            Network.of(model, both_strands=both_strands, precision=precision, readout=readout, layout=layout),
            batch,
        )
        check_batch(batch)
        self.both_strands = self.network.hears_both
        self.sequences = as_codes(sequences)
        self.engine: FirstLayer | AnyLayer
        if self.network.aitac:
            if layer is not None:
                raise ModelError(
                    f"layer = {layer!r}: of AI-TAC the first layer is ablated, after pooling and batch norm; leave the "
                    "layer out"
                )
            self.engine = FirstLayer(self.network.aitac, self.network.precision)
        elif layer is None:
            module = self.network.model
            names = [name for name, part in module.named_modules() if isinstance(part, nn.Conv1d | nn.Conv2d)]
            raise ModelError(
                f"{type(module).__name__} is no AI-TAC: name the layer whose channels are left out; its convolutions: "
                f"{', '.join(names) or 'none'}"
            )
        else:
            self.engine = AnyLayer(self.network, layer)
        if not len(sequences):
            raise DataError("there are no sequences to ablate anything in")
        self.survey = self._survey_layer()
        self.fill = self._fill_values(fill)

    @property
    def n_channels(self) -> int:
        return self.survey.mean.shape[1]

    def removals(self, sets: Sequence[Sequence[int]], sequences: Tensor | None = None) -> Iterator[Removal]:
        """Outputs without each set of channels, batch after batch of the data set, or of other sequences if given."""
        self.check(sets)
        for rows, codes in self._batches(self.sequences if sequences is None else as_codes(sequences)):
            with self.network.asked():
                maps = self.engine.maps(codes)
                intact, without = self.engine.without(codes, maps, self.fill.to(maps.dtype), sets)
                above = ((maps.float() - self.fill[:, None]) * self.engine.rising).sum(0)  # (rows, channels)
                removed = torch.stack([above[:, list(channels)].sum(1) for channels in sets], dim=1)
                intact, without = self.network.read(intact), self.network.read(without)
                means = (self._over_strands(part) for part in (intact, without.transpose(0, 1), removed))
                intact, without, removed = (part.cpu() for part in means)
            # clones made outside inference mode are ordinary tensors
            yield Removal(rows, intact.clone(), without.transpose(0, 1).clone(), removed.clone())

    def _survey_layer(self) -> Survey:
        sums: list[Tensor] = []
        bounds: list[Tensor] = []
        highest: list[tuple[Tensor, Tensor]] = []
        count = 0
        for _, codes in self._batches(self.sequences):
            with self.network.asked():
                maps = self.engine.maps(codes)
                rising = (maps * self.engine.rising.to(maps.dtype)).float()
                total = maps.double().sum(1)
                sums = [sums[0] + total] if sums else [total]
                bounds.append(torch.stack([rising.amin((0, 1)), rising.amax((0, 1))]).cpu())
                highest.append(self._highest(rising))
            count += len(codes)
        # clones made outside inference mode are ordinary tensors
        values, places = (torch.cat(part).clone() for part in zip(*highest, strict=True))
        low, high = torch.stack(bounds).unbind(1)
        return Survey((sums[0] / count).float().clone(), low.amin(0).clone(), high.amax(0).clone(), values, places)

    def _highest(self, rising: Float[Tensor, "positions rows channels"]) -> tuple[Tensor, Tensor]:
        """The greatest value of each channel in each sequence, and its position on the strand that was given."""
        values, places = rising.max(0)
        # a layer that runs several times has its positions once for every run
        positions = len(rising) // self.engine.runs
        places = places % positions
        if self.both_strands:
            (forward, backward), (at_forward, at_backward) = values.unflatten(0, (2, -1)), places.unflatten(0, (2, -1))
            values = torch.maximum(forward, backward)
            places = torch.where(forward >= backward, at_forward, positions - 1 - at_backward)
        return values.cpu(), places.cpu()

    def _fill_values(self, fill: Fill) -> Float[Tensor, "positions channels"]:
        if fill == "mean":
            return self.survey.mean
        if fill == "zero":
            return torch.zeros_like(self.survey.mean)
        if fill != "published":
            raise DataError(f"fill = {fill!r}; allowed are mean, zero and published")
        total, count = torch.zeros(()), 0
        for _, codes in self._batches(self.sequences):
            with self.network.asked():
                total, count = (
                    total + self.engine.published_fill(codes).double() * len(codes),
                    count + len(codes),
                )
        return (total / count).float().expand_as(self.survey.mean).clone()

    def _batches(self, sequences: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Rows, and their sequences followed by the reverse complements if both strands count."""
        for start in range(0, len(sequences), self.batch):
            part = sequences[start : start + self.batch].to(self.network.device)
            rows = slice(start, start + len(part))
            yield rows, torch.cat([part, reverse_complement(part)]) if self.both_strands else part

    def _over_strands(self, values: Tensor) -> Tensor:
        """Mean over the strands of rows."""
        return values.unflatten(0, (2, -1)).mean(0) if self.both_strands else values

    def check(self, sets: Sequence[Sequence[int]]) -> None:
        """DataError for no sets, an empty set, and a channel that occurs twice or does not exist."""
        if not sets:
            raise DataError("no set of channels is given to leave out; give one or more")
        for channels in sets:
            odd = not channels or min(channels) < 0 or max(channels) >= self.n_channels
            if odd or len(set(channels)) < len(channels):
                raise DataError(
                    f"channels {list(channels)}: give one or more different numbers from 0 to {self.n_channels - 1} to "
                    "leave out"
                )
