"""netassay: assay a neural network. How much can it memorise, how stably does it train, what has it learned?"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> module that holds it; imported on first use, so that `import netassay` loads no torch
_HOMES = {
    "Eigenpairs": "netassay.numerics.eigen",
    "Sharpness": "netassay.numerics.sharpness",
    "hessian_operator": "netassay.numerics.curvature",
    "sharpness": "netassay.numerics.sharpness",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'netassay' has no attribute {name!r}; public names: {', '.join(_HOMES)}")


def __dir__() -> list[str]:
    return sorted(__all__)
