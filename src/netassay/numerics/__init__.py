"""Torch mathematics without files or configs.

blocks: named groups of parameters. curvature: Hessian and Gauss-Newton products on a kept gradient graph.
eigen: Lanczos with residuals. sharpness: top eigenvalues, whole and per block. following: the same along a trajectory.
seeds, devices: where randomness and arithmetic come from.
"""
