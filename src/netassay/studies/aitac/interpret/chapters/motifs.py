"""Motifs of the filters of the first layer, and the known motifs that they resemble."""

from __future__ import annotations

import polars as pl

from netassay.studies.aitac.interpret.chapters.motif_tables import motif_tables
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.subject import Subject


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """filters, their matrices, positions and profiles, matches, known motifs drawn beside them, shares, facts."""
    return motif_tables(subject, subject.motifs, subject.matches)
