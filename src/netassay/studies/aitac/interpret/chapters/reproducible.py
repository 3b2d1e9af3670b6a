"""Which filters other networks find again, and the motifs that the runs have in common."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from netassay.formats.motifs import Motifs
from netassay.reporting import Figure, Note, Section, Table
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.match import LEAST_COLUMNS
from netassay.studies.aitac.interpret.motifs import filter_motifs
from netassay.studies.aitac.interpret.reproduced import (
    Clusters,
    Reproduced,
    cluster_motifs,
    needed,
    permuted,
    reproducible_filters,
)
from netassay.studies.aitac.interpret.subject import Subject

NEEDS: tuple[str, ...] = ()
_LOGOS = 24  # clusters that are drawn
_REAL, _NULL = "filters", "columns permuted"


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """filters and permuted (`Reproduced`, with the ids of the runs), clusters, their members and matrices, numbers."""
    runs = run_motifs(subject)
    draws = subject.generator("reproducible")
    found = reproducible_filters(
        runs, q=config.reproducible_q, share=config.reproducible_share, generator=draws
    )
    clusters = cluster_motifs(runs, p=config.cluster_p)
    null = cluster_motifs([permuted(motifs, draws) for motifs in runs], p=config.cluster_p)
    return {
        "filters": _with_ids(found.filters, subject.runs),
        "permuted": _with_ids(found.permuted, subject.runs),
        "clusters": _named(_cluster_table(clusters, config.reproducible_share), clusters.motifs, subject),
        "members": _with_ids(clusters.members, subject.runs),
        "matrices": matrix_table(clusters.motifs),
        "numbers": _numbers(runs[0], found, clusters, null, config.reproducible_share),
    }


def run_motifs(subject: Subject) -> list[Motifs]:
    """First-layer motifs of the run and its peers, all on the peaks that the run predicts well."""
    codes, held = subject.codes[subject.motif_peaks], subject.config
    others = [
        filter_motifs(
            peer, codes, threshold=held.motif_threshold, quantile=held.motif_quantile,
            pseudocount=held.motif_pseudocount,
        )
        for peer in subject.peers
    ]  # fmt: skip
    return [subject.motifs, *others]


def cluster_motifs_of(clusters: pl.DataFrame, matrices: pl.DataFrame) -> Motifs:
    """The merged motifs again, from the tables."""
    parts = matrices.sort("position").partition_by("motif", as_dict=True)
    names = clusters["cluster"].to_list()
    return Motifs.of_matrices(
        names,
        [parts[(name,)].select(*"ACGT").to_torch().double().T for name in names],
        clusters["sites"].to_list(),
    )


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """How many filters other runs have too, beside permuted ones, and the motifs that runs have in common."""
    from netassay.studies.aitac.interpret.found_charts import counted_bars

    told = dict(tables["numbers"].iter_rows())
    clusters = tables["clusters"]
    times = pl.concat([
        _by_times(tables["filters"].filter(pl.col("run") == pl.col("run").first()), _REAL),
        _by_times(tables["permuted"], _NULL),
    ])  # fmt: skip
    others, least = told["other runs"], told["needed"]
    text = (
        "A filter is reproduced in another run, trained from other first weights, if a filter there is like it "
        f"(Tomtom q < {config.reproducible_q:g}), and reproducible if that holds in at least {least} of the {others} "
        f"others. {told['reproducible']} of {told['filters']} filters of this run are ({told['informative']} have "
        f"{LEAST_COLUMNS} columns or more between their flanks); of the same filters with their columns in a random "
        f"order {told['reproducible, permuted']}.\n\n"
        f"Filters of all runs form {len(clusters)} clusters, {told['clusters held']} of them held by {least + 1} or "
        f"more of {others + 1} runs (columns permuted: {told['clusters held, permuted']})."
    )
    figure = Figure(
        "aitac-reproduced", "How many other runs have a filter too",
        f"Filters of the interpreted run by the number of other runs with a filter like it, beside the same filters "
        f"with their columns in a random order. Reproducible: {least} or more.",
        counted_bars(times, x="other runs with a like filter", y="filters", colour="motif"), times,
    )  # fmt: skip
    items: list[Figure | Table | Note] = [figure]
    held = clusters.filter("held")
    if held.height:
        words = f"held by {least + 1} or more of {others + 1} runs"
        items.append(_logos(held, tables["matrices"], words, config.motif_q))
    else:
        items.append(Note(f"No cluster is held by {least + 1} or more of the {others + 1} runs.", "warning"))
    items.append(
        Table(
            "aitac-clusters", "Clusters of filters",
            f"Motifs that at least two runs have, of {len(clusters)} clusters. Joined while the geometric mean of the "
            f"p-values between members is below {config.cluster_p:g}. Information between the flanks.",
            clusters.filter(pl.col("runs") > 1).drop("held"),
            formats={"information": ".1f", "q": ".2g"}, units={"information": "bits"},
        )
    )  # fmt: skip
    return Section("Reproducible filters", text, tuple(items))


def _logos(clusters: pl.DataFrame, matrices: pl.DataFrame, words: str, motif_q: float) -> Figure:
    from netassay.reporting.logo import logos

    shown = clusters.head(_LOGOS)
    motifs = cluster_motifs_of(shown, matrices)
    panels = []
    for i, row in enumerate(shown.iter_rows(named=True)):
        heights = motifs.heights[i, :, slice(*motifs.spans[i])].numpy()
        like = f" ({row['like']})" if row["q"] is not None and row["q"] < motif_q else ""
        name = f"{row['cluster'].replace('_', ' ')}{like}"
        panels.append((f"{name}: {row['runs']} runs, {row['filters']} filters", heights))
    left = f"; the first {_LOGOS} of {len(clusters)}" if len(clusters) > _LOGOS else ""
    return Figure(
        "aitac-cluster-logos", "Motifs that runs have in common",
        f"Merged motifs of the clusters {words}{left}, between their flanks; in brackets the known motif that one is "
        f"like (q < {motif_q:g}). Height of a column: its information, in bits.",
        logos(panels), matrices.filter(pl.col("motif").is_in(shown["cluster"].to_list())),
    )  # fmt: skip


def _by_times(filters: pl.DataFrame, kind: str) -> pl.DataFrame:
    counted = filters.group_by("found").len().sort("found")
    return counted.select(
        pl.col("found").alias("other runs with a like filter"), pl.col("len").cast(pl.Int64).alias("filters"),
        pl.lit(kind).alias("motif"),
    )  # fmt: skip


def _with_ids(table: pl.DataFrame, ids: tuple[str, ...]) -> pl.DataFrame:
    return table.with_columns(pl.Series("run", [ids[number] for number in table["run"]], dtype=pl.String))


def _cluster_table(clusters: Clusters, share: float) -> pl.DataFrame:
    motifs, held = clusters.motifs, set(clusters.held_by(share).tolist())
    filters = clusters.members.group_by("cluster").len()
    sizes = dict(filters.iter_rows())
    bits = [
        float(row[slice(*span)].sum()) for row, span in zip(motifs.information, motifs.spans, strict=True)
    ]
    return pl.DataFrame(
        {
            "cluster": list(motifs.names), "runs": clusters.runs.tolist(),
            "filters": [sizes[i] for i in range(len(motifs))], "held": [i in held for i in range(len(motifs))],
            "consensus": list(motifs.consensus), "information": bits, "sites": motifs.sites.tolist(),
        },
        schema={"cluster": pl.String, "runs": pl.Int64, "filters": pl.Int64, "held": pl.Boolean, "consensus": pl.String,
                "information": pl.Float64, "sites": pl.Int64},
    )  # fmt: skip


def _named(table: pl.DataFrame, motifs: Motifs, subject: Subject) -> pl.DataFrame:
    """With what each cluster of two runs or more is like in the database (`like`), and how surely (`q`)."""
    shared = (table["runs"] > 1).arg_true().to_list()
    none = pl.DataFrame(schema={"cluster": pl.String, "like": pl.String, "q": pl.Float64})
    if not shared:
        return table.join(none, on="cluster", how="left", maintain_order="left")
    best = subject.matches_of(motifs.select(shared)).best()
    name = pl.when(pl.col("name") == "").then(pl.col("target")).otherwise(pl.col("name"))
    told = best.select(pl.col("query").alias("cluster"), name.alias("like"), pl.col("q").cast(pl.Float64))
    return table.join(pl.concat([none, told]), on="cluster", how="left", maintain_order="left")


def matrix_table(motifs: Motifs) -> pl.DataFrame:
    """Counts of motifs, a row a column of each: motif, position, A, C, G, T."""
    rows = [
        (name, place, *column)
        for name, matrix in zip(motifs.names, motifs.counts, strict=True)
        for place, column in enumerate(matrix.T.tolist())
        if sum(column) > 0
    ]
    numbers = dict.fromkeys("ACGT", pl.Float64)
    return pl.DataFrame(rows, schema={"motif": pl.String, "position": pl.Int64, **numbers}, orient="row")


def _numbers(
    own: Motifs, found: Reproduced, clusters: Clusters, null: Clusters, share: float
) -> pl.DataFrame:
    mine = found.filters.filter(pl.col("run") == 0)
    values = {
        "other runs": found.others,
        "needed": needed(found.others + 1, share),
        "filters": len(mine),
        "informative": int((own.informative_lengths >= LEAST_COLUMNS).sum()),
        "reproducible": int(mine["reproducible"].sum()),
        "reproducible, permuted": int(found.permuted["reproducible"].sum()),
        "clusters held": len(clusters.held_by(share)),
        "clusters held, permuted": len(null.held_by(share)),
    }
    return pl.DataFrame({"number": list(values), "value": list(values.values())})
