"""How far a model's derivatives can be trusted: where its arithmetic is coarser than float64, and its noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from netassay.capacity.predictor import Predictor
from netassay.errors import ModelError

EPS = torch.finfo(torch.float64).eps
NOISY = 1e-10
"""Noise relative to the Jacobian above what float64 causes, and below what float32 does."""

PROBES = 8
SHIFTS = 6
NAMED = 3
BACKWARD = "the backward pass"

_MOVES = """
    empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros ones ones_like new_ones full
    full_like new_full scalar_tensor eye arange fill fill_ zero_ lift_fresh lift_fresh_copy detach alias clone copy
    copy_ _to_copy view _unsafe_view reshape _reshape_alias expand permute transpose t unsqueeze squeeze slice select
    index index_select gather cat stack unbind split split_with_sizes as_strided repeat flip roll unfold diagonal tril
    triu tril_ triu_ masked_fill masked_fill_ where constant_pad_nd neg abs maximum minimum clamp clamp_min clamp_max
    amax amin max min
    """
"""Operators that create, move or select numbers without rounding, except when they narrow the type (handled apart)."""


@dataclass(frozen=True)
class Arithmetic:
    """`epsilon` of the coarsest arithmetic that a forward and backward pass used, and `where`."""

    epsilon: float
    where: str = ""


class _Watch(TorchDispatchMode):
    """Notes every operator that rounds to less than float64, and in which module it ran."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.epsilons: dict[tuple[str, str], float] = {}
        self.inside: list[str] = []
        self._exact = frozenset(_MOVES.split())

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(func).split(".")[1]
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        for output in tree_leaves(result):
            if isinstance(output, Tensor) and output.numel() and (coarse := _epsilon(output.dtype)) > EPS:
                # a copy of integers or of numbers that are already as coarse rounds nothing
                narrowed = any(_is_real(x.dtype) and _epsilon(x.dtype) < coarse for x in inputs)
                if name not in self._exact or narrowed:
                    kind = str(output.dtype).removeprefix("torch.")
                    module = self.inside[-1] if self.inside else BACKWARD
                    self.epsilons.setdefault((kind, module), coarse)
        return result


