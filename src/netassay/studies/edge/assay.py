"""One run of the edge study: its optimisers, and the descent of one network with its measurements."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from netassay import training
from netassay.curvature.combined import Preconditioned
from netassay.curvature.curvature import Curvature
from netassay.curvature.following import Follower
from netassay.curvature.largest_curvature import Sharpness
from netassay.curvature.model import layer_blocks
from netassay.errors import NotFinite
from netassay.numerics import devices
from netassay.runs import Run
from netassay.studies.edge.config import OPTIMISERS, EdgeConfig, Method
from netassay.studies.edge.data import Data, load
from netassay.studies.edge.findings import tables as tables
from netassay.studies.edge.networks import (
    LOSSES,
    Loss,
    curvature_metrics,
    network,
    norms,
    performance,
    preconditioned_metrics,
)
from netassay.studies.edge.readers import Look, Reader, follower, readers
from netassay.training import Diverged, Every, Metric, group_of, grouped


def assay(config: EdgeConfig, recorder: training.Recorder, **keywords: Any) -> training.Result:
    """Trains the network of `config` and records its curvature; keywords go to `training.train`."""
    descent = build(config)
    return training.train(descent, recorder, steps=config.steps, divergence_factor=config.divergence_factor, **keywords)


def model(run: Run) -> nn.Module:
    """The network at the weights of the run's newest checkpoint, in evaluation mode."""
    descent = build(EdgeConfig.from_mapping(run.config, where=str(run.folder)))
    checkpoint = run.latest_checkpoint()
    descent.load(checkpoint.tensors, checkpoint.facts["trainee"])
    return descent.model.eval()


def build(config: EdgeConfig) -> Descent:
    """Data, network and descent of a config, at their start."""
    device, dtype = devices.device(config.device), getattr(torch, config.dtype)
    data = load(config, dtype=dtype, device=device)
    model = network(config, data, dtype=dtype).to(device)
    method = optimiser(config, {n: p for n, p in model.named_parameters() if p.requires_grad}, config.examples)
    return Descent(
        model,
        LOSSES[config.loss],
        data,
        optimiser=method,
        every=training.Every(config.curvature_every, last=config.steps),
        follower=follower(config, k=config.top),
        preconditioned=follower(config) if OPTIMISERS[config.optimiser].preconditioned else None,
        readers=readers(config, model, data),
        layers=config.layers,
    )


Vector = Mapping[str, Tensor]
"""Parameter name -> tensor of its shape."""

GradientOf = Callable[[Tensor | None], Vector]
"""Gradient at the current weights, of the given training examples (None: of all)."""


class Start(NamedTuple):
    """The inputs of an optimiser; `own` are its own keys of the config, `examples` the number to train on."""

    parameters: Mapping[str, Tensor]
    step_size: float
    method: Method
    own: Mapping[str, float]
    examples: int
    seed: int


