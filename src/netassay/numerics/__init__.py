"""Torch mathematics without files or configs.

blocks: named groups of parameters. curvature: Hessian and Gauss-Newton products on a kept gradient graph.
combined: preconditioned curvatures and differences. eigen: Lanczos with residuals. sharpness: top eigenvalues,
whole and per block. following: the same along a trajectory. trace: Hutch++. density: stochastic Lanczos quadrature.
directions: curvature along the gradient. seeds, devices: where randomness and arithmetic come from.
"""
