"""The spectral density of a symmetric matrix known only by products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.curvature.curvature import Curvature, Kind
from netassay.curvature.eigen import Product, require_vectors, unit_of
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.model import Blocks
from netassay.curvature.symmetric import Symmetric, whole_and_blocks
from netassay.errors import ModelError
from netassay.numerics.devices import generator_or_default

_STILL = 0.01  # of the spectrum's width


@dataclass(frozen=True)
class Density:
    """Where the n eigenvalues of a symmetric matrix lie, as quadrature rules of random vectors.

    Attributes:
        nodes: (probes, m) float64, ascending: the Gauss rule of the spectral distribution as each random vector sees
            it.
        weights: (probes, m), each row summing to 1.
        size: n, the size of the matrix.
        products: Matrix-vector products spent.
        exact: Whether the nodes are all n eigenvalues.
        blocks: The same for each diagonal block.
        converged: Whether three Lanczos steps fewer would have moved the eigenvalues by at most 1 % of the width of
            the spectrum on average.

    Source:
        Golub, Welsch (1969).

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> density = netassay.spectral_density(model, torch.nn.functional.mse_loss, [(x, y)])
        >>> density.size, density.nodes.shape[1]
        (4, 4)
    """

    nodes: Float[Tensor, "probes m"]
    weights: Float[Tensor, "probes m"]
    size: int
    products: int
    exact: bool = False
    blocks: Mapping[str, Density] = field(default_factory=dict)
    converged: bool = False

    def cumulative(self, at: Float[Tensor, " x"]) -> tuple[Float[Tensor, " x"], Float[Tensor, " x"]]:
        """Lower and upper bound of the share of eigenvalues <= each of `at`.

        For one vector the Gauss rule bounds its distribution without doubt: all nodes below from below, and
        one more node from above (Chebyshev, Markov, Stieltjes). Two standard deviations of a uniformly random
        vector are added, 2 F (1 - F) / ((n + 2) probes) being its variance (a Beta law).
        """
        below = self.nodes[:, :, None] <= at[None, None].to(self.nodes)  # (probes, m, x)
        share = (below * self.weights[:, :, None]).sum(1)  # (probes, x)
        if self.exact:
            return share.mean(0), share.mean(0)
        # the first node above and the last below: the distribution jumps somewhere between them
        count = below.sum(1)
        padded = torch.nn.functional.pad(self.weights, (1, 1))
        low = (share - padded.gather(1, count)).mean(0)
        high = (share + padded.gather(1, count + 1)).mean(0)
        return self._widened(low, -1), self._widened(high, 1)

    def smoothed(self, at: Float[Tensor, " x"], width: float) -> tuple[Float[Tensor, " x"], Float[Tensor, " x"]]:
        """Density per unit of eigenvalue, every eigenvalue drawn as a Gaussian of deviation `width`, and its
        estimated error.

        The error adds the standard error over the probes (of two or more) to the difference that the last
        three Lanczos steps made; where it is large compared with the density, `width` is too small for the steps
        taken.
        """
        rows = _gaussian(self.nodes, self.weights, at.to(self.nodes), width)
        if self.exact:
            return rows.mean(0), torch.zeros_like(rows[0])
        shorter = _shortened(self.nodes, self.weights)
        steps = (rows - _gaussian(*shorter, at.to(self.nodes), width)).abs().mean(0)
        spread = rows.std(0) / math.sqrt(len(rows)) if len(rows) > 1 else torch.zeros_like(steps)
        return rows.mean(0), steps + spread

    def plot(self) -> Any:
        """The smoothed density of the whole and of each block, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @property
    def mean(self) -> float:
        """Mean of the eigenvalues, the trace over n."""
        return float((self.nodes * self.weights).sum(1).mean())

    def _widened(self, share: Tensor, sign: int) -> Tensor:
        inside = share.clamp(0, 1)
        slack = 2 * (2 * inside * (1 - inside) / ((self.size + 2) * len(self.nodes))).sqrt()
        return (inside + sign * slack).clamp(0, 1)


