import io
import json
import math
import struct
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import altair as alt
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from netassay.errors import DataError, StoreError
from netassay.files import write_file
from netassay.reporting import Axis, Figure, Rule, lines, save_figure
from netassay.reporting.export import CHART_ROWS, vega_lite

DATA = pl.DataFrame({"run": ["<a>&\x01"] * 5 + ["b"] * 5, "x": [*range(5)] * 2, "y": [0.1 * i for i in range(10)]})


def figure(chart: Any = None, data: pl.DataFrame = DATA) -> Figure:
    drawn = lines(data, "x", Axis("y", "sharpness λ₁"), "run", rules=[Rule(0.3, "2/η")]) if chart is None else chart
    return Figure("sharpness", "Title", "Caption", drawn, data)


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height from the header, once every chunk has passed its checksum."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    place, kinds = 8, []
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        body = content[place + 4 : place + 8 + length]
        assert struct.unpack(">I", content[place + 8 + length : place + 12 + length])[0] == zlib.crc32(body)
        kinds.append(body[:4])
        place += 12 + length
    assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND"
    return struct.unpack(">II", content[16:24])


def test_the_files_are_what_they_claim(tmp_path: Path) -> None:
    paths = save_figure(figure(), tmp_path / "new", ("png", "svg", "pdf", "csv"))
    assert [path.name for path in paths] == [f"sharpness.{kind}" for kind in ("png", "svg", "pdf", "csv")]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)
    png, svg, pdf, csv = (path.read_bytes() for path in paths)
    width, height = png_size(png)
    assert width > 2 * 640 and height > 2 * 320
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"<a>&�", "2/η", "sharpness λ₁"} <= words
    assert b"hover" not in svg and b"http" not in svg.replace(b"http://www.w3.org/", b"")
    assert pdf.startswith(b"%PDF-1.") and pdf.rstrip().endswith(b"%%EOF")
    assert_frame_equal(pl.read_csv(io.BytesIO(csv)), DATA)


def test_a_figure_without_data_has_only_the_names_of_its_columns(tmp_path: Path) -> None:
    (path,) = save_figure(figure(data=DATA.clear()), tmp_path)
    assert path.read_text() == "run,x,y\n"


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'gif'.*png, svg, pdf, csv"):
        save_figure(figure(), tmp_path, ("png", "gif"))
    assert not list(tmp_path.iterdir())


def test_more_rows_than_default_altair_allows_are_kept_and_too_many_are_refused() -> None:
    some = pl.DataFrame({"x": range(6000), "y": range(6000)})
    assert len(next(iter(vega_lite(figure(alt.Chart(some).mark_point()))["datasets"].values()))) == 6000
    many = pl.DataFrame({"x": range(CHART_ROWS + 1)})
    with pytest.raises(DataError, match=r"'sharpness'.*50,001 rows.*thin"):
        vega_lite(figure(alt.Chart(many).mark_point()))


def test_a_chart_that_would_load_something_is_refused() -> None:
    chart = alt.layer(alt.Chart("http://127.0.0.1:9/data.csv").mark_point(), alt.Chart(DATA).mark_line())
    with pytest.raises(DataError, match="address"):
        vega_lite(figure(chart))


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path / "page.html", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match=r"page\.html: cannot be written: No space left on device"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_file(tmp_path / "file" / "x.csv", b"")


def test_numbers_that_are_not_finite_are_null_in_any_chart() -> None:
    data = pl.DataFrame({"x": [1.0, math.nan, math.inf, -math.inf, None]})
    spec = vega_lite(figure(alt.Chart(data, title="t", usermeta={"n": math.nan}).mark_point().encode(x="x:Q"), data))
    assert [row["x"] for row in next(iter(spec["datasets"].values()))] == [1.0, None, None, None, None]
    json.dumps(spec, allow_nan=False)


def test_any_word_can_be_drawn_to_a_file(tmp_path: Path) -> None:
    words = ["\x00", "\x1b[31m", "\u2028", "\ufffe", "\udc80", "\u202e", "n" * 300, "]]>&amp;<", "'\"\\"]
    names = [word.encode("utf-8", "replace").decode() for word in words]
    data = pl.DataFrame({"k": names, "x": range(9), "y": range(9)})
    chart = lines(data, "x", Axis("y", *words[:2]), "k", rules=[Rule(i, word) for i, word in enumerate(words)])
    shown = Figure("f", "".join(words), "".join(words), chart.properties(title=words), data)
    (path,) = save_figure(shown, tmp_path, ("svg",))
    ElementTree.fromstring(path.read_bytes())


def test_a_chart_that_cannot_be_drawn_is_named(tmp_path: Path) -> None:
    broken = alt.Chart(DATA).mark_point().encode(x="x:Q").transform_filter("datum.x >>>= ((")
    with pytest.raises(DataError, match="'sharpness': its chart cannot be drawn"):
        save_figure(figure(broken), tmp_path)
    assert not list(tmp_path.iterdir())