def _is_real(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _epsilon(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps if _is_real(dtype) else 0.0


def arithmetic(probe: Predictor) -> Arithmetic:
    """The arithmetic of a forward and backward pass over the contexts; ModelError if nothing can be differentiated."""
    watch = _Watch()
    handles = []
    for name, module in probe.model.named_modules():
        label = name or type(module).__name__
        handles += [
            module.register_forward_pre_hook(_entering(watch, label)),
            module.register_forward_hook(_leaving(watch), always_call=True),
        ]
    parameters = {name: p.requires_grad_() for name, p in probe.parameters.items()}
    try:
        with watch:
            logits = probe.logits(parameters)
            if not logits.requires_grad:
                raise ModelError(
                    "no logit depends on a trainable parameter: they are unused, or the forward detaches them or runs "
                    "under no_grad"
                )
            torch.autograd.grad(logits.sum(), list(parameters.values()), allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    if not watch.epsilons:
        return Arithmetic(EPS)
    return Arithmetic(max(watch.epsilons.values()), _where(watch.epsilons))


def _entering(watch: _Watch, label: str) -> Any:
    def enter(module: nn.Module, inputs: Any) -> None:
        watch.inside.append(label)

    return enter


def _leaving(watch: _Watch) -> Any:
    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        watch.inside.pop()

    return leave


def _where(epsilons: Mapping[tuple[str, str], float]) -> str:
    kinds = " and ".join(dict.fromkeys(kind for kind, _ in epsilons))
    # coarse arithmetic forward is coarse backward too
    places = list(dict.fromkeys(module for _, module in epsilons if module != BACKWARD)) or [BACKWARD]
    more = f" and {len(places) - NAMED} more modules" if len(places) > NAMED else ""
    return f"{kinds} inside ({', '.join(places[:NAMED])}{more})"


class Pull:
    """Transposed Jacobian of the logits at some parameters, by reverse passes without a transform of functions."""

    def __init__(self, probe: Predictor, parameters: Mapping[str, Tensor]) -> None:
        self._inputs = [p.detach().requires_grad_() for p in parameters.values()]
        self.logits = probe.logits(dict(zip(parameters, self._inputs, strict=True)))

    def __call__(self, cotangents: Tensor) -> Tensor:
        """(r, n, zeta) -> (r, k) in float64, all at once where the model's operators allow it."""
        try:
            rows = self._grads(cotangents, batched=True)
        except RuntimeError:
            single = [self._grads(row, batched=False) for row in cotangents]
            rows = [torch.stack(parts) for parts in zip(*single, strict=True)]
        return torch.cat([part.reshape(len(cotangents), -1) for part in rows], dim=1).double()

    def _grads(self, cotangents: Tensor, *, batched: bool) -> list[Tensor]:
        parts = torch.autograd.grad(
            self.logits, self._inputs, cotangents, retain_graph=True, is_grads_batched=batched, allow_unused=True
        )
        shape = cotangents.shape[:1] if batched else ()
        # a parameter that no logit depends on has no gradient at all
        return [
            p.new_zeros(*shape, *p.shape) if part is None else part for p, part in zip(self._inputs, parts, strict=True)
        ]


def noise(
    probe: Predictor, parameters: Mapping[str, Tensor], shift: float, generator: torch.Generator
) -> tuple[float, float]:
    """Rounding errors of the Jacobian and its size, both as root sums of squares.

    The larger of two measurements. One compares the pullback of a sum of random cotangents with the sum of their
    pullbacks: that the rows of a context sum to zero is a special case. The other takes second differences over shifts
    of the parameters by `shift` of their size, which change all rounding and cancel the first order.
    """
    at = Pull(probe, parameters)
    sizes, sums, differences = [], [], []
    for _ in range(PROBES):
        u, v = _gaussian(at.logits, 2, generator)
        a, b, c = (at(w[None])[0] for w in (u, v, u + v))
        sizes.append(float(a.norm()))
        # the noise of each of the two counts once, that of the pullback of their sum twice
        sums.append(float((a + b - c).norm()) / 2)
    for _ in range(SHIFTS):
        moved = {name: _shift(p, shift, generator) for name, p in parameters.items()}
        w = _gaussian(at.logits, 1, generator)
        second = -2 * at(w)[0]
        for sign in (1, -1):
            second += Pull(probe, {name: p + sign * moved[name] for name, p in parameters.items()})(w)[0]
        differences.append(float(second.norm()) / 6**0.5)
    return max(_rms(sums), _rms(differences)), _rms(sizes)


def _gaussian(like: Tensor, number: int, generator: torch.Generator) -> Tensor:
    values = torch.randn(number, *like.shape, generator=generator, dtype=torch.float64)
    return values.to(like.device)


def _shift(p: Tensor, size: float, generator: torch.Generator) -> Tensor:
    values = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
    scale = float(p.double().square().mean().sqrt()) or 1.0
    return values * (size * scale)


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values) / len(values))


@dataclass(frozen=True)
class Trust:
    """`noise`: root sum of squares of the Jacobian's rounding errors. `reason`: why no rank can be certified, or ""."""

    noise: float
    reason: str


def trust(probe: Predictor, precision: Arithmetic, generator: torch.Generator) -> Trust:
    """Measures the noise of a model's derivatives at its parameters, and says whether they are float64 throughout."""
    parameters = probe.parameters
    if probe.refusal or precision.where:
        coarse = max(precision.epsilon, *(_epsilon(p.dtype) for p in parameters.values()))
        size, _ = noise(probe, parameters, 4 * coarse, generator)
        return Trust(size, probe.refusal or f"it computes in {precision.where}")
    # the root of the epsilon: curvature then shows as much as rounding of the parameters does
    shift = math.sqrt(EPS)
    size, scale = noise(probe, parameters, shift, generator)
    if size <= NOISY * scale:
        return Trust(size, "")
    nearer, _ = noise(probe, parameters, shift / 4, generator)
    if nearer <= max(size / 8, NOISY * scale):
        return Trust(size, "")  # if it shrinks with the shift, it is curvature
    size, _ = noise(probe, parameters, 4 * torch.finfo(torch.float32).eps, generator)
    return Trust(
        size,
        f"its derivatives carry rounding errors of {size / scale:.1g} of their size, more than float64 causes",
    )
