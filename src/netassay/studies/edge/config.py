"""Config of one run of the edge study: a network, a loss, a step size, and the schedule of measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from netassay.studies.edge.optimisers import KEYS, OPTIMISERS, Method, owners
from netassay.studies.edge.setting import Setting

if TYPE_CHECKING:
    OptimiserName = str
else:
    OptimiserName = Literal[tuple(OPTIMISERS)]


class EdgeConfig(Setting):
    """Training of one network, its sharpness followed for all parameters and for each layer.

    Source:
        Cohen et al. (2021); Fox (2023).

    Example:
        >>> import netassay
        >>> netassay.EdgeConfig(step_size=0.2, steps=1000).activation
        'tanh'
    """

    study: ClassVar[str] = "edge"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **Setting.groups,
        "Training": (
            "optimiser", "step_size", "momentum", "beta2", "epsilon", "batch_size", "rho", "steps",
            "divergence_factor",
        ),
        "What is measured": (
            "curvature_every", "top", "layers", "tolerance", "gauss_newton", "alignment", "trace_products",
            "density_steps", "batch_probes", "projections", "flow", "central_flow",
        ),
    }  # fmt: skip

    example: ClassVar[str] = "netassay edge --depth 2 --width 200 --step-size 0.1 --steps 2000 --store runs"

    optimiser: OptimiserName = "gd"
    """gd is full-batch gradient descent; all except sgd use the entire training set in every step."""

    step_size: float = Field(0.1, gt=0)
    """Step size eta of the optimiser."""

    momentum: float | None = Field(None, ge=0, lt=1)
    """Momentum of polyak and nesterov, beta1 of adam; by default 0.9."""

    beta2: float | None = Field(None, ge=0, lt=1)
    """Averaging of squared gradients: adam (by default 0.999) and rmsprop (0.99)."""

    epsilon: float | None = Field(None, gt=0, lt=1)
    """Number added to the root of the averaged squares: adam and rmsprop; by default 1e-8."""

    batch_size: int | None = Field(None, ge=1)
    """Examples in each step of sgd; by default 32."""

    rho: float | None = Field(None, ge=0)
    """Distance uphill at which sam takes its gradient; by default 0.05."""

    steps: int = Field(2000, ge=0, le=100_000_000)
    """Number of steps of the optimiser."""

    curvature_every: int = Field(10, ge=1)
    """Steps between measurements of the curvature; loss and gradient are recorded at every step."""

    top: int = Field(1, ge=1, le=100)
    """Number of largest Hessian eigenvalues to follow."""

    layers: bool = True
    """Whether to follow the sharpness of each layer's own block of the Hessian too."""

    tolerance: float = Field(1e-3, gt=0, lt=1)
    """Relative tolerance of each eigenvalue."""

    gauss_newton: bool = False
    """Whether to follow the sharpness of the Gauss-Newton matrix G too, and the largest eigenvalue of H - G."""

    alignment: bool = False
    """Whether to measure the gradient's share in the leading eigenvectors and the directional sharpness."""

    trace_products: int = Field(0, ge=0, le=10_000)
    """Products for the trace of each matrix, that of the network and of each layer; 0 for none, otherwise at least
    6."""

    density_steps: int = Field(0, ge=0, le=1000)
    """Lanczos steps for the spectral density of each matrix, that of the network and of each layer; 0 for none,
    otherwise at least 4."""

    batch_probes: int = Field(0, ge=0, le=10_000)
    """Number of mini-batches for the batch sharpness of sgd; 0 for none."""

    projections: int = Field(0, ge=0, le=10_000)
    """Number of random projections of the path from the start, by which runs from the same start are compared; 0 for
    none."""

    flow: bool = False
    """Whether to follow gradient flow beside the descent, from the same start, to time eta x steps."""

    central_flow: bool = False
    """Whether to follow the central flow beside gradient descent (Cohen et al. 2025)."""

    divergence_factor: float = Field(1e3, gt=1)
    """The run counts as diverged when the loss exceeds this multiple of the initial loss, or is not finite."""

    @model_validator(mode="after")
    def _combinations(self) -> EdgeConfig:
        for line in refusals(self):
            raise ValueError(line)
        return self

    def optimiser_settings(self) -> dict[str, float]:
        """The optimiser's own keys with the values used: those given, else the defaults."""
        return OPTIMISERS[self.optimiser].settings({key: getattr(self, key) for key in KEYS})


def refusals(config: EdgeConfig) -> list[str]:
    """Reasons to refuse a combination of optimiser and measurements, in words; empty if there are none."""
    reasons = []
    name, method = config.optimiser, OPTIMISERS[config.optimiser]
    for key in sorted(KEYS):
        value = getattr(config, key)
        if value is not None and key not in method.usual:
            reasons.append(
                f"{key} = {value} has no meaning for optimiser {name!r}: leave it out, or choose "
                f"{', '.join(owners(key))}"
            )
    if 0 < config.trace_products < 6:
        reasons.append(f"trace_products = {config.trace_products} is not allowed: 0 for none, else at least 6")
    if 0 < config.density_steps < 4:
        reasons.append(f"density_steps = {config.density_steps} is not allowed: 0 for none, else at least 4")
    if config.batch_probes and not method.batches:
        reasons.append(
            f"batch_probes = {config.batch_probes} needs mini-batches, which optimiser {name!r} does not use: "
            f"choose optimiser {_that(lambda candidate: candidate.batches)}, or leave it out"
        )
    if config.flow and not method.is_flow:
        reasons.append(
            f"flow = true needs a method whose limit for small steps is gradient flow, which {name!r} is not: "
            f"choose {_that(lambda candidate: candidate.is_flow)}, or leave it out"
        )
    if config.central_flow and not method.has_central_flow:
        reasons.append(
            f"central_flow = true is the central flow of gradient descent, not of {name!r}: "
            f"choose optimiser {_that(lambda candidate: candidate.has_central_flow)}, or leave it out"
        )
    return reasons


def _that(fits: Callable[[Method], bool]) -> str:
    *first, last = [name for name, method in OPTIMISERS.items() if fits(method)]
    return f"{', '.join(first)} or {last}" if first else last


def tiny() -> EdgeConfig:
    """A config that runs through every part of the study in a second or two."""
    return EdgeConfig(examples=200, width=16, step_size=0.5, steps=60, curvature_every=5, top=2)


CONFIG = EdgeConfig
