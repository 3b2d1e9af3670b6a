"""Config of a tracked run: the loop that it belongs to, and how it was measured."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from netassay.config import Config


class TrackerConfig(Config):
    """Facts of one tracked training, given by the script that ran it."""

    study: ClassVar[str] = "edge-tracker"
    example: ClassVar[str] = "netassay report --where name=mine"

    later: ClassVar[tuple[str, ...]] = ("every", "level")

    name: str = ""
    """The user's name for the training."""

    model: str = ""
    """Class of the network."""

    parameters: int = Field(0, ge=0)
    """Trainable weights."""

    optimiser: str = ""
    """Class of the optimiser, or the step size that was given."""

    layers: bool = True
    """Whether blocks are tracked too."""

    level: str = ""
    """Upper limit of the measurements, if set: forward, leading or layers."""

    budget: float = Field(0.2, gt=0)
    """Share of the training time that tracking may take."""

    every: int | None = Field(None, ge=1)
    """Number of steps between looks, if set instead of the budget."""

    tolerance: float = Field(1e-2, gt=0, lt=1)
    """Relative tolerance of each sharpness."""

    mode: str = "eval"
    """Mode of the network during a look: eval or as_is."""

    began: str = ""
    """Time and process, which distinguish trainings of one script."""


CONFIG = TrackerConfig
