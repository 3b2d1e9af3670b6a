"""A simulated atlas with a known grammar, to measure how much of it a method recovers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from netassay.dna.atlas.atlas import Atlas
from netassay.dna.atlas.grammar import HAEMATOPOIESIS, Grammar, Instances, background, plant
from netassay.dna.atlas.scoring import UNITS_PER_BIT, Scorer, Sites, scan, scorer
from netassay.errors import DataError
from netassay.formats.jaspar import RELEASE, Motif, read_jaspar
from netassay.numerics.devices import generator

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
    pairs = [(numbers[pair.first], numbers[pair.second], pair.distance) for pair in grammar.pairs]
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
