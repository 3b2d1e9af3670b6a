"""Motifs of a layer and their matches as tables, for pages and motif files."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import torch

from netassay.dna.motifs.filters import FilterMotifs
from netassay.dna.motifs.match import Matches
from netassay.dna.motifs.matrices import column, matrix_table
from netassay.dna.motifs.reproducibility import factor_names
from netassay.dna.network.classes import FEWEST, no_correlation
from netassay.runs.facts import fact_table
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
