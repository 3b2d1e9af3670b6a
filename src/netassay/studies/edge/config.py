"""What one run of the edge study is: a network, a loss, a step size, and what is measured when."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from netassay.config import Config


class EdgeConfig(Config):
    """Full-batch gradient descent on one network, its sharpness followed as a whole and layer by layer."""

    study: ClassVar[str] = "edge"
    example: ClassVar[str] = "netassay edge --depth 2 --width 200 --step-size 0.1 --steps 2000 --store runs"

    data: Literal["digits"] = "digits"
    """Training data: digits is scikit-learn's 1,797 images of 8 x 8 pixels."""

    examples: int = Field(1500, ge=10, le=1797)
    """Training examples; the images left over are the test set (at 1797 there is none)."""

    depth: int = Field(2, ge=0, le=64)
    """Hidden layers."""

    width: int = Field(200, ge=1, le=65536)
    """Units of each hidden layer."""

    activation: Literal[
        "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "softplus", "sigmoid", "hardtanh", "identity"
    ] = "tanh"
    """Activation function of the hidden layers."""

    bias: bool = True
    """Whether layers have biases."""

    initialisation: Literal["pytorch", "xavier", "kaiming", "lecun", "orthogonal"] = "pytorch"
    """Law of the first weights."""

    loss: Literal["mse", "cross_entropy"] = "mse"
    """mse is half the sum of squares per example to one-hot classes, averaged over examples (Cohen et al. 2021)."""

    step_size: float = Field(0.1, gt=0)
    """Step size eta of gradient descent."""

    steps: int = Field(2000, ge=0, le=100_000_000)
    """Steps of gradient descent."""

    curvature_every: int = Field(10, ge=1)
    """Steps between measurements of the curvature; loss and gradient are recorded at every step."""

    top: int = Field(1, ge=1, le=100)
    """How many of the largest Hessian eigenvalues to follow."""

    layers: bool = True
    """Whether the sharpness of every layer's own block of the Hessian is followed too."""

    tolerance: float = Field(1e-3, gt=0, lt=1)
    """Relative error asked of each eigenvalue."""

    divergence_factor: float = Field(1e3, gt=1)
    """The run counts as diverged when the loss exceeds this multiple of the first loss, or is not finite."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of the first weights."""

    dtype: Literal["float32", "float64"] = "float32"
    """Arithmetic."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", examples=["cpu", "cuda", "cuda:1"])
    """Where it runs: cpu, cuda or cuda:N."""


def tiny() -> EdgeConfig:
    """A config of a second or two that passes through every part of the study."""
    return EdgeConfig(examples=200, width=16, step_size=0.5, steps=60, curvature_every=5, top=2)


CONFIG = EdgeConfig
