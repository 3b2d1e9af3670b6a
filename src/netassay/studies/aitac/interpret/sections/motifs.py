"""Motifs of the filters of both layers, of those that other runs have too, and of those that were planted, drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import altair as alt
import numpy as np
import polars as pl

from netassay.formats.motifs import LEAST_COLUMNS, UNSURE, Matrix, letter_heights, matrices_of_table, span
from netassay.reporting import Axis, Figure, Note, Section, Table, heat_map
from netassay.reporting.logo import logos
from netassay.reporting.theme import NETWORK, NULL, colours
from netassay.runs.facts import facts_of
from netassay.studies.aitac.interpret.config import TITLES, InterpretConfig
from netassay.studies.aitac.interpret.findings import factor_names

_BEYOND = 6  # columns of a known motif that are shown before and behind the filter
_UNKNOWN = 12  # filters without a match that are drawn
_PROFILES = 20  # filters whose profile is drawn
_TICKS = "datum.value < 0.001 ? format(datum.value, '~e') : datum.label"
_FEWEST = 5  # sites of a filter that is drawn without a match


class Terms(NamedTuple):
    """Terms of a layer's section: the beginning of file names, one filter, all of them."""

    slug: str
    singular: str
    plural: str


def motif_items(
    tables: Mapping[str, pl.DataFrame], config: InterpretConfig, terms: Terms
) -> tuple[Figure | Table | Note, ...]:
    """Items of a section on the motifs of a layer, from the tables of `motif_tables`."""
    facts = facts_of(tables["facts"], lists=["silent"])
    items: list[Figure | Table | Note] = []
    if facts["simulated"]:
        items.append(Note("SIMULATED DATA: the sequences and heights were made by a program.", "warning"))
    if silent := facts["silent"]:
        names = ", ".join(silent[:20]) + (" …" if len(silent) > 20 else "")
        items.append(
            Note(f"{len(silent):,} of {tables['filters'].height:,} are active nowhere and have no motif: {names}.")
        )
    items += [
        Note(f"{count} {_singular(why) if count == 1 else why}.")
        for why, count in ((key[9:], count) for key, count in facts.items() if key.startswith("skipped: "))
    ]
    filters = tables["filters"].with_columns(label=_labels(tables["filters"], config.motif_q, terms))
    heights = _heights(tables["matrices"])
    sure = filters["filter"].is_in(list(factor_names(filters, config.motif_q)))
    like = filters.filter(sure).sort("q", "p")
    if heights:
        items += _beside(like, heights, tables["known"], config, terms)
        items += _unknown(filters.filter(~sure), heights, config, terms)
    if like.height:
        items.append(_profiles(like.head(_PROFILES), tables["profiles"], terms))
    items += [_shares(tables["shares"], facts, terms), _table(filters, config, terms)]
    return tuple(items)


def _singular(words: str) -> str:
    """A reason of `Matches.skipped` for one motif."""
    return words.replace("queries", "query", 1).replace("targets", "target", 1)


def _heights(table: pl.DataFrame) -> dict[str, Matrix]:
    """Letters of the motifs of a `matrix_table`, all as wide as the widest."""
    matrices = matrices_of_table(table)
    width = max((counts.shape[1] for counts in matrices.values()), default=0)
    return {
        name: letter_heights(np.pad(counts, ((0, 0), (0, width - counts.shape[1]))))
        for name, counts in matrices.items()
    }


