"""What the channels of the second layer look for: combinations of first-layer filters over 51 bases."""

from __future__ import annotations

import polars as pl

from netassay.studies.aitac.interpret.chapters.motif_tables import motif_tables
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.subject import Subject


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """The tables of chapter motifs, for the second layer."""
    motifs = subject.motifs_of("convolution2", config.second_layer_threshold)
    return motif_tables(subject, motifs, subject.matches_of(motifs))
