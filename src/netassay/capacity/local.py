"""Local capacity of any next-token predictor: in how many directions its logits can move, at given contexts."""

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
        method: "dense" uses the entire matrix, "sketch" random combinations of its rows, which have the same rank with
            probability one if there are more of them than that.
        at_least: Whether `rank` only bounds the rank from below, the sketch having too few rows.
        tolerance: Never below four times the noise.
        gap: The smallest singular value counted over the largest not counted; inf if there is none.
        contexts: n.
        vocabulary: zeta.
        parameters: k.
        noise: Measured rounding error of the matrix, spread over all of it, over the largest singular value.
        uncertified: Why nothing is certified whatever the rank: the model computes in less than float64 inside. Empty
            where float64 was kept throughout.

    Source:
        Madden, Fox, Thrampoulidis (2024), Lemma 9.

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
        """n if the rank is n (zeta - 1), which certifies local capacity n here; 0 otherwise."""
        certified = self.full and not self.uncertified and self.upper == self.contexts * (self.vocabulary - 1)
        return self.contexts if certified else 0


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
        Madden, Fox, Thrampoulidis (2024), Lemma 9, whose proof counts by this rank.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Embedding(3, 3).double()
        >>> netassay.local_capacity(model, [[0], [1]]).rank
        4
    """
    if method not in (None, "dense", "sketch") or rows < 1:
        raise ConfigError(f"method is {method!r}, rows {rows}; allowed are dense, sketch or None, and 1 or more rows")
    draws = generator if generator is not None else torch.Generator().manual_seed(0)
    probe = predictor(model, contexts)
    parameters = probe.parameters
    with torch.no_grad():
        n, zeta = probe.logits().shape
    count = sum(p.numel() for p in parameters.values())
    upper = min(count, n * (zeta - 1))
    if upper == 0:
        return LocalCapacity(0, 0, "dense", False, 0.0, math.inf, n, zeta, count)
    precision = arithmetic(probe)
    with torch.no_grad():
        require_causal(probe, precision.epsilon)
    trusted = trust(probe, precision, draws)
    if method is None:
        small = upper <= DENSE_SIDE and n * zeta * count <= DENSE_CELLS
        method = "dense" if small else "sketch"
    if method == "dense":
        matrix, size, complete, noise = _jacobian(probe, parameters), upper + SPARE, True, trusted.noise
    else:
        size = min(rows, upper + SPARE)
        matrix, complete = _sketch(probe, parameters, size, draws)
        # a row of the sketch has the noise of the whole matrix
        noise = trusted.noise * math.sqrt(size)
    result = _rank_of(matrix, upper, noise)
    at_least = result.rank < upper and not (complete and result.rank < size)
    return LocalCapacity(
        result.rank,
        upper,
        method,
        at_least,
        result.tolerance,
        result.gap,
        n,
        zeta,
        count,
        noise=result.noise,
        uncertified=trusted.reason,
    )


def _jacobian(probe: Predictor, parameters: Mapping[str, Tensor]) -> Float64[Tensor, "rows k"]:
    """Context by context, rows by reverse differentiation in blocks."""
    blocks = []
    for context in probe.contexts:
        pull = Pull(probe.of(context), parameters)
        zeta = pull.logits.shape[1]
        units = torch.eye(zeta, dtype=torch.float64, device=pull.logits.device)[:, None]
        blocks += [pull(cotangents) for cotangents in units.split(AT_ONCE)]
    return torch.cat(blocks)


@dataclass(frozen=True)
class _Rank:
    rank: int
    tolerance: float
    gap: float
    noise: float


def _rank_of(matrix: Tensor, upper: int, noise: float) -> _Rank:
    """The rank, never above `upper`: any singular value beyond it is noise."""
    values = torch.linalg.svdvals(matrix)
    largest = float(values[0])
    if not largest > 0:
        return _Rank(0, max(matrix.shape) * EPS, math.inf, 0.0)
    beyond = float(values[upper]) if len(values) > upper else 0.0
    share = max(noise, beyond) / largest
    tolerance = max(max(matrix.shape) * EPS, MARGIN * share)
    rank = int((values[:upper] > tolerance * largest).sum())
    excluded = values[rank:upper]
    gap = float(values[rank - 1] / excluded[0]) if rank and len(excluded) and excluded[0] > 0 else math.inf
    return _Rank(rank, tolerance, gap, share)


def _sketch(
    probe: Predictor, parameters: Mapping[str, Tensor], rows: int, generator: torch.Generator
) -> tuple[Float64[Tensor, "rows c"], bool]:
    """Random Gaussian combinations of the Jacobian's rows, each one reverse pass, and whether its columns are complete.

    If they do not fit, columns are summed, with Gaussian weights, into 4 x `rows` random bins.
    """
    pull = Pull(probe, parameters)
    count = sum(p.numel() for p in parameters.values())
    complete = rows * count <= DENSE_CELLS
    device = pull.logits.device
    places = torch.randint(0, 4 * rows, (0 if complete else count,), generator=generator).to(device)
    weights = torch.randn(len(places), generator=generator, dtype=torch.float64).to(device)
    blocks, at_once = [], AT_ONCE if complete else 1
    directions = torch.randn(rows, *pull.logits.shape, generator=generator, dtype=torch.float64)
    for cotangents in directions.split(at_once):
        block = pull(cotangents.to(device))
        if not complete:
            block = block.new_zeros(len(block), 4 * rows).index_add_(1, places, block * weights)
        blocks.append(block)
    return torch.cat(blocks), complete
