"""Largest eigenvalues by the Jacobi-Davidson method, with a cheap approximation of the matrix as preconditioner."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.curvature.eigen import (
    PROBE_AHEAD,
    UNRESOLVED,
    Eigenpairs,
    Product,
    Ritz,
    Subspace,
    eigenpairs,
    error_bounds,
    most_products,
    probe,
    random_direction,
    room,
    rounding,
    slackest,
)
from netassay.numerics.seeds import given

BEGINNING, BEGUN = 20, 0.01  # maximum number of Lanczos steps on the cheap matrix; relative residual that ends them
INNER, SOLVED = 8, 0.05  # the same of each correction equation
NEAR = 0.05  # Ritz values of the cheap matrix within this of the k-th are starting vectors as well
CLOSE = 1e-3  # relative gap between Ritz values below which their coupling through the rest is neglected
COUPLED = 6  # maximum number of Ritz vectors beyond the k leading ones whose coupling is taken from A
CONTRACTION = 0.6  # of a residual in a plain Lanczos step, as measured on small networks (13 to 18 for 1e-3)
STALLED = 0.9  # contraction by one correction above which the next would gain nothing either
FASTEST, SLOWEST = 0.1, 0.9  # bounds on the predicted contraction of a residual
NEAREST = 0.2  # relative residual of B's leader; 0.14 at most was seen where it served, elsewhere 0.2 to 0.6
LARGEST_LOSS = 0.5  # of B's leading value, in A
DEVIATION = 0.25  # of an eigenvalue of A from that of B, in units of the residual that B's leader has in A
CORRECTIONS = 2  # expected number if B is useful
PROBE_LEAST = 3  # Krylov steps of the search; beside the leaders, which are in the subspace already


def davidson(
    product: Product,
    cheap: Product,
    size: int,
    *,
    share: float,
    k: int = 1,
    tolerance: float = 1e-3,
    generator: torch.Generator | None = None,
    max_products: int | None = None,
    search: bool = True,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Eigenpairs:
    """The k largest eigenvalues of a symmetric matrix A, as `eigen.lanczos`, in fewer products where a `cheap` matrix
    B that resembles A can be multiplied for a `share` (0 to 1) of the cost.

    A few Lanczos steps on B give Ritz vectors to begin from. Each further product is with an approximate solution t of
    (I - uu')(B - theta)(I - uu') t = -r for a Ritz pair (theta, u) of A with residual r, by Krylov least squares. It is
    plain Lanczos if the spectrum of B predicts that this is as quick, or if B's first Ritz vector has a large residual
    in A; if later residuals fall more slowly than Lanczos's would, the subspace is expanded by residuals.

    Args:
        product: v -> A v.
        cheap: v -> B v.
        size: Number of rows of A.
        share: Cost of a product with B, as a share of one with A (0 to 1).
        k: Number of eigenvalues (1 or more).
        tolerance: Relative tolerance of each value (0 to 1).
        generator: Draws the starting vectors; by default with a fixed seed.
        max_products: Maximum number of products with A; by default 100 + 30 k.
        search: Whether to search for larger eigenvalues that B does not show, by four products from a random vector.
            These see an outlier, not a neighbour a few per cent above the value.
        dtype: Of the vectors.
        device: Of the vectors.

    Returns:
        The eigenpairs; `products` counts those with A, `sampled` those with B.

    Raises:
        ModelError: For fewer products than eigenvalues, and if memory is too small for the vectors.
        NotFinite: For products that are not finite.

    Source:
        Sleijpen and van der Vorst (1996).

    Example:
        >>> a = torch.diag(torch.tensor([5.0, 3, 2, 1, 1, 1], dtype=torch.float64))
        >>> b = a + 0.1
        >>> pairs = davidson(lambda v: a @ v, lambda v: b @ v, 6, share=0.1, tolerance=1e-6)
        >>> round(float(pairs.values[0]), 6)
        5.0
    """
    k, generator = min(k, size), given(generator)
    limit = most_products(k, max_products)
    capacity, cramped = room(max(24, 2 * k + 12), k, size, dtype, torch.device(device))
    space = Subspace(product, size, capacity, dtype, torch.device(device), cramped)
    preconditioner = Preconditioner(cheap, share, tolerance)
    start = random_direction(space, generator)
    for u in preconditioner.leaders(start, k, search)[: limit - k + 1]:
        space.expand(u)
        if space.dimension == 1 and not preconditioner.represents(space.ritz(1)):
            break
    if not preconditioner.useful and space.products < limit:
        space.restart(0)  # with nothing of B left this is Lanczos's method, whose result needs no search
    if space.dimension == 0:
        space.expand(start)
    searched, searching = not search or (k == 1 and not preconditioner.useful), -1
    while True:
        ritz = space.ritz(k)
        floor, count = rounding(ritz.values, ritz.vectors.dtype), min(k, space.dimension)
        errors = preconditioner.errors(ritz, count) + floor
        loose = errors > tolerance * ritz.values[:count].abs() + 2 * floor
        complete = count == k and not bool(loose.any())
        if complete and searching >= 0:
            searched, searching = _nothing_above(space, tolerance, searching), -1
        if space.dimension == size or space.products >= limit or (complete and searched):
            converged = complete and (searched or space.dimension == size)
            pairs = eigenpairs(ritz, errors, count, space.products, converged)
            return preconditioner.accounted(pairs, search or space.dimension == size)
        if complete:
            remaining = limit - space.products
            searched = not probe(space, k, tolerance, generator, remaining, min_steps=PROBE_LEAST)
            preconditioner.begin_again()
            continue
        if space.full:
            # after this many steps, also from its vectors, this is Lanczos's method from a random start
            searched, searching = searched or searching >= 0, -1
            space.restart(min(k + 6, max(k, space.capacity - max(1, space.capacity // 3))))
        i = slackest(ritz, loose) if bool(loose.any()) else 0
        useful = preconditioner.useful
        if useful and not cramped:
            ritz = space.ritz(min(space.dimension, k + COUPLED))
        direction = preconditioner.correction(ritz, i)
        if useful and not preconditioner.useful and k == 1 and not searched:
            # a search now serves both purposes: Lanczos's method continues from it
            searching = _search(space, generator, limit)
        elif not space.expand(direction):
            space.expand(random_direction(space, generator))


def _search(space: Subspace, generator: torch.Generator, limit: int) -> int:
    """A few Krylov steps from a random vector; the index of the last in the basis, -1 if there was no room for them."""
    room = min(space.capacity - space.dimension, limit - space.products)
    if room <= PROBE_LEAST or not space.expand(random_direction(space, generator)):
        return -1
    steps = sum(space.continue_krylov() for _ in range(PROBE_LEAST))
    return space.dimension - 1 if steps == PROBE_LEAST else -1


def _nothing_above(space: Subspace, tolerance: float, last: int) -> bool:
    """Whether a search made before pair 0 converged stays below it, by the criterion of `probe`."""
    values, before = space.ritz(0).values, space.values_without(last)
    ahead = float(values[1] + PROBE_AHEAD * (values[1] - before[1]))
    return ahead <= float(values[0]) + tolerance * abs(float(values[0]))


class Preconditioner:
    """A cheap matrix B in place of the full one, and whether it has been useful so far."""

    def __init__(self, cheap: Product, share: float, tolerance: float) -> None:
        self.useful, self.products, self.share, self._tolerance = True, 0, share, tolerance
        self._cheap, self._leading = cheap, -math.inf
        self._below = math.inf  # upper estimate of the eigenvalues of B below the leading ones
        self._deviation = 0.0  # plausible difference of such an eigenvalue of A from that of B
        self._steps: list[tuple[int, float, float]] = []  # pair, residual and cost of each correction

    def product(self, v: Tensor) -> Tensor:
        self.products += 1
        return self._cheap(v)

    def leaders(self, start: Tensor, k: int, search: bool) -> list[Tensor]:
        """Its k leading Ritz vectors, and those of values near the k-th: what is one eigenvalue here may be two.

        None if Lanczos's method on A is expected to be as quick as continuing with B.
        """
        basis, t = krylov(self.product, start, BEGINNING, lambda t: _residual(t, k) <= BEGUN)
        if len(basis) == 0:
            return []
        values, mix = torch.linalg.eigh(t[:-1])
        values, mix = values.flip(0), mix.flip(1)
        bar, self._leading = values[min(k, len(values)) - 1], float(values[0])
        if len(values) > k:
            self._below = float(values[k] + t[-1, -1] * mix[-1, k].abs())
        count = min(k + 2, max(min(k, len(values)), int((values >= bar - NEAR * bar.abs()).sum())))
        ratio = max(_residual(t, k), 1e-16) * UNRESOLVED / self._tolerance
        usual = len(basis) + max(math.log(ratio) / -math.log(contraction(values, k - 1)), 0) + 1
        cost = count + CORRECTIONS * (1 + self.share * INNER) + (PROBE_LEAST + 1 if search else 0)
        self.useful = cost < usual
        return [*(mix[:, :count].T.to(basis) @ basis)] if self.useful else []

    def represents(self, leader: Ritz) -> bool:
        """Whether the leading eigenvector of B is near one of A that is as large."""
        value, residual, expected = float(leader.values[0]), float(leader.norms[0]), self._leading
        self._deviation = DEVIATION * residual
        self.useful = residual <= NEAREST * abs(value) and value >= expected - LARGEST_LOSS * abs(expected)
        return self.useful

    def errors(self, ritz: Ritz, count: int) -> Tensor:
        """Estimated errors of the leading values: by their residuals and the gap to the next value that B has, if it is
        useful; else those of Lanczos's method.
        """
        if not self.useful:
            return torch.maximum(error_bounds(ritz.values, ritz.norms, count), UNRESOLVED * ritz.norms[:count])
        following = float(ritz.values[count]) if len(ritz.values) > count else -math.inf
        scale = float(ritz.values[0]) / self._leading if self._leading > 0 else 1.0
        outside = max(self._below * scale + self._deviation, following)
        return error_bounds(ritz.values, ritz.norms[:count], count, outside)

    def correction(self, ritz: Ritz, i: int) -> Tensor:
        """The vector by which to expand the full subspace, for Ritz pair i: t, or the residual if B was not useful."""
        norm, r = float(ritz.norms[i]), ritz.residuals[i]
        self._watch(i, norm)
        if not self.useful:
            return r
        before = self.products
        basis, t = krylov(self._schur(ritz, i), r, INNER, lambda t: _unsolved(t) <= SOLVED)
        self._steps[-1] = i, norm, 1 + self.share * (self.products - before)
        return -_least_squares(t).to(basis) @ basis if len(basis) else r

    def _watch(self, i: int, norm: float) -> None:
        """Whether the last two corrections of a pair lowered its residual by more than Lanczos steps of their cost."""
        if self._steps and self._steps[-1][0] != i:
            self._steps = []
        last = self._steps[-2:]
        if last:
            latest = norm / last[-1][1]
            faster = norm <= last[0][1] * CONTRACTION ** sum(cost for _, _, cost in last)
            self.useful &= faster and latest < STALLED
        self._steps.append((i, norm, 1.0))

    def _schur(self, ritz: Ritz, i: int) -> Product:
        """B - theta on the complement of the Ritz vectors, less the effect of their coupling to it, known from A."""
        values, residuals = ritz.values[: len(ritz.vectors)] / ritz.unit, ritz.residuals
        theta = float(values[i])
        gaps = values - theta
        gaps[gaps.abs() < CLOSE * abs(theta)] = math.inf
        inverse = (1 / gaps).to(residuals)

        def product(v: Tensor) -> Tensor:
            image = self.product(v) / ritz.unit - theta * v - (inverse * (residuals @ v)) @ residuals
            return image - (ritz.vectors @ image) @ ritz.vectors

        return product

    def begin_again(self) -> None:
        """Forgets earlier steps after a search, whose products say nothing about B."""
        self._steps = []

    def accounted(self, pairs: Eigenpairs, searched: bool) -> Eigenpairs:
        return Eigenpairs(
            pairs.values,
            pairs.vectors,
            pairs.residuals,
            pairs.errors,
            pairs.products,
            pairs.converged,
            sampled=self.products,
            share=self.share,
            searched=searched,
        )


def contraction(values: Float[Tensor, " m"], i: int) -> float:
    """Of the residual of Ritz pair i in a step of Lanczos's method, by Chebyshev's polynomials on the values below."""
    if i + 2 >= len(values):
        return CONTRACTION
    gap = float((values[i] - values[i + 1]) / (values[i + 1] - values[-1]).clamp_min(1e-300))
    return min(max((math.sqrt(gap) + math.sqrt(1 + gap)) ** -2, FASTEST), SLOWEST)


def krylov(
    product: Product, start: Float[Tensor, " n"], steps: int, enough: Callable[[Tensor], bool]
) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m+1 m"]]:
    """Lanczos's basis from a vector and the tridiagonal matrix t that product(basis) is basis times, its last row
    what leads out of the basis; by three terms, as few steps keep it orthogonal. Fewer steps if t is `enough`.
    """
    norm, steps = float(torch.linalg.vector_norm(start)), min(steps, len(start))
    basis = start.new_empty(steps, len(start))
    diagonal: list[float] = []
    beside: list[float] = []
    t = torch.zeros(1, 0, dtype=torch.float64)
    image, m = start, 0
    while norm > 0 and math.isfinite(norm) and m < steps:
        v = torch.div(image, norm, out=basis[m])
        image = product(v)
        a = float(image @ v)
        image = torch.sub(image, v, alpha=a)  # not in place: it may be the vector itself
        if m:
            image.sub_(basis[m - 1], alpha=beside[-1])
        norm = float(torch.linalg.vector_norm(image))
        if not math.isfinite(a + norm):
            break
        m += 1
        diagonal.append(a)
        beside.append(norm)
        t = _tridiagonal(diagonal, beside)
        if norm <= 100 * torch.finfo(v.dtype).eps * float(t.abs().max()) or enough(t):
            break
    return basis[:m], t


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Float[Tensor, "m+1 m"]:
    m = len(diagonal)
    t = torch.zeros(m + 1, m, dtype=torch.float64)
    t[:m] = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for j, b in enumerate(beside):
        t[j + 1, j] = b
        if j + 1 < m:
            t[j, j + 1] = b
    return t


def _residual(t: Tensor, k: int) -> float:
    """The largest relative residual of the k leading Ritz pairs; infinite if there are fewer."""
    if t.shape[1] < k:
        return math.inf
    values, mix = torch.linalg.eigh(t[:-1])
    norms = t[-1, -1] * mix[-1, -k:].abs()
    return float((norms / values[-k:].abs().clamp_min(1e-300)).max())


def _least_squares(t: Tensor) -> Float[Tensor, " m"]:
    """Coefficients c that minimise |t c - e_1|."""
    first = torch.zeros(len(t), 1, dtype=t.dtype)
    first[0] = 1
    return torch.linalg.lstsq(t, first).solution[:, 0]


def _unsolved(t: Tensor) -> float:
    """The remaining share of the right-hand side."""
    residual = t @ _least_squares(t)
    residual[0] -= 1
    return float(torch.linalg.vector_norm(residual))
