"""Config of one run of the edge study: a network, a loss, a step size, and the schedule of measurements.

First its optimisers, one entry each, with all that config, descent and pages need. A new one is an entry of OPTIMISERS.
No torch is loaded here: the class that takes the steps is given by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from netassay.config import Config
from netassay.curvature.thresholds import threshold

Threshold = Callable[[float, Mapping[str, float], float], float]
"""(step size, the optimiser's own keys, norm of the gradient) -> largest stable eigenvalue."""


@dataclass(frozen=True)
class Method:
    """An optimiser of the study; `steps` names its class in `assay`.

    `usual` are its keys of the config with their defaults; `edge` is the threshold as labelled in figures, empty if it
    depends on the gradient.
    """

    steps: str
    threshold: Threshold
    edge: str
    usual: Mapping[str, float]
    preconditioned: bool = False
    """Whether the threshold is that of the preconditioned Hessian."""
    batches: bool = False
    """Whether a step takes a batch, not all examples."""
    is_flow: bool = True
    """Whether its limit for small steps is gradient flow, in time eta / (1 - momentum) a step."""
    has_central_flow: bool = False

    @property
    def is_descent(self) -> bool:
        """Whether its edge is that of plain descent, 2 / eta, for the Hessian itself."""
        return self.edge == "2/η" and not self.preconditioned

    def settings(self, config: Mapping[str, Any]) -> dict[str, float]:
        """Its own keys with the values used: those of a config, or the defaults for None.

        >>> OPTIMISERS["adam"].settings({"momentum": 0.5, "beta2": None})
        {'momentum': 0.5, 'beta2': 0.999, 'epsilon': 1e-08}
        """
        own = {key: config.get(key) for key in self.usual}
        return {key: float(self.usual[key] if value is None else value) for key, value in own.items()}


def _theorem(name: str, step_size: float, own: Mapping[str, float], gradient_norm: float) -> float:
    keys = {key: own[key] for key in ("momentum", "rho") if key in own}
    return threshold(name, step_size, gradient_norm=gradient_norm, **keys)


OPTIMISERS: Mapping[str, Method] = {
    "gd": Method("Optimiser", partial(_theorem, "gd"), "2/η", {}, has_central_flow=True),
    "polyak": Method("HeavyBall", partial(_theorem, "polyak"), "2(1+β)/η", {"momentum": 0.9}),
    "nesterov": Method("Nesterov", partial(_theorem, "nesterov"), "2(1+β)/(η(1+2β))", {"momentum": 0.9}),
    "adam": Method(
        "Adam",
        partial(_theorem, "adam"),
        "2(1+β₁)/(η(1−β₁))",
        {"momentum": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        preconditioned=True,
        is_flow=False,
    ),
    "rmsprop": Method(
        "RMSprop",
        partial(_theorem, "rmsprop"),
        "2/η",
        {"beta2": 0.99, "epsilon": 1e-8},
        preconditioned=True,
        is_flow=False,
    ),
    "sgd": Method("StochasticDescent", partial(_theorem, "sgd"), "2/η", {"batch_size": 32.0}, batches=True),
    "sam": Method("SharpnessAware", partial(_theorem, "sam"), "", {"rho": 0.05}, is_flow=False),
}

KEYS: tuple[str, ...] = tuple(dict.fromkeys(key for method in OPTIMISERS.values() for key in method.usual))
"""Keys of the config that belong to some optimiser."""


def owners(key: str) -> list[str]:
    """Optimisers that have a key."""
    return [name for name, method in OPTIMISERS.items() if key in method.usual]


_FROM_FILES = ("idx", "cifar10", "arrays")
_EXAMPLES = {"digits": 1797, "mnist": 5000, "dhs4": 43_307}
_MADE_ONE_WAY = {
    "decoder": {
        "depth": 2,
        "bias": True,
        "normalisation": "none",
        "residual": False,
        "initialisation": "pytorch",
    },
    "aitac": {"depth": 2, "bias": True, "residual": False, "initialisation": "pytorch", "activation": "relu"},
}
"""Keys that are fixed for these networks, each at its default (except the activation of aitac)."""


class Setting(Config):
    """A network of named architecture on named data, with loss, distribution and seed of its initial weights."""

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Network": (
            "network", "depth", "width", "activation", "bias", "normalisation", "residual", "initialisation",
        ),
    }  # fmt: skip

    data: Literal["digits", "chebyshev", "mnist", "idx", "cifar10", "arrays", "text", "dhs4"] = "digits"
    """Training data. digits: scikit-learn's 1,797 images of 8 x 8 pixels; chebyshev: a polynomial at points of [-1, 1];
    mnist: 5,000 handwritten digits (extra [mnist]); from disk: idx (Fashion-MNIST, MNIST), cifar10, arrays; text: next
    tokens, of Python's help topics unless a path is given; dhs4: human DNA of 200 bases, four cell types."""

    path: str | None = Field(None, min_length=1, examples=["fashion-mnist", "cifar-10-batches-bin", "my.npz"])
    """File or folder of the data on disk: the folder of IDX files or of CIFAR-10's binary version; for arrays an .npz
    file with x and y or a folder with x.npy and y.npy; for text a corpus as netassay entropy takes it, one document per
    line. Its bytes are not part of the run's name."""

    examples: int = Field(1500, ge=1, le=10_000_000)
    """Number of training examples (chebyshev: points; text: documents). The remaining examples, or the data's own test
    set, are for testing."""

    test_examples: int = Field(2000, ge=0, le=10_000_000)
    """Maximum number of test examples."""

    degree: int = Field(3, ge=0, le=64)
    """Degree of the Chebyshev polynomial (data = chebyshev only)."""

    network: Literal["mlp", "cnn", "decoder", "aitac"] = "mlp"
    """Architecture. mlp: fully connected; cnn: 3 x 3 convolutions with 2 x 2 average pooling, for images; decoder: the
    one-layer transformer of the capacity study, for text; aitac: the network of the aitac study, for DNA."""

    depth: int = Field(2, ge=0, le=64)
    """Number of hidden layers (cnn: convolutions); decoder and aitac have a fixed number."""

    width: int = Field(200, ge=1, le=65536)
    """Units in each hidden layer (cnn: channels; aitac: filters, 300 as published, the rest in proportion)."""

    activation: Literal[
        "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "softplus", "sigmoid", "hardtanh", "identity"
    ] = "tanh"
    """Activation function of the hidden layers; aitac always uses relu."""

    bias: bool = True
    """Whether layers have biases."""

    normalisation: Literal["none", "batch", "layer"] = "none"
    """Normalisation before each activation; batch uses the statistics of the current set, training or test."""

    residual: bool = False
    """Whether each hidden layer of the mlp except the first adds its result to its input."""

    initialisation: Literal["pytorch", "xavier", "kaiming", "lecun", "orthogonal"] = "pytorch"
    """Distribution of the initial weights."""

    loss: Literal["mse", "cross_entropy"] = "mse"
    """mse is half the sum of squares per example to one-hot classes, averaged over examples (Cohen et al. 2021)."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of the initial weights."""

    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", examples=["cpu", "cuda", "cuda:1", "mps"])
    """Device: cpu, cuda, cuda:N or mps (Apple; not tested)."""

    @model_validator(mode="after")
    def _fits_together(self) -> Setting:
        if self.data in _FROM_FILES and self.path is None:
            raise ValueError(f"data = {self.data!r} comes from the disk: give path = its file or folder")
        if self.data not in (*_FROM_FILES, "text") and self.path is not None:
            raise ValueError(
                f"path = {self.path!r} is for data from the disk ({', '.join(_FROM_FILES)}, text), not {self.data!r}"
            )
        limit = _EXAMPLES.get(self.data, self.examples)
        if self.examples > limit:
            raise ValueError(f"examples = {self.examples} is not allowed: {self.data} has {limit}")
        if self.data == "chebyshev" and self.loss != "mse":
            raise ValueError(f"loss = {self.loss!r} is for classes; chebyshev is a regression: use loss = 'mse'")
        if self.network == "cnn" and (self.residual or self.data == "chebyshev"):
            subject = "residual = true is" if self.residual else "data = 'chebyshev' is"
            raise ValueError(f"{subject} for network = 'mlp' only")
        if (self.data == "text") != (self.network == "decoder"):
            raise ValueError(
                f"network = {self.network!r} does not go with data = {self.data!r}: the decoder takes "
                "text, and text takes the decoder"
            )
        for key, only in _MADE_ONE_WAY.get(self.network, {}).items():
            if (value := getattr(self, key)) != only:
                raise ValueError(
                    f"{key} = {value!r} is not allowed: network = {self.network!r} has {key} = {only!r} only"
                )
        return self


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
