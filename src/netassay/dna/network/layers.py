"""The named convolution of a module: activations, the bases that each sees, its output replaced."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.dna.network.activation import Place, place_of
from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import WORD, Folded, as_codes, look_up, tap_sums, words
from netassay.dna.network.network import BATCH, Network, evaluating
from netassay.errors import ModelError
from netassay.formats.bases import reverse_complement
from netassay.nets.sequence_cnn import (
    AITAC,
    STAGES,
    check_length,
    correlate_transformed,
    pooled_lengths,
    transformed_taps,
    transforms,
)

_FIELD_PROBES = 3  # random sequences whose bases are changed one by one
_NOTICED = 1e-5  # of the greatest output: a change above rounding


class Field(NamedTuple):
    """Position j sees the `width` bases from base `first + stride * j` on (before the sequence where below 0)."""

    first: int
    stride: int
    width: int


def field_of_aitac(i: int) -> Field:
    """Bases that convolution i (1 to 3) of AITAC sees.

    Position j of the second sees 3j - 25 ... 3j + 25, of the third 12j - 64 ... 12j + 67.
    """
    first, stride, width = 0, 1, 1
    for stage, before in zip(STAGES[:i], (None, *STAGES), strict=False):
        if before is not None:  # pooling of the layer before, one padded
            first, width, stride = first - stride, width + (before.pool - 1) * stride, stride * before.pool
        first, width = first - stage.width // 2 * stride, width + (stage.width - 1) * stride
    return Field(first, stride, width)


def field_by_changes(sums: Callable[[Tensor], Tensor], length: int, name: str) -> Field:
    """Bases that matter to each position of a layer, found by changing every base of some random sequences.

    `sums` gives (positions, batch, channels) for codes (batch, length). ModelError where the field does not move by a
    fixed number of bases per position, or is the whole sequence.
    """
    draws = torch.Generator().manual_seed(0)
    low = high = torch.empty(0)
    for _ in range(_FIELD_PROBES):
        probe = torch.randint(0, 4, (1, length), generator=draws, dtype=torch.uint8)
        responses = _responses(sums, probe)  # (bases, positions)
        bases = torch.arange(length)[:, None]
        first, last = torch.where(responses, bases, length).amin(0), torch.where(responses, bases, -1).amax(0)
        low = torch.minimum(low, first) if len(low) else first
        high = torch.maximum(high, last) if len(high) else last
    inner = ((low > 0) & (high < length - 1) & (low <= high)).nonzero().flatten()
    if len(inner) < 2:
        raise ModelError(
            f"layer {name!r}: fewer than two of its {len(low)} positions see a part of the {length} bases that ends "
            "within them, so what its filters look for cannot be shown as motifs; choose an earlier layer"
        )
    j, k = int(inner[0]), int(inner[-1])
    stride = round(int(low[k] + high[k] - low[j] - high[j]) / (2 * (k - j)))
    places = inner * stride
    start, end = int((low[inner] - places).min()), int((high[inner] - places).max())
    spread = int((low[inner] - places).max()) - start + end - int((high[inner] - places).min())
    if stride < 1 or spread > max(2 * stride, (end - start) // 2):
        raise ModelError(
            f"layer {name!r}: the bases that its positions see do not move along by a fixed number, as those of a "
            "convolution do; choose a layer before any that sees the whole sequence"
        )
    return Field(start, stride, end - start + 1)


def _responses(sums: Callable[[Tensor], Tensor], probe: Tensor) -> Tensor:
    """Whether changing a base of the probe changes a position: (bases, positions)."""
    length = probe.shape[1]
    responses = []
    for part in torch.arange(length).split(BATCH // 2):
        changed = probe.repeat(len(part) + 1, 1)
        changed[torch.arange(len(part)) + 1, part] = (changed[0, part] + 1) % 4
        outputs = sums(changed)
        difference = (outputs[:, 1:] - outputs[:, :1]).abs().amax(2)
        responses.append((difference > _NOTICED * outputs.abs().max()).T)
    return torch.cat(responses)


_PLACES = 12  # positions of the first layer at a time, so that they stay in the cache
_SHOWN = 12  # maximum number of names in a message
_PROBES = 3  # random sequences that show how a layer runs

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution over positions within a network.

    Attributes:
        name: Name of the module.
        channels: Number of channels.
        positions: Number of positions.
        field: The bases that a position sees.
        activation: Monotonic activation.
        sums: Gives the inputs of `activation` for codes (batch, length), one stretch of positions after the other:
            (first position, (positions, batch, channels)).

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> layer = netassay.dna.network.find_layer(model, "convolution1", 100)
        >>> next(iter(layer.sums(codes)))[1].shape[1:]
        torch.Size([20, 4])
    """

    name: str
    channels: int
    positions: int
    field: Field
    activation: Activation
    sums: Callable[[Tensor], Iterator[tuple[int, Tensor]]]


