"""Effects of variants on the outputs of a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout
from netassay.dna.network.network import Network, predict
from netassay.errors import DataError
from netassay.formats.bases import UNKNOWN, decode, encode, known_as
from netassay.formats.fasta import Windows, read_windows
from netassay.formats.vcf import LEFT_OUT, SCHEMA, read_alleles
from netassay.numerics import devices

Mismatches = Literal["refuse", "skip"]
NEAR = 500
"""Bases to either side of a variant from which the random substitutions of the null are drawn."""


@dataclass(frozen=True, eq=False)
class VariantEffects:
    """Outputs of both alleles of each variant, and a null for their effects.

    Attributes:
        variants: A row for each allele: chromosome, position (from 1), id, ref, alt, line.
        outputs: Names of the outputs.
        reference: (n, outputs) with the reference allele.
        alternative: (n, outputs) with the alternative allele.
        null: (m,) the largest effect, over outputs and in size, of random single-base changes near the variants.
        dropped: Alleles left out, by reason.
        left_out: A row for each, with the reason in its last column.
        notes: Alleles that were scored differently from how they are written, by reason.
        less_mean: Whether outputs are minus the mean of all outputs of the sequence (see `Network`).

    Example:
        >>> import netassay
        >>> effects = netassay.variants("aitac-1a2b3c", vcf="gwas.vcf", genome="genome.fa", null=20)
        >>> effects.effects.shape, effects.p.shape
        (torch.Size([1, 19]), torch.Size([1]))
    """

    variants: pl.DataFrame
    outputs: tuple[str, ...]
    reference: Float[Tensor, "n outputs"]
    alternative: Float[Tensor, "n outputs"]
    null: Float[Tensor, " m"]
    dropped: Mapping[str, int]
    left_out: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={**SCHEMA, LEFT_OUT: pl.String}))
    notes: Mapping[str, int] = field(default_factory=dict)
    less_mean: bool = False

    def plot(self) -> Any:
        """The 30 alleles with the largest effects, on every output, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @property
    def effects(self) -> Float[Tensor, "n outputs"]:
        """Output with the alternative allele less output with the reference."""
        return self.alternative - self.reference

    @cached_property
    def p(self) -> Float[Tensor, " n"]:
        """(1 + number of random changes with at least the variant's largest effect) / (1 + their number).

        The null is of single-base changes, even for longer variants. NaN without a null.
        """
        if not len(self.null):
            return torch.full((len(self.reference),), torch.nan)
        largest = self.effects.abs().amax(1).contiguous()
        below = torch.searchsorted(self.null.sort().values, largest)
        return (1 + len(self.null) - below) / (1 + len(self.null))

    def table(self) -> pl.DataFrame:
        """A row for each allele, in the order of the file.

        The allele, its largest effect, in which output, p, then effect and reference of every output, and why it was
        left out (then the other columns are null).
        """
        n = len(self.variants)
        largest = self.effects.abs().argmax(1) if n else torch.zeros(0, dtype=torch.int64)
        how = " less mean" if self.less_mean else ""
        columns = [
            pl.Series(f"largest effect{how}", self.effects.gather(1, largest[:, None])[:, 0].numpy()),
            pl.Series("in", [self.outputs[i] for i in largest.tolist()], dtype=pl.String),
        ]
        if len(self.null):
            columns.append(pl.Series("p", self.p.numpy()))
        for words, values in (("effect", self.effects), ("reference", self.reference)):
            columns += [pl.Series(f"{words}{how} {name}", values[:, i].numpy()) for i, name in enumerate(self.outputs)]
        scored = self.variants.hstack([*columns, pl.Series(LEFT_OUT, [None] * n, dtype=pl.String)])
        rows = pl.concat([scored, self.left_out], how="diagonal")
        # alleles of one line keep their order
        return rows.sort("line", maintain_order=True).drop("line") if len(self.left_out) else rows.drop("line")


@dataclass(frozen=True, eq=False)
class Alleles:
    """Both sequences of every variant that is scored, and the alleles that are left out, with their reasons."""

    variants: pl.DataFrame
    reference: UInt8[Tensor, "n length"]
    alternative: UInt8[Tensor, "n length"]
    left_out: pl.DataFrame
    notes: Counter[str]


