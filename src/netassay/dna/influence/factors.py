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
    """Sets of filters of the same factor or family; each filter without a name is a set of its own.

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


def join_filters(names: Mapping[int, str], filters: int) -> Factors:
    """Factors of filters 0 to `filters` - 1 by their names (`factor_names`); those without are "filter 12"."""
    sets: dict[str, list[int]] = {}
    for i in range(filters):
        sets.setdefault(names.get(i) or f"filter {i}", []).append(i)
    return Factors(tuple(sets), tuple(tuple(part) for part in sets.values()))


def groups(lineages: Sequence[str]) -> dict[str, list[int]]:
    """Outputs of each lineage, in order; those without one are left out. "all cell types" if none has a lineage."""
    outputs: dict[str, list[int]] = {}
    for i, lineage in enumerate(lineages):
        if lineage:
            outputs.setdefault(lineage, []).append(i)
    return outputs or {"all cell types": list(range(len(lineages)))}


def hierarchy(influence: Influence, lineages: Sequence[str]) -> pl.DataFrame:
    """Sets ranked in each lineage by influence, the mean over its cell types of `by_output`.

    Args:
        influence: The influence of the sets.
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
        >>> influence = netassay.influence(model, codes)
        >>> netassay.dna.influence.hierarchy(influence, ["B", "B", "T"])["rank"].to_list()
        [1, 2, 3, 4, 1, 2, 3, 4]
    """
    frames = []
    for lineage, outputs in groups(lineages).items():
        by_output = influence.by_output[:, outputs]
        squared, weighted = by_output.mean(1), (by_output * influence.direction[:, outputs].nan_to_num(0)).mean(1)
        agreement = influence.agreement[:, outputs].mean(1)
        frames.append(
            pl.DataFrame(
                {
                    "lineage": [lineage] * len(influence.names),
                    "set": list(influence.names),
                    "filters": [len(part) for part in influence.sets],
                    "influence": squared.numpy(),
                    "share": (squared / squared.sum()).numpy(),
                    "direction": (weighted / squared).numpy(),
                    "agreement": agreement.numpy(),
                }
            ).sort("influence", descending=True, maintain_order=True)
        )
    ranked = [frame.with_columns(rank=pl.int_range(1, frame.height + 1)) for frame in frames]
    table = pl.concat(ranked).with_columns(pl.col("direction", "agreement").fill_nan(None))
    return table.select("lineage", "rank", "set", "filters", "influence", "share", "direction", "agreement")


def ensemble(influences: Sequence[Influence], matching: pl.DataFrame) -> pl.DataFrame:
    """Influence of each group of matched filters over the runs of an ensemble.

    `matching` says what belongs together, by columns cluster, run (number of the influence, from 0) and filter (number
    of the set). Within a run the influences of a cluster's filters are summed; the table has their mean and standard
    deviation (null for one run) over the runs that have the cluster. Columns cluster, runs, filters, influence, spread,
    influence_signed, spread_signed (of the overall influence), output (number), by_output, by_output_spread: a row for
    each cluster and output. Raises DataError for runs and filters that do not exist.
    """
    columns = {"cluster", "run", "filter"}
    if not columns <= set(matching.columns):
        raise DataError(f"the matching has the columns {matching.columns}; needed are cluster, run and filter")
    for run, filters in matching.group_by("run", maintain_order=True).agg("filter").iter_rows():
        if not 0 <= run < len(influences) or not all(0 <= i < len(influences[run].names) for i in filters):
            raise DataError(
                f"the matching names filters {sorted(filters)[:5]} of run {run}, of {len(influences)} influences; both "
                "count from 0"
            )
    rows = []
    for cluster, part in matching.group_by("cluster", maintain_order=True):
        by_run = part.group_by("run", maintain_order=True).agg("filter").iter_rows()
        sums = [
            tuple(
                value[list(filters)].sum(0)
                for value in (influences[i].overall, influences[i].overall_signed, influences[i].by_output)
            )
            for i, filters in by_run
        ]
        overall, signed, outputs = (torch.stack([values[i] for values in sums]) for i in range(3))
        (mean, spread), (mean_signed, spread_signed), (means, spreads) = map(_over_runs, (overall, signed, outputs))
        rows += [
            (
                cluster[0],
                len(sums),
                part.height,
                float(mean),
                _or_none(spread),
                float(mean_signed),
                _or_none(spread_signed),
                i,
                float(means[i]),
                _or_none(spreads[i]),
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


def _or_none(value: Tensor) -> float | None:
    return None if bool(value.isnan()) else float(value)
