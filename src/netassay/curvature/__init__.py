"""Curvature of any module, loss and data, and what follows from it for training.

model: named groups of its parameters, and what evaluating it must not change. batches, forward: one pass of a model
over a batch. weighing: how the batch weighs. objective: the loss over all batches. tape: its gradient as a retained
graph. suspects: the module whose derivatives are wrong. curvature: Hessian and Gauss-Newton products from these graphs.
operator: the same as one matrix. symmetric: what every such matrix has. combined: preconditioned curvatures and
differences. eigen, krylov: Lanczos with residual bounds. davidson, preconditioner, subsample: the same with a cheap
matrix that saves products. largest_curvature: top eigenvalues, whole and per block. following: the same along a
trajectory. hutchinson: the trace. density: stochastic Lanczos quadrature. directions: curvature along the gradient.
flow, central_flow: the continuous paths beside gradient descent. thresholds: where each optimiser is stable.
largest_step: the step sizes that the curvature allows now. displacement, passes, rises, line_search: forward passes
along a line; updates: the optimiser's next step as one; critical: how far along it the loss does not rise. shards,
processes: weights and batches on several processes. outlook: when a training will reach its edge.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "sharpness": "netassay.curvature.largest_curvature",
        "Sharpness": "netassay.curvature.largest_curvature",
        "hessian_operator": "netassay.curvature.operator",
        "Curvature": "netassay.curvature.curvature",
        "Follower": "netassay.curvature.following",
        "Eigenpairs": "netassay.curvature.eigen",
        "eigenpairs": "netassay.curvature.eigen",
        "trace": "netassay.curvature.hutchinson",
        "Trace": "netassay.curvature.hutchinson",
        "spectral_density": "netassay.curvature.density",
        "Density": "netassay.curvature.density",
        "batch_sharpness": "netassay.curvature.directions",
        "BatchSharpness": "netassay.curvature.directions",
        "layer_blocks": "netassay.curvature.model",
        "gradient_flow": "netassay.curvature.flow",
        "GradientFlow": "netassay.curvature.flow",
        "CentralFlow": "netassay.curvature.central_flow",
        "threshold": "netassay.curvature.thresholds",
        "step_size": "netassay.curvature.largest_step",
        "StepSizes": "netassay.curvature.largest_step",
        "LargestStep": "netassay.curvature.largest_step",
        "critical_sharpness": "netassay.curvature.critical",
        "CriticalSharpness": "netassay.curvature.critical",
        "DirectionalSharpness": "netassay.curvature.critical",
        "CriticalFollower": "netassay.curvature.critical",
        "forecast": "netassay.curvature.outlook",
        "Forecast": "netassay.curvature.outlook",
    },
)
