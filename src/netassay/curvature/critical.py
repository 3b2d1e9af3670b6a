"""Critical sharpness: the longest step along a direction that does not raise the loss, by forward passes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from netassay.curvature import line_search
from netassay.curvature.curvature import Curvature
from netassay.curvature.directions import directional
from netassay.curvature.displacement import Direction, as_direction, inner_product
from netassay.curvature.forward import Batches, Head, Loss, Weights
from netassay.curvature.line_search import MEASURED, find_bracket
from netassay.curvature.passes import Losses, Passes
from netassay.curvature.rises import Line, Rises
from netassay.curvature.shards import Processes, local
from netassay.curvature.updates import Update, is_optimizer, next_update
from netassay.errors import ModelError

SMALL = 0.01  # share of the loss up to which a rise in proportion to the rate counts as an ascent from the start


@dataclass(frozen=True)
class DirectionalSharpness:
    """d'Hd / g'd along a direction d, the critical sharpness of the quadratic that fits the loss at the weights.

    Attributes:
        value: d'Hd / g'd.
        error: Estimated absolute error of the value (from 0).
        curvature: d'Hd.
        slope: -g'd, negative for a descent.

    Source:
        Kalra et al. (2026, arXiv 2601.16979).

    Example:
        >>> import torch, netassay
        >>> x, y = torch.eye(2), torch.tensor([[2.0], [1.0]])
        >>> model, loss = torch.nn.Linear(2, 1, bias=False), torch.nn.MSELoss()
        >>> critical = netassay.critical_sharpness(model, loss, [(x, y)], directional="product")
        >>> round(critical.directional.value, 3)
        1.0
    """

    value: float
    error: float
    curvature: float
    slope: float


@dataclass(frozen=True)
class CriticalSharpness:
    """2 over the smallest learning rate along a direction that raises the loss.

    Attributes:
        value: From 0; NaN if there is none.
        lower: Lower end of the interval that encloses the value, noise included.
        upper: Upper end of it.
        status: "measured", "not a descent direction" (every step raises the loss), "no rise" (no step does), "hidden by
            noise" or "out of passes".
        converged: Whether the interval is as narrow as requested.
        passes: Forward passes over all batches, checks included.
        loss: Loss at the weights.
        noise: The largest rise that is indistinguishable from none.
        step: The optimiser's own learning rate; None for other directions.
        memory: Bytes of copies.
        directional: The directional sharpness, if requested.

    Source:
        Kalra et al. (2026, arXiv 2601.16979).

    Example:
        >>> import torch, netassay
        >>> x, y = torch.eye(2), torch.tensor([[2.0], [1.0]])
        >>> model, loss = torch.nn.Linear(2, 1, bias=False), torch.nn.MSELoss()
        >>> critical = netassay.critical_sharpness(model, loss, [(x, y)])
        >>> critical.lower <= critical.value <= critical.upper
        True
    """

    value: float
    lower: float
    upper: float
    status: str
    converged: bool
    passes: int
    loss: float
    noise: float
    step: float | None
    memory: int
    directional: DirectionalSharpness | None = None

    @property
    def rate(self) -> float:
        """The critical learning rate, 2 / value; infinite where no step raises the loss."""
        return 2 / self.value if self.value > 0 else math.inf if self.value == 0 else math.nan

    @property
    def edge_ratio(self) -> float:
        """The optimiser's learning rate over the critical one; above 1 its next step raises the loss. NaN without."""
        return math.nan if self.step is None else self.step * self.value / 2


