"""Predictions of a finished run for sequences and regions outside its atlas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch
from torch import nn

from netassay.dna.atlas.new_sequences import NewSequences, regions_of, sequences_of
from netassay.dna.attributions import variants
from netassay.dna.attributions.contributions import Attributions, Method, attribute
from netassay.dna.attributions.variants import Mismatches, VariantEffects
from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout
from netassay.dna.network.network import Network, contrast, offset_is_free, predict
from netassay.errors import ConfigError, DataError
from netassay.numerics import devices
from netassay.runs import Run
from netassay.runs.facts import stored_facts
from netassay.studies.aitac.fit import config_of, network_of, trained


@dataclass(frozen=True)
class Predictions:
    """One row per sequence: name, for regions chromosome, start, end (0-based, end exclusive) of the window, outputs.

    `dropped` counts sequences left out, `notes` those changed, by reason.
    """

    table: pl.DataFrame
    dropped: Mapping[str, int]
    notes: Mapping[str, int]

    def plot(self) -> Any:
        """The predictions of the first 30 sequences for every output, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)


def predictor(run: Run) -> Network:
    """The network of `run`, applied as in its validation; its names are the cell types.

    Raises DataError for a run without scored weights or of another study.
    """
    if "cell_types" not in run.tables():
        raise DataError(
            f"run {run.id} is {run.state} and has no scored model; finish it first: netassay resume {run.folder}"
            if run.study == "aitac"
            else f"run {run.id} is of study {run.study}; predictions are made by runs of study aitac"
        )
    config = config_of(run)
    length = stored_facts(run, "atlas")["length"]
    names = tuple(run.table("cell_types")["cell type"].to_list())
    return network_of(config, trained(run, length=length), names)


def predict_sequences(run: Run | Network, fasta: Path | str, *, device: str = "") -> Predictions:
    """Outputs of a run's network, or of another, for every sequence of a FASTA file.

    Longer sequences are trimmed to the network's length about their centre, shorter ones padded with unknown bases on
    both sides; both are counted.

    Args:
        run: Finished run of study aitac, or a network.
        fasta: The file, plain or gzip.
        device: cpu, cuda, cuda:N or mps; by default where the network is, which for a run is the CPU.

    Returns:
        A row for each sequence, and counts of those changed.

    Raises:
        ConfigError: For a device that this machine does not have.
        DataError: For a run without weights, and for letters that are not DNA.

    Example:
        >>> import netassay
        >>> run = netassay.Store("runs").find("aitac-1a2b3c")
        >>> netassay.predict_sequences(run, "enhancers.fa").table.height
        3
    """
    network = _network(run, device)
    return _predictions(network, sequences_of(fasta, _length(network)))


def predict_regions(run: Run | Network, regions: Path | str, genome: Path | str, *, device: str = "") -> Predictions:
    """Outputs for a window about the summit or middle of each region of a BED or narrowPeak file.

    Regions on a contig that the genome does not have, and windows beyond its end, are left out and counted.

    Args:
        run: Finished run of study aitac, or a network.
        regions: The file.
        genome: FASTA of the genome.
        device: cpu, cuda, cuda:N or mps; by default where the network is, which for a run is the CPU.

    Returns:
        A row for each region, and counts of those left out.

    Raises:
        ConfigError: For a device that this machine does not have.
        DataError: For a run without weights, or if no region is left.

    Example:
        >>> import netassay
        >>> run = netassay.Store("runs").find("aitac-1a2b3c")
        >>> netassay.predict_regions(run, "peaks.bed", "genome.fa").table.columns[:4]
        ['name', 'chromosome', 'start', 'end']
    """
    network = _network(run, device)
    return _predictions(network, regions_of(regions, genome, _length(network)))


def _network(run: Run | Network, device: str) -> Network:
    return (predictor(run) if isinstance(run, Run) else run).on(device)


def _length(network: Network) -> int:
    if network.length is None:
        raise DataError("the network's input length is unknown; give netassay.Network(..., length=)")
    return network.length


def _predictions(network: Network, sequences: NewSequences) -> Predictions:
    output = predict(network, sequences.codes)
    names = network.words(output.shape[1])
    table = sequences.where.hstack(
        [pl.Series(f"predicted {name}", output[:, i].numpy()) for i, name in enumerate(names)]
    )
    return Predictions(
        table, *({why: n for why, n in counts.items() if n} for counts in (sequences.dropped, sequences.notes))
    )


