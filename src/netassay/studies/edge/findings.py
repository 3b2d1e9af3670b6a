"""Results of a run of the edge study, read from its folder.

Phases of a trajectory, found in its recorded numbers by stated rules.

With r = eta lambda / 2, lambda the sharpness of the whole network (or of one layer), at the measured steps:

- crossing: the first measured step with r >= 1 whose predecessor has r < 1. A trajectory that begins with r >= 1 has
  no crossing; it "starts above". If it falls below EDGE_LOW and comes back to 1 later, it is taken from that fall on
  (adaptive methods begin so, with a preconditioner that is almost zero).
- sharpening: from the smallest r before the crossing (without a crossing: before the largest r) up to it, if r grows by
  at least a tenth of its value on the way.
- edge: from the crossing (of a trajectory that starts above: from its first r < EDGE_HIGH) to the last step with
  r >= EDGE_LOW, if at least EDGE_COUNT measurements lie there and half of them or more have EDGE_LOW <= r <= EDGE_HIGH.
- catapult: the loss rises to CATAPULT_RISE times its smallest value so far and returns to that value, while r at the
  return is at most CATAPULT_FALL of its largest value since that smallest loss; from the first step above it on.
- convergence: the first step from which on the loss stays below CONVERGED of the first loss.
- divergence: the step at which training was given up (loss not finite, or beyond a multiple of the first).

Thresholds: the names below. Source of the picture: Cohen et al. (2021), sections 3.1 to 3.3; catapult: Lewkowycz et
al. (2020).
"""

from __future__ import annotations

from typing import Any, NamedTuple, get_type_hints

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from netassay.reporting.quantity import Course, Quantity
from netassay.runs import Run, State

GROWTH = 1.1
EDGE_LOW, EDGE_HIGH, EDGE_COUNT = 0.8, 1.25, 8
CATAPULT_RISE, CATAPULT_FALL = 2.0, 0.8
CONVERGED = 0.01


class Phase(NamedTuple):
    """A phase of the whole network (part "") or of one layer, steps inclusive; r = eta lambda / 2 within it."""

    phase: str
    part: str
    first_step: int
    last_step: int
    ratio_start: float
    ratio_end: float
    ratio_median: float
    ratio_low: float
    ratio_high: float


def phases(
    steps: Int[np.ndarray, " m"],
    ratios: Float[np.ndarray, " m"],
    losses: Float[np.ndarray, " n"],
    *,
    diverged_at: int | None = None,
) -> list[Phase]:
    """Phases of the whole network: `ratios` at the measured `steps` (ascending), `losses` at steps 0, 1, 2, ..."""
    rows = layer_phases(steps, ratios, part="")
    if spike := _catapult(steps, ratios, losses):
        rows.append(_phase("catapult", "", steps, ratios, *spike))
    if (settled := _converged(losses)) is not None and diverged_at is None:
        rows.append(_phase("convergence", "", steps, ratios, settled, len(losses) - 1))
    if diverged_at is not None:
        rows.append(_phase("divergence", "", steps, ratios, diverged_at, diverged_at))
    return sorted(rows, key=lambda phase: phase.first_step)


def layer_phases(steps: Int[np.ndarray, " m"], ratios: Float[np.ndarray, " m"], *, part: str) -> list[Phase]:
    """Sharpening, crossing and edge of one part, from its own ratios."""
    if not len(steps):
        return []
    rows = []
    first = _return_from_below(ratios)
    steps, ratios = steps[first:], ratios[first:]
    above = ratios >= 1
    rises = np.flatnonzero(above[1:] & ~above[:-1]) + 1
    crossing = int(rises[0]) if len(rises) and not above[0] else None
    top = crossing if crossing is not None else int(np.argmax(ratios))
    if not above[0]:
        low = int(np.argmin(ratios[: top + 1]))
        if ratios[top] >= GROWTH * ratios[low] > 0:
            rows.append(_phase("sharpening", part, steps, ratios, int(steps[low]), int(steps[top])))
    if crossing is not None:
        at = int(steps[crossing])
        rows.append(_phase("crossing", part, steps, ratios, at, at))
    if edge := _edge(steps, ratios, crossing):
        rows.append(_phase("edge", part, steps, ratios, *edge))
    return rows


def _return_from_below(ratios: np.ndarray) -> int:
    """Where a trajectory that starts above and comes back from below begins; 0 for all others."""
    low = np.flatnonzero(ratios < EDGE_LOW)
    return int(low[0]) if ratios[0] >= 1 and len(low) and (ratios[low[0] :] >= 1).any() else 0


def _edge(steps: np.ndarray, ratios: np.ndarray, crossing: int | None) -> tuple[int, int] | None:
    first = crossing
    if crossing is None and ratios[0] >= 1:
        first = next((i for i, r in enumerate(ratios) if r < EDGE_HIGH), None)
    if first is None:
        return None
    last = max((i for i, r in enumerate(ratios) if r >= EDGE_LOW and i >= first), default=first)
    within = ratios[first : last + 1]
    near = np.mean((within >= EDGE_LOW) & (within <= EDGE_HIGH))
    return (int(steps[first]), int(steps[last])) if len(within) >= EDGE_COUNT and near >= 0.5 else None


