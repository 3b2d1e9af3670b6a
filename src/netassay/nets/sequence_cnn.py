"""AI-TAC, the convolutional network from DNA to accessibility (Maslova et al., PNAS 2020), of any length and width.

It computes the published network in fewer operations. Inside, tensors have the length first (length, batch, channels),
so that convolutions are large matrix products; wide ones go through Fourier transforms. Pooling comes before bias
and activation, which are monotone and so commute with a maximum. Under bf16 autocast everything but the
statistics of batch norm and the last layer is in bf16.

A correlation y_t = sum_k w_k x_{t+k-p} is bilinear, so it can be written y = C^T [(A x) * (G w)] with fixed matrices.
Here A and G are the discrete Fourier transform of a length that holds the whole linear correlation, and C is its
inverse. The product of two complex numbers takes three real ones (Gauss); the sums that this needs are rows of A and G
and columns of C, so that real matrix products are all there is. For 84 positions and 11 taps this takes 140
products per pair of channels where the definition takes 924. Gradients use the same three matrices.

Source: Winograd, Arithmetic Complexity of Computations (1980); Mathieu, Henaff, LeCun, Fast training of convolutional
networks through FFTs (ICLR 2014).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from netassay.errors import ModelError
from netassay.nets.unset import unset


class Transforms(NamedTuple):
    """y = inverse^T [(inputs x) * (taps w)]; rank r is the number of products for each pair of channels."""

    inputs: Float[Tensor, "r length"]
    taps: Float[Tensor, "r width"]
    inverse: Float[Tensor, "r positions"]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # they are cached, and training cannot use tensors made in inference mode
def transforms(
    length: int,
    width: int,
    padding: int,
    positions: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> Transforms:
    """The three matrices for inputs of `length`, `width` taps and outputs at `positions` (may repeat).

    Position t is the one at which an ordinary convolution padded by `padding` zeros gives its t-th output.
    """
    period = length + width - 1
    angle = 2 * math.pi / period
    position = torch.arange(length, dtype=torch.float64)
    # a correlation is a convolution with the taps reversed, whose output number t + width - 1 - padding is ours
    tap = width - 1 - torch.arange(width, dtype=torch.float64)
    output = torch.tensor(positions, dtype=torch.float64) + (width - 1 - padding)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for frequency in range(period // 2 + 1):
        turn = angle * frequency
        if frequency == 0 or 2 * frequency == period:  # the two real ones
            rows.append((torch.cos(turn * position), torch.cos(turn * tap), torch.cos(turn * output) / period))
            continue
        x_re, x_im = torch.cos(turn * position), -torch.sin(turn * position)
        w_re, w_im = torch.cos(turn * tap), -torch.sin(turn * tap)
        c, s = 2 * torch.cos(turn * output) / period, 2 * torch.sin(turn * output) / period
        # k1 = w_re (x_re + x_im), k2 = x_re (w_im - w_re), k3 = x_im (w_re + w_im): product (k1 - k3) + i (k1 + k2)
        rows += [(x_re + x_im, w_re, c - s), (x_re, w_im - w_re, -s), (x_im, w_re + w_im, -c)]
    return Transforms(*(torch.stack(part).to(device=device, dtype=dtype) for part in zip(*rows, strict=True)))


def saves_work(length: int, width: int, positions: int, inputs: int, outputs: int) -> bool:
    """Whether transforms and products take less than half of the multiplications of the definition."""
    rank = 3 * (length + width) // 2
    work = rank * (inputs * length + outputs * positions + inputs * outputs)
    return 2 * work < positions * width * inputs * outputs


def correlate(
    x: Float[Tensor, "length batch inputs"],
    weight: Float[Tensor, "outputs inputs width"],
    positions: Sequence[int],
    *,
    padding: int,
) -> Float[Tensor, "positions batch outputs"]:
    """`conv1d(x, weight, padding=padding)` at `positions`, for inputs and outputs with the length first.

    In single precision it agrees with the definition to about 1e-6 of the largest output.
    """
    matrices = transforms(len(x), weight.shape[2], padding, tuple(positions), x.dtype, x.device)
    return correlate_transformed(x, transformed_taps(weight, matrices), matrices)


def transformed_taps(
    weight: Float[Tensor, "outputs inputs width"], matrices: Transforms
) -> Float[Tensor, "r inputs outputs"]:
    """G w, the taps by frequency; the same for every batch."""
    outputs, inputs, width = weight.shape
    return (matrices.taps @ weight.permute(2, 1, 0).reshape(width, -1)).view(-1, inputs, outputs)


def correlate_transformed(
    x: Float[Tensor, "length batch inputs"], taps: Float[Tensor, "r inputs outputs"], matrices: Transforms
) -> Float[Tensor, "positions batch outputs"]:
    """`correlate` with taps that `transformed_taps` made for the same matrices."""
    length, batch, inputs = x.shape
    spectrum = (matrices.inputs @ x.reshape(length, -1)).view(len(taps), batch, inputs)  # (r, batch, inputs)
    products = torch.bmm(spectrum, taps)  # (r, batch, outputs)
    outputs = matrices.inverse.T @ products.view(len(taps), -1)
    return outputs.view(len(outputs), batch, taps.shape[2])


FirstActivation = Literal["relu", "exponential"]

# the published files hold the bases in the order A, T, G, C
_ACGT_IN_ATGC = (0, 3, 2, 1)


class Stage(NamedTuple):
    """One convolution: its taps, and the windows of the pooling after it (stride equal to window, one padded)."""

    width: int
    pool: int


STAGES = (Stage(19, 3), Stage(11, 4), Stage(7, 4))


class Share(NamedTuple):
    """Rows first to last (exclusive) of a batch of `total` sequences."""

    first: int
    last: int
    total: int


class AITAC(nn.Module):
    """Three convolutions with max-pooling and batch norm, two hidden linear layers, one output per cell type.

    Takes (batch, 4, length) one-hot sequences, rows A, C, G, T; gives (batch, n_outputs), no final activation.
    `first_activation` exponential makes first-layer filters easier to read (Koo and Ploenzke 2021).
    With `reverse_complement` every output is the mean over both strands. Weights are drawn from `generator`
    as PyTorch draws them by default; `noise` (None: the global one) is the generator of dropout. `share` says which
    rows of a larger batch the next input is: dropout is then drawn for the larger batch, and these rows are used.
    3,047,981 parameters for 81 outputs. Raises ModelError for lengths that leave nothing after pooling.
    """

    def __init__(
        self,
        n_outputs: int,
        *,
        length: int = 251,
        n_filters: int = 300,
        n_channels: int = 200,
        n_hidden: int = 1000,
        dropout: float = 0.03,
        first_activation: FirstActivation = "relu",
        reverse_complement: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.length, self.n_filters, self.dropout = length, n_filters, dropout
        self.first_activation, self.reverse_complement = first_activation, reverse_complement
        self.noise: torch.Generator | None = None
        self.share: Share | None = None
        lengths = pooled_lengths(length)
        channels = (4, n_filters, n_channels, n_channels)
        for i, stage in enumerate(STAGES, start=1):
            convolution = unset(nn.Conv1d, channels[i - 1], channels[i], stage.width, padding=stage.width // 2)
            setattr(self, f"convolution{i}", convolution)
            setattr(self, f"norm{i}", nn.BatchNorm1d(channels[i]))
        self.hidden1 = unset(nn.Linear, n_channels * lengths[-1], n_hidden)
        self.hidden2 = unset(nn.Linear, n_hidden, n_hidden)
        self.output = unset(nn.Linear, n_hidden, n_outputs)
        _draw(self, generator)

    def forward(self, x: Float[Tensor, "batch 4 length"]) -> Float[Tensor, "batch outputs"]:
        if x.shape[1:] != (4, self.length):
            raise ModelError(
                f"sequences of shape {tuple(x.shape)}; this network takes (batch, 4, {self.length}): cut or pad the "
                "sequences to its length, or build it with their length"
            )
        if not self.reverse_complement:
            return self.head(self.stem(x))
        outputs = self.head(self.stem(torch.cat([x, x.flip(1, 2)])))
        return outputs.unflatten(0, (2, len(x))).mean(0)

    def first_layer(self, x: Float[Tensor, "batch 4 length"]) -> Float[Tensor, "batch filters length"]:
        """Activations of the first layer at every position, before pooling."""
        layer = self._layer("convolution", 1)
        return self._first(F.conv1d(x, layer.weight, layer.bias, padding=STAGES[0].width // 2))

    def stem(self, x: Float[Tensor, "batch 4 length"]) -> Float[Tensor, "pooled batch filters"]:
        """The first layer after pooling and batch norm, length first."""
        dtype = _arithmetic(x)
        windows = _windows(x.to(dtype), STAGES[0].width, pooling_positions(self.length, STAGES[0].pool))
        weight = self._layer("convolution", 1).weight.to(dtype).transpose(1, 2).flatten(1)  # (filters, width * 4)
        sums = (windows.flatten(0, 1) @ weight.T).view(*windows.shape[:2], len(weight))
        return self._finish(1, sums)

    def head(self, h: Float[Tensor, "pooled batch filters"]) -> Float[Tensor, "batch outputs"]:
        """All that comes after `stem`."""
        for i in (2, 3):
            h = self._finish(i, self._convolve(i, h))
        flat = h.permute(1, 2, 0).flatten(1)  # (batch, channels * length), as the published network flattens
        for layer in (self.hidden1, self.hidden2):
            flat = self._drop(F.relu(_linear(flat, layer)))
        # the last layer is as precise as its weights: correlations across cell types depend on small differences
        with torch.autocast(flat.device.type, enabled=False):
            return F.linear(flat.to(self.output.weight.dtype), self.output.weight, self.output.bias)

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Loads the weights of the authors' network: their names, (filters, 1, 4, 19) shapes and A, T, G, C order.

        Raises ModelError for a name or shape that does not fit; nothing is then changed.
        """
        self.load_state_dict(_translate(state, self.state_dict()))

    def _convolve(self, i: int, h: Tensor) -> Tensor:
        convolution, stage = self._layer("convolution", i), STAGES[i - 1]
        weight, padding = convolution.weight.to(h.dtype), stage.width // 2
        positions = pooling_positions(len(h), stage.pool)
        work = (len(h), stage.width, len(positions), weight.shape[1], weight.shape[0])
        if h.device.type == "cpu" and saves_work(*work):
            return correlate(h, weight, positions, padding=padding)
        outputs = F.conv1d(h.permute(1, 2, 0), weight, padding=padding)
        return outputs.permute(2, 0, 1)[list(positions)]

    def _finish(self, i: int, sums: Tensor) -> Tensor:
        """Pooling, bias, activation and batch norm of convolution i, length first."""
        pool = STAGES[i - 1].pool
        pooled = greatest(sums.view(len(sums) // pool, pool, *sums.shape[1:]))
        biased = pooled + self._layer("convolution", i).bias.to(pooled.dtype)
        active = self._first(biased) if i == 1 else F.relu(biased)
        return self._normalise(self._layer("norm", i), active.flatten(0, 1)).view_as(active)

    def _normalise(self, norm: nn.Module, x: Tensor) -> Any:
        # only a plain batch norm: a shared one sees the batch of all processes, a frozen one is another module
        if len(x) > 1 or not self.training or type(norm) is not nn.BatchNorm1d:
            return norm(x)
        # one value has no variance: a batch of one short sequence is normalised as in evaluation
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)

    def _first(self, x: Tensor) -> Tensor:
        return x.exp() if self.first_activation == "exponential" else F.relu(x)

    def _drop(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropout:
            return x
        strands = 2 if self.reverse_complement else 1
        first, last, total = self.share or (0, len(x) // strands, len(x) // strands)
        mask = x.new_empty(strands, total, *x.shape[1:]).bernoulli_(1 - self.dropout, generator=self.noise)
        return x * mask[:, first:last].flatten(0, 1).div(1 - self.dropout)

    def _layer(self, kind: str, i: int) -> Any:
        return getattr(self, f"{kind}{i}")


def check_length(bases: int, length: int) -> None:
    """ModelError for sequences of another length than the network's."""
    if bases != length:
        raise ModelError(
            f"sequences of {bases} bases; this network takes {length}: cut or pad the sequences to its length, or "
            "train one for theirs"
        )


def pooled_lengths(length: int) -> tuple[int, ...]:
    """Positions after each pooling: 251 gives 84, 21, 5. Raises ModelError if nothing is left."""
    lengths = []
    for stage in STAGES:
        length = (length + 2 - stage.pool) // stage.pool + 1 if length else 0
        lengths.append(length)
    if lengths[-1] < 1:
        raise ModelError(f"sequences are too short: {lengths} positions are left after pooling; give 23 bases or more")
    return tuple(lengths)


@lru_cache(maxsize=64)
def pooling_positions(length: int, pool: int) -> tuple[int, ...]:
    """Positions under the pooling windows, one after the other; an end stands in for those beyond it.

    The padding of a maximum changes nothing, and neither does an end that occurs twice.
    """
    windows = (length + 2 - pool) // pool + 1
    return tuple(min(max(at, 0), length - 1) for at in range(-1, pool * windows - 1))


def _windows(x: Tensor, width: int, positions: tuple[int, ...]) -> Tensor:
    """(positions, batch, width * 4): the bases around each position, zeros beyond the ends."""
    padded = F.pad(x, (width // 2, width // 2)).permute(2, 0, 1).contiguous()  # (length + width - 1, batch, 4)
    slides = padded.unfold(0, width, 1).transpose(2, 3)  # (length, batch, width, 4), no copy
    first = slides[: positions.count(0) - 1]
    last = slides[len(slides) - positions.count(len(slides) - 1) + 1 :]
    inner = slides[: positions[-1] + 1]
    return torch.cat([first, inner, last]).flatten(2)


def _linear(x: Tensor, layer: nn.Linear) -> Tensor:
    return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


def _arithmetic(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


@torch.no_grad()
def _draw(model: nn.Module, generator: torch.Generator | None) -> None:
    """PyTorch's default law: U(-b, b) for weights and biases, b = 1 / sqrt(fan in)."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv1d | nn.Linear):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for values in layer.parameters():
                values.uniform_(-bound, bound, generator=generator)


_PUBLISHED = {
    "layer1_conv.0": "convolution1", "layer1_process.1": "norm1",
    "layer2.0": "convolution2", "layer2.3": "norm2",
    "layer3.0": "convolution3", "layer3.3": "norm3",
    "layer4.0": "hidden1", "layer5.0": "hidden2", "layer6.0": "output",
}  # fmt: skip


def _translate(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for key, tensor in state.items():
        layer, _, part = key.removeprefix("module.").rpartition(".")
        if layer not in _PUBLISHED:
            raise ModelError(f"{key!r} is not a tensor of the published network; its layers: {', '.join(_PUBLISHED)}")
        name = f"{_PUBLISHED[layer]}.{part}"
        if name not in expected:
            raise ModelError(f"{key!r}: layer {layer} has no {part!r}")
        if key.endswith("layer1_conv.0.weight") and tensor.ndim == 4 and tensor.shape[1:3] == (1, 4):
            tensor = tensor[:, 0, list(_ACGT_IN_ATGC)]
        elif tensor.ndim == 4 and tensor.shape[2] == 1:
            tensor = tensor[:, :, 0]
        if tensor.shape != expected[name].shape:
            raise ModelError(
                f"{key!r} has shape {tuple(tensor.shape)}, this network takes {tuple(expected[name].shape)}; build it "
                "with the length, filters and outputs that the weights were trained with"
            )
        tensors[name] = tensor
    # files of before PyTorch 0.4.1 do not count the batches
    counts = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")}
    if missing := sorted(expected.keys() - tensors.keys() - counts.keys()):
        raise ModelError(f"the published weights lack {', '.join(missing)} (names of this network)")
    return {**counts, **tensors}


def greatest(x: Float[Tensor, "windows pool batch channels"]) -> Float[Tensor, "windows batch channels"]:
    """The maximum of each window, along dimension 1; its slope goes to the first place that attains it.

    Values and slopes are those of PyTorch's max-pooling, which on tensors with the length first takes several times
    as long.
    """
    return _Greatest.apply(x)[0] if x.requires_grad else x.amax(1)  # type: ignore[no-untyped-call]


class _Greatest(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, ...]:
        best, leads = x[:, 0], []
        for rival in x.unbind(1)[1:]:
            leads.append(rival - best)  # above zero exactly where the rival overtakes
            best = torch.maximum(best, rival)
        return best, *leads

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> Tensor:
        pieces = []
        for lead in reversed(ctx.saved_tensors):
            part = torch.ops.aten.threshold_backward(slope, lead, 0)  # the slope where lead > 0, else 0
            pieces.append(part)
            slope = slope - part
        return torch.stack([slope, *reversed(pieces)], 1)
