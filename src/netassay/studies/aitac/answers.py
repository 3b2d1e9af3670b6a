"""What a finished run predicts for sequences and regions that are not in its atlas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl
import torch
from torch import nn

from netassay.dna.atlas.new_sequences import NewSequences, regions_of, sequences_of
from netassay.dna.attributions.contributions import Attributions, Method, attribute
from netassay.dna.attributions.variants import Mismatches, VariantEffects, alleles_of, chance_effects
from netassay.dna.network.predicting import predict
from netassay.dna.network.readouts import contrast
from netassay.errors import ConfigError, DataError
from netassay.formats.bases import UNKNOWN
from netassay.formats.vcf import LEFT_OUT, read_alleles
from netassay.nets.sequence_cnn import AITAC
from netassay.numerics import seeds
from netassay.runs import Run
from netassay.studies.aitac.assay import config_of, trained


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


def variant_effects(
    model: Run | nn.Module,
    vcf: Path | str,
    genome: Path | str,
    *,
    length: int | None = None,
    names: Sequence[str] = (),
    both_strands: bool = True,
    mismatches: Mismatches = "refuse",
    null: int = 1000,
    generator: torch.Generator | None = None,
) -> VariantEffects:
    """Effects of the variants of a VCF file (see `read_vcf`) on every output, by the sequences of a genome (FASTA).

    The first base of REF stands in the middle (place length // 2) of the window. The window of the alternative allele
    begins at the same base of the genome: what follows an insertion moves out of it, what follows a deletion in.
    Outputs are the mean over both strands, unless told otherwise. `model` is a finished run of the study, or any
    module from one-hot (n, 4, length) to (n, outputs), with `length` (AI-TAC knows its own) and `names` of outputs.
    `null` random single-base changes within 500 bases of the variants tell how large an effect is by chance.

    A window over the end of its contig is filled with unknown bases, and counted. Left out, counted and kept as rows of
    `left_out` and of the table, with the reason: alleles that are no sequence, variants on contigs that the genome does
    not have, alleles longer than half a window, bases that the genome does not know. Where the genome has other bases
    than REF, the file was called on another assembly: DataError, or with `mismatches` skip they are left out. Also
    raises DataError for files that cannot be read, and for one without any allele. All alleles may be left out.
    """
    if isinstance(model, Run):
        network = predictor(model)
        model, names, length = network.model, network.cell_types, network.length
    elif type(model) is AITAC:
        length = model.length
    if length is None or length < 1:
        raise DataError("give length=, the number of bases that the network takes")
    skipped: Counter[str] = Counter()
    given = read_alleles(Path(vcf), skipped=skipped)
    alleles = alleles_of(given, Path(genome), length, Path(vcf), mismatches)
    skipped.update(alleles.left_out[LEFT_OUT].to_list())
    reference, alternative = (
        _outputs(model, codes, both_strands) for codes in (alleles.reference, alleles.alternative)
    )
    if names and len(names) != reference.shape[1]:
        raise DataError(f"{len(names)} names are given for {reference.shape[1]} outputs; give one an output")
    words = tuple(names) or tuple(f"output {i}" for i in range(reference.shape[1]))
    draws = generator or seeds.generator(0, "variants")
    chance = chance_effects(model, alleles.variants, Path(genome), length, null, both_strands, draws)
    return VariantEffects(
        alleles.variants,
        words,
        reference,
        alternative,
        chance,
        dict(skipped),
        alleles.left_out,
        dict(alleles.notes),
    )


def _outputs(model: nn.Module, codes: torch.Tensor, both_strands: bool) -> torch.Tensor:
    """Predictions; where there is no sequence, of none, but with as many columns as the network has outputs."""
    if len(codes):
        return predict(model, codes, both_strands=both_strands)
    unknown = torch.full((1, codes.shape[1]), UNKNOWN, dtype=torch.uint8)
    return predict(model, unknown, both_strands=both_strands)[:0]


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
