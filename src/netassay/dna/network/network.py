"""A network ready to use: a module, how to run it, which of its outputs is explained, and the losses that train it.

Every function that runs a network takes a module, or a `Network` where it needs more description.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import index
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.dna.network.classes import FEWEST
from netassay.dna.network.forms import Folded, Readout, Shaped, form_of
from netassay.errors import DataError, ModelError
from netassay.formats.bases import one_hot, reverse_complement
from netassay.nets.sequence_cnn import AITAC
from netassay.numerics import devices
from netassay.processes import paced

Output = int | Sequence[int] | Tensor | None


def readout(output: Output, n_outputs: int) -> Float[Tensor, "outputs k"]:
    """Columns of weights over the outputs, one for each number that is explained.

    Args:
        output: An integer: that output; several: their mean; a float tensor (outputs,): a combination with these
            weights; None: every output by itself.
        n_outputs: Number of outputs (1 or more).

    Returns:
        (outputs, k) float64.

    Raises:
        ModelError: For outputs that the network does not have.

    Example:
        >>> from netassay.dna.network import readout
        >>> readout([0, 2], 3)[:, 0].tolist()
        [0.5, 0.0, 0.5]
    """
    if output is None:
        return torch.eye(n_outputs, dtype=torch.float64)
    if isinstance(output, Tensor) and output.is_floating_point():
        if output.shape != (n_outputs,) or not output.isfinite().all():
            raise ModelError(
                f"weights of shape {tuple(output.shape)} over the outputs: give {n_outputs} finite numbers, "
                "one per output"
            )
        return output.detach().cpu().double()[:, None]
    numbers = _numbers(output)
    if not numbers:
        raise ModelError("no output is named; give one or more, counted from 0")
    for i in numbers:
        if not 0 <= i < n_outputs:
            raise ModelError(f"output {i}: the network has {n_outputs}, counted from 0 to {n_outputs - 1}")
    weights = torch.zeros(n_outputs, 1, dtype=torch.float64)
    weights.index_put_((torch.tensor(numbers),), torch.tensor(1 / len(numbers), dtype=torch.float64), accumulate=True)
    return weights


def _numbers(output: int | Sequence[int] | Tensor) -> list[int]:
    try:
        return [index(output)]  # type: ignore[arg-type]
    except TypeError:
        pass
    try:
        return [index(i) for i in output]  # type: ignore[union-attr]
    except TypeError:
        raise ModelError(
            f"output = {output!r}: give the number of an output, counted from 0, several of them for their mean, or a "
            "float tensor of weights over all"
        ) from None


def less_mean(outputs: Float[Tensor, "*n outputs"]) -> Float[Tensor, "*n outputs"]:
    """Outputs of a peak minus their mean over all cell types: the differences, without what all have in common.

    Args:
        outputs: (..., outputs).

    Returns:
        (..., outputs).

    Example:
        >>> import torch
        >>> from netassay.dna.network import less_mean
        >>> less_mean(torch.tensor([1.0, 3.0])).tolist()
        [-1.0, 1.0]
    """
    return outputs - outputs.mean(-1, keepdim=True)


def contrast(output: int, n_outputs: int) -> Float[Tensor, " outputs"]:
    """Weights of one output minus the mean of all.

    Args:
        output: Number of the output.
        n_outputs: Number of outputs (1 or more).

    Returns:
        (outputs,) float64.

    Raises:
        ModelError: For an output that the network does not have.

    Example:
        >>> from netassay.dna.network import contrast
        >>> contrast(0, 2).tolist()
        [0.5, -0.5]
    """
    return less_mean(readout(None, n_outputs))[output]


@dataclass(frozen=True, eq=False)
class Network:
    """A module from one-hot sequences (n, 4, length) to (n, outputs), and how to run it.

    Attributes:
        model: The module.
        both_strands: Whether outputs are the mean over each sequence and its reverse complement.
        precision: torch.float32 or torch.bfloat16, that of matrix products; outputs are float32 in any case.
        names: Names of the outputs, () for none.
        length: Bases that it takes; None where unknown (AI-TAC has its own).
        readout: Which part of what the module returns are its outputs, for modules of other forms.
        layout: "channels_first" (n, 4, length) or "channels_last" (n, length, 4).
        less_mean: Whether the mean of all outputs is subtracted from each: right after a loss that leaves a row of
            outputs free by an offset, such as a correlation across cell types or softmax.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4 * 10, 2))
        >>> network = netassay.Network(model, names=("B", "T"), length=10, both_strands=True)
        >>> netassay.dna.network.predict(network, torch.zeros(3, 10, dtype=torch.uint8)).shape
        torch.Size([3, 2])
    """

    model: nn.Module
    both_strands: bool = False
    precision: torch.dtype = torch.float32
    names: tuple[str, ...] = ()
    length: int | None = None
    readout: Readout = None
    layout: Layout = "channels_first"
    less_mean: bool = False

    @classmethod
    def of(
        cls,
        model: nn.Module | Network,
        *,
        both_strands: bool | None = None,
        precision: torch.dtype | None = None,
        names: Sequence[str] | None = None,
        length: int | None = None,
        readout: Readout = None,
        layout: Layout | None = None,
    ) -> Network:
        """The network itself, or a module as one, with the arguments that are not None in place of its fields."""
        base = model if isinstance(model, Network) else cls(model)
        changes: dict[str, Any] = {
            "both_strands": both_strands,
            "precision": precision,
            "length": length,
            "readout": readout,
            "layout": layout,
            "names": None if names is None else tuple(names),
        }
        changes = {key: value for key, value in changes.items() if value is not None}
        network = replace(base, **changes) if changes else base
        if network.length is None and network.aitac:
            network = replace(network, length=network.aitac.length)
        return network

    @property
    def aitac(self) -> AITAC | None:
        """The model if it is AI-TAC itself, which can be run faster than by its own forward pass; None for others."""
        plain = self.readout is None and self.layout == "channels_first"
        return self.model if plain and type(self.model) is AITAC else None

    @cached_property
    def shaped(self) -> Shaped:
        """The model as a module from one-hot (n, 4, length) to (n, outputs), without `both_strands` and `less_mean`."""
        return Shaped(self.model, self.readout, self.layout)

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return form_of(self.model)[0]

    def on(self, device: str) -> Network:
        """This network with its weights on a device, as a copy if they lie elsewhere; "" leaves them where they are.

        ConfigError for a device that this machine does not have.
        """
        if not device or devices.device(device) == self.device:
            return self
        return replace(self, model=deepcopy(self.model).to(devices.device(device)))

    @property
    def hears_both(self) -> bool:
        """Whether an output is of both strands, by `both_strands` or because AI-TAC itself takes their mean."""
        return self.both_strands or (self.aitac is not None and self.aitac.reverse_complement)

    def one_hot(self, codes: UInt8[Tensor, "n length"]) -> Float[Tensor, "n 4 length"]:
        """One-hot sequences on the model's device, of its dtype."""
        device, dtype = form_of(self.model)
        return one_hot(codes.to(device), dtype)

    def forward(self) -> Callable[[UInt8[Tensor, "n length"]], Float[Tensor, "n outputs"]]:
        """A function from codes of sequences to its outputs for this strand, at the current weights."""
        if self.aitac:
            return Folded(self.aitac, self.precision)
        return lambda codes: self.shaped(self.one_hot(codes))

    def read(self, outputs: Float[Tensor, "*n outputs"]) -> Float[Tensor, "*n outputs"]:
        """Outputs as they are reported: minus their mean if `less_mean`."""
        return less_mean(outputs) if self.less_mean else outputs

    def weights(self, output: Output, n_outputs: int) -> Float[Tensor, "outputs k"]:
        """`readout` of outputs as they are reported, as weights over the model's own."""
        weights = readout(output, n_outputs)
        return less_mean(weights.T).T if self.less_mean else weights

    def words(self, outputs: int) -> tuple[str, ...]:
        """A name for each output: its own, or "output 0" and so on. DataError for more or fewer names than outputs."""
        if self.names and len(self.names) != outputs:
            raise DataError(f"{len(self.names)} names are given for {outputs} outputs; give one per output")
        return self.names or tuple(f"output {i}" for i in range(outputs))

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Evaluation mode, no gradients and the precision inside; the mode of every module as it was afterwards."""
        with evaluating(self.model), torch.inference_mode(), autocast(self.device, self.precision):
            yield


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Autocast to bf16 for that precision, disabled otherwise."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode of every module as it was afterwards."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode


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


FREE = ("pearson", "cross_entropy")
"""Losses that stay the same when all outputs of a peak rise together: correlation across cell types, softmax."""

LESS_MEAN = "outputs less their mean over the cell types of the peak"
"""How outputs are reported under these losses, in words."""


def outputs_in_words(subtracted: bool) -> str:
    """How outputs are reported, in words: less their mean, or as they are."""
    return LESS_MEAN if subtracted else "outputs as the network gives them"


def offset_is_free(loss: str) -> bool:
    """Whether a network trained by this loss may add any number to a peak's row of outputs."""
    return loss in FREE


