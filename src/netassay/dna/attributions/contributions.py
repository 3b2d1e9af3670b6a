"""How much each base of a sequence contributes to an output of a network, and whether to trust it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from netassay.dna.atlas.atlas import shuffle_dinucleotides
from netassay.dna.attributions.saturation import mutagenesis
from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import (
    BothStrands,
    Exponential,
    Readout,
    as_codes,
    check_batch,
    combined,
    form_of,
    plain,
)
from netassay.dna.network.network import BATCH, Network, Output, evaluating
from netassay.errors import DataError, ModelError
from netassay.extras import require
from netassay.formats.bases import UNKNOWN, one_hot
from netassay.numerics import devices
from netassay.processes import paced

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def shuffled_weights(model: Module, generator: torch.Generator) -> Module:
    """A copy in which every unit keeps its weights but loses which of its inputs each belongs to.

    Contributions that stay the same do not depend on what was learned. Biases and norms are unchanged.

    Args:
        model: Any module.
        generator: Draws the orders.

    Returns:
        The copy.

    Source:
        Adebayo et al. (2018), sanity checks for saliency maps.

    Example:
        >>> import torch
        >>> from netassay.dna.attributions import shuffled_weights
        >>> model = torch.nn.Linear(5, 2)
        >>> shuffled = shuffled_weights(model, torch.Generator())
        >>> bool((shuffled.weight.sort().values == model.weight.sort().values).all())
        True
    """
    copy = deepcopy(model)
    for layer in copy.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            rows = layer.weight.flatten(1)
            order = torch.rand(rows.shape, generator=generator, dtype=torch.float64).argsort(1)
            layer.weight.copy_(rows.gather(1, order.to(rows.device)).view_as(layer.weight))
    return copy


def site_auroc(contributions: Float[Tensor, "n length"], inside: Bool[Tensor, "n length"]) -> Float[Tensor, " n"]:
    """How well the size of contributions separates bases in a site from the others of a sequence, 0.5 by chance.

    Args:
        contributions: (n, length).
        inside: (n, length) whether each base is in a site.

    Returns:
        (n,) areas under the ROC curve; NaN where all bases are of one kind.

    Example:
        >>> import torch
        >>> from netassay.dna.attributions import site_auroc
        >>> site_auroc(torch.tensor([[0.1, -2.0, 1.0]]), torch.tensor([[False, True, True]])).tolist()
        [1.0]
    """
    from scipy.stats import rankdata

    ranks = torch.from_numpy(np.asarray(rankdata(contributions.abs().double().numpy(), axis=1), np.float64))
    n_inside = inside.sum(1).double()
    n_outside = inside.shape[1] - n_inside
    above = (ranks * inside).sum(1) - n_inside * (n_inside + 1) / 2
    return torch.where((n_inside > 0) & (n_outside > 0), above / (n_inside * n_outside), torch.nan)


Method = Literal["gradient", "mutagenesis", "deepshap", "integrated_gradients"]
METHODS: tuple[Method, ...] = get_args(Method)

TOLERANCE = 0.05
"""Maximum mean error of the sums of contributions, as a share of their mean size."""

_PAIRS = BATCH // 4  # of sequence and reference at a time; rules keep every layer's inputs and outputs


@dataclass(frozen=True, eq=False)
class Attributions:
    """Contributions of bases to an output, in its units.

    Attributes:
        method: The method.
        codes: (n, length) the bases.
        hypothetical: (n, 4, length) of each base A, C, G, T if it were there.
        difference: (n,) the output minus its mean over the references, which the contributions sum to; None for
            methods without references.
        error: (n,) sum of the contributions minus `difference`.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.attribute(model, codes, output=0).actual.shape
        torch.Size([20, 100])
    """

    method: Method
    codes: UInt8[Tensor, "n length"]
    hypothetical: Float[Tensor, "n 4 length"]
    difference: Float[Tensor, " n"] | None = None
    error: Float[Tensor, " n"] | None = None

    def plot(self, first: int = 8) -> Any:
        """Logos of the contributions of the first sequences, as an Altair chart."""
        return import_module("netassay.plotting").plot(self, first=first)

    @property
    def actual(self) -> Float[Tensor, "n length"]:
        """Contributions of the bases of the sequences; 0 for unknown bases."""
        return (self.hypothetical * one_hot(self.codes)).sum(1)


def attribute(
    model: nn.Module | Network,
    sequences: UInt8[Tensor, "n length"] | Float[Tensor, "n 4 length"],
    method: Method = "gradient",
    *,
    output: Output = None,
    both_strands: bool | None = None,
    references: int = 20,
    steps: int = 50,
    tolerance: float = TOLERANCE,
    generator: torch.Generator | None = None,
    readout: Readout = None,
    layout: Layout | None = None,
    batch: int = BATCH,
) -> Attributions:
    """Contributions of every base of every sequence to one number: an output, the mean of some, or a combination.

    gradient: of the output by the one-hot base, minus its mean over the four bases, as the network can see only
    differences between bases. mutagenesis: output with each base in turn, minus the mean over the four; exact.
    deepshap: DeepLIFT against dinucleotide-shuffled forms of each sequence, averaged, by the extra `attributions`.
    integrated_gradients: the gradient averaged along the straight line from each such reference. For a linear network
    all four agree up to a constant at each position. The network runs in evaluation mode and is left unchanged.

    Args:
        model: Any module from one-hot (n, 4, length) to (n, outputs), or a network; for deepshap its nonlinearities
            must be modules, and none of them attention or recurrent.
        sequences: Codes (n, length) or one-hot (n, 4, length).
        method: "gradient", "mutagenesis", "deepshap" or "integrated_gradients".
        output: Which number is explained (see `readout`); may be None for a network with one output.
        both_strands: Whether to explain the mean over a sequence and its reverse complement.
        references: Number of shuffled forms of each sequence (1 or more).
        steps: Number of points (Gauss-Legendre) of integrated_gradients (1 or more).
        tolerance: Mean error of the sums, relative to their mean size, above which contributions are refused.
        generator: Draws the shuffles; by default with a fixed seed.
        readout: Which of the model's outputs to use (see `Network`).
        layout: "channels_first" or "channels_last".
        batch: Sequences at a time (1 or more).

    Returns:
        Contributions (n, 4, length).

    Raises:
        ModelError: For outputs that do not exist, modules without a rule, and contributions that miss their sums by
            more than `tolerance`.
        DataError: For no sequence and for sequences that are not one-hot.

    Source:
        Majdandzic et al. (2023) for gradients; Shrikumar et al. (2017), DeepLIFT; Lundberg, Lee (2017), SHAP;
        Sundararajan et al. (2017), integrated gradients.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.attribute(model, codes, output=1).hypothetical.shape
        torch.Size([20, 4, 100])
    """
    if method not in METHODS:
        raise ModelError(f"method {method!r}: allowed are {', '.join(METHODS)}")
    check_batch(batch)
    codes = as_codes(sequences).cpu()
    if not len(codes):
        raise DataError("there is no sequence to explain; give one or more")
    network = Network.of(model, both_strands=both_strands, readout=readout, layout=layout)
    weights = _weights(network, codes, output)
    raw_network = replace(network, less_mean=False)  # the weights subtract the mean already
    if method == "mutagenesis":
        saturation = mutagenesis(raw_network, codes, output=weights[:, 0], precision=torch.float32, batch=batch)
        effects = saturation.effects[..., 0]
        return Attributions(method, codes, effects - effects.mean(1, keepdim=True))
    inner = plain(network.aitac) if method == "deepshap" and network.aitac else network.shaped
    explained = combined(BothStrands(inner) if network.both_strands else inner, weights)
    with evaluating(network.model), evaluating(explained):
        if method == "gradient":
            slopes = torch.cat(
                [
                    _slope(explained, one_hot(part))
                    for part in paced(codes.split(batch), "sequences", total=len(codes), size=batch)
                ]
            )
            return Attributions(method, codes, slopes - slopes.mean(1, keepdim=True))
        if references < 1 or steps < 1:
            raise ModelError(f"references {references}, steps {steps}: give at least one of each")
        draws = generator or devices.generator(0, "attribute")
        shuffled = torch.stack([shuffle_dinucleotides(codes, draws) for _ in range(references)], 1)
        # unknown bases contribute nothing: no reference has a base there either
        shuffled.masked_fill_((codes == UNKNOWN)[:, None], UNKNOWN)
        if method == "deepshap":
            _refuse_without_rule(network.model)
            with out_of_place(explained, one_hot(codes[:1])):
                hypothetical = _deepshap(explained, codes, shuffled)
        else:
            hypothetical = _integrate(explained, codes, shuffled, steps, batch)
        difference = _difference(explained, codes, shuffled, batch)
    error = (hypothetical.double() * one_hot(codes)).sum((1, 2)) - difference
    _refuse_incomplete(method, network, difference, error, tolerance)
    return Attributions(method, codes, hypothetical, difference.float(), error.float())


@contextmanager
def out_of_place(model: nn.Module, x: Float[Tensor, "n 4 length"]) -> Iterator[None]:
    """Inside, no module writes into its input: a rule looks at inputs after the pass.

    ModelError where outputs for `x` depend on such writing, because what the module returns is not used.
    """
    writing = {n: module for n, module in model.named_modules() if getattr(module, "inplace", None) is True}
    with torch.inference_mode():
        before = model(_input(model, x))
    try:
        for module in writing.values():
            setattr(module, "inplace", False)  # noqa: B010 (modules have no such attribute for types)
        with torch.inference_mode():
            if not torch.allclose(before, model(_input(model, x)), equal_nan=True):
                raise ModelError(
                    f"modules {', '.join(writing)} write into their inputs, and the network does not use what they "
                    "give back; write x = relu(x) in its forward, or take integrated_gradients"
                )
        yield
    finally:
        for module in writing.values():
            setattr(module, "inplace", True)  # noqa: B010


def _weights(network: Network, codes: Tensor, output: Output) -> Float[Tensor, "outputs 1"]:
    if network.aitac:
        n_outputs = network.aitac.output.out_features
    else:
        with evaluating(network.model), torch.inference_mode():
            n_outputs = network.forward()(codes[:1]).shape[1]
    weights = network.weights(output, n_outputs)
    if weights.shape[1] != 1:
        raise ModelError(
            f"the network has {n_outputs} outputs and none is named; name one with output=, several for their mean, "
            "or weights over all"
        )
    return weights


def _input(model: nn.Module, x: Tensor) -> Tensor:
    """One-hot sequences on the model's device, of its dtype."""
    device, dtype = form_of(model)
    return x.to(device, dtype)


