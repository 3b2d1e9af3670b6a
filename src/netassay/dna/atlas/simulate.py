"""A simulated atlas with a known grammar, to measure how much of it a method recovers.

Sites are planted into random sequences and found again by scores in integers, so that every sum is exact and p-values
are too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from netassay.dna.atlas.atlas import Atlas
from netassay.dna.atlas.grammar import HAEMATOPOIESIS, Grammar
from netassay.errors import DataError
from netassay.formats.bases import one_hot
from netassay.formats.jaspar import RELEASE, Motif, read_jaspar
from netassay.numerics.devices import generator
from netassay.processes import paced

CHROMOSOMES, SPACING = 10, 1_000
SITE_P_VALUE = 1e-4
BASELINE, BETWEEN_PEAKS, WITHIN_LINEAGE = 2.0, 0.5, 0.2


def simulate_atlas(
    peaks: int = 12_000,
    *,
    length: int = 251,
    noise: float = 0.3,
    seed: int = 0,
    grammar: Grammar = HAEMATOPOIESIS,
) -> Atlas:
    """An atlas whose heights follow from its sequences by a known rule, labelled as simulated.

    `netassay.simulate_atlas` says the same in more words, and saves it. The strength of a site is its score over the
    consensus's; every site counts, planted or there by chance, on either strand.

    Args:
        peaks: Number of peaks (1 or more).
        length: Bases of each peak (60 or more).
        noise: Standard deviation of the noise on heights (0 or more).
        seed: Seed of all draws.
        grammar: Factors, pairs and lineages.

    Returns:
        The atlas.

    Raises:
        DataError: For numbers out of range.

    Example:
        >>> import netassay
        >>> netassay.dna.atlas.simulate_atlas(40, length=80).simulated
        True
    """
    if peaks < 1 or length < 60 or noise < 0:
        raise DataError(
            f"peaks = {peaks}, length = {length}, noise = {noise:g}: allowed are at least 1 peak, 60 bases and no "
            "noise below 0"
        )
    motifs = read_jaspar(factor.matrix for factor in grammar.factors)
    probabilities = [motif.probabilities() for motif in motifs]
    scorers = [scorer(matrix, SITE_P_VALUE) for matrix in probabilities]
    numbers = {factor.name: i for i, factor in enumerate(grammar.factors)}
    pairs = [(numbers[pair.first], numbers[pair.second], float(pair.distance)) for pair in grammar.pairs]
    codes = background(peaks, length, _draws(seed, "background"))
    instances = plant(codes, probabilities, scorers, pairs, _draws(seed, "planting"))
    sites = _site_table(scan(torch.from_numpy(codes), scorers), scorers, instances)
    pair_sites = _pair_table(sites, grammar, scorers)
    effects, pair_effects = _effects(grammar, seed)
    signal = (
        _occupancy(sites, "motif", "strength", peaks, len(motifs)) @ effects
        + _occupancy(pair_sites, "pair", "weight", peaks, len(pairs)) @ pair_effects
        + BASELINE
    )
    draw = _draws(seed, "heights")
    signal += BETWEEN_PEAKS * draw.standard_normal((peaks, 1))
    heights = signal + noise * draw.standard_normal(signal.shape)
    where = np.arange(peaks)
    start = (where // CHROMOSOMES + 1) * SPACING
    return Atlas(
        codes=torch.from_numpy(codes),
        heights=torch.from_numpy(heights.astype(np.float32)),
        peaks=pl.DataFrame(
            {
                "name": [f"simulated_{i}" for i in where],
                "chromosome": [f"chr{i % CHROMOSOMES + 1}" for i in where],
                "start": start,
                "end": start + length,
            }
        ),
        cell_types=grammar.cell_types,
        lineages=tuple(grammar.lineage(name) for name in grammar.cell_types),
        source=f"simulated: {len(motifs)} factors of {RELEASE}, {len(pairs)} pairs, noise {noise:g}, seed {seed}",
        simulated=True,
        truth=_truth(grammar, motifs, scorers, effects, pair_effects, sites, pair_sites, signal),
    )


def _draws(seed: int, purpose: str) -> np.random.Generator:
    """NumPy draws keyed by seed and purpose, as `netassay.numerics.devices` keys torch's."""
    return np.random.default_rng(generator(seed, "simulate", purpose).initial_seed())


