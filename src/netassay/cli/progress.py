"""Progress on standard error: a live line in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netassay.sweeps.drive import Progress
    from netassay.training import Metric

_PLAIN_SECONDS = 10.0


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
        for metric in values:
            print(f"chapter {metric[1]} done", file=sys.stderr, flush=True)

    yield watch


@contextmanager
def runs(total: int) -> Iterator[Callable[[Progress], None]]:
    """A watch for a sweep of `total` runs."""
    with _line(total) as show:

        def watch(progress: Progress) -> None:
            words = [f"{len(progress.running)} running"]
            if progress.failed:
                words.append(f"{len(progress.failed)} failed")
            if progress.seconds_left is not None:
                words.append(f"about {duration(progress.seconds_left)} left")
            show(progress.done + len(progress.failed), ", ".join(words), whatever_the_time=True)

        yield watch


@contextmanager
def fragments_read() -> Iterator[Callable[[int], None]]:
    """A watch for files of fragments, whose number is not known before."""
    begun = time.monotonic()
    with _line(None) as show:

        def watch(fragments: int) -> None:
            rate = fragments / max(time.monotonic() - begun, 1e-3)
            show(fragments, f"fragments read, {rate:,.0f}/s")

        yield watch


def duration(seconds: float) -> str:
    """'12 s', '3 min', '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def _line(total: int | None) -> Iterator[Callable[..., None]]:
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
            print(
                f"{done}/{total} {words}"
                if total
                else f"{done:,} {words}"
                if "read" in words
                else f"step {done} {words}",
                file=sys.stderr,
                flush=True,
            )

    return show
