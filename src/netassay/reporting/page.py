"""One self-contained HTML page that needs no server and no network, and runs nothing that came with the data."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from netassay.reporting.item import answers, item_markup, sentence
from netassay.reporting.section import Figure, Note, Part, Section, Table, refuse_twins
from netassay.reporting.table import text

if TYPE_CHECKING:
    from netassay.reporting.section import Reference


def write_page(
    path: Path | str,
    *,
    title: str,
    subtitle: str = "",
    sections: Sequence[Section] = (),
    parts: Sequence[Part] = (),
    facts: Mapping[str, object] | None = None,
    first: Section | None = None,
) -> Path:
    """Writes the page and returns its path; the same arguments give the same bytes.

    Findings of the `parts` come first, then their sections, then `sections` that belong to no part; `facts` (version,
    runs, date ...) fold away at the end. Notes of `first` are at the top. The file is replaced completely or not at
    all. Raises DataError if two items share a name or a chart is too large, StoreError if it cannot be written.
    """
    from netassay.files import write_file

    all_sections = [*(section for part in parts for section in part.sections), *sections]
    refuse_twins([*all_sections, *(Section("Methods", items=part.methods) for part in parts)])
    charts = _has_charts(all_sections)
    numbers = {id(section): number for number, section in enumerate(all_sections, 1)}
    body = "\n".join(
        [
            *(_part(part, numbers) for part in parts),
            *(_section(section, numbers[id(section)]) for section in sections),
        ]
    )
    if not all_sections:
        body = '<p class="nothing">There is nothing to report yet: no section was given.</p>'
    page = _PAGE.format(
        policy=_policy(),
        title=text(title),
        subtitle=_subtitle(subtitle),
        first="" if first is None else "\n".join(item_markup(item) for item in first.items),
        answers=answers(parts),
        facts=_facts(facts or {}),
        contents=_contents(parts, sections, numbers),
        hint=_HINT if charts else "",
        body=body,
        style=_asset("page.css"),
        mark=_asset("mark.svg"),
        scripts="\n".join(map(_script, [_bundle(), _asset("page.js")] if charts else [_asset("page.js")])),
    )
    return write_file(Path(path), page.encode())


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#page.content">Skip to the content</a>
<header>
<p class="brand">{mark}<span>netassay</span></p>
<h1>{title}</h1>
{subtitle}</header>
{first}{answers}{contents}{hint}<noscript><p class="note warning">Charts are drawn by a script inside this page, \
and scripts are switched off here. Titles, captions, notes and tables can be read without it.</p></noscript>
<main id="page.content">
{body}
</main>
{facts}{scripts}
</body>
</html>
"""

_HINT = """<p class="hint">In a chart: point at a line to read its values, click a legend entry to single it \
out (double-click for all), Ctrl and scroll to zoom, drag to move, double-click to reset.</p>
"""


def _part(part: Part, numbers: Mapping[int, int]) -> str:
    """A study: its findings, its sections, how its runs were made, and the works that it builds on."""
    items = "".join(f"<li>{sentence(finding)}</li>\n" for finding in part.findings)
    findings = f'<ul class="found">\n{items}</ul>\n' if items else ""
    sections = "\n".join(_section(section, numbers[id(section)], level=3) for section in part.sections)
    return (
        f'<section class="part" id="part.{part.name}" aria-labelledby="part.{part.name}.title">\n'
        f'<h2 id="part.{part.name}.title">{text(part.question)} <span class="study">{text(part.name)}</span></h2>\n'
        f"{findings}{sections}\n{_methods(part)}</section>"
    )


