"""The chapters of an interpretation and what may be chosen of them; nothing heavy is loaded here."""

from __future__ import annotations

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


def chosen(only: str) -> tuple[str, ...]:
    """Chapters that are asked for and those they need, in order; all for "". ConfigError for an unknown one."""
    asked = [word.strip() for word in only.split(",") if word.strip()]
    if only.strip() and not asked:
        raise ConfigError(
            f"only = {only!r} names no chapter; known: {', '.join(CHAPTERS)}; leave it out for all"
        )
    for word in asked:
        if word not in CHAPTERS:
            raise ConfigError(
                f"only = {only!r}: there is no chapter {word!r}; {did_you_mean(word, CHAPTERS)}"
            )
    wanted = set(asked or CHAPTERS)
    for name in reversed(CHAPTERS):
        if name in wanted:
            wanted |= set(CHAPTERS[name])
    return tuple(name for name in CHAPTERS if name in wanted)
