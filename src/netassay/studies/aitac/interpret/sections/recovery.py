"""Recovery of planted motifs and pairs, drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from netassay.reporting import Figure, Note, Section, Table
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret.choices import TITLES
from netassay.studies.aitac.interpret.config import InterpretConfig

_SHARES = ("recall", "recall of visible", "precision", "columns permuted", "precision of the strongest")
ONE, SEVERAL = "one run", "clusters of several runs"


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """Which planted motifs and pairs were found, and false findings."""
    from netassay.studies.aitac.interpret.charts import recovery_dots

    scores = tables["scores"]
    by_source = {(row["what"], row["by"]): row for row in scores.iter_rows(named=True)}
    best = by_source.get(("motifs", SEVERAL), by_source[("motifs", ONE)])
    text = (
        f"The grammar of a simulated atlas is known. A finding is a motif with {config.least_bits:g} bits or more "
        f"between its flanks and {config.least_sites} sites or more: a filter of one run, or the merged motif of "
        f"a cluster that enough runs share. It matches a planted motif at Tomtom q < {config.recovery_q:g}; one that "
        f"matches none is false. By {best['by']}, {best['recovered']} of {best['planted']} planted motifs are found, "
        f"and {best['false']} of {best['findings']} findings are false."
    )
    outputs = f" ({facts_of(tables['facts'])['outputs']})" if "facts" in tables else ""
    factors = tables["factors"]
    rows = factors.with_columns(strength=-pl.col("q").clip(1e-10).log10())
    items: list[Figure | Table | Note] = [
        Note("SIMULATED DATA: sequences and heights were made by a program.", "warning"),
        Figure(
            "aitac-recovered",
            "Planted motifs and the certainty of finding them",
            f"Smallest q of a finding for each planted motif, as -log10 q (10 at most); found above "
            f"{-math.log10(config.recovery_q):g}.",
            recovery_dots(rows, threshold=-math.log10(config.recovery_q)),
            rows,
        ),
        Table(
            "aitac-recovery",
            "Recall and precision",
            "Visible: motifs whose effect differs between cell types; a loss of correlations across cell types cannot "
            "teach the others. Columns permuted: share of the findings that match a planted motif with their columns "
            f"in a random order. Pairs: found at q < {config.pair_q:g} with the sign that was planted, among pairs of "
            "the motifs that this run's filters match; the strongest: as many of them as were planted.",
            scores,
            formats=dict.fromkeys(_SHARES, ".2f"),
        ),
        Table(
            "aitac-planted-pairs",
            "Planted pairs",
            "Effect planted (above 0 synergistic), and interaction found in the lineage of greatest effect, in units "
            f"of the network's output{outputs}.",
            tables["pairs"],
            formats={"found_effect": ".3f", "q": ".3g"},
        ),
    ]
    false = tables["findings"].filter(pl.col("factor").is_null())
    if false.height:
        items.append(
            Table(
                "aitac-false-motifs",
                "Findings that match no planted motif",
                "Their best match is not below the threshold.",
                false.drop("factor"),
                formats={"information": ".1f", "q": ".3g"},
            )
        )
    return Section(TITLES["recovery"], text, tuple(items))
