"""Hessian and Gauss-Newton products at fixed weights, in full and per block, from retained gradient graphs."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Sized
from types import TracebackType
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netassay.curvature import suspects
from netassay.curvature.eigen import asymmetry
from netassay.curvature.forward import Batches, Evaluation, Head, Loss, Weights
from netassay.curvature.model import Blocks, plain_backends, resolve_blocks, trainable_parameters
from netassay.curvature.objective import Objective, refuse_data_not_finite
from netassay.curvature.tape import (
    REENTRANT,
    GaussNewtonTape,
    HessianTape,
    differentiable_once,
    graph_bytes,
    is_reentrant,
    not_twice_differentiable,
)
from netassay.errors import DataError, ModelError, NotFinite
from netassay.numerics import devices

Kind = Literal["hessian", "ggn"]
LARGE = 100_000  # numbers in a batch from which on its memory is checked first


class Curvature:
    """The loss at fixed weights, with its gradient graph retained so that further products need no forward pass.

    Vectors are flat: parameters with `requires_grad` in `named_parameters()` order, those of a block in the order of
    the block; parameters that the loss does not reach count as zeros. Products are exact sums over the batches; those
    of a block walk only the part of the graph between the block's gradient and its parameters.

    Memory: a batch's graph takes about four times the activations of a training step on it. Graphs are kept, until
    `release` or the end of the `with` block, while together they stay within `memory` bytes; those of further batches
    are rebuilt for every product: the memory of one, for about twice the time. After an in-place change
    of the weights, products raise ModelError.

    Args:
        model: Any module.
        loss: Loss, as for `sharpness`.
        batches: Batches of (x, y) that can be iterated repeatedly.
        kind: "hessian" or "ggn" (Gauss-Newton).
        blocks: None, "layer", or block name -> parameter names.
        reduction: How the loss reduces its terms, as for `sharpness`.
        weights: Number of terms of each batch, as for `sharpness`.
        head: Which output the loss is taken of, as for `sharpness`.
        memory: Bytes for gradient graphs; by default half of what is free.
        each: Called once with number and evaluation of every batch, before its graph may be freed.

    Attributes:
        loss: Loss over all batches.
        gradient: (P,) detached gradient.
        products: Products asked for, by block name; None for all parameters.
        checks: Products spent on checking that the matrix is symmetric. This uses a sample of the first batch or, if
            that has fewer than 32 examples or parts of different lengths, one product of all parameters. The first
            two products are compared as well, also for blocks.
        graph_bytes: Estimated bytes of all graphs; `kept` of `batches` batches have theirs in memory.

    Raises:
        ModelError: For a module that cannot be differentiated twice or whose second derivative is wrong.
        DataError: For batches that do not fit the loss.

    Source:
        Pearlmutter (1994) for Hessian products; Schraudolph (2002) for Gauss-Newton products.

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> with netassay.Curvature(model, torch.nn.functional.mse_loss, [(x, y)]) as curvature:
        ...     curvature.gradient.shape
        torch.Size([4])
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batches,
        *,
        kind: Kind = "hessian",
        blocks: Literal["layer"] | Blocks | None = None,
        reduction: Literal["mean", "sum"] | None = None,
        weights: Weights | None = None,
        head: Head | None = None,
        memory: float | int | None = None,
        each: Callable[[int, Evaluation], None] | None = None,
    ) -> None:
        if kind not in ("hessian", "ggn"):
            raise ModelError(f'kind={kind!r}: allowed are "hessian" and "ggn"')
        if memory is not None and not memory >= 0:
            raise ModelError(f"memory={memory!r}: a number of bytes, from 0 on")
        self.kind = kind
        self.blocks: Mapping[str, Sequence[str]] = resolve_blocks(model, blocks)
        self.products: Counter[str | None] = Counter()
        self._parameters = trainable_parameters(model)
        self._versions = {name: p._version for name, p in self._parameters.items()}
        self._objective = Objective(
            model, loss, batches, reduction=reduction, weights=weights, head=head, detach=kind == "ggn"
        )
        self._model = self._objective.model
        self._tapes: dict[int, HessianTape | GaussNewtonTape] = {}
        self._losses: dict[int, tuple[float, float]] = {}  # value and weight of each batch
        self._graph_bytes: int | None = None
        self._memory, self._released, self._each = memory, False, each
        self._unchecked, self._lightly, self.checks = True, False, 0
        self._first: dict[str | None, tuple[Tensor, Tensor] | None] = {}
        self._runs_again = False  # whether products need the settings of forward passes
        self.gradient: Float[Tensor, " P"] = self._build()
        total = self._objective.total
        self._losses = {i: (value, weight / total) for i, (value, weight) in self._losses.items()}
        self.loss: float = sum(value * weight for value, weight in self._losses.values())
        if not bool(self.gradient.isfinite().all()):
            refuse_data_not_finite(batches)
            raise NotFinite(
                f"the gradient is not finite although the loss is {self.loss:.6g}; the curvature is undefined"
            )

    @property
    def is_mean(self) -> bool:
        """Whether the loss of a batch is a mean of its terms, rather than their sum."""
        return self._objective.weights.mean

    @property
    def terms(self) -> float:
        """Number of terms that the loss is a mean of; 1 for a sum."""
        return self._objective.total

    @property
    def weights(self) -> Weights | None:
        """The weights of the batches, for another curvature of the same loss; None if the loss gives them."""
        return self._objective.weights.later

    @property
    def batches(self) -> int:
        """Number of batches that contribute to the loss."""
        return len(self._losses)

    @property
    def graphs(self) -> int:
        """Number of batches whose graphs are in memory."""
        return len(self._tapes)

    @property
    def kept(self) -> int:
        """Deprecated name of `graphs`."""
        warnings.warn("Curvature.kept is called graphs now", DeprecationWarning, stacklevel=2)
        return self.graphs

    @property
    def graph_bytes(self) -> int:
        """Estimated bytes of the graphs of all batches together; known before any product."""
        if self._graph_bytes is None:
            self._graph_bytes = sum(self._size_of(tape) for tape in self._tapes.values())
        return self._graph_bytes

    def _build(self) -> Tensor:
        """Goes over the batches once, keeps the graphs that fit, and returns the gradient."""
        # the graph of a single batch is needed for a product anyway
        single = isinstance(self._objective.batches, Sized) and len(self._objective.batches) == 1
        room = math.inf if single else self._room()
        sizes: dict[object, int] = {}  # of a graph, by the shapes of its batch
        sums: list[Tensor | None] = [None]

        def add(i: int, evaluation: Evaluation) -> None:
            if changed := self._changed():
                raise ModelError(
                    f"{type(self._model).__name__} or the loss writes into the weights ({changed!r}) while it is "
                    "evaluated, so the curvature has no fixed weights; change them outside the forward pass"
                )
            if not self._losses and is_reentrant(evaluation.loss):
                raise ModelError(f"{type(self._model).__name__} {REENTRANT}")
            if evaluation.shapes not in sizes:
                self._require_room(i, evaluation)
            tape = self._tape(evaluation, self._parameters)
            if not self._losses and differentiable_once(tape.roots()):
                raise self._explained("a custom function is marked once_differentiable")
            self._losses[i] = float(evaluation.loss.detach()), evaluation.weight
            _add(sums, 0, self._flat(self.names, tape.gradient), evaluation.weight)
            if not single:
                if evaluation.shapes not in sizes:
                    sizes[evaluation.shapes] = self._size_of(tape)
                self._graph_bytes = (self._graph_bytes or 0) + sizes[evaluation.shapes]
            if (self._graph_bytes or 0) <= room:
                self._tapes[i] = tape
            if self._each is not None:
                self._each(i, evaluation)

        self._objective.visit(add)
        assert sums[0] is not None
        total = self._objective.total
        return sums[0] if total == 1.0 else sums[0].div_(total)

    def _room(self) -> float:
        """Bytes for the graphs that are kept."""
        if self._memory is not None:
            return self._memory
        free = devices.free_memory(next(iter(self._parameters.values())).device)
        return math.inf if free is None else free / 2

    def _require_room(self, i: int, evaluation: Evaluation) -> None:
        """ModelError if the graph of the gradient, about as large as that of the loss, cannot fit."""
        if sum(shape.numel() for shape in evaluation.shapes) < LARGE:
            return
        free = devices.free_memory(next(iter(self._parameters.values())).device)
        size = graph_bytes([evaluation.loss], self._parameters.values())
        # it is at least half as large
        if free is not None and size / 2 > free:
            raise ModelError(
                f"batch {i}: the graph of its loss takes {size / 1e9:.1f} GB, that of the gradient as much again, and "
                f"{free / 1e9:.1f} GB are free; give the same data in more and smaller batches"
            )

    def _size_of(self, tape: HessianTape | GaussNewtonTape) -> int:
        return graph_bytes(tape.roots(), self._parameters.values())

    def _tape(
        self, evaluation: Evaluation, parameters: dict[str, nn.Parameter], *, again: bool = False
    ) -> HessianTape | GaussNewtonTape:
        try:
            if self.kind == "hessian":
                return HessianTape(evaluation, parameters)
            return GaussNewtonTape(evaluation, parameters, again=again)
        except RuntimeError as error:
            raise self._explained(error) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the flat vectors."""
        return tuple(self._parameters)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of weights of each parameter, in the order of the flat vectors."""
        return {name: p.numel() for name, p in self._parameters.items()}

    @property
    def size(self) -> int:
        """P, the number of trainable weights."""
        return self._size(self.names)

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the weights and of every product."""
        return self.gradient.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights and of every product."""
        return self.gradient.device

    def block_size(self, name: str) -> int:
        """Number of weights of a block."""
        return self._size(self._block(name))

    def block_gradient(self, name: str) -> Float[Tensor, " p"]:
        """The entries of the gradient that belong to a block, in the block's order."""
        parts = dict(zip(self.names, self.gradient.split([p.numel() for p in self._parameters.values()]), strict=True))
        return torch.cat([parts[member] for member in self._block(name)])

    def product(self, v: Float[Tensor, "P ..."]) -> Float[Tensor, "P ..."]:
        """The curvature matrix times one vector (P,) or the columns of (P, k)."""
        return self._columns(None, self.names, v)

    def block_product(self, name: str, v: Float[Tensor, "p ..."]) -> Float[Tensor, "p ..."]:
        """The diagonal block of the curvature matrix times one vector (p,) or the columns of (p, k)."""
        return self._columns(name, self._block(name), v)

    def trust(self) -> None:
        """Skips the check of symmetry, if it was made at other weights of the same network."""
        self._unchecked = False
        self._first = {}

    def check_lightly(self) -> None:
        """Skips the product with a random vector in the check of symmetry, if a subsample passed it."""
        self._lightly = True

    def release(self) -> None:
        """Frees the graphs; loss and gradient stay, products raise ModelError from now on."""
        self._tapes, self._released, self._first = {}, True, {}

    def __enter__(self) -> Curvature:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _block(self, name: str) -> Sequence[str]:
        if name not in self.blocks:
            names = ", ".join(map(repr, self.blocks)) or "none; give blocks= when building the curvature"
            raise ModelError(f"there is no block {name!r}; known: {names}")
        return self.blocks[name]

    def _size(self, names: Sequence[str]) -> int:
        return sum(self._parameters[name].numel() for name in names)

    def _columns(self, block: str | None, names: Sequence[str], v: Tensor) -> Tensor:
        size = self._size(names)
        if not isinstance(v, Tensor) or v.is_complex():
            kind = v.dtype if isinstance(v, Tensor) else type(v).__name__
            raise ModelError(f"the vector is {kind}; give a real tensor (for NumPy: torch.from_numpy, or to_scipy())")
        if v.ndim not in (1, 2) or v.shape[0] != size:
            raise ModelError(f"the vector has shape {tuple(v.shape)}; allowed are ({size},) and ({size}, k)")
        if self._released:
            raise ModelError("the graph of this curvature was released; build a new Curvature for further products")
        self._require_same_weights()
        self.products[block] += 1 if v.ndim == 1 else v.shape[1]
        v = v.to(self.gradient)
        if v.ndim == 2 and v.shape[1] == 0:
            return torch.zeros_like(v)
        columns = [v] if v.ndim == 1 else v.unbind(1)
        images = self._multiply(names, columns)
        for column, image in zip(columns, images, strict=True):
            self._check_symmetry(block, names, column, image)
        return images[0] if v.ndim == 1 else torch.stack(images, dim=1)

    def _check_symmetry(self, block: str | None, names: Sequence[str], v: Tensor, image: Tensor) -> None:
        """Compares the first two products with each other; at the first one of the full matrix also checks a sample.

        Products of Lanczos's method, whose second vector is the image of the first, reveal an asymmetry of a tenth;
        random vectors one of a hundredth. Without a symmetric sample, a random vector is multiplied.
        """
        if not self._unchecked or (block in self._first and self._first[block] is None):
            return
        if not bool((image != 0).any()) or not bool(image.isfinite().all()):
            return
        first = self._first.get(block)
        if first is not None:
            self._first[block] = None
            self._require_symmetric(asymmetry(v, image, *first), v, block)
            return
        self._first[block] = (v.clone(), image.clone())  # the caller may write into its own
        if block is None and not self._lightly:
            self._objective.require_same_loss(self.loss)
            off = self._objective.on_sample(self._asymmetry_of)
            if off is not None and off <= self._tolerated:
                return
            draws = torch.Generator().manual_seed(0)
            probe = torch.randn(len(v), generator=draws, dtype=v.dtype).to(v)
            self.checks += 1
            self._require_symmetric(asymmetry(v, image, probe, self._multiply(names, [probe])[0]), v, None)

    def _asymmetry_of(self, evaluation: Evaluation) -> float | None:
        """Asymmetry of the curvature of one evaluation; None if that is zero."""
        tape = self._tape(evaluation, self._parameters, again=True)
        draws = torch.Generator().manual_seed(0)

        def product(v: Tensor) -> Tensor:
            parts = v.split([*self.sizes.values()])
            vector = {n: part.view_as(self._parameters[n]) for n, part in zip(self.names, parts, strict=True)}
            return self._flat(self.names, self._product(tape, vector))

        u, v = torch.randn(2, self.size, generator=draws, dtype=self.dtype).to(self.gradient)
        hu, hv = product(u), product(v)
        defined = bool((hu != 0).any()) and bool((hu.isfinite() & hv.isfinite()).all())
        return asymmetry(u, hu, v, hv) if defined else None

    @property
    def _tolerated(self) -> float:
        """The asymmetry that may be rounding."""
        return 1e-6 if self.dtype == torch.float64 else 1e-2

    def _require_symmetric(self, off: float, v: Tensor, block: str | None) -> None:
        if off <= self._tolerated:
            return
        with self._objective.undisturbed():
            culprit = suspects.asymmetric(self._objective)
        # without a culprit it may be rounding, if the curvature is nearly zero
        if culprit is None and off <= (1e-3 if self.dtype == torch.float64 else 0.1):
            return
        of = "the curvature" if block is None else f"the curvature of block {block!r}"
        raise ModelError(
            f"{of} is not symmetric ({off:.1%} off), as every matrix of second derivatives must be: the second "
            f"derivative of {culprit or 'the model or the loss'} is wrong; write it from differentiable primitives, "
            "or give its custom function a backward pass that is itself differentiable"
        )

    def _multiply(self, names: Sequence[str], columns: Sequence[Tensor]) -> list[Tensor]:
        sizes = [self._parameters[name].numel() for name in names]
        vectors = [
            {n: part.view_as(self._parameters[n]) for n, part in zip(names, v.split(sizes), strict=True)}
            for v in columns
        ]
        sums: list[Tensor | None] = [None] * len(columns)

        def add(i: int, tape: HessianTape | GaussNewtonTape) -> None:
            for k, parts in enumerate(vectors):
                _add(sums, k, self._flat(names, self._product(tape, parts)), self._losses[i][1])

        for i, tape in self._tapes.items():
            add(i, tape)
        if missing := self._losses.keys() - self._tapes.keys():
            members = {name: self._parameters[name] for name in names}
            visited: list[int] = []

            def add_again(i: int, evaluation: Evaluation) -> None:
                self._require_same_loss(i, evaluation.loss)
                visited.append(i)
                add(i, self._tape(evaluation, members, again=True))

            self._objective.visit(add_again, only=missing)
            if len(visited) != len(missing):
                raise DataError(f"there are {len(visited)} of {len(missing)} batches left; give data that repeat")
        return [total for total in sums if total is not None]

    def _product(self, tape: HessianTape | GaussNewtonTape, v: dict[str, Tensor]) -> Sequence[Tensor | None]:
        if not self._runs_again:
            try:
                return tape.product(v)
            except RuntimeError:
                # products of a checkpointed module include its forward pass
                self._runs_again = True
        try:
            with plain_backends():
                return tape.product(v)
        except RuntimeError as error:
            raise self._explained(error) from error

    def _flat(self, names: Sequence[str], row: Sequence[Tensor | None]) -> Tensor:
        """Per-parameter results of a batch as one vector; None is zero."""
        return torch.cat([self._flat_part(name, part) for name, part in zip(names, row, strict=True)])

    def _flat_part(self, name: str, part: Tensor | None) -> Tensor:
        parameter = self._parameters[name].detach()
        if part is not None and part.is_sparse:
            raise ModelError(f"the gradient of {name!r} is sparse; build its module with sparse=False")
        return torch.zeros_like(parameter).reshape(-1) if part is None else part.detach().reshape(-1)

    def _require_same_loss(self, i: int, loss: Tensor) -> None:
        before, now = self._losses[i][0], float(loss.detach())
        if not abs(now - before) <= 1e3 * torch.finfo(loss.dtype).eps * max(abs(before), abs(now)):
            raise DataError(
                f"batch {i} changed while the curvature was in use: its loss was {before:.6g} and is {now:.6g}; give "
                "data that repeat in one order, and do not change model and data meanwhile"
            )

    def _changed(self) -> str | None:
        """The first parameter that was written to since the curvature was created."""
        return next((n for n, p in self._parameters.items() if p._version != self._versions[n]), None)

    def _require_same_weights(self) -> None:
        if changed := self._changed():
            raise ModelError(f"the weights changed ({changed!r}) while the curvature was in use; build a new one")

    def _explained(self, error: RuntimeError | str) -> ModelError:
        module = not_twice_differentiable(self._model, self._objective.run_model)
        names = {m: f"module {n!r} ({type(m).__name__})" for n, m in self._model.named_modules() if n}
        culprit = None if module is None else names.get(module, f"{type(module).__name__} itself")
        if "inplace operation" in str(error):
            marked = [
                f"{n!r} ({type(m).__name__})" for n, m in self._model.named_modules() if getattr(m, "inplace", False)
            ]
            if marked and (module is None or any(module.children())):
                culprit = f"one of the modules {', '.join(marked)}"
            return ModelError(
                f"{culprit or 'the model or loss'} overwrites a value in place that its derivative still needs; let it "
                "work on a copy: inplace=False, x = x + 1 for x += 1, functions without a trailing underscore"
            )
        return ModelError(
            f"autograd could not differentiate {culprit or 'the model or loss'} twice: {error} "
            "(replace the operation by a differentiable one)"
        )


def _add(sums: list[Tensor | None], k: int, flat: Tensor, weight: float) -> None:
    flat = flat if weight == 1.0 else flat.mul_(weight)
    total = sums[k]
    sums[k] = flat if total is None else total.add_(flat)
