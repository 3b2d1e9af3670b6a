"""A page of every kind of run in a real browser: all charts drawn at both widths and in both themes, in silence."""

import shutil
from pathlib import Path

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
  for (let i = 0; i < 600 && open().length; i += 1) {
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