def _methods(part: Part) -> str:
    if not (part.methods or part.references):
        return ""
    items = "\n".join(item_markup(item, level=4) for item in part.methods)
    works = "".join(_work(reference) for reference in part.references)
    references = f'<h4>References</h4>\n<ul class="works">\n{works}</ul>\n' if works else ""
    bibtex = "\n\n".join(reference.bibtex for reference in part.references)
    entries = f'<details><summary>BibTeX</summary><pre tabindex="0">{text(bibtex)}</pre></details>\n' if works else ""
    return (
        f'<section class="methods" aria-labelledby="part.{part.name}.methods">\n'
        f'<h3 id="part.{part.name}.methods">Methods and references: {text(part.name)}</h3>\n'
        f"{items}\n{references}{entries}</section>\n"
    )


def _work(work: Reference) -> str:
    authors = work.authors.replace("{", "").replace("}", "").replace(" and ", "; ")
    link = (
        f' <a href="{text(work.link)}" rel="noreferrer">{text(work.doi or f"arXiv:{work.arxiv}")}</a>'
        if work.link
        else ""
    )
    return f"<li>{text(authors)} ({work.year}). {text(work.title)}. {text(work.where)}.{link}</li>\n"


def _section(section: Section, number: int, level: int = 2) -> str:
    paragraphs = [part.strip() for part in section.text.split("\n\n") if part.strip()]
    prose = "".join(f"<p>{text(part)}</p>\n" for part in paragraphs)
    items = "\n".join(item_markup(item, level + 1) for item in section.items)
    heading = f'<h{level} id="section.{number}.title">{text(section.title)}</h{level}>'
    empty = "" if prose or items else '<p class="nothing">There is nothing to show here yet.</p>\n'
    return (
        f'<section id="section.{number}" aria-labelledby="section.{number}.title">\n'
        f"{heading}\n{prose}{items}{empty}\n</section>"
    )


def _subtitle(subtitle: str) -> str:
    return f'<p class="subtitle">{text(subtitle)}</p>\n' if subtitle else ""


def _facts(facts: Mapping[str, object]) -> str:
    pairs = "".join(f"<div><dt>{text(key)}</dt><dd>{text(value)}</dd></div>" for key, value in facts.items())
    entries = f'<dl class="facts">{pairs}</dl>'
    return f"<footer><details><summary>About this page</summary>{entries}</details></footer>\n" if pairs else ""


def _contents(parts: Sequence[Part], sections: Sequence[Section], numbers: Mapping[int, int]) -> str:
    if sum(len(part.sections) for part in parts) + len(sections) < 2:
        return ""
    own = "".join(
        f'<li><a href="#part.{part.name}">{text(part.question)}</a>'
        f"<ol>{''.join(_entry(section, numbers) for section in part.sections)}</ol></li>"
        for part in parts
    )
    entries = own + "".join(_entry(section, numbers) for section in sections)
    kind = ' class="parts"' if parts else ""
    return f'<nav aria-label="Contents"{kind}><ol>{entries}</ol></nav>\n'


def _entry(section: Section, numbers: Mapping[int, int]) -> str:
    return f'<li><a href="#section.{numbers[id(section)]}">{text(section.title)}</a></li>'


def _figures_and_tables(sections: Sequence[Section]) -> Iterator[Figure | Table]:
    for section in sections:
        yield from (item for item in section.items if not isinstance(item, Note))


def _has_charts(sections: Sequence[Section]) -> bool:
    return any(isinstance(item, Figure) and item.data.height for item in _figures_and_tables(sections))


@cache
def _asset(name: str) -> str:
    return resources.files("netassay.reporting").joinpath(name).read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    """Vega, Vega-Lite, Vega-Embed and the expression interpreter, which needs no `eval`."""
    import vl_convert

    return vl_convert.javascript_bundle()  # type: ignore[call-arg]  # the stub misses the default


def _script(code: str) -> str:
    return f"<script>{code}</script>"


def _hash(content: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"


@cache
def _policy() -> str:
    """Nothing loads, and only scripts and styles of this package apply."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(_bundle())} {_hash(_asset('page.js'))}",
            f"style-src {_hash(_asset('page.css'))}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
