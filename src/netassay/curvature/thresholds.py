"""The largest curvature at which each optimiser is stable on a quadratic.

For f = lambda x^2 / 2 every method is a linear recursion in x, stable while its roots lie within the unit circle:

- gradient descent: lambda < 2 / eta. Stochastic gradient descent: the same, for its mean.
- Polyak's heavy ball, v <- b v + g, x <- x - eta v: lambda < 2 (1 + b) / eta.
- Nesterov, x_{t+1} = y_t - eta g(y_t), y_{t+1} = x_{t+1} + b (x_{t+1} - x_t): lambda < 2 (1 + b) / (eta (1 + 2 b)).
- RMSprop with a constant preconditioner P: the eigenvalue of P^-1 H, 2 / eta.
- Adam likewise, whose momentum averages, m <- b1 m + (1 - b1) g: 2 (1 + b1) / (eta (1 - b1)), 38 / eta at b1 = 0.9.
- Sharpness-aware minimisation, x <- x - eta g(x + rho g / ||g||): with g along the eigenvector a step multiplies x by
  1 - eta lambda (1 + rho lambda / ||g||), which shrinks it while lambda is below
  ||g|| / (2 rho) (sqrt(1 + 8 rho / (eta ||g||)) - 1): always under 2 / eta, and falling with the gradient.

Sources: Cohen et al. (2021), appendix B (descent, Polyak, Nesterov); Cohen et al. (2022), section 2 (Adam, RMSprop);
Long and Bartlett (2024), section 3 (SAM).
"""

from __future__ import annotations

import math


def threshold(
    optimiser: str, step_size: float, *, momentum: float = 0.0, rho: float = 0.0, gradient_norm: float = 1.0
) -> float:
    """Largest eigenvalue at which an optimiser is stable at a step size.

    Of the preconditioned Hessian for adam and rmsprop, else of the Hessian.

    Args:
        optimiser: Name of the optimiser, as in the config of the edge study.
        step_size: Step size eta (above 0).
        momentum: b or b1 (0 to below 1).
        rho: Radius of SAM (0 or more); only for SAM.
        gradient_norm: Norm of the gradient (0 or more); only for SAM, whose threshold is 0 if the gradient is 0.

    Returns:
        The threshold.

    Source:
        Cohen et al. (2021), appendix B; Cohen et al. (2022), section 2, for Adam and RMSprop; Long, Bartlett (2024),
        section 3, for SAM.

    Example:
        >>> from netassay.curvature import threshold
        >>> threshold("gd", 0.1)
        20.0
    """
    if optimiser == "polyak":
        return 2 * (1 + momentum) / step_size
    if optimiser == "nesterov":
        return 2 * (1 + momentum) / (step_size * (1 + 2 * momentum))
    if optimiser == "adam":
        return 2 * (1 + momentum) / (step_size * (1 - momentum))
    if optimiser == "sam" and rho > 0:
        # the root of rho / ||g|| x^2 + x = 2 / eta, in the form that does not cancel
        root = math.sqrt(gradient_norm) * math.sqrt(gradient_norm + 8 * rho / step_size)
        return 4 * gradient_norm / (step_size * (gradient_norm + root)) if gradient_norm > 0 else 0.0
    return 2 / step_size