def variant_effects(
    model: nn.Module | Network,
    vcf: Path | str,
    genome: Path | str,
    *,
    length: int | None = None,
    names: Sequence[str] | None = None,
    both_strands: bool | None = None,
    readout: Readout = None,
    layout: Layout | None = None,
    mismatches: Mismatches = "refuse",
    null: int = 1000,
    generator: torch.Generator | None = None,
) -> VariantEffects:
    """Effects of the variants of a VCF file on every output, by the sequences of a genome.

    The first base of REF is in the middle (position length // 2) of the window. The window of the alternative allele
    begins at the same base of the genome: an insertion pushes bases out of its end, a deletion draws bases in. A
    window over the end of its contig is filled with unknown bases, and counted. Left out, counted and kept as rows of
    `left_out` and of the table, with the reason: alleles that are not a sequence, variants on contigs that the genome
    does not have, alleles longer than half a window, unknown bases of the genome.

    Args:
        model: Any module from one-hot (n, 4, length) to (n, outputs), or a network.
        vcf: The file, plain or gzip.
        genome: FASTA.
        length: Bases of a window; by default that of AI-TAC.
        names: Names of the outputs.
        both_strands: Whether to take the mean over both strands; by default yes.
        readout: Which of the model's outputs to use (see `Network`).
        layout: "channels_first" or "channels_last".
        mismatches: What to do where the genome has other bases than REF, as in a file called on another assembly:
            "refuse" or "skip".
        null: Number of random single-base changes within 500 bases of the variants (0 or more).
        generator: Draws them; by default with a fixed seed.

    Returns:
        The effects. All alleles may be left out.

    Raises:
        DataError: For files that cannot be read, one without any allele, and for other bases than REF.

    Source:
        Zhou, Troyanskaya (2015) for the effect of a variant as a difference of predictions.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> effects = netassay.dna.attributions.variant_effects(model, "gwas.vcf", "genome.fa", null=10)
        >>> effects.variants["id"].to_list()
        ['rs1']
    """
    if both_strands is None and not isinstance(model, Network):
        both_strands = True
    network = Network.of(model, both_strands=both_strands, names=names, length=length, readout=readout, layout=layout)
    if network.length is None or network.length < 1:
        raise DataError("give length=, the number of bases that the network takes")
    skipped: Counter[str] = Counter()
    variants = read_alleles(Path(vcf), skipped=skipped)
    alleles = _alleles(variants, Path(genome), network.length, Path(vcf), mismatches)
    skipped.update(alleles.left_out[LEFT_OUT].to_list())
    reference, alternative = (_outputs(network, codes) for codes in (alleles.reference, alleles.alternative))
    words = network.words(reference.shape[1])
    draws = generator or devices.generator(0, "variants")
    chance = _null(network, alleles.variants, Path(genome), network.length, null, draws)
    return VariantEffects(
        alleles.variants,
        words,
        reference,
        alternative,
        chance,
        dict(skipped),
        alleles.left_out,
        dict(alleles.notes),
        network.less_mean,
    )


def _outputs(network: Network, codes: UInt8[Tensor, "n length"]) -> Float[Tensor, "n outputs"]:
    """Predictions; without sequences an empty tensor with as many columns as the network has outputs."""
    if len(codes):
        return predict(network, codes)
    unknown = torch.full((1, codes.shape[1]), UNKNOWN, dtype=torch.uint8)
    return predict(network, unknown)[:0]


