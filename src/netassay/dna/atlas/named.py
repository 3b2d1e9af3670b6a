"""Atlases by name or folder."""

from __future__ import annotations

from pathlib import Path

from netassay.dna.atlas.atlas import Atlas


def find_atlas(source: str | Path) -> Atlas:
    """The atlas that `source` names: "dhs4", "simulated", or the folder of a saved one.

    Raises DataError where there is none, ExtraMissing where dhs4's package is not installed.
    """
    if source == "dhs4":
        from netassay.dna.atlas.dhs4 import dhs4

        return dhs4()
    if source == "simulated":
        from netassay.dna.atlas.simulate import simulate_atlas

        return simulate_atlas()
    return Atlas.open(source)
