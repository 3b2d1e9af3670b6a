"""Atlases by name or folder."""

from __future__ import annotations

from pathlib import Path

from netassay.dna.atlas.atlas import Atlas


def find_atlas(source: str | Path) -> Atlas:
    """The atlas of that name, or in that folder.

    Args:
        source: "dhs4", "simulated", or the folder of a saved atlas.

    Returns:
        The atlas.

    Raises:
        DataError: Where there is none.
        ExtraMissing: Where the package of dhs4 is not installed.

    Example:
        >>> import netassay
        >>> netassay.find_atlas("atlas").simulated
        True
    """
    if source == "dhs4":
        from netassay.dna.atlas.dhs4 import dhs4

        return dhs4()
    if source == "simulated":
        from netassay.dna.atlas.simulate import simulate_atlas

        return simulate_atlas()
    return Atlas.open(source)