def _effects(grammar: Grammar, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Effects (factors, cell types) and (pairs, cell types): those of the nodes above, a little different in each."""
    above = [grammar.nodes(cell_type) for cell_type in grammar.cell_types]
    single = np.array(
        [[sum(factor.effects.get(node, 0.0) for node in nodes) for nodes in above] for factor in grammar.factors]
    )
    paired = np.array([[pair.effect * (pair.node in nodes) for nodes in above] for pair in grammar.pairs])
    paired = paired.reshape(-1, len(above))
    draw = _draws(seed, "effects")
    vary = 1 + WITHIN_LINEAGE * (2 * draw.random((len(single), len(above))) - 1)
    everywhere = (single > 0).all(axis=1, keepdims=True)
    return np.where(everywhere, single, single * vary), paired


def _site_table(sites: Sites, scorers: Sequence[Scorer], instances: Instances) -> pl.DataFrame:
    best = np.array([entry.best for entry in scorers])
    frame = pl.DataFrame(
        {
            "peak": sites.peak,
            "motif": sites.motif,
            "start": sites.start,
            "strand": sites.strand,
            "strength": sites.score / best[sites.motif],
        }
    )
    truth = pl.DataFrame({"peak": instances.peak, "motif": instances.motif, "start": instances.start, "planted": True})
    table = frame.join(truth, on=["peak", "motif", "start"], how="left", maintain_order="left")
    return table.with_columns(pl.col("planted").fill_null(False))


def _pair_table(sites: pl.DataFrame, grammar: Grammar, scorers: Sequence[Scorer]) -> pl.DataFrame:
    """The best site pair of each pair of factors in each peak; overlapping sites do not count."""
    widths = pl.DataFrame({"motif": np.arange(len(scorers)), "width": [entry.width for entry in scorers]})
    spans = sites.join(widths, on="motif", maintain_order="left").with_columns(
        end=pl.col("start") + pl.col("width"), centre=pl.col("start") + pl.col("width") / 2
    )
    numbers = {factor.name: i for i, factor in enumerate(grammar.factors)}
    tables = []
    for number, pair in enumerate(grammar.pairs):
        first, second = (spans.filter(pl.col("motif") == numbers[name]) for name in (pair.first, pair.second))
        distance = (pl.col("centre_other") - pl.col("centre")).abs()
        deviation = (distance - pair.distance) / pair.spread
        candidates = (
            first.join(second, on="peak", suffix="_other")
            .filter((pl.col("start_other") >= pl.col("end")) | (pl.col("end_other") <= pl.col("start")))
            .with_columns(
                pair=pl.lit(number, pl.Int64),
                distance=distance,
                weight=pl.col("strength") * pl.col("strength_other") * (-0.5 * deviation**2).exp(),
            )
            .select("peak", "pair", "start", "start_other", "distance", "weight")
        )
        tables.append(candidates.sort("peak", "weight", "start", "start_other", descending=[False, True, False, False]))
    return pl.concat(tables).unique(["peak", "pair"], keep="first", maintain_order=True) if tables else EMPTY_PAIRS


EMPTY_PAIRS = pl.DataFrame(
    schema={
        "peak": pl.Int64,
        "pair": pl.Int64,
        "start": pl.Int64,
        "start_other": pl.Int64,
        "distance": pl.Float64,
        "weight": pl.Float64,
    }
)


def _occupancy(frame: pl.DataFrame, kind: str, value: str, peaks: int, kinds: int) -> np.ndarray:
    """Sums of `value` by peak and kind, (peaks, kinds)."""
    sums = np.zeros((peaks, kinds))
    np.add.at(sums, (frame["peak"].to_numpy(), frame[kind].to_numpy()), frame[value].to_numpy())
    return sums


def _truth(
    grammar: Grammar,
    motifs: Sequence[Motif],
    scorers: Sequence[Scorer],
    effects: np.ndarray,
    pair_effects: np.ndarray,
    sites: pl.DataFrame,
    pair_sites: pl.DataFrame,
    signal: np.ndarray,
) -> dict[str, pl.DataFrame]:
    names = [factor.name for factor in grammar.factors]
    pair_names = [pair.name for pair in grammar.pairs]
    types = grammar.cell_types
    tree = [*grammar.parents.items(), *((name, grammar.nodes(name)[0]) for name in types)]
    factors = {
        "factor": names,
        "matrix": [motif.id for motif in motifs],
        "width": [entry.width for entry in scorers],
        "consensus": ["".join("ACGT"[i] for i in entry.odds.argmax(axis=0)) for entry in scorers],
        "threshold_bits": [entry.threshold / UNITS_PER_BIT for entry in scorers],
    }
    rows = [
        (name, position, *column)
        for name, motif in zip(names, motifs, strict=True)
        for position, column in enumerate(motif.probabilities().T.tolist())
    ]
    pairs = {
        "pair": pair_names,
        "first": [pair.first for pair in grammar.pairs],
        "second": [pair.second for pair in grammar.pairs],
        "kind": [pair.kind for pair in grammar.pairs],
        "node": [pair.node for pair in grammar.pairs],
        "effect": [pair.effect for pair in grammar.pairs],
        "distance": [float(pair.distance) for pair in grammar.pairs],
        "spread": [float(pair.spread) for pair in grammar.pairs],
    }
    return {
        "tree": pl.DataFrame(tree, schema=["node", "parent"], orient="row"),
        "factors": pl.DataFrame(factors),
        "motifs": pl.DataFrame(rows, schema=["factor", "position", *"ACGT"], orient="row"),
        "effects": _long("factor", names, types, effects),
        "pairs": pl.DataFrame(pairs),
        "pair_effects": _long("pair", pair_names, types, pair_effects),
        "sites": _with_names(sites, "motif", "factor", names),
        "pair_sites": _with_names(pair_sites, "pair", "pair", pair_names),
        "signal": pl.DataFrame(signal.astype(np.float32), schema=list(types)),
    }


def _long(column: str, names: Sequence[str], types: Sequence[str], values: np.ndarray) -> pl.DataFrame:
    rows = [(name, kind) for name in names for kind in types]
    frame = pl.DataFrame(rows, schema={column: pl.String, "cell_type": pl.String}, orient="row")
    return frame.with_columns(pl.Series("effect", values.reshape(-1), dtype=pl.Float64))


def _with_names(frame: pl.DataFrame, number: str, column: str, names: Sequence[str]) -> pl.DataFrame:
    """Numbers of factors or pairs replaced by their names, as the second column."""
    words = pl.Series(column, [names[i] for i in frame[number]], dtype=pl.String)
    rest = frame.drop(number, "peak")
    return pl.DataFrame([frame["peak"], words, *rest.get_columns()])


# rows: this base, columns: the next, in the order A, C, G, T; C is seldom followed by G, as in vertebrate genomes
NEXT_BASE = np.array(
    [
        [0.32, 0.18, 0.26, 0.24],
        [0.32, 0.28, 0.06, 0.34],
        [0.27, 0.22, 0.27, 0.24],
        [0.20, 0.22, 0.26, 0.32],
    ]
)
MOST_SITES, TRIES = 4, 12
PAIRED, AT_PREFERRED = 0.4, 0.6


@dataclass(frozen=True, eq=False)
class Instances:
    """Motif instances that were written: peak, motif, first base, strand (+1 or -1)."""

    peak: np.ndarray
    motif: np.ndarray
    start: np.ndarray
    strand: np.ndarray


def background(n: int, length: int, draw: np.random.Generator) -> np.ndarray:
    """Codes (n, length) of a chain in which each base depends on the one before (`NEXT_BASE`)."""
    cumulated = NEXT_BASE.cumsum(axis=1)
    cumulated[:, -1] = 1
    uniform = draw.random((n, length))
    codes = np.empty((n, length), np.uint8)
    codes[:, 0] = (uniform[:, 0] * 4).astype(np.uint8)
    for position in range(1, length):
        codes[:, position] = (uniform[:, position, None] >= cumulated[codes[:, position - 1]]).sum(axis=1)
    return codes


def plant(
    codes: np.ndarray,
    probabilities: Sequence[np.ndarray],
    scorers: Sequence[Scorer],
    pairs: Sequence[tuple[int, int, float]],
    draw: np.random.Generator,
) -> Instances:
    """Writes up to four instances into every sequence, in place; none overlaps another.

    A share of the sequences gets the two motifs of a pair (first, second, preferred distance of their centres),
    most of these at about that distance, the others anywhere; the remaining instances are of any motif.
    """
    instances: list[tuple[int, int, int, int]] = []
    for peak, sequence in enumerate(codes):
        occupied = np.zeros(len(sequence), bool)
        for motif, start in _places(len(sequence), scorers, pairs, draw):
            width = scorers[motif].width
            if start < 0 or start + width > len(sequence) or occupied[start : start + width].any():
                continue
            strand = 1 if draw.random() < 0.5 else -1
            letters = instance(probabilities[motif], scorers[motif], draw)
            sequence[start : start + width] = letters if strand > 0 else 3 - letters[::-1]
            occupied[start : start + width] = True
            instances.append((peak, motif, start, strand))
    return Instances(*np.array(instances, dtype=np.int64).reshape(-1, 4).T)


def _places(
    length: int, scorers: Sequence[Scorer], pairs: Sequence[tuple[int, int, float]], draw: np.random.Generator
) -> list[tuple[int, int]]:
    """Motifs and their first bases, to be tried in this order."""
    sites = []
    if pairs and draw.random() < PAIRED:
        first, second, distance = pairs[int(draw.integers(len(pairs)))]
        start = int(draw.integers(length - scorers[first].width + 1))
        sites.append((first, start))
        if draw.random() < AT_PREFERRED:
            side = 1 if draw.random() < 0.5 else -1
            centre = start + scorers[first].width / 2 + side * (distance + draw.normal(0, 2))
            sites.append((second, round(centre - scorers[second].width / 2)))
        else:
            sites.append((second, int(draw.integers(length - scorers[second].width + 1))))
    for _ in range(int(draw.integers(MOST_SITES + 1 - len(sites)))):
        motif = int(draw.integers(len(scorers)))
        sites.append((motif, int(draw.integers(length - scorers[motif].width + 1))))
    return sites


def instance(probabilities: np.ndarray, scorer: Scorer, draw: np.random.Generator) -> np.ndarray:
    """Codes of a sequence drawn from a motif (4, width) that is a site of it; its consensus if chance gives none."""
    cumulated = probabilities.cumsum(axis=0)
    candidates = (draw.random((TRIES, 1, scorer.width)) >= cumulated[:3]).sum(axis=1)
    scores = scorer.odds[candidates, np.arange(scorer.width)].sum(axis=1)
    good = np.flatnonzero(scores >= scorer.threshold)
    return (candidates[good[0]] if len(good) else scorer.odds.argmax(axis=0)).astype(np.uint8)


UNITS_PER_BIT = 100
PEAKS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Scorer:
    """Log odds (4, width) against equally frequent bases in hundredths of a bit, and the lowest score of a site."""

    odds: Int64[np.ndarray, "4 width"]
    threshold: int

    @property
    def width(self) -> int:
        return self.odds.shape[1]

    @property
    def best(self) -> int:
        """The score of the consensus."""
        return int(self.odds.max(axis=0).sum())


def scorer(probabilities: np.ndarray, p_value: float) -> Scorer:
    """Scores of a motif (4, width); at most `p_value` of random sequences reach the score of a site.

    The law of the score is found exactly, column by column (Staden 1989). The consensus is always a site, and every
    site has at least half of its score.
    """
    odds = np.round(UNITS_PER_BIT * np.log2(probabilities * 4)).astype(np.int64)
    low = odds.min(axis=0)
    law = np.ones(1)
    for column, lowest in zip(odds.T, low, strict=True):
        wider = np.zeros(len(law) + int(column.max() - lowest))
        for score in column:
            shift = int(score - lowest)
            wider[shift : shift + len(law)] += law / 4
        law = wider
    tail = np.cumsum(law[::-1])[::-1]
    reached = np.flatnonzero(tail <= p_value * (1 + 1e-9))
    best = int(odds.max(axis=0).sum())
    rare = int(reached[0] + low.sum()) if len(reached) else best
    return Scorer(odds, max(rare, best // 2))


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites in the order of peak, then motif; `start` is on the forward strand, `strand` +1 or -1."""

    peak: Int64[np.ndarray, " s"]
    motif: Int64[np.ndarray, " s"]
    start: Int64[np.ndarray, " s"]
    strand: Int64[np.ndarray, " s"]
    score: Int64[np.ndarray, " s"]


def scan(codes: UInt8[Tensor, "n length"], scorers: Sequence[Scorer]) -> Sites:
    """Every site of every motif on both strands that lies entirely within its sequence; a place with sites on both
    strands counts once, with the better."""
    width = max(entry.width for entry in scorers)
    kernels = torch.zeros(2, len(scorers), 4, width)
    ends = torch.full((len(scorers), 1), codes.shape[1])
    for i, entry in enumerate(scorers):
        odds = torch.from_numpy(entry.odds).float()
        kernels[0, i, :, : entry.width] = odds
        kernels[1, i, :, : entry.width] = odds.flip(0, 1)  # A C G T reversed is T G C A
        ends[i] -= entry.width
    thresholds = torch.tensor([[float(entry.threshold)] for entry in scorers])
    fits = torch.arange(codes.shape[1])[None] <= ends
    parts = []
    firsts = range(0, len(codes), PEAKS_AT_ONCE)
    for first in paced(firsts, "peaks", total=len(codes), size=PEAKS_AT_ONCE):
        rows = one_hot(codes[first : first + PEAKS_AT_ONCE])
        padded = torch.nn.functional.pad(rows, (0, width - 1))
        scores = torch.nn.functional.conv1d(padded, kernels.flatten(0, 1)).unflatten(1, (2, -1))
        better, strand = scores.max(dim=1)
        peak, motif, start = ((better >= thresholds) & fits).nonzero(as_tuple=True)
        index = (peak, motif, start)
        parts.append(torch.stack([peak + first, motif, start, 1 - 2 * strand[index], better[index].round().long()]))
    peak, motif, start, strand, score = torch.cat(parts, dim=1).numpy()
    return Sites(peak, motif, start, strand, score)
