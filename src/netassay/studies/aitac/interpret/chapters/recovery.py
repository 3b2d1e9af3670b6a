"""Recovery of the planted motifs and pairs of a simulated atlas, by one run and by several."""

from __future__ import annotations

import math

import polars as pl

from netassay.dna.influence.pairs import interactions
from netassay.dna.motifs.truth import (
    PairRecovery,
    Recovery,
    matched_filters,
    pair_recovery,
    recovery,
)
from netassay.dna.network.network import outputs_in_words
from netassay.errors import DataError
from netassay.formats.motifs import cluster_motifs_of
from netassay.runs.facts import fact_table
from netassay.studies.aitac.interpret.chapters.influence import reach
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.sections.reproducible import ONE, SEVERAL
from netassay.studies.aitac.interpret.subject import Subject


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """factors and findings of motifs (`Recovery`), pairs, pair_findings, tested (`PairRecovery`), and scores."""
    if not subject.truth:
        raise DataError(
            f"atlas {subject.atlas.source or subject.trained_by.atlas!r} has no tables of planted motifs; recovery is "
            "measured only on atlases that were simulated with their truth"
        )
    results = {ONE: _of_one(subject, config)} | _of_several(subject, config)
    tested = tested_pairs(subject, config)
    pairs = pair_recovery(tested, subject.truth, q=config.pair_q)
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


def _of_one(subject: Subject, config: InterpretConfig) -> Recovery:
    return recovery(
        subject.motifs,
        subject.truth,
        generator=subject.generator("recovery"),
        q=config.recovery_q,
        least_bits=config.least_bits,
        least_sites=config.least_sites,
    )


def _of_several(subject: Subject, config: InterpretConfig) -> dict[str, Recovery]:
    """By the clusters that enough runs share; empty without other runs."""
    if not subject.peers:
        return {}
    clusters = subject.earlier("reproducible", "clusters")
    motifs = cluster_motifs_of(clusters, subject.earlier("reproducible", "matrices"))
    rows = clusters["held"].arg_true().to_list()
    return {
        SEVERAL: recovery(
            motifs,
            subject.truth,
            generator=subject.generator("recovery"),
            rows=rows,
            q=config.recovery_q,
            least_bits=config.least_bits,
            least_sites=config.least_sites,
        )
    }


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