def spectral_density(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    steps: int = 50,
    probes: int = 1,
    blocks: Literal["layer"] | Blocks | None = None,
    kind: Kind = "hessian",
    generator: torch.Generator | None = None,
    reduction: Literal["mean", "sum"] | None = None,
    weights: Weights | None = None,
    head: Head | None = None,
    memory: float | int | None = None,
) -> Density:
    """Spectral density of the Hessian or Gauss-Newton matrix of the loss over all batches, and of each block.

    A large matrix needs one probe only, since a random vector's share of k eigenvalues among n deviates by less than 1
    / sqrt(2 n). A network or block with no more parameters than products is solved exactly.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: Batches of (x, y) that can be iterated repeatedly.
        steps: Lanczos steps from each probe (1 or more).
        probes: Number of random vectors (1 or more); steps x probes products are spent on each matrix.
        blocks: None, "layer", or block name -> parameter names.
        kind: "hessian" or "ggn" (Gauss-Newton).
        generator: Draws the probes; by default with a fixed seed.
        reduction: How the loss reduces its terms, as for `sharpness`.
        weights: Number of terms of each batch, as for `sharpness`.
        head: Which output the loss is taken of, as for `sharpness`.
        memory: Bytes for gradient graphs, as for `sharpness`.

    Returns:
        The density of all parameters and, in `blocks`, of each block.

    Raises:
        ModelError: For a module or loss without well-defined curvature.
        DataError: For batches that do not fit the loss.

    Source:
        Ghorbani, Krishnan, Xiao (2019); Papyan (2018); Gauss quadrature by Golub, Welsch (1969).

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> netassay.spectral_density(model, torch.nn.functional.mse_loss, [(x, y)]).exact
        True
    """
    generator = generator_or_default(generator)
    with Curvature(
        model, loss, batches, kind=kind, blocks=blocks, reduction=reduction, weights=weights, head=head, memory=memory
    ) as curvature:
        return curvature_density(curvature, steps=steps, probes=probes, generator=generator)


def curvature_density(curvature: Symmetric, *, steps: int, probes: int = 1, generator: torch.Generator) -> Density:
    """`lanczos_quadrature` of a curvature and of each of its blocks."""
    density, parts = whole_and_blocks(curvature, lanczos_quadrature, steps=steps, probes=probes, generator=generator)
    return replace(density, blocks=parts)


