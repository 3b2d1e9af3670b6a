"""One self-contained HTML page that needs no server and no network, and runs nothing that came with the data.

From the top: the page, the parts and sections within it, what its scripts are allowed, single figures, tables and
notes, the findings on the first screen, and data frames as rows of HTML.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netassay.errors import DataError
from netassay.files import write_file
from netassay.reporting.section import Figure, Finding, Note, Part, Reference, Section, Table, csv_text, refuse_twins

if TYPE_CHECKING:
    import polars as pl


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
    all_sections = [*(section for part in parts for section in part.sections), *sections]
    refuse_twins([*all_sections, *(Section("Methods", items=part.methods) for part in parts)])
    charts = any(figure.data.height for figure in _figures(all_sections))
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
    figure = next((item for item in _figures(part.sections) if item.name == first.figure and item.data.height), None)
    label = f' aria-label="{text(figure.title)}"' if figure else ""
    # the data are those of the figure below, so that the page holds them once
    chart = f'<div class="chart small" data-of="{figure.name}" role="img"{label}></div>' if figure else ""
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


def _figures(sections: Sequence[Section]) -> Iterator[Figure]:
    for section in sections:
        yield from (item for item in section.items if isinstance(item, Figure))


def sentence(finding: Finding) -> str:
    """The finding as HTML, with no line break between a number and its per cent sign."""
    return text(finding.text).replace(" %", "\u00a0%")


def _count(part: Part) -> str:
    number = sum(1 for _ in _figures(part.sections))
    return f"All {number} figures" if number > 1 else "The figure" if number else "Details"


SHOWN_ROWS = 500
"""Maximum number of rows of a table on a page; its CSV has them all."""

_SHORT = 40  # characters that are never broken across lines; run ids are shorter
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def text(value: object) -> str:
    """Any string as HTML text or a quoted attribute; characters that HTML cannot hold become U+FFFD."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(value)))


def table_rows(
    data: pl.DataFrame, formats: Mapping[str, str], units: Mapping[str, str], first: Sequence[str] = ()
) -> str:
    """`<thead>` and `<tbody>` of the first SHOWN_ROWS rows; numbers keep their full value for sorting.

    If `first` is given, the heads of other columns are marked for the page to fold.
    """
    first = [name for name in first if name in data.columns]
    numeric = [kind.is_numeric() for kind in data.dtypes]
    heads = "".join(
        f'<th scope="col"{_class(number)}{_fold(name, first)}>'
        f"{text(name.replace('_', ' '))}{_unit(units.get(name, ''))}</th>"
        for name, number in zip(data.columns, numeric, strict=True)
    )
    writers = [_writer(name, formats.get(name)) for name in data.columns]
    rows = "\n".join(
        "<tr>" + "".join(map(_cell, row, numeric, writers)) + "</tr>" for row in data.head(SHOWN_ROWS).iter_rows()
    )
    return f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>"


def _fold(name: str, first: Sequence[str]) -> str:
    return ' data-fold="yes"' if first and name not in first else ""


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _unit(unit: str) -> str:
    return f' <span class="unit">({text(unit)})</span>' if unit else ""


def _cell(value: Any, number: bool, write: Callable[[Any], str]) -> str:
    if value is None:
        return f'<td{_class(number)}><span class="none" title="no value">–</span></td>'
    if number:
        return f'<td class="number" data-value="{text(repr(value))}">{text(write(value))}</td>'
    short = ' class="short"' if len(str(value)) <= _SHORT else ""
    return f'<td dir="auto"{short}>{text(value)}</td>'


def _writer(name: str, spec: str | None) -> Callable[[Any], str]:
    def write(value: Any) -> str:
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
        try:
            return format(value, spec if spec is not None else _default_spec(value)).replace("-", "−")
        except (ValueError, TypeError) as error:
            raise DataError(
                f"column {name!r}: {spec!r} is not a format for {value!r} ({error}); give one such as '.3f', '.2e', 'd'"
            ) from error

    return write


def _default_spec(value: Any) -> str:
    if isinstance(value, int):
        return ","
    return ".4g"
