"""Motifs of the channels of the second layer: combinations of first-layer filters over 51 bases."""

from __future__ import annotations

import polars as pl

from netassay.errors import DataError
from netassay.studies.aitac.interpret.chapters.motif_tables import motif_tables
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.subject import Subject


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """The tables of chapter motifs, for the second layer."""
    layer = subject.layers[1]
    if not layer:
        raise DataError("the network calls no second convolution, so there is no second layer to interpret")
    motifs = subject.motifs_of(layer, config.second_layer_threshold)
    return motif_tables(subject, motifs, subject.matches_of(motifs))