def _slope(explained: nn.Module, x: Float[Tensor, "n 4 length"]) -> Float[Tensor, "n 4 length"]:
    with torch.enable_grad():
        inputs = _input(explained, x).requires_grad_()
        (slope,) = torch.autograd.grad(explained(inputs).sum(), inputs)
    return slope.float().cpu()


def _integrate(
    explained: nn.Module, codes: Tensor, references: UInt8[Tensor, "n r length"], steps: int, batch: int
) -> Float[Tensor, "n 4 length"]:
    places, shares = (torch.from_numpy(a).float() / 2 for a in np.polynomial.legendre.leggauss(steps))
    total = torch.zeros(len(codes), 4, codes.shape[1])
    many = references.shape[1]
    for row in paced(range(len(codes)), "sequences", total=len(codes)):
        x, begins = one_hot(codes[row]), one_hot(references[row])
        for part in torch.arange(many * steps).split(batch):
            reference, step = begins[part // steps], part % steps
            points = reference + (places[step] + 0.5)[:, None, None] * (x - reference)
            slope = _slope(explained, points) * shares[step][:, None, None]
            total[row] += (slope - (slope * reference).sum(1, keepdim=True)).sum(0)
    return total / many


def _deepshap(
    explained: nn.Module, codes: Tensor, references: UInt8[Tensor, "n r length"]
) -> Float[Tensor, "n 4 length"]:
    require("tangermeme", "attributions", "method deepshap")
    from tangermeme import deep_lift_shap as library

    device, dtype = form_of(explained)
    rules = {**dict.fromkeys(_PLACE_BY_PLACE, library._nonlinear), **dict.fromkeys(_WIDEST, _widest_rule)}
    parts = []
    with warnings.catch_warnings():
        # the caller checks the sums, whatever the library warns of
        warnings.simplefilter("ignore")
        pairs = zip(codes.split(_PAIRS), references.split(_PAIRS), strict=True)
        for part, baselines in paced(pairs, "sequences", total=len(codes), size=_PAIRS):
            parts.append(
                library.deep_lift_shap(
                    explained,
                    one_hot(part, dtype),
                    references=one_hot(baselines, dtype),
                    batch_size=_PAIRS,
                    hypothetical=True,
                    device=str(device),
                    additional_nonlinear_ops=rules,
                    only_warn=True,
                ).float()
            )
    return torch.cat(parts)


def _refuse_without_rule(model: nn.Module) -> None:
    """ModelError for modules without a rule: they multiply their inputs by each other."""
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase | nn.RNNCellBase):
            raise ModelError(
                f"DeepLIFT has no rule for {name or type(model).__name__!r} ({type(module).__name__}); take "
                "integrated_gradients or mutagenesis"
            )


