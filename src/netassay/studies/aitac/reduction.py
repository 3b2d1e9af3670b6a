"""Scores of a reduced network beside those of the full one."""

from __future__ import annotations

import math

import polars as pl
from torch import Tensor

from netassay.dna.network.evaluate import scores
from netassay.dna.network.network import offset_is_free, predict
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.fit import Material, network_of
from netassay.studies.aitac.start import Start

WHOLE, REDUCED, TUNED = "whole network", "these filters, before training on", "these filters, trained on"


def reduction(start: Start, config: AitacConfig, data: Material, output: Tensor) -> pl.DataFrame:
    """Test scores of the network a run started from, of its reduced form before training, and of the run's `output`.

    Columns network, run, filters, and one per score; run is null for this run.
    """
    rows = data.split.test
    full, reduced = (predict(network_of(config, model), data.codes[rows]) for model in (start.model, start.reduced()))
    all_filters, few = start.model.n_filters, len(start.filters)
    records = []
    for name, run, filters, guess in (
        (WHOLE, start.run.id, all_filters, full),
        (REDUCED, start.run.id, few, reduced),
        (TUNED, None, few, output),
    ):
        free = offset_is_free(config.loss)
        marks = scores(guess, data.heights[rows], one_of_k=data.one_of_k, free_offset=free, labels=data.labels)
        values = {key: None if math.isnan(mark) else float(mark) for key, mark in marks.items()}
        records.append({"network": name, "run": run, "filters": filters, **values})
    return pl.DataFrame(records, infer_schema_length=None)
