"""What one run is: how many images are fitted by how many random features."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from netassay.config import Config


class DoubleDescentConfig(Config):
    """Least squares on random features of digit images, for more and more features."""

    study: ClassVar[str] = "double-descent"
    example: ClassVar[str] = "netassay double-descent --examples 300 --most-features 3000 --store runs"

    examples: int = Field(300, ge=10, le=1500)
    """Training images, of the 1,797 digits of 8 x 8 pixels in scikit-learn; the rest are for testing."""

    most_features: int = Field(3000, ge=2, le=20_000)
    """Largest number of random features."""

    points: int = Field(24, ge=2, le=1000)
    """Numbers of features that are tried, from 2 to the largest, evenly spaced on a logarithmic axis."""

    noise: float = Field(0.2, ge=0, le=1)
    """Share of the training images that get a random label."""

    ridge: float = Field(0.0, ge=0)
    """Penalty on the squared weights; 0: the solution of least norm."""

    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of the features, of the labels that are changed, and of the choice of training images."""

    def widths(self) -> list[int]:
        """The numbers of features, ascending, each once."""
        ratio = (self.most_features / 2) ** (1 / (self.points - 1))
        return sorted({round(2 * ratio**i) for i in range(self.points)})


def tiny() -> DoubleDescentConfig:
    """A config of a second that passes through every part of the study."""
    return DoubleDescentConfig(examples=60, most_features=240, points=12)


CONFIG = DoubleDescentConfig
