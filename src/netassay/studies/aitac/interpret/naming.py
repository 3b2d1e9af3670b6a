"""Names of first-layer filters: the factor whose motif each matches, of a database or, where it is known, planted."""

from __future__ import annotations

from netassay.studies.aitac.interpret.hierarchy import matched_names
from netassay.studies.aitac.interpret.recovery import matched_filters
from netassay.studies.aitac.interpret.subject import Subject


def filter_names(subject: Subject, q: float) -> dict[int, str]:
    """The factor of each filter that has one: its best match in the database, with a q-value below `q`; in a simulated
    atlas the planted motif that it matches (`matched_filters`)."""
    if not subject.truth:
        return matched_names(subject.matches.best(), q)
    held = matched_filters(subject.motifs, subject.truth)
    return {i: name for name, filters in held.items() for i in filters}
