"""Figures of the theorems' two generic facts: distinct contexts have distinct images, and features have full rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import polars as pl

from netassay.capacity.injectivity import Separation
from netassay.capacity.rank import MeasuredRank
from netassay.reporting import Axis, Figure, Note, Section, Table, small_multiples

_MAPS = {"attention": "self-attention (Theorem 17)", "averaging": "averaging (Theorem 22)"}


def sections_of_theory(separations: Sequence[Separation] = (), ranks: Sequence[MeasuredRank] = ()) -> list[Section]:
    """A section for each of the two that has data."""
    return [
        *([injectivity_section(separations)] if separations else []),
        *([rank_section(ranks)] if ranks else []),
    ]


def injectivity_section(separations: Sequence[Separation]) -> Section:
    """The smallest gap between images of distinct contexts against their number, and how many coincide."""
    table = pl.DataFrame([asdict(row) for row in separations])
    medians = (
        table.group_by("scalar_map", "dtype", "contexts")
        .agg(pl.col("smallest").median(), pl.col("collisions").median(), pl.len().alias("seeds"))
        .with_columns(pl.col("scalar_map").replace_strict(_MAPS).alias("map"))
        .sort("scalar_map", "dtype", "contexts")
    )
    rows = pl.concat([medians.select("map", "contexts", series="dtype", smallest="smallest"), _generic(medians)])
    gaps = small_multiples(
        rows,
        Axis("contexts", "Unique contexts n", log=True),
        Axis("smallest", "Smallest gap / range of the images", log=True),
        "map",
        Axis("series", "Arithmetic"),
        height=240,
    )
    met = medians.filter(pl.col("collisions") > 0)
    figure = Figure(
        "smallest-gap",
        "Smallest gap between images of distinct contexts",
        f"Median of {int(medians['seeds'].max() or 0)} draws of z and u. Both maps are injective for almost all of "  # type: ignore[arg-type]
        "them; generic gaps of n numbers fall as 1/n², drawn through the geometric mean of float64's. Where two images "
        "coincide in an arithmetic the gap is 0 and the line ends.",
        gaps,
        rows,
    )
    counts = Table(
        "collisions",
        "Contexts that an arithmetic cannot distinguish",
        "Neighbouring images that are equal, median over the draws.",
        met.select("map", "dtype", "contexts", "collisions"),
        formats={"collisions": ".1f"},
    )
    items: list[Figure | Table | Note] = [figure]
    items.append(counts if met.height else Note("No two images coincide in either arithmetic."))
    return Section(
        "Injectivity",
        "A single real number can stand for a context: the theorems' lower bounds rely on this. This figure "
        "shows how much of it survives in a computer.",
        tuple(items),
    )


def _generic(medians: pl.DataFrame) -> pl.DataFrame:
    """c / n² for each map, c the geometric mean of gap x n² in float64."""
    exact = medians.filter(pl.col("dtype") == "float64").sort("map", "contexts")
    n = pl.col("contexts").cast(pl.Float64)
    constant = (pl.col("smallest") * n**2).filter(pl.col("smallest") > 0).log().mean().exp().over("map")
    return exact.select("map", "contexts", pl.lit("1/n²").alias("series"), (constant / n**2).alias("smallest"))


def rank_section(ranks: Sequence[MeasuredRank]) -> Section:
    """Measured rank of psi(a b') against n, one panel per activation."""
    table = pl.DataFrame([asdict(row) for row in ranks])
    square = table.filter(pl.col("n") == pl.col("m"))
    subset = square if square.height else table
    theorem = subset.select("activation", "n", pl.lit("theorem").alias("series"), rank="theorem").unique(
        maintain_order=True
    )
    measurements = subset.select("activation", "n", pl.col("arithmetic").alias("series"), rank="measured")
    rows = pl.concat([measurements, theorem]).with_columns(("\u03c8(z) = " + pl.col("activation")).alias("activation"))
    chart = small_multiples(
        rows,
        Axis("n", "n = m" if square.height else "n"),
        Axis("rank", "Rank of \u03c8(a bᵀ)"),
        "activation",
        Axis("series", "Arithmetic"),
        height=170,
    )
    wrong = table.filter(pl.col("arithmetic").str.ends_with("digits") & (pl.col("measured") != pl.col("theorem")))
    note = Note("In long arithmetic every measured rank is the theorem's.")
    if wrong.height:
        note = Note(f"{wrong.height} ranks in long arithmetic differ from the theorem's.", "warning")
    figure = Figure(
        "measured-rank",
        "Rank of \u03c8(a bᵀ) by arithmetic",
        "Theorem 19: a polynomial has the rank of its monomials, min(m, n, monomials). Theorem 20: an activation that "
        "is real analytic and not a polynomial has full rank. Floating point counts singular values above max(m, n) · "
        "ε · largest; long arithmetic counts pivots, and its marks may be hidden by those of the theorem.",
        chart,
        rows,
    )
    return Section(
        "Rank",
        "Scalar features have full rank in exact numbers and hardly any in floating point: their singular values "
        "fall by one to two digits each. A practical construction needs features of more than one dimension.",
        (figure, note),
    )
