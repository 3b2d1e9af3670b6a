"""The largest eigenvalues of a slowly changing curvature, followed from step to step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from netassay.curvature.davidson import run_davidson
from netassay.curvature.eigen import (
    Eigenpairs,
    Product,
    Ritz,
    Subspace,
    eigenpairs,
    error_bounds,
    probe,
    random_direction,
    room,
    rounding,
    run_lanczos,
    slackest,
)
from netassay.curvature.largest_curvature import Sharpness
from netassay.curvature.preconditioner import Preconditioner
from netassay.curvature.subsample import Cheap
from netassay.curvature.symmetric import Symmetric, Trusting
from netassay.errors import ModelError

SETTLING, NEAREST, LOOSE = 4, 3, 3e-3
"""Extra products of a cold start to a loose tolerance, and the number of rivals that they are spent on: such a
start stops with the rivals poorly resolved. A finer tolerance resolves them anyway.
"""

LEAP, LEAST_LEAP = 2.0, 0.01
"""Change of a leader beyond its trend, in units of the tolerance and at least as a share of its value, above which
the eigenvectors count as having turned: one with a part in the residual may lead now."""

FURTHER = 4  # extra products on the residuals of leaders that have leapt
FIRST = 2  # rivals that are multiplied to measure a first drift
_TINY = 1e-300  # avoids division by zero


@dataclass(frozen=True)
class Track:
    """The memory of one matrix: k leaders and their nearest rivals, descending."""

    vectors: Tensor  # (m, n), orthonormal up to one correction
    values: Tensor  # (m,) float64, when last multiplied, scaled since then as the k-th leader
    radii: Tensor  # (m,) float64, how far the eigenvalue may have been above
    ages: Tensor  # (m,) float64, steps since then
    drift: Tensor  # () float64, how fast rivals move against the k-th leader, per step; infinite until seen
    lowest: Tensor  # () float64, smallest Ritz value seen
    moved: Tensor  # (k,) float64, by how much the leaders changed in the last step

    def uppers(self) -> Tensor:
        """Plausible upper bound on each eigenvalue by now."""
        return self.values + self.radii + self.drift * self.ages


class Follower:
    """Follows the k largest eigenvalues of a curvature and of all its blocks along a training trajectory.

    Every step multiplies the leading vectors of the previous step, corrected to first order by their residuals and by
    the remembered rivals, and continues (Davidson) only where the error estimate exceeds `tolerance` relative to the
    value: one product for each matrix and leader where the top is isolated. A rival is multiplied again when it may
    have caught up by the drift so far; where a leader leaps away from its trend further products are spent on its
    residual, and every `probe_every` steps a random vector searches for a leader that was never in the subspace. After
    the first step no error is stated below the tolerance, since between searches eigenvectors that were never seen may
    have a part in the residual. The first step checks that the matrix is symmetric (see `Curvature`).

    Args:
        k: Number of eigenvalues of the entire matrix (1 or more).
        tolerance: Relative tolerance of each value (0 to 1).
        probe_every: Steps between searches with a random vector.
        seed: Seed of the random vectors.
        remember: Number of rivals to keep; memory is k + `remember` vectors for each matrix.
        max_products: Maximum number of products for one matrix in one step, except in searches; the rest shows in the
            errors.
        block_k: Number of eigenvalues of each block; by default k.
        search_products: Maximum number of products of the first step for each matrix; by default what convergence
            takes.

    Raises:
        ModelError: For a matrix that is not symmetric.

    Source:
        Davidson (1975).

    Example:
        >>> import torch, netassay
        >>> model = torch.nn.Linear(3, 1)
        >>> x, y = torch.randn(20, 3), torch.randn(20, 1)
        >>> follower = netassay.Follower(k=2)
        >>> with netassay.Curvature(model, torch.nn.functional.mse_loss, [(x, y)]) as curvature:
        ...     follower.follow(curvature).values.shape
        torch.Size([2])
    """

    def __init__(
        self,
        *,
        k: int = 1,
        tolerance: float = 1e-3,
        probe_every: int = 25,
        seed: int = 0,
        remember: int = 5,
        max_products: int = 12,
        block_k: int | None = None,
        search_products: int | None = None,
    ) -> None:
        block_k = k if block_k is None else block_k
        counts = {"k": k, "block_k": block_k, "probe_every": probe_every, "remember": remember}
        counts["max_products"] = max_products
        if min(counts.values()) < 1 or not 0 < tolerance < 1:
            text = ", ".join(f"{name}={value}" for name, value in counts.items())
            raise ModelError(
                f"{text}, tolerance={tolerance}: "
                "the counts must be at least 1 and the tolerance strictly between 0 and 1"
            )
        self.k, self.block_k, self.tolerance, self.probe_every = k, block_k, tolerance, probe_every
        self.remember, self.max_products = remember, max_products
        if search_products is not None and search_products < max(k, block_k):
            raise ModelError(f"search_products={search_products}: at least one product for each of {k} eigenvalues")
        self.search_products = search_products
        self.step = 0
        self._generator = torch.Generator().manual_seed(seed)
        self._tracks: dict[str | None, Track] = {}
        self._rooms: dict[tuple[str | None, int], tuple[int, bool]] = {}

    def follow(self, curvature: Symmetric, cheap: Callable[[str | None], Cheap] | None = None) -> Sharpness:
        """Eigenpairs of the whole and of every block of `curvature`, the next point of the trajectory.

        `cheap` gives cheaper matrices for those that are new (see `Subsample.of`).
        """
        if self.step and isinstance(curvature, Trusting):
            curvature.trust()
        full = self._matrix(None, curvature.product, curvature, cheap)
        blocks = {
            name: self._matrix(name, partial(curvature.block_product, name), curvature, cheap)
            for name in curvature.blocks
        }
        self.step += 1
        return Sharpness.of(full, blocks, curvature.loss)

    def state(self) -> dict[str, Tensor]:
        """The complete state; a follower with the same options that loads it continues bit for bit."""
        tensors = {"generator": self._generator.get_state(), "step": torch.tensor(self.step)}
        for name, track in self._tracks.items():
            prefix = "whole" if name is None else f"block:{name}"
            tensors |= {f"{prefix}:{f.name}": getattr(track, f.name).clone() for f in fields(Track)}
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores a state. Raises ModelError if something is missing from it."""
        try:
            self._generator.set_state(tensors["generator"])
            self.step = int(tensors["step"])
            prefixes = [key.removesuffix(":vectors") for key in tensors if key.endswith(":vectors")]
            self._tracks = {
                None if p == "whole" else p.removeprefix("block:"): Track(
                    **{f.name: _state_tensor(tensors, p, f.name).clone() for f in fields(Track)}
                )
                for p in prefixes
            }
        except KeyError as error:
            raise ModelError(
                f"the state of the follower lacks {error}; give all that Follower.state() returned"
            ) from None

    def _matrix(
        self,
        name: str | None,
        product: Product,
        curvature: Symmetric,
        cheap: Callable[[str | None], Cheap] | None = None,
    ) -> Eigenpairs:
        size = curvature.size if name is None else curvature.block_size(name)
        k = min(self.k if name is None else self.block_k, size)
        track = self._tracks.get(name)
        if (name, k) not in self._rooms:
            vectors = max(24, 2 * k + self.remember + 12)
            self._rooms[name, k] = room(vectors, k + self.remember, size, curvature.dtype, curvature.device)
        capacity, cramped = self._rooms[name, k]
        space = Subspace(product, size, capacity, curvature.dtype, curvature.device, cramped)
        if track is not None and track.vectors.shape[1] != size:
            subject = "the network" if name is None else f"block {name!r}"
            raise ModelError(
                f"{subject} had {track.vectors.shape[1]} parameters when last followed and has {size} now; "
                "use a new Follower for another network or other blocks"
            )
        if track is None:
            result = self._search(space, k, None if cheap is None else cheap(name))
        else:
            result = self._advance(space, track, k)
        pairs, self._tracks[name] = result
        return pairs

    def _search(self, space: Subspace, k: int, cheap: Cheap | None) -> tuple[Eigenpairs, Track]:
        limit = self.search_products
        settling = SETTLING if self.tolerance > LOOSE else 0
        settling = settling if limit is None else min(settling, (limit - k) // 4)
        options: dict[str, Any] = {"k": k, "tolerance": self.tolerance, "generator": self._generator}
        most = None if limit is None else limit - settling
        if cheap is None:
            pairs = run_lanczos(space, start=None, max_products=most, **options)
        else:
            preconditioner = Preconditioner(cheap.product, cheap.share, self.tolerance)
            pairs = run_davidson(space, preconditioner, max_products=most, **options)
            settling = 0 if preconditioner.useful else settling
        count = len(pairs.values) + self.remember
        for _ in range(settling):
            ritz = space.ritz(count)
            if space.full or not space.expand(ritz.residuals[int(ritz.norms[: k + NEAREST].argmax())]):
                break
        ritz = space.ritz(count)
        pairs = replace(pairs, products=space.products)
        return pairs, _remembered(ritz, k, torch.tensor(math.inf, dtype=torch.float64), ritz.values[-1])

    def _advance(self, space: Subspace, track: Track, k: int) -> tuple[Eigenpairs, Track]:
        searching = self.step % self.probe_every == 0
        last = track.values[:k].clone()
        # k may have changed since
        moved = torch.nn.functional.pad(track.moved, (0, max(0, k - len(track.moved))))[:k]
        track, inside = self._multiplied(space, track, k, searching)
        rivals = _rows(track, [i for i, multiplied in enumerate(inside) if not multiplied])
        further: int | None = None
        outside = float(rivals.uppers().max()) if len(rivals.values) else -math.inf
        limit = max(self.max_products, space.dimension)
        while True:
            ritz = space.ritz(k + self.remember)
            floor = rounding(ritz.values, ritz.vectors.dtype)
            errors = error_bounds(ritz.values, ritz.norms, k, outside) + floor
            loose = errors > self.tolerance * ritz.values[:k].abs() + 2 * floor
            complete = not bool(loose.any()) or space.full or space.products >= limit
            if complete and further is None:
                # a leader that follows its trend, or stands still, has not leapt
                change = ritz.values[:k] - last
                leaps = torch.minimum(change.abs(), (change - moved).abs())
                leap = float((leaps / ritz.values[:k].abs().clamp_min(_TINY)).max())
                further = FURTHER if leap > max(LEAP * self.tolerance, LEAST_LEAP) else 0
                limit += further
            if complete and further and space.expand(ritz.residuals[further % k]):
                further -= 1
            elif complete and searching:
                searching, limit = False, space.products + 2 * self.max_products
                probe(space, k, self.tolerance, self._generator, self.max_products, rivals.vectors)
            elif complete or not space.expand(_correction(ritz, slackest(ritz, loose), rivals)):
                # a rival that was not multiplied may lie above by less than the tolerance, and between searches
                # eigenvectors that were never seen may have a part in the residual
                errors = torch.maximum(errors, outside - ritz.values[:k])
                if space.dimension < space.size:
                    errors = torch.maximum(errors, self.tolerance * ritz.values[:k].abs() + floor)
                converged = not bool(loose.any())
                pairs = eigenpairs(ritz, errors, k, space.products, converged)
                track = replace(track, moved=ritz.values[:k] - last)
                return pairs, self._renewed(ritz, track, rivals, k)

    def _multiplied(self, space: Subspace, track: Track, k: int, searching: bool) -> tuple[Track, list[bool]]:
        """Multiplies the leaders, then the rivals that may have caught up; returns the track and which were."""
        inside = [i < k for i in range(len(track.vectors))]
        for vector in track.vectors[:k]:
            space.expand(vector)
        while space.dimension < k:  # two leaders have become one
            space.expand(random_direction(space, self._generator))
        last, bar = track.values[k - 1], space.rayleigh(k - 1)
        ratio = bar / last if 0.5 < float(bar / last) < 2 else torch.ones_like(bar)
        values = torch.cat([track.values[:k], track.values[k:] * ratio])
        # rivals that were calm when last seen may have begun to move with the leader
        drift = torch.maximum(track.drift, (bar - last).abs() / 20)
        track = replace(track, values=values, ages=track.ages + 1, drift=drift)
        highest = float(bar) + self.tolerance * abs(float(bar))
        unseen, fastest, moves = not bool(drift.isfinite()), drift, []
        waiting = [*range(k, len(values))]
        while waiting:
            uppers = (track.values + track.radii + fastest * track.ages).tolist()
            stale = [i for i in waiting if searching and float(track.ages[i]) >= self.probe_every]
            due = stale or [i for i in waiting if uppers[i] >= highest]
            if not due:
                break
            waiting.remove(due[0])
            if space.expand(track.vectors[due[0]]):
                inside[due[0]] = True
                moved = (space.rayleigh(space.dimension - 1) - values[due[0]]).abs()
                # a poorly known value that is corrected within its radius has not moved
                poor = track.radii[due[0]] > self.tolerance * bar.abs()
                moved = (moved - track.radii[due[0]]).clamp_min(0) if bool(poor) else moved
                moves.append(moved / track.ages[due[0]])
            if len(moves) >= FIRST or not unseen:
                fastest = torch.stack([*moves, *([] if unseen else [drift])]).max()
        if moves:
            slowest = torch.zeros_like(drift) if unseen else drift / 2
            track = replace(track, drift=torch.stack([*moves, slowest]).max())
        return track, inside

    def _renewed(self, ritz: Ritz, track: Track, rivals: Track, k: int) -> Track:
        """The Ritz vectors corrected for the next step, and after the k leaders the largest rivals."""
        lowest = torch.minimum(track.lowest, ritz.values[-1])
        vectors = torch.stack([v + _correction(ritz, i, rivals) for i, v in enumerate(ritz.vectors)])
        vectors = vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        fresh = replace(_remembered(ritz, k, track.drift, lowest), vectors=vectors)
        count, m = len(fresh.values), k + self.remember
        values = torch.cat([fresh.values, rivals.values])
        order = torch.cat([torch.arange(k), values[k:].argsort(descending=True, stable=True) + k])[:m].tolist()
        if count == k and order == [*range(len(track.values))]:
            # nothing but the leaders is new: the rivals' vectors stay where they are
            track.vectors[:k] = fresh.vectors
            vectors = track.vectors
        else:
            vectors = torch.stack([fresh.vectors[i] if i < count else rivals.vectors[i - count] for i in order])
        return Track(
            vectors,
            values[order],
            torch.cat([fresh.radii, rivals.radii])[order],
            torch.cat([fresh.ages, rivals.ages])[order],
            track.drift,
            lowest,
            track.moved,
        )


def _state_tensor(tensors: Mapping[str, Tensor], prefix: str, field: str) -> Tensor:
    """A tensor of a state; in states of 0.1.0, which did not look for leaps, nothing has moved."""
    if field == "moved" and f"{prefix}:{field}" not in tensors:
        return torch.zeros(0, dtype=torch.float64)
    return tensors[f"{prefix}:{field}"]


def _remembered(ritz: Ritz, k: int, drift: Tensor, lowest: Tensor) -> Track:
    """The Ritz pairs as a track of age zero, with k leaders that have not moved.

    The radius is twice the second-order effect of the residual, if it lies where `_correction` assumes.
    """
    values = ritz.values[: len(ritz.norms)]
    depth = torch.maximum(values, (values - lowest) / 2).clamp_min(0)
    added = 4 * ritz.norms.square() / (depth + torch.hypot(depth, 2 * ritz.norms)).clamp_min(_TINY)
    return Track(
        ritz.vectors,
        values,
        torch.minimum(added, ritz.norms),
        torch.zeros_like(values),
        drift,
        lowest,
        torch.zeros_like(values[:k]),
    )


def _rows(track: Track, which: list[int]) -> Track:
    """Some rows of a track; its vectors are a view where the rows are adjacent, which they mostly are."""
    adjacent = which == [*range(which[0], which[-1] + 1)] if which else True
    vectors = track.vectors[slice(which[0], which[-1] + 1) if which else slice(0)] if adjacent else None
    return replace(
        track,
        vectors=track.vectors[which] if vectors is None else vectors,
        values=track.values[which],
        radii=track.radii[which],
        ages=track.ages[which],
    )


def _correction(ritz: Ritz, i: int, rivals: Track) -> Tensor:
    """First-order correction that makes Ritz vector i an eigenvector.

    The residual's part along each rival is rotated by the angle of their two-by-two problem; the rest is
    assumed to lie at eigenvalue zero, damped if the spectrum reaches far below it.
    """
    residual, value = ritz.residuals[i], float(ritz.values[i]) / ritz.unit
    low = min(float(rivals.lowest), float(ritz.values[-1])) / ritz.unit
    # of a matrix that is zero up to rounding the residual is everything
    floor = max(1e-6 * float(ritz.norms[i]) / ritz.unit, torch.finfo(residual.dtype).tiny)
    depth = max(value, (value - low) / 2, 1e-3 * abs(low), floor)
    parts = (rivals.vectors @ residual).double().cpu()  # (j,)
    gaps = value - rivals.values / ritz.unit
    angles = 2 * parts / (gaps + torch.copysign(torch.hypot(gaps, 2 * parts) + _TINY, gaps))  # within 1
    return residual / depth + (angles - parts / depth).to(residual) @ rivals.vectors