class Optimiser:
    """Gradient descent, theta <- theta - eta g; the base of the others.

    `every_step` says whether the full gradient is needed at every step. The state is that of the optimiser alone,
    without weights.
    """

    every_step = True

    def __init__(self, start: Start) -> None:
        self.parameters, self.step_size = start.parameters, start.step_size

    def edge_ratio(self, value: float, gradient_norm: float) -> float:
        """A curvature relative to this optimiser's threshold: 1 is the edge, eta lambda / 2 for descent."""
        return self.step_size * value / 2

    def preconditioner(self, gradient: Vector) -> Tensor | None:
        """Diagonal of P (P,) in the next step, theta <- theta - eta P^-1 m; None for the identity."""
        return None

    @torch.no_grad()
    def advance(self, gradient: Vector, again: GradientOf) -> None:
        """One step from the weights at which `gradient` is the full gradient."""
        for name, p in self.parameters.items():
            # torch refuses a factor that the dtype cannot hold; the largest that it can overflows as well
            p.sub_(gradient[name], alpha=min(self.step_size, torch.finfo(p.dtype).max))

    def state(self) -> dict[str, Tensor]:
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `state` gave."""


class TorchOptimiser(Optimiser):
    """A method of `torch.optim`, with these options; its state is that library's tensors, by parameter and key."""

    def __init__(self, start: Start, method: Callable[..., torch.optim.Optimizer], **options: Any) -> None:
        super().__init__(start)
        self.threshold = start.method.threshold(start.step_size, start.own, 1.0)
        # one tensor at a time, for the same bits with every version of torch
        parameters = list(start.parameters.values())
        self.method = method(parameters, lr=start.step_size, foreach=False, **options)

    def edge_ratio(self, value: float, gradient_norm: float) -> float:
        return value / self.threshold

    def advance(self, gradient: Vector, again: GradientOf) -> None:
        for name, p in self.parameters.items():
            p.grad = gradient[name].to(p)
        self.method.step()
        self.method.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": tensor.detach().clone()
            for name, p in self.parameters.items()
            for key, tensor in self.method.state.get(p, {}).items()
            if isinstance(tensor, Tensor)
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.method.state.clear()
        for path, tensor in tensors.items():
            name, _, key = path.rpartition("/")
            p = self.parameters[name]
            self.method.state[p][key] = tensor.clone() if tensor.ndim == 0 else tensor.clone().to(p)


class HeavyBall(TorchOptimiser):
    """Polyak's heavy ball (1964) as `torch.optim.SGD` has it."""

    def __init__(self, start: Start) -> None:
        super().__init__(start, torch.optim.SGD, momentum=start.own["momentum"])


class Nesterov(TorchOptimiser):
    """Nesterov's momentum (1983) as `torch.optim.SGD` has it."""

    def __init__(self, start: Start) -> None:
        momentum = start.own["momentum"]
        super().__init__(start, torch.optim.SGD, momentum=momentum, nesterov=momentum > 0)


class Adam(TorchOptimiser):
    """Adam (Kingma and Ba 2015) as `torch.optim.Adam` has it."""

    def __init__(self, start: Start) -> None:
        self.momentum, self.beta2, self.epsilon = (start.own[key] for key in ("momentum", "beta2", "epsilon"))
        super().__init__(start, torch.optim.Adam, betas=(self.momentum, self.beta2), eps=self.epsilon)

    def preconditioner(self, gradient: Vector) -> Tensor:
        """(1 - b1^t) (sqrt(v_t / (1 - b2^t)) + epsilon) with the gradient of this step t = 1, 2, ... taken into v
        (Cohen et al. 2022, section 2).
        """
        pieces = []
        for name, p in self.parameters.items():
            moments = self.method.state.get(p, {})
            t = float(moments["step"]) + 1 if moments else 1.0
            v = (1 - self.beta2) * gradient[name].square()
            if moments:
                v = v + self.beta2 * moments["exp_avg_sq"]
            root = (v / (1 - self.beta2**t)).sqrt() + self.epsilon
            pieces.append(((1 - self.momentum**t) * root).reshape(-1))
        return torch.cat(pieces)


class RMSprop(TorchOptimiser):
    """RMSprop (Hinton 2012) as `torch.optim.RMSprop` has it, without momentum."""

    def __init__(self, start: Start) -> None:
        self.beta2, self.epsilon = start.own["beta2"], start.own["epsilon"]
        super().__init__(start, torch.optim.RMSprop, alpha=self.beta2, eps=self.epsilon)

    def preconditioner(self, gradient: Vector) -> Tensor:
        """sqrt(v_t) + epsilon with the gradient of this step taken into v."""
        pieces = []
        for name, p in self.parameters.items():
            moments = self.method.state.get(p, {})
            v = (1 - self.beta2) * gradient[name].square()
            if moments:
                v = v + self.beta2 * moments["square_avg"]
            pieces.append((v.sqrt() + self.epsilon).reshape(-1))
        return torch.cat(pieces)


