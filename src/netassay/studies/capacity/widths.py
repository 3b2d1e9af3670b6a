"""The next width to try: a single one, doubling widths, or a search for the narrowest that memorises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Order = Literal["one", "doubling", "bisection"]


class Attempt(NamedTuple):
    """A finished trial: width and number, steps, loss and gap to the bound.

    `gap` is (loss - bound) / bound. `proved`: no setting of the trained weights could have met the criterion.
    """

    width: int
    number: int
    steps: int
    loss: float
    gap: float
    met: bool
    proved: bool


class Next(NamedTuple):
    """Width and number (from 0) of a trial to make."""

    width: int
    number: int


def next_attempt(attempts: Sequence[Attempt], order: Order, *, narrowest: int, widest: int, tries: int) -> Next | None:
    """The trial after the finished `attempts`; None if no other is needed.

    "one": the width `widest`. "doubling": `narrowest`, twice that, and so on up to `widest`. "bisection": doubling
    until a width memorises, then halving the interval between it and the widest that did not. A width is tried
    until it memorises, at most `tries` times; if proved unable, it is tried again only with other features. Bisection
    assumes that a larger width can do whatever a smaller one can.
    """
    widths = sorted({attempt.width for attempt in attempts})
    if attempts:
        last = attempts[-1]
        tries_so_far = sum(attempt.width == last.width for attempt in attempts)
        if not last.met and tries_so_far < tries:
            return Next(last.width, tries_so_far)
    if order == "one":
        return None if attempts else Next(widest, 0)
    if order == "doubling":
        remaining = [width for width in doubling(narrowest, widest) if width not in widths]
        return Next(remaining[0], 0) if remaining else None
    able = {attempt.width for attempt in attempts if attempt.met}
    if not able:
        remaining = [width for width in doubling(narrowest, widest, last=True) if width not in widths]
        return Next(remaining[0], 0) if remaining else None
    high = min(able)
    low = max((width for width in widths if width < high), default=narrowest - 1)
    return Next((low + high) // 2, 0) if high - low > 1 else None


def most_attempts(order: Order, *, narrowest: int, widest: int, tries: int) -> int:
    """Maximum number of trials of `next_attempt`."""
    if order == "one":
        return tries
    count = len(doubling(narrowest, widest, last=order == "bisection"))
    return tries * (count + (widest.bit_length() if order == "bisection" else 0))


def doubling(narrowest: int, widest: int, *, last: bool = False) -> list[int]:
    """narrowest, twice that, ... up to `widest`, which `last` adds if it is not among them."""
    widths = []
    width = narrowest
    while width <= widest:
        widths.append(width)
        width *= 2
    return [*widths, widest] if last and widths[-1:] != [widest] else widths


def fewest(attempts: Sequence[Attempt]) -> int | None:
    """The narrowest width that memorised, or None."""
    return min((attempt.width for attempt in attempts if attempt.met), default=None)
