"""The hierarchy of factors: filters of the same motif joined, ranked by influence in each lineage, over runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor

from netassay.dna.influence.singles import Influence
from netassay.errors import DataError


@dataclass(frozen=True)
class Factors:
    """Sets of filters of the same factor or family, and filters without a name, each a set of its own.

    Attributes:
        names: Names of the sets.
        sets: Numbers of the filters of each.

    Example:
        >>> from netassay.dna.influence import Factors
        >>> Factors(("GATA", "filter 1"), ((0, 2), (1,))).names
        ('GATA', 'filter 1')
    """

    names: tuple[str, ...]
    sets: tuple[tuple[int, ...], ...]


def joined(names: Mapping[int, str], filters: int) -> Factors:
    """Factors of filters 0 to `filters` - 1 by their names (`factor_names`); those without are "filter 12"."""
    sets: dict[str, list[int]] = {}
    for i in range(filters):
        sets.setdefault(names.get(i) or f"filter {i}", []).append(i)
    return Factors(tuple(sets), tuple(tuple(part) for part in sets.values()))


def groups(lineages: Sequence[str]) -> dict[str, list[int]]:
    """Outputs of each lineage, in order; those without are left out, or "all cell types" if no one has a lineage."""
    found: dict[str, list[int]] = {}
    for i, lineage in enumerate(lineages):
        if lineage:
            found.setdefault(lineage, []).append(i)
    return found or {"all cell types": list(range(len(lineages)))}


def hierarchy(found: Influence, lineages: Sequence[str]) -> pl.DataFrame:
    """Sets ranked in each lineage by influence, the mean over its cell types of `by_output`.

    Args:
        found: The influence of the sets.
        lineages: Lineage of each output.

    Returns:
        Columns lineage, rank (from 1), set, filters (how many), influence, share (of the sum over sets), direction
        (mean over the cell types weighted by influence) and agreement (mean over the cell types); both null where not
        defined.

    Source:
        Maslova et al. (2020).

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> found = netassay.influence(model, codes)
        >>> netassay.dna.influence.hierarchy(found, ["B", "B", "T"])["rank"].to_list()
        [1, 2, 3, 4, 1, 2, 3, 4]
    """
    frames = []
    for lineage, outputs in groups(lineages).items():
        each = found.by_output[:, outputs]
        squared, weighted = each.mean(1), (each * found.direction[:, outputs].nan_to_num(0)).mean(1)
        agreement = found.agreement[:, outputs].mean(1)
        frames.append(
            pl.DataFrame(
                {
                    "lineage": [lineage] * len(found.names),
                    "set": list(found.names),
                    "filters": [len(part) for part in found.sets],
                    "influence": squared.numpy(),
                    "share": (squared / squared.sum()).numpy(),
                    "direction": (weighted / squared).numpy(),
                    "agreement": agreement.numpy(),
                }
            ).sort("influence", descending=True, maintain_order=True)
        )
    ranked = [frame.with_columns(rank=pl.int_range(1, frame.height + 1)) for frame in frames]
    told = pl.concat(ranked).with_columns(pl.col("direction", "agreement").fill_nan(None))
    return told.select("lineage", "rank", "set", "filters", "influence", "share", "direction", "agreement")


def ensemble(influences: Sequence[Influence], matching: pl.DataFrame) -> pl.DataFrame:
    """Influence of each group of matched filters over the runs of an ensemble.

    `matching` says with columns cluster, run (number of the influence, from 0) and filter (number of the set) what
    belongs together. Within a run the influences of a cluster's filters are summed; over the runs that have the cluster
    stand mean and standard deviation (null for one run). Columns cluster, runs, filters, influence, spread,
    influence_signed, spread_signed (of the overall influence), output (number), by_output, by_output_spread: a row a
    cluster and output. Raises DataError for runs and filters that are not there.
    """
    needed = {"cluster", "run", "filter"}
    if not needed <= set(matching.columns):
        raise DataError(f"the matching has the columns {matching.columns}; needed are cluster, run and filter")
    for run, chosen in matching.group_by("run", maintain_order=True).agg("filter").iter_rows():
        if not 0 <= run < len(influences) or not all(0 <= i < len(influences[run].names) for i in chosen):
            raise DataError(
                f"the matching names filters {sorted(chosen)[:5]} of run {run}, of {len(influences)} influences; both "
                "count from 0"
            )
    rows = []
    for cluster, part in matching.group_by("cluster", maintain_order=True):
        by_run = part.group_by("run", maintain_order=True).agg("filter").iter_rows()
        sums = [
            tuple(
                value[list(chosen)].sum(0)
                for value in (influences[i].overall, influences[i].overall_signed, influences[i].by_output)
            )
            for i, chosen in by_run
        ]
        overall, signed, outputs = (torch.stack([held[i] for held in sums]) for i in range(3))
        (mean, spread), (mean_signed, spread_signed), (means, spreads) = map(_over_runs, (overall, signed, outputs))
        rows += [
            (
                cluster[0],
                len(sums),
                part.height,
                float(mean),
                _told(spread),
                float(mean_signed),
                _told(spread_signed),
                i,
                float(means[i]),
                _told(spreads[i]),
            )
            for i in range(len(means))
        ]
    schema: dict[str, Any] = {
        "cluster": matching.schema["cluster"],
        "runs": pl.Int64,
        "filters": pl.Int64,
        "influence": pl.Float64,
        "spread": pl.Float64,
        "influence_signed": pl.Float64,
        "spread_signed": pl.Float64,
        "output": pl.Int64,
        "by_output": pl.Float64,
        "by_output_spread": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _over_runs(values: Tensor) -> tuple[Tensor, Tensor]:
    spread = values.std(0) if len(values) > 1 else torch.full_like(values[0], torch.nan)
    return values.mean(0), spread


def _told(value: Tensor) -> float | None:
    return None if bool(value.isnan()) else float(value)
