import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from netassay.errors import DataError, StoreError
from netassay.reporting import (
    Axis,
    Figure,
    Note,
    Rule,
    Section,
    Table,
    heat_map,
    lines,
    small_multiples,
    write_page,
)
from netassay.reporting.page import item_markup
from netassay.reporting.section import csv_text

HOSTILE = (
    "</script><script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "<!--<script>",
    "]]>'`${1}\\u003c/script>",
    "\u2028\u2029\u202e reversed \x00 nul \x1b",
    "{{page}} {title} %s",
    "n" * 400,
)
ROWS = [(name, x, 1.0 + i + 0.1 * x) for i, name in enumerate(HOSTILE) for x in range(9)]
DATA = pl.DataFrame(ROWS, schema={"name<b>": pl.String, "x": pl.Int64, "y": pl.Float64}, orient="row")
AXES = (Axis("x", HOSTILE[0]), Axis("y", HOSTILE[1], HOSTILE[3], log=True))


def sections() -> list[Section]:
    named = Axis("name<b>", HOSTILE[2])
    one = lines(DATA, *AXES, named, rules=[Rule(2.0, HOSTILE[0])])
    panels = small_multiples(DATA, *AXES, named, rules=[Rule(2.0, HOSTILE[0], panel=HOSTILE[0])])
    heat = heat_map(DATA, "x", named, "y")
    figures = tuple(
        Figure(name, HOSTILE[0], HOSTILE[1] + HOSTILE[4], chart, DATA)
        for name, chart in (("lines", one), ("panels", panels), ("heat", heat))
    )
    table = Table("names", HOSTILE[1], HOSTILE[2], DATA, units={"x": HOSTILE[0]})
    notes = (Note(HOSTILE[0]), Note(HOSTILE[1], "warning"))
    return [
        Section(HOSTILE[0], f"{HOSTILE[1]}\n\n{HOSTILE[4]}", figures),
        Section("Table", "", (table, *notes)),
    ]


