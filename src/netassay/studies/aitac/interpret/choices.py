"""The chapters of an interpretation, and the choice among them; nothing heavy is loaded here."""

from __future__ import annotations

from collections.abc import Sequence

from netassay.errors import ConfigError, did_you_mean

CHAPTERS: dict[str, tuple[str, ...]] = {
    "motifs": (),
    "second_layer": (),
    "reproducible": (),
    "recovery": ("reproducible",),
    "influence": ("motifs",),
    "pairs": ("motifs", "influence"),
    "binding": (),
    "attributions": (),
}
"""Chapter -> those that must come before it, in the order of the page."""

TITLES = {
    "motifs": "Motifs of the first layer",
    "second_layer": "Motifs of the second layer",
    "reproducible": "Reproducible filters",
    "recovery": "Recovery of what was planted",
    "influence": "Influence",
    "pairs": "Pairs of factors",
    "binding": "Agreement with ChIP-seq",
    "attributions": "Attributions",
}

EXTRAS = ("reproducible", "recovery", "binding")
"""Chapters that need more than a network and its atlas: repetitions, a truth, ChIP-seq."""


def chapter_names(only: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the requested chapters and those they need, in order; by default all. ConfigError for an unknown one."""
    for word in only:
        if word not in CHAPTERS:
            raise ConfigError(
                f"only = {','.join(only)!r}: there is no chapter {word!r}; {did_you_mean(word, CHAPTERS)}"
            )
    names = set(only or CHAPTERS)
    for name in reversed(CHAPTERS):
        if name in names:
            names |= set(CHAPTERS[name])
    return tuple(name for name in CHAPTERS if name in names)