def _beside(
    like: pl.DataFrame,
    heights: Mapping[str, Matrix],
    known_matrices: pl.DataFrame,
    config: InterpretConfig,
    terms: Terms,
) -> list[Figure | Note]:
    """Logos of the filters of smallest q, each beside its best match, columns aligned."""
    if not like.height:
        return [
            Note(
                f"None of the {terms.plural} is like a known motif with q and a false discovery rate below "
                f"{config.motif_q:g}.",
                "warning",
            )
        ]
    rows = like.head(config.motif_logos)
    targets = matrices_of_table(known_matrices.filter(pl.col("motif").is_in(rows["target"].to_list())))
    panels, starts = [], []
    for row in rows.iter_rows(named=True):
        matrix = letter_heights(targets[row["target"]])
        turned, strand = (matrix[::-1, ::-1], " (other strand)") if row["orientation"] == "-" else (matrix, "")
        title = f"{row['name'] or row['target']}, {row['target']}{strand}, q = {row['q']:.1g}"
        panels += [(f"{row['label']}, {row['sites']:,} sites", heights[row["filter"]]), (title, turned)]
        starts += [1, row["offset"] + 1]
    left_out = f" Shown are the {rows.height} of least q, of {like.height}." if like.height > rows.height else ""
    caption = (
        f"Left: the bases that a {terms.singular} sees at its sites, each letter as high as its share of the column's "
        f"information. Right: the known motif that it is most like (q and false discovery rate below "
        f"{config.motif_q:g}), column under column, "
        f"turned where it matches on the other strand. Horizontal: position in the {terms.singular}, from 1.{left_out}"
    )
    ends = [start + letters.shape[1] - 1 for start, (_, letters) in zip(starts, panels, strict=True)]
    chart = logos(panels, first=starts, positions=_positions(rows, starts, ends), columns=2, width=300, height=50)
    columns = [
        "filter",
        "consensus",
        "sites",
        "target",
        "name",
        "p",
        "q",
        "offset",
        "orientation",
        "overlap",
        "similarity",
    ]
    title = f"{terms.plural[0].upper()}{terms.plural[1:]} beside the known motifs they are like"
    return [Figure(f"{terms.slug}-logos", title, caption, chart, rows.select(columns))]


def _positions(rows: pl.DataFrame, starts: list[int], ends: list[int]) -> tuple[int, int]:
    """From the first to the last informative column of all filters, with a margin for known motifs."""
    first = int(rows["first column"].min())  # type: ignore[arg-type]
    last = int((rows["first column"] + rows["informative length"]).max()) - 1  # type: ignore[arg-type]
    return max(first - _BEYOND, min(starts)), min(last + _BEYOND, max(ends))


def _unknown(
    unnamed: pl.DataFrame, heights: Mapping[str, Matrix], config: InterpretConfig, terms: Terms
) -> list[Figure]:
    """Logos of the most informative filters without a known match."""
    unmatched = unnamed.filter(pl.col("sites") >= _FEWEST)
    rows = unmatched.sort("information", descending=True).head(_UNKNOWN)
    if not rows.height:
        return []
    panels = [(f"{row['label']}, {row['sites']:,} sites", heights[row["filter"]]) for row in rows.iter_rows(named=True)]
    caption = (
        f"The {rows.height} with most information among {unmatched.height} {terms.plural} that get no name and have "
        f"{_FEWEST} sites or more. They may be parts of motifs, unknown ones, or noise; {UNSURE}: like a known motif "
        f"(q below {config.motif_q:g}), but so are too many with their columns permuted."
    )
    data = rows.select("filter", "consensus", "sites", "information", "target", "name", "q")
    return [Figure(f"{terms.slug}-unknown", "Without a name", caption, logos(panels, columns=3), data)]


def _profiles(like: pl.DataFrame, profiles: pl.DataFrame, terms: Terms) -> Figure:
    """Where the peaks of the named filters are open: mean heights less those of all peaks."""
    heights = profiles.unpivot(index="filter", variable_name="cell type", value_name="height")
    everywhere = heights.filter(pl.col("filter") == "").select("cell type", overall="height")
    rows = like.select("filter", "label").join(heights, on="filter", maintain_order="left")
    data = rows.join(everywhere, on="cell type", maintain_order="left").select(
        "label", "filter", "cell type", "height", "overall", difference=(pl.col("height") - pl.col("overall")).round(3)
    )
    chart = heat_map(
        data,
        Axis("cell type"),
        Axis("label", title=terms.singular),
        Axis("difference", title="height above that of all peaks"),
        scheme="diverging",
        height=max(120, 24 * like.height),
    )
    return Figure(
        f"{terms.slug}-profiles",
        f"Where the peaks of the named {terms.singular}s are open",
        f"Mean observed height of the peaks in which a {terms.singular} has a site, minus the mean of all peaks. "
        f"In the order of q; shown: {like.height}.",
        chart,
        data,
    )


