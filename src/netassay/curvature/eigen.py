"""Largest eigenvalues of a symmetric matrix known only by products, and how far such a matrix is from symmetric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from netassay.errors import ModelError, NotFinite
from netassay.numerics import devices
from netassay.numerics.devices import generator_or_default

Product = Callable[[Tensor], Tensor]
"""v (n,) -> A v (n,) for a symmetric A."""

UNRESOLVED = 4.0
"""Bound on the error of an eigenvalue found from a random vector, in units of its residual, whatever the gap seems.

A Ritz vector that mixes two eigenvectors not yet resolved, at an angle t to the first, has an error of tan t times
its residual, and the two of a random vector mix at tan t <= 4 in five cases of six before the first is favoured.
"""

PROBE_AHEAD = 3.0
PROBE_LEAST = 5  # Krylov steps before a random probe says anything about an outlier


@dataclass(frozen=True)
class Eigenpairs:
    """The k largest eigenvalues (algebraic, descending) of a symmetric n x n matrix.

    Attributes:
        values: (k,) float64, descending.
        vectors: (n, k) unit columns.
        residuals: (k,) ||A v - value v||.
        errors: (k,) estimated absolute error of each value.
        products: Matrix-vector products spent.
        converged: Whether every error came below the tolerance before the products ran out.
        sampled: Products with a cheaper matrix (see `davidson`), spent besides.
        share: Cost of one of those, as a share of a product (0 to 1).
        searched: Whether larger eigenvalues were searched for from a random vector.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> result = netassay.sharpness(model, torch.nn.functional.mse_loss, [(x, y)], blocks="layer")
        >>> result.blocks["1"].values.shape
        torch.Size([1])
    """

    values: Float[Tensor, " k"]
    vectors: Float[Tensor, "n k"]
    residuals: Float[Tensor, " k"]
    errors: Float[Tensor, " k"]
    products: int
    converged: bool = False
    sampled: int = 0
    share: float = 0.0
    searched: bool = True

    def plot(self) -> Any:
        """The eigenvalues with their errors, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @property
    def cost(self) -> float:
        """All products, in products with the matrix itself."""
        return self.products + self.share * self.sampled


@dataclass(frozen=True)
class Ritz:
    """Ritz pairs of a subspace, descending: all m values, and of the leading ones vectors, residuals over
    `unit`, the norms of the residuals.
    """

    values: Tensor  # (m,) float64
    vectors: Tensor  # (count, n)
    residuals: Tensor  # (count, n)
    norms: Tensor  # (count,) float64
    unit: float


class Subspace:
    """An orthonormal basis V, its image W = A V, kept over `unit`, and the projected matrix V'AV.

    Expanded by a residual from one starting vector this is Lanczos with full re-orthogonalisation, its
    restart the thick restart of Wu and Simon (2000); from several inexact vectors it is Davidson's method
    (Morgan and Scott 1986). `cramped` says that memory allowed fewer vectors than desired.
    """

    def __init__(
        self,
        product: Product,
        size: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
        cramped: bool = False,
    ) -> None:
        self.cramped = cramped
        self.size, self.capacity, self.dimension, self.products = size, min(capacity, size), 0, 0
        self.unit = 1.0
        self._product = product
        self._basis = torch.empty(self.capacity, size, dtype=dtype, device=device)
        self._images = torch.empty_like(self._basis)
        self._projected = torch.zeros(self.capacity, self.capacity, dtype=torch.float64)

    @property
    def full(self) -> bool:
        return self.dimension == self.capacity

    def expand(self, direction: Float[Tensor, " n"]) -> bool:
        """Adds the new part of a direction, at the cost of one product; False if there is none, or no
        room.
        """
        v = None if self.full else self._orthonormal(direction)
        if v is None:
            return False
        m = self.dimension
        self._basis[m] = v
        image = self._product(v)
        self.products += 1
        if m == 0:
            self.unit = unit_of(image)
        self._images[m] = image if self.unit == 1 else image / self.unit
        column = (self._basis[: m + 1] @ self._images[m]).double().cpu() * self.unit
        if not bool(column.isfinite().all()):
            raise NotFinite(
                "a curvature product is not finite although loss and gradient are; is a derivative infinite?"
            )
        self._projected[m, : m + 1] = self._projected[: m + 1, m] = column
        self.dimension += 1
        return True

    def continue_krylov(self, apart: Tensor | None = None) -> bool:
        """Expands by the image of the newest basis vector, less its part along the rows of `apart`."""
        return self.expand(_less(self._images[self.dimension - 1], apart))

    def rayleigh(self, i: int) -> Tensor:
        """Rayleigh quotient of basis vector i, () float64."""
        return self._projected[i, i].clone()

    def ritz(self, count: int) -> Ritz:
        """All Ritz values, and the `count` leading pairs in full."""
        m = self.dimension
        values, mix = torch.linalg.eigh(self._projected[:m, :m])
        values, mix = values.flip(0), mix.flip(1)[:, :count].T.to(self._basis)  # (count, m)
        vectors = mix @ self._basis[:m]
        residuals = mix @ self._images[:m] - (values[:count, None] / self.unit).to(self._basis) * vectors
        norms = torch.linalg.vector_norm(residuals, dim=1).double().cpu() * self.unit
        return Ritz(values, vectors, residuals, norms, self.unit)

    def values_without(self, i: int) -> Tensor:
        """All Ritz values, descending, of the span of the basis vectors without number i."""
        rows = [j for j in range(self.dimension) if j != i]
        return torch.linalg.eigvalsh(self._projected[rows][:, rows]).flip(0)

    def restart(self, keep: int) -> None:
        """Shrinks the subspace to its leading Ritz vectors."""
        m, keep = self.dimension, min(keep, self.dimension)
        values, mix = torch.linalg.eigh(self._projected[:m, :m])
        mix = mix.flip(1)[:, :keep].T.to(self._basis)
        self._basis[:keep] = mix @ self._basis[:m]
        self._images[:keep] = mix @ self._images[:m]
        self._projected[:keep, :keep] = torch.diag(values.flip(0)[:keep])
        self.dimension = keep

    def _orthonormal(self, direction: Tensor) -> Tensor | None:
        basis = self._basis[: self.dimension]
        norm = float(torch.linalg.vector_norm(direction))
        if norm == 0 or not math.isfinite(norm):
            return None
        v, remaining = direction / norm, 1.0
        while True:
            v = v - (basis @ v) @ basis
            norm = float(torch.linalg.vector_norm(v))
            remaining *= norm
            if remaining < 100 * torch.finfo(v.dtype).eps:
                return None
            v = v / norm
            if norm > 0.7:  # little was subtracted, so little cancelled (Daniel, Gragg, Kaufman, Stewart 1976)
                return v


