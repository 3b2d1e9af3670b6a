"""Scores of a reduced network beside those of the whole one."""

from __future__ import annotations

import math

import polars as pl
from torch import Tensor

from netassay.dna.network.evaluate import scores
from netassay.dna.network.offsets import offset_is_free
from netassay.dna.network.predicting import predict
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.fit import network_of
from netassay.studies.aitac.material import Material
from netassay.studies.aitac.weights import Start

WHOLE, CUT, TUNED = "whole network", "these filters, before training on", "these filters, trained on"


def reduction(start: Start, config: AitacConfig, data: Material, output: Tensor) -> pl.DataFrame:
    """Test scores of the network a run began with, of its reduced form before training, and of the run's `output`.

    Columns network, run, filters, and a column a score; the run is named where it is another's.
    """
    rows = data.split.test
    whole, cut = (predict(network_of(config, model), data.codes[rows]) for model in (start.model, start.reduced()))
    all_filters, few = start.model.n_filters, len(start.filters)
    found = []
    for name, run, filters, guess in (
        (WHOLE, start.run.id, all_filters, whole),
        (CUT, start.run.id, few, cut),
        (TUNED, None, few, output),
    ):
        free = offset_is_free(config.loss)
        marks = scores(guess, data.heights[rows], one_of_k=data.one_of_k, free_offset=free, labels=data.labels)
        told = {key: None if math.isnan(mark) else float(mark) for key, mark in marks.items()}
        found.append({"network": name, "run": run, "filters": filters, **told})
    return pl.DataFrame(found, infer_schema_length=None)