# besides those that the library has rules for
_PLACE_BY_PLACE = (
    Exponential,
    nn.Hardtanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardshrink,
    nn.Softsign,
    nn.Tanhshrink,
    nn.Threshold,
)
_WIDEST = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)


@torch.no_grad()
def _widest_rule(module: Any, grad_input: tuple[Tensor, ...], grad_output: tuple[Tensor, ...]) -> tuple[Tensor]:
    """DeepLIFT's rule of max-pooling for one whose windows follow from the length of its input.

    Each output's change goes to the positions that attain the maximum in the sequence and in the reference; where an
    input does not change there is no ratio, and the ordinary gradient of the sequence is kept.
    """
    flat = isinstance(module, nn.AdaptiveMaxPool1d)
    pool = nn.functional.adaptive_max_pool1d if flat else nn.functional.adaptive_max_pool2d
    _, places = pool(module.input, module.output_size, return_indices=True)
    output, reference = module.output.chunk(2)
    largest = torch.maximum(output, reference)
    shares = grad_output[0] * torch.cat([largest - reference, output - largest])
    axis = 2 if flat else -2
    routed = torch.zeros_like(module.input).flatten(axis)
    routed.scatter_add_(-1, places.flatten(axis), shares.flatten(axis))
    change = torch.sub(*module.input.chunk(2))
    products = sum(routed.view_as(module.input).chunk(2))
    multiplier = torch.where(change == 0, grad_input[0].chunk(2)[0], products / change.masked_fill(change == 0, 1))
    return (torch.cat([multiplier, multiplier]),)


