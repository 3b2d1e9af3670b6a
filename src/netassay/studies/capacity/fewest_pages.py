"""The part of a report about the fewest parameters that memorise a corpus."""

from __future__ import annotations

import polars as pl

from netassay.numerics.fits import Line, line, slope_ratio
from netassay.reporting import Axis, Figure, Note, Section, Table, scatter

EMBEDDING = 16
"""Embedding size of the experiment's decoder, whose attention has four matrices with biases."""

QUANTITIES = {
    "contexts": "unique contexts n",
    "degrees_of_freedom": "degrees of freedom",
    "information_bits": "information, bits",
    "vocabulary": "vocabulary ζ",
}


def fewest(attempts: pl.DataFrame) -> Section:
    """Fewest parameters against properties of the corpus, with fitted lines, from runs that searched by bisection."""
    title = "Fewest parameters"
    table = fewest_table(attempts)
    if not table.height:
        return Section(
            title, items=(Note("No search (widths = bisection) has found a width that meets the criterion."),)
        )
    fits = fit_table(table)
    figures = [_figure(table, fits, quantity) for quantity in QUANTITIES]
    tables = [
        Table(
            "capacity-fewest",
            "Narrowest decoders that memorise",
            "By bisection on the neurons m of the hidden layer, several initial weights per width; parameters counts "
            "all of the model's, trained or not, of which fixed are those of embedding and attention, whatever m is. "
            "predicted is the information over 3.6 bits per parameter (empirical), without that fixed cost.",
            table,
            formats={
                "criterion": ".3g",
                "information_bits": ",.0f",
                "predicted": ",.0f",
                "gap": distinct_format(table, "gap", "criterion"),
            },
            first=("criterion", "corpus", "contexts", "information_bits", "neurons", "parameters", "gap"),
        ),
        Table(
            "capacity-fits",
            "Fitted lines",
            "Least squares, fewest parameters against each quantity; intervals at 95 % by Student's t, ratios by "
            "Fieller. They assume independent deviations, which nested corpora do not quite have.",
            fits,
            formats=dict.fromkeys(("slope", "low", "high"), ".3g") | {"R²": ".3f", "intercept": ",.0f"},
        ),
    ]
    text = (
        "Read with care. Each point is an upper bound: this solver may have missed narrower networks, so the line is a "
        "property of model and optimiser together. And the count grows with the vocabulary ζ at constant width, m ζ + "
        "17 (m + ζ) + 1088: where the fewest neurons hardly change, “linear in n” is mostly the growth of the "
        "vocabulary with n. The four quantities rise together, so a good fit to one is no evidence against another."
    )
    note = () if fits.height else (Note("Fitting lines takes at least three corpora."),)
    return Section(title, text, (*figures, *note, *(t for t in tables if t.data.height)))


def fewest_table(attempts: pl.DataFrame) -> pl.DataFrame:
    """The narrowest width that met the criterion, for each corpus and part trained, of runs by bisection."""
    met = attempts.filter(pl.col("met") & (pl.col("widths") == "bisection"))
    narrowest = met.sort("width").group_by("corpus", "contexts", "trained", "criterion", maintain_order=True).first()
    return narrowest.sort("trained", "contexts").select(
        "trained",
        "criterion",
        "corpus",
        *(pl.col(name).cast(pl.Int64) for name in ("documents", "contexts", "vocabulary", "degrees_of_freedom")),
        "information_bits",
        pl.col("predicted_parameters").alias("predicted"),
        pl.col("width").alias("neurons"),
        "parameters",
        (pl.col("vocabulary") * EMBEDDING + 4 * EMBEDDING * (EMBEDDING + 1)).cast(pl.Int64).alias("fixed"),
        "trained_parameters",
        "steps",
        "gap",
    )


def distinct_format(table: pl.DataFrame, column: str, beside: str) -> str:
    """A format of three significant digits, or as many as distinguish each number from its neighbour."""
    pairs = [(a, b) for a, b in table.select(column, beside).iter_rows() if a is not None and b is not None and a != b]
    digits = next((d for d in range(3, 17) if all(f"{a:.{d}g}" != f"{b:.{d}g}" for a, b in pairs)), 17)
    return f".{digits}g"


def fit_table(table: pl.DataFrame) -> pl.DataFrame:
    """Lines through the fewest parameters for each quantity and part trained, and the ratios of their slopes."""
    rows: list[tuple[object, ...]] = []
    for quantity, words in QUANTITIES.items():
        lines: dict[str, Line] = {}
        for (trained,), rows_of_part in table.group_by("trained", maintain_order=True):
            if rows_of_part[quantity].n_unique() < 3:
                continue
            fit = line(rows_of_part[quantity].to_list(), rows_of_part["parameters"].to_list())
            lines[str(trained)] = fit
            rows.append((words, str(trained), fit.slope, fit.low, fit.high, fit.intercept, fit.r_squared, fit.points))
        if {"all parameters", "feed-forward part"} <= lines.keys():
            ratio = slope_ratio(lines["feed-forward part"], lines["all parameters"])
            rows.append((words, "ratio of slopes", ratio.value, ratio.low, ratio.high, None, None, None))
    schema = {
        "against": pl.String,
        "trained": pl.String,
        "slope": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "intercept": pl.Float64,
        "R²": pl.Float64,
        "points": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _figure(table: pl.DataFrame, fits: pl.DataFrame, quantity: str) -> Figure:
    words = QUANTITIES[quantity]
    data = table.select("trained", quantity, "parameters", "neurons")
    lines = fits.filter((pl.col("against") == words) & pl.col("intercept").is_not_null()).to_dicts()
    slopes = "; ".join(
        f"{row['trained']}: {row['slope']:.3g} per unit [{row['low']:.3g}, {row['high']:.3g}]" for row in lines
    )
    return Figure(
        f"capacity-fewest-{quantity.replace('_', '-')}",
        f"Fewest parameters against {words}",
        "Fewest parameters with which the criterion was met"
        + (f", and least-squares lines, slopes with 95 % intervals: {slopes}." if slopes else "."),
        scatter(
            data,
            Axis(quantity, title=words),
            Axis("parameters", title="fewest parameters k"),
            Axis("trained"),
            lines={row["trained"]: (row["intercept"], row["slope"]) for row in lines},
        ),
        data,
    )
