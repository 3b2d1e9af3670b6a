"""Any module without some channels of one of its layers: full passes with the output of the layer replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.dna.network.activation import Place, place_of
from netassay.dna.network.network import Network
from netassay.errors import ModelError, did_you_mean
from netassay.formats.bases import reverse_complement


class AnyLayer:
    """The output of the module called `layer` within a network, and the network's outputs without some of its channels.

    A convolution is read behind the norm and activation that directly follow it, where a filter responds; any other
    module at its output, (n, channels) or (n, channels, positions ...). A layer that runs several times in a pass, as
    on both strands, is left out in all its runs: maps are (positions, n, channels), run after run, those of the other
    strand turned round. The mode of the model is the caller's. Raises ModelError for a name that the model does not
    have, and for outputs of another form.
    """

    def __init__(self, network: Network, layer: str) -> None:
        modules = {name: module for name, module in network.model.named_modules() if name}
        self.of = type(network.model).__name__
        if layer not in modules:
            raise ModelError(f"layer = {layer!r}: {self.of} has no module of that name; {did_you_mean(layer, modules)}")
        self.network, self.layer, self.name = network, modules[layer], layer
        self.place: Place | None = None
        self.turned: list[bool] = []
        self.n_channels = 0
        self.rising = torch.ones(0)

    @property
    def runs(self) -> int:
        """Number of times that the layer runs in a pass, once a pass was made."""
        return len(self.turned)

    def maps(self, sequences: Tensor) -> Float[Tensor, "positions n channels"]:
        if self.place is None:
            x = self.network.one_hot(sequences[:1])
            self.place = place_of(partial(self.network.shaped.run, x), self.layer, self.name, of=self.of)
        parts = self._parts(self.place, sequences)
        if not self.turned:
            self._find_strands(self.place, sequences[:1])
            self.n_channels = parts[0].shape[2]
            self.rising = torch.ones(self.n_channels, device=parts[0].device)
        shapes = {part.shape[2] for part in parts}
        if len(shapes) > 1 or len(parts) != len(self.turned):
            raise ModelError(
                f"layer {self.name!r} runs {len(parts)} times in one pass of {self.of}, with "
                f"{' and '.join(map(str, sorted(shapes)))} channels; an ablation needs the same ones in every run"
            )
        return torch.cat([part.flip(0) if turned else part for part, turned in zip(parts, self.turned, strict=True)])

    def published_fill(self, codes: Tensor) -> Float[Tensor, " channels"]:
        raise ModelError(
            "the fill 'published' is the mean before pooling and batch norm of AI-TAC's first layer; choose 'mean' or "
            "'zero' for another network"
        )

    def without(
        self,
        sequences: Tensor,
        maps: Float[Tensor, "positions n channels"],
        fill: Float[Tensor, "positions channels"],
        sets: Sequence[Sequence[int]],
    ) -> tuple[Float[Tensor, "n outputs"], Float[Tensor, "sets n outputs"]]:
        """Outputs of the intact network, and with the maps of each set of channels replaced by `fill`."""
        assert self.place is not None
        x = self.network.one_hot(sequences)
        intact = self.network.shaped(x).float()
        outputs = intact.new_empty(len(sets), *intact.shape)
        for row, channels in zip(outputs, sets, strict=True):
            with self.place.taking(self._replacement(list(channels), fill, len(sequences))):
                row.copy_(self.network.shaped(x))
        return intact, outputs

    def _replacement(
        self, channels: list[int], fill: Float[Tensor, "positions channels"], n: int
    ) -> Callable[[Tensor], Tensor]:
        rest, turned = fill, iter(self.turned)

        def replaced(output: Tensor) -> Tensor:
            nonlocal rest
            new = output.clone()
            for part in new.split(n):
                places = part[0, 0].numel()
                section, rest = rest[:places], rest[places:]
                section = section.flip(0) if next(turned) else section
                values = section[:, channels].T.to(new.dtype)  # (channels, positions)
                part[:, channels] = values.reshape(len(channels), *new.shape[2:])
            return new

        return replaced

    def _parts(self, place: Place, sequences: Tensor) -> list[Float[Tensor, "positions n channels"]]:
        runs: list[Tensor] = []
        # a copy: later modules may write into it
        with place.taking(lambda output: runs.append(self._check(output, len(sequences)).clone())):
            self.network.shaped.run(self.network.one_hot(sequences))
        parts = [part for output in runs for part in output.split(len(sequences))]
        return [(part.flatten(2) if part.ndim > 2 else part[:, :, None]).permute(2, 0, 1).float() for part in parts]

    def _find_strands(self, place: Place, sequence: Tensor) -> None:
        """Which runs read the other strand: their output is that of the first for the reverse complement."""
        first, *later = self._parts(place, sequence)
        self.turned = [False]
        if later:
            other_strand = self._parts(place, reverse_complement(sequence))[0]
            self.turned += [
                part.shape == first.shape
                and not torch.allclose(part, first, atol=1e-5)
                and torch.allclose(part, other_strand, atol=1e-5)
                for part in later
            ]

    def _check(self, output: Any, n: int) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim < 2 or not len(output) or len(output) % n:
            form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(
                f"layer {self.name!r} gives {form} for {n} sequences; an ablation needs ({n}, channels) or "
                f"({n}, channels, positions)"
            )
        return output.detach()
