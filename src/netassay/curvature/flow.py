"""Gradient flow, the limit of gradient descent for small steps, and its distance from the descent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from netassay.curvature.curvature import Curvature
from netassay.curvature.eigen import Eigenpairs, Product
from netassay.curvature.following import Follower
from netassay.curvature.forward import Batches, Evaluation, Head, Loss, Weights, lasting
from netassay.curvature.largest_curvature import Sharpness
from netassay.curvature.model import Blocks, copy_of, trainable_parameters
from netassay.curvature.objective import Objective
from netassay.errors import ModelError, NotFinite
from netassay.training import group_of, grouped

# Dormand and Prince (1980), RK5(4)7M: stages, the weights of fifth order, and the difference of those of fourth order
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_FOURTH = (-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40)
STABLE = 3.3
"""Largest step times curvature at which the method is stable."""

_SAFETY, _LEAST_FACTOR, _MOST_FACTOR = 0.9, 0.2, 5.0
_MOST_REJECTED = 60  # trials of a step, by which one halved each time is 1e-18 of what it was
_ROUNDING = 64.0  # units in the last place by which a loss may rise without counting as a rise

STOPPED = (
    "",
    "it had taken all the steps that it was given",
    "the loss rises however small the step: the gradient that autograd gives is not the slope of this loss",
    "loss or gradient are not finite however small the step",
    "the steps that its accuracy needs have become too small to tell one time from the next",
)
"""Why a flow may end before the requested time."""


class Point(NamedTuple):
    """Loss, and d theta / dt = -gradient (P,) float64."""

    loss: float
    slope: Tensor


class FlowLook(NamedTuple):
    """The flow at one time: its sharpness, whose errors include the effect of the path's error, and the estimated
    absolute errors of its loss and (Euclidean) of its weights.
    """

    sharpness: Sharpness
    loss_error: float
    weights_error: float

    @property
    def loss(self) -> float:
        return self.sharpness.loss


class GradientFlow:
    """The flow d theta / dt = -grad L(theta) from the weights of a model, which is copy_of.

    The method is Dormand and Prince's of fifth order. Each step is the longest that keeps its error, the difference to
    the embedded method of fourth order, below `accuracy`, and does not raise the loss, as no flow does; where the
    curvature is large that is about 3.3 / lambda. A second path, of fourth order, takes the same steps: its distance
    is the stated error of the first, which is more accurate by an order. 13 gradients per step; the network's weights
    are summed in float64. A step holds the graph of one batch at a time.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: Batches of (x, y) that can be iterated repeatedly.
        accuracy: Error allowed in each step, relative to the norm of the weights; at least 8 units in the last place
            of their dtype.
        alpha: No step is longer than alpha / lambda, lambda being the curvature along the step before.
        follower: Follows the sharpness along the flow.
        blocks: None, "layer", or block name -> parameter names.
        weights: Number of terms of each batch, as for `sharpness`.
        head: Which output the loss is taken of, as for `sharpness`.
        memory: Bytes for gradient graphs, as for `sharpness`.

    Attributes:
        time: Present time of the flow.
        steps: Steps taken.
        stopped: Why it stopped; None if it can continue.

    Raises:
        ModelError: For a module or loss without well-defined curvature.

    Source:
        Dormand, Prince (1980).

    Example:
        >>> import torch
        >>> from netassay.curvature import GradientFlow
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> flow = GradientFlow(model, torch.nn.functional.mse_loss, [(x, y)])
        >>> flow.time, flow.steps
        (0.0, 0)
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batches,
        *,
        accuracy: float = 1e-6,
        alpha: float | None = None,
        follower: Follower | None = None,
        blocks: Literal["layer"] | Blocks | None = None,
        weights: Weights | None = None,
        head: Head | None = None,
        memory: float | int | None = None,
    ) -> None:
        if alpha is not None and not 0 < alpha <= STABLE:
            raise ModelError(
                f"alpha={alpha}: the flow's steps are at most alpha / curvature, alpha above 0 and up to {STABLE}, or "
                "None for steps as long as the accuracy allows"
            )
        self.model, self.loss, self.batches = copy_of(model), loss, batches
        self.parameters = trainable_parameters(self.model)
        first = next(iter(self.parameters.values()))
        self._eps = torch.finfo(first.dtype).eps
        if not 8 * self._eps <= accuracy < 0.1:
            raise ModelError(
                f"accuracy={accuracy}: the error of a step relative to the weights is from {8 * self._eps:.0e} (in "
                f"{first.dtype}) to below 0.1"
            )
        self.accuracy, self.alpha, self.blocks = accuracy, alpha, blocks
        self.weights, self.head, self.memory = lasting(weights), head, memory
        self.follower = Follower() if follower is None else follower
        self.time, self.steps = 0.0, 0
        self._reason = 0
        self._objective: Objective | None = None
        self._at = torch.cat([p.detach().double().reshape(-1) for p in self.parameters.values()])
        self._beside = self._at.clone()
        self._step, self._last = math.nan, 1.0
        self._first, self._lowest = math.nan, math.inf
        self._rises = 0  # steps rejected for a rise since the loss was last at its lowest

    @property
    def stopped(self) -> str | None:
        return STOPPED[self._reason] or None

    def look(self) -> FlowLook:
        """Loss and sharpness at the flow's present time, with errors."""
        self._set_weights(self._at)
        with self._curvature() as curvature:
            sharpness = self.follower.follow(curvature)
            steepest = float(torch.linalg.vector_norm(curvature.gradient.double()))
        apart = float(torch.linalg.vector_norm(self._at - self._beside))
        if self.steps == 0:
            return FlowLook(sharpness, _ROUNDING * self._eps * abs(sharpness.loss), 0.0)
        # where steps are long the two paths, which share their stages, may agree better than either is accurate: then
        # the error allowed to one step is stated, and otherwise twice the distance
        off = max(2 * apart, self.accuracy * float(torch.linalg.vector_norm(self._at)))
        self._set_weights(self._beside)
        with self._curvature() as curvature:
            curvature.trust()
            beside = curvature.loss
            times = off / apart if apart > 0 else 0.0
            errors = _moved(sharpness, curvature.product, times)
            parts = {
                name: replace(pairs, errors=_moved(pairs, partial(curvature.block_product, name), times))
                for name, pairs in sharpness.blocks.items()
            }
        self._set_weights(self._at)
        bent = max(float(sharpness.values[0]), 0.0) * off**2 / 2
        loss_error = max(abs(beside - sharpness.loss), steepest * off + bent)
        loss_error += _ROUNDING * self._eps * max(abs(sharpness.loss), abs(self._first))
        return FlowLook(replace(sharpness, errors=errors, blocks=parts), loss_error, off)

    def advance(self, time: float, most_steps: int | None = None) -> bool:
        """Advances to `time` in at most `most_steps` further steps; returns whether it got there.

        If not, `stopped` says why. Raises ModelError for a time that has passed.
        """
        if time < self.time:
            raise ModelError(f"the flow is at time {self.time:g} and cannot go back to {time:g}")
        if self._reason == 1:
            self._reason = 0
        if time == self.time or self._reason:
            return not self._reason
        last = math.inf if most_steps is None else self.steps + most_steps
        point = self._point(self._at)
        if point is None:
            self._reason = 3
            return False
        if math.isnan(self._step):
            self._first = self._lowest = point.loss
            self._step = self._first_step(point, time)
        while self.time < time and not self._reason:
            if self.steps >= last:
                self._reason = 1
            elif (onward := self._one_step(point, time)) is not None:
                point = onward
        self._set_weights(self._at)
        return not self._reason

    def state(self) -> dict[str, Tensor]:
        """Everything the future depends on."""
        numbers = [self.time, self._step, self._last, self._first, self._lowest]
        return {
            "at": self._at,
            "beside": self._beside,
            "numbers": torch.tensor(numbers, dtype=torch.float64),
            "counts": torch.tensor([self.steps, self._reason, self._rises]),
            **grouped({"follower": self.follower.state()}),
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        if "at" in tensors:
            self._at, self._beside = (tensors[key].to(self._at, copy=True) for key in ("at", "beside"))
            self.time, self._step, self._last, self._first, self._lowest = tensors["numbers"].tolist()
            self.steps, self._reason, self._rises = tensors["counts"].tolist()
        else:  # as 0.1.0 wrote it: the place alone
            parts = [tensors[f"model/{name}"] for name in self.parameters]
            self._at = torch.cat([part.to(self._at).reshape(-1) for part in parts])
            self._beside = self._at.clone()
            self.time, self.steps = float(tensors["time"]), int(tensors["steps"])
        self._set_weights(self._at)
        self.follower.load(group_of(tensors, "follower"))

    def _one_step(self, point: Point, time: float) -> Point | None:
        """One accepted step, shortened as often as necessary; None if the flow cannot continue, with the reason."""
        reason, beside = 0, None
        for _ in range(_MOST_REJECTED):
            step = min(self._step, time - self.time)
            if self.time + step == self.time:
                self._reason = reason or 4
                return None
            new, end, error, curved = self._try_step(self._at, point, step)
            if end is None:
                reason, factor = 3, 0.25
            elif end.loss > self._lowest + self._rise(curved):
                reason, factor = 2, 0.5
                self._rises += 1
                if self._rises == _MOST_REJECTED:
                    self._reason = reason
                    return None
            else:
                new_beside, _, off, _ = self._try_step(self._beside, beside, step, order=4)
                error, reason = max(error, off), 0
                if error <= 1:
                    self._accept(step, new, new_beside, end, error, curved, time)
                    return end
                factor = max(_LEAST_FACTOR, _SAFETY * error**-0.2) if math.isfinite(error) else 0.25
            self._step = step * factor
        self._reason = reason or 4
        return None

    def _accept(
        self, step: float, new: Tensor, beside: Tensor, end: Point, error: float, curved: float, time: float
    ) -> None:
        # proportional and integral control (Gustafsson 1991) keeps the steps even at the border of stability
        growth = _SAFETY * max(error, 1e-10) ** -0.14 * self._last**0.08
        longer = step * min(_MOST_FACTOR, max(_LEAST_FACTOR, growth))
        shortened = step < self._step  # to end at a requested time: no reason to continue with steps as short
        self._step = max(longer, self._step) if shortened else longer
        if self.alpha is not None and curved > 0:
            self._step = min(self._step, self.alpha / curved)
        self._last = max(error, 1e-4)
        self.time = time if step == time - self.time else self.time + step
        self._at, self._beside = new, beside
        if end.loss < self._lowest:
            self._lowest, self._rises = end.loss, 0
        self.steps += 1

    def _try_step(
        self, start: Tensor, begin: Point | None, step: float, order: Literal[4, 5] = 5
    ) -> tuple[Tensor, Point | None, float, float]:
        """A step from `start`: where it leads, loss and slope at its end, its error over what is allowed, and the
        curvature along it. The end is None, the error infinite, where something on the way is not finite.
        """
        point = self._point(start) if begin is None else begin
        slopes: list[Tensor] = []
        before = start
        at = start
        for weights in _STAGES:
            if point is None:
                return start, None, math.inf, 0.0
            slopes.append(point.slope)
            before, at = at, start.clone()
            for weight, slope in zip(weights, slopes, strict=True):
                at.add_(slope, alpha=step * weight)
            point = self._point(at)
        if point is None:
            return start, None, math.inf, 0.0
        slopes.append(point.slope)
        off = torch.zeros_like(start)
        for weight, slope in zip(_FOURTH, slopes, strict=True):
            off.add_(slope, alpha=step * weight)
        size = max(float(torch.linalg.vector_norm(start)), float(torch.linalg.vector_norm(at)))
        error = float(torch.linalg.vector_norm(off)) / (self.accuracy * size) if size > 0 else 0.0
        # the last two stages are at the same time, so their slopes differ only by the curvature
        apart = float(torch.linalg.vector_norm(at - before))
        curved = float(torch.linalg.vector_norm(slopes[-1] - slopes[-2])) / apart if apart > 0 else 0.0
        return (at if order == 5 else at + off), point, error, curved

    def _first_step(self, point: Point, time: float) -> float:
        steep, size = (float(torch.linalg.vector_norm(v)) for v in (point.slope, self._at))
        step = 0.01 * size / steep if steep > 0 and size > 0 else 1e-6 if steep > 0 else time - self.time
        return step if math.isfinite(step) else 1.0

    def _rise(self, curved: float) -> float:
        """How much the loss may exceed its lowest value: rounding, and the effect of the error allowed per step."""
        allowed = self.accuracy * float(torch.linalg.vector_norm(self._at))
        return _ROUNDING * self._eps * max(abs(self._first), abs(self._lowest)) + curved * allowed**2 / 2

    def _curvature(self) -> Curvature:
        curvature = Curvature(
            self.model,
            self.loss,
            self.batches,
            blocks=self.blocks,
            weights=self.weights,
            head=self.head,
            memory=self.memory,
        )
        self.weights = curvature.weights
        return curvature

    def _set_weights(self, at: Tensor) -> None:
        """Sets the model's weights."""
        with torch.no_grad():
            sizes = [p.numel() for p in self.parameters.values()]
            for p, part in zip(self.parameters.values(), at.split(sizes), strict=True):
                p.copy_(part.view_as(p))

    def _point(self, at: Tensor) -> Point | None:
        """Loss and slope at these weights; None where they are not finite."""
        self._set_weights(at)
        try:
            # the weights of the batches are determined once, not at every step
            if self._objective is None:
                self._objective = Objective(self.model, self.loss, self.batches, weights=self.weights, head=self.head)
                self.weights = self._objective.weights.later
            value, slopes = gradient(self._objective, list(self.parameters.values()))
        except NotFinite:
            return None
        slope = torch.cat([s.double().reshape(-1) for s in slopes]).neg_()
        return Point(value, slope) if bool(slope.isfinite().all()) else None


def _moved(pairs: Sharpness | Eigenpairs, product: Product, times: float) -> Tensor:
    """The errors of eigenvalues, plus `times` the change of each vector's Rayleigh quotient in a nearby matrix."""
    forms = torch.tensor([float(v.double() @ product(v).double()) for v in pairs.vectors.unbind(1)])
    return pairs.errors + times * (forms.double() - pairs.values).abs()


def gradient(objective: Objective, parameters: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
    """The full loss and its gradient, zero where the loss does not reach; the graph of one batch at a time."""
    sums = [torch.zeros_like(p) for p in parameters]
    value = 0.0

    def add(_: int, evaluation: Evaluation) -> None:
        nonlocal value
        value += float(evaluation.loss.detach()) * evaluation.weight
        slopes = torch.autograd.grad(evaluation.loss, parameters, allow_unused=True)
        for total, slope in zip(sums, slopes, strict=True):
            if slope is not None:
                total.add_(slope.detach(), alpha=evaluation.weight)

    objective.visit(add)
    return value / objective.total, [total.div_(objective.total) for total in sums]


@dataclass(frozen=True)
class FlowPath:
    """Gradient flow at those of the requested times that it reached, with estimated absolute errors.

    `times`, `losses`, `loss_errors`, `sharpness`, `errors` (of the sharpness) and `weights_errors` (Euclidean) belong
    together, as do the tuples of `blocks`, the sharpness of each block. `reached` says whether all times were reached;
    if not, `stopped` says why, and `weights` (by parameter) are those at `end_time`, where the flow stopped.
    """

    times: tuple[float, ...]
    losses: tuple[float, ...]
    loss_errors: tuple[float, ...]
    sharpness: tuple[float, ...]
    errors: tuple[float, ...]
    blocks: Mapping[str, tuple[float, ...]]
    weights: Mapping[str, Tensor]
    weights_errors: tuple[float, ...]
    steps: int
    reached: bool
    end_time: float
    stopped: str | None


def gradient_flow(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    times: Sequence[float],
    accuracy: float = 1e-6,
    alpha: float | None = None,
    blocks: Literal["layer"] | Blocks | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
    most_steps: int | None = None,
    weights: Weights | None = None,
    head: Head | None = None,
    memory: float | int | None = None,
) -> FlowPath:
    """Follow gradient flow from the model's weights through ascending times; the model is left unchanged.

    A path that could not be followed to the end says so (`reached`, `stopped`) and holds no number for the times
    beyond. 2 / max(sharpness) is the step size below which gradient descent stays near the flow.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: Batches of (x, y) that can be iterated repeatedly.
        times: Times at which the path is reported, ascending from 0 on.
        accuracy: Error allowed in each step, relative to the norm of the weights. The errors of the entire path are
            estimated by a second path and reported beside each number.
        alpha: No step is longer than alpha / curvature; by default unlimited.
        blocks: None, "layer", or block name -> parameter names.
        tolerance: Relative tolerance of the sharpness (0 to 1).
        seed: Seed of the starting vectors.
        most_steps: Maximum number of steps, each of 13 gradients.
        weights: Number of terms of each batch, as for `sharpness`.
        head: Which output the loss is taken of, as for `sharpness`.
        memory: Bytes for gradient graphs, as for `sharpness`.

    Returns:
        Loss and sharpness at each time, with their errors.

    Raises:
        ModelError: For times that do not ascend from 0 on, and for a module or loss without well-defined curvature.
        DataError: For batches that do not fit the loss.

    Source:
        Cohen, Kaur, Li, Kolter, Talwalkar (2021), section 3.1; Dormand, Prince (1980).

    Example:
        >>> import torch, netassay
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> path = netassay.gradient_flow(model, torch.nn.functional.mse_loss, [(x, y)], times=[0.0, 0.1])
        >>> path.losses[1] < path.losses[0]
        True
    """
    if not times or not all(b >= a and math.isfinite(b) for a, b in zip([0.0, *times], times, strict=False)):
        raise ModelError(f"times={list(times)[:5]}: give at least one, finite, ascending, from 0 on")
    flow = GradientFlow(
        model,
        loss,
        batches,
        accuracy=accuracy,
        alpha=alpha,
        blocks=blocks,
        follower=Follower(tolerance=tolerance, seed=seed),
        weights=weights,
        head=head,
        memory=memory,
    )
    looks: list[FlowLook] = []
    for time in times:
        if not flow.advance(time, None if most_steps is None else max(0, most_steps - flow.steps)):
            break
        looks.append(flow.look())
    names = looks[0].sharpness.blocks if looks else ()
    return FlowPath(
        tuple(times[: len(looks)]),
        tuple(look.loss for look in looks),
        tuple(look.loss_error for look in looks),
        tuple(float(look.sharpness.values[0]) for look in looks),
        tuple(float(look.sharpness.errors[0]) for look in looks),
        {name: tuple(float(look.sharpness.blocks[name].values[0]) for look in looks) for name in names},
        {name: p.detach() for name, p in flow.parameters.items()},
        tuple(look.weights_error for look in looks),
        flow.steps,
        len(looks) == len(times),
        flow.time,
        flow.stopped if len(looks) < len(times) else None,
    )
