"""What the command line shows: answers on standard output, progress on standard error.

Answers are tables, JSON or CSV, with the same keys and values in each. Progress is a live line in a terminal, otherwise
a plain line now and then.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polars import DataFrame
    from rich.console import Console

    from netassay.sweeps.drive import Progress
    from netassay.training import Metric

# C0 except tab and line end, DEL, C1, marks that reverse or break the line, lone surrogates
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text, with escapes for characters that would control a terminal.

    >>> visible("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return _HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def say(words: str) -> None:
    """Prints a remark beside the answer, on standard error."""
    print(visible(words), file=sys.stderr, flush=True)


def answer(values: Mapping[str, Any], form: str) -> None:
    """Prints one answer: a JSON object, or keys and values line by line, where a table is followed by lists of rows."""
    if form == "json":
        _json(dict(values))
        return
    rows = {key: value for key, value in values.items() if form == "table" and _is_rows(value)}
    sentences = {key: value for key, value in values.items() if form == "table" and _is_sentences(value)}
    apart = rows.keys() | sentences.keys()
    table([{"key": key, "value": value} for key, value in values.items() if key not in apart], form)
    for key, value in sentences.items():
        print(visible(key), *(f"- {visible(sentence)}" for sentence in value), "", sep="\n")
    for key, value in rows.items():
        print(visible(key))
        table(value, form)


_BREAKS = re.compile(r"[\t\n]|\s$")
MOST_ROWS = 1000
"""Maximum number of rows printed as a table; of more, the first and last half of this number."""


def frame(rows: DataFrame, form: str, *, empty: str = "nothing") -> None:
    """As `table`, for a data frame: only the rows that are shown are converted to Python objects, one after another."""
    if form != "table":
        _rows(rows.columns, rows.iter_rows(named=True), form)
        return
    if rows.height > MOST_ROWS:
        half = MOST_ROWS // 2
        table(rows.head(half).to_dicts(), form, columns=rows.columns)
        print(f"... {rows.height - MOST_ROWS:,} rows left out; --format csv or json gives all {rows.height:,} ...")
        rows = rows.tail(half)
    table(rows.to_dicts(), form, columns=rows.columns, empty=empty)


def table(rows: Sequence[Mapping[str, Any]], form: str, *, columns: Iterable[str] = (), empty: str = "nothing") -> None:
    """Prints rows, or `empty` if there are none (JSON and CSV then hold no row)."""
    names = list(dict.fromkeys([*columns, *(key for row in rows for key in row)]))
    if form != "table":
        _rows(names, rows, form)
    elif not rows:
        print(visible(empty))
    else:
        _rich(names, rows)


def _rows(names: Sequence[str], rows: Iterable[Mapping[str, Any]], form: str) -> None:
    """Prints rows as JSON or CSV, one at a time: there may be millions."""
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([visible(name) for name in names])
        escape = visible if sys.stdout.isatty() else str
        writer.writerows([escape(_text(row.get(name))) for name in names] for row in rows)
        return
    between = "["
    for row in rows:
        text = json.dumps(_plain(row), indent=2, allow_nan=False).replace("\n", "\n  ")
        sys.stdout.write(f"{between}\n  {text}")
        between = ","
    print("[]" if between == "[" else "\n]")


def written(path: object, form: str, **more: Any) -> None:
    """Prints the path of what was written; as JSON or CSV an answer with key `written` and what else is known."""
    if form == "table":
        print(visible(str(path)))
    else:
        answer({"written": str(path), **more}, form)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _is_sentences(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, str) and " " in row for row in value)


def _rich(names: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console

    # the first column names the row, to be copied in full however narrow the terminal
    is_numeric = [all(isinstance(row.get(name), (int, float, type(None))) for row in rows) for name in names]
    cells = [[visible(name) for name in names]]
    cells += [[visible(_rounded(row.get(name))) for name in names] for row in rows]
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    widths = _widths(cells)
    if sum(widths) + 3 * len(names) - 1 <= console.width and not any(
        _BREAKS.search(word) for row in cells for word in row
    ):
        _print_lines(console, cells, widths, is_numeric)
    else:
        _wrapped(console, cells, is_numeric)


def _print_lines(
    console: Console, cells: Sequence[Sequence[str]], widths: Sequence[int], is_numeric: Sequence[bool]
) -> None:
    """Prints a table that fits as `_wrapped` does, at a tenth of the time."""
    header, *lines = (f" {'   '.join(map(_padded, row, widths, is_numeric))} " for row in cells)
    edge = " " * (sum(widths) + 3 * len(widths) - 1)
    print(edge)
    console.print(header, style="table.header", markup=False, emoji=False, soft_wrap=True)
    print(f" {'─' * (len(edge) - 2)} ", *lines, edge, sep="\n")


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(*cells, strict=True)]


def _width(text: str) -> int:
    from rich.cells import cell_len

    return len(text) if text.isascii() else cell_len(text)


def _padded(text: str, width: int, is_numeric: bool) -> str:
    blank = " " * (width - _width(text))
    return blank + text if is_numeric else text + blank


def _wrapped(console: Console, cells: Sequence[Sequence[str]], is_numeric: Sequence[bool]) -> None:
    """Prints a table, with cells folded where the console is too narrow for them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(cells[0]):
        grid.add_column(Text(name), justify="right" if is_numeric[i] else "left", overflow="fold", no_wrap=i == 0)
    for row in cells[1:]:
        grid.add_row(*map(Text, row))
    console.print(grid)


