"""Progress on standard error: a live line in a terminal, a plain line now and then elsewhere."""

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
    """Whether nothing is said of what is under way, from now on."""
    _QUIET.set(quiet)


def is_quiet() -> bool:
    return _QUIET.get()


@contextmanager
def working(name: str) -> Iterator[None]:
    """Says how far a command has come, with rate and time left, once it has taken some seconds."""
    if is_quiet():
        yield
        return
    from netassay.pace import heard

    begun, over, loop = time.monotonic(), threading.Event(), _Loop()
    thread = threading.Thread(
        target=_say_on, args=[lambda: f"{name}: {loop.words(time.monotonic(), begun)}", over], daemon=True
    )
    thread.start()
    try:
        with heard(loop.note):
            yield
    finally:
        over.set()
        thread.join()


class _Loop:
    """The loop that was heard of last."""

    def __init__(self) -> None:
        self._now: tuple[str, int, int | None, float] = ("", 0, None, 0.0)

    def note(self, what: str, done: int, total: int | None) -> None:
        before, so_far, _, begun = self._now
        anew = what != before or done < so_far or not done
        self._now = (what, done, total, time.monotonic() if anew else begun)

    def words(self, now: float, command_begun: float) -> str:
        """'sequences 120/400, 40/s, 7 s left'."""
        what, done, total, begun = self._now
        spent = duration(now - command_begun)
        if not what or (not done and total is None):
            return ", ".join(filter(None, (what, spent)))
        words = [f"{what} {done:,}" + (f"/{total:,}" if total is not None else "")]
        if done and now > begun:
            rate = done / (now - begun)
            words.append(f"{rate:,.3g}/s")
            if total is not None:
                words.append(f"{duration((total - done) / rate)} left")
        return ", ".join([*words, f"{spent} so far"])


def _say_on(words: Callable[[], str], over: threading.Event) -> None:
    """A line that changes in a terminal; plain lines, at first after three seconds and then every ten, elsewhere."""
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
    """A watch for one run of `total` steps; runs that count peaks tell how many a second."""
    begun: list[tuple[float, float]] = []
    with _line(total) as show:

        def watch(step: int, values: Mapping[Metric, float]) -> None:
            known = [f"loss {values['loss']:.4g}"] if "loss" in values else []
            ratio = values.get(("edge_ratio", ""))
            known += [] if ratio is None else [f"eta lambda/2 {ratio:.3f}"]
            if (peaks := values.get(("peaks", ""))) is not None:
                if not begun:
                    begun.append((time.monotonic(), peaks))
                known += _rate(peaks - begun[0][1], time.monotonic() - begun[0][0])
            show(step, " ".join(known))

        yield watch


def _rate(peaks: float, seconds: float) -> list[str]:
    return [f"{peaks / seconds:,.0f} peaks/s"] if seconds > 0 and peaks > 0 else []


@contextmanager
def chapters() -> Iterator[Callable[[int, Mapping[Metric, float]], None]]:
    """A watch for an interpretation: a line a chapter."""

    def watch(step: int, values: Mapping[Metric, float]) -> None:
        for metric in values if not is_quiet() else ():
            print(f"chapter {metric[1]} done", file=sys.stderr, flush=True)

    yield watch


@contextmanager
def runs(total: int) -> Iterator[tuple[Callable[[Progress], None], Callable[[], str]]]:
    """A watch for a sweep of `total` runs, and what it knows in words; plain lines where there is no terminal."""
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
        left = end[0] - time.monotonic()
        return ", ".join(filter(None, (failed[0], f"about {duration(left)} left" if left > 0 else "")))

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

        def show(done: int, words: str, whatever_the_time: bool = False) -> None:
            bar.update(task, completed=done, words=words)

        yield show


def _plain(total: int | None) -> Callable[..., None]:
    told = [time.monotonic()]

    def show(done: int, words: str, whatever_the_time: bool = False) -> None:
        if whatever_the_time or time.monotonic() - told[0] >= _PLAIN_SECONDS:
            told[0] = time.monotonic()
            print(f"{done}/{total} {words}" if total else f"step {done} {words}", file=sys.stderr, flush=True)

    return show
