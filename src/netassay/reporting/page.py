"""One self-contained HTML page: needs no server and no network, and runs nothing that came with the data."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from netassay.reporting.item import item_markup
from netassay.reporting.section import Figure, Note, Section, Table, refuse_twins
from netassay.reporting.table import text


def write_page(
    path: Path | str,
    *,
    title: str,
    subtitle: str = "",
    sections: Sequence[Section],
    facts: Mapping[str, object] | None = None,
) -> Path:
    """Writes the page and returns its path; the same arguments give the same bytes.

    `facts` (version, runs, date ...) are listed below the title. The file is replaced whole or not at all.
    Raises DataError if two items share a name or a chart is too large, StoreError if it cannot be written.
    """
    from netassay.files import write_file

    refuse_twins(sections)
    charts = _has_charts(sections)
    body = "\n".join(_section(section, number) for number, section in enumerate(sections, 1))
    if not sections:
        body = '<p class="nothing">There is nothing to report yet: no section was given.</p>'
    page = _PAGE.format(
        policy=_policy(),
        title=text(title),
        subtitle=_subtitle(subtitle),
        facts=_facts(facts or {}),
        contents=_contents(sections),
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
{subtitle}{facts}</header>
{contents}{hint}<noscript><p class="note warning">Charts are drawn by a script inside this page, and scripts \
are switched off here. Titles, captions, notes and tables can be read without it.</p></noscript>
<main id="page.content">
{body}
</main>
{scripts}
</body>
</html>
"""

_HINT = """<p class="hint">In a chart: point at a line to read its values, click a legend entry to single it \
out (double-click for all), Ctrl and scroll to zoom, drag to move, double-click to reset.</p>
"""


def _section(section: Section, number: int) -> str:
    paragraphs = [part.strip() for part in section.text.split("\n\n") if part.strip()]
    prose = "".join(f"<p>{text(part)}</p>\n" for part in paragraphs)
    items = "\n".join(item_markup(item) for item in section.items)
    heading = f'<h2 id="section.{number}.title">{text(section.title)}</h2>'
    empty = "" if prose or items else '<p class="nothing">There is nothing to show here yet.</p>\n'
    return (
        f'<section id="section.{number}" aria-labelledby="section.{number}.title">\n'
        f"{heading}\n{prose}{items}{empty}\n</section>"
    )


def _subtitle(subtitle: str) -> str:
    return f'<p class="subtitle">{text(subtitle)}</p>\n' if subtitle else ""


def _facts(facts: Mapping[str, object]) -> str:
    pairs = "".join(f"<div><dt>{text(key)}</dt><dd>{text(value)}</dd></div>" for key, value in facts.items())
    return f'<dl class="facts">{pairs}</dl>\n' if pairs else ""


def _contents(sections: Sequence[Section]) -> str:
    if len(sections) < 2:
        return ""
    links = "".join(
        f'<li><a href="#section.{number}">{text(section.title)}</a></li>'
        for number, section in enumerate(sections, 1)
    )
    return f'<nav aria-label="Contents"><ol>{links}</ol></nav>\n'


def _named(sections: Sequence[Section]) -> Iterator[Figure | Table]:
    for section in sections:
        yield from (item for item in section.items if not isinstance(item, Note))


def _has_charts(sections: Sequence[Section]) -> bool:
    return any(isinstance(item, Figure) and item.data.height for item in _named(sections))


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
    """Nothing loads, and nothing runs or styles but what stands in this package."""
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
