"""The view of many runs in progress: one line per run in a terminal, otherwise plain lines now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from netassay.cli.output import PLAIN_SECONDS, beside, duration, is_quiet

if TYPE_CHECKING:
    from netassay.sweeps import Standing, Standings

_BARS = "▁▂▃▄▅▆▇█"
_HEAD = ("run", "", "state", "step", "rate", "left", "", "trend")
_LOOK_SECONDS = 1.0


def line(standing: Standing) -> tuple[str, ...]:
    """The cells of a run: id, what it is, state, step, rate, time left, its number, trend."""
    of = f"/{standing.steps}" if standing.steps and not standing.is_done else ""
    started = standing.state != "planned"
    number = "" if standing.value is None else f"{standing.number} {standing.value:.3g}"
    return (
        standing.run,
        standing.name,
        standing.state,
        f"{standing.step}{of}" if started else "",
        f"{standing.rate:,.3g}/s" if standing.rate and standing.is_under_way else "",
        "" if standing.seconds_left is None else duration(standing.seconds_left),
        number,
        _bars(standing.trend),
    )


def counts(standings: Sequence[Standing]) -> str:
    """'12 runs: 4 finished, 2 running, 6 planned'."""
    states = Counter(standing.state for standing in standings)
    return f"{len(standings)} run{'s' * (len(standings) != 1)}: " + ", ".join(
        f"{number} {state}" for state, number in states.items()
    )


def select(standings: Sequence[Standing], room: int) -> list[Standing]:
    """As many as fit, in their order: preferably those under way, then those that went wrong, then the newest."""

    def rank(index: int) -> tuple[int, int]:
        state = standings[index].state
        urgency = 0 if state == "running" else 3 if state == "planned" else 2 if standings[index].is_done else 1
        return urgency, -index if standings[index].is_done else index

    places = sorted(sorted(range(len(standings)), key=rank)[:room])
    return [standings[index] for index in places]


@contextmanager
def live(standings: Standings, words: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Shows the runs on standard error while the context lasts, with `words` below them."""
    if is_quiet():
        yield
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        from rich.live import Live

        with Live(
            get_renderable=lambda: _table(standings.look(), words(), console.height),
            console=console,
            refresh_per_second=1 / _LOOK_SECONDS,
            transient=True,
            redirect_stdout=False,  # the answer may go to a file
        ):
            yield
        return
    with beside(lambda over: _tell(standings, over)):
        yield


def plain(standings: Sequence[Standing], *, all_states: bool = False) -> list[str]:
    """Lines of the runs under way, or of all."""
    rows = [line(standing) for standing in standings if all_states or standing.is_under_way]
    return ["  ".join(filter(None, row)) for row in rows]


def _tell(standings: Standings, over: threading.Event) -> None:
    """Prints plain lines of the runs under way, soon at first and later every ten seconds."""
    pause = _LOOK_SECONDS
    while not over.wait(pause):
        for text in plain(standings.look()):
            print(text, file=sys.stderr, flush=True)
        pause = min(PLAIN_SECONDS, 2 * pause)


def follow(standings: Standings, *, patience: float = 15.0) -> list[Standing]:
    """Shows the runs until nothing is left to do, or none has been under way for `patience` seconds."""
    idle = 0.0
    with live(standings):
        while True:
            latest = standings.look()
            idle = 0.0 if any(standing.is_under_way for standing in latest) else idle + _LOOK_SECONDS
            if idle > patience or all(standing.is_done for standing in latest):
                return latest
            time.sleep(_LOOK_SECONDS)


def _table(standings: Sequence[Standing], words: str, height: int) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    room = max(1, height - 5)
    rows = select(standings, room)
    table = Table(box=None, pad_edge=False)
    for name in _HEAD:
        table.add_column(name, no_wrap=True, justify="right" if name in ("step", "rate", "left") else "left")
    for standing in rows:
        table.add_row(*(Text(cell) for cell in line(standing)))
    more = len(standings) - len(rows)
    last = counts(standings) + (f" ({more} not shown)" if more else "") + (f"; {words}" if words else "")
    return Group(table, Text(last))


def _bars(trend: Sequence[float]) -> str:
    if len(trend) < 2:
        return ""
    low, high = min(trend), max(trend)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in trend)
