"""The exact levels: the largest eigenvalues of the network and of its layers, followed from look to look."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial
from typing import Literal, NamedTuple

import torch
from torch import nn

from netassay.curvature.combined import Part, Preconditioned
from netassay.curvature.curvature import Curvature
from netassay.curvature.eigen import Eigenpairs
from netassay.curvature.following import Follower
from netassay.curvature.forward import Batches, Head, Loss, Weights, lasting
from netassay.curvature.largest_curvature import Sharpness
from netassay.curvature.model import Blocks, resolve_blocks, trainable_parameters
from netassay.curvature.processes import Summed, in_all
from netassay.curvature.shards import Processes, in_one_piece, is_sharded
from netassay.curvature.subsample import Cheap, OutputCurvature, Subsample, subsample
from netassay.errors import ModelError
from netassay.studies.edge.networks import curvature_metrics, preconditioned_metrics
from netassay.studies.edge.tracker.budget import SEARCH_EVERY, Budget
from netassay.studies.edge.tracker.journal import Journal
from netassay.studies.edge.tracker.module import left_as_it_was, require_alone
from netassay.studies.edge.tracker.motion import Motion
from netassay.training import Metric

MotionNow = Callable[[Mapping[str, nn.Parameter]], Motion | str]
"""The present motion of the optimiser, or the reason in words why there is none."""

FIRST_PRODUCTS = 14
"""Maximum number of products of the first look, of about two gradients each: half of them for each matrix of an
adaptive method. Errors are stated, and later looks continue from there. With a subsample about six suffice.
"""

ROOT = "(root)"
"""Name of the block of the module's own parameters, elsewhere the empty string."""


class ExactLook(NamedTuple):
    """One look: the sharpness, all metrics, the motion (or why there is none), and whether nothing came before it."""

    sharpness: Sharpness
    metrics: dict[Metric, float]
    motion: Motion | str
    is_first: bool


