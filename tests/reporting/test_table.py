import csv
import io
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from netassay.errors import DataError
from netassay.reporting.page import SHOWN_ROWS, table_rows, text
from netassay.reporting.section import csv_text

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def test_numbers_come_back_exactly_and_null_nan_and_infinities_stay_apart() -> None:
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, math.nan, math.inf, -math.inf, None]
    frame = pl.DataFrame({"n": range(9), "x": values}, schema={"n": pl.Int64, "x": pl.Float64})
    back = pl.read_csv(io.StringIO(csv_text(frame)), schema=frame.schema)
    assert_frame_equal(back, frame, check_exact=True)


@settings(max_examples=60)
@given(st.lists(st.tuples(NAMES, st.floats(allow_nan=False)), min_size=1, max_size=5))
def test_any_words_come_back_through_another_reader(rows: list[tuple[str, float]]) -> None:
    frame = pl.DataFrame(rows, schema={"name": pl.String, "x": pl.Float64}, orient="row")
    read = list(csv.reader(io.StringIO(csv_text(frame), newline="")))
    assert read[0] == ["name", "x"]
    for (name, x), (word, number) in zip(rows, read[1:], strict=True):
        assert word == ("'" + name if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name)
        assert float(number) == x


def test_formulas_are_disarmed_in_cells_and_heads_but_numbers_are_not_touched() -> None:
    frame = pl.DataFrame({"=a": ["=1+1", "+1", "-1", "@x", "\tx", "ok", None, ""], "v": [-1.5] * 8})
    lines = csv_text(frame).splitlines()
    assert lines[0] == "'=a,v"
    assert lines[1:] == [
        "'=1+1,-1.5",
        "'+1,-1.5",
        "'-1,-1.5",
        "'@x,-1.5",
        "'\tx,-1.5",
        "ok,-1.5",
        ",-1.5",
        '"",-1.5',
    ]


def test_a_nested_column_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="'inner'"):
        csv_text(pl.DataFrame({"inner": [[1, 2]]}))


def test_cells_are_written_to_be_read() -> None:
    frame = pl.DataFrame({"x": [-0.123456, math.nan, math.inf, None], "n": [12345, 1, 2, 3], "w": ["<b>", *"abc"]})
    shown = table_rows(frame, {"x": ".2f"}, {"x": "1/step<"})
    assert '<td class="number" data-value="-0.123456">−0.12</td>' in shown
    assert '<td class="number" data-value="nan">NaN</td>' in shown
    assert '<td class="number" data-value="inf">∞</td>' in shown
    assert 'title="no value"' in shown
    assert '<td class="number" data-value="12345">12,345</td>' in shown
    assert "&lt;b&gt;" in shown and "1/step&lt;" in shown and "<b>" not in shown


def test_a_long_table_is_cut_and_a_bad_format_is_named() -> None:
    assert table_rows(pl.DataFrame({"n": range(SHOWN_ROWS + 9)}), {}, {}).count("<tr>") == SHOWN_ROWS + 1
    with pytest.raises(DataError, match=r"'n'.*'\.q'"):
        table_rows(pl.DataFrame({"n": [1]}), {"n": ".q"}, {})


def test_what_html_cannot_hold_becomes_the_replacement_character() -> None:
    assert text("a\x00b\udc80c<\"'&") == "a�b�c&lt;&quot;&#x27;&amp;"
