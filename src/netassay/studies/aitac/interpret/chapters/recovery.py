"""How much of what a simulated atlas planted was found again: motifs and pairs, by one run and by several."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from netassay.errors import DataError
from netassay.nets.sequence_cnn import STAGES
from netassay.reporting import Figure, Note, Section, Table
from netassay.studies.aitac.interpret.chapters.reproducible import cluster_motifs_of
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.interactions import interactions
from netassay.studies.aitac.interpret.recovery import (
    PairRecovery,
    Recovery,
    matched_filters,
    pair_recovery,
    recovery,
)
from netassay.studies.aitac.interpret.subject import Subject

NEEDS: tuple[str, ...] = ("reproducible",)
_SHARES = ("recall", "recall of visible", "precision", "columns permuted", "precision of the strongest")
_ONE, _SEVERAL = "one run", "clusters of several runs"


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """factors and findings of motifs (`Recovery`), pairs, pair_findings, tested (`PairRecovery`), and scores."""
    if not subject.truth:
        raise DataError(
            f"atlas {subject.atlas.source!r} is not simulated, so it is not known what there was to be found; "
            "recovery is told of simulated atlases alone"
        )
    found = {_ONE: _recovered(subject, config)} | _of_several(subject, config)
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
        subject.model, subject.codes, [sets[name] for name in names], names=names, lineages=subject.lineages,
        within=config.pair_reach // STAGES[0].pool, permutations=config.permutations,
        both_strands=subject.trained_by.strands == "augmented", generator=subject.generator("recovery"),
    )  # fmt: skip
    rows = [
        (names[a], names[b], group, float(told.difference[i, j]), _known(float(told.q[i, j])))
        for i, (a, b) in enumerate(told.pairs.tolist())
        for j, group in enumerate(told.groups)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """Which planted motifs and pairs were found, and what was found besides."""
    from netassay.studies.aitac.interpret.found_charts import found_dots

    scores = tables["scores"]
    told = {(row["what"], row["by"]): row for row in scores.iter_rows(named=True)}
    best = told.get(("motifs", _SEVERAL), told[("motifs", _ONE)])
    text = (
        f"The grammar of a simulated atlas is known. A finding is a motif with {config.least_bits:g} bits or more "
        f"between its flanks and {config.least_sites} sites or more: a filter of one run, or the merged motif of "
        f"a cluster that enough runs hold. It matches a planted motif at Tomtom q < {config.recovery_q:g}; one that "
        f"matches none is false. By {best['by']}, {best['recovered']} of {best['planted']} planted motifs are found, "
        f"and {best['false']} of {best['findings']} findings are false."
    )
    factors = tables["factors"]
    shown = factors.with_columns(strength=-pl.col("q").clip(1e-10).log10())
    items: list[Figure | Table | Note] = [
        Note("SIMULATED DATA: sequences and heights were made by a program.", "warning"),
        Figure(
            "aitac-recovered", "Planted motifs and how surely they were found",
            f"Least q of a finding for each planted motif, as -log10 q (10 at most); found above "
            f"{-math.log10(config.recovery_q):g}.",
            found_dots(shown, threshold=-math.log10(config.recovery_q)), shown,
        ),
        Table(
            "aitac-recovery", "Recall and precision",
            "Visible: motifs whose effect differs between cell types; a loss of correlations across cell types cannot "
            "teach the others. Columns permuted: share of the findings that match a planted motif with their columns "
            f"in a random order. Pairs: found at q < {config.pair_q:g} with the sign that was planted, among pairs of "
            "the motifs that this run's filters match; the strongest: as many of them as were planted.",
            scores, formats=dict.fromkeys(_SHARES, ".2f"),
        ),
        Table("aitac-planted-pairs", "Planted pairs",
              "Effect planted (above 0 synergistic), and interaction found in the lineage of greatest effect, in units "
              "of the network's output.", tables["pairs"], formats={"found_effect": ".3f", "q": ".3g"}),
    ]  # fmt: skip
    false = tables["findings"].filter(pl.col("factor").is_null())
    if false.height:
        items.append(
            Table("aitac-false-motifs", "Findings that match no planted motif", "Their best match is not below the "
                  "threshold.", false.drop("factor"), formats={"information": ".1f", "q": ".3g"})
        )  # fmt: skip
    return Section("Recovery of what was planted", text, tuple(items))


def _recovered(subject: Subject, config: InterpretConfig) -> Recovery:
    return recovery(
        subject.motifs, subject.truth, generator=subject.generator("recovery"), q=config.recovery_q,
        least_bits=config.least_bits, least_sites=config.least_sites,
    )  # fmt: skip


def _of_several(subject: Subject, config: InterpretConfig) -> dict[str, Recovery]:
    """By the clusters that enough runs hold; nothing where there are no other runs."""
    if not subject.peers:
        return {}
    clusters = subject.earlier("reproducible", "clusters")
    motifs = cluster_motifs_of(clusters, subject.earlier("reproducible", "matrices"))
    rows = clusters["held"].arg_true().to_list()
    return {
        _SEVERAL: recovery(
            motifs, subject.truth, generator=subject.generator("recovery"), rows=rows, q=config.recovery_q,
            least_bits=config.least_bits, least_sites=config.least_sites,
        )
    }  # fmt: skip


def _motif_scores(way: str, told: Recovery) -> dict[str, object]:
    return {
        "what": "motifs", "by": way, "planted": len(told.factors), "recovered": int(told.factors["recovered"].sum()),
        "findings": len(told.findings), "false": int(told.findings["factor"].is_null().sum()),
        "recall": told.recall, "recall of visible": _known(told.recall_of_visible), "precision": _known(told.precision),
        "columns permuted": _known(told.permuted), "precision of the strongest": None,
    }  # fmt: skip


def _pair_scores(told: PairRecovery) -> dict[str, object]:
    return {
        "what": "pairs", "by": _ONE, "planted": len(told.pairs), "recovered": int(told.pairs["recovered"].sum()),
        "findings": len(told.findings), "false": int((~told.findings["planted"]).sum()),
        "recall": told.recall, "recall of visible": None, "precision": _known(told.precision), "columns permuted": None,
        "precision of the strongest": _known(told.strongest),
    }  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
