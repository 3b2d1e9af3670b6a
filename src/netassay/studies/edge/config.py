"""What one run of the edge study is: a network, a loss, a step size, and what is measured when."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from netassay.studies.edge.setting import Setting

OPTIMISER_SETTINGS: dict[str, dict[str, float]] = {
    "gd": {},
    "polyak": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "adam": {"momentum": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "rmsprop": {"beta2": 0.99, "epsilon": 1e-8},
    "sgd": {"batch_size": 32.0},
    "sam": {"rho": 0.05},
}
"""Which keys mean something to which optimiser, and what each is where it is left out."""


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
    example: ClassVar[str] = "netassay edge --depth 2 --width 200 --step-size 0.1 --steps 2000 --store runs"

    optimiser: Literal["gd", "polyak", "nesterov", "adam", "rmsprop", "sgd", "sam"] = "gd"
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
        """The optimiser's own keys as they are used: what was given, else what is usual."""
        usual = OPTIMISER_SETTINGS[self.optimiser]
        given = {key: getattr(self, key) for key in usual}
        return {key: float(usual[key] if value is None else value) for key, value in given.items()}


def refusals(config: EdgeConfig) -> list[str]:
    """What is wrong with a combination of optimiser and measurements, in words; empty where nothing is."""
    found = []
    method = config.optimiser
    for key in sorted({key for keys in OPTIMISER_SETTINGS.values() for key in keys}):
        value = getattr(config, key)
        if value is not None and key not in OPTIMISER_SETTINGS[method]:
            owners = ", ".join(name for name, keys in OPTIMISER_SETTINGS.items() if key in keys)
            found.append(
                f"{key} = {value} means nothing to optimiser {method!r}: leave it out, or choose {owners}"
            )
    if 0 < config.trace_products < 6:
        found.append(f"trace_products = {config.trace_products} is not allowed: 0 for none, else at least 6")
    if 0 < config.density_steps < 4:
        found.append(f"density_steps = {config.density_steps} is not allowed: 0 for none, else at least 4")
    if config.batch_probes and method != "sgd":
        found.append(
            f"batch_probes = {config.batch_probes} needs mini-batches, which optimiser {method!r} has none of: "
            "choose optimiser sgd, or leave it out"
        )
    if config.flow and method in ("adam", "rmsprop", "sam"):
        found.append(
            f"flow = true needs a method whose limit for small steps is gradient flow, which {method!r} is not: "
            "choose gd, polyak, nesterov or sgd, or leave it out"
        )
    if config.central_flow and method != "gd":
        found.append(
            f"central_flow = true is the central flow of gradient descent, not of {method!r}: "
            "choose optimiser gd, or leave it out"
        )
    return found


def tiny() -> EdgeConfig:
    """A config of a second or two that passes through every part of the study."""
    return EdgeConfig(examples=200, width=16, step_size=0.5, steps=60, curvature_every=5, top=2)


CONFIG = EdgeConfig
