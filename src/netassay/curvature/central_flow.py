"""The central flow of gradient descent: the path around which it oscillates at the edge of stability.

Cohen, Damian, Talwalkar, Kolter, Lee (2025), section 3 (one unstable eigenvalue: 3.2; several: 3.3 and appendix A).
With H the Hessian at w, U the eigenvectors at 2 / eta, time counted in steps of the descent:

    dw / dt = -eta (grad L(w) + grad <H(w), Sigma> / 2),    Sigma = U X U',

where Sigma(t), the covariance of the oscillation, is the one that keeps every eigenvalue at or below 2 / eta: X >= 0,
d/dt of the unstable block of H <= 0, and the two orthogonal, a semidefinite complementarity problem. The time
averages of the descent that follow: loss L(w) + <H, Sigma> / 2, squared distance from w trace(Sigma).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netassay.curvature import suspects
from netassay.curvature.curvature import Curvature
from netassay.curvature.following import Follower
from netassay.curvature.forward import Batches, Evaluation, Head, Loss, Weights, flat_slopes, lasting
from netassay.curvature.model import copy_of, trainable_parameters
from netassay.curvature.objective import Objective
from netassay.curvature.tape import differentiable_thrice
from netassay.errors import ModelError
from netassay.training import group_of, grouped

NEAR = 0.02  # eigenvalues from this much below 2 / eta on take part in the complementarity problem
MOST = 12  # unstable eigenvalues; their third derivatives number 78
START_ABOVE = 1.005


@dataclass(frozen=True)
class CentralLook:
    """The central flow at one time.

    `loss` is L(w) itself, `predicted_loss` the time average of the descent's; `values` (k,) the eigenvalues near
    2 / eta, descending, at least the largest; `covariance` (k, k) X in their eigenvectors; `variance` its trace, the
    mean squared distance of the descent from w.
    """

    loss: float
    predicted_loss: float
    values: Tensor
    errors: Tensor
    covariance: Tensor
    variance: float
    velocity: Tensor  # (P,) dw / dt


class CentralFlow:
    """The central flow from the weights of a model, which is copied, for gradient descent with `step_size`.

    Euler steps of 1 / `substeps` of a step of the descent; as the eigenvalues must be at most 2 / eta at the end of
    each, they stay there without drift. The graphs of third derivatives are those of one batch at a
    time. Normalisations are differentiated from primitives.

    Args:
        model: Any module whose third derivatives exist.
        loss: Loss, as for `sharpness`.
        batches: Batches of (x, y) that can be iterated repeatedly.
        step_size: Step size eta of the descent (above 0).
        substeps: Euler steps for each step of the descent (1 or more).
        seed: Seed of the starting vectors.
        tolerance: Relative tolerance of the eigenvalues (0 to 1).
        weights: Number of terms of each batch, as for `sharpness`.
        head: Which output the loss is taken of, as for `sharpness`.
        memory: Bytes for gradient graphs, as for `sharpness`.

    Raises:
        ModelError: Where a third derivative disagrees with a finite difference at the start, where the flow begins
            above the edge, which the theory does not cover, and where more than 12 eigenvalues are at the edge.

    Source:
        Cohen, Damian, Talwalkar, Kolter, Lee (2025), Understanding optimization in deep learning with central flows.

    Example:
        >>> import torch, netassay
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
        >>> x, y = torch.randn(20, 3), torch.randn(20, 2)
        >>> flow = netassay.CentralFlow(model, torch.nn.functional.mse_loss, [(x, y)], step_size=0.05)
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batches,
        *,
        step_size: float,
        substeps: int = 4,
        seed: int = 0,
        tolerance: float = 1e-4,
        weights: Weights | None = None,
        head: Head | None = None,
        memory: float | int | None = None,
    ) -> None:
        if substeps < 2:
            raise ModelError(f"substeps={substeps}: at 2 / eta Euler's method needs at least 2 a step")
        self.model, self.loss, self.batches = copy_of(model), loss, batches
        self.step_size, self.substeps = step_size, substeps
        self.parameters = trainable_parameters(self.model)
        self.follower = Follower(k=1, tolerance=tolerance, seed=seed, max_products=60)
        self.weights, self.head, self.memory = lasting(weights), head, memory
        self._objective: Objective | None = None
        self.taken = 0
        self._unchecked = True

    @property
    def time(self) -> float:
        """Steps of the descent that have passed."""
        return self.taken / self.substeps

    def advance(self, step: int) -> None:
        """Advances to the time of the descent's `step`."""
        while self.taken < step * self.substeps:
            velocity = self.look().velocity / self.substeps
            with torch.no_grad():
                pieces = velocity.split([p.numel() for p in self.parameters.values()])
                for p, piece in zip(self.parameters.values(), pieces, strict=True):
                    p.add_(piece.view_as(p))
            self.taken += 1

    def look(self) -> CentralLook:
        """Eigenvalues, covariance and velocity at the flow's present weights."""
        edge, eta = 2 / self.step_size, self.step_size
        with Curvature(
            self.model, self.loss, self.batches, weights=self.weights, head=self.head, memory=self.memory
        ) as curvature:
            self.weights = curvature.weights
            sharpness = self.follower.follow(curvature)
            while float(sharpness.values[-1]) > (1 - NEAR) * edge and self.follower.k < min(MOST + 1, curvature.size):
                # the next eigenvalue may be at the edge as well: its vector is among the remembered rivals
                self.follower.k += 1
                sharpness = self.follower.follow(curvature)
        if self._objective is None:
            self._objective = Objective(self.model, self.loss, self.batches, weights=self.weights, head=self.head)
        if self._unchecked:
            require_third_derivatives(self._objective)
            self._unchecked = False
        if self.taken == 0 and float(sharpness.values[0]) > START_ABOVE * edge:
            raise ModelError(
                f"the sharpness at the start, {float(sharpness.values[0]):.4g}, is above 2 / eta = {edge:.4g}: the "
                "central flow begins below the edge; choose a smaller step size, or leave it out"
            )
        near = int((sharpness.values > (1 - NEAR) * edge).sum())
        if near > MOST:
            raise ModelError(f"more than {MOST} eigenvalues are at the edge at step {self.time:g}; not followed")
        self.follower.k = max(1, min(self.follower.k, near + 1))
        count = max(near, 1)
        values, vectors = sharpness.values[:count], sharpness.vectors[:, :count]
        covariance = torch.zeros(count, count, dtype=torch.float64)
        push = torch.zeros_like(curvature.gradient)
        if near:
            slopes = curvature_gradients(self._objective, vectors)  # (d, P)
            drift = slopes.double() @ curvature.gradient.double()  # of <H, .>, without the oscillation's contribution
            room = symmetric_vector(torch.diag((edge - values) * self.substeps / eta))
            covariance = complementary(drift.cpu() + room, (slopes.double() @ slopes.double().T).cpu(), count)
            push = 0.5 * symmetric_vector(covariance).to(slopes) @ slopes
        bent = float((covariance.diagonal() * values).sum()) / 2
        return CentralLook(
            sharpness.loss,
            sharpness.loss + bent,
            values,
            sharpness.errors[:count],
            covariance,
            float(covariance.trace()),
            -eta * (curvature.gradient + push),
        )

    def state(self) -> dict[str, Tensor]:
        """Everything the future depends on."""
        states = grouped({"model": self.parameters, "follower": self.follower.state()})
        return {**states, "k": torch.tensor(self.follower.k), "taken": torch.tensor(self.taken)}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for name, p in self.parameters.items():
            p.copy_(tensors[f"model/{name}"])
        self.taken, self.follower.k = int(tensors["taken"]), int(tensors["k"])
        self._unchecked = False
        self.follower.load(group_of(tensors, "follower"))


