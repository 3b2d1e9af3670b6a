"""The curvature of a few examples in place of all, chosen by the curvature of the loss at the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from netassay.curvature.batches import NotJoined, examples, join, tensors
from netassay.curvature.curvature import Curvature, Kind
from netassay.curvature.eigen import Product
from netassay.curvature.forward import Batches, Evaluation, Head, Loss
from netassay.curvature.model import Blocks
from netassay.errors import NetassayError

LEAST, FEW, TENTH, SHARE = 40, 200, 10, 25
"""A subsample is a 25th of the examples, or 200 if that is more, but at most a tenth; none below 40."""

MOST_BATCHES = 16  # with more, slices of every batch would cost more than they save
DRAWS = 8  # sign vectors that estimate each example's trace


class OutputCurvature:
    """For each example the trace of the second derivative of the loss at the output, collected batch by batch.

    For cross-entropy it is 1 - sum p^2, for half squares the same for all. By Hutchinson's estimate with a few sign
    vectors, whose products at the output cost next to nothing. All examples of a loss that calls the model itself
    count the same.
    """

    def __init__(self) -> None:
        self._parts: dict[int, Tensor | None] = {}

    def add(self, i: int, evaluation: Evaluation) -> None:
        self._parts[i] = _traces(evaluation.loss, evaluation.head)

    def of(self, sizes: list[int]) -> Float[Tensor, " n"]:
        """One number per example; all ones if an estimate is missing or none is positive."""
        parts = [self._parts.get(i) for i in range(len(sizes))]
        if any(part is None or len(part) != n for part, n in zip(parts, sizes, strict=True)):
            return torch.ones(sum(sizes), dtype=torch.float64)
        traces = torch.cat([part for part in parts if part is not None]).clamp_min(0)
        fit = bool(traces.isfinite().all()) and float(traces.sum()) > 0
        return traces if fit else torch.ones_like(traces)


def _traces(loss: Tensor, output: Any) -> Float[Tensor, " n"] | None:
    if not isinstance(output, Tensor) or output.ndim == 0 or not output.requires_grad:
        return None
    (slope,) = torch.autograd.grad(loss, [output], create_graph=True, allow_unused=True)
    if slope is None or not slope.requires_grad:
        return None
    draws, total = torch.Generator().manual_seed(0), torch.zeros(len(output), dtype=torch.float64)
    for _ in range(DRAWS):
        signs = torch.randint(0, 2, output.shape, generator=draws).to(output) * 2 - 1
        (image,) = torch.autograd.grad(slope, [output], signs, retain_graph=True, allow_unused=True)
        if image is None:
            return None
        total += (signs * image).reshape(len(output), -1).sum(1).double().cpu()
    return total / DRAWS


class Cheap(NamedTuple):
    """A cheaper matrix that resembles a full one: its product, and the cost of it as a share of the full one's."""

    product: Product
    share: float

    def scaled(self, scale: Float[Tensor, " n"]) -> Cheap:
        """The matrix with rows and columns multiplied by `scale`, as `Preconditioned` is."""
        return Cheap(lambda v: scale * self.product(scale * v), self.share)


class Subsample:
    """The curvature of a few of the examples, weighted so that its mean over draws is that of all."""

    def __init__(self, strata: list[tuple[float, Curvature]], share: float) -> None:
        """`strata` holds weight and curvature of each part, `share` is the share of the examples in any of them."""
        self._strata, self.share = strata, share

    def product(self, v: Tensor) -> Tensor:
        return self._sum(lambda curvature: curvature.product(v))

    def block_product(self, name: str, v: Tensor) -> Tensor:
        return self._sum(lambda curvature: curvature.block_product(name, v))

    def of(self, name: str | None) -> Cheap:
        """In place of the full matrix, or of a block."""
        return Cheap(self.product if name is None else partial(self.block_product, name), self.share)

    def _sum(self, product: Callable[[Curvature], Tensor]) -> Tensor:
        total: Tensor | None = None
        for weight, curvature in self._strata:
            image = product(curvature)
            image = image if weight == 1 else image.mul_(weight)
            total = image if total is None else total.add_(image)
        assert total is not None
        return total


