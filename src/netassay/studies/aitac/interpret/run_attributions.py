"""Contributions of bases by a trained run, for sequences or regions of files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import torch

from netassay.errors import ConfigError, DataError
from netassay.runs import Run
from netassay.studies.aitac.interpret.attribute import Attributions, Method, attribute
from netassay.studies.aitac.interpret.readout import contrast
from netassay.studies.aitac.new_sequences import NewSequences, regions_of, sequences_of
from netassay.studies.aitac.predicting import predict
from netassay.studies.aitac.prediction import predictor

Against = Literal["mean", "nothing"]


@dataclass(frozen=True, eq=False)
class RunAttributions:
    """`attributions` of the sequences `given`, and a row a sequence in `table`.

    The table has what the sequence is, the explained number (`predicted`), and the sum of its contributions; with
    references also the `difference` that the sum should be.
    """

    given: NewSequences
    attributions: Attributions
    table: pl.DataFrame


def attribute_run(
    run: Run,
    cell_type: str,
    *,
    fasta: Path | str | None = None,
    bed: Path | str | None = None,
    genome: Path | str | None = None,
    method: Method = "gradient",
    against: Against = "mean",
) -> RunAttributions:
    """Contributions to a cell type's output, of a FASTA file's sequences or a BED file's regions.

    `against` mean explains the output less the mean over all cell types: networks trained by correlation or
    cross-entropy know no more than that. Both strands count where the run was trained with both. Raises ConfigError
    for a cell type that the run does not have, and what `attribute`, `sequences_of` and `regions_of` raise.
    """
    network = predictor(run)
    if cell_type not in network.cell_types:
        raise ConfigError(f"cell type {cell_type!r}: run {run.id} has {', '.join(network.cell_types[:100])}")
    if (fasta is None) == (bed is None) or (bed is None) != (genome is None):
        raise ConfigError("give either a FASTA file, or regions (BED) and their genome")
    if fasta is not None:
        given = sequences_of(fasta, network.length)
    else:
        assert bed is not None and genome is not None
        given = regions_of(bed, genome, network.length)
    number, count = network.cell_types.index(cell_type), len(network.cell_types)
    if against == "mean" and count == 1:
        raise DataError(f"run {run.id} has one cell type, whose mean it is; take --against nothing")
    output = contrast(number, count) if against == "mean" else number
    weights = output if isinstance(output, torch.Tensor) else torch.eye(count, dtype=torch.float64)[number]
    both = network.both_strands
    made = attribute(network.model, given.codes, method, output=weights, both_strands=both)
    predicted = predict(network.model, given.codes, both_strands=both).double() @ weights
    columns = {"predicted": predicted, "sum": made.actual.sum(1)}
    if made.difference is not None:
        columns["difference"] = made.difference
    table = given.where.with_columns(pl.Series(name, values.numpy()) for name, values in columns.items())
    return RunAttributions(given, made, table)
