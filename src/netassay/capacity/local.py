"""Local capacity of any next-token predictor: how many directions its logits can move in, at given contexts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from netassay.capacity.predictor import Predictor, predictor, require_causal
from netassay.capacity.rounding import EPS, Pull, arithmetic, trust
from netassay.corpus.context import Contexts
from netassay.errors import ConfigError

DENSE_SIDE = 2_000
DENSE_CELLS = 1 << 27
AT_ONCE = 64
SPARE = 8
MARGIN = 4
"""How many times the measured noise a singular value must exceed to be counted."""


@dataclass(frozen=True)
class LocalCapacity:
    """Rank of the Jacobian of the logits at n contexts with respect to k trainable parameters, in float64.

    Logits count up to a constant for each context, which no softmax sees, so that the rank is at most min(k, n (zeta -
    1)). `full` says whether the rank is `upper`: where that is n (zeta - 1), the model reaches every small change of
    the n distributions from here.

    Attributes:
        rank: Number of singular values above `tolerance` x the largest.
        upper: min(k, n (zeta - 1)).
        method: "dense" takes the entire matrix, "sketch" random combinations of its rows, whose rank is the matrix's
            own with probability one where there are more of them than it.
        at_least: Whether `rank` only bounds the rank from below, the sketch having too few rows.
        tolerance: Never below four times the noise.
        gap: The smallest singular value counted over the largest not counted; inf where none is left.
        contexts: n.
        vocabulary: zeta.
        parameters: k.
        noise: Measured rounding error of the matrix, spread over all of it, over the largest singular value.
        uncertified: Why nothing is certified whatever the rank: the model computes in less than float64 inside. Empty
            where float64 was kept throughout.

    Source:
        Madden, Fox, Thrampoulidis (2025), Lemma 9.

    Example:
        >>> import torch, netassay
        >>> result = netassay.local_capacity(torch.nn.Embedding(3, 3).double(), [[0], [1]])
        >>> isinstance(result, netassay.LocalCapacity), result.full
        (True, True)
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
    noise: float = 0.0
    uncertified: str = ""

    @property
    def full(self) -> bool:
        return self.rank == self.upper

    @property
    def contexts_certified(self) -> int:
        """n if the rank is n (zeta - 1), which certifies local capacity n here; 0 if not, or not shown."""
        shown = self.full and not self.uncertified and self.upper == self.contexts * (self.vocabulary - 1)
        return self.contexts if shown else 0


def local_capacity(
    model: nn.Module,
    contexts: Sequence[Sequence[int]] | Contexts,
    *,
    method: Literal["dense", "sketch"] | None = None,
    rows: int = DENSE_SIDE,
    generator: torch.Generator | None = None,
) -> LocalCapacity:
    """The rank of d logits / d parameters of a causal model at the ends of distinct contexts.

    Dense where `upper` is at most 2,000 and the matrix has at most 1.3e8 cells; beyond, matrix-free by a sketch. The
    tolerance is the larger side of the matrix or sketch x 2.2e-16, and no less than four times the measured noise. A
    model that computes in less than float64 inside, as the norms of LLaMA do in float32 after `.double()`, or has no
    float64 form, is never certified; `uncertified` says where. The model is copied to float64 in evaluation mode and
    left unchanged.

    Args:
        model: model(tokens), tokens (B, T) int64, returns logits (B, T, zeta), or those of the last position alone,
            (B, 1, zeta) or (B, zeta); as a tensor, first in a tuple, or as the `.logits` of an object, as Hugging
            Face's models do. Parameters that are not trained stay fixed; shared ones count once.
        contexts: Token ids, or the unique contexts of a corpus whose ids are the model's.
        method: "dense" or "sketch"; by default chosen by size.
        rows: Maximum number of rows of a sketch, each of which costs a backward pass.
        generator: Draws the sketch; by default with a fixed seed.

    Returns:
        The rank, what bounds it, and how it was measured.

    Raises:
        ModelError: For a model that looks ahead, is random, has nothing to train or fails.
        DataError: For contexts that are empty, given twice, hold ids beyond its vocabulary or are longer than its
            positions.

    Source:
        Madden, Fox, Thrampoulidis (2025), Lemma 9, whose proof counts by this rank.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Embedding(3, 3).double()
        >>> netassay.local_capacity(model, [[0], [1]]).rank
        4
    """
    if method not in (None, "dense", "sketch") or rows < 1:
        raise ConfigError(f"method is {method!r}, rows {rows}; allowed are dense, sketch or None, and 1 or more rows")
    draws = generator if generator is not None else torch.Generator().manual_seed(0)
    found = predictor(model, contexts)
    parameters = found.parameters
    with torch.no_grad():
        n, zeta = found.logits().shape
    count = sum(p.numel() for p in parameters.values())
    upper = min(count, n * (zeta - 1))
    if upper == 0:
        return LocalCapacity(0, 0, "dense", False, 0.0, math.inf, n, zeta, count)
    seen = arithmetic(found)
    with torch.no_grad():
        require_causal(found, seen.epsilon)
    trusted = trust(found, seen, draws)
    if method is None:
        small = upper <= DENSE_SIDE and n * zeta * count <= DENSE_CELLS
        method = "dense" if small else "sketch"
    if method == "dense":
        matrix, some, whole, noise = _jacobian(found, parameters), upper + SPARE, True, trusted.noise
    else:
        some = min(rows, upper + SPARE)
        matrix, whole = _sketch(found, parameters, some, draws)
        # a row of the sketch has the noise of the whole matrix
        noise = trusted.noise * math.sqrt(some)
    counted = _counted(matrix, upper, noise)
    at_least = counted.rank < upper and not (whole and counted.rank < some)
    return LocalCapacity(
        counted.rank,
        upper,
        method,
        at_least,
        counted.tolerance,
        counted.gap,
        n,
        zeta,
        count,
        noise=counted.noise,
        uncertified=trusted.reason,
    )