def _shares(shares: pl.DataFrame, facts: Mapping[str, Any], terms: Terms) -> Figure:
    kinds = [terms.plural, "the same, columns permuted"]
    colours = alt.Scale(domain=kinds, range=[NETWORK, NULL])
    rows = pl.concat(
        [
            shares.select("q", share=pl.col(column), kind=pl.lit(kind))
            for column, kind in zip(("filters", "permuted"), kinds, strict=True)
        ]
    )
    x = alt.X(
        "q:Q",
        title="q below",
        scale=alt.Scale(type="log", reverse=True, nice=False),
        axis=alt.Axis(labelExpr=_TICKS, values=[0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6]),
    )
    y = alt.Y("share:Q", title="share that is like a known motif", axis=alt.Axis(format=".0%", tickCount=5))
    colour = alt.Color("kind:N", title=None, scale=colours, legend=alt.Legend(columns=2, labelLimit=260))
    base = alt.Chart(rows).encode(x, y, colour)
    band = (
        alt.Chart(shares.rename({"permuted least": "least", "permuted most": "most"}))
        .mark_area(opacity=0.18, color=NULL)
        .encode(alt.X("q:Q"), alt.Y("least:Q"), alt.Y2("most:Q"))
    )
    tips = [
        alt.Tooltip("kind:N", title="motifs"),
        alt.Tooltip("q:Q", format=".1~e"),
        alt.Tooltip("share:Q", format=".1%"),
    ]
    points = base.mark_point(filled=True, size=55, opacity=1).encode(tooltip=tips)
    chart = alt.layer(band, base.mark_line(), points).properties(width=520, height=260)
    return Figure(
        f"{terms.slug}-shares",
        "How many are like a known motif, and how many by chance",
        f"Share of the {terms.plural} whose best match is below a q. Permuted: the same motifs with the columns "
        f"between their flanks in random order, mean and range of {facts['permutations']} permutations. Values above "
        "these were learned.",
        chart,
        shares,
    )


def _table(filters: pl.DataFrame, config: InterpretConfig, terms: Terms) -> Table:
    columns = [
        "filter", "factor", "sites", "peaks", "share of peaks", "information", "informative length", "consensus",
        "name", "target", "q", "fdr", "p", "offset", "orientation", "overlap", "similarity",
    ]  # fmt: skip
    data = (
        filters.sort(pl.col("q").fill_null(1), "filter")
        .select(name for name in columns if name in filters.columns)
        .rename({"name": "best match", "target": "its id"})
    )
    return Table(
        f"{terms.slug}-table",
        f"All {terms.plural}",
        "Information of all columns against equal shares of the bases; length between flanks of less than a quarter "
        "bit; consensus by Cavener's rules. The best match is given whatever its q. fdr: share of false ones among "
        f"all {terms.singular}s that are as like a known motif, measured on permuted ones. Where q and fdr are below "
        f"{config.motif_q:g} a {terms.singular} is called after the factor, or the family, with the members that were "
        f"met; where q alone is, it is {UNSURE}. "
        f"Offset: column of the {terms.singular}, from 0, where the known motif begins.",
        data,
        formats={
            "share of peaks": ".1%",
            "information": ".1f",
            "q": ".1e",
            "p": ".1e",
            "similarity": ".2f",
            **({"fdr": ".1%"} if "fdr" in data.columns else {}),
        },
        units={"information": "bits", "informative length": "bases"},
        first=("filter", "factor", "sites", "information", "consensus", "best match", "q", "fdr"),
    )


def _labels(filters: pl.DataFrame, q: float, terms: Terms) -> pl.Series:
    names = factor_names(filters, q)
    if "factor" in filters.columns:
        names |= dict.fromkeys(filters.filter(pl.col("factor") == UNSURE)["filter"], UNSURE)
    # a family's name has brackets of its own
    suffixes = {key: f", {name}" if "(" in name else f" ({name})" for key, name in names.items()}
    labels = [name.replace("filter_", f"{terms.singular} ") + suffixes.get(name, "") for name in filters["filter"]]
    return pl.Series(labels, dtype=pl.String)


def _layer_name(facts: Mapping[str, Any]) -> str:
    """The name of a layer that is not AI-TAC's."""
    layer = facts.get("layer", "convolution1")
    return "" if layer == "convolution1" else f" ({layer}, behind the norm and activation that follow it)"