def loss_of(module: str, loss: str) -> str:
    """The loss of a user's network; where it is not given, that of AI-TAC (no module) is a correlation."""
    return loss or ("mse" if module else "pearson")


Loss = Callable[[Tensor, Tensor], Tensor]


def pearson_loss(
    prediction: Float[Tensor, "peaks cell_types"], observed: Float[Tensor, "peaks cell_types"]
) -> Float[Tensor, ""]:
    """Mean over peaks of 1 - Pearson correlation across cell types.

    The correlation is the cosine of the centred rows, each norm at least 1e-6: a constant row counts as r = 0 and
    moves no weight. Free of scale and offset of each row.

    Args:
        prediction: (peaks, cell types).
        observed: (peaks, cell types).

    Returns:
        The loss, 0 to 2.

    Source:
        Maslova et al. (2020).

    Example:
        >>> import torch, netassay
        >>> round(float(netassay.pearson_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 1.0]]))), 5)
        2.0
    """
    a, b = (rows - rows.mean(dim=1, keepdim=True) for rows in (prediction, observed))
    return (1 - F.cosine_similarity(a, b, dim=1, eps=1e-6)).mean()


def pearson_rows(
    prediction: Float[Tensor, "rows columns"], observed: Float[Tensor, "rows columns"]
) -> Float[Tensor, " rows"]:
    """Pearson correlation of each row, in double precision.

    Args:
        prediction: (rows, columns).
        observed: (rows, columns).

    Returns:
        (rows,); NaN where a row is constant or not finite, and for fewer than three columns, where the correlation is
        1 or -1 whatever the values.

    Source:
        Maslova et al. (2020).

    Example:
        >>> import torch, netassay
        >>> one, other = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 4.0, 6.0]])
        >>> round(float(netassay.pearson_rows(one, other)), 6)
        1.0
    """
    return (unit_rows(prediction.double()) * unit_rows(observed.double())).sum(dim=1).clamp(-1, 1)


