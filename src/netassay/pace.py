"""Progress of long loops for a listener: none in a program, the command line while a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Listener = Callable[[str, int, int | None], None]
"""Called with what is counted, how many are done, and how many there are, if known."""

Item = TypeVar("Item")

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """A context in which `listener` hears of every loop of this thread.

    >>> with heard(lambda label, done, total: print(label, done, total)):
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
    items: Iterable[Item], label: str, *, total: int | None = None, size: int | Callable[[Item], int] = 1
) -> Iterable[Item]:
    """The items, each counted when done: as `size` of `total`, under `label`. Without a listener, `items` itself."""
    listener = _LISTENER.get()
    return items if listener is None else _with_progress(items, listener, label, total, size)


def stage(label: str) -> None:
    """Announces a stage that cannot be counted."""
    if (listener := _LISTENER.get()) is not None:
        listener(label, 0, None)


def _with_progress(
    items: Iterable[Item], listener: Listener, label: str, total: int | None, size: int | Callable[[Item], int]
) -> Iterator[Item]:
    count = 0
    listener(label, count, total)
    for item in items:
        yield item
        count += size(item) if callable(size) else size
        listener(label, count if total is None else min(count, total), total)
