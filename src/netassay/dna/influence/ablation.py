"""A layer of a network over many sequences, and the outputs of the network without some of its channels.

A channel is ablated by replacing its output, position by position, with its mean over the data set: what it says about
this sequence is lost, what it says about all of them is kept. AI-TAC's first layer is computed fast, any other layer of
any module by full passes (`any_layer`).

AI-TAC's second layer is linear before its ReLU: without a filter its sums are those of the intact network plus the
filter's own taps times (fill - output), 11 products per output where the layer takes 3,300. Work goes by pooling
windows, so that sums, maximum and ReLU stay in the cache. The later layers are computed as in `Folded`. Of 63 million
products per ablated sequence (251 bases, from the second layer on) 4.4 million remain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from netassay.dna.influence.any_layer import AnyLayer
from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Folded, Readout, as_codes, check_batch, greatest_of_windows
from netassay.dna.network.network import Network
from netassay.errors import DataError, ModelError
from netassay.formats.bases import one_hot, reverse_complement
from netassay.nets.sequence_cnn import AITAC, check_length

_WINDOWS = 3  # pooling windows of the second layer at a time


class FirstLayer:
    """The first layer of `model` after pooling and batch norm, and the outputs without some of its filters.

    At the weights the model has now, in evaluation mode. Maps are (positions, n, filters), up to the sign of a filter
    whose batch norm turns it round (`Folded`); `rising` is -1 where a map falls as the activation rises.
    """

    runs = 1

    @torch.no_grad()
    def __init__(self, model: AITAC, precision: torch.dtype) -> None:
        self.model, self.folded = model, Folded(model, precision)
        self.taps = self.folded.convolutions[0].taps.permute(1, 2, 0).contiguous()  # (filters, width, outputs)
        self.places = torch.tensor(self.folded.convolutions[0].positions, device=self.taps.device)
        scale = self.folded.finishes[0].scale
        self.rising = torch.ones(len(self.taps), device=self.taps.device)
        if scale is not None:
            self.rising = torch.where(scale < 0, -1.0, 1.0)

    def maps(self, codes: UInt8[Tensor, "n length"]) -> Float[Tensor, "positions n filters"]:
        check_length(codes.shape[1], self.model.length)
        return self.folded.up_to(1, codes)

    def published_fill(self, codes: UInt8[Tensor, "n length"]) -> Float[Tensor, " filters"]:
        """Mean activation of each filter over all positions, before pooling and batch norm, as the authors fill in."""
        mean = self.model.first_layer(one_hot(codes)).mean(dim=(0, 2))
        norm: nn.BatchNorm1d = getattr(self.model, "norm1")  # noqa: B009 (its parts have no types)
        if self.folded.finishes[0].scale is None:  # the maps have their sign turned as well
            mean = torch.where(norm.weight < 0, -mean, mean)
        return mean

    def without(
        self,
        codes: UInt8[Tensor, "n length"],
        maps: Float[Tensor, "positions n filters"],
        fill: Float[Tensor, "positions filters"],
        sets: Sequence[Sequence[int]],
    ) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "sets n outputs"]]:
        """Outputs of the intact network, and with the maps of each set of filters replaced by `fill`."""
        sums = self.folded.convolutions[0].sums(maps)
        intact = self.folded.after_second(self._second(sums))
        by_filter = maps.permute(2, 0, 1).contiguous()
        outputs = intact.new_empty(len(sets), *intact.shape)
        for row, filters in zip(outputs, sets, strict=True):
            index = list(filters)
            change = fill.T[index, :, None] - by_filter[index]
            row.copy_(self._ablate(sums, change, index) if change.any() else intact)
        return intact, outputs

    def _ablate(self, sums: Tensor, change: Float[Tensor, "filters positions n"], filters: list[int]) -> Tensor:
        taps = self.taps[filters].flatten(0, 1)  # (filters * width, outputs)
        width = self.taps.shape[1]
        around = F.pad(change, (0, 0, width // 2, width // 2)).unfold(1, width, 1)
        around = around[:, self.places].permute(1, 2, 0, 3).flatten(2)
        return self.folded.after_second(self._second(sums, around, taps))

    def _second(self, sums: Tensor, around: Tensor | None = None, taps: Tensor | None = None) -> Tensor:
        """The second layer after pooling and batch norm from its sums at the positions under its pooling windows.

        `around` (positions under windows, n, filters * width) is the change of the maps about each; its products with
        `taps` are added to the sums.
        """
        convolution, finish = self.folded.convolutions[0], self.folded.finishes[1]
        pool = convolution.pool
        best = sums.new_empty(len(sums) // pool, *sums.shape[1:])
        for start in range(0, len(best), _WINDOWS):
            rows = slice(start * pool, (start + _WINDOWS) * pool)
            part = sums[rows]
            if around is not None and taps is not None:
                part = torch.addmm(part.flatten(0, 1), around[rows].flatten(0, 1), taps).view_as(part)
            greatest_of_windows(part, pool, best[start : start + _WINDOWS])
        return finish(best.add_(convolution.bias))


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
