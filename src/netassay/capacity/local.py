"""Local capacity of any next-token predictor: how many directions its logits can move in, at given contexts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from netassay.curvature.blocks import trainable_parameters
from netassay.errors import ConfigError, DataError, ModelError

FLOAT64 = torch.finfo(torch.float64).eps
DENSE_SIDE = 2_000
DENSE_CELLS = 1 << 27
CAUSAL = 1e-9
AT_ONCE = 64
SPARE = 8


@dataclass(frozen=True)
class LocalCapacity:
    """Rank of the Jacobian of the logits at n contexts with respect to k trainable parameters, float64.

    Logits count up to a constant per context, which no softmax sees, so that the rank is at most `upper` =
    min(k, n (zeta - 1)). Singular values above `tolerance` x the largest are counted; `gap` is the least counted over
    the largest not counted (inf where none is left). `method`: "dense" takes all of the matrix, "sketch" random
    combinations of its rows, whose rank is the matrix's own with probability one where there are more of them than it.
    Where there are not, `at_least` is true and `rank` bounds the rank from below. `full` says whether the rank is
    `upper`: where that is n (zeta - 1), the model reaches every small change of the n distributions from here.
    """

    rank: int
    upper: int
    method: Literal["dense", "sketch"]
    at_least: bool
    tolerance: float
    gap: float
    contexts: int
    vocabulary: int
    parameters: int

    @property
    def full(self) -> bool:
        return self.rank == self.upper

    @property
    def contexts_certified(self) -> int:
        """n if the rank is n (zeta - 1), which certifies local capacity n here; 0 if not, or not shown."""
        return self.contexts if self.full and self.upper == self.contexts * (self.vocabulary - 1) else 0


def local_capacity(
    model: nn.Module,
    contexts: Sequence[Sequence[int]],
    *,
    method: Literal["dense", "sketch"] | None = None,
    rows: int = DENSE_SIDE,
    generator: torch.Generator | None = None,
) -> LocalCapacity:
    """The rank of d logits / d parameters of a causal model at the ends of distinct contexts.

    `model(tokens)`, tokens (B, T) int64, returns logits (B, T, zeta), or an object whose `.logits` they are, as
    Hugging Face's models do. Parameters that are not trained stay fixed; what is shared counts once. The model is
    copied to float64 in evaluation mode and left as it is.

    Dense where `upper` is at most 2,000 and the matrix has at most 1.3e8 cells; beyond, unless `method` says otherwise,
    matrix-free by a sketch of at most `rows` rows, each of which costs a reverse pass. `tolerance` is the larger side
    of the matrix or sketch x 2.2e-16. Raises ModelError for a model that looks ahead or has nothing to train, and
    DataError for contexts that are empty or given twice.
    """
    if method not in (None, "dense", "sketch") or rows < 1:
        raise ConfigError(
            f"method is {method!r}, rows {rows}; allowed are dense, sketch or None, and 1 or more rows"
        )
    given = _checked(contexts)
    held = copy.deepcopy(model).double().eval()
    parameters = {name: p.detach() for name, p in trainable_parameters(held).items()}
    logits = _logits_of(held, given)
    with torch.no_grad():
        _require_causal(held, given)
        shape = logits(parameters).shape
    n, zeta = shape
    count = sum(p.numel() for p in parameters.values())
    upper = min(count, n * (zeta - 1))
    if upper == 0:
        return LocalCapacity(0, 0, "dense", False, 0.0, math.inf, n, zeta, count)
    if method is None:
        small = upper <= DENSE_SIDE and n * zeta * count <= DENSE_CELLS
        method = "dense" if small else "sketch"
    if method == "dense":
        matrix, some, whole = _jacobian(held, given, parameters), upper + SPARE, True
    else:
        some = min(rows, upper + SPARE)
        draws = generator if generator is not None else torch.Generator().manual_seed(0)
        matrix, whole = _sketch(logits, parameters, some, draws)
    rank, tolerance, gap = _counted(matrix, upper)
    at_least = rank < upper and not (whole and rank < some)
    return LocalCapacity(rank, upper, method, at_least, tolerance, gap, n, zeta, count)


def _checked(contexts: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    given = [tuple(map(int, context)) for context in contexts]
    for i, context in enumerate(given):
        if not context:
            raise DataError(f"context {i} is empty; a model reads at least one token")
    if not given or len(set(given)) < len(given):
        raise DataError("give at least one context, and none twice: equal contexts have equal logits")
    return given


def _logits_of(model: nn.Module, given: list[tuple[int, ...]]) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Parameters -> centred logits (n, zeta); contexts of one length are read together, so that none is padded."""
    by_length: dict[int, list[int]] = {}
    for i, context in enumerate(given):
        by_length.setdefault(len(context), []).append(i)
    groups = [(places, torch.tensor([given[i] for i in places])) for places in by_length.values()]
    order = torch.tensor([i for places, _ in groups for i in places]).argsort()

    def logits(parameters: Mapping[str, Tensor]) -> Tensor:
        ends = [
            _tensor(functional_call(model, dict(parameters), (tokens,)), tokens)[:, -1]
            for _, tokens in groups
        ]
        stacked = torch.cat(ends)[order]
        return stacked - stacked.mean(1, keepdim=True)

    return logits