def _json(value: Any) -> None:
    json.dump(_plain(value), sys.stdout, indent=2, allow_nan=False)
    print()


def _plain(value: Any) -> Any:
    """The value in JSON's types: not-a-number and infinities become "NaN", "Infinity" and "-Infinity"."""
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    # true and false as in configs and --where, not as in Python
    return json.dumps(_plain(value)) if isinstance(value, (bool, list, tuple, Mapping)) else str(value)


def _rounded(value: Any) -> str:
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:.5g}"
    return _text(value)


PLAIN_SECONDS = 10.0
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
    from netassay.processes import heard

    start, loop = time.monotonic(), _Loop()

    def words() -> str:
        return f"{name}: {loop.words(time.monotonic(), start)}"

    with beside(lambda over: _say_on(words, over)), heard(loop.note):
        yield


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs `work` in a thread meanwhile, which ends soon after the event that it is given is set."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=[over], daemon=True)
    thread.start()
    try:
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
        while not over.wait(PLAIN_SECONDS):
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
def progress_of_steps(total: int | None) -> Iterator[Callable[[int, Mapping[Metric, float]], None]]:
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
def progress_of_chapters() -> Iterator[Callable[[int, Mapping[Metric, float]], None]]:
    """A watch for an interpretation: one line per chapter."""

    def watch(step: int, values: Mapping[Metric, float]) -> None:
        for metric in values if not is_quiet() else ():
            print(f"chapter {metric[1]} done", file=sys.stderr, flush=True)

    yield watch


@contextmanager
def progress_of_runs(total: int) -> Iterator[tuple[Callable[[Progress], None], Callable[[], str]]]:
    """A watch for a sweep of `total` runs, and its summary in words; plain lines if there is no terminal."""
    from rich.console import Console

    plain = None if is_quiet() or Console(stderr=True).is_terminal else _plain_lines(total)
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
        yield _plain_lines(total)
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


def _plain_lines(total: int | None) -> Callable[..., None]:
    last = [time.monotonic()]

    def show(count: int, words: str, whatever_the_time: bool = False) -> None:
        if whatever_the_time or time.monotonic() - last[0] >= PLAIN_SECONDS:
            last[0] = time.monotonic()
            print(f"{count}/{total} {words}" if total else f"step {count} {words}", file=sys.stderr, flush=True)

    return show
