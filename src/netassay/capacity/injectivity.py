"""How far apart the scalar maps of Theorems 17 and 22 keep the contexts of a corpus, in float32 and float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from netassay.corpus import context
from netassay.corpus.context import Contexts
from netassay.corpus.target import Targets, targets
from netassay.errors import ConfigError, DataError
from netassay.numerics.devices import generator

ScalarMap = Literal["attention", "averaging"]
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Separation:
    """Images of n contexts under one draw of a scalar map, in one arithmetic.

    `smallest` is the least distance of two neighbours among the sorted images, over `width`, the distance of the
    least and the greatest; 0 where two contexts have the same image, which happens to `collisions` pairs of
    neighbours. `least_image` is the smallest |image|: the theorems also exclude 0.
    """

    documents: int
    contexts: int
    scalar_map: ScalarMap
    dtype: str
    seed: int
    smallest: float
    collisions: int
    least_image: float
    width: float


def separations(
    contexts: Contexts, *, sizes: Sequence[int] | None = None, seeds: Sequence[int] = tuple(range(9))
) -> list[Separation]:
    """The smallest gap between images of distinct contexts against their number n.

    The maps: attention f = <x, softmax(x x_last)> with x = z[alpha] + u[1:|alpha|], and averaging, sum over t of u_t
    z[alpha_t]; z and u are standard normal, drawn once for each seed and rounded to the arithmetic, in which
    everything is then computed. A generic gap of n images falls as 1 / n^2.

    Args:
        contexts: Contexts of the corpus.
        sizes: Numbers of documents from the beginning of the corpus; by default all, and twelve smaller ones, each
            smaller by the root of 2.
        seeds: Seeds of the draws.

    Returns:
        A row for each size, map, arithmetic and seed.

    Raises:
        ConfigError: For a size that the corpus does not have.
        DataError: For a corpus without a context.

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorems 17 and 22.

    Example:
        >>> import netassay
        >>> rows = netassay.separations(netassay.contexts([[0, 1, 2], [0, 2, 1]]), seeds=[0])
        >>> all(row.smallest > 0 for row in rows if row.contexts > 1)
        True
    """
    total = len(contexts.corpus)
    sizes = sorted({max(1, round(total / 2 ** (i / 2))) for i in range(13)}) if sizes is None else list(sizes)
    for size in sizes:
        if not 1 <= size <= total:
            raise ConfigError(f"size {size} of sizes: the corpus has {total} documents; give 1 to {total}")
    if not contexts.n:
        raise DataError("no document has two tokens, so there is no context to map")
    full = targets(contexts)
    ids = np.unique(contexts.corpus.tokens)
    longest = full.sequences.shape[1]
    rows = []
    for size in sizes:
        part = context.contexts(contexts.corpus.select(np.arange(total) < size), window=contexts.window)
        if not part.n:
            continue
        to = targets(part)
        # tokens of the part in the numbering of the full corpus, so that one draw serves all sizes
        names = torch.from_numpy(np.searchsorted(ids, np.unique(part.corpus.tokens)))
        tokens = names[to.sequences]
        for seed in seeds:
            z, u = _draw(full.vocabulary, longest, seed)
            for name, dtype in DTYPES.items():
                for scalar_map in ("attention", "averaging"):
                    images = _images(tokens, to, z.to(dtype), u.to(dtype), scalar_map)
                    rows.append(_separation(images, size, scalar_map, name, seed))
    return rows


def scalar_attention(
    tokens: Int64[Tensor, "B T"], z: Float[Tensor, " zeta"], u: Float[Tensor, " T"]
) -> Float[Tensor, "B T"]:
    """<x, softmax(x x_last)> of every prefix, x = z[alpha] + u[1:|alpha|] (Theorem 17), in the arithmetic of z."""
    x = z[tokens] + u[: tokens.shape[1]]
    images = []
    for t in range(tokens.shape[1]):
        prefix = x[:, : t + 1]
        images.append((prefix * (prefix * prefix[:, -1:]).softmax(1)).sum(1))
    return torch.stack(images, dim=1)


def scalar_average(
    tokens: Int64[Tensor, "B T"], z: Float[Tensor, " zeta"], u: Float[Tensor, " T"]
) -> Float[Tensor, "B T"]:
    """sum over s <= t of u_s z[alpha_s] of every prefix (Theorem 22), in the arithmetic of z."""
    return (z[tokens] * u[: tokens.shape[1]]).cumsum(1)


def _draw(vocabulary: int, longest: int, seed: int) -> tuple[Tensor, Tensor]:
    draws = generator(seed, "injectivity")
    u = torch.randn(longest, generator=draws, dtype=torch.float64)
    return torch.randn(vocabulary, generator=draws, dtype=torch.float64), u


def _images(tokens: Tensor, to: Targets, z: Tensor, u: Tensor, scalar_map: ScalarMap) -> Tensor:
    of = scalar_attention if scalar_map == "attention" else scalar_average
    return of(tokens, z, u).flatten()[to.places]


def _separation(images: Tensor, documents: int, scalar_map: ScalarMap, dtype: str, seed: int) -> Separation:
    ordered = images.double().sort().values  # exact: float32 numbers are float64 numbers
    gaps = ordered.diff()
    width = float(ordered[-1] - ordered[0])
    smallest = float(gaps.min()) / width if width > 0 else float("nan")
    return Separation(
        documents=documents,
        contexts=len(images),
        scalar_map=scalar_map,
        dtype=dtype,
        seed=seed,
        smallest=smallest,
        collisions=int((gaps == 0).sum()),
        least_image=float(images.abs().min()),
        width=width,
    )
