"""A page of every kind of run in a real browser: all charts drawn at both widths and in both themes, in silence."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from netassay.presenting import report

STORE = next((Path(__file__).parents[1] / "baseline").glob("*/finished"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# scrolls through the page, since charts are drawn as they come near the window
DRAW = """async () => {
  const step = window.innerHeight;
  for (let y = 0; y < document.documentElement.scrollHeight; y += step) {
    window.scrollTo(0, y);
    await new Promise((done) => setTimeout(done, 40));
  }
  const open = () => [...document.querySelectorAll(".chart")].filter((box) => !box.dataset.state);
  for (let i = 0; i < 6000 && open().length; i += 1) {
    open()[0].scrollIntoView();
    await new Promise((done) => setTimeout(done, 50));
  }
  return [...document.querySelectorAll(".chart")].map((box) => box.dataset.state || "waiting");
}"""


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    store = shutil.copytree(STORE, folder / "runs")
    return report(store=store, out=folder / "report.html")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (400, "dark")])
def test_every_chart_is_drawn_and_nothing_is_said_or_loaded(browser, page_path, width, theme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_path.as_uri())
    at_first = page.evaluate("document.querySelectorAll('.chart svg').length")
    states = page.evaluate(DRAW)
    assert states and set(states) == {"drawn"}
    assert at_first < len(states)  # those far below were not drawn before they were needed
    assert not said and [url for url in asked if not url.startswith("blob:")] == [page_path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    letters = page.evaluate(
        "[...document.querySelectorAll('.chart text')].filter((t) => t.textContent.trim() && t.getClientRects().length)"
        ".map((t) => parseFloat(getComputedStyle(t).fontSize))"
    )
    assert min(letters) >= 9
    context.close()


def test_columns_unfold_and_headings_are_reached_by_keyboard(browser, page_path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(page_path.as_uri())
    button = page.locator("button.unfold").first
    table = button.locator("xpath=ancestor::figure")
    hidden = table.locator("th.folded").count()
    assert hidden and button.get_attribute("aria-expanded") == "false"
    button.click()
    assert table.locator("th.folded").count() == 0 and button.get_attribute("aria-expanded") == "true"
    targets = page.evaluate("[...document.querySelectorAll('nav a')].map((link) => link.getAttribute('href').slice(1))")
    anchors = page.evaluate("[...document.querySelectorAll('main section')].map((section) => section.id)")
    assert set(targets) == {anchor for anchor in anchors if anchor}
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.close()


MARKUP = "</script><script>window.owned = 1</script><img src=x onerror='window.owned = 1'>"
OF_THE_RUN = {"config", "study", "digest", "schema", "created"}
"""Facts without which a folder is no run."""

NAMES = {
    *("cell type", "chromosome", "factor", "lineage", "name", "peak", "reason", "stands for it", "target", "text"),
    *("bound", "consensus", "source", "title"),
}
"""Columns of tables whose words come from files, or are only shown: by others netassay asks for rows."""


def marked(value):
    """JSON with markup after every text in it."""
    match value:
        case str():
            return value + MARKUP
        case list():
            return [marked(one) for one in value]
        case dict():
            return {key: marked(one) for key, one in value.items()}
    return value


def mark_up(folder, parts):
    """Writes markup after every text of a run but names of metrics, and `parts`: after those of their parts too."""
    with closing(sqlite3.connect(folder / "run.sqlite")) as connection, connection:
        for key, value in connection.execute("SELECT key, value FROM facts").fetchall():
            if key not in OF_THE_RUN:
                words = (json.dumps(marked(json.loads(value))), key)
                connection.execute("UPDATE facts SET value = ? WHERE key = ?", words)
        connection.execute("UPDATE status SET message = message || ?", (MARKUP,))
        connection.execute("UPDATE events SET text = text || ?", (MARKUP,))
        if parts:
            connection.execute("UPDATE metrics SET part = part || ? WHERE part != ''", (MARKUP,))
        for name, file in connection.execute("SELECT name, file FROM tables").fetchall():
            path = folder / file
            table = pl.read_parquet(path)
            columns = NAMES | {"part"} if parts else NAMES
            words = [column for column, kind in table.schema.items() if kind == pl.String and column in columns]
            table.with_columns(pl.col(words) + MARKUP).write_parquet(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            connection.execute("UPDATE tables SET sha256 = ? WHERE name = ?", (digest, name))
    (folder / "run.sqlite.sha256").unlink(missing_ok=True)


@pytest.mark.filterwarnings("ignore::netassay.errors.RunWarning")
@pytest.mark.parametrize("parts", [False, True])
def test_markup_in_every_text_of_a_store_is_text(browser, tmp_path, parts):
    store = shutil.copytree(STORE, tmp_path / "runs")
    folders = [folder for folder in store.iterdir() if (folder / "run.sqlite").exists()]
    for folder in folders:
        mark_up(folder, parts)
    page = browser.new_page()
    page.goto(report(store=store, out=tmp_path / "report.html").as_uri())
    states = page.evaluate(DRAW)
    shown = page.inner_text("body")
    assert set(states) == {"drawn"} and ("cannot be read" in shown) == parts
    assert page.evaluate("[window.owned ?? 0, document.querySelectorAll('[onerror]').length]") == [0, 0]
    assert shown.count(MARKUP[:24]) > 100
    page.close()
