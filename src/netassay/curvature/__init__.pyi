# made by `make docs` from the contents in __init__.py; change them there
from netassay.curvature.central_flow import CentralFlow as CentralFlow
from netassay.curvature.critical import CriticalFollower as CriticalFollower
from netassay.curvature.critical import CriticalSharpness as CriticalSharpness
from netassay.curvature.critical import DirectionalSharpness as DirectionalSharpness
from netassay.curvature.critical import critical_sharpness as critical_sharpness
from netassay.curvature.curvature import Curvature as Curvature
from netassay.curvature.density import Density as Density
from netassay.curvature.density import spectral_density as spectral_density
from netassay.curvature.directions import BatchSharpness as BatchSharpness
from netassay.curvature.directions import batch_sharpness as batch_sharpness
from netassay.curvature.eigen import Eigenpairs as Eigenpairs
from netassay.curvature.eigen import eigenpairs as eigenpairs
from netassay.curvature.flow import GradientFlow as GradientFlow
from netassay.curvature.flow import gradient_flow as gradient_flow
from netassay.curvature.following import Follower as Follower
from netassay.curvature.hutchinson import Trace as Trace
from netassay.curvature.hutchinson import trace as trace
from netassay.curvature.largest_curvature import Sharpness as Sharpness
from netassay.curvature.largest_curvature import sharpness as sharpness
from netassay.curvature.largest_step import LargestStep as LargestStep
from netassay.curvature.largest_step import StepSizes as StepSizes
from netassay.curvature.largest_step import step_size as step_size
from netassay.curvature.model import layer_blocks as layer_blocks
from netassay.curvature.operator import hessian_operator as hessian_operator
from netassay.curvature.outlook import Forecast as Forecast
from netassay.curvature.outlook import forecast as forecast
from netassay.curvature.thresholds import threshold as threshold

__all__ = [
    "BatchSharpness",
    "CentralFlow",
    "CriticalFollower",
    "CriticalSharpness",
    "Curvature",
    "Density",
    "DirectionalSharpness",
    "Eigenpairs",
    "Follower",
    "Forecast",
    "GradientFlow",
    "LargestStep",
    "Sharpness",
    "StepSizes",
    "Trace",
    "batch_sharpness",
    "critical_sharpness",
    "eigenpairs",
    "forecast",
    "gradient_flow",
    "hessian_operator",
    "layer_blocks",
    "sharpness",
    "spectral_density",
    "step_size",
    "threshold",
    "trace",
]
