"""A data frame as HTML rows for reading and as CSV for computing."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netassay.errors import DataError

if TYPE_CHECKING:
    import polars as pl

SHOWN_ROWS = 500
"""Maximum number of rows of a table on a page; its CSV has them all."""

_SHORT = 40  # characters that are never broken across lines; run ids are shorter
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def text(value: object) -> str:
    """Any string as HTML text or a quoted attribute; characters that HTML cannot hold become U+FFFD."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(value)))


def csv_text(data: pl.DataFrame) -> str:
    """The frame as CSV (RFC 4180 quoting, shortest digits that read back to the same number).

    Null is an empty field, the empty string is "", not-a-number and infinities are NaN, inf, -inf. Text that
    a spreadsheet would run as a formula (it starts with = + - @, a tab or a carriage return) gets a leading
    apostrophe. Raises DataError for nested columns.
    """
    import polars as pl

    for name, kind in data.schema.items():
        if kind.is_nested() or kind in (pl.Object, pl.Binary):
            raise DataError(f"column {name!r} is of type {kind}, which CSV cannot hold; give a column of plain values")
    texts = [name for name, kind in data.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    disarmed = data.with_columns(
        pl.when(pl.col(name).cast(pl.String).str.contains(r"^[=+\-@\t\r]"))
        .then(pl.lit("'") + pl.col(name).cast(pl.String))
        .otherwise(pl.col(name).cast(pl.String))
        .alias(name)
        for name in texts
    )
    names = {name: "'" + name for name in data.columns if name[:1] in tuple("=+-@\t\r")}
    return disarmed.rename(names).write_csv()


def table_rows(
    data: pl.DataFrame, formats: Mapping[str, str], units: Mapping[str, str], first: Sequence[str] = ()
) -> str:
    """`<thead>` and `<tbody>` of the first SHOWN_ROWS rows; numbers keep their full value for sorting.

    If `first` is given, the heads of other columns are marked for the page to fold.
    """
    first = [name for name in first if name in data.columns]
    numeric = [kind.is_numeric() for kind in data.dtypes]
    heads = "".join(
        f'<th scope="col"{_class(number)}{_fold(name, first)}>{text(heading(name))}{_unit(units.get(name, ""))}</th>'
        for name, number in zip(data.columns, numeric, strict=True)
    )
    writers = [_writer(name, formats.get(name)) for name in data.columns]
    rows = "\n".join(
        "<tr>" + "".join(map(_cell, row, numeric, writers)) + "</tr>" for row in data.head(SHOWN_ROWS).iter_rows()
    )
    return f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>"


def heading(name: str) -> str:
    """A column's name for reading: without underscores.

    >>> heading("flow_reached")
    'flow reached'
    """
    return name.replace("_", " ")


def _fold(name: str, first: Sequence[str]) -> str:
    return ' data-fold="yes"' if first and name not in first else ""


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _unit(unit: str) -> str:
    return f' <span class="unit">({text(unit)})</span>' if unit else ""


def _cell(value: Any, number: bool, write: Callable[[Any], str]) -> str:
    if value is None:
        return f'<td{_class(number)}><span class="none" title="no value">–</span></td>'
    if number:
        return f'<td class="number" data-value="{text(repr(value))}">{text(write(value))}</td>'
    short = ' class="short"' if len(str(value)) <= _SHORT else ""
    return f'<td dir="auto"{short}>{text(value)}</td>'


def _writer(name: str, spec: str | None) -> Callable[[Any], str]:
    def write(value: Any) -> str:
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
        try:
            return format(value, spec if spec is not None else _default_spec(value)).replace("-", "−")
        except (ValueError, TypeError) as error:
            raise DataError(
                f"column {name!r}: {spec!r} is not a format for {value!r} ({error}); give one such as '.3f', '.2e', 'd'"
            ) from error

    return write


def _default_spec(value: Any) -> str:
    if isinstance(value, int):
        return ","
    return ".4g"
