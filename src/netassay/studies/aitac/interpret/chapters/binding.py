"""Agreement with ChIP-seq: are the peaks that a filter matters for those that a factor binds?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from netassay.dna.agreement import binding, overlap, ranking
from netassay.dna.agreement.overlap import Overlap
from netassay.dna.influence.ablation import Ablation
from netassay.dna.influence.singles import Influence, influence_of
from netassay.dna.motifs.match import likeness, q_values_by_row
from netassay.dna.motifs.reproducibility import permute_columns
from netassay.dna.network.network import outputs_in_words
from netassay.errors import DataError
from netassay.formats.fasta import read_sequences
from netassay.formats.peak_tables import read_regions
from netassay.formats.text import blocks
from netassay.runs.facts import fact_table
from netassay.studies.aitac.interpret.chapters.influence import ablation_of
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.subject import Subject

WITHIN, ALL = "within cell types", "all peaks"
"""Groups of peaks beside the single cell types: compared within each cell type, and all with all."""

_LEAST = 20  # marked peaks, and others, that a cell type needs to be reported alone
_RANDOM_SETS = 20
_PERMUTATIONS = 200
_SHARES = np.geomspace(0.005, 1, 40)


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """marks: peaks, and marked ones, by cell type; facts; filters: one row each; predictors: areas by group of peaks;
    differences: areas against the motif's; curves: enrichment; nulls: areas of random filters, one per row.

    The cell type of a peak is the one of its greatest height. Raises DataError for a file that cannot be read, and
    for one that marks no peak or all.
    """
    marking, facts = _marks(subject, config)
    marked = marking.marked
    strata = _strata(subject)
    facts |= _facts(subject, marking)
    frames = {"marks": _mark_table(marked, strata)}
    binding.check_marks(marked)
    like = _like(subject, config, facts)
    ablation = ablation_of(subject, config)
    single = influence_of(ablation, subject.heights)
    frames["filters"] = _filters(subject, single, marked, strata, like, config)
    scores, kinds = _scores(subject, config, ablation, like)
    frames["predictors"] = _predictors(scores, kinds, marked, strata, subject.generator("binding labels"))
    frames["nulls"] = _random(subject, ablation, like, marked, strata)
    frames["differences"] = _differences(scores, marked, strata)
    frames["curves"] = _curves(scores, marked, strata)
    frames["facts"] = fact_table(facts)
    return frames


def check_extras(config: InterpretConfig) -> None:
    """ExtraMissing where the overlap of regions is asked for and its library is not installed."""
    if not _holds_sequences(Path(config.chip)):
        overlap.require_overlap()


def _holds_sequences(path: Path) -> bool:
    """Whether a file of ChIP-seq is FASTA; else it holds regions."""
    return next(blocks(path), b"").removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b">")


def read_chip(path: Path, subject: Subject, config: InterpretConfig) -> tuple[Overlap, dict[str, Any]]:
    """The peaks that a file marks, FASTA by its bases, BED or narrowPeak by coordinates; and facts on the file."""
    if _holds_sequences(path):
        sequences = [codes for _, codes in read_sequences(path)]
        marking = overlap.by_sequence(subject.codes.numpy(), sequences, k=config.chip_word, min_words=config.chip_words)
        how = f"{config.chip_words} or more places in common with its words of {config.chip_word} bases, either strand"
        return marking, {"sequences": len(sequences), "marked by": how}
    notes: Counter[str] = Counter()
    regions = read_regions(path, notes=notes)
    marking = overlap.by_coordinates(subject.atlas.peaks[subject.index.numpy()], regions)
    facts = {"regions": len(regions), "marked by": "one base or more in common with a region"}
    return marking, {**facts, **notes}


def _marks(subject: Subject, config: InterpretConfig) -> tuple[Overlap, dict[str, Any]]:
    if subject.trained_by.null in ("mononucleotide", "dinucleotide"):
        raise DataError("the sequences of this run are shuffled (a null model), so no factor binds them")
    marking, facts = read_chip(Path(config.chip), subject, config)
    return marking, {"file": Path(config.chip).name, **facts}


def _facts(subject: Subject, marking: Overlap) -> dict[str, Any]:
    chance = {} if np.isnan(marking.chance) else {"share marked by moved regions": marking.chance}
    return {
        "peaks": len(marking.marked),
        "marked": int(marking.marked.sum()),
        "share marked": float(marking.marked.mean()),
        **chance,
        **marking.left_out,
        "simulated": subject.atlas.simulated,
        "outputs": outputs_in_words(subject.network.less_mean),
    }


def _strata(subject: Subject) -> dict[str, np.ndarray]:
    kind = subject.heights.argmax(dim=1).numpy()
    return {name: kind == i for i, name in enumerate(subject.cell_types)}


def _mark_table(marked: np.ndarray, strata: Mapping[str, np.ndarray]) -> pl.DataFrame:
    rows = [
        (name, int(peaks.sum()), int((peaks & marked).sum()))
        for name, peaks in {ALL: np.ones_like(marked), **strata}.items()
    ]
    frame = pl.DataFrame(rows, schema={"cell type": pl.String, "peaks": pl.Int64, "marked": pl.Int64}, orient="row")
    return frame.with_columns(share=pl.when(pl.col("peaks") > 0).then(pl.col("marked") / pl.col("peaks")))


def _like(subject: Subject, config: InterpretConfig, facts: dict[str, Any]) -> np.ndarray:
    """Filters whose motif resembles the factor's, and how many do with their columns in random order."""
    like: np.ndarray = np.zeros(len(subject.motifs), np.bool_)
    if config.chip_factor:
        target = binding.factor_motif(subject.database, config.chip_factor)
        null = permute_columns(subject.motifs, subject.generator("binding columns"))
        real, chance = (
            (q_values_by_row(likeness(motifs, target).T)[0] < config.motif_q).numpy()
            for motifs in (subject.motifs, null)
        )
        like = real
        facts |= {
            "factor": config.chip_factor,
            "motif": f"{target.names[0]} {target.titles[0]}".strip(),
            "filters like it": int(real.sum()),
            "filters like it, columns permuted": int(chance.sum()),
            "like": [f"filter {i} ({subject.motifs.consensus[i]})" for i in np.flatnonzero(real)],
        }
    return like


