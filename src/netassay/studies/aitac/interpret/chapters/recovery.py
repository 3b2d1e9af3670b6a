"""How much of what a simulated atlas planted was found again: motifs and pairs, by one run and by several."""

from __future__ import annotations

import math

import polars as pl

from netassay.dna.influence.pairs import interactions
from netassay.dna.motifs.matrices import cluster_motifs_of
from netassay.dna.motifs.truth import (
    PairRecovery,
    Recovery,
    matched_filters,
    pair_recovery,
    recovery,
)
from netassay.dna.network.offsets import outputs_in_words
from netassay.errors import DataError
from netassay.runs.facts import fact_table
from netassay.studies.aitac.interpret.chapters.pairs import reach
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.sections.recovery import ONE, SEVERAL
from netassay.studies.aitac.interpret.subject import Subject


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """factors and findings of motifs (`Recovery`), pairs, pair_findings, tested (`PairRecovery`), and scores."""
    if not subject.truth:
        raise DataError(
            f"atlas {subject.atlas.source or subject.trained_by.atlas!r} has no tables of planted motifs; recovery is "
            "measured only on atlases that were simulated with their truth"
        )
    found = {ONE: _recovered(subject, config)} | _of_several(subject, config)
    tested = tested_pairs(subject, config)
    pairs = pair_recovery(tested, subject.truth, q=config.pair_q)
    scores = [_motif_scores(way, told) for way, told in found.items()] + [_pair_scores(pairs)]
    return {
        "factors": pl.concat(told.factors.with_columns(by=pl.lit(way)) for way, told in found.items()),
        "findings": pl.concat(told.findings.with_columns(by=pl.lit(way)) for way, told in found.items()),
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
    told = interactions(
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
        (names[a], names[b], group, float(told.difference[i, j]), _known(float(told.q[i, j])))
        for i, (a, b) in enumerate(told.pairs.tolist())
        for j, group in enumerate(told.groups)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _recovered(subject: Subject, config: InterpretConfig) -> Recovery:
    return recovery(
        subject.motifs,
        subject.truth,
        generator=subject.generator("recovery"),
        q=config.recovery_q,
        least_bits=config.least_bits,
        least_sites=config.least_sites,
    )


def _of_several(subject: Subject, config: InterpretConfig) -> dict[str, Recovery]:
    """By the clusters that enough runs hold; nothing where there are no other runs."""
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


def _motif_scores(way: str, told: Recovery) -> dict[str, object]:
    return {
        "what": "motifs",
        "by": way,
        "planted": len(told.factors),
        "recovered": int(told.factors["recovered"].sum()),
        "findings": len(told.findings),
        "false": int(told.findings["factor"].is_null().sum()),
        "recall": told.recall,
        "recall of visible": _known(told.recall_of_visible),
        "precision": _known(told.precision),
        "columns permuted": _known(told.permuted),
        "precision of the strongest": None,
    }


def _pair_scores(told: PairRecovery) -> dict[str, object]:
    return {
        "what": "pairs",
        "by": ONE,
        "planted": len(told.pairs),
        "recovered": int(told.pairs["recovered"].sum()),
        "findings": len(told.findings),
        "false": int((~told.findings["planted"]).sum()),
        "recall": told.recall,
        "recall of visible": None,
        "precision": _known(told.precision),
        "columns permuted": None,
        "precision of the strongest": _known(told.strongest),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