def find_layer(
    model: nn.Module | Network,
    name: str,
    length: int,
    *,
    activation: Activation | None = None,
    layout: Layout | None = None,
) -> Layer:
    """A convolution of a model, ready to be read position by position.

    AITAC has convolution1, 2 and 3, with their activations (3: ReLU) and receptive fields by calculation. In any other
    module it is a Conv1d, or a Conv2d over one row ((batch, 4, k) read as an image), read behind the norm and the
    activation that directly follow it; without a following activation, or with `activation`, ReLU or `activation` is
    applied after the norm. Receptive fields are found by changing bases. A convolution that runs on both strands is
    read on the given strand.

    Args:
        model: The module or network.
        name: Name of the convolution.
        length: Bases of the sequences.
        activation: Activation to use instead of the model's own.
        layout: "channels_first" or "channels_last".

    Returns:
        The layer.

    Raises:
        ModelError: For a name that does not exist, a module that is not a convolution, where no fixed window of bases
            is seen, and for a convolution that runs on different inputs.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.dna.network.find_layer(model, "convolution1", 100).channels
        4
    """
    network = Network.of(model, layout=layout)
    convolution(network.model, name)
    if network.aitac:
        return _of_aitac(network.aitac, name, length)
    return _of_module(network, name, length, activation)


def called_convolutions(network: Network, length: int) -> list[str]:
    """Names of the convolutions over positions that a forward pass calls, in the order of their first calls."""
    called: list[str] = []

    def listener(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if name not in called:
                called.append(name)

        return hook

    handles = [
        module.register_forward_hook(listener(name))
        for name, module in network.model.named_modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d)
    ]
    try:
        with evaluating(network.model), torch.inference_mode():
            network.shaped.run(network.one_hot(torch.zeros(1, length, dtype=torch.uint8)))
    finally:
        for handle in handles:
            handle.remove()
    return called


