import subprocess
import sys

import altair as alt
import polars as pl
import pytest

from netassay.errors import DataError
from netassay.reporting import Figure, Note, Section, Table

EMPTY = pl.DataFrame({"x": []})


@pytest.mark.parametrize("name", ["loss", "sharpness-by-layer", "a1_b2", "7", "x" * 80])
def test_slugs_are_taken(name: str) -> None:
    assert Figure(name, "t", "c", alt.Chart(EMPTY), EMPTY).name == name


@pytest.mark.parametrize(
    "name",
    ["", "../x", "a/b", "a\\b", "A", "a b", "a.html", "-a", "a-", "a--b", "a\n", "é", "x" * 81, "a\x00"],
)
def test_other_names_are_refused_with_an_example(name: str) -> None:
    with pytest.raises(DataError, match="sharpness-by-layer"):
        Figure(name, "t", "c", alt.Chart(EMPTY), EMPTY)
    with pytest.raises(DataError, match="table name"):
        Table(name, "t", "c", EMPTY)


def test_a_format_for_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"'y'.*columns are: x"):
        Table("t", "t", "c", EMPTY, formats={"y": ".2f"})


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, netassay.reporting as r; r.write_page, r.Figure, r.Note, r.PALETTE;"
        "print([m for m in ('altair', 'polars', 'vl_convert', 'torch', 'numpy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    import netassay.reporting

    with pytest.raises(AttributeError, match="write_page"):
        netassay.reporting.pie_chart  # noqa: B018
    assert "lines" in dir(netassay.reporting)


def test_a_further_section_of_its_kind_has_names_of_its_own() -> None:
    frame = pl.DataFrame({"a": [1]})
    section = Section("Scores", "As found.", (Note("simulated"), Table("scores", "Scores", "", frame)))
    second = section.numbered(2, "run-b")
    assert second.title == "Scores (run-b)"
    assert second.items[0] == section.items[0]
    assert second.items[1].name == "scores-2"
    assert second.items[1].data.equals(frame)
    assert section.items[1].name == "scores"
