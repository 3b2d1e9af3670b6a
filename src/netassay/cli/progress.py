"""Progress on standard error: a live line in a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netassay.sweeps.drive import Progress
    from netassay.training import Metric

_PLAIN_SECONDS = 10.0
_FIRST_SECONDS = 3.0
_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


def be_quiet(quiet: bool) -> None:
    """Turns progress off or on from now on."""
    _QUIET.set(quiet)


def is_quiet() -> bool:
    return _QUIET.get()


@contextmanager
def working(name: str) -> Iterator[None]:
    """Shows the progress of a command, with rate and time left, once it has taken some seconds."""
    if is_quiet():
        yield
        return
    from netassay.pace import heard

    start, over, loop = time.monotonic(), threading.Event(), _Loop()
    thread = threading.Thread(
        target=_say_on, args=[lambda: f"{name}: {loop.words(time.monotonic(), start)}", over], daemon=True
    )
    thread.start()
    try:
        with heard(loop.note):
            yield
    finally:
        over.set()
        thread.join()


class _Loop:
    """The loop that last reported progress."""

    def __init__(self) -> None:
        self._now: tuple[str, int, int | None, float] = ("", 0, None, 0.0)

    def note(self, unit: str, count: int, total: int | None) -> None:
        before, so_far, _, start = self._now
        anew = unit != before or count < so_far or not count
        self._now = (unit, count, total, time.monotonic() if anew else start)

    def words(self, now: float, command_start: float) -> str:
        """'sequences 120/400, 40/s, 7 s left'."""
        unit, count, total, start = self._now
        elapsed = duration(now - command_start)
        if not unit or (not count and total is None):
            return ", ".join(filter(None, (unit, elapsed)))
        words = [f"{unit} {count:,}" + (f"/{total:,}" if total is not None else "")]
        if count and now > start:
            rate = count / (now - start)
            words.append(f"{rate:,.3g}/s")
            if total is not None:
                words.append(f"{duration((total - count) / rate)} left")
        return ", ".join([*words, f"{elapsed} so far"])


def _say_on(words: Callable[[], str], over: threading.Event) -> None:
    """A live line in a terminal; otherwise plain lines, first after three seconds and then every ten."""
    if over.wait(_FIRST_SECONDS):
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        print(words(), file=sys.stderr, flush=True)
        while not over.wait(_PLAIN_SECONDS):
            print(words(), file=sys.stderr, flush=True)
        return
    from rich.live import Live
    from rich.text import Text

    live = Live(
        get_renderable=lambda: Text(words()),
        console=console,
        refresh_per_second=2,
        transient=True,
        redirect_stdout=False,  # the answer may go to a file
    )
    with live:
        over.wait()


@contextmanager
def steps(total: int | None) -> Iterator[Callable[[int, Mapping[Metric, float]], None]]:
    """A watch for one run of `total` steps; runs that count peaks also show peaks per second."""
    start: list[tuple[float, float]] = []
    with _line(total) as show:

        def watch(step: int, values: Mapping[Metric, float]) -> None:
            words = [f"loss {values['loss']:.4g}"] if "loss" in values else []
            ratio = values.get(("edge_ratio", ""))
            words += [] if ratio is None else [f"eta lambda/2 {ratio:.3f}"]
            if (peaks := values.get(("peaks", ""))) is not None:
                if not start:
                    start.append((time.monotonic(), peaks))
                words += _rate(peaks - start[0][1], time.monotonic() - start[0][0])
            show(step, " ".join(words))

        yield watch


def _rate(peaks: float, seconds: float) -> list[str]:
    return [f"{peaks / seconds:,.0f} peaks/s"] if seconds > 0 and peaks > 0 else []


@contextmanager
def chapters() -> Iterator[Callable[[int, Mapping[Metric, float]], None]]:
    """A watch for an interpretation: one line per chapter."""

    def watch(step: int, values: Mapping[Metric, float]) -> None:
        for metric in values if not is_quiet() else ():
            print(f"chapter {metric[1]} done", file=sys.stderr, flush=True)

    yield watch


@contextmanager
def runs(total: int) -> Iterator[tuple[Callable[[Progress], None], Callable[[], str]]]:
    """A watch for a sweep of `total` runs, and its summary in words; plain lines if there is no terminal."""
    from rich.console import Console

    plain = None if is_quiet() or Console(stderr=True).is_terminal else _plain(total)
    failed, end = [""], [-math.inf]

    def watch(progress: Progress) -> None:
        words = [f"{len(progress.running)} running"]
        if progress.failed:
            words.append(f"{len(progress.failed)} failed")
        if progress.seconds_left is not None:
            words.append(f"about {duration(progress.seconds_left)} left")
            end[0] = time.monotonic() + progress.seconds_left
        failed[0] = f"{len(progress.failed)} failed" if progress.failed else ""
        if plain:
            plain(progress.done + len(progress.failed), ", ".join(words), whatever_the_time=True)

    def words() -> str:
        seconds = end[0] - time.monotonic()
        return ", ".join(filter(None, (failed[0], f"about {duration(seconds)} left" if seconds > 0 else "")))

    yield watch, words


def duration(seconds: float) -> str:
    """'12 s', '3 min', '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def _line(total: int | None) -> Iterator[Callable[..., None]]:
    if is_quiet():
        yield lambda *words, **more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain(total)
        return
    columns: list[Any] = [
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    ]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, words="")

        def show(count: int, words: str, whatever_the_time: bool = False) -> None:
            bar.update(task, completed=count, words=words)

        yield show


def _plain(total: int | None) -> Callable[..., None]:
    last = [time.monotonic()]

    def show(count: int, words: str, whatever_the_time: bool = False) -> None:
        if whatever_the_time or time.monotonic() - last[0] >= _PLAIN_SECONDS:
            last[0] = time.monotonic()
            print(f"{count}/{total} {words}" if total else f"step {count} {words}", file=sys.stderr, flush=True)

    return show
