"""The rank of psi(a b'), element by element: what Theorems 19 and 20 say and how much of it survives rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from netassay.errors import ConfigError
from netassay.numerics.devices import generator

DIGITS = 400
"""Decimal digits of the long arithmetic. Singular values of psi(a b') fall by 1.7 digits a row."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class MeasuredRank:
    """Rank of psi(a b') (n, m) in one arithmetic, and the rank that the theorem gives for almost all a and b.

    `theorem`: min(n, m, monomials of psi) for a polynomial (Theorem 19), min(n, m) for an activation that is real
    analytic but not polynomial (Theorem 20). In float32 and float64 `measured` counts singular values above
    max(n, m) x epsilon x the largest; in long arithmetic (`arithmetic` "400 digits") pivots of a complete
    elimination above 10^(-digits/2) x the largest.
    """

    activation: str
    n: int
    m: int
    arithmetic: str
    measured: int
    theorem: int
    seed: int


def _gelu(mp: Any, z: Any) -> Any:
    return z * (1 + mp.erf(z / mp.sqrt(2))) / 2


ANALYTIC: dict[str, Callable[[Any, Any], Any]] = {
    "tanh": lambda mp, z: mp.tanh(z),
    "gelu": _gelu,
    "sigmoid": lambda mp, z: 1 / (1 + mp.exp(-z)),
    "sin": lambda mp, z: mp.sin(z),
    "exp": lambda mp, z: mp.exp(z),
}

POLYNOMIALS: dict[str, tuple[int, ...]] = {
    "z + z^3": (1, 3),
    "1 + z + z^2": (0, 1, 2),
    "z^2 + z^5 + z^7 + z^8": (2, 5, 7, 8),
    "1 + z + ... + z^15": tuple(range(16)),
}
"""Exponents of the monomials, each with the coefficient 1."""

SHOWN = ("tanh", "gelu", *POLYNOMIALS)
_LONGEST = 4096


def ranks(
    activations: Sequence[str] = SHOWN,
    *,
    sizes: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    widths: Sequence[int] | None = None,
    seed: int = 0,
    digits: int = DIGITS,
) -> list[MeasuredRank]:
    """Measured ranks of psi(a b') (n, m), a and b standard normal, in float32, float64 and long arithmetic.

    Args:
        activations: Names of psi: tanh, gelu, sigmoid, sin, exp, or a polynomial.
        sizes: n (1 or more).
        widths: m (1 or more); by default m = n.
        seed: Seed of a and b.
        digits: Decimal digits of the long arithmetic; four are needed for each row.

    Returns:
        A row for each activation, shape and arithmetic.

    Raises:
        ConfigError: For an unknown activation, sizes below 1 or above 4,096, and too few digits.

    Source:
        Madden, Fox, Thrampoulidis (2024), Theorems 19 and 20.

    Example:
        >>> import netassay
        >>> [row.measured for row in netassay.ranks(["z + z^3"], sizes=[4])]
        [2, 2, 2]
    """
    for name in activations:
        if name not in ANALYTIC and name not in POLYNOMIALS:
            raise ConfigError(f"activation {name!r}: allowed are {', '.join([*ANALYTIC, *POLYNOMIALS])}")
    shapes = [(n, m) for n in sizes for m in ([n] if widths is None else widths)]
    for n, m in shapes:
        if min(n, m) < 1 or 4 * min(n, m) > digits:
            raise ConfigError(
                f"n = {n} and m = {m} with {digits} digits: both are at least 1, and four digits a row are needed"
            )
        if max(n, m) > _LONGEST:
            raise ConfigError(f"n = {n} and m = {m}: at most {_LONGEST:,} entries are drawn for each vector")
    return [row for name in activations for n, m in shapes for row in _of_shape(name, n, m, seed, digits)]


def _of_shape(name: str, n: int, m: int, seed: int, digits: int) -> list[MeasuredRank]:
    draws = generator(seed, "rank")
    # beginnings of the same draw for every shape
    a, b = (torch.randn(_LONGEST, generator=draws, dtype=torch.float64) for _ in range(2))
    exact = _matrix(name, a[:n].tolist(), b[:m].tolist(), digits)
    theorem = min(n, m) if name in ANALYTIC else min(n, m, len(POLYNOMIALS[name]))
    rounded = torch.tensor([[float(value) for value in row] for row in exact], dtype=torch.float64)
    by_kind = {kind: _float_rank(rounded.to(dtype)) for kind, dtype in DTYPES.items()}
    by_kind[f"{digits} digits"] = _long_rank(exact, digits)
    return [MeasuredRank(name, n, m, kind, rank, theorem, seed) for kind, rank in by_kind.items()]


def _matrix(name: str, a: list[float], b: list[float], digits: int) -> list[list[Any]]:
    from mpmath import mp

    with mp.workdps(digits):
        if name in ANALYTIC:
            return [[ANALYTIC[name](mp, mp.mpf(x) * y) for y in b] for x in a]
        powers = POLYNOMIALS[name]
        return [[sum(((mp.mpf(x) * y) ** p for p in powers), mp.mpf(0)) for y in b] for x in a]


def _float_rank(matrix: torch.Tensor) -> int:
    values = torch.linalg.svdvals(matrix)
    floor = max(matrix.shape) * torch.finfo(matrix.dtype).eps * values[0]
    return int((values > floor).sum())


def _long_rank(rows: list[list[Any]], digits: int) -> int:
    """Gaussian elimination with complete pivoting."""
    from mpmath import mp

    with mp.workdps(digits):
        rows = [list(row) for row in rows]
        floor = max(abs(x) for row in rows for x in row) * mp.mpf(10) ** (-digits // 2)
        rank = 0
        while rows and rows[0]:
            size, i, j = max((abs(x), i, j) for i, row in enumerate(rows) for j, x in enumerate(row))
            if size <= floor:
                break
            rank += 1
            pivot = rows.pop(i)
            head = pivot.pop(j)
            for row in rows:
                factor = row.pop(j) / head
                row[:] = [x - factor * y for x, y in zip(row, pivot, strict=True)]
        return rank