class StochasticDescent(Optimiser):
    """Gradient descent on batches: every epoch a new order of the examples; its last batch may be smaller.

    The order of an epoch follows from seed and epoch, so the number of steps taken is the entire state.
    """

    every_step = False

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.batch_size = min(int(start.own["batch_size"]), start.examples)
        self.examples, self.seed, self.taken = start.examples, start.seed, 0

    def batch(self, step: int) -> Tensor:
        """Indices of the examples of batch `step`, counted from 0."""
        epoch, position = divmod(step, -(-self.examples // self.batch_size))
        order = torch.randperm(self.examples, generator=devices.generator(self.seed, "batches", str(epoch)))
        return order[position * self.batch_size : (position + 1) * self.batch_size]

    def advance(self, gradient: Vector, again: GradientOf) -> None:
        super().advance(again(self.batch(self.taken)), again)
        self.taken += 1

    def state(self) -> dict[str, Tensor]:
        return {"taken": torch.tensor(self.taken)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.taken = int(tensors["taken"])


class SharpnessAware(Optimiser):
    """Sharpness-aware minimisation (Foret et al. 2021) on all examples: the gradient is taken a distance rho uphill."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.rho, self.own, self.threshold = start.own["rho"], start.own, start.method.threshold

    def edge_ratio(self, value: float, gradient_norm: float) -> float:
        limit = self.threshold(self.step_size, self.own, gradient_norm)
        return value / limit if limit > 0 else float("inf") if value > 0 else 0.0

    def advance(self, gradient: Vector, again: GradientOf) -> None:
        norm = sum(float(g.double().square().sum()) for g in gradient.values()) ** 0.5
        if norm == 0:
            return
        before = {name: p.detach().clone() for name, p in self.parameters.items()}
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.add_(gradient[name], alpha=self.rho / norm)
        uphill = again(None)
        with torch.no_grad():
            # restored, not subtracted: rounding would change the weights
            for name, p in self.parameters.items():
                p.copy_(before[name])
        super().advance(uphill, again)


def optimiser(config: EdgeConfig, parameters: Mapping[str, Tensor], examples: int) -> Optimiser:
    """The optimiser of a config at its start, for the given parameters and number of training examples."""
    method, own = OPTIMISERS[config.optimiser], config.optimiser_settings()
    steps: type[Optimiser] = globals()[method.steps]  # a class of this file, named where no torch is loaded
    return steps(Start(parameters, config.step_size, method, own, examples, config.seed))


class Descent:
    """A network in training by an optimiser; a `training.Trainee`.

    Loss and gradient norms of the whole training set are measured at every step (under mini-batches the norms only
    with the curvature), everything else when `every` is due. Then the gradient and all Hessian products come from one
    graph, so the step's gradient is computed once. `preconditioned` follows P^-1/2 H P^-1/2 if the optimiser has a
    preconditioner.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Data,
        *,
        optimiser: Optimiser,
        every: Every,
        follower: Follower,
        preconditioned: Follower | None = None,
        readers: Sequence[Reader] = (),
        layers: bool = True,
    ) -> None:
        self.model, self.loss, self.data = model, loss, data
        self.optimiser, self.every, self.follower = optimiser, every, follower
        self.preconditioned, self.readers = preconditioned, readers
        self.blocks: Literal["layer"] | None = "layer" if layers else None
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.layers = layer_blocks(model)
        self.start = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.gradient: dict[str, Tensor] = {}

    def measure(self, step: int) -> Mapping[Metric, float]:
        due = self.every.due(step)
        with torch.set_grad_enabled(due or self.optimiser.every_step):
            loss = self.loss(self.model(self.data.train.inputs), self.data.train.labels)
        if not math.isfinite(loss.item()):
            return {"loss": loss.item()}
        if due:
            try:
                metrics = self._look(step)
            except NotFinite as cause:
                raise Diverged({"loss": loss.item()}, str(cause)) from None
        elif self.optimiser.every_step:
            metrics = {}
            gradient = torch.autograd.grad(loss, list(self.parameters.values()))
            self.gradient = dict(zip(self.parameters, gradient, strict=True))
        else:
            return {"loss": loss.item()}
        left_out = self.data.left_out if step == 0 else {}
        return (
            {"loss": loss.item()}
            | {("left_out", reason): float(count) for reason, count in left_out.items()}
            | norms("gradient_norm", self.gradient, self.layers)
            | metrics
        )

    def _look(self, step: int) -> dict[Metric, float]:
        """Curvature, performance and norms at the weights of `step`; leaves the gradient for `advance`."""
        batches = [(self.data.train.inputs, self.data.train.labels)]
        values = {name: p.detach() for name, p in self.parameters.items()}
        moved = {name: value - self.start[name] for name, value in values.items()}
        with Curvature(self.model, self.loss, batches, blocks=self.blocks) as curvature:
            sharpness = self.follower.follow(curvature)
            self._keep_gradient(curvature)
            scaled = self._preconditioned(curvature)
            further: dict[Metric, float] = {}
            if self.readers:
                path = torch.cat([m.reshape(-1) for m in moved.values()])
                look = Look(step, self.model, self.loss, self.data.train, curvature, sharpness, path, self.layers)
                for reader in self.readers:
                    further |= reader.read(look)
        return (
            curvature_metrics(sharpness, self._edge_ratio, values, self.layers)
            | ({} if scaled is None else preconditioned_metrics(scaled, self._edge_ratio))
            | performance(self.model, self.loss, self.data.train, self.data.test)
            | norms("parameter_norm", values, self.layers)
            | norms("distance", moved, self.layers)
            | further
        )

    def _keep_gradient(self, curvature: Curvature) -> None:
        pieces = curvature.gradient.split([p.numel() for p in self.parameters.values()])
        self.gradient = {name: g.view_as(p) for (name, p), g in zip(self.parameters.items(), pieces, strict=True)}

    def _preconditioned(self, curvature: Curvature) -> Sharpness | None:
        diagonal = self.optimiser.preconditioner(self.gradient)
        if diagonal is None or self.preconditioned is None:
            return None
        return self.preconditioned.follow(Preconditioned(curvature, diagonal))

    def _edge_ratio(self, value: float) -> float:
        norm = norms("gradient_norm", self.gradient, {})[("gradient_norm", "")]
        return self.optimiser.edge_ratio(value, norm)

    def advance(self) -> None:
        self.optimiser.advance(self.gradient, self._gradient_of)

    def _gradient_of(self, examples: Tensor | None) -> dict[str, Tensor]:
        """Gradient at the current weights, of some of the training examples or of all."""
        x, y = self.data.train
        if examples is not None:
            x, y = x[examples], y[examples]
        slopes = torch.autograd.grad(self.loss(self.model(x), y), list(self.parameters.values()))
        return dict(zip(self.parameters, slopes, strict=True))

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        groups: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "start": self.start,
            "follower": self.follower.state(),
            "optimiser": self.optimiser.state(),
        }
        if self.preconditioned is not None:
            groups["preconditioned"] = self.preconditioned.state()
        groups |= {reader.name: reader.state() for reader in self.readers}
        return grouped(groups), {"data": self.data.digest()}

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.data.require(facts["data"])
        self.model.load_state_dict(group_of(tensors, "model"))
        self.start = {name: tensor.to(self.start[name]) for name, tensor in group_of(tensors, "start").items()}
        self.follower.load(group_of(tensors, "follower"))
        self.optimiser.load(group_of(tensors, "optimiser"))
        if self.preconditioned is not None:
            self.preconditioned.load(group_of(tensors, "preconditioned"))
        for reader in self.readers:
            reader.load(group_of(tensors, reader.name))
