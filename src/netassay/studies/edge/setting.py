"""The setting of every experiment of the edge study: data, network, loss, initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from netassay.config import Config

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
