"""What runs show, as sentences made by rule from their tables; the works that they build on."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One sentence: an effect, its interval or error, and what it is compared with.

    `figure` names the figure or table of a page that shows it, `command` is the command that repeats its run,
    `question` is the question it answers, in a few words.

    >>> Finding("Layer 2 leads at 97 % of the steps.", "edge-layer-sharpness").figure
    'edge-layer-sharpness'
    """

    text: str
    figure: str = ""
    command: str = ""
    question: str = ""


class Reference(NamedTuple):
    """A work that a study builds on.

    >>> Reference("doe2020", "Doe", "A title", 2020, "Journal", doi="10.1/2").link
    'https://doi.org/10.1/2'
    """

    key: str
    authors: str
    title: str
    year: int
    where: str
    doi: str = ""
    arxiv: str = ""

    @property
    def link(self) -> str:
        """Address of the work, "" if it has neither DOI nor arXiv number."""
        if self.doi:
            return f"https://doi.org/{self.doi}"
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""

    @property
    def bibtex(self) -> str:
        """The entry for a bibliography."""
        kind = "article" if self.doi else "misc"
        venue = "journal" if self.doi else "howpublished"
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",
            "year": str(self.year),
            venue: self.where,
        }
        fields |= {"doi": self.doi} if self.doi else {}
        fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"} if self.arxiv else {}
        rows = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@{kind}{{{self.key},\n{rows}\n}}"
