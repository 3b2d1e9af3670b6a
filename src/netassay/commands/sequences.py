"""What a trained network says about sequences outside its atlas: predictions, contributions, variants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from netassay.commands.network import NetworkArguments, network_of
from netassay.commands.tables import refuse_no_table, write_table
from netassay.errors import ConfigError, DataError
from netassay.extras import require
from netassay.files import refuse_misplaced

if TYPE_CHECKING:
    from netassay.dna.attributions.variants import VariantEffects
    from netassay.dna.network.network import Network
    from netassay.runs import Run
    from netassay.studies.aitac.answers import Predictions, RunAttributions


def predict(
    run: Run | Network | str = "",
    *,
    fasta: Path | str | None = None,
    bed: Path | str | None = None,
    genome: Path | str | None = None,
    out: Path | str | None = None,
    store: Path | str = "runs",
    device: str = "",
    **network: Unpack[NetworkArguments],
) -> Predictions:
    """Predict the accessibility of new sequences or regions in every cell type of a trained run.

    Outputs are the network's own: with loss pearson their scale is arbitrary, with cross_entropy they are before the
    softmax. A network of your own (module, weights, atlas) can replace the run.

    Args:
        run: Id, beginning of an id, or folder of a finished run of study aitac; leave it out for a network of your
            own.
        fasta: Sequences, FASTA, plain or gzip. Longer ones are cut to the network's length around their middle.
        bed: Regions, BED or narrowPeak; needs `genome`.
        genome: FASTA of the genome (an index beside it is used), or 2bit.
        out: Table to write: .csv, .tsv or .parquet.
        store: Folder that holds the runs.
        device: cpu, cuda, cuda:N or mps (Apple; not tested); by default where the network is, which for a run is the
            CPU.
        network: A network of your own, in place of a run.

    Returns:
        A table with a row for each sequence, and counts of the sequences left out or changed, by reason.

    Raises:
        ConfigError: Where neither or both of a FASTA file and regions are given, or of a run and a network, and for a
            device that this machine does not have.
        DataError: For a run without weights, letters that are not DNA, and files that cannot be read.

    Source:
        Maslova et al. (2020), the AI-TAC model.

    Example:
        >>> import netassay
        >>> netassay.predict("aitac-1a2b3c", fasta="enhancers.fa").table.height
        3
    """
    _require_one_input(fasta, bed, genome)
    if out is not None:
        refuse_no_table(Path(out))
    from netassay.studies.aitac.answers import predict_regions, predict_sequences

    model = network_of(run, store, **network)
    if fasta is not None:
        predictions = predict_sequences(model, fasta, device=device)
    else:
        assert bed is not None and genome is not None
        predictions = predict_regions(model, bed, genome, device=device)
    if out is not None:
        write_table(Path(out), predictions.table)
    return predictions


def _require_one_input(fasta: Path | str | None, bed: Path | str | None, genome: Path | str | None) -> None:
    if (fasta is None) == (bed is None) or (bed is None) != (genome is None):
        raise ConfigError("give either --fasta F, or --bed F and --genome F")


def variants(
    run: Run | Network | str = "",
    *,
    vcf: Path | str,
    genome: Path | str,
    out: Path | str | None = None,
    mismatches: Literal["refuse", "skip"] = "refuse",
    null: int = 1000,
    loss: Literal["", "pearson", "mse", "poisson", "cross_entropy", "binary_cross_entropy"] = "",
    store: Path | str = "runs",
    device: str = "",
    **network: Unpack[NetworkArguments],
) -> VariantEffects:
    """Predict the effect of each variant of a VCF file on every cell type of a trained run.

    An effect is the output with the alternative allele minus that with the reference, as the mean of both strands. For
    the losses pearson and cross_entropy the mean over the cell types is subtracted from the outputs, and the columns
    say so. p is the share of random single-base changes nearby whose largest effect is at least as large. Alleles that
    are left out have a row too, with the reason; if no allele could be scored, the command's exit code is 1.

    Args:
        run: Id, beginning of an id, or folder of a finished run of study aitac; leave it out for a network of your
            own.
        vcf: Variants, VCF, plain or gzip.
        genome: FASTA of the genome that they were called on (an index beside it is used), or 2bit.
        out: Table to write: .csv, .tsv or .parquet.
        mismatches: What to do if the genome has other bases than REF.
        null: Number of random single-base changes near the variants that p is computed from; 0: no p.
        loss: Loss that a network of your own was trained with: pearson and cross_entropy leave an offset of each row of
            outputs undetermined, which is subtracted. By default pearson for AI-TAC as published, else mse.
        store: Folder that holds the runs.
        device: cpu, cuda, cuda:N or mps (Apple; not tested); by default where the network is, which for a run is the
            CPU.
        network: A network of your own, in place of a run.

    Returns:
        The outputs of both alleles, their effects and p, a row for each allele.

    Raises:
        ConfigError: For a negative `null`, a device that this machine does not have, and where neither or both of a run
            and a network are given.
        DataError: For a run without weights and files that cannot be read or do not fit each other.

    Source:
        Zhou, Troyanskaya (2015) for the effect of a variant as a difference of predictions.

    Example:
        >>> import netassay
        >>> effects = netassay.variants("aitac-1a2b3c", vcf="gwas.vcf", genome="genome.fa", null=20)
        >>> effects.table()["id"].to_list()
        ['rs1']
    """
    if out is not None:
        refuse_no_table(Path(out))
    if null < 0:
        raise ConfigError(f"--null {null}: give 0 or more random changes")
    from netassay.dna.network.network import Network, loss_of, offset_is_free
    from netassay.studies.aitac.answers import variant_effects

    model = network_of(run, store, **network)
    if not run and isinstance(model, Network):
        free = offset_is_free(loss_of(network.get("module", ""), loss))
        model = replace(model, both_strands=True, less_mean=free)
    effects = variant_effects(model, vcf, genome, mismatches=mismatches, null=null, device=device)
    if out is not None:
        write_table(Path(out), effects.table())
    return effects


_OPTIONAL_FILES = ("contributions.bw", "contributions.bedgraph", "patterns.h5", "patterns.meme")


def attribute_run(
    run: Run | Network | str = "",
    *,
    cell_type: str,
    fasta: Path | str | None = None,
    bed: Path | str | None = None,
    genome: Path | str | None = None,
    method: Literal["gradient", "mutagenesis", "deepshap", "integrated_gradients"] = "gradient",
    against: Literal["mean", "nothing"] = "mean",
    patterns: bool = False,
    out: Path | str | None = None,
    store: Path | str = "runs",
    device: str = "",
    **network: Unpack[NetworkArguments],
) -> RunAttributions:
    """Compute how much each base contributes to the output of a cell type.

    Writes sequences.tsv, contributions.safetensors and, for regions, contributions.bw and contributions.bedgraph. The
    tracks hold the bases of the sequences, averaged where regions overlap; the tensors hold all four bases.

    Args:
        run: Id, beginning of an id, or folder of a finished run of study aitac; leave it out for a network of your
            own.
        cell_type: Cell type whose output is explained.
        fasta: Sequences, FASTA, plain or gzip.
        bed: Regions, BED or narrowPeak; needs `genome`.
        genome: FASTA of the genome (an index beside it is used), or 2bit.
        method: How contributions are computed; deepshap needs the extra attributions.
        against: Explain the output minus the mean over all cell types (mean), or the output itself (nothing).
        patterns: Also find recurring motifs, by TF-MoDISco (extra modisco), and write patterns.meme; needs `out`.
        out: Folder to write to; created if necessary.
        store: Folder that holds the runs.
        device: cpu, cuda, cuda:N or mps (Apple; not tested); by default where the network is, which for a run is the
            CPU.
        network: A network of your own, in place of a run.

    Returns:
        The contributions (n, 4, length), the sequences, and a table with a row for each sequence.

    Raises:
        ConfigError: For an unknown cell type, a device that this machine does not have, and where neither or both of
            two alternatives are given.
        DataError: For a run without weights and files that cannot be read.
        ExtraMissing: For a method, patterns or tracks (bigWig, for regions) whose package is not installed.

    Source:
        Shrikumar et al. (2017) and Lundberg, Lee (2017) for deepshap; Sundararajan et al. (2017) for
        integrated_gradients; Shrikumar et al. (2018) for TF-MoDISco.

    Example:
        >>> import netassay
        >>> explained = netassay.attribute_run("aitac-1a2b3c", cell_type="B.late.1", fasta="enhancers.fa")
        >>> explained.attributions.actual.shape
        torch.Size([3, 100])
    """
    _require_one_input(fasta, bed, genome)
    if patterns and out is None:
        raise ConfigError("patterns are written to a folder; give --out")
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise ConfigError(f"--out {out}: exists and is not a folder; name a folder")
    if out is not None:
        refuse_misplaced(Path(out) / "sequences.tsv")
        if bed is not None:
            from netassay.formats.tracks import require_name

            require_name(Path(out) / "contributions.bw")
    _require_packages(method, tracks=bed is not None and out is not None, patterns=patterns)
    from netassay.studies.aitac.answers import attribute_run as attribute

    model = network_of(run, store, **network)
    attributions = attribute(
        model, cell_type, fasta=fasta, bed=bed, genome=genome, method=method, against=against, device=device
    )
    if out is None:
        return attributions
    shared = _write_attributions(attributions, Path(out), regions=bed is not None, patterns=patterns)
    return replace(attributions, shared=shared)


def _require_packages(method: str, *, tracks: bool, patterns: bool) -> None:
    """ExtraMissing before anything is computed, not after it."""
    if method == "deepshap":
        require("tangermeme", "attributions", "method deepshap")
    if patterns:
        require("modiscolite", "modisco", "patterns")
    if tracks:
        require("pybigtools", "dna", "contributions.bw: bigWig")


def _write_attributions(attributions: RunAttributions, folder: Path, *, regions: bool, patterns: bool) -> int:
    """The files in the folder, and how many bases lie in several regions."""
    from netassay.dna.attributions.files import save_attributions, write_tracks
    from netassay.dna.attributions.modisco import find_patterns
    from netassay.formats.meme import write_meme

    folder.mkdir(parents=True, exist_ok=True)
    for name in _OPTIONAL_FILES:  # of an earlier call, perhaps for other sequences
        (folder / name).unlink(missing_ok=True)
    write_table(folder / "sequences.tsv", attributions.table)
    save_attributions(folder / "contributions.safetensors", attributions.attributions)
    shared = 0
    if regions:
        shared = write_tracks(folder, attributions.attributions, attributions.table, attributions.sequences.contigs)
    if patterns:
        try:
            recurring = find_patterns(attributions.attributions, file=folder / "patterns.h5")
        except DataError as error:
            raise DataError(f"{error}; the contributions are in {folder} all the same") from error
        write_meme(recurring.motifs, folder / "patterns.meme")
    return shared