def lanczos_quadrature(
    product: Product,
    size: int,
    *,
    steps: int = 50,
    probes: int = 1,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Density:
    """Stochastic Lanczos quadrature (Golub and Welsch 1969; Ubaru, Chen, Saad 2017; for networks: Ghorbani,
    Krishnan, Xiao 2019), with full re-orthogonalisation.

    Memory: `steps` vectors. Raises ModelError for fewer than 4 steps or no probe, for more vectors than fit, and
    for products that are not finite.
    """
    if not (isinstance(steps, int) and isinstance(probes, int) and steps >= 4 and probes >= 1):
        raise ModelError(
            f"steps={steps}, probes={probes}: a density needs whole numbers, at least 4 steps from at least 1 probe"
        )
    if size <= steps * probes:
        dense = torch.stack([product(row) for row in torch.eye(size, dtype=dtype, device=device)]).double()
        values = torch.linalg.eigvalsh((dense + dense.T).cpu() / 2)
        weights = torch.full((1, size), 1 / size, dtype=torch.float64)
        return Density(values[None], weights, size, size, exact=True, converged=True)
    require_vectors(
        steps,
        size,
        dtype,
        torch.device(device),
        lambda fit: "as many as `steps` may be; ask for fewer, and for more probes instead",
    )
    generator = generator_or_default(generator)
    rules, products = [], 0
    for _ in range(probes):
        start = torch.randn(size, generator=generator, dtype=dtype, device=generator.device).to(device)
        diagonal, beside = _tridiagonal(product, start, steps)
        products += len(diagonal)
        rules.append(_gauss_rule(diagonal, beside))
    longest = max(len(nodes) for nodes, _ in rules)
    nodes = torch.stack([_padded(nodes, longest, float(nodes[-1])) for nodes, _ in rules])
    weights = torch.stack([_padded(weights, longest, 0.0) for _, weights in rules])
    # an exhausted Krylov space gives the entire distribution that its vector sees
    ended = products < steps * probes and all(len(nodes) < steps for nodes, _ in rules)
    return Density(nodes, weights, size, products, converged=ended or _moved(nodes, weights) <= _STILL)


def _tridiagonal(product: Product, start: Tensor, steps: int) -> tuple[list[float], list[float]]:
    """Diagonal and off-diagonal of the Lanczos matrix, cut short where the Krylov space ends."""
    basis = start.new_empty(steps, len(start))
    basis[0] = start / torch.linalg.vector_norm(start)
    diagonal: list[float] = []
    beside: list[float] = []
    unit = 1.0
    for j in range(steps):
        image = product(basis[j])
        unit = unit_of(image) if j == 0 else unit
        image = image if unit == 1 else image / unit
        diagonal.append(float(basis[j].double() @ image.double()))
        if not math.isfinite(diagonal[-1]):
            raise ModelError(
                "a curvature product is not finite although loss and gradient are; is a derivative infinite?"
            )
        if j + 1 == steps:
            break
        for _ in range(2):  # twice is enough (Giraud, Langou, Rozloznik 2005)
            image = image - (basis[: j + 1] @ image) @ basis[: j + 1]
        norm = float(torch.linalg.vector_norm(image))
        scale = max(map(abs, (*diagonal, *beside)))
        if norm <= 100 * torch.finfo(start.dtype).eps * scale:
            break
        beside.append(norm)
        basis[j + 1] = image / norm
    return [unit * a for a in diagonal], [unit * b for b in beside]


def _gauss_rule(diagonal: list[float], beside: list[float]) -> tuple[Tensor, Tensor]:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    m = len(diagonal)
    if m > 1:
        off = torch.tensor(beside[: m - 1], dtype=torch.float64)
        matrix = matrix + torch.diag(off, 1) + torch.diag(off, -1)
    nodes, vectors = torch.linalg.eigh(matrix)
    return nodes, vectors[0].square()


def _shortened(nodes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The rules that three Lanczos steps fewer would have given, from the nodes and weights alone.

    Lanczos on the diagonal matrix of the nodes, started at the square roots of the weights, gives the same
    tridiagonal matrix back; its leading part is that of fewer steps.
    """
    rules = []
    for row, share in zip(nodes, weights, strict=True):
        count = max(1, int((share > 0).sum()) - 3)
        rules.append(_gauss_rule(*_tridiagonal(partial(torch.mul, row), share.sqrt(), count)))
    longest = max(len(shorter) for shorter, _ in rules)
    return (
        torch.stack([_padded(shorter, longest, float(shorter[-1])) for shorter, _ in rules]),
        torch.stack([_padded(share, longest, 0.0) for _, share in rules]),
    )


def _moved(nodes: Tensor, weights: Tensor) -> float:
    """How far the last three steps moved the eigenvalues in the mean, over the width of the spectrum.

    The mean distance is the Wasserstein distance, the area between the cumulative distributions.
    """
    before, shares = _shortened(nodes, weights)
    width = float(nodes.max() - nodes.min())
    moved = 0.0
    for row, share, earlier, part in zip(nodes, weights, before, shares, strict=True):
        at, order = torch.cat([row, earlier]).sort()
        apart = torch.cat([share, -part])[order].cumsum(0)[:-1].abs()
        moved += float((apart * at.diff()).sum()) / len(nodes)
    return moved / width if width > 0 else 0.0


def _padded(row: Tensor, length: int, value: float) -> Tensor:
    return torch.nn.functional.pad(row, (0, length - len(row)), value=value)


def _gaussian(nodes: Tensor, weights: Tensor, at: Tensor, width: float) -> Tensor:
    """(probes, x) sums of Gaussians."""
    heights = torch.exp(-0.5 * ((at[None, None] - nodes[:, :, None]) / width).square())
    return (heights * weights[:, :, None]).sum(1) / (width * math.sqrt(2 * math.pi))
