"""Figures, tables, notes and the first screen of findings as HTML; data lie in blocks that no browser runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from netassay.reporting.section import Figure, Finding, Note, Part, Table
from netassay.reporting.table import SHOWN_ROWS, csv_text, table_rows, text

CSV_BYTES = 200_000
"""Maximum size of a CSV inside the page; of a larger one the page says which command writes it."""

_ELSEWHERE = (
    "The CSV has {} rows, too many for a page: netassay report --figures FOLDER writes {}.csv; the other commands with "
    "a page print theirs with --format csv."
)


def item_markup(item: Figure | Table | Note, level: int = 3) -> str:
    """The item as HTML, its title a heading of that level; all text from outside is escaped."""
    if isinstance(item, Note):
        word = "Note" if item.kind == "info" else "Warning"
        kind = "info" if item.kind == "info" else "warning"
        return f'<p class="note {kind}" role="note"><strong>{word}.</strong> {text(item.text)}</p>'
    return _figure(item, level) if isinstance(item, Figure) else _table(item, level)


def _figure(figure: Figure, level: int) -> str:
    if not figure.data.height:
        return _frame(figure, level, '<p class="nothing">There are no data for this figure yet.</p>')
    from netassay.reporting.export import drawing_notes, vega_lite  # altair is slow to load

    spec = vega_lite(figure)
    chart = '<div class="chart"><p class="waiting">Drawing …</p></div>\n' + _data_block(figure, "chart", _slim(spec))
    return _frame(figure, level, chart, ["PNG", "SVG"], drawing_notes(spec))


def _slim(spec: dict[str, Any]) -> dict[str, Any]:
    """The chart without what is not set in the rows of its points, half of their size; Vega reads both alike."""
    unset = ("label", "shift", "near", "marked")
    datasets = {
        name: [
            {key: value for key, value in row.items() if key not in unset or value or row.get("kind") != "point"}
            for row in rows
        ]
        for name, rows in spec.get("datasets", {}).items()
    }
    return spec | ({"datasets": datasets} if datasets else {})


def _table(table: Table, level: int) -> str:
    if not table.data.height:
        return _frame(table, level, '<p class="nothing">There are no rows in this table yet.</p>')
    rows = table_rows(table.data, table.formats, table.units, table.first)
    label = f'aria-labelledby="{table.name}.title"'
    block = f'<div class="scroll" tabindex="0" role="region" {label}><table {label}>\n{rows}\n</table></div>'
    height = table.data.height
    truncation = f"The first {SHOWN_ROWS:,} of {height:,} rows; the CSV holds them all."
    return _frame(table, level, block, [], [truncation] if height > SHOWN_ROWS else [])


def _frame(item: Figure | Table, level: int, block: str, saves: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    """The common shape of figures and tables: title, downloads, chart or table, caption and notes."""
    csv = _csv(item)
    if csv:
        saves = [*saves, "CSV"]
        block += "\n" + _data_block(item, "csv", csv)
    elif item.data.height:
        notes = [*notes, _ELSEWHERE.format(f"{item.data.height:,}", item.name)]
    name, title = item.name, text(item.title)
    kind = "figure" if isinstance(item, Figure) else "table"
    remarks = "".join(f'<p class="remark">{text(note)}</p>' for note in notes)
    tools = "".join(_save_button(title, kind_of_file) for kind_of_file in saves)
    return (
        f'<figure id="{name}" class="{kind}" data-name="{name}" aria-labelledby="{name}.title">\n'
        f'<div class="head"><h{level} id="{name}.title">{title}</h{level}><div class="tools">{tools}</div></div>\n'
        f"{block}\n<figcaption>{text(item.caption)}{remarks}</figcaption>\n</figure>"
    )


def _csv(item: Figure | Table) -> str:
    """The CSV that travels inside the page; "" for one that is too large, and without rows."""
    cells = item.data.height * item.data.width
    if not 0 < cells <= CSV_BYTES // 2:  # a cell takes two bytes or more
        return ""
    csv = csv_text(item.data)
    return csv if len(csv.encode()) <= CSV_BYTES else ""


def _save_button(title: str, kind: str) -> str:
    label = f'aria-label="Save {title} as {kind}"'
    return f'<button type="button" data-save="{kind.lower()}" {label}>{kind}</button>'


def _data_block(item: Figure | Table, kind: str, value: Any) -> str:
    """JSON in a script element that no browser runs; only ASCII and no `<`, so nothing in it can close it."""
    content = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    content = content.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" id="{item.name}.{kind}">{content}</script>'


def answers(parts: Sequence[Part]) -> str:
    """One card for the first finding of each part, and a table of the other findings; "" if there are none.

    A study comes before what is derived from it, such as its interpretations.
    """
    speaking = sorted((part for part in parts if part.findings), key=lambda part: "-" in part.name)
    if not speaking:
        return ""
    cards = "\n".join(map(_card, speaking))
    further = [(part, finding) for part in speaking for finding in part.findings[1:]]
    return (
        '<section class="answers" aria-labelledby="answers.title">\n'
        f'<h2 id="answers.title" class="quiet">Findings</h2>\n<div class="cards">\n{cards}\n</div>\n'
        f"{_further_findings(further)}</section>\n"
    )


def _card(part: Part) -> str:
    first = part.findings[0]
    figure = next((item for item in figures(part) if item.name == first.figure and item.data.height), None)
    # the data are those of the figure below, so that the page holds them once
    chart = f'<div class="chart small" data-of="{figure.name}" role="img"{_label(figure)}></div>' if figure else ""
    reading = f'<p class="how">{text(part.reading)}</p>' if part.reading else ""
    command = f"<code>{text(first.command)}</code>" if first.command else ""
    return (
        f'<article aria-labelledby="{part.name}.answer">\n<p class="kick">{text(part.question)}</p>\n'
        f'<h3 id="{part.name}.answer">{sentence(first)}</h3>\n{chart}{reading}\n'
        f'<p class="foot"><a href="#part.{part.name}">{_count(part)}</a>{command}</p>\n</article>'
    )


def _further_findings(findings: Sequence[tuple[Part, Finding]]) -> str:
    if not findings:
        return ""
    rows = "\n".join(
        f"<div><dt>{text(finding.question or part.question)}</dt>"
        f"<dd>{sentence(finding)}{_link(part, finding)}</dd></div>"
        for part, finding in findings
    )
    return f'<h3 class="also">Also found</h3>\n<dl class="others">\n{rows}\n</dl>\n'


def _link(part: Part, finding: Finding) -> str:
    names = {item.name for section in part.sections for item in section.items if not isinstance(item, Note)}
    return f' <a href="#{finding.figure}">Show</a>' if finding.figure in names else ""


def figures(part: Part) -> Iterator[Figure]:
    """All figures of a part."""
    for section in part.sections:
        yield from (item for item in section.items if isinstance(item, Figure))


def sentence(finding: Finding) -> str:
    """The finding as HTML, with no line break between a number and its per cent sign."""
    return text(finding.text).replace(" %", "\u00a0%")


def _count(part: Part) -> str:
    number = sum(1 for _ in figures(part))
    return f"All {number} figures" if number > 1 else "The figure" if number else "Details"


def _label(figure: Figure) -> str:
    return f' aria-label="{text(figure.title)}"'
