"""How far a long loop has come, for whoever listens: nobody in a program, the command line while a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Listener = Callable[[str, int, int | None], None]
"""Called with what is counted, how many are done, and of how many, where that is known."""

Item = TypeVar("Item")

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Within it `listener` hears of every loop of this thread.

    >>> with heard(lambda what, done, total: print(what, done, total)):
    ...     batches = list(paced([[1, 2], [3]], "peaks", total=3, size=2))
    peaks 0 3
    peaks 2 3
    peaks 3 3
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def paced(
    items: Iterable[Item], what: str, *, total: int | None = None, size: int | Callable[[Item], int] = 1
) -> Iterable[Item]:
    """The items, each counted once it is done: as `size` of `what`, of `total`. Without a listener it is `items`."""
    listener = _LISTENER.get()
    return items if listener is None else _counted(items, listener, what, total, size)


def stage(what: str) -> None:
    """Says what begins now and cannot be counted."""
    if (listener := _LISTENER.get()) is not None:
        listener(what, 0, None)


def _counted(
    items: Iterable[Item], listener: Listener, what: str, total: int | None, size: int | Callable[[Item], int]
) -> Iterator[Item]:
    done = 0
    listener(what, done, total)
    for item in items:
        yield item
        done += size(item) if callable(size) else size
        listener(what, done if total is None else min(done, total), total)
