"""The first screen of a page, and parts: findings, contents, methods, references."""

import re
from itertools import pairwise

import polars as pl
import pytest

from netassay.errors import DataError
from netassay.reporting import Axis, Figure, Part, Section, Table, lines, write_page
from netassay.reporting.section import Finding, Reference

HOSTILE = "<script>alert(1)</script>"
DATA = pl.DataFrame({"x": [0, 1], "y": [1.0, 2.0]})
WORK = Reference(
    "doe2020", "Doe, Ann and {Group & Co}", f"A {HOSTILE}", 2020, "Journal", doi="10.1/2", arxiv="2001.00001"
)


def part(name="study", findings=("One.", "Two."), **words):
    figure = Figure(f"{name}-loss", "Loss", "Caption.", lines(DATA, Axis("x"), Axis("y")), DATA)
    sentences = tuple(Finding(text, f"{name}-loss", f"netassay {name}", f"Why {HOSTILE}?") for text in findings)
    table = Table(f"{name}-methods", "Runs", "Caption.", DATA)
    return Part(
        name,
        f"{name}?",
        (Section("Details", items=(figure,)),),
        sentences,
        "Read so.",
        (table,),
        (WORK,),
        **words,
    )


def page(tmp_path, *parts, **words):
    return write_page(tmp_path / "p.html", title="t", parts=parts, **words).read_text()


def test_findings_come_before_contents_and_figures(tmp_path):
    html = page(tmp_path, part(), part("other", ("Three.",)))
    order = [html.index(words) for words in ("One.", "Three.", "Also found", "Two.", "<nav", '<figure id="study-loss"')]
    assert order == sorted(order)
    assert html.count('data-of="study-loss"') == 1 and html.count('id="study-loss.chart"') == 1


def test_a_study_comes_before_what_belongs_to_one(tmp_path):
    html = page(tmp_path, part("a-derived", ("First.",)), part("b", ("Second.",)))
    assert html.index("Second.") < html.index("First.")


def test_without_findings_there_is_no_first_screen(tmp_path):
    assert 'class="answers"' not in page(tmp_path, part(findings=()))


def test_a_finding_whose_figure_is_not_on_the_page_has_no_link(tmp_path):
    lone = Part("s", "s?", (), (Finding("One."), Finding("Two.", "nowhere")))
    html = page(tmp_path, lone)
    assert "nowhere" not in html and "data-of" not in html


def test_hostile_words_are_words(tmp_path):
    html = page(tmp_path, part("s", (HOSTILE, HOSTILE)))
    assert HOSTILE not in html and "&lt;script&gt;alert" in html


def test_references_have_their_number_and_bibtex(tmp_path):
    html = page(tmp_path, part())
    assert 'href="https://doi.org/10.1/2"' in html and "@article{doe2020," in html
    assert "eprint = {2001.00001}" in html and "Group &amp; Co" in html


def test_headings_go_down_one_level_at_a_time_and_every_anchor_is_there(tmp_path):
    html = page(tmp_path, part(), part("other"))
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", html)]
    assert all(b <= a + 1 for a, b in pairwise(levels))
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= ids


def test_two_tables_of_one_name_are_refused(tmp_path):
    with pytest.raises(DataError, match="'study-methods'"):
        page(tmp_path, part(), Part("other", "o?", methods=part().methods))


def test_columns_that_come_later_are_marked(tmp_path):
    table = Table("t", "T", "", pl.DataFrame({"a_b": [1], "c": [2]}), first=("a_b",))
    html = page(tmp_path, Part("s", "s?", (Section("x", items=(table,)),)))
    assert '<th scope="col" class="number">a b</th>' in html and 'data-fold="yes">c</th>' in html