def critical_sharpness(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    direction: Literal["gradient"] | Any | Tensor | Sequence[Tensor] | Mapping[str, Tensor] = "gradient",
    along: Batches | None = None,
    start: CriticalSharpness | float | None = None,
    tolerance: float = 0.05,
    present_loss: float | None = None,
    sample: bool = False,
    directional: Literal["product", "differences"] | None = None,
    reduction: Literal["mean", "sum"] | None = None,
    weights: Weights | None = None,
    head: Head | None = None,
    max_passes: int = 60,
    processes: Any = None,
) -> CriticalSharpness:
    """2 over the smallest learning rate along a direction that raises the loss over all batches, by forward passes.

    On a quadratic it is d'Hd / g'd; for the gradient g'Hg / g'g, which is at most the largest eigenvalue and may be far
    below it: no substitute for `sharpness`. No second derivative is taken, except by "product", and no first one except
    for the gradient: compiled models (run as written), fused attention and frozen or quantised parts work. If trainable
    weights have 16 bits, the model is evaluated in float32. In coarse arithmetic (autocast) two more passes measure
    its noise. Of several crossings it finds one near its start. Weights, optimiser and everything else are left
    unchanged, bit for bit.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: Batches that can be iterated repeatedly.
        direction: d, of which a learning rate eta makes the step theta - eta d: "gradient"; a `torch.optim.Optimizer`
            between `backward()` and `step()`, whose next update, taken on copies, is measured in its learning rate; a
            vector (P,) or tensors shaped like the trainable parameters.
        along: Batches whose gradient or update is used instead of that of `batches` (relative critical sharpness).
        start: An earlier result, or a learning rate to begin from.
        tolerance: Half the width of the interval relative to its middle (0 to 0.5).
        present_loss: The loss over `batches` at the present weights, if known, to save a pass.
        sample: Whether the batches (2 or more) are a sample, so that the interval also holds two standard errors of
            the rise.
        directional: Adds the directional sharpness, by one Hessian product ("product") or by four forward passes
            ("differences").
        reduction: "mean" or "sum", as for `sharpness`.
        weights: Number of terms of each batch, as for `sharpness`.
        head: Which output the loss is taken of, as for `sharpness`.
        max_passes: Maximum number of forward passes of the search (2 or more).
        processes: Process group of replicas, each of which gives its own list of batches, of equal length: the loss is
            that of all. Models sharded by `fully_shard` bring their own; their direction must be that of an optimiser.

    Returns:
        The value with its interval, and what it cost.

    Raises:
        ModelError: For a module, loss or direction that has none, or an argument out of range.
        DataError: For batches that do not fit the loss.

    Source:
        The line search is that of Kalra et al. (2026, arXiv 2601.16979).

    Example:
        >>> import torch, netassay
        >>> x, y = torch.eye(2), torch.tensor([[2.0], [1.0]])
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> critical = netassay.critical_sharpness(model, torch.nn.MSELoss(), [(x, y)])
        >>> round(critical.value, 3), critical.status
        (1.0, 'measured')
    """
    _require(tolerance, max_passes, start, present_loss, directional)
    options = {"reduction": reduction, "weights": weights, "head": head}
    together = None if processes is None else Processes(processes)
    passes = Passes(model, loss, batches, processes=together, **options)  # type: ignore[arg-type]
    line = _line(passes, direction, None if along is None else Passes(model, loss, along, **options))  # type: ignore[arg-type]
    size = math.sqrt(passes.inner_product(line.direction, line.direction))
    if not (size > 0 and math.isfinite(size)):
        raise ModelError(f"the direction has length {size:g}; a step along it has no effect, so give another")
    warm = isinstance(start, CriticalSharpness) and start.rate > 0 and math.isfinite(start.rate)
    search = Rises(passes, line, _base(passes, line, present_loss, warm), sample)
    bracket = find_bracket(
        search.rise,
        _begin(search, size, start),
        slope=line.slope,
        hint=line.hint,
        warm=warm,
        small=SMALL * abs(search.loss),
        tolerance=tolerance,
        max_passes=max_passes,
    )
    noise = search.noise(bracket, start.noise if isinstance(start, CriticalSharpness) else 0.0)
    value, lower, upper, status = search.interval(bracket, noise)
    beside = None
    if directional is not None:
        beside = _directional(search, value, noise, directional, (model, loss, batches, options))
    width = (1 + tolerance) / (1 - tolerance) * (1 + 1e-6)
    return CriticalSharpness(
        value,
        lower,
        upper,
        status,
        status == line_search.MEASURED and 0 < upper <= lower * width,
        passes.count,
        search.loss,
        noise,
        line.step,
        max(line.memory, passes.displaced.memory) + _bytes(line.direction),
        beside,
    )


def _require(tolerance: float, max_passes: int, start: Any, present_loss: Any, by: Any) -> None:
    if not 0 < tolerance < 0.5:
        raise ModelError(f"tolerance={tolerance}: half the relative width of the interval lies between 0 and 0.5")
    if type(max_passes) is not int or max_passes < 2:
        raise ModelError(f"max_passes={max_passes!r}: the number of forward passes is a whole number, at least 2")
    if not (start is None or isinstance(start, CriticalSharpness)) and not (
        isinstance(start, int | float) and start > 0 and math.isfinite(start)
    ):
        raise ModelError(f"start={start!r}: give an earlier result or a learning rate, finite and above 0")
    if present_loss is not None and not math.isfinite(present_loss):
        raise ModelError(f"present_loss is {present_loss}; the weights or the loss have left the finite numbers")
    if by not in (None, "product", "differences"):
        raise ModelError(f'directional={by!r}: allowed are "product", "differences" and None')


def _line(passes: Passes, direction: Any, along: Passes | None) -> Line:
    if isinstance(direction, str):
        if direction != "gradient":
            raise ModelError(
                f'direction={direction!r}: allowed are "gradient", a torch.optim.Optimizer, a tensor and a list of '
                "tensors"
            )
        if along is not None:
            return Line(along.gradient()[0])
        gradient, losses = passes.gradient()
        return Line(gradient, slope=-inner_product(gradient, gradient), losses=losses)
    if is_optimizer(direction):
        gradients = None if along is None else along.gradient()[0]
        update: Update = next_update(direction, passes.parameters, gradients)
        present = {n: local(p.grad) for n, p in passes.parameters.items() if p.grad is not None}
        hint = None
        if along is None:
            hint = -passes.inner_product(present, {name: update.direction[name] for name in present})
        return Line(update.direction, hint=hint, step=update.rate, memory=update.memory)
    if along is not None:
        raise ModelError("along= gives the data of a gradient or update, and the direction is given; leave one out")
    return Line(as_direction(passes.parameters, direction))