def variant_effects(
    model: Run | nn.Module | Network,
    vcf: Path | str,
    genome: Path | str,
    *,
    length: int | None = None,
    names: Sequence[str] = (),
    both_strands: bool | None = None,
    readout: Readout = None,
    layout: Layout | None = None,
    mismatches: Mismatches = "refuse",
    null: int = 1000,
    generator: torch.Generator | None = None,
    device: str = "",
) -> VariantEffects:
    """Effects of the variants of a VCF file on every output of a finished run, of a network or of any module.

    Of a run the outputs are those of its cell types, by default the mean over both strands, in float32, and minus
    their mean over the cell types if the run's loss leaves that free (pearson, cross_entropy).

    Args:
        model: Finished run of study aitac, network, or module from one-hot (n, 4, length) to (n, outputs).
        vcf: The file, plain or gzip.
        genome: FASTA.
        length: Bases of a window; runs and AI-TAC know their own.
        names: Names of the outputs.
        both_strands: Whether to average over both strands; by default yes.
        readout: Which of the model's outputs to use (see `Network`).
        layout: "channels_first" or "channels_last".
        mismatches: What to do if the genome has other bases than REF: "refuse" or "skip".
        null: Number of random single-base changes within 500 bases of the variants (0 or more).
        generator: Random generator for them; by default with a fixed seed.
        device: cpu, cuda, cuda:N or mps; by default where the network is, which for a run is the CPU.

    Returns:
        The effects. All alleles may be left out.

    Raises:
        ConfigError: For a device that this machine does not have.
        DataError: For a run without weights, files that cannot be read, one without any allele, and for other bases
            than REF.

    Source:
        Zhou, Troyanskaya (2015) for the effect of a variant as a difference of predictions.

    Example:
        >>> import netassay
        >>> run = netassay.Store("runs").find("aitac-1a2b3c")
        >>> netassay.variant_effects(run, "gwas.vcf", "genome.fa", null=10).variants["id"].to_list()
        ['rs1']
    """
    network: nn.Module | Network = (
        model
        if not isinstance(model, Run)
        else replace(
            predictor(model),
            both_strands=both_strands is not False,
            precision=torch.float32,
            less_mean=offset_is_free(config_of(model).loss),
        )
    )
    if isinstance(network, Network):
        network = network.on(device)
    elif device:  # a bare module stays one, since both of its strands are used by default
        network = deepcopy(network).to(devices.device(device))
    return variants.variant_effects(
        network,
        vcf,
        genome,
        length=length,
        names=tuple(names) or None,
        both_strands=both_strands,
        readout=readout,
        layout=layout,
        mismatches=mismatches,
        null=null,
        generator=generator,
    )


Against = Literal["mean", "nothing"]


@dataclass(frozen=True, eq=False)
class RunAttributions:
    """`attributions` of `sequences`, and one row per sequence in `table`.

    The table describes the sequence and has the explained number (`predicted`) and the sum of its contributions; with
    references also the `difference` that the sum should equal. `shared` counts the bases in several regions, for which
    written tracks have the mean.
    """

    sequences: NewSequences
    attributions: Attributions
    table: pl.DataFrame
    shared: int = 0

    def plot(self, first: int = 8) -> Any:
        """Logos of the contributions of the first sequences, as an Altair chart."""
        return import_module("netassay.plotting").plot(self, first=first)


def attribute_run(
    run: Run | Network,
    cell_type: str,
    *,
    fasta: Path | str | None = None,
    bed: Path | str | None = None,
    genome: Path | str | None = None,
    method: Method = "gradient",
    against: Against = "mean",
    device: str = "",
) -> RunAttributions:
    """Contributions to an output of a run or another network, for sequences of a FASTA file or regions of a BED file.

    `against` mean explains the output minus the mean over all cell types, which is all that networks trained by
    correlation or cross-entropy learn. Both strands are used if the run was trained with both. `device` is where it is
    computed, by default where the network is. Raises ConfigError for an unknown cell type or device, and the errors of
    `attribute`, `sequences_of` and `regions_of`.
    """
    network = _network(run, device)
    of = f"run {run.id}" if isinstance(run, Run) else "the network"
    if cell_type not in network.names:
        raise ConfigError(f"cell type {cell_type!r}: {of} has {', '.join(network.names[:100]) or 'no names'}")
    if (fasta is None) == (bed is None) or (bed is None) != (genome is None):
        raise ConfigError("give either a FASTA file, or regions (BED) and their genome")
    if fasta is not None:
        sequences = sequences_of(fasta, _length(network))
    else:
        assert bed is not None and genome is not None
        sequences = regions_of(bed, genome, _length(network))
    number, count = network.names.index(cell_type), len(network.names)
    if against == "mean" and count == 1:
        raise DataError(f"{of} has only one cell type, so it equals the mean; use --against nothing")
    output = contrast(number, count) if against == "mean" else number
    weights = output if isinstance(output, torch.Tensor) else torch.eye(count, dtype=torch.float64)[number]
    attributions = attribute(network, sequences.codes, method, output=weights)
    predicted = predict(network, sequences.codes, precision=torch.float32).double() @ weights
    columns = {"predicted": predicted, "sum": attributions.actual.sum(1)}
    if attributions.difference is not None:
        columns["difference"] = attributions.difference
    table = sequences.where.with_columns(pl.Series(name, values.numpy()) for name, values in columns.items())
    return RunAttributions(sequences, attributions, table)