def _jacobian(found: Predictor, parameters: Mapping[str, Tensor]) -> Float64[Tensor, "rows k"]:
    """Context by context, rows by reverse differentiation in blocks."""
    blocks = []
    for context in found.contexts:
        pull = Pull(found.of(context), parameters)
        zeta = pull.out.shape[1]
        units = torch.eye(zeta, dtype=torch.float64, device=pull.out.device)[:, None]
        blocks += [pull(some) for some in units.split(AT_ONCE)]
    return torch.cat(blocks)


@dataclass(frozen=True)
class _Counted:
    rank: int
    tolerance: float
    gap: float
    noise: float


def _counted(matrix: Tensor, upper: int, noise: float) -> _Counted:
    """The rank, never above `upper`: whatever singular value is left beyond it is noise too."""
    values = torch.linalg.svdvals(matrix)
    largest = float(values[0])
    if not largest > 0:
        return _Counted(0, max(matrix.shape) * EPS, math.inf, 0.0)
    beyond = float(values[upper]) if len(values) > upper else 0.0
    share = max(noise, beyond) / largest
    tolerance = max(max(matrix.shape) * EPS, MARGIN * share)
    rank = int((values[:upper] > tolerance * largest).sum())
    left = values[rank:upper]
    gap = float(values[rank - 1] / left[0]) if rank and len(left) and left[0] > 0 else math.inf
    return _Counted(rank, tolerance, gap, share)


def _sketch(
    found: Predictor, parameters: Mapping[str, Tensor], rows: int, generator: torch.Generator
) -> tuple[Float64[Tensor, "rows c"], bool]:
    """Random Gaussian combinations of the Jacobian's rows, each one reverse pass, and whether its columns are whole.

    Where they would not fit, columns are added up, with Gaussian weights, in 4 x `rows` random places.
    """
    pull = Pull(found, parameters)
    count = sum(p.numel() for p in parameters.values())
    whole = rows * count <= DENSE_CELLS
    device = pull.out.device
    places = torch.randint(0, 4 * rows, (0 if whole else count,), generator=generator).to(device)
    weights = torch.randn(len(places), generator=generator, dtype=torch.float64).to(device)
    blocks, at_once = [], AT_ONCE if whole else 1
    drawn = torch.randn(rows, *pull.out.shape, generator=generator, dtype=torch.float64)
    for some in drawn.split(at_once):
        block = pull(some.to(device))
        if not whole:
            block = block.new_zeros(len(block), 4 * rows).index_add_(1, places, block * weights)
        blocks.append(block)
    return torch.cat(blocks), whole