def unit_rows(rows: Float[Tensor, "*n outputs"]) -> Float[Tensor, "*n outputs"]:
    """Rows centred and of norm 1; NaN where a row is constant or not finite, or has too few values to correlate."""
    if rows.shape[-1] < FEWEST:
        return torch.full_like(rows, torch.nan)
    centred = less_mean(rows)
    constant = (rows == rows[..., :1]).all(-1, keepdim=True)
    return torch.where(constant, torch.nan, centred / centred.norm(dim=-1, keepdim=True))


def loss_named(name: str, smoothing: float = 0.0) -> Loss:
    """The loss of that name, a mean over peaks (rows) of prediction and observed heights.

    mse: squared error, also the mean over cell types. poisson: negative log likelihood without its constant,
    exp(prediction) the rate, heights from 0 up. binary_cross_entropy: - log of the logistic chance of each label, in
    nats, also the mean over labels; a peak may have several. cross_entropy: - log softmax at the cell type in which the
    peak is open, in nats; heights are one-hot.
    """
    losses: dict[str, Loss] = {
        "pearson": pearson_loss,
        "mse": F.mse_loss,
        "poisson": partial(F.poisson_nll_loss, log_input=True),
        "binary_cross_entropy": F.binary_cross_entropy_with_logits,
        "cross_entropy": partial(F.cross_entropy, label_smoothing=smoothing),
    }
    return losses[name]


def is_one_of_k(heights: Float[Tensor, "peaks cell_types"]) -> bool:
    """Whether every peak is open (1) in exactly one of several cell types and closed (0) in the others."""
    return heights.shape[1] > 1 and bool(((heights == 0) | (heights == 1)).all() and (heights.sum(dim=1) == 1).all())


def is_labels(heights: Float[Tensor, "peaks cell_types"]) -> bool:
    """Whether every height is 0 or 1, and both occur."""
    return bool(((heights == 0) | (heights == 1)).all() and (heights == 0).any() and (heights == 1).any())