def _alleles(variants: pl.DataFrame, genome: Path, length: int, vcf: Path, mismatches: Mismatches) -> Alleles:
    """Both sequences of every allele that `read_alleles` gives, its first base at position length // 2.

    Windows over the end of their contig are filled with unknown bases, and counted in `notes`. Raises DataError where
    the genome has other bases than REF, unless such `mismatches` are skipped.
    """
    half = length // 2
    why: list[str | None] = variants[LEFT_OUT].to_list()
    for row, (ref, alt) in enumerate(zip(variants["ref"], variants["alt"], strict=True)):
        if why[row] is None and max(len(ref), len(alt)) > length - half:
            why[row] = f"allele longer than half of the window of {length} bases"
    rows = _open(why)
    names = variants["chromosome"].gather(rows).to_list()
    places = variants["position"].gather(rows).to_numpy() - 1
    refs, alts = (variants[column].gather(rows).to_list() for column in ("ref", "alt"))
    windows = read_windows(genome, names, places - half, length, padded=True)
    # a deletion draws in bases from behind the window
    deleted = np.array([max(len(ref) - len(alt), 0) for ref, alt in zip(refs, alts, strict=True)], np.int64)
    behind = _behind(names, places - half + length, deleted, genome)
    ends = np.array([windows.lengths.get(known_as(name, windows.lengths) or name, 0) for name in names], np.int64)
    for at, row in enumerate(rows):
        if windows.missing[at]:
            why[row] = f"on a contig that {genome.name} does not have"
        elif places[at] + len(refs[at]) > ends[at]:
            why[row] = "beyond the end of its contig"
        else:
            bases = windows.codes[at, half : half + len(refs[at])]
            why[row] = _disagreement(refs[at], bases)
            if why[row] == MISMATCH and mismatches == "refuse":
                chromosome, position, line = variants.select("chromosome", "position", "line").row(row)
                raise DataError(
                    f"{vcf}:{line}: REF is {refs[at][:40]} at {chromosome}:{position}, where {genome} has "
                    f"{decode(bases)[:40]}; take the assembly that the file was called on, or leave such variants out: "
                    "--mismatches skip"
                )
    valid = np.array([why[row] is None for row in rows], bool)
    reference = windows.codes[valid]
    alternative = np.empty_like(reference)
    for i, at in enumerate(np.flatnonzero(valid).tolist()):
        after = np.concatenate([reference[i, half + len(refs[at]) :], behind.codes[at]])
        alternative[i] = np.concatenate([reference[i, :half], encode(alts[at]), after])[:length]
    padded = windows.beyond | (behind.beyond & (deleted > 0))
    notes = Counter({"window over the end of its contig, filled with unknown bases": int(padded[valid].sum())})
    with_reasons = variants.with_columns(pl.Series(LEFT_OUT, why, dtype=pl.String))
    scored = with_reasons.filter(pl.col(LEFT_OUT).is_null()).drop(LEFT_OUT)
    left_out = with_reasons.filter(pl.col(LEFT_OUT).is_not_null())
    return Alleles(scored, torch.from_numpy(reference), torch.from_numpy(alternative), left_out, +notes)


def _open(why: list[str | None]) -> list[int]:
    return [row for row, reason in enumerate(why) if reason is None]


def _behind(chromosomes: list[str], starts: np.ndarray, counts: np.ndarray, genome: Path) -> Windows:
    """The bases behind the windows, for each as many as the longest deletion draws in; none without a deletion."""
    longest = int(counts.max(initial=0))
    n = len(chromosomes)
    codes, beyond = np.full((n, longest), UNKNOWN, np.uint8), np.zeros(n, bool)
    rows = np.flatnonzero(counts > 0)
    if len(rows):
        windows = read_windows(genome, [chromosomes[row] for row in rows], starts[rows], longest, padded=True)
        codes[rows] = windows.codes
        # of the longest deletion; a shorter one may need fewer
        ends = np.array([windows.lengths.get(known_as(chromosomes[row], windows.lengths) or "", 0) for row in rows])
        beyond[rows] = starts[rows] + counts[rows] > ends
    nothing = np.zeros(n, bool)
    return Windows(codes, nothing, beyond, nothing, {})


MISMATCH = "REF is not what the genome has there"


def _disagreement(ref: str, bases: UInt8[np.ndarray, " bases"]) -> str | None:
    """Why REF differs from the bases of the genome, or is not all known; None where it agrees."""
    expected = encode(ref)
    valid = (expected != UNKNOWN) & (bases != UNKNOWN)
    if (expected != bases)[valid].any():
        return MISMATCH
    return None if valid.all() else "bases of REF that are not known"


def _null(
    network: Network,
    variants: pl.DataFrame,
    genome: Path,
    length: int,
    count: int,
    draws: torch.Generator,
) -> Float[Tensor, " m"]:
    """Largest effects of random changes of known bases, each in the middle of its window, near random variants."""
    if count <= 0 or not len(variants):
        return torch.empty(0)
    rows = torch.randint(len(variants), (count,), generator=draws).tolist()
    moved = torch.randint(-NEAR, NEAR + 1, (count,), generator=draws).numpy()
    begin = variants["position"].to_numpy()[rows] - 1 + moved - length // 2
    windows = read_windows(genome, [variants["chromosome"][row] for row in rows], begin, length, padded=True)
    step = torch.randint(1, 4, (count,), generator=draws).numpy()
    middle = windows.codes[:, length // 2]
    valid = ~windows.missing & (middle != UNKNOWN)
    before = windows.codes[valid]
    after = before.copy()
    after[:, length // 2] = (middle[valid] + step[valid]) % 4
    if not len(before):
        return torch.empty(0)
    outputs = [predict(network, torch.from_numpy(codes)) for codes in (before, after)]
    return (outputs[1] - outputs[0]).abs().amax(1)