def require_third_derivatives(objective: Objective) -> None:
    """ModelError naming the module whose third derivatives disagree with differences of its second."""
    objective.visit(lambda _, evaluation: None, only={0})
    with objective.undisturbed(), differentiable_thrice():
        wrong = suspects.thrice_wrong(objective)
    if wrong is not None:
        name, off = wrong
        raise ModelError(
            f"the third derivatives of {name} as autograd gives them are {off:.0%} off those by finite differences, "
            "and the central flow depends on them; write it from primitives, or leave the central flow out"
        )


def curvature_gradients(objective: Objective, vectors: Tensor) -> Tensor:
    """grad_w of u_i' H(w) u_j for the columns u of `vectors` (P, k), as rows (k (k + 1) / 2, P).

    Rows are in the order of `symmetric_vector`, those of i != j times sqrt(2), so that the row vector of a
    symmetric matrix times them is the gradient of <U X U', H>. Holds the graph of one batch at a time.
    """
    parameters = list(trainable_parameters(objective.model).values())
    sizes = [p.numel() for p in parameters]
    columns = [u.split(sizes) for u in vectors.unbind(1)]
    shaped = [[part.view_as(p) for part, p in zip(column, parameters, strict=True)] for column in columns]
    count = len(shaped)
    total = vectors.new_zeros(count * (count + 1) // 2, vectors.shape[0])
    if not objective.count:
        objective.visit(lambda _, evaluation: None)  # the total weight of all batches

    def add(_: int, evaluation: Evaluation) -> None:
        for row, (slope, scale) in enumerate(_form_slopes(evaluation.loss, shaped, parameters)):
            if slope is not None:
                total[row] += evaluation.weight / objective.total * scale * slope

    with differentiable_thrice():
        objective.visit(add)
    return total


def _form_slopes(
    loss: Tensor, directions: list[list[Tensor]], parameters: list[nn.Parameter]
) -> Iterator[tuple[Tensor | None, float]]:
    """The gradient of u_i' H u_j of one batch for i <= j, None for zero, with what to multiply it by."""
    slopes = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
    for i, u in enumerate(directions):
        bent = _along(slopes, u, parameters)
        for j in range(i, len(directions)):
            form = _inner(bent, directions[j])
            if form is None or not form.requires_grad:
                yield None, 0.0
                continue
            parts = torch.autograd.grad(form, parameters, retain_graph=True, allow_unused=True)
            yield flat_slopes(parts, parameters).detach(), 1.0 if i == j else 2**0.5


def symmetric_vector(matrix: Tensor) -> Tensor:
    """Upper triangle of a symmetric matrix row by row, off-diagonal entries times sqrt(2): keeps inner products."""
    k = len(matrix)
    rows, columns = torch.triu_indices(k, k)
    return matrix[rows, columns] * torch.where(rows == columns, 1.0, 2**0.5).to(matrix)


def complementary(drift: Tensor, gram: Tensor, k: int) -> Tensor:
    """X (k, k) >= 0 with M = drift + gram X / 2 >= 0 and <X, M> = 0, all as `symmetric_vector`s; float64.

    These are the conditions for minimising <drift, X> + <X, gram X> / 4 over X >= 0, solved by accelerated projected
    gradients with restarts (Beck and Teboulle 2009; O'Donoghue and Candes 2015); for k = 1 in closed form.
    """
    if k == 1:
        curvature = float(gram[0, 0])
        return torch.tensor([[max(0.0, -2 * float(drift[0]) / curvature) if curvature > 0 else 0.0]]).double()
    q, b = drift.double().numpy(), gram.double().numpy() / 2
    scale = float(np.linalg.eigvalsh(b)[-1])
    if scale <= 0:
        return torch.zeros(k, k, dtype=torch.float64)
    x = y = np.zeros(len(q))
    t = 1.0
    size = 1e-10 * max(1e-30, float(np.abs(q).max()))
    for _ in range(20_000):
        slope = q + b @ y
        new = _projected(y - slope / scale, k)
        if float((y - new) @ (new - x)) > 0:
            t = 1.0
        step = (1 + (1 + 4 * t * t) ** 0.5) / 2
        moved = scale * float(np.abs(new - y).max())
        y = new + (t - 1) / step * (new - x)
        x, t = new, step
        if moved <= size:
            break
    return torch.from_numpy(_matrix(x, k))


def _projected(x: np.ndarray, k: int) -> np.ndarray:
    """The nearest positive semidefinite matrix, as vectors."""
    values, vectors = np.linalg.eigh(_matrix(x, k))
    nearest = (vectors * np.maximum(values, 0)) @ vectors.T
    rows, columns = np.triu_indices(k)
    return nearest[rows, columns] * np.where(rows == columns, 1.0, 2**0.5)


def _matrix(x: np.ndarray, k: int) -> np.ndarray:
    rows, columns = np.triu_indices(k)
    matrix = np.zeros((k, k))
    matrix[rows, columns] = matrix[columns, rows] = x * np.where(rows == columns, 1.0, 2**-0.5)
    return matrix


def _inner(a: list[Tensor | None], b: list[Tensor]) -> Tensor | None:
    parts = [(x * y).sum() for x, y in zip(a, b, strict=True) if x is not None]
    return torch.stack(parts).sum() if parts else None


def _along(slopes: tuple[Tensor | None, ...], u: list[Tensor], parameters: list[nn.Parameter]) -> list[Tensor | None]:
    """H u as a graph of the parameters."""
    live = [(s, part) for s, part in zip(slopes, u, strict=True) if s is not None and s.requires_grad]
    if not live:
        return [None] * len(u)
    outputs, weights = zip(*live, strict=True)
    return list(
        torch.autograd.grad(outputs, parameters, weights, create_graph=True, retain_graph=True, allow_unused=True)
    )