def unit_of(vector: Tensor) -> float:
    """A power of two to divide by before squares are summed: 1 unless they would leave the range of float32."""
    largest = float(vector.abs().max()) if len(vector) else 0.0
    if largest == 0 or not math.isfinite(largest) or 1e-9 < largest < 1e9:
        return 1.0
    return 2.0 ** math.frexp(largest)[1]


def room(capacity: int, k: int, size: int, dtype: torch.dtype, device: torch.device) -> tuple[int, bool]:
    """Number of basis vectors that fit into memory, up to `capacity`, and whether that is fewer: Lanczos's method then
    restarts more often. ModelError if it is too few for k eigenvalues: allocating them would kill the process later.
    """
    capacity = min(capacity, size)
    free = devices.free_memory(device)
    fit = math.inf if free is None else free // (size * dtype.itemsize)
    if 2 * capacity <= fit:
        return capacity, False
    # besides basis and images, memory has to hold Ritz vectors, residuals and the vector being orthogonalised
    fewest, beside = min(k + 2, size), 3 * k + 4
    if (fit - beside) // 2 >= fewest:
        return int((fit - beside) // 2), True
    fewer = max(0, (int(fit) - 8) // 5)
    require_vectors(
        2 * fewest + beside,
        size,
        dtype,
        device,
        lambda fit: (
            (
                f"room for k up to {fewer}; ask for fewer eigenvalues, "
                if fewer
                else "fewer than one eigenvalue needs; ask "
            )
            + "for blocks instead of the whole, or for float32"
        ),
    )
    raise AssertionError("unreachable: what does not fit was refused")


def require_vectors(
    count: int, size: int, dtype: torch.dtype, device: torch.device, advice: Callable[[int], str]
) -> None:
    """ModelError with `advice(how many fit)` if `count` vectors of `size` numbers do not fit into memory."""
    free = devices.free_memory(device)
    vector = size * dtype.itemsize
    if free is not None and count * vector > free:
        fit = free // vector
        raise ModelError(
            f"{count} vectors of {size:,} numbers need {count * vector / 1e9:.1f} GB, and on {device} "
            f"{free / 1e9:.1f} GB are free: {fit} vectors fit, {advice(fit)}"
        )


def error_bounds(values: Tensor, norms: Tensor, k: int, outside: float = -math.inf) -> Float[Tensor, " k"]:
    """Estimated errors of the k leading Ritz values from residual norms and gaps, never above the
    residual's.

    The bound of Li and Li (2005), 2 e^2 / (gap + sqrt(gap^2 + 4 e^2)) with e the residual norm of the
    leading i pairs, approaches e as the gap closes and e^2 / gap as it opens. The gap reaches to the next
    Ritz value plus its residual, or to `outside`, an upper estimate of eigenvalues that have no part in the
    subspace, whichever is nearer. As both are estimates of the true next eigenvalue, so is the result.
    """
    errors = torch.full((k,), math.inf, dtype=torch.float64)
    for i in range(k):
        for j in range(i, k):
            e = float(norms[: j + 1].square().sum().sqrt())
            following = float(values[j + 1] + norms[j + 1]) if j + 1 < len(norms) else math.nan
            upper = max(following, outside) if following == following else outside
            gap = max(float(values[i]) - upper, 0.0) if math.isfinite(upper) else 0.0
            bound = 2 * e * e / (gap + math.hypot(gap, 2 * e)) if e > 0 else 0.0
            errors[i] = min(float(errors[i]), bound)
    return errors


def slackest(ritz: Ritz, loose: Tensor) -> int:
    """The pair by whose residual to expand: a pair's error also depends on the residuals of all pairs before it."""
    last = int(loose.nonzero().max()) if bool(loose.any()) else len(loose) - 1
    return int(ritz.norms[: last + 1].argmax())


def rounding(values: Tensor, dtype: torch.dtype) -> float:
    """Absolute error that the arithmetic of the products leaves in any Ritz value."""
    return 16 * torch.finfo(dtype).eps * float(values.abs().max())


def lanczos(
    product: Product,
    size: int,
    *,
    k: int = 1,
    tolerance: float = 1e-3,
    start: Float[Tensor, "n ..."] | None = None,
    generator: torch.Generator | None = None,
    max_products: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Eigenpairs:
    """The k largest eigenvalues of a symmetric matrix, to `tolerance` relative to each by its own error
    estimate: that of `error_bounds`, but never below the residual, and from a random start never below four times
    the residual (see UNRESOLVED).

    k above `size` gives the full spectrum. Without `start` it begins from a random vector of `generator`
    (default: a fixed seed); with it, from the given (n,) or columns of (n, s), and before it ends it
    searches the complement from a random vector, so that a direction absent from `start` that has overtaken
    is found. It also does so for k above 1, where one Krylov sequence holds a multiple eigenvalue only once.
    Stops unconverged after `max_products` (default 100 + 30 k): errors and `converged` then say so. Where memory
    does not hold the 48 vectors or more of a search, it restarts in as many as fit, from 13 on, and needs more
    products. Raises ModelError for products that are not finite, and for fewer products than eigenvalues.
    """
    columns = 0 if start is None else start.numel() // size
    capacity = min(max(24, 2 * k + 12, columns + 12), size)
    capacity, cramped = room(capacity, k, size, dtype, torch.device(device))
    space = Subspace(product, size, capacity, dtype, torch.device(device), cramped)
    return run_lanczos(space, k=k, tolerance=tolerance, start=start, generator=generator, max_products=max_products)


def run_lanczos(
    space: Subspace,
    *,
    k: int,
    tolerance: float,
    start: Tensor | None,
    generator: torch.Generator | None,
    max_products: int | None,
) -> Eigenpairs:
    """`lanczos` on an empty subspace, which afterwards holds what was found."""
    size, k = space.size, min(k, space.size)
    generator = generator_or_default(generator)
    limit = most_products(k, max_products)
    for column in () if start is None else start.reshape(size, -1).unbind(1):
        space.expand(column)
    cold = space.dimension == 0
    # given vectors are no random mixture, and a search beyond them follows below
    unresolved = UNRESOLVED if cold else 1.0
    probed = k == 1 and cold
    if cold:
        space.expand(random_direction(space, generator))
    while True:
        ritz = space.ritz(k if space.cramped else k + 1)
        floor = rounding(ritz.values, ritz.vectors.dtype)
        count = min(k, space.dimension)
        errors = error_bounds(ritz.values, ritz.norms, count)
        errors = torch.maximum(errors, unresolved * ritz.norms[:count]) + floor
        loose = errors > tolerance * ritz.values[:count].abs() + 2 * floor
        complete = count == k and not bool(loose.any())
        if space.dimension == size or space.products >= limit or (complete and probed):
            converged = complete and (probed or space.dimension == size)
            return eigenpairs(ritz, errors, count, space.products, converged)
        if complete:
            # each search can find one more copy of a multiple eigenvalue
            probed = not probe(space, k, tolerance, generator, limit - space.products)
            continue
        if space.full:
            space.restart(min(k + 6, max(k, space.capacity - max(1, space.capacity // 3))))
        if not bool(loose.any()) or not space.expand(ritz.residuals[slackest(ritz, loose)]):
            space.expand(random_direction(space, generator))


def most_products(k: int, max_products: int | None) -> int:
    """The given bound on products, by default 100 + 30 k. ModelError for fewer products than eigenvalues."""
    limit = 100 + 30 * k if max_products is None else max_products
    if limit < k:
        raise ModelError(
            f"max_products={limit} cannot give k={k} eigenvalues: each needs at least one product, and about 10 to "
            "converge; give more products or ask for fewer eigenvalues"
        )
    return limit


def _less(vector: Tensor, apart: Tensor | None) -> Tensor:
    return vector if apart is None else vector - (apart @ vector) @ apart


def probe(
    space: Subspace,
    k: int,
    tolerance: float,
    generator: torch.Generator,
    max_steps: int,
    apart: Float[Tensor, "j n"] | None = None,
    min_steps: int = PROBE_LEAST,
) -> bool:
    """Searches outside the k leading Ritz vectors from a random vector; True if that changed the k leading
    values. The rows of `apart`, near eigenvectors known from elsewhere, are excluded from the search.

    Runs for at least `min_steps` steps, since a random vector does not reveal outliers before; then until
    the highest of the other Ritz values, and as far again as PROBE_AHEAD times its last rise, stays below the
    k-th value, or one of them takes a leader's place.
    """
    if space.capacity < space.size:
        space.restart(max(k, min(k + 6, space.capacity - PROBE_LEAST - 1)))
    before = space.ritz(0).values[:k].sum()
    if space.full or not space.expand(_less(random_direction(space, generator), apart)):
        return False
    highest = -math.inf
    for step in range(1, max_steps):
        if space.full or not space.continue_krylov(apart):
            break
        values = space.ritz(0).values
        bar, last, highest = float(values[k - 1]), highest, float(values[k])
        if step < min_steps:
            continue
        ahead = highest + PROBE_AHEAD * (highest - last)
        if ahead <= bar + tolerance * abs(bar) or _risen(space, before, k, tolerance):
            break
    return _risen(space, before, k, tolerance)


def _risen(space: Subspace, before: Tensor, k: int, tolerance: float) -> bool:
    return float(space.ritz(0).values[:k].sum() - before) > tolerance * abs(float(before))


def random_direction(space: Subspace, generator: torch.Generator) -> Float[Tensor, " n"]:
    """A standard normal vector, drawn on the generator's device."""
    device = generator.device
    return torch.randn(space.size, generator=generator, dtype=space._basis.dtype, device=device).to(space._basis.device)


def eigenpairs(ritz: Ritz, errors: Tensor, k: int, products: int, converged: bool) -> Eigenpairs:
    """The k leading Ritz pairs of a subspace as a result.

    Args:
        ritz: Ritz pairs, descending.
        errors: (m,) estimated absolute error of each value.
        k: Number of pairs (1 or more).
        products: Matrix-vector products spent.
        converged: Whether every error is below the tolerance.

    Returns:
        The pairs, their vectors as columns.

    Example:
        >>> import torch
        >>> from netassay.curvature import eigenpairs
        >>> from netassay.curvature.eigen import Ritz
        >>> ritz = Ritz(torch.tensor([3.0, 1.0]), torch.eye(2), torch.zeros(2, 2), torch.zeros(2), 1.0)
        >>> eigenpairs(ritz, torch.zeros(2), 1, products=2, converged=True).vectors.shape
        torch.Size([2, 1])
    """
    return Eigenpairs(
        ritz.values[:k].clone(), ritz.vectors[:k].T, ritz.norms[:k].clone(), errors[:k], products, converged
    )


_PIECE = 2**17  # numbers converted to float64 at once, few enough for a processor's cache


def asymmetry(u: Tensor, hu: Tensor, v: Tensor, hv: Tensor) -> float:
    """sqrt(n) |u'Hv - v'Hu| / max(|Hu|, |Hv|) for unit u and v: the difference of the two sides, equal for a
    symmetric H, as a share of the products; the square root compensates for the small overlap of random vectors.
    """
    sums = torch.zeros(6, dtype=torch.float64, device=u.device)
    for a, ha, b, hb in zip(*(t.split(_PIECE) for t in (u, hu, v, hv)), strict=True):
        a, ha, b, hb = a.double(), ha.double(), b.double(), hb.double()
        sums += torch.stack([a @ hb, b @ ha, a @ a, b @ b, ha @ ha, hb @ hb])
    left, right, uu, vv, huhu, hvhv = sums.tolist()
    size = max((huhu / uu) ** 0.5, (hvhv / vv) ** 0.5)
    return len(u) ** 0.5 * abs(left - right) / (uu * vv) ** 0.5 / size if size > 0 else 0.0
