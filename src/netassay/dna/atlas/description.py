"""An atlas in numbers: what `netassay atlas info` prints and the pages show."""

from __future__ import annotations

from typing import Any

import polars as pl
import torch

from netassay.dna.atlas.atlas import Atlas
from netassay.formats.bases import UNKNOWN


def describe_atlas(atlas: Atlas) -> dict[str, Any]:
    """Sizes, source, counts of what was dropped or noted, heights, bases, chromosomes and lineages, ready for JSON.

    Args:
        atlas: The atlas.

    Returns:
        The description; see `netassay.describe_atlas`.

    Example:
        >>> import netassay
        >>> netassay.dna.atlas.describe_atlas(netassay.Atlas.open("atlas"))["cell_types"]
        19
    """
    heights = atlas.heights
    spread = heights.std(dim=1, correction=0).mean()
    return {
        "source": atlas.source,
        "simulated": atlas.simulated,
        "peaks": len(atlas),
        "length": atlas.length,
        "cell_types": len(atlas.cell_types),
        "dropped": dict(atlas.dropped),
        "notes": dict(atlas.notes),
        "heights": {
            "mean": float(heights.mean(dtype=torch.float64)),
            "min": float(heights.min()),
            "max": float(heights.max()),
            "sd_across_cell_types": float(spread),
        },
        "bases": _bases(atlas),
        "digest": atlas.digest,
        "lineages": _lineages(atlas),
        "chromosomes": _chromosomes(atlas.peaks),
        "truth": list(atlas.truth),
    }


def _bases(atlas: Atlas) -> dict[str, float]:
    counts = torch.bincount(atlas.codes.flatten(), minlength=UNKNOWN + 1).tolist()
    total = sum(counts[:UNKNOWN]) or 1
    c_then_g = int(((atlas.codes[:, :-1] == 1) & (atlas.codes[:, 1:] == 2)).sum())
    return {
        "gc": (counts[1] + counts[2]) / total,
        "unknown": counts[UNKNOWN] / atlas.codes.numel(),
        "cpg_observed_over_expected": c_then_g * total / max(counts[1] * counts[2], 1),
    }


def _lineages(atlas: Atlas) -> list[dict[str, Any]]:
    members: dict[str, list[str]] = {}
    for name, lineage in zip(atlas.cell_types, atlas.lineages, strict=True):
        members.setdefault(lineage, []).append(name)
    return [
        {"lineage": lineage, "cell_types": len(names), "names": ", ".join(names)} for lineage, names in members.items()
    ]


def _chromosomes(peaks: pl.DataFrame) -> list[dict[str, Any]]:
    counts = peaks["chromosome"].drop_nulls().value_counts()
    digits = pl.col("chromosome").str.extract(r"^(?:chr)?(\d+)$").cast(pl.Int64)
    return counts.sort(digits, "chromosome", nulls_last=True).rename({"count": "peaks"}).to_dicts()