def _difference(explained: nn.Module, codes: Tensor, references: Tensor, batch: int) -> Tensor:
    """Output of each sequence less the mean over its references, in float64."""

    def forward(rows: Tensor) -> Tensor:
        with torch.inference_mode():
            parts = [explained(_input(explained, one_hot(part)))[:, 0] for part in rows.split(batch)]
        return torch.cat(parts).double().cpu()

    return forward(codes) - forward(references.flatten(0, 1)).view(references.shape[:2]).mean(1)


_RULELESS = (
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.LogSoftmax,
    nn.Softmin,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.LPPool1d,
    nn.LPPool2d,
    nn.Bilinear,
)


def _advice(method: str, network: Network) -> str:
    if method == "integrated_gradients":
        return "take more steps"
    ruleless = [
        f"{name!r} ({type(module).__name__})"
        for name, module in network.model.named_modules()
        if isinstance(module, _RULELESS)
    ]
    if ruleless:
        return (
            f"DeepLIFT has no rule for {', '.join(ruleless)} of {type(network.model).__name__}; take "
            "integrated_gradients or mutagenesis, which need none"
        )
    return (
        "some nonlinearity of the network is a function call (such as F.relu) and none of PyTorch's modules, so that "
        "it has no rule; make it a module, or take integrated_gradients"
    )


def _refuse_incomplete(method: str, network: Network, difference: Tensor, error: Tensor, tolerance: float) -> None:
    size, missed = float(difference.abs().mean()), float(error.abs().mean())
    if not missed <= tolerance * size + 1e-6:
        raise ModelError(
            f"{method}: contributions miss {missed:.3g} in the mean of output differences whose mean size is "
            f"{size:.3g} (allowed is a share of {tolerance:g}): {_advice(method, network)}"
        )
