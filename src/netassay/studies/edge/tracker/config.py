"""What a tracked run is known by: the loop it belongs to, and how it was looked at."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from netassay.config import Config


class TrackerConfig(Config):
    """Facts of one tracked training, told by the script that ran it."""

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
    """The most that was measured, where it was set: forward, leading or layers."""

    budget: float = Field(0.2, gt=0)
    """Share of the training time that tracking may take."""

    every: int | None = Field(None, ge=1)
    """Steps from look to look, where they were set in place of the budget."""

    tolerance: float = Field(1e-2, gt=0, lt=1)
    """Relative error asked of each sharpness."""

    mode: str = "eval"
    """Mode of the network while it is looked at: eval, or as it is."""

    began: str = ""
    """When, and in which process: tells trainings of one script apart."""


CONFIG = TrackerConfig