def _catapult(steps: np.ndarray, ratios: np.ndarray, losses: np.ndarray) -> tuple[int, int] | None:
    smallest = np.minimum.accumulate(losses)
    for spike in np.flatnonzero(losses >= CATAPULT_RISE * smallest):
        floor = smallest[spike]
        valley = int(np.flatnonzero(losses[: spike + 1] == floor)[-1])
        back = np.flatnonzero(losses[spike:] <= floor)
        if not len(back):
            return None
        end = int(spike + back[0])
        during, after = ratios[(steps >= valley) & (steps <= end)], ratios[steps >= end]
        if len(during) and len(after) and after[0] <= CATAPULT_FALL * during.max():
            return valley + 1, end
    return None


def _converged(losses: np.ndarray) -> int | None:
    if not len(losses) or not losses[-1] < CONVERGED * losses[0]:
        return None
    high = np.flatnonzero(~(losses < CONVERGED * losses[0]))
    return int(high[-1]) + 1


def _phase(name: str, part: str, steps: np.ndarray, ratios: np.ndarray, first: int, last: int) -> Phase:
    within = ratios[(steps >= first) & (steps <= last)]
    if not len(within):
        return Phase(name, part, int(first), int(last), *[float("nan")] * 5)
    low, median, high = np.quantile(within, [0.25, 0.5, 0.75])
    return Phase(
        name,
        part,
        int(first),
        int(last),
        float(within[0]),
        float(within[-1]),
        float(median),
        float(low),
        float(high),
    )


def _metrics(names: str, part: str, at: str, meaning: str) -> Quantity:
    return Quantity(tuple(names.split()), part, at, meaning)


METRICS = (
    _metrics("loss", '""', "every step", "L(θ)"),
    _metrics("gradient_norm", '"", layer', "every step", "Euclidean norm of the gradient"),
    _metrics("sharpness", '""', "curvature", "λ, largest eigenvalue of H"),
    _metrics("sharpness", "layer", "curvature", "largest eigenvalue of H_ll; never above λ (Cauchy interlacing)"),
    _metrics(
        "sharpness_error sharpness_residual",
        '"", layer',
        "curvature",
        "estimated absolute error of the value; norm of Hv − λv",
    ),
    _metrics("products", '"", layer', "curvature", "Hessian products spent on it"),
    _metrics(
        "edge_ratio",
        '"", layer',
        "curvature",
        "λ over the optimiser's threshold, for gradient descent ηλ/2: 1 is the edge",
    ),
    _metrics("eigenvalue", "rank", "curvature", "the `top` largest eigenvalues of H"),
    _metrics(
        "leading_weight",
        "layer",
        "curvature",
        "squared length of the layer's part of the leading eigenvector; they sum to 1",
    ),
    _metrics(
        "preconditioned_sharpness preconditioned_sharpness_error preconditioned_products",
        '"", layer',
        "curvature",
        "largest eigenvalue of P⁻¹H, its estimated error, products spent on it (adam, rmsprop)",
    ),
    _metrics("accuracy", "train, test", "curvature", "share of right classes"),
    _metrics("test_loss", '""', "curvature", "loss on the test examples"),
    _metrics("parameter_norm distance", '"", layer', "curvature", "norm of θ, of θ minus its start"),
    _metrics("left_out", "reason", "step 0", "number of data that the network could not use, by reason"),
)
"""Metrics of every run; optional ones are in `instruments`."""
COURSE = Course("eta lambda/2", "edge_ratio")
"""The metric that shows the progress of a run: 1 is the edge."""


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """The table of phases, the network first, then layer by layer."""
    return {"phases": phase_table(run)}


def phase_table(run: Run) -> pl.DataFrame:
    """Phases found in a run's numbers, as far as they go; columns are the fields of `Phase`."""
    metrics = run.metrics()
    ratios = metrics.filter(pl.col("name") == "edge_ratio")
    diverged_at = run.step if run.state == State.DIVERGED else None
    rows = phases(
        *_series(ratios, ""),
        _series(metrics.filter(pl.col("name") == "loss"), "")[1],
        diverged_at=diverged_at,
    )
    for part in ratios["part"].unique(maintain_order=True):
        if part:
            rows += layer_phases(*_series(ratios, part), part=part)
    return pl.DataFrame([phase._asdict() for phase in rows], schema=get_type_hints(Phase))


def _series(metrics: pl.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray]:
    rows = metrics.filter(pl.col("part") == part).sort("step")
    return rows["step"].to_numpy(), rows["value"].to_numpy()


def summary(run: Run) -> dict[str, Any]:
    """Phases and the last recorded numbers; None for what was never measured."""
    last = run.last_values()
    return {
        "phases": phase_table(run).to_dicts(),
        "loss": last.get(("loss", "")),
        "accuracy": last.get(("accuracy", "train")),
        "test_loss": last.get(("test_loss", "")),
        "test_accuracy": last.get(("accuracy", "test")),
        "sharpness": last.get(("sharpness", "")),
        "edge_ratio": last.get(("edge_ratio", "")),
    }
