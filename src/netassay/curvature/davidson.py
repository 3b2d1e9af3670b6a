"""Largest eigenvalues by the Jacobi-Davidson method, with a cheap approximation of the matrix as preconditioner."""

from __future__ import annotations

import torch

from netassay.curvature.eigen import (
    PROBE_AHEAD,
    Eigenpairs,
    Product,
    Subspace,
    eigenpairs,
    most_products,
    probe,
    random_direction,
    room,
    rounding,
    slackest,
)
from netassay.curvature.preconditioner import PROBE_LEAST, Preconditioner
from netassay.numerics.devices import generator_or_default

COUPLED = 6  # maximum number of Ritz vectors beyond the k leading ones whose coupling is taken from A


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
    k = min(k, size)
    capacity, cramped = room(max(24, 2 * k + 12), k, size, dtype, torch.device(device))
    space = Subspace(product, size, capacity, dtype, torch.device(device), cramped)
    return run_davidson(
        space,
        Preconditioner(cheap, share, tolerance),
        k=k,
        tolerance=tolerance,
        generator=generator,
        max_products=max_products,
        search=search,
    )


def run_davidson(
    space: Subspace,
    preconditioner: Preconditioner,
    *,
    k: int,
    tolerance: float,
    generator: torch.Generator | None,
    max_products: int | None,
    search: bool = True,
) -> Eigenpairs:
    """`davidson` on an empty subspace, which afterwards holds the Ritz vectors."""
    size, cramped, k, generator = space.size, space.cramped, min(k, space.size), generator_or_default(generator)
    limit = most_products(k, max_products)
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
