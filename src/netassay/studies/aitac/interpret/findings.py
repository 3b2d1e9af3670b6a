"""Results of an interpretation, read from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from netassay.formats.motifs import UNSURE, Motifs, motifs_of_table
from netassay.runs import Run
from netassay.studies.aitac.interpret.config import InterpretConfig, chapter_names

NOTE = "note"
"""Table of a chapter that could not be made: one sentence."""
SUBJECT = "subject"
"""Facts of what is interpreted: atlas and null, as the run was trained."""


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """None besides those written during the run."""
    return {}


def summary(run: Run) -> dict[str, Any]:
    """The interpreted network, and the tables of each chapter, or why there are none."""
    config = InterpretConfig.from_mapping(run.config, where=str(run.folder))
    return {
        "interprets": interpreted(run.config),
        "peers": list(config.peers),
        "chapters": {name: _chapter_summary(chapter_tables(run, name)) for name in chapter_names(config.only)},
    }


def interpreted(config: Mapping[str, Any]) -> str:
    """The interpreted network: the id of a run, or the files of the user's own network and its atlas."""
    if config["run"]:
        return str(config["run"])
    module, weights = config.get("module") or "AI-TAC", config.get("weights") or "its own weights"
    return f"{module} with {weights} on atlas {config.get('atlas') or 'none'}"


def chapter_tables(run: Run, name: str) -> dict[str, pl.DataFrame]:
    """The tables of a chapter by their names within it; empty if it was not made yet."""
    return {key.removeprefix(f"{name}_"): run.table(key) for key in table_names(run, name)}


def table_names(run: Run, name: str) -> list[str]:
    """Names of the tables of a chapter in its run."""
    longer = tuple(f"{o}_" for o in chapter_names() if o != name and o.startswith(f"{name}_"))
    return [key for key in run.tables() if key.startswith(f"{name}_") and not key.startswith(longer)]


def _chapter_summary(frames: Mapping[str, pl.DataFrame]) -> Any:
    if NOTE in frames:
        return frames[NOTE]["text"][0]
    return {table: frame.height for table, frame in frames.items()} or None


def layer_motifs(tables: Mapping[str, pl.DataFrame], q: float = 0.05) -> Motifs:
    """The motifs of the tables of chapter motifs or second_layer, for a MEME file, titled with their factors."""
    motifs, filters = motifs_of_table(tables["matrices"]), tables["filters"]
    like = factor_names(filters, q)
    titles = tuple(like.get(name, "") for name in motifs.names)
    return Motifs(motifs.names, motifs.counts, motifs.sites, titles)


def factor_names(filters: pl.DataFrame, q: float) -> dict[str, str]:
    """The factor of each filter that has a name; in older tables without factors, its best match below `q`."""
    if "factor" in filters.columns:
        factors = filters.filter(pl.col("factor") != UNSURE).select("filter", "factor")
    else:
        name = pl.when(pl.col("name") == "").then(pl.col("target")).otherwise(pl.col("name"))
        factors = filters.filter(pl.col("q") < q).select("filter", name.alias("factor"))
    return dict(factors.iter_rows())