def _filters(
    subject: Subject,
    single: Influence,
    marked: np.ndarray,
    strata: Mapping[str, np.ndarray],
    like: np.ndarray,
    config: InterpretConfig,
) -> pl.DataFrame:
    values = single.by_peak.numpy()
    areas = ranking.stratified(values, marked, list(strata.values()))
    null = ranking.permuted_areas(
        values, marked, list(strata.values()), subject.generator("binding filters"), _PERMUTATIONS
    )
    table = binding.associations(values, marked, share=config.chip_share)
    return table.with_columns(
        pl.Series("consensus", list(subject.motifs.consensus), dtype=pl.String),
        pl.Series("like the factor", like),
        pl.Series("AUROC", areas.auroc).fill_nan(None),
        pl.Series("error", areas.error).fill_nan(None),
        # the best of all filters under permuted marks: the effect of choosing one of many
        pl.lit(float(np.quantile(null.max(axis=1), ranking.LEVEL))).fill_nan(None).alias("best by chance"),
    )


def _scores(
    subject: Subject, config: InterpretConfig, ablation: Ablation, like: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Predictors of marked peaks by name, and the kind of each."""
    scores: dict[str, np.ndarray] = {}
    kinds: dict[str, str] = {}
    if like.any():
        filters = np.flatnonzero(like).tolist()
        influence = influence_of(ablation, subject.heights, sets=[filters], names=["like"])
        change = influence.change[:, 0].double().nan_to_num(0.0)  # a peak without r cannot lose any
        scores = {
            "influence on predictions": influence.by_peak[:, 0].double().numpy(),
            "influence on r, squared": change.square().numpy(),
            "influence on r, signed": change.numpy(),
            "activation": ablation.survey.strength[:, filters].amax(dim=1).double().numpy(),
        }
        kinds = dict.fromkeys(scores, "network")
    if config.chip_factor:
        target = binding.factor_motif(subject.database, config.chip_factor)
        begin, end = 0, int(target.seen[0].sum())
        scores["motif score"] = binding.best_site(
            subject.codes, _with_pseudocounts(target.counts[0, :, begin:end].numpy())
        )
        kinds["motif score"] = "database"
    scores["GC content"] = binding.gc_content(subject.codes)
    kinds["GC content"] = "baseline"
    return scores, kinds


def _with_pseudocounts(counts: np.ndarray) -> np.ndarray:
    """Shares above zero; with N sequences, a quarter of sqrt(N) is added to each count."""
    raised = counts + np.sqrt(counts.sum(axis=0)) / 4
    return raised / raised.sum(axis=0)


def _groups(marked: np.ndarray, strata: Mapping[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Groups of peaks with enough marked ones and others, each as the strata for comparison."""
    enough = {
        name: [peaks]
        for name, peaks in strata.items()
        if min((peaks & marked).sum(), (peaks & ~marked).sum()) >= _LEAST
    }
    return {WITHIN: list(strata.values()), ALL: [np.ones_like(marked)], **enough}


def _predictors(
    scores: Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    marked: np.ndarray,
    strata: Mapping[str, np.ndarray],
    draws: torch.Generator,
) -> pl.DataFrame:
    """One row per group and predictor; null low and high enclose 95 % of areas under marks permuted within strata."""
    values = np.stack(list(scores.values()), axis=1)
    rows = []
    for group, parts in _groups(marked, strata).items():
        areas = ranking.stratified(values, marked, parts)
        null = ranking.permuted_areas(values, marked, parts, draws, _PERMUTATIONS)
        ends = np.quantile(null, [(1 - ranking.LEVEL) / 2, (1 + ranking.LEVEL) / 2], axis=0)
        single = len(parts) == 1
        precision = ranking.average_precision(values[parts[0]], marked[parts[0]]) if single else [np.nan] * len(scores)
        for i, name in enumerate(scores):
            low, high = ranking.interval(float(areas.auroc[i]), float(areas.error[i]))
            rows.append(
                (
                    group,
                    name,
                    kinds[name],
                    float(areas.auroc[i]),
                    low,
                    high,
                    float(ends[0, i]),
                    float(ends[1, i]),
                    float(precision[i]),
                    areas.marked,
                    areas.unmarked,
                )
            )
    names = ["group", "predictor", "kind", "AUROC", "low", "high", "null low", "null high", "AUPRC", "marked", "others"]
    types = [*(pl.String,) * 3, *(pl.Float64,) * 6, *(pl.Int64,) * 2]
    frame = pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def _random(
    subject: Subject,
    ablation: Ablation,
    like: np.ndarray,
    marked: np.ndarray,
    strata: Mapping[str, np.ndarray],
) -> pl.DataFrame:
    """Areas within cell types of equally large sets of other filters, ablated together like those of the factor."""
    count, candidates = int(like.sum()), np.flatnonzero(~like)
    if not count or len(candidates) < count:
        return pl.DataFrame(schema={"AUROC": pl.Float64})
    draws = subject.generator("binding sets")
    sets = [
        candidates[torch.randperm(len(candidates), generator=draws)[:count].numpy()].tolist()
        for _ in range(_RANDOM_SETS)
    ]
    influence = influence_of(ablation, subject.heights, sets=sets, names=[f"set {i}" for i in range(len(sets))])
    return pl.DataFrame({"AUROC": ranking.stratified(influence.by_peak.numpy(), marked, list(strata.values())).auroc})


def _differences(
    scores: Mapping[str, np.ndarray], marked: np.ndarray, strata: Mapping[str, np.ndarray]
) -> pl.DataFrame:
    """Area of each predictor minus that of the motif score, on the same peaks (DeLong et al. 1988)."""
    names, rows = list(scores), []
    values = np.stack(list(scores.values()), axis=1)
    if "motif score" in names:
        motif = names.index("motif score")
        for group, parts in _groups(marked, strata).items():
            areas = ranking.stratified(values, marked, parts)
            for i, name in enumerate(names):
                if i != motif:
                    difference = areas.difference(i, motif)
                    rows.append((group, name, difference.value, difference.error, difference.p))
    numbers = dict.fromkeys(("difference", "error", "p"), pl.Float64)
    frame = pl.DataFrame(rows, schema={"group": pl.String, "predictor": pl.String, **numbers}, orient="row")
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def _curves(scores: Mapping[str, np.ndarray], marked: np.ndarray, strata: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """Enrichment by share of the peaks taken, within each cell type that has enough marked peaks."""
    frames = [
        binding.enrichment(values[parts[0]], marked[parts[0]], _SHARES).select(
            pl.lit(group).alias("group"), pl.lit(name).alias("predictor"), pl.all()
        )
        for group, parts in _groups(marked, strata).items()
        if group not in (WITHIN, ALL)
        for name, values in scores.items()
    ]
    names = {"group": pl.String, "predictor": pl.String, "share": pl.Float64, "peaks": pl.Int64}
    numbers = dict.fromkeys(("marked", "fold", "low", "high"), pl.Float64)
    return pl.concat([pl.DataFrame(schema={**names, **numbers}), *frames])
