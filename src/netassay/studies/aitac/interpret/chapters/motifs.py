"""Chapters on the motifs of filters: of both layers, those that repetitions learned too, planted ones recovered."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl
import torch

from netassay.dna.influence.pairs import interactions
from netassay.dna.motifs import truth
from netassay.dna.motifs.filters import FilterMotifs, filter_motifs
from netassay.dna.motifs.match import Matches
from netassay.dna.motifs.reproducibility import (
    Clusters,
    Reproduced,
    cluster_motifs,
    factor_names,
    permute_columns,
    reproducible_filters,
    runs_needed,
)
from netassay.dna.motifs.truth import PairRecovery, Recovery, matched_filters
from netassay.dna.network.classes import FEWEST, no_correlation
from netassay.dna.network.network import outputs_in_words
from netassay.errors import DataError
from netassay.formats.motifs import LEAST_COLUMNS, Motifs, cluster_motifs_of, column, matrix_table
from netassay.runs.facts import fact_table
from netassay.studies.aitac.interpret.chapters.influence import reach
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.sections.motifs import ONE, SEVERAL
from netassay.studies.aitac.interpret.subject import Subject

Q_VALUES = (0.2, 0.1, 0.05, 0.02, 0.01, 5e-3, 2e-3, 1e-3, 1e-4, 1e-5, 1e-6)
"""Thresholds of the shares."""


def motif_tables(subject: Subject, motifs: FilterMotifs, matches: Matches) -> dict[str, pl.DataFrame]:
    """filters (one row each, with the best match), matrices, positions, profiles, matches, known, shares, facts.

    known are the matrices of all best matches; facts says in words what was used and what was left out.
    """
    targets = matches.best()["target"].unique().sort().to_list()
    numbers = {name: i for i, name in enumerate(subject.database.names)}
    return {
        "filters": filter_table(motifs, matches, factor_names(matches, subject.config.motif_q)),
        "matrices": matrix_table(motifs),
        "positions": _positions(motifs),
        "profiles": _profiles(subject, motifs),
        "matches": matches.table,
        "known": matrix_table(subject.database.select([numbers[name] for name in targets])),
        "shares": share_table(matches),
        "facts": _facts(subject, motifs, matches),
    }


def filter_table(motifs: FilterMotifs, matches: Matches, names: Mapping[str, str]) -> pl.DataFrame:
    """One row per filter: sites, peaks, information, consensus, thresholds, the false discovery rate, its factor (of
    `factor_names`) and best match (null if it has none, or was not compared)."""
    spans = torch.tensor(motifs.spans)
    own = pl.DataFrame(
        {
            "filter": list(motifs.names),
            "sites": column(motifs.sites),
            "peaks": column(motifs.peaks),
            "share of peaks": column(motifs.peaks / motifs.n_peaks),
            "information": column(motifs.information.sum(1)),
            "first column": column(spans[:, 0] + 1),
            "informative length": column(motifs.informative_lengths),
            "consensus": list(motifs.consensus),
            "greatest activation": column(motifs.references),
            "threshold": column(motifs.thresholds),
            "fdr": column(matches.fdr),
            "factor": pl.Series([names.get(name) for name in motifs.names], dtype=pl.String),
        }
    ).with_columns(pl.col("fdr").fill_nan(None))
    best = matches.best().rename({"query": "filter"})
    return own.join(best, on="filter", how="left", maintain_order="left")


def share_table(matches: Matches) -> pl.DataFrame:
    """Share of the compared filters with a match below each q: actual, and permuted (mean, minimum, maximum)."""
    compared = matches.best_q.isfinite()
    mine, null = matches.best_q[compared], matches.null_q[:, compared]
    rows = []
    for q in Q_VALUES if bool(compared.any()) else ():
        shares = (null < q).double().mean(1)
        rows.append(
            {
                "q": q,
                "filters": float((mine < q).double().mean()),
                "permuted": float(shares.mean()),
                "permuted least": float(shares.min()),
                "permuted most": float(shares.max()),
            }
        )
    names = ("q", "filters", "permuted", "permuted least", "permuted most")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Float64))


def _positions(motifs: FilterMotifs) -> pl.DataFrame:
    """Sites at each position of the layer (from 0), filters with sites only."""
    index = motifs.positions.nonzero()
    return pl.DataFrame(
        {
            "filter": [motifs.names[i] for i in index[:, 0].tolist()],
            "position": column(index[:, 1]),
            "sites": column(motifs.positions[motifs.positions > 0]),
        },
        schema_overrides={"filter": pl.String},
    )


def _profiles(subject: Subject, motifs: FilterMotifs) -> pl.DataFrame:
    """Mean observed height of the peaks of each filter with sites, by cell type; first row ("") over all peaks."""
    assert motifs.profile is not None
    mean = subject.heights[subject.motif_peaks].double().mean(0, keepdim=True)
    rows = torch.cat([mean, motifs.profile[motifs.sites > 0]])
    names = ["", *(name for name in motifs.names if name not in motifs.silent)]
    columns = [pl.Series(name, rows[:, i].numpy()) for i, name in enumerate(subject.cell_types)]
    return pl.DataFrame({"filter": names}).hstack(columns)


def _facts(subject: Subject, motifs: FilterMotifs, matches: Matches) -> pl.DataFrame:
    config = subject.config
    if config.motif_best:
        types = len(subject.cell_types)
        by = "r" if types >= FEWEST else f"the error of their outputs (there is {no_correlation(types)})"
        selection = f"the best {config.motif_best:,} of the {config.peaks} set by {by}"
    else:
        selection = f"those of the {config.peaks} set {subject.well_in_words}"
    facts = {
        "peaks": motifs.n_peaks,
        "chosen": selection,
        "width": motifs.field.width,
        "layer": motifs.layer,
        "database": "; ".join(
            [f"{config.motif_database}, {len(subject.database):,} motifs"]
            + [f"{count:,} {why}" for why, count in subject.database.notes.items()]
        ),
        "simulated": subject.atlas.simulated,
        "silent": list(motifs.silent),
        "permutations": len(matches.null_q),
        **{f"skipped: {why}": count for why, count in matches.skipped.items()},
    }
    return fact_table(facts)


def first_layer(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """filters, their matrices, positions and profiles, matches, known motifs drawn beside them, shares, facts."""
    return motif_tables(subject, subject.motifs, subject.matches)


def second_layer(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """The tables of chapter motifs, for the second layer."""
    layer = subject.layers[1]
    if not layer:
        raise DataError("the network calls no second convolution, so there is no second layer to interpret")
    motifs = subject.motifs_of(layer, config.second_layer_threshold)
    return motif_tables(subject, motifs, subject.matches_of(motifs))


def reproducible(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """filters and permuted (`Reproduced`, with the ids of the runs), clusters, their members and matrices, numbers."""
    if config.module or config.weights:
        raise DataError(
            "repetitions are runs of a store, and this network is not one; from Python, netassay.reproducible_filters "
            "compares the motifs of networks trained from several seeds"
        )
    runs = run_motifs(subject)
    draws = subject.generator("reproducible")
    reproduced = reproducible_filters(runs, q=config.reproducible_q, share=config.reproducible_share, generator=draws)
    clusters = cluster_motifs(runs, p=config.cluster_p)
    null = cluster_motifs([permute_columns(motifs, draws) for motifs in runs], p=config.cluster_p)
    return {
        "filters": _with_ids(reproduced.filters, subject.runs),
        "permuted": _with_ids(reproduced.permuted, subject.runs),
        "clusters": _with_factors(_cluster_table(clusters, config.reproducible_share), clusters.motifs, subject),
        "members": _with_ids(clusters.members, subject.runs),
        "matrices": matrix_table(clusters.motifs).drop("title", "sites"),
        "numbers": _numbers(runs[0], reproduced, clusters, null, config.reproducible_share),
    }


def run_motifs(subject: Subject) -> list[Motifs]:
    """First-layer motifs of the run and its peers, all on the peaks that the run predicts well."""
    codes, config = subject.codes[subject.motif_peaks], subject.config
    peers = [
        filter_motifs(
            peer,
            codes,
            threshold=config.motif_threshold,
            quantile=config.motif_quantile,
            pseudocount=config.motif_pseudocount,
        )
        for peer in subject.peers
    ]
    return [subject.motifs, *peers]


def _with_ids(table: pl.DataFrame, ids: tuple[str, ...]) -> pl.DataFrame:
    return table.with_columns(pl.Series("run", [ids[number] for number in table["run"]], dtype=pl.String))


def _cluster_table(clusters: Clusters, share: float) -> pl.DataFrame:
    motifs, shared = clusters.motifs, set(clusters.held_by(share).tolist())
    filters = clusters.members.group_by("cluster").len()
    sizes = dict(filters.iter_rows())
    bits = [float(row[slice(*span)].sum()) for row, span in zip(motifs.information, motifs.spans, strict=True)]
    columns = {
        "cluster": (list(motifs.names), pl.String),
        "runs": (clusters.runs.tolist(), pl.Int64),
        "filters": ([sizes[i] for i in range(len(motifs))], pl.Int64),
        "held": ([i in shared for i in range(len(motifs))], pl.Boolean),
        "consensus": (list(motifs.consensus), pl.String),
        "information": (bits, pl.Float64),
        "sites": (motifs.sites.tolist(), pl.Int64),
    }
    return pl.DataFrame([pl.Series(name, values, kind) for name, (values, kind) in columns.items()])


def _with_factors(table: pl.DataFrame, motifs: Motifs, subject: Subject) -> pl.DataFrame:
    """Adds the factor that each cluster of two or more runs resembles (`like`; or unsure), and `q`."""
    shared = (table["runs"] > 1).arg_true().to_list()
    empty = pl.DataFrame(schema={"cluster": pl.String, "like": pl.String, "q": pl.Float64})
    if not shared:
        return table.join(empty, on="cluster", how="left", maintain_order="left")
    matches = subject.matches_of(motifs.select(shared))
    names = factor_names(matches, subject.config.motif_q)
    factors = matches.best().select(
        pl.col("query").alias("cluster"),
        pl.col("query").replace_strict(names, default=None, return_dtype=pl.String).alias("like"),
        pl.col("q").cast(pl.Float64),
    )
    return table.join(pl.concat([empty, factors]), on="cluster", how="left", maintain_order="left")


def _numbers(own: Motifs, reproduced: Reproduced, clusters: Clusters, null: Clusters, share: float) -> pl.DataFrame:
    mine = reproduced.filters.filter(pl.col("run") == 0)
    values = {
        "other runs": reproduced.other_runs,
        "needed": runs_needed(reproduced.other_runs + 1, share),
        "filters": len(mine),
        "informative": int((own.informative_lengths >= LEAST_COLUMNS).sum()),
        "reproducible": int(mine["reproducible"].sum()),
        "reproducible, permuted": int(reproduced.permuted["reproducible"].sum()),
        "clusters held": len(clusters.held_by(share)),
        "clusters held, permuted": len(null.held_by(share)),
    }
    return pl.DataFrame({"number": list(values), "value": list(values.values())})


def recovery(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """factors and findings of motifs (`Recovery`), pairs, pair_findings, tested (`PairRecovery`), and scores.

    Motifs are those of one run, and, if there are others, of the clusters that enough runs share.
    """
    if not subject.truth:
        raise DataError(
            f"atlas {subject.atlas.source or subject.trained_by.atlas!r} has no tables of planted motifs; recovery is "
            "measured only on atlases that were simulated with their truth"
        )
    sources: dict[str, tuple[Motifs, list[int] | None]] = {ONE: (subject.motifs, None)}
    if subject.peers:
        clusters = subject.earlier("reproducible", "clusters")
        motifs = cluster_motifs_of(clusters, subject.earlier("reproducible", "matrices"))
        sources[SEVERAL] = (motifs, clusters["held"].arg_true().to_list())
    results = {
        source: truth.recovery(
            motifs,
            subject.truth,
            generator=subject.generator("recovery"),
            rows=rows,
            q=config.recovery_q,
            least_bits=config.least_bits,
            least_sites=config.least_sites,
        )
        for source, (motifs, rows) in sources.items()
    }
    tested = tested_pairs(subject, config)
    pairs = truth.pair_recovery(tested, subject.truth, q=config.pair_q)
    scores = [_motif_scores(source, result) for source, result in results.items()] + [_pair_scores(pairs)]
    return {
        "factors": pl.concat(result.factors.with_columns(by=pl.lit(source)) for source, result in results.items()),
        "findings": pl.concat(result.findings.with_columns(by=pl.lit(source)) for source, result in results.items()),
        "pairs": pairs.pairs,
        "pair_findings": pairs.findings,
        "tested": tested,
        "scores": pl.DataFrame(scores),
        "facts": fact_table({"outputs": outputs_in_words(subject.network.less_mean)}),
    }


def tested_pairs(subject: Subject, config: InterpretConfig) -> pl.DataFrame:
    """Interactions of all pairs of recovered factors, each by all filters that match it, in every lineage."""
    sets = matched_filters(
        subject.motifs,
        subject.truth,
        q=config.recovery_q,
        least_bits=config.least_bits,
        least_sites=config.least_sites,
    )
    schema = {
        "first": pl.String,
        "second": pl.String,
        "lineage": pl.String,
        "effect": pl.Float64,
        "q": pl.Float64,
    }
    if len(sets) < 2:
        return pl.DataFrame(schema=schema)
    names = list(sets)
    result = interactions(
        subject.network,
        subject.codes,
        [sets[name] for name in names],
        names=names,
        lineages=subject.lineages,
        layer=subject.ablated_layer,
        within=reach(subject, config),
        permutations=config.permutations,
        generator=subject.generator("recovery"),
    )
    rows = [
        (names[a], names[b], group, float(result.difference[i, j]), _or_none(float(result.q[i, j])))
        for i, (a, b) in enumerate(result.pairs.tolist())
        for j, group in enumerate(result.groups)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _motif_scores(source: str, result: Recovery) -> dict[str, object]:
    return {
        "what": "motifs",
        "by": source,
        "planted": len(result.factors),
        "recovered": int(result.factors["recovered"].sum()),
        "findings": len(result.findings),
        "false": int(result.findings["factor"].is_null().sum()),
        "recall": result.recall,
        "recall of visible": _or_none(result.recall_of_visible),
        "precision": _or_none(result.precision),
        "columns permuted": _or_none(result.permuted),
        "precision of the strongest": None,
    }


def _pair_scores(result: PairRecovery) -> dict[str, object]:
    return {
        "what": "pairs",
        "by": ONE,
        "planted": len(result.pairs),
        "recovered": int(result.pairs["recovered"].sum()),
        "findings": len(result.findings),
        "false": int((~result.findings["planted"]).sum()),
        "recall": result.recall,
        "recall of visible": None,
        "precision": _or_none(result.precision),
        "columns permuted": None,
        "precision of the strongest": _or_none(result.strongest),
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
