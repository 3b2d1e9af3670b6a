"""Which width is tried next: one, doubling widths, or a search for the narrowest that memorises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Order = Literal["one", "doubling", "bisection"]


class Attempt(NamedTuple):
    """A trial that is over: what was tried, in how many steps, how far the loss stayed above the bound.

    `gap` is (loss - bound) / bound. `proved`: no weights that were free to move could have met the criterion.
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


def next_attempt(done: Sequence[Attempt], order: Order, *, narrowest: int, widest: int, tries: int) -> Next | None:
    """The trial to make after those that are done; None when all is said.

    "one": the width `widest`. "doubling": `narrowest`, twice that, and so on up to `widest`. "bisection": doubling
    until a width memorises, then halving the interval between it and the widest that did not. A width is tried
    until it memorises, `tries` times at most; one proved unable is not tried with the same features again, but
    with others. Bisection takes for granted that what a width can a larger one can too.
    """
    widths = sorted({attempt.width for attempt in done})
    if done:
        last = done[-1]
        tries_so_far = sum(attempt.width == last.width for attempt in done)
        if not last.met and tries_so_far < tries:
            return Next(last.width, tries_so_far)
    if order == "one":
        return None if done else Next(widest, 0)
    if order == "doubling":
        left = [width for width in doubling(narrowest, widest) if width not in widths]
        return Next(left[0], 0) if left else None
    able = {attempt.width for attempt in done if attempt.met}
    if not able:
        left = [width for width in doubling(narrowest, widest, last=True) if width not in widths]
        return Next(left[0], 0) if left else None
    high = min(able)
    low = max((width for width in widths if width < high), default=narrowest - 1)
    return Next((low + high) // 2, 0) if high - low > 1 else None


def most_attempts(order: Order, *, narrowest: int, widest: int, tries: int) -> int:
    """How many trials `next_attempt` can ask for at most."""
    if order == "one":
        return tries
    count = len(doubling(narrowest, widest, last=order == "bisection"))
    return tries * (count + (widest.bit_length() if order == "bisection" else 0))


def doubling(narrowest: int, widest: int, *, last: bool = False) -> list[int]:
    """narrowest, twice that, ... up to `widest`, which `last` adds where it is not among them."""
    widths = []
    width = narrowest
    while width <= widest:
        widths.append(width)
        width *= 2
    return [*widths, widest] if last and widths[-1:] != [widest] else widths


def fewest(done: Sequence[Attempt]) -> int | None:
    """The narrowest width that memorised, or None."""
    return min((attempt.width for attempt in done if attempt.met), default=None)
