"""What a variant changes in the outputs of a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from netassay.dna.atlas.new_sequences import told
from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout
from netassay.dna.network.network import Network
from netassay.dna.network.predicting import predict
from netassay.errors import DataError
from netassay.formats.bases import UNKNOWN, decode, encode
from netassay.formats.fasta import Windows, read_windows
from netassay.formats.vcf import read_vcf
from netassay.numerics import seeds

Mismatches = Literal["refuse", "skip"]
NEAR = 500
"""Bases to either side of a variant from which the random substitutions of the null are drawn."""


@dataclass(frozen=True, eq=False)
class VariantEffects:
    """A row of `variants` (chromosome, position from 1, id, ref, alt, line) an allele, and the outputs of both alleles.

    `null`: the largest effect, over outputs and in size, of random single-base changes near the variants. `dropped`
    counts alleles left out, by reason. `less_mean`: outputs are less the mean of all outputs of the sequence, as a
    network is asked that knows no more than that (see `Network`).
    """

    variants: pl.DataFrame
    outputs: tuple[str, ...]
    reference: Float[Tensor, "n outputs"]
    alternative: Float[Tensor, "n outputs"]
    null: Float[Tensor, " m"]
    dropped: Mapping[str, int]
    less_mean: bool = False

    @property
    def effects(self) -> Float[Tensor, "n outputs"]:
        """Output with the alternative allele less output with the reference."""
        return self.alternative - self.reference

    @cached_property
    def p(self) -> Float[Tensor, " n"]:
        """(1 + number of random changes with at least the variant's largest effect) / (1 + their number).

        The null is of single-base changes, also where a variant is longer. NaN without a null.
        """
        if not len(self.null):
            return torch.full((len(self.reference),), torch.nan)
        largest = self.effects.abs().amax(1).contiguous()
        below = torch.searchsorted(self.null.sort().values, largest)
        return (1 + len(self.null) - below) / (1 + len(self.null))

    def table(self) -> pl.DataFrame:
        """A row a variant: what it is, its largest effect, where, p, then effect and reference of every output."""
        largest = self.effects.abs().argmax(1)
        how = " less mean" if self.less_mean else ""
        columns = [
            pl.Series(f"largest effect{how}", self.effects.gather(1, largest[:, None])[:, 0].numpy()),
            pl.Series("in", [self.outputs[i] for i in largest.tolist()], dtype=pl.String),
        ]
        if len(self.null):
            columns.append(pl.Series("p", self.p.numpy()))
        for words, values in (("effect", self.effects), ("reference", self.reference)):
            columns += [
                pl.Series(f"{words}{how} {name}", values[:, i].numpy()) for i, name in enumerate(self.outputs)
            ]
        return self.variants.drop("line").hstack(columns)


@dataclass(frozen=True, eq=False)
class Alleles:
    """Both sequences of every variant that is left."""

    variants: pl.DataFrame
    reference: UInt8[Tensor, "n length"]
    alternative: UInt8[Tensor, "n length"]


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
    """Effects of the variants of a VCF file (see `read_vcf`) on every output, by the sequences of a genome (FASTA).

    The first base of REF stands in the middle (place length // 2) of the window. The window of the alternative allele
    begins at the same base of the genome: what follows an insertion moves out of it, what follows a deletion in.
    Outputs are the mean over both strands, unless told otherwise. `model` is any module from one-hot (n, 4, length) to
    (n, outputs), with `length` (AI-TAC knows its own) and `names` of outputs, or a `Network`, which is asked as it
    says; `readout` and `layout` are for modules of other forms. `null` random single-base changes within 500 bases of
    the variants tell how large an effect is by chance.

    Left out and counted: variants on contigs that the genome does not have, windows beyond the end of one, alleles
    longer than half a window, bases that the genome does not know. Where the genome has other bases than REF, the
    file was called on another assembly: DataError, or with `mismatches` skip they are left out and counted. Also
    raises DataError for files that cannot be read, and if no variant is left.
    """
    if both_strands is None and not isinstance(model, Network):
        both_strands = True
    network = Network.of(
        model, both_strands=both_strands, names=names, length=length, readout=readout, layout=layout
    )
    if network.length is None or network.length < 1:
        raise DataError("give length=, the number of bases that the network takes")
    skipped: Counter[str] = Counter()
    table = read_vcf(Path(vcf), skipped=skipped)
    alleles = _alleles(table, Path(genome), network.length, Path(vcf), mismatches, skipped)
    reference, alternative = (predict(network, codes) for codes in (alleles.reference, alleles.alternative))
    words = network.words(reference.shape[1])
    draws = generator or seeds.generator(0, "variants")
    chance = _null(network, alleles.variants, Path(genome), network.length, null, draws)
    dropped = {why: n for why, n in skipped.items() if n}
    return VariantEffects(alleles.variants, words, reference, alternative, chance, dropped, network.less_mean)


def _alleles(
    variants: pl.DataFrame,
    genome: Path,
    length: int,
    vcf: Path,
    mismatches: Mismatches,
    skipped: Counter[str],
) -> Alleles:
    half = length // 2
    long = variants.select(
        (pl.col("ref").str.len_bytes() > length - half) | (pl.col("alt").str.len_bytes() > length - half)
    ).to_series()
    skipped[f"allele longer than half of the window of {length} bases"] += int(long.sum())
    variants = variants.filter(~long)
    begin = variants["position"].to_numpy() - 1 - half
    # a deletion brings bases from behind the window in
    deleted = variants.select(
        (pl.col("ref").str.len_bytes().cast(pl.Int64) - pl.col("alt").str.len_bytes().cast(pl.Int64)).clip(0)
    ).to_series()
    windows = read_windows(genome, variants["chromosome"].to_list(), begin, length)
    behind = _behind(variants["chromosome"].to_list(), begin + length, deleted.to_numpy(), genome)
    kept = ~windows.missing & ~windows.beyond & ~behind.beyond
    skipped[f"on a contig that {genome.name} does not have"] += int(windows.missing.sum())
    skipped["window beyond the end of its contig"] += int((~kept & ~windows.missing).sum())
    kept &= _agreeing(variants, windows.codes, half, kept, genome, vcf, mismatches, skipped)
    if not kept.any():
        raise DataError(f"{vcf}: no variant is left ({told(skipped)}); take the genome that it was called on")
    rows = np.flatnonzero(kept)
    variants, reference = variants.filter(pl.Series(kept)), windows.codes[kept]
    alternative = np.empty_like(reference)
    alts = zip(variants["ref"], variants["alt"], strict=True)
    for row, (ref, alt) in enumerate(alts):
        after = np.concatenate([reference[row, half + len(ref) :], behind.codes[rows[row]]])
        alternative[row] = np.concatenate([reference[row, :half], encode(alt), after])[:length]
    return Alleles(variants, torch.from_numpy(reference), torch.from_numpy(alternative))


def _behind(chromosomes: list[str], starts: np.ndarray, counts: np.ndarray, genome: Path) -> Windows:
    """The bases behind the windows, as many for each as the longest deletion brings in; none where there is none."""
    most = int(counts.max(initial=0))
    n = len(chromosomes)
    codes, beyond = np.full((n, most), UNKNOWN, np.uint8), np.zeros(n, bool)
    rows = np.flatnonzero(counts > 0)
    if len(rows):
        found = read_windows(genome, [chromosomes[row] for row in rows], starts[rows], most)
        codes[rows], beyond[rows] = found.codes, found.beyond
    nothing = np.zeros(n, bool)
    return Windows(codes, nothing, beyond, nothing, {})


def _agreeing(
    variants: pl.DataFrame,
    codes: np.ndarray,
    half: int,
    kept: Bool[np.ndarray, " n"],
    genome: Path,
    vcf: Path,
    mismatches: Mismatches,
    skipped: Counter[str],
) -> Bool[np.ndarray, " n"]:
    """Whether the genome has REF where each variant of `kept` is, with known bases."""
    agreeing = np.ones(len(codes), bool)
    for row in np.flatnonzero(kept):
        ref = variants["ref"][int(row)]
        wanted, found = encode(ref), codes[row, half : half + len(ref)]
        known = (wanted != UNKNOWN) & (found != UNKNOWN)
        if (wanted != found)[known].any():
            agreeing[row] = False
            if mismatches == "refuse":
                chromosome, place, line = variants.select("chromosome", "position", "line").row(int(row))
                raise DataError(
                    f"{vcf}:{line}: REF is {ref[:40]} at {chromosome}:{place}, where {genome} has "
                    f"{decode(found)[:40]}; take the assembly that the file was called on, or leave such variants out: "
                    "--mismatches skip"
                )
            skipped["REF is not what the genome has there"] += 1
        elif not known.all():
            agreeing[row] = False
            skipped["bases of REF that are not known"] += 1
    return agreeing


def _null(
    network: Network,
    variants: pl.DataFrame,
    genome: Path,
    length: int,
    count: int,
    draws: torch.Generator,
) -> Float[Tensor, " m"]:
    """Largest effects of random changes of known bases, each in the middle of its window, near random variants."""
    if count <= 0:
        return torch.empty(0)
    rows = torch.randint(len(variants), (count,), generator=draws).tolist()
    moved = torch.randint(-NEAR, NEAR + 1, (count,), generator=draws).numpy()
    begin = variants["position"].to_numpy()[rows] - 1 + moved - length // 2
    found = read_windows(genome, [variants["chromosome"][row] for row in rows], begin, length)
    step = torch.randint(1, 4, (count,), generator=draws).numpy()
    middle = found.codes[:, length // 2]
    kept = ~(found.missing | found.beyond) & (middle != UNKNOWN)
    before = found.codes[kept]
    after = before.copy()
    after[:, length // 2] = (middle[kept] + step[kept]) % 4
    if not len(before):
        return torch.empty(0)
    outputs = [predict(network, torch.from_numpy(codes)) for codes in (before, after)]
    return (outputs[1] - outputs[0]).abs().amax(1)