class Reader(HTMLParser):
    """Collects the elements, the words and the scripts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside = ""
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts.append((self.tags[-1][1], data))
        elif self.inside == "style":
            self.styles.append(data)
        else:
            self.words.append(data)


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    facts = {HOSTILE[0]: HOSTILE[1], "version": "0.1.0"}
    return write_page(path, title=HOSTILE[0], subtitle=HOSTILE[1], sections=sections(), facts=facts)


@pytest.fixture(scope="module")
def page(page_path: Path) -> Reader:
    return Reader(page_path.read_text(encoding="utf-8"))


def test_hostile_words_are_words_and_no_element_came_with_them(page: Reader) -> None:
    executable = [body for attrs, body in page.scripts if "type" not in attrs]
    blocks = {attrs["id"] for attrs, _ in page.scripts if attrs.get("type") == "application/json"}
    assert len(executable) == 2 and len(page.scripts) == 2 + len(blocks)
    assert blocks == {f"{name}.{kind}" for name in ("lines", "panels", "heat") for kind in ("chart", "csv")} | {
        "names.csv"
    }
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "link", "base", "form", "b")]
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    assert HOSTILE[0] in page.words and HOSTILE[1] in page.words and HOSTILE[6] in page.words
    assert ("h1", {}) in page.tags


def test_the_strings_of_the_data_come_through_the_charts_unchanged(page: Reader) -> None:
    blocks = {attrs["id"]: json.loads(body) for attrs, body in page.scripts if "type" in attrs}
    (rows,) = blocks["lines.chart"]["datasets"].values()
    drawn = [(row["series"], row["x"], row["y"]) for row in rows if row["kind"] == "point"]
    assert sorted(drawn) == sorted(ROWS)
    back = pl.read_csv(io.StringIO(blocks["names.csv"]), schema=DATA.schema)
    assert_frame_equal(back, DATA, check_exact=True)


def test_blocks_hold_nothing_that_could_end_them_and_no_bare_nan(page_path: Path) -> None:
    for body in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page_path.read_text(), re.S):
        assert body.isascii() and "<" not in body and "&" not in body
        json.loads(body, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_the_policy_names_exactly_the_scripts_and_the_style_there_are(page: Reader) -> None:
    meta = next(attrs for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    policy = dict(part.split(" ", 1) for part in (meta["content"] or "").split("; "))

    def hashes(bodies: list[str]) -> list[str]:
        digests = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies]
        return [f"'sha256-{digest}'" for digest in digests]

    assert policy["default-src"] == "'none'"
    assert policy["script-src"].split() == hashes([body for attrs, body in page.scripts if "type" not in attrs])
    assert policy["style-src"].split() == hashes(page.styles)
    assert "unsafe-eval" not in str(policy) and "http" not in str(policy)


def test_nothing_is_loaded_from_anywhere(page: Reader) -> None:
    for _, attrs in page.tags:
        assert "src" not in attrs and "srcset" not in attrs and "data" not in attrs
        assert (attrs.get("href") or "#").startswith("#")
    assert all("url(" not in style and "@import" not in style for style in page.styles)


def test_headings_are_in_order_and_every_link_and_label_has_its_target(page: Reader) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {(attrs["href"] or "")[1:] for tag, attrs in page.tags if tag == "a"}
    labels = {attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs}
    assert targets | labels <= set(ids)


def test_the_same_content_gives_the_same_bytes(page_path: Path, tmp_path: Path) -> None:
    facts = {HOSTILE[0]: HOSTILE[1], "version": "0.1.0"}
    again = write_page(tmp_path / "again.html", title=HOSTILE[0], subtitle=HOSTILE[1], sections=sections(), facts=facts)
    assert again.read_bytes() == page_path.read_bytes()


def test_what_is_empty_says_so_in_a_sentence(tmp_path: Path) -> None:
    nothing = Reader(write_page(tmp_path / "0.html", title="t", sections=[]).read_text())
    assert any("nothing to report yet" in word for word in nothing.words)
    none = DATA.clear()
    figure = Figure("f", "F", "c", lines(none, "x", "y", "name<b>"), none)
    empty = [Section("A", "", (figure, Table("t", "T", "c", none))), Section("B")]
    page = Reader(write_page(tmp_path / "1.html", title="t", sections=empty).read_text())
    said = " ".join(page.words)
    assert "no data for this figure yet" in said and "no rows in this table yet" in said
    assert "nothing to show here yet" in said
    assert not [attrs for _, attrs in page.tags if attrs.get("class") == "chart" or "data-save" in attrs]
    assert all(len(body) < 50_000 for _, body in page.scripts), "no chart, so no chart library"


def test_too_many_numbers_for_a_page_are_announced_not_dropped_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netassay.reporting.page.CSV_BYTES", 100)
    page = Reader(write_page(tmp_path / "p.html", title="t", sections=sections()).read_text())
    assert any("The CSV has 63 rows, too many for a page" in word for word in page.words)
    assert not [attrs for _, attrs in page.tags if attrs.get("data-save") == "csv"]


@pytest.mark.parametrize(("rows", "is_inside"), [(9_000, True), (11_000, False), (120_000, False)])
def test_a_csv_inside_a_page_is_at_most_200_kb(rows: int, is_inside: bool) -> None:
    data = pl.DataFrame({"x": range(100_000, 100_000 + rows), "y": [0.123456789] * rows})
    markup = item_markup(Table("long", "Long", "", data))
    blocks = re.findall(r'id="long\.csv">(.*?)</script>', markup, re.S)
    assert len(blocks) == is_inside == markup.count('data-save="csv"')
    assert all(json.loads(block) == csv_text(data) and len(json.loads(block)) <= 200_000 for block in blocks)
    assert ("netassay report --figures FOLDER writes long.csv" in markup) != is_inside


def test_two_items_of_one_name_are_refused(tmp_path: Path) -> None:
    twins = [Section("A", "", (Table("t", "T", "c", DATA),)), Section("B", "", (Table("t", "T", "c", DATA),))]
    with pytest.raises(DataError, match="'t'"):
        write_page(tmp_path / "p.html", title="t", sections=twins)


def test_a_failing_write_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_page(tmp_path / "p.html", title="old", sections=[])
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_page(path, title="new", sections=[])
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--window-size=1280,8000",  # charts are drawn as they come near the window
    "--virtual-time-budget=60000",
    "--dump-dom",
)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_draws_every_chart_and_runs_nothing_of_the_data(page_path: Path, tmp_path: Path) -> None:
    opened = subprocess.run(
        [BROWSER or "", *FLAGS, f"--user-data-dir={tmp_path}", page_path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = [line for line in opened.stderr.splitlines() if "CONSOLE" in line]
    assert not said
    dom = re.sub(r"<script.*?</script>", "", opened.stdout, flags=re.S)
    boxes = re.findall(r'<figure id="(\w+)" class="figure".*?</figure>', dom, re.S)
    assert boxes == ["lines", "panels", "heat"]
    for box in re.findall(r'<figure id="\w+" class="figure".*?</figure>', dom, re.S):
        assert 'data-state="drawn"' in box and "<svg" in box and "mark-" in box
    assert "<title>owned" not in dom and "owned" in dom


@pytest.mark.parametrize(("runs", "length"), [(1, 100_000), (18, 2_000), (300, 500)])
def test_the_data_of_a_figure_are_at_most_200_kb_and_keep_the_extremes(runs, length, tmp_path):
    steps = pl.DataFrame({"step": range(length)})
    frames = [
        steps.with_columns(run=pl.lit(f"depth={run} step size=0.{run}"), value=(pl.col("step") * (run + 1)).sin())
        for run in range(runs)
    ]
    data = pl.concat(frames)
    data[length // 3, "value"] = 77.0  # of the first run, which a sample of runs keeps
    figure = Figure("many", "Many", "", lines(data, "step", "value", "run"), data)
    text = item_markup(figure)
    chart = re.search(r'id="many\.chart">(.*?)</script>', text, re.S)[1]
    assert len(chart.encode()) <= 200_000
    rows = [row for rows in json.loads(chart)["datasets"].values() for row in rows]
    assert max(row["y"] for row in rows) == 77.0
    assert len({row["series"] for row in rows}) == min(runs, 80)
    assert "the CSV holds them all" in text or "are drawn, evenly chosen" in text
