"""Pages of runs in every state."""

import json
import re
from pathlib import Path

from netassay.presenting import report

BASELINE = Path(__file__).parent / "baseline" / "0.1.0"


def test_a_page_says_which_runs_have_not_ended(tmp_path):
    page = report(store=BASELINE / "interrupted", where={"study": "capacity"}, out=tmp_path / "page.html")
    assert "2 (2 interrupted) of capacity" in page.read_text()
    page = report(store=BASELINE / "finished", where={"study": "capacity"}, out=tmp_path / "page.html")
    assert "interrupted" not in page.read_text().partition("</header>")[0]


def test_figures_and_tables_are_written_as_the_page_holds_them(tmp_path, monkeypatch):
    runs = {"store": BASELINE / "finished", "where": {"study": "edge-stepsize"}}
    page = report(**runs, out=tmp_path / "page.html").read_text()
    inside = {name: json.loads(text) for name, text in re.findall(r'id="([\w.-]+)\.csv">(.*?)</script>', page, re.S)}
    monkeypatch.setattr("netassay.reporting.page.CSV_BYTES", 10)
    page = report(**runs, out=tmp_path / "page.html", figures=tmp_path / "figures").read_text()
    assert len(inside) > 1 and 'data-save="csv"' not in page
    for name, text in inside.items():
        assert (tmp_path / "figures" / f"{name}.csv").read_text() == text
        assert f"--figures FOLDER writes {name}.csv" in page