def first_layer(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """Logos beside the known motifs, the share of filters that are like one beside the null, all filters."""
    facts = facts_of(tables["facts"])
    text = (
        f"A filter of the first layer{_layer_name(facts)} is active where it exceeds {config.motif_threshold:g} of its "
        f"greatest activation on the {facts['peaks']:,} peaks used ({facts['chosen']}). Its motif is the count of the "
        f"bases that it sees there. Known motifs ({facts['database']}) are compared with it by Tomtom; q is by "
        "Benjamini and Hochberg over all known motifs. Chance is measured by the same filters with the columns between "
        f"their flanks in random order; names are given where so measured no more than {config.motif_q:.0%} of them "
        "are false."
    )
    terms = Terms("aitac-motifs", "filter", "filters of the first layer")
    return Section(TITLES["motifs"], text, motif_items(tables, config, terms))


def second_layer(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """The same figures and table as for the first layer."""
    facts = facts_of(tables["facts"])
    text = (
        f"A channel of the second layer sees {facts['width']} bases. It is active where it exceeds "
        f"{config.second_layer_threshold:g} of its greatest activation, before pooling, on {facts['peaks']:,} peaks. "
        "Its motif is read, compared and judged as those of the first layer are; being a sum over all filters at "
        "several places, it may hold two sites at a distance, or several in one place that no single motif can show."
    )
    terms = Terms("aitac-second-layer", "channel", "channels of the second layer")
    return Section(TITLES["second_layer"], text, motif_items(tables, config, terms))


_LOGOS = 24  # clusters that are drawn
_REAL, _NULL = "filters", "columns permuted"


def reproducible(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """Number of filters that other runs also have, beside permuted ones, and the motifs that runs share."""
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
        _bars(times, x="other runs with a like filter", y="filters", colour="motif"),
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


def _bars(data: pl.DataFrame, *, x: str, y: str, colour: str) -> alt.Chart:
    """Bars of counts `y` side by side over the integers `x`, one colour per kind, in the order of the rows."""
    kinds = data[colour].unique(maintain_order=True).to_list()
    rows = data.select(x=pl.col(x), y=pl.col(y), kind=pl.col(colour))
    return (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            alt.X("x:O", title=x, axis=alt.Axis(labelAngle=0), scale=alt.Scale(paddingInner=0.25, paddingOuter=0.1)),
            alt.Y("y:Q", title=y),
            alt.XOffset("kind:N", sort=kinds),
            alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=colours(kinds, colour))),
            tooltip=[alt.Tooltip("kind:N", title=colour), alt.Tooltip("x:O", title=x), alt.Tooltip("y:Q", title=y)],
        )
        .properties(width=460, height=240)
    )


_SHARES = ("recall", "recall of visible", "precision", "columns permuted", "precision of the strongest")
ONE, SEVERAL = "one run", "clusters of several runs"


def recovery(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    """Which planted motifs and pairs were found, and false findings."""
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
            _recovery_dots(rows, -math.log10(config.recovery_q)),
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


def _recovery_dots(data: pl.DataFrame, threshold: float) -> alt.LayerChart:
    """One row per planted motif (`factor`), one dot per source (`by`) at `strength`, a line at `threshold`."""
    sources = data["by"].unique(maintain_order=True).to_list()
    names = data["factor"].unique(maintain_order=True).to_list()
    rows = data.select("factor", "by", "strength")
    marks = ["circle", "diamond", "square"][: len(sources)]
    title = "-log10 q of the surest finding"
    dots = (
        alt.Chart(rows)
        .mark_point(filled=True, size=80, opacity=0.9)
        .encode(
            alt.X("strength:Q", title=title, scale=alt.Scale(domain=[0, 10.3], nice=False)),
            alt.Y("factor:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(grid=True)),
            alt.YOffset("by:N", sort=sources, scale=alt.Scale(domain=sources, paddingOuter=0.4)),
            alt.Color("by:N", title=None, scale=alt.Scale(domain=sources, range=colours(sources, "by"))),
            alt.Shape("by:N", title=None, scale=alt.Scale(domain=sources, range=marks)),
            tooltip=["factor", "by", alt.Tooltip("strength:Q", title=title, format=".2f")],
        )
    )
    rule = alt.Chart(pl.DataFrame({"at": [threshold]})).mark_rule(strokeDash=[4, 3]).encode(alt.X("at:Q"))
    chart = alt.layer(rule, dots).properties(width=440, height=max(80, 22 * len(names)))
    return cast(alt.LayerChart, chart)