class ExactLevel:
    """Looks at the entire network, then at layers in turn as far as the budget goes, each continuing from its last."""

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        budget: Budget,
        motion: MotionNow,
        journal: Journal,
        *,
        blocks: Literal["layer"] | Blocks | None,
        every: int | None,
        tolerance: float,
        mode: str,
        weights: Weights | None,
        head: Head | None,
        memory: float | int | None,
        processes: Processes | None,
    ) -> None:
        self.model, self.loss, self.head, self.memory = model, loss, head, memory
        self.batches: Batches = []
        self.budget, self.motion, self.journal, self.processes = budget, motion, journal, processes
        self.every, self.tolerance, self.mode = every, tolerance, mode
        self._asked, self._given = within(model, blocks), lasting(weights)
        self._sample: Callable[[], Subsample | None] | None = None  # of the present look, made when first needed
        Follower(tolerance=tolerance)  # refuses an invalid tolerance
        self.begin_anew({})

    @property
    def has_layers(self) -> bool:
        return self._asked is not None and self._asked != {}

    def begin_anew(self, form: Mapping[str, object]) -> None:
        """Forgets all looks, after an error or for other parameters."""
        self._form = form  # shape, dtype and device of each trainable parameter
        self.blocks: Mapping[str, Sequence[str]] = {}
        self._turn = itertools.count()
        self._turns: dict[str, int] = {}  # when each layer was last measured, -1 for never
        self._now: Motion | None = None
        self.weights: Weights | None = self._given  # or, after the first look, the weights of the batches
        self._followers: dict[tuple[type, str], Follower] = {}

    def next_layers(self) -> list[str]:
        """Layers of the next look: together at most as expensive as the whole network, at least one."""
        planned: list[str] = []
        cost = 0.0
        for name in self._in_turn():
            cost += self.budget.expected(name)
            if planned and cost > self.budget.expected():
                break
            planned.append(name)
        return planned

    def look(self, batches: Batches) -> ExactLook:
        """A look at the present weights, on these batches."""
        self.batches = batches
        with ExitStack() as stack:
            with self.budget.looking():
                curvature, parameters = self._enter(stack)
                now = self.motion(parameters)
                self._now, first = now if isinstance(now, Motion) else None, not self._followers
                network = self._follow("", curvature)
                scaled, preconditioned = None, None
                if isinstance(now, Motion) and now.preconditioner is not None:
                    try:
                        preconditioned = Preconditioned(curvature, now.preconditioner)
                        scaled = self._follow("", preconditioned)
                    except ModelError as cause:
                        now = f"the preconditioner cannot be used: {cause}"
            layers, scaled_layers = {}, {}
            for name in self._in_turn():
                if self.every is None and not self._agreement(self.budget.affords(self.budget.expected(name))):
                    break
                self._turns[name] = next(self._turn)
                with self.budget.looking(name), self.journal.going_on("a layer was not measured"):
                    pairs = self._follow(name, curvature)
                    if scaled is not None and preconditioned is not None:
                        scaled_layers[name] = self._follow(name, preconditioned)
                    layers[name] = pairs
            norm = float(torch.linalg.vector_norm(curvature.gradient.double()))
            sharpness = Sharpness.of(network, layers, curvature.loss)
            adaptive = None if scaled is None else Sharpness.of(scaled, scaled_layers, curvature.loss)
        return ExactLook(sharpness, self._metrics(sharpness, adaptive, now, norm, parameters), now, first)

    def _agreement(self, decision: bool) -> bool:
        return decision if self.processes is None else self.processes.agreed(decision)

    def _in_turn(self) -> list[str]:
        """Layers, the one measured longest ago first."""
        return sorted(self._turns, key=self._turns.__getitem__)

    def _enter(self, stack: ExitStack) -> tuple[Curvature | Summed, dict[str, nn.Parameter]]:
        """The curvature at the present weights, until the stack is left."""
        parameters = trainable_parameters(self.model)
        form = {name: (p.shape, p.dtype, p.device) for name, p in parameters.items()}
        if form != self._form:
            self.begin_anew(form)
        # among the numbers "" is the whole network
        self.blocks = {name or ROOT: members for name, members in resolve_blocks(self.model, self._asked).items()}
        self._turns = {name: self._turns.get(name, -1) for name in self.blocks}
        stack.enter_context(left_as_it_was(self.model, self.mode))
        require_alone(self.model)
        if is_sharded(self.model):
            stack.enter_context(in_one_piece(self.model))
        output = OutputCurvature() if self.processes is None and self._has_new else None

        def build() -> Curvature:
            return Curvature(
                self.model,
                self.loss,
                self.batches,
                blocks=self.blocks or None,
                weights=self.weights,
                head=self.head,
                memory=self.memory,
                each=None if output is None else output.add,
            )

        own = stack.enter_context(build() if self.processes is None else in_all(self.processes, build))
        self.weights = own.weights
        self._sample = None if output is None else cache(partial(self._subsample, stack, own, output))
        return own if self.processes is None else Summed(own, self.processes), parameters

    @property
    def _has_new(self) -> bool:
        """Whether the next look may search a matrix for the first time."""
        parts = {part for _, part in self._followers}
        return not all(part in parts for part in ("", *self.blocks))

    def _subsample(self, stack: ExitStack, full: Curvature, output: OutputCurvature) -> Subsample | None:
        """A subsample of the examples for the search of a new matrix, where one saves products."""
        sample = stack.enter_context(
            subsample(
                self.model,
                self.loss,
                self.batches,
                full,
                output,
                torch.Generator().manual_seed(0),
                kind="hessian",
                blocks=self.blocks or None,
                reduction=None,
                head=self.head,
            )
        )
        if sample is not None:
            full.check_lightly()
        return sample

    def _follow(self, part: str, curvature: Curvature | Summed | Preconditioned) -> Eigenpairs:
        """The eigenpairs of a block, or of the network for "", with its own follower."""
        key = type(curvature), part
        cheap: Cheap | None = None
        if key not in self._followers:
            self._followers[key] = Follower(
                tolerance=self.tolerance, probe_every=SEARCH_EVERY, search_products=self._search_products()
            )
            cheap = self._cheap(part, curvature)
        pairs = self._followers[key].follow(Part(curvature, part), None if cheap is None else lambda _: cheap)
        return Eigenpairs(pairs.values, pairs.vectors, pairs.residuals, pairs.errors, pairs.products)

    def _cheap(self, part: str, curvature: Curvature | Summed | Preconditioned) -> Cheap | None:
        """A cheaper matrix for the search of a new one."""
        sample = None if self._sample is None else self._sample()
        if sample is None:
            return None
        cheap = sample.of(part or None)
        return cheap.scaled(curvature.scale_of(part)) if isinstance(curvature, Preconditioned) else cheap

    def _search_products(self) -> int | None:
        """Maximum number of products for a new matrix; None if the budget does not matter."""
        if self.every is not None or self.budget.share >= 1:
            return None
        return FIRST_PRODUCTS // (1 if self._now is None or self._now.preconditioner is None else 2)

    def _metrics(
        self,
        sharpness: Sharpness,
        scaled: Sharpness | None,
        now: Motion | str,
        norm: float,
        parameters: Mapping[str, nn.Parameter],
    ) -> dict[Metric, float]:
        def ratio(value: float) -> float:
            return now.edge_ratio(value, norm) if isinstance(now, Motion) else math.nan

        values = curvature_metrics(sharpness, ratio, parameters, self.blocks)
        if scaled is not None:
            values |= preconditioned_metrics(scaled, ratio)
        values["tracked_loss"] = sharpness.loss
        if isinstance(now, Motion):
            return values | {"step_size": now.step_size, "threshold": now.edge(norm)}
        return {key: value for key, value in values.items() if key[0] != "edge_ratio"}


def within(model: nn.Module, blocks: Literal["layer"] | Blocks | None) -> Literal["layer"] | Blocks | None:
    """Blocks by the names of the inner module, checked if the module can be tracked as it is."""
    if isinstance(blocks, Mapping):
        parameters = dict(model.named_parameters())
        blocks = {
            str(name): [
                member.removeprefix("module.") if isinstance(member, str) and member not in parameters else member
                for member in members
            ]
            if not isinstance(members, str)
            else members
            for name, members in blocks.items()
        }
    elif blocks == "layer":
        return "layer"
    try:
        trainable_parameters(model)
    except ModelError:
        return blocks
    resolve_blocks(model, blocks)
    return blocks
