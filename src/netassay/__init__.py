"""Assay a neural network: how much can it memorise, how stably does it train, what has it learned?"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> module that holds it; imported on first use, so that `import netassay` loads no torch
_HOMES = {
    # curvature of any module
    "sharpness": "netassay.numerics.sharpness",
    "hessian_operator": "netassay.numerics.curvature",
    "Curvature": "netassay.numerics.curvature",
    "Follower": "netassay.numerics.following",
    "Sharpness": "netassay.numerics.sharpness",
    "Eigenpairs": "netassay.numerics.eigen",
    # how large a step may be: now, and while a loop of one's own trains
    "step_size": "netassay.studies.edge.largest_step",
    "StepSizes": "netassay.studies.edge.largest_step",
    "LargestStep": "netassay.studies.edge.largest_step",
    "SharpnessTracker": "netassay.studies.edge.tracker.tracker",
    "EdgeWarning": "netassay.studies.edge.tracker.tracker",
    "trace": "netassay.numerics.trace",
    "Trace": "netassay.numerics.trace",
    "spectral_density": "netassay.numerics.density",
    "Density": "netassay.numerics.density",
    "batch_sharpness": "netassay.numerics.directions",
    "gradient_flow": "netassay.studies.edge.flow",
    "CentralFlow": "netassay.studies.edge.central_flow",
    # studies: their configs, one run, many runs, a page of them
    "EdgeConfig": "netassay.studies.edge.config",
    "StepSizeConfig": "netassay.studies.edge.stepsize.config",
    "perform": "netassay.performing",
    "resume": "netassay.performing",
    "summarise": "netassay.performing",
    "Plan": "netassay.sweeps",
    "sweep": "netassay.sweeps",
    "outlook": "netassay.sweeps",
    "report": "netassay.presenting",
    # what is on disk
    "Run": "netassay.runs",
    "Store": "netassay.runs",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'netassay' has no attribute {name!r}; public names: {', '.join(_HOMES)}")


def __dir__() -> list[str]:
    return sorted(__all__)
