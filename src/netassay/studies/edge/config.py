"""What one run of the edge study is: a network, a loss, a step size, and what is measured when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from netassay.studies.edge.optimisers import KEYS, OPTIMISERS, Method, owners
from netassay.studies.edge.setting import Setting

if TYPE_CHECKING:
    OptimiserName = str
else:
    OptimiserName = Literal[tuple(OPTIMISERS)]


class EdgeConfig(Setting):
    """Training of one network, its sharpness followed as a whole and layer by layer."""

    study: ClassVar[str] = "edge"
    example: ClassVar[str] = "netassay edge --depth 2 --width 200 --step-size 0.1 --steps 2000 --store runs"

    optimiser: OptimiserName = "gd"
    """gd is full-batch gradient descent; all but sgd take the whole training set at every step."""

    step_size: float = Field(0.1, gt=0)
    """Step size eta of the optimiser."""

    momentum: float | None = Field(None, ge=0, lt=1)
    """Momentum of polyak and nesterov, beta1 of adam; 0.9 if left out."""

    beta2: float | None = Field(None, ge=0, lt=1)
    """Averaging of squared gradients: adam (0.999 if left out) and rmsprop (0.99)."""

    epsilon: float | None = Field(None, gt=0, lt=1)
    """Added to the root of the averaged squares: adam and rmsprop; 1e-8 if left out."""

    batch_size: int | None = Field(None, ge=1)
    """Examples of each step of sgd; 32 if left out."""

    rho: float | None = Field(None, ge=0)
    """How far uphill sam takes its gradient; 0.05 if left out."""

    steps: int = Field(2000, ge=0, le=100_000_000)
    """Steps of the optimiser."""

    curvature_every: int = Field(10, ge=1)
    """Steps between measurements of the curvature; loss and gradient are recorded at every step."""

    top: int = Field(1, ge=1, le=100)
    """How many of the largest Hessian eigenvalues to follow."""

    layers: bool = True
    """Whether the sharpness of every layer's own block of the Hessian is followed too."""

    tolerance: float = Field(1e-3, gt=0, lt=1)
    """Relative error asked of each eigenvalue."""

    gauss_newton: bool = False
    """Whether to follow the sharpness of the Gauss-Newton matrix G too, and the top of H - G."""

    alignment: bool = False
    """Whether to measure the gradient's share in the leading eigenvectors and the directional sharpness."""

    trace_products: int = Field(0, ge=0, le=10_000)
    """Products a matrix for the trace, whole and per layer; 0 for none, else at least 6."""

    density_steps: int = Field(0, ge=0, le=1000)
    """Lanczos steps a matrix for the spectral density, whole and per layer; 0 for none, else at least 4."""

    batch_probes: int = Field(0, ge=0, le=10_000)
    """Mini-batches for the batch sharpness of sgd; 0 for none."""

    projections: int = Field(0, ge=0, le=10_000)
    """Random projections of the way from the start, by which runs with one start are compared; 0 for none."""

    flow: bool = False
    """Whether gradient flow is followed beside the descent, from the same start, to time eta x steps."""

    central_flow: bool = False
    """Whether the central flow is followed beside gradient descent (Cohen et al. 2025)."""

    divergence_factor: float = Field(1e3, gt=1)
    """The run counts as diverged when the loss exceeds this multiple of the first loss, or is not finite."""

    @model_validator(mode="after")
    def _combinations(self) -> EdgeConfig:
        for line in refusals(self):
            raise ValueError(line)
        return self

    def optimiser_settings(self) -> dict[str, float]:
        """The optimiser's own keys as they are used: what was given, else what is usual."""
        return OPTIMISERS[self.optimiser].settings({key: getattr(self, key) for key in KEYS})


def refusals(config: EdgeConfig) -> list[str]:
    """What is wrong with a combination of optimiser and measurements, in words; empty where nothing is."""
    reasons = []
    name, method = config.optimiser, OPTIMISERS[config.optimiser]
    for key in sorted(KEYS):
        value = getattr(config, key)
        if value is not None and key not in method.usual:
            reasons.append(
                f"{key} = {value} means nothing to optimiser {name!r}: leave it out, or choose "
                f"{', '.join(owners(key))}"
            )
    if 0 < config.trace_products < 6:
        reasons.append(
            f"trace_products = {config.trace_products} is not allowed: 0 for none, else at least 6"
        )
    if 0 < config.density_steps < 4:
        reasons.append(f"density_steps = {config.density_steps} is not allowed: 0 for none, else at least 4")
    if config.batch_probes and not method.batches:
        reasons.append(
            f"batch_probes = {config.batch_probes} needs mini-batches, which optimiser {name!r} has none of: "
            f"choose optimiser {_that(lambda other: other.batches)}, or leave it out"
        )
    if config.flow and not method.is_flow:
        reasons.append(
            f"flow = true needs a method whose limit for small steps is gradient flow, which {name!r} is not: "
            f"choose {_that(lambda other: other.is_flow)}, or leave it out"
        )
    if config.central_flow and not method.has_central_flow:
        reasons.append(
            f"central_flow = true is the central flow of gradient descent, not of {name!r}: "
            f"choose optimiser {_that(lambda other: other.has_central_flow)}, or leave it out"
        )
    return reasons


def _that(fits: Callable[[Method], bool]) -> str:
    *most, last = [name for name, method in OPTIMISERS.items() if fits(method)]
    return f"{', '.join(most)} or {last}" if most else last


def tiny() -> EdgeConfig:
    """A config of a second or two that passes through every part of the study."""
    return EdgeConfig(examples=200, width=16, step_size=0.5, steps=60, curvature_every=5, top=2)


CONFIG = EdgeConfig