def _base(passes: Passes, line: Line, present: float | None, warm: bool) -> Losses | float:
    """The losses at the weights; in a first search computed twice for modules that may be random."""
    if warm and present is not None:
        return float(present)
    base = line.losses or passes.losses()
    assert base is not None
    if not warm:
        passes.require_same(base.total)
    if present is not None and abs(present - base.total) > 1e3 * passes.epsilon * abs(base.total):
        raise ModelError(
            f"present_loss is {present:.6g} and the loss over the batches at these weights {base.total:.6g}; leave "
            "present_loss out, or give the batches of the training step in the same mode"
        )
    return base


def _begin(search: Rises, size: float, start: CriticalSharpness | float | None) -> float:
    """A learning rate to begin from."""
    if isinstance(start, CriticalSharpness) and start.rate > 0 and math.isfinite(start.rate):
        return start.rate
    if isinstance(start, int | float):
        return float(start)
    line = search.line
    slope = line.slope if line.slope is not None else line.hint
    if slope is not None and slope < 0 and search.loss > 0:
        # a quadratic that stays above 0 crosses before four times this rate
        return search.loss / -slope
    if line.step is not None:
        return line.step
    pieces = {name: local(p.detach()) for name, p in search.passes.parameters.items()}
    weights = math.sqrt(search.passes.inner_product(pieces, pieces))
    return 0.01 * (weights or 1.0) / size


def _directional(
    search: Rises,
    value: float,
    noise: float,
    by: str,
    of: tuple[nn.Module, Loss, Batches, Mapping[str, Any]],
) -> DirectionalSharpness:
    direction = search.line.direction
    if by == "product":
        model, loss, batches, options = of
        with Curvature(model, loss, batches, **options) as curvature:
            d = torch.cat([direction[name].reshape(-1) for name in curvature.names]).to(curvature.gradient)
            bent = directional(curvature.product, d) * float(d.double() @ d.double())
            slope = -float(curvature.gradient.double() @ d.double())
            rounding = 1e3 * torch.finfo(curvature.dtype).eps
        return DirectionalSharpness(bent / -slope, abs(rounding * bent / slope), bent, slope)
    rate = (2 / value if value > 0 else _begin(search, math.sqrt(inner_product(direction, direction)), None)) / 4
    wide, narrow = ([search.rise(sign * h) for sign in (1, -1)] for h in (rate, rate / 2))
    coarse, fine = (sum(wide) / rate**2, sum(narrow) / (rate / 2) ** 2)
    bent = (4 * fine - coarse) / 3
    steep, steeper = ((wide[0] - wide[1]) / (2 * rate), (narrow[0] - narrow[1]) / rate)
    slope = (4 * steeper - steep) / 3
    off = abs(bent - fine) + 8 * noise / rate**2
    error = off / abs(slope) + abs(bent) / slope**2 * (abs(slope - steeper) + 2 * noise / rate)
    return DirectionalSharpness(bent / -slope, error, bent, slope)


def _bytes(direction: Direction) -> int:
    return sum(part.nbytes for part in direction.values())


class CriticalFollower:
    """Measures the critical sharpness of a model repeatedly while it is trained.

    A measurement starts from the last one, and takes 2 or 3 forward passes if that is still near. After an error (see
    `critical_sharpness`) the next one starts afresh.

    Args:
        direction: As for `critical_sharpness`.
        tolerance: Half the relative width of the interval (0 to 0.5).
        keywords: Other arguments of `critical_sharpness`.

    Example:
        >>> import torch, netassay
        >>> model, x, y = torch.nn.Linear(3, 1), torch.randn(20, 3), torch.randn(20, 1)
        >>> follower = netassay.CriticalFollower()
        >>> looks = [follower.follow(model, torch.nn.MSELoss(), [(x, y)]) for _ in range(2)]
        >>> looks[1].passes <= looks[0].passes
        True
    """

    def __init__(self, *, direction: Any = "gradient", tolerance: float = 0.05, **keywords: Any) -> None:
        self.direction, self.tolerance, self.keywords = direction, tolerance, keywords
        self.last: CriticalSharpness | None = None
        """The last result that was measured."""

    def follow(
        self, model: nn.Module, loss: Loss, batches: Batches, *, present_loss: float | None = None
    ) -> CriticalSharpness:
        """At the present weights; `present_loss` is the loss over the batches there, if the training knows it."""
        begin, self.last = self.last, None
        now = critical_sharpness(
            model,
            loss,
            batches,
            direction=self.direction,
            tolerance=self.tolerance,
            start=begin,
            present_loss=present_loss,
            **self.keywords,
        )
        self.last = now if now.status == MEASURED else begin
        return now
