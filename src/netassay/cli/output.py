"""Answers on standard output as a table, JSON or CSV, with the same keys and values in each."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from netassay.cli.terminal import visible

if TYPE_CHECKING:
    from polars import DataFrame
    from rich.console import Console

Format = Annotated[
    Literal["table", "json", "csv"],
    Parameter(help="Output format; json and csv keep every digit."),
]


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