@contextmanager
def subsample(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    full: Curvature,
    output: OutputCurvature,
    generator: torch.Generator,
    *,
    kind: Kind,
    blocks: Blocks | None,
    reduction: str | None,
    head: Head | None,
) -> Iterator[Subsample | None]:
    """A subsample of the batches of `full`, its graphs kept until the block ends; None where there are too few
    examples, too many batches, or batches that cannot be cut along their first dimension or joined.
    """
    with ExitStack() as stack:
        try:
            sizes = _sizes(batches)
            strata = strata_of(output.of(sizes), generator)
            parts: list[tuple[float, Curvature]] = []
            for rows, share in strata:
                curvature = Curvature(
                    model,
                    loss,
                    [_rows(batches, sizes, rows)],
                    kind=kind,
                    blocks=blocks,
                    reduction=reduction,  # type: ignore[arg-type]
                    head=head,
                )
                stack.enter_context(curvature)
                if parts:
                    curvature.trust()  # the same loss of other examples
                parts.append((share * (1 if full.is_mean else sum(sizes) / len(rows)), curvature))
        # if no batch can be made of some of the examples, Lanczos's method does without
        except (NotJoined, NetassayError):
            yield None
            return
        yield Subsample(parts, sum(len(rows) for rows, _ in strata) / sum(sizes))


def _sizes(batches: Any) -> list[int]:
    """Numbers of examples. Raises NotJoined if a subsample would not pay."""
    if not isinstance(batches, list | tuple) or not 1 <= len(batches) <= MOST_BATCHES:
        raise NotJoined("batches are no short list")
    sizes = [examples(i, batch) for i, batch in enumerate(batches)]
    if _count(sum(sizes)) < LEAST:
        raise NotJoined("there are too few examples")
    return sizes


def _count(n: int) -> int:
    return max(n // SHARE, min(FEW, n // TENTH))


def strata_of(curvature: Float[Tensor, " n"], generator: torch.Generator) -> list[tuple[Int[Tensor, " m"], float]]:
    """Rows and weight of the certain examples, and of those drawn from the rest; the weights sum to 1.

    Certain are those that sampling in proportion to `curvature` would always include, the largest first, at most half
    of the subsample; the rest is drawn uniformly, and represents all that are not certain.
    """
    n = len(curvature)
    m = _count(n)
    order = curvature.argsort(descending=True, stable=True)
    certain = min(m // 2, int((m * curvature >= curvature.sum()).sum()))
    if bool(curvature.max() < 2 * curvature.mean()):
        certain = 0
    rest = order[certain:]
    sample = rest[torch.randperm(len(rest), generator=generator, device=generator.device).cpu()[: m - certain]]
    strata = [(sample.sort().values, len(rest) / n)]
    return [(order[:certain].sort().values, certain / n), *strata] if certain else strata


def _rows(batches: Any, sizes: list[int], rows: Tensor) -> Any:
    """Some examples as one batch, numbered through all batches."""
    merged, count, first = None, 0, 0
    for batch, size in zip(batches, sizes, strict=True):
        inside = rows[(rows >= first) & (rows < first + size)] - first
        first += size
        if len(inside) == 0:
            continue
        if any(len(t) != size for t in tensors(batch) if t.ndim):
            raise NotJoined("a tensor has no row for each example")
        part = _cut(batch, inside, size)
        merged = part if count == 0 else join(merged, part, (count, len(inside)))
        count += len(inside)
    return merged


def _cut(part: Any, rows: Tensor, size: int) -> Any:
    if isinstance(part, Tensor):
        return part if part.ndim == 0 else part[rows.to(part.device)]
    if isinstance(part, Mapping):
        return {key: _cut(inner, rows, size) for key, inner in part.items()}
    if isinstance(part, tuple | list):
        if len(part) == size and not tensors(part):
            return type(part)(part[i] for i in rows.tolist())
        parts = [_cut(inner, rows, size) for inner in part]
        return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)
    return part
