"""What a finished run predicts for sequences and regions that are not in its atlas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch

from netassay.errors import DataError
from netassay.nets.sequence_cnn import AITAC
from netassay.runs import Run
from netassay.studies.aitac.assay import config_of, trained
from netassay.studies.aitac.new_sequences import NewSequences, regions_of, sequences_of
from netassay.studies.aitac.predicting import predict


@dataclass(frozen=True)
class Predictions:
    """A row a sequence: name, for regions chromosome, start, end (0-based, end exclusive) of the window, outputs.

    `dropped` counts sequences left out, `notes` those changed, by reason.
    """

    table: pl.DataFrame
    dropped: Mapping[str, int]
    notes: Mapping[str, int]


class Predictor(NamedTuple):
    """The network of a finished run, what its outputs are called, and how it predicts."""

    model: AITAC
    length: int
    cell_types: tuple[str, ...]
    both_strands: bool
    precision: torch.dtype


def predictor(run: Run) -> Predictor:
    """The network of `run`. Raises DataError for a run without scored weights or of another study."""
    if "cell_types" not in run.tables():
        raise DataError(
            f"run {run.id} is {run.state} and has no scored model; finish it first: netassay resume "
            f"{run.folder}"
            if run.study == "aitac"
            else f"run {run.id} is of study {run.study}; predictions are made by runs of study aitac"
        )
    config = config_of(run)
    length = int(dict(run.table("atlas").iter_rows())["length"])
    names = tuple(run.table("cell_types")["cell type"].to_list())
    both = config.strands == "augmented"
    return Predictor(trained(run, length=length), length, names, both, getattr(torch, config.precision))


def predict_sequences(run: Run, fasta: Path | str) -> Predictions:
    """Outputs for every sequence of a FASTA file.

    Longer sequences are cut to the network's length about their middle, shorter ones stand in the middle of unknown
    bases; both are counted. Raises DataError for a run without weights, and for letters that are not DNA.
    """
    network = predictor(run)
    return _predicted(network, sequences_of(fasta, network.length))


def predict_regions(run: Run, regions: Path | str, genome: Path | str) -> Predictions:
    """Outputs for a window about the summit or middle of each region of a BED or narrowPeak file.

    Regions on a contig that the genome (FASTA) does not have, and windows beyond its end, are left out and counted.
    Raises DataError for a run without weights, or if no region is left.
    """
    network = predictor(run)
    return _predicted(network, regions_of(regions, genome, network.length))


def _predicted(network: Predictor, given: NewSequences) -> Predictions:
    output = predict(
        network.model, given.codes, both_strands=network.both_strands, precision=network.precision
    )
    table = given.where.hstack(
        [pl.Series(f"predicted {name}", output[:, i].numpy()) for i, name in enumerate(network.cell_types)]
    )
    return Predictions(
        table, *({why: n for why, n in counts.items() if n} for counts in (given.dropped, given.notes))
    )
