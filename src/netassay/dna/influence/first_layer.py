"""AI-TAC without some of its first-layer filters, exact, from what the intact network computes anyway.

The second layer is linear before its ReLU: without a filter its sums are those of the intact network plus the filter's
own taps times (fill - output), 11 products per output where the layer takes 3,300. Work goes by pooling windows, so
that sums, maximum and ReLU stay in the cache. The later layers are computed as in `Folded`. Of 63 million products per
ablated sequence (251 bases, from the second layer on) 4.4 million remain.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from netassay.dna.network.folded import Folded, greatest_of_windows
from netassay.errors import ModelError
from netassay.formats.bases import one_hot
from netassay.nets.sequence_cnn import AITAC

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
        if codes.shape[1] != self.model.length:
            raise ModelError(
                f"sequences of {codes.shape[1]} bases; this network takes {self.model.length}: cut or pad them "
                "to its length"
            )
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
