"""Reproducible filters, and what was recovered of the planted motifs, drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from netassay.formats.motifs import LEAST_COLUMNS, letter_heights, matrices_of_table, span
from netassay.reporting import Figure, Note, Section, Table
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret.config import TITLES, InterpretConfig

_LOGOS = 24  # clusters that are drawn
_REAL, _NULL = "filters", "columns permuted"


def reproducible(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """Number of filters that other runs also have, beside permuted ones, and the motifs that runs share."""
    from netassay.studies.aitac.interpret.charts import count_bars

    numbers = dict(tables["numbers"].iter_rows())
    clusters = tables["clusters"]
    times = pl.concat(
        [
            _by_times(tables["filters"].filter(pl.col("run") == pl.col("run").first()), _REAL),
            _by_times(tables["permuted"], _NULL),
        ]
    )
    other_runs, required = numbers["other runs"], numbers["needed"]
    text = (
        "A filter is reproduced in another run, trained from other initial weights, if a filter there is like it "
        f"(Tomtom q < {config.reproducible_q:g}), and reproducible if that holds in at least {required} of the "
        f"{other_runs} others. {numbers['reproducible']} of {numbers['filters']} filters of this run are "
        f"({numbers['informative']} have {LEAST_COLUMNS} columns or more between their flanks); of the same filters "
        f"with their columns in a random order {numbers['reproducible, permuted']}.\n\n"
        f"Filters of all runs form {len(clusters)} clusters, {numbers['clusters held']} of them shared by "
        f"{required + 1} or more of {other_runs + 1} runs (columns permuted: {numbers['clusters held, permuted']})."
    )
    figure = Figure(
        "aitac-reproduced",
        "How many other runs have a filter too",
        f"Filters of the interpreted run by the number of other runs with a filter like it, beside the same filters "
        f"with their columns in a random order. Reproducible: {required} or more.",
        count_bars(times, x="other runs with a like filter", y="filters", colour="motif"),
        times,
    )
    items: list[Figure | Table | Note] = [figure]
    shared = clusters.filter("held")
    if shared.height:
        words = f"shared by {required + 1} or more of {other_runs + 1} runs"
        items.append(_logos(shared, tables["matrices"], words, config.motif_q))
    else:
        items.append(Note(f"No cluster is shared by {required + 1} or more of the {other_runs + 1} runs.", "warning"))
    items.append(
        Table(
            "aitac-clusters",
            "Clusters of filters",
            f"Motifs that at least two runs have, of {len(clusters)} clusters. Joined while the geometric mean of the "
            f"p-values between members is below {config.cluster_p:g}. Information between the flanks.",
            clusters.filter(pl.col("runs") > 1).drop("held"),
            formats={"information": ".1f", "q": ".2g"},
            units={"information": "bits"},
        )
    )
    return Section(TITLES["reproducible"], text, tuple(items))


def _logos(clusters: pl.DataFrame, matrices: pl.DataFrame, words: str, motif_q: float) -> Figure:
    from netassay.reporting.logo import logos

    rows = clusters.head(_LOGOS)
    counts = matrices_of_table(matrices.sort("position"))
    panels = []
    for row in rows.iter_rows(named=True):
        matrix = counts[row["cluster"]]
        heights = letter_heights(matrix)[:, slice(*span(matrix))]
        sure = row["like"] is not None and row["q"] is not None and row["q"] < motif_q
        like = f" ({row['like']})" if sure else ""
        name = f"{row['cluster'].replace('_', ' ')}{like}"
        panels.append((f"{name}: {row['runs']} runs, {row['filters']} filters", heights))
    remark = f"; the first {_LOGOS} of {len(clusters)}" if len(clusters) > _LOGOS else ""
    return Figure(
        "aitac-cluster-logos",
        "Motifs that runs share",
        f"Merged motifs of the clusters {words}{remark}, between their flanks; in brackets the factor or family that "
        f"one is like (q and false discovery rate < {motif_q:g}). Height of a column: its information, in bits.",
        logos(panels),
        matrices.filter(pl.col("motif").is_in(rows["cluster"].to_list())),
    )


def _by_times(filters: pl.DataFrame, kind: str) -> pl.DataFrame:
    counts = filters.group_by("found").len().sort("found")
    return counts.select(
        pl.col("found").alias("other runs with a like filter"),
        pl.col("len").cast(pl.Int64).alias("filters"),
        pl.lit(kind).alias("motif"),
    )


_SHARES = ("recall", "recall of visible", "precision", "columns permuted", "precision of the strongest")
ONE, SEVERAL = "one run", "clusters of several runs"


def recovery(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
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
