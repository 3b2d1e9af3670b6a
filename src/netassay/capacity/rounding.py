"""How far a model's derivatives can be trusted: which of its arithmetic is coarser than float64, and its noise."""

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
"""Noise over the size of the Jacobian that float64 does not make, and float32 does."""

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
"""Operators that make, move or choose numbers and round none, but for one that narrows them (seen apart)."""


@dataclass(frozen=True)
class Arithmetic:
    """`epsilon` of the coarsest arithmetic that a forward and backward pass was seen to use, and `where`."""

    epsilon: float
    where: str = ""


class _Watch(TorchDispatchMode):
    """Notes every operator that rounds to less than float64, and in which module it ran."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: dict[tuple[str, str], float] = {}
        self.inside: list[str] = []
        self._exact = frozenset(_MOVES.split())

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(func).split(".")[1]
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        for out in tree_leaves(result):
            if isinstance(out, Tensor) and out.numel() and (coarse := _epsilon(out.dtype)) > EPS:
                # a copy of whole numbers or of what is as coarse already rounds nothing
                narrowed = any(_is_real(x.dtype) and _epsilon(x.dtype) < coarse for x in given)
                if name not in self._exact or narrowed:
                    kind = str(out.dtype).removeprefix("torch.")
                    place = self.inside[-1] if self.inside else BACKWARD
                    self.seen.setdefault((kind, place), coarse)
        return result


def _is_real(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _epsilon(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps if _is_real(dtype) else 0.0


def arithmetic(found: Predictor) -> Arithmetic:
    """What a forward and backward pass over the contexts computes in; ModelError where nothing can be derived."""
    watch = _Watch()
    handles = []
    for name, module in found.model.named_modules():
        label = name or type(module).__name__
        handles += [
            module.register_forward_pre_hook(_entering(watch, label)),
            module.register_forward_hook(_leaving(watch), always_call=True),
        ]
    parameters = {name: p.requires_grad_() for name, p in found.parameters.items()}
    try:
        with watch:
            out = found.logits(parameters)
            if not out.requires_grad:
                raise ModelError(
                    "no logit depends on a trainable parameter: they are unused, or the forward detaches them or runs "
                    "under no_grad"
                )
            torch.autograd.grad(out.sum(), list(parameters.values()), allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    if not watch.seen:
        return Arithmetic(EPS)
    return Arithmetic(max(watch.seen.values()), _worded(watch.seen))


def _entering(watch: _Watch, label: str) -> Any:
    def enter(module: nn.Module, given: Any) -> None:
        watch.inside.append(label)

    return enter


def _leaving(watch: _Watch) -> Any:
    def leave(module: nn.Module, given: Any, out: Any) -> None:
        watch.inside.pop()

    return leave


def _worded(seen: Mapping[tuple[str, str], float]) -> str:
    kinds = " and ".join(dict.fromkeys(kind for kind, _ in seen))
    # what was computed coarsely forward is so backward too
    places = list(dict.fromkeys(place for _, place in seen if place != BACKWARD)) or [BACKWARD]
    more = f" and {len(places) - NAMED} more modules" if len(places) > NAMED else ""
    return f"{kinds} inside ({', '.join(places[:NAMED])}{more})"


class Pull:
    """Transposed Jacobian of the logits at some parameters, by reverse passes without a transform of functions."""

    def __init__(self, found: Predictor, parameters: Mapping[str, Tensor]) -> None:
        self._inputs = [p.detach().requires_grad_() for p in parameters.values()]
        self.out = found.logits(dict(zip(parameters, self._inputs, strict=True)))

    def __call__(self, cotangents: Tensor) -> Tensor:
        """(r, n, zeta) -> (r, k) in float64, all at once where the model's operators allow it."""
        try:
            rows = self._grads(cotangents, batched=True)
        except RuntimeError:
            single = [self._grads(one, batched=False) for one in cotangents]
            rows = [torch.stack(parts) for parts in zip(*single, strict=True)]
        return torch.cat([part.reshape(len(cotangents), -1) for part in rows], dim=1).double()

    def _grads(self, cotangents: Tensor, *, batched: bool) -> list[Tensor]:
        parts = torch.autograd.grad(
            self.out, self._inputs, cotangents, retain_graph=True, is_grads_batched=batched, allow_unused=True
        )
        shape = cotangents.shape[:1] if batched else ()
        # a parameter that no logit depends on has no gradient at all
        return [
            p.new_zeros(*shape, *p.shape) if part is None else part for p, part in zip(self._inputs, parts, strict=True)
        ]


def noise(
    found: Predictor, parameters: Mapping[str, Tensor], shift: float, generator: torch.Generator
) -> tuple[float, float]:
    """Rounding errors of the Jacobian and its size, both as root sums of squares.

    Measured in two ways, of which the larger counts. Pulling back a sum of random cotangents against summing what each
    gives: that the rows of a context sum to zero is a case of it. And second differences over shifts of the parameters
    by `shift` of their size, which round everything anew and leave nothing of first order.
    """
    at = Pull(found, parameters)
    sizes, sums, differences = [], [], []
    for _ in range(PROBES):
        one, other = _drawn(at.out, 2, generator)
        a, b, both = (at(w[None])[0] for w in (one, other, one + other))
        sizes.append(float(a.norm()))
        # each of the two has the noise once, their sum's pull twice
        sums.append(float((a + b - both).norm()) / 2)
    for _ in range(SHIFTS):
        moved = {name: _shift(p, shift, generator) for name, p in parameters.items()}
        w = _drawn(at.out, 1, generator)
        second = -2 * at(w)[0]
        for sign in (1, -1):
            second += Pull(found, {name: p + sign * moved[name] for name, p in parameters.items()})(w)[0]
        differences.append(float(second.norm()) / 6**0.5)
    return max(_rms(sums), _rms(differences)), _rms(sizes)


def _drawn(out: Tensor, number: int, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(number, *out.shape, generator=generator, dtype=torch.float64)
    return drawn.to(out.device)


def _shift(p: Tensor, size: float, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
    scale = float(p.double().square().mean().sqrt()) or 1.0
    return drawn * (size * scale)


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values) / len(values))


@dataclass(frozen=True)
class Trust:
    """`noise`: root sum of squares of the Jacobian's rounding errors. `reason`: why no rank can be certified, or ""."""

    noise: float
    reason: str


def trust(found: Predictor, seen: Arithmetic, generator: torch.Generator) -> Trust:
    """Measures the noise of a model's derivatives at its parameters, and says whether they are float64 throughout."""
    parameters = found.parameters
    if found.refusal or seen.where:
        coarse = max(seen.epsilon, *(_epsilon(p.dtype) for p in parameters.values()))
        size, _ = noise(found, parameters, 4 * coarse, generator)
        return Trust(size, found.refusal or f"it computes in {seen.where}")
    # the root of the epsilon: curvature then shows as much as rounding of the parameters does
    shift = math.sqrt(EPS)
    size, whole = noise(found, parameters, shift, generator)
    if size <= NOISY * whole:
        return Trust(size, "")
    nearer, _ = noise(found, parameters, shift / 4, generator)
    if nearer <= max(size / 8, NOISY * whole):
        return Trust(size, "")  # what shrinks with the shift is curvature
    size, _ = noise(found, parameters, 4 * torch.finfo(torch.float32).eps, generator)
    return Trust(
        size,
        f"its derivatives carry rounding errors of {size / whole:.1g} of their size, which float64 does not make",
    )
