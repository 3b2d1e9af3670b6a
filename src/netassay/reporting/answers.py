"""The first screen of a page: what each study found, in a sentence and a figure, then further findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netassay.reporting.finding import Finding
from netassay.reporting.section import Figure, Note, Part
from netassay.reporting.table import text


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