def convolution(model: nn.Module, name: str) -> nn.Conv1d | nn.Conv2d:
    """The convolution of that name; ModelError, naming the nearest ones, where there is none."""
    modules = dict(model.named_modules())
    convolutions = [key for key, module in modules.items() if isinstance(module, nn.Conv1d | nn.Conv2d)]
    names = ", ".join(convolutions[:_SHOWN]) + (", …" if len(convolutions) > _SHOWN else "") if convolutions else "none"
    if not isinstance(name, str) or name not in modules or not name:
        name = name if isinstance(name, str) else str(name)
        near = difflib.get_close_matches(name, convolutions, n=1) or difflib.get_close_matches(name, modules, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near and near[0] else ""
        raise ModelError(f"no layer {name!r} in {type(model).__name__}{hint}; its convolutions: {names}")
    module = modules[name]
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        raise ModelError(
            f"layer {name!r} is a {type(module).__name__}, which has no filters along positions; the convolutions of "
            f"{type(model).__name__}: {names}"
        )
    return module


def activations(
    model: nn.Module | Network,
    sequences: Tensor,
    layer: str = "convolution1",
    *,
    activation: Activation | None = None,
    layout: Layout | None = None,
    batch: int = BATCH,
) -> Float[Tensor, "n channels positions"]:
    """Activations of a layer (`find_layer`) for sequences (codes or one-hot), all of them in memory."""
    codes = as_codes(sequences)
    with evaluating(Network.of(model).model), torch.inference_mode():
        target = find_layer(model, layer, codes.shape[1], activation=activation, layout=layout)
        parts = [
            target.activation(torch.cat([part for _, part in target.sums(rows)])).permute(1, 2, 0)
            for rows in codes.split(batch)
        ]
    return torch.cat(parts).clone() if parts else torch.empty(0, target.channels, target.positions)


@contextmanager
def replaced(model: nn.Module, name: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside, `change` is applied to the output of the module called `name`.

    ModelError for a name that does not exist, for AITAC, whose forward pass does not call its parts one by one, and at
    the end if no forward pass reached that module.
    """
    if Network.of(model).aitac:
        raise ModelError("the parts of AITAC are not called one by one, so none can be replaced by its name")
    module = convolution(model, name)
    calls = 0

    def changed(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return change(output)

    handle = module.register_forward_hook(changed)
    try:
        yield
    finally:
        handle.remove()
    if not calls:
        raise ModelError(_never(model, name))


def _of_aitac(model: AITAC, name: str, length: int) -> Layer:
    check_length(length, model.length)
    matched = re.fullmatch(r"convolution([123])", name)
    assert matched is not None
    i = int(matched[1])
    positions = (length, *pooled_lengths(length))[i - 1]
    exponential = i == 1 and model.first_activation == "exponential"
    sums = _first_sums(model) if i == 1 else _later_sums(model, i, positions)
    weight: Tensor = getattr(model, name).weight
    return Layer(name, len(weight), positions, field_of_aitac(i), torch.exp if exponential else torch.relu, sums)


def _first_sums(model: AITAC) -> Callable[[Tensor], Iterator[tuple[int, Tensor]]]:
    layer, width = convolution(model, "convolution1"), STAGES[0].width
    assert layer.bias is not None
    table = tap_sums(layer.weight.detach().double(), layer.bias.detach().double()).to(layer.weight.dtype)

    def sums(codes: Tensor) -> Iterator[tuple[int, Tensor]]:
        letters = words(codes.to(table.device), width // 2, width // 2 + -width % WORD)
        for places in torch.arange(codes.shape[1], device=table.device).split(_PLACES):
            yield int(places[0]), look_up(letters, places, table, width)

    return sums


def _later_sums(model: AITAC, i: int, positions: int) -> Callable[[Tensor], Iterator[tuple[int, Tensor]]]:
    """Convolution 2 or 3 at all its positions, including those outside all pooling windows."""
    layer: nn.Conv1d = getattr(model, f"convolution{i}")
    folded = Folded(model, layer.weight.dtype)
    norm: nn.BatchNorm1d = getattr(model, f"norm{i - 1}")
    weight, width = layer.weight.detach(), layer.kernel_size[0]
    if not (i == 2 and model.first_activation == "exponential"):
        weight = weight * torch.where(norm.weight < 0, -1.0, 1.0).detach()[:, None]
    matrices = transforms(positions, width, width // 2, tuple(range(positions)), weight.dtype, weight.device)
    taps, bias = transformed_taps(weight, matrices), layer.bias
    assert bias is not None

    def sums(codes: Tensor) -> Iterator[tuple[int, Tensor]]:
        yield 0, correlate_transformed(folded.up_to(i - 1, codes.to(weight.device)), taps, matrices) + bias

    return sums


class _Reached(BaseException):
    """Ends a forward pass at the requested layer; not an Exception, so that no module can catch it."""


def _of_module(network: Network, name: str, length: int, activation: Activation | None) -> Layer:
    module, of = convolution(network.model, name), type(network.model).__name__
    probe = torch.randint(4, (_PROBES, length), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with evaluating(network.model), torch.inference_mode():
        run = partial(network.shaped.run, network.one_hot(probe))
        place = place_of(run, module, name, activation=activation is None, of=of)
        bare = replace(place, steps=0)
        _check_runs(network, place, name, probe)
        sample = _outputs(network, bare, name, probe)
        field = field_by_changes(partial(_outputs, network, bare, name), length, name)
    after = torch.nn.Identity() if place.active else activation or torch.relu

    def sums(codes: Tensor) -> Iterator[tuple[int, Tensor]]:
        yield 0, _outputs(network, place, name, codes)

    return Layer(name, sample.shape[2], len(sample), field, after, sums)


def _check_runs(network: Network, place: Place, name: str, probe: Tensor) -> None:
    """ModelError where the layer runs on other things than the sequence and its reverse complement."""
    runs: list[Tensor] = []
    with place.taking(lambda output: runs.append(output.clone())):
        network.shaped.run(network.one_hot(probe))
    first, *later = (part for output in runs for part in in_parts(output, len(probe)))
    if not later:
        return
    turned: list[Tensor] = []
    with place.taking(lambda output: turned.append(output.clone())):
        network.shaped.run(network.one_hot(reverse_complement(probe)))
    strands = (first, in_parts(turned[0], len(probe))[0])
    for part in later:
        if not any(part.shape == strand.shape and torch.allclose(part, strand, atol=1e-5) for strand in strands):
            raise ModelError(
                f"layer {name!r} runs {1 + len(later)} times in a pass of {type(network.model).__name__}, on other "
                "things than the sequence and its reverse complement; give each place a module of its own"
            )


def in_parts(output: Tensor, n: int) -> tuple[Tensor, ...]:
    """Outputs of a layer for n sequences, and for others (their other strands) that ran in the same batch."""
    if output.ndim == 4 and 1 in output.shape[2:]:
        output = output.flatten(2)
    return output.split(n) if output.ndim and len(output) > n and len(output) % n == 0 else (output,)


def _outputs(network: Network, place: Place, name: str, codes: Tensor) -> Float[Tensor, "positions batch channels"]:
    outputs: list[Tensor] = []

    def keep(output: Tensor) -> None:
        outputs.append(output)
        raise _Reached

    try:
        with place.taking(keep):
            network.shaped.run(network.one_hot(codes))
    except _Reached:
        pass
    output = in_parts(outputs[0], len(codes))[0]
    if output.ndim != 3 or len(output) != len(codes):
        raise ModelError(
            f"layer {name!r} gives {tuple(outputs[0].shape)} for {len(codes)} sequences; a convolution over positions "
            "gives (sequences, channels, positions), or (sequences, channels, 1, positions)"
        )
    return output.permute(2, 0, 1)


def _never(model: nn.Module, name: str) -> str:
    return f"the forward pass of {type(model).__name__} does not call layer {name!r}; choose one that it calls"
