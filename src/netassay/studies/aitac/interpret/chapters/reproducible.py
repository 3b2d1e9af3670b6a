"""Which filters other networks also learn, and the motifs that the runs share."""

from __future__ import annotations

import polars as pl

from netassay.dna.motifs.filters import filter_motifs
from netassay.dna.motifs.matrices import LEAST_COLUMNS, matrix_table
from netassay.dna.motifs.reproducibility import (
    Clusters,
    Reproduced,
    cluster_motifs,
    factor_names,
    permute_columns,
    reproducible_filters,
    runs_needed,
)
from netassay.errors import DataError
from netassay.formats.motifs import Motifs
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.subject import Subject


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
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
    return pl.DataFrame(
        {
            "cluster": list(motifs.names),
            "runs": clusters.runs.tolist(),
            "filters": [sizes[i] for i in range(len(motifs))],
            "held": [i in shared for i in range(len(motifs))],
            "consensus": list(motifs.consensus),
            "information": bits,
            "sites": motifs.sites.tolist(),
        },
        schema={
            "cluster": pl.String,
            "runs": pl.Int64,
            "filters": pl.Int64,
            "held": pl.Boolean,
            "consensus": pl.String,
            "information": pl.Float64,
            "sites": pl.Int64,
        },
    )


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
        "other runs": reproduced.others,
        "needed": runs_needed(reproduced.others + 1, share),
        "filters": len(mine),
        "informative": int((own.informative_lengths >= LEAST_COLUMNS).sum()),
        "reproducible": int(mine["reproducible"].sum()),
        "reproducible, permuted": int(reproduced.permuted["reproducible"].sum()),
        "clusters held": len(clusters.held_by(share)),
        "clusters held, permuted": len(null.held_by(share)),
    }
    return pl.DataFrame({"number": list(values), "value": list(values.values())})