def _tensor(answer: Any, tokens: Tensor) -> Tensor:
    logits = answer if isinstance(answer, Tensor) else getattr(answer, "logits", None)
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != tokens.shape:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(answer).__name__
        raise ModelError(
            f"the model returned {found} for tokens {tuple(tokens.shape)}; it is to return logits (B, T, zeta), or an "
            "object with such .logits"
        )
    return logits


def _require_causal(model: nn.Module, given: list[tuple[int, ...]]) -> None:
    longest = torch.tensor([max(given, key=len)])
    if longest.shape[1] < 2:
        return
    whole = _tensor(model(longest), longest)
    part = _tensor(model(longest[:, :-1]), longest[:, :-1])
    scale = float(part.abs().max()) or 1.0
    if float((whole[:, :-1] - part).abs().max()) > CAUSAL * scale:
        raise ModelError(
            "the model's logits change with tokens that come later; give a causal one in which chance plays no part"
        )


def _jacobian(
    model: nn.Module, given: list[tuple[int, ...]], parameters: Mapping[str, Tensor]
) -> Float64[Tensor, "rows k"]:
    """Context by context, rows by reverse differentiation in blocks."""
    blocks = []
    for context in given:
        out, pull, *_ = vjp(_logits_of(model, [context]), dict(parameters))
        units = torch.eye(out.numel(), dtype=out.dtype).view(-1, *out.shape)
        for some in units.split(AT_ONCE):
            rows = vmap(pull)(some)[0]
            blocks.append(torch.cat([rows[name].flatten(1) for name in parameters], dim=1))
    return torch.cat(blocks)


def _counted(matrix: Tensor, upper: int) -> tuple[int, float, float]:
    values = torch.linalg.svdvals(matrix)
    tolerance = max(matrix.shape) * FLOAT64
    above = values > tolerance * values[0]
    rank = int(above.sum())
    left = values[rank:upper]
    gap = float(values[rank - 1] / left[0]) if rank and len(left) and left[0] > 0 else math.inf
    return rank, tolerance, gap


def _sketch(
    logits: Callable[[Mapping[str, Tensor]], Tensor],
    parameters: Mapping[str, Tensor],
    rows: int,
    generator: torch.Generator,
) -> tuple[Float64[Tensor, "rows c"], bool]:
    """Random Gaussian combinations of the Jacobian's rows, each one reverse pass, and whether its columns are whole.

    Where they would not fit, columns are added up, with Gaussian weights, in 4 x `rows` random places.
    """
    held = dict(parameters)
    out, pull, *_ = vjp(logits, held)
    count = sum(p.numel() for p in held.values())
    whole = rows * count <= DENSE_CELLS
    places = torch.randint(0, 4 * rows, (0 if whole else count,), generator=generator)
    weights = torch.randn(len(places), generator=generator, dtype=torch.float64)
    blocks, at_once = [], AT_ONCE if whole else 1
    for some in torch.randn(rows, *out.shape, generator=generator, dtype=out.dtype).split(at_once):
        parts = vmap(pull)(some)[0]
        block = torch.cat([parts[name].flatten(1) for name in held], dim=1)
        if not whole:
            block = block.new_zeros(len(block), 4 * rows).index_add_(1, places, block * weights)
        blocks.append(block)
    return torch.cat(blocks), whole
