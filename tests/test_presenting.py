"""Pages of runs in every state."""

from pathlib import Path

from netassay.presenting import report

BASELINE = Path(__file__).parent / "baseline" / "0.1.0"


def test_a_page_says_which_runs_have_not_ended(tmp_path):
    page = report(store=BASELINE / "interrupted", where={"study": "capacity"}, out=tmp_path / "page.html")
    assert "2 (2 interrupted) of capacity" in page.read_text()
    page = report(store=BASELINE / "finished", where={"study": "capacity"}, out=tmp_path / "page.html")
    assert "interrupted" not in page.read_text().partition("</header>")[0]
