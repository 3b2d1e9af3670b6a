"""Config of a search for the largest stable step size of one architecture, from several initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from netassay.studies.edge.config import Setting


class StepSizeConfig(Setting):
    """The largest step size at which gradient descent still trains one architecture, from several initial weights.

    Example:
        >>> import netassay
        >>> netassay.StepSizeConfig(depth=4, seeds=3).goal
        0.2
    """

    study: ClassVar[str] = "edge-stepsize"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **Setting.groups,
        "The search": ("seeds", "goal", "steps", "resolution", "divergence_factor", "flow_steps", "tolerance"),
    }

    example: ClassVar[str] = "netassay edge-stepsize --activation relu --depth 4 --width 64 --examples 500 --store runs"

    seeds: int = Field(3, ge=1, le=1000)
    """Number of networks, with the initial weights of `seed`, seed + 1, ..."""

    goal: float = Field(0.2, gt=0, lt=1)
    """A network counts as trained when its loss is at most this multiple of the loss of the best constant output."""

    steps: int = Field(1000, ge=1, le=1_000_000)
    """Maximum number of steps of gradient descent in a trial; a network that has neither trained nor diverged by then
    has failed too."""

    resolution: float = Field(1.1, gt=1, le=4)
    """The search ends when the smallest failing step size is at most this multiple of the largest that trains."""

    divergence_factor: float = Field(1e3, gt=1)
    """A trial counts as diverged when the loss exceeds this multiple of the initial loss, or is not finite."""

    flow_steps: int = Field(2000, ge=0, le=10_000_000)
    """Maximum number of steps of gradient flow, followed until it has trained to find its largest sharpness; 0: no
    flow."""

    tolerance: float = Field(1e-3, gt=0, lt=1)
    """Relative tolerance of each sharpness."""


def tiny() -> StepSizeConfig:
    """A config that runs through every part of the study in a second or two."""
    return StepSizeConfig(examples=100, width=8, depth=1, seeds=2, goal=0.9, steps=60, resolution=1.5, flow_steps=60)


CONFIG = StepSizeConfig
