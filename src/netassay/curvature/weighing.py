"""The weights of batches for a loss that does not give the number of terms in its mean: found by trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from netassay.curvature.batches import NotJoined
from netassay.errors import DataError, ModelError, NotFinite

LOOSE_VALUE, LOOSE_GRADIENT = 1e-5, 1e-4  # relative rounding of arithmetic that may be in float32 inside
MOST_TRIALS = 4  # kinds that this many trials do not distinguish give the same numbers
SEEN = 1e-2  # relative error of a weight that a trial by values must reveal

Trial = Callable[[tuple[int, ...], bool], Tensor]
"""trial(batches, with gradient) -> value (1,), or gradient (P,), of the loss of these batches joined to one."""


class NoNumber(NotFinite):
    """A loss that is not finite, with the number of its batch."""

    def __init__(self, message: str, batch: int) -> None:
        super().__init__(message)
        self.batch = batch


def proportions(counts: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """The batches' weights according to each number of terms known for every batch, each proportion once."""
    kinds: dict[str, tuple[float, ...]] = {}
    for name in counts[0]:
        if any(name not in numbers for numbers in counts) or sum(numbers[name] for numbers in counts) <= 0:
            continue
        total = sum(numbers[name] for numbers in counts)
        shares = tuple(numbers[name] / total for numbers in counts)
        if min(shares) >= 0 and not any(_alike(shares, earlier) for earlier in kinds.values()):
            kinds[name] = shares
    return kinds


def find_kind(kinds: Mapping[str, tuple[float, ...]], trial: Trial) -> str:
    """The name of the kind of weights under which batches alone and joined agree.

    Tested on the two batches that distinguish the kinds best, and on others while several remain. Raises ModelError
    if none agrees, or if batches cannot be joined.
    """
    alive = dict(kinds)
    used_pairs: set[tuple[int, int]] = set()
    agreed = False
    while len(used_pairs) < MOST_TRIALS and (pair := _telling(list(alive.values()), used_pairs)) is not None:
        used_pairs.add(pair)
        try:
            alive = _agreeing(alive, pair, trial)
            agreed = True
        except NoNumber as reason:
            # a mean over no terms: unless it is a failure, the right kind has a weight of 0 there
            empty = {name: kind for name, kind in alive.items() if kind[reason.batch] == 0}
            if not empty:
                raise
            alive = empty
        if agreed and len(alive) == 1:
            break
    return next(iter(alive))


def _alike(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(abs(p - q) <= 1e-12 * max(p, q) for p, q in zip(a, b, strict=True))


def _telling(kinds: Sequence[Sequence[float]], used_pairs: set[tuple[int, int]]) -> tuple[int, int] | None:
    """The two batches on whose proportion the kinds differ most, or that differ most in size where they agree.

    None if no remaining pair tells more.
    """
    batches = [i for i in range(len(kinds[0])) if any(kind[i] > 0 for kind in kinds)]
    if len(batches) < 2:
        return None
    # the extremes of some kind's weights show any difference; all pairs would be too many
    ends = {i for kind in kinds for i in (max(batches, key=kind.__getitem__), _lightest(kind))}
    ends |= {i for a, b in combinations(kinds, 2) for i in _apart(a, b)} | {batches[0], batches[-1]}
    if len(kinds) == 1:
        heavy, light = max(batches, key=kinds[0].__getitem__), _lightest(kinds[0])
        pair = (heavy, light) if heavy != light else (batches[0], batches[-1])
        return None if pair in used_pairs else pair
    best, telling = (0, 1e-9), None
    for pair in combinations(sorted(ends), 2):
        i, j = pair
        parts = [kind[i] / (kind[i] + kind[j]) for kind in kinds if kind[i] + kind[j] > 0]
        # a batch without a term has no mean, so those with terms by every kind come first
        value = (
            sum(kind[i] * kind[j] > 0 for kind in kinds),
            max(parts, default=0.0) - min(parts, default=0.0),
        )
        if pair not in used_pairs and value[1] > best[1] and value > best:
            best, telling = value, pair
    return telling if telling is not None or used_pairs else (batches[0], batches[-1])


def _lightest(kind: Sequence[float]) -> int:
    """The lightest batch that has a weight."""
    return min((i for i, share in enumerate(kind) if share > 0), key=kind.__getitem__)


def _apart(a: Sequence[float], b: Sequence[float]) -> tuple[int, int]:
    """The batches to which one kind gives most and least relative to another."""
    shared = [i for i, (p, q) in enumerate(zip(a, b, strict=True)) if p > 0 and q > 0]
    if not shared:
        return 0, len(a) - 1
    return max(shared, key=lambda i: a[i] / b[i]), min(shared, key=lambda i: a[i] / b[i])


def _agreeing(
    kinds: Mapping[str, tuple[float, ...]], pair: tuple[int, int], trial: Trial
) -> dict[str, tuple[float, ...]]:
    i, j = pair
    where = f"batches {i} and {j}"
    cure = (
        "say how many terms each batch's mean is over: weights= one number a batch, or a loss that returns "
        '(value, weight); or reduction="sum" for a loss that is a sum'
    )
    shares = {name: kind[i] / (kind[i] + kind[j]) for name, kind in kinds.items() if kind[i] + kind[j] > 0}
    for with_gradient in (False, True):
        first, second = trial((i,), with_gradient), trial((j,), with_gradient)
        try:
            joint = trial((i, j), with_gradient)
        except NotJoined as reason:
            raise ModelError(
                f"the loss does not say how many terms its mean is over, and {where} cannot be joined to find out "
                f"({reason}); {cure}"
            ) from None
        except ModelError as reason:
            raise ModelError(
                f"the loss does not say how many terms its mean is over, and {where}, joined to find out, fail: "
                f"{reason}; {cure}"
            ) from None
        scale = max(float(torch.linalg.vector_norm(part)) for part in (first, second, joint))
        off = {
            name: float(torch.linalg.vector_norm(joint - share * first - (1 - share) * second))
            for name, share in shares.items()
        }
        tight = 100 * torch.finfo(joint.dtype).eps * scale
        loose = (LOOSE_GRADIENT if with_gradient else LOOSE_VALUE) * scale
        smallest = min(off.values())
        if not smallest <= loose:
            if float(torch.linalg.vector_norm(trial((i,), with_gradient) - first)) > loose:
                raise DataError(
                    f"batches changed between two passes at the same weights: batch {i} has another loss now; give "
                    "data that repeat (no random augmentation, no one-pass source)"
                )
            sums = float(torch.linalg.vector_norm(joint - first - second)) <= loose
            relation = "add up, as sums do" if sums else "agree with none of the ways to count its terms"
            raise ModelError(
                f"the loss of {where} alone and of both joined {relation} ({', '.join(kinds)}), so the loss of the "
                f"whole is not known; {cure}"
            )
        agreeing = {name: kinds[name] for name in shares if off[name] <= max(tight, 10 * smallest)}
        visible = SEEN * float(torch.linalg.vector_norm(first - second)) > loose
        if smallest <= tight and visible and len(agreeing) == 1:
            return agreeing
    return agreeing
