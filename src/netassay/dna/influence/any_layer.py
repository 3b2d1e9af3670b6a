"""Any module without some channels of one of its layers: whole passes, with the layer's output replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.dna.network.network import form_of, outputs_of
from netassay.errors import ModelError, did_you_mean
from netassay.formats.bases import one_hot


class AnyLayer:
    """The output of the module called `layer` within `model`, and the outputs without some of its channels.

    The layer gives (n, channels) or (n, channels, positions ...); maps are (positions, n, channels). The mode of the
    model is the caller's. Raises ModelError for a name that the model does not have, and for outputs of another form.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        modules = {name: module for name, module in model.named_modules() if name}
        if layer not in modules:
            raise ModelError(
                f"layer = {layer!r}: {type(model).__name__} has no module of that name; "
                f"{did_you_mean(layer, modules)}"
            )
        self.model, self.layer, self.name = model, modules[layer], layer
        self.n_channels = 0
        self.rising = torch.ones(0)

    def maps(self, sequences: Tensor) -> Float[Tensor, "positions n channels"]:
        seen: list[Tensor] = []
        with _replacing(self.layer, lambda output: seen.append(self._checked(output, len(sequences)))):
            self.model(self._floats(sequences))
        if len(seen) != 1:
            raise ModelError(
                f"layer {self.name!r} ran {len(seen)} times in one pass of {type(self.model).__name__}; an ablation "
                "needs a layer that runs exactly once"
            )
        maps = seen[0].flatten(2) if seen[0].ndim > 2 else seen[0][:, :, None]
        self.n_channels = maps.shape[1]
        if len(self.rising) != self.n_channels:
            self.rising = torch.ones(self.n_channels, device=maps.device)
        return maps.permute(2, 0, 1).float()

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
        """Outputs of the whole network, and with the maps of each set of channels replaced by `fill`."""
        x = self._floats(sequences)
        whole = outputs_of(self.model, x).float()
        found = whole.new_empty(len(sets), *whole.shape)
        for row, chosen in zip(found, sets, strict=True):
            with _replacing(self.layer, _filled(list(chosen), fill)):
                row.copy_(outputs_of(self.model, x))
        return whole, found

    def _floats(self, codes: Tensor) -> Tensor:
        return one_hot(codes, form_of(self.model)[1])

    def _checked(self, output: Any, n: int) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != n:
            form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(
                f"layer {self.name!r} gives {form} for {n} sequences; an ablation needs ({n}, channels) or "
                f"({n}, channels, positions)"
            )
        return output.detach()


def _filled(chosen: list[int], fill: Float[Tensor, "positions channels"]) -> Callable[[Tensor], Tensor]:
    def replaced(output: Tensor) -> Tensor:
        new = output.clone()
        values = fill[:, chosen].T.to(new.dtype)  # (chosen, positions)
        new[:, chosen] = values.reshape(len(chosen), *new.shape[2:])
        return new

    return replaced


@contextmanager
def _replacing(layer: nn.Module, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """The layer's output goes through `change` inside; None leaves it as it is."""
    handle = layer.register_forward_hook(lambda module, taken, output: change(output))
    try:
        yield
    finally:
        handle.remove()
