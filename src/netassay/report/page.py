"""One self-contained HTML page: works from a file, without a network, and runs nothing that came with the data."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from netassay.errors import DataError
from netassay.report.section import Figure, Note, Section, Table
from netassay.report.table import SHOWN_ROWS, csv_text, table_rows, text

CSV_CELLS = 1_000_000
"""Most cells of one figure or table whose CSV travels inside the page (about 20 MB); above, the page says so."""


def write_page(
    path: Path | str,
    *,
    title: str,
    subtitle: str = "",
    sections: Sequence[Section],
    facts: Mapping[str, object] | None = None,
) -> Path:
    """Writes the page and returns its path; the same arguments give the same bytes.

    `facts` (version, runs, date ...) are listed below the title. The file is replaced whole or not at all. Raises
    DataError if two items share a name or a chart is too large, StoreError if the file cannot be written.
    """
    from netassay.report.export import write_whole

    _refuse_twins(sections)
    body = "\n".join(_section(section, number) for number, section in enumerate(sections, 1))
    if not sections:
        body = '<p class="nothing">There is nothing to report yet: no section was given.</p>'
    page = _PAGE.format(
        policy=_policy(), title=text(title), subtitle=_subtitle(subtitle), facts=_facts(facts or {}),
        contents=_contents(sections), body=body, style=_asset("page.css"), mark=_asset("mark.svg"),
        scripts=_scripts() if _has_charts(sections) else _script(_asset("page.js")),
    )  # fmt: skip
    return write_whole(Path(path), page.encode())


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
<a class="skip" href="#content">Skip to the content</a>
<header>
<p class="brand">{mark}<span>netassay</span></p>
<h1>{title}</h1>
{subtitle}{facts}</header>
{contents}<noscript><p class="note warning">Charts are drawn by a script inside this page, which is switched off here. \
Titles, captions, notes and tables can be read without it.</p></noscript>
<main id="content">
{body}
</main>
{scripts}
</body>
</html>
"""


def _section(section: Section, number: int) -> str:
    paragraphs = [part.strip() for part in section.text.split("\n\n") if part.strip()]
    prose = "".join(f"<p>{text(part)}</p>\n" for part in paragraphs)
    items = "\n".join(_item(item) for item in section.items)
    heading = f'<h2 id="section-{number}-title">{text(section.title)}</h2>'
    empty = "" if prose or items else '<p class="nothing">There is nothing to show here yet.</p>\n'
    return (
        f'<section id="section-{number}" aria-labelledby="section-{number}-title">\n'
        f"{heading}\n{prose}{items}{empty}\n</section>"
    )


def _item(item: Figure | Table | Note) -> str:
    if isinstance(item, Note):
        word = "Note" if item.kind == "info" else "Warning"
        kind = "info" if item.kind == "info" else "warning"
        return f'<p class="note {kind}" role="note"><strong>{word}.</strong> {text(item.text)}</p>'
    return _figure(item) if isinstance(item, Figure) else _table(item)


def _figure(figure: Figure) -> str:
    if not figure.data.height:
        return _frame(figure, '<p class="nothing">There are no data for this figure yet.</p>', [], "")
    from netassay.report.export import drawing_notes, vega_lite

    spec = vega_lite(figure)
    block = '<div class="chart"><p class="waiting">Drawing …</p></div>'
    return _frame(
        figure,
        block,
        ["PNG", "SVG"],
        _data_block(figure.name, "chart", spec),
        drawing_notes(spec),
    )


def _table(table: Table) -> str:
    if not table.data.height:
        return _frame(table, '<p class="nothing">There are no rows in this table yet.</p>', [], "")
    rows = table_rows(table.data, table.formats, table.units)
    label = f'aria-labelledby="{table.name}-title"'
    block = f'<div class="scroll" tabindex="0" role="region" {label}><table {label}>\n{rows}\n</table></div>'
    more = table.data.height > SHOWN_ROWS
    notes = [f"The first {SHOWN_ROWS:,} of {table.data.height:,} rows; the CSV holds them all."] if more else []
    return _frame(table, block, [], "", notes)


def _frame(item: Figure | Table, block: str, buttons: list[str], data: str, notes: Sequence[str] = ()) -> str:
    """The common shape of figures and tables: title, downloads, the thing itself, caption, notes, hidden data."""
    if item.data.height:
        if item.data.height * item.data.width <= CSV_CELLS:
            buttons = [*buttons, "CSV"]
            data += _data_block(item.name, "csv", csv_text(item.data))
        else:
            notes = [*notes, f"Its {item.data.height:,} rows are too many to travel inside a page; save it as a file."]
    tools = "".join(
        f'<button type="button" data-save="{kind.lower()}" aria-label="Save {text(item.title)} as {kind}">{kind}</button>'
        for kind in buttons
    )
    remarks = "".join(f'<p class="remark">{text(note)}</p>' for note in notes)
    kind = "figure" if isinstance(item, Figure) else "table"
    return (
        f'<figure id="{item.name}" class="{kind}" data-name="{item.name}" aria-labelledby="{item.name}-title">\n'
        f'<div class="head"><h3 id="{item.name}-title">{text(item.title)}</h3>'
        f'<div class="tools">{tools}</div></div>\n'
        f"{block}\n<figcaption>{text(item.caption)}{remarks}</figcaption>\n{data}</figure>"
    )


def _data_block(name: str, kind: str, value: Any) -> str:
    """JSON in a script element that no browser runs. Only ASCII, and no `<`, so nothing can close the element."""
    content = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    content = content.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" id="{name}-{kind}">{content}</script>\n'


def _subtitle(subtitle: str) -> str:
    return f'<p class="subtitle">{text(subtitle)}</p>\n' if subtitle else ""


def _facts(facts: Mapping[str, object]) -> str:
    pairs = "".join(f"<div><dt>{text(key)}</dt><dd>{text(value)}</dd></div>" for key, value in facts.items())
    return f'<dl class="facts">{pairs}</dl>\n' if pairs else ""


def _contents(sections: Sequence[Section]) -> str:
    if len(sections) < 2:
        return ""
    links = "".join(
        f'<li><a href="#section-{number}">{text(section.title)}</a></li>' for number, section in enumerate(sections, 1)
    )
    return f'<nav aria-label="Contents"><ol>{links}</ol></nav>\n'


def _named(sections: Sequence[Section]) -> Iterator[Figure | Table]:
    for section in sections:
        yield from (item for item in section.items if not isinstance(item, Note))


def _refuse_twins(sections: Sequence[Section]) -> None:
    seen: set[str] = set()
    for item in _named(sections):
        if item.name in seen:
            raise DataError(f"two figures or tables of the page are named {item.name!r}; give each its own name")
        seen.add(item.name)


def _has_charts(sections: Sequence[Section]) -> bool:
    return any(isinstance(item, Figure) and item.data.height for item in _named(sections))


@cache
def _asset(name: str) -> str:
    return resources.files("netassay.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    """Vega, Vega-Lite, Vega-Embed and the expression interpreter, which needs no `eval`."""
    import vl_convert

    return vl_convert.javascript_bundle()


def _script(code: str) -> str:
    return f"<script>{code}</script>"


def _scripts() -> str:
    return _script(_bundle()) + "\n" + _script(_asset("page.js"))


def _hash(content: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"


@cache
def _policy() -> str:
    """Nothing loads and nothing runs but what this module wrote; the charts set styles on their own elements."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(_bundle())} {_hash(_asset('page.js'))}",
            f"style-src {_hash(_asset('page.css'))}",
            "style-src-attr 'unsafe-inline'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
