"""Which filters and factors the network relies on: overall, by cell type, by lineage, over repetitions."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import torch

from netassay.reporting import Figure, Note, Section, Table
from netassay.studies.aitac.interpret import factor_charts
from netassay.studies.aitac.interpret.ablation import Ablation
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.discoveries import q_values
from netassay.studies.aitac.interpret.hierarchy import clustered, ensemble, groups, hierarchy, joined
from netassay.studies.aitac.interpret.influence import Influence, influence_of
from netassay.studies.aitac.interpret.naming import filter_names
from netassay.studies.aitac.interpret.subject import Subject

NEEDS: tuple[str, ...] = ("motifs",)

_MAPPED, _LISTED, _LADDER = 30, 24, 8


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """filters and factors (filters of one motif ablated together), one row each; outputs: a row a factor and cell type;
    hierarchy: factors by lineage; facts; ensemble, where clusters of filters of several runs are known."""
    names = filter_names(subject, config.motif_q)
    ablation = ablated(subject, config)
    factors = joined(names, ablation.n_channels)
    single = influence_of(ablation, subject.heights)
    joint = influence_of(ablation, subject.heights, sets=factors.sets, names=factors.names)
    made = {
        "filters": _overall(single).with_columns(
            factor=pl.Series([names.get(i) for i in range(len(single.names))], dtype=pl.String)
        ),
        "factors": _overall(joint),
        "outputs": _outputs(joint, subject),
        "hierarchy": hierarchy(joint, subject.lineages),
        "facts": _facts(subject, config, single),
    }
    if subject.peers and ("reproducible", "members") in subject.found:
        made["ensemble"] = _ensemble(subject, config, single)
    return made


def ablated(subject: Subject, config: InterpretConfig, number: int = 0) -> Ablation:
    """The peaks of the subject before the first layer of its model, or of peer `number` from 1 on."""
    model = subject.peers[number - 1] if number else subject.model
    return Ablation(
        model,
        subject.codes,
        fill=config.fill,
        both_strands=subject.trained_by.strands == "augmented",
        precision=torch.bfloat16 if config.screening else torch.float32,
    )


def section(tables: Mapping[str, pl.DataFrame], config: InterpretConfig) -> Section:
    facts = dict(tables["facts"].iter_rows())
    factors, outputs = tables["factors"], tables["outputs"]
    items: list[Figure | Table | Note] = []
    if facts["simulated"] == "yes":
        items.append(Note("SIMULATED DATA: the factors are those a program planted.", "warning"))
    if int(facts["r undefined"]):
        items.append(
            Note(
                f"{facts['r undefined']} of {facts['peaks']} peaks have no defined r (a constant row) and are left "
                "out of the influence on r."
            )
        )
    items += [_against_null(factors), *_map(outputs, facts), _ladder(tables["hierarchy"]), _table(factors)]
    if "ensemble" in tables:
        items.append(_ensemble_table(tables["ensemble"]))
    text = (
        "A factor is ablated by putting the mean over the peaks, place by place, where its filters' output was (after "
        f"pooling and batch norm; fill {config.fill}), and the rest of the network is computed again. Filters that "
        f"match the same motif (q < {config.motif_q:g}) are ablated together as one factor; one without a match is "
        f"called by its number. Overall influence is the mean squared change of r, over {facts['peaks']} peaks; "
        "influence on a cell type the mean squared change of its prediction.\n\n"
        "The null asks what the same ablation would do to r if heights belonged to other peaks: its mean and spread "
        "over all orders of the peaks are computed, not drawn. Influence on a prediction is what the network does, and "
        "needs no null; whether it does right is told by the agreement, the correlation over peaks of what a factor "
        "adds with the observed height."
    )
    return Section("Influence", text, tuple(items))


def _overall(found: Influence) -> pl.DataFrame:
    columns = {
        "influence": found.overall, "null": found.null_overall, "signed": found.overall_signed,
        "signed_null": found.null_signed, "z": found.z, "p": found.p, "q": q_values(found.p),
        "on_predictions": found.by_output.mean(1),
    }  # fmt: skip
    return pl.DataFrame(
        {
            "set": list(found.names),
            "filters": [",".join(map(str, part)) for part in found.sets],
            **{name: values.numpy() for name, values in columns.items()},
            "undefined": found.undefined_without.tolist(),
        }
    ).with_columns(pl.col(*columns).fill_nan(None))


def _outputs(found: Influence, subject: Subject) -> pl.DataFrame:
    columns = {
        "influence": found.by_output, "signed": found.by_output_signed, "direction": found.direction,
        "agreement": found.agreement,
    }  # fmt: skip
    types, lineages = list(subject.cell_types), list(subject.lineages)
    return pl.DataFrame(
        {
            "set": [name for name in found.names for _ in types],
            "cell type": types * len(found.names),
            "lineage": [lineage or "none" for lineage in lineages] * len(found.names),
            **{name: values.flatten().numpy() for name, values in columns.items()},
        }
    ).with_columns(pl.col(*columns).fill_nan(None))


def _facts(subject: Subject, config: InterpretConfig, found: Influence) -> pl.DataFrame:
    facts = {
        "peaks": found.peaks, "r undefined": found.undefined, "filters": len(found.names), "fill": config.fill,
        "dead filters": int((found.by_output.sum(1) == 0).sum()),
        "strands": "both" if subject.trained_by.strands != "one" else "one",
        "precision": "bfloat16" if config.screening else "float32",
        "simulated": "yes" if subject.atlas.simulated else "no",
        "lineages": ", ".join(groups(subject.lineages)),
    }  # fmt: skip
    return pl.DataFrame({"fact": list(facts), "value": [str(value) for value in facts.values()]})


def _ensemble(subject: Subject, config: InterpretConfig, single: Influence) -> pl.DataFrame:
    others = [
        influence_of(ablated(subject, config, i), subject.heights) for i in range(1, len(subject.peers) + 1)
    ]
    numbers = {name: i for i, name in enumerate(subject.runs)}
    members = subject.earlier("reproducible", "members").with_columns(
        pl.col("run").replace_strict(numbers, return_dtype=pl.Int64)
    )
    return ensemble([single, *others], members).with_columns(
        **{
            "cell type": pl.col("output").replace_strict(
                dict(enumerate(subject.cell_types)), return_dtype=pl.String
            )
        }
    )


def _against_null(factors: pl.DataFrame) -> Figure:
    ranked = factors.sort("influence", descending=True, nulls_last=True).head(_LISTED).drop_nulls("influence")
    shown = ranked.with_columns(spread=((pl.col("signed") - pl.col("signed_null")) / pl.col("z")).abs())
    caption = (
        f"What the ablation of the {shown.height} most influential factors does to r: mean squared change, and mean "
        "fall (above 0: predictions are worse without the factor). Grey: the mean if heights belonged to other peaks, "
        "right with two standard deviations to either side. A factor outside them moves predictions along with what is "
        "observed."
    )
    chart = factor_charts.against_null(shown)
    return Figure("aitac-influence-null", "Influence on r and its null", caption, chart, shown)


def _map(outputs: pl.DataFrame, facts: Mapping[str, str]) -> list[Figure | Note]:
    strongest = outputs.group_by("set", maintain_order=True).agg(pl.col("influence").mean())
    kept = (
        strongest.filter(pl.col("influence") > 0)
        .sort("influence", descending=True)
        .head(_MAPPED)["set"]
        .to_list()
    )
    if not kept:
        return [Note("No factor changes any prediction.", "warning")]
    data = outputs.filter(pl.col("set").is_in(kept))
    wide = torch.stack([data.filter(pl.col("set") == name)["influence"].to_torch() for name in kept])
    order = [kept[i] for i in clustered(wide.clamp(min=1e-30).log())]
    lineages = data["lineage"].unique(maintain_order=True).to_list()
    caption = (
        f"Influence on the prediction of each cell type, of the {len(kept)} factors with the greatest mean, on a "
        "logarithmic scale; cell types by lineage, factors clustered by the shape of their logarithmic profile "
        "(average linkage of 1 - r)."
    )
    chart = factor_charts.influence_map(data, order, lineages)
    return [Figure("aitac-influence-map", "Influence by cell type", caption, chart, data)]


def _ladder(ranked: pl.DataFrame) -> Figure:
    shown = ranked.filter(pl.col("rank") <= _LADDER)
    caption = (
        f"The {_LADDER} factors with the greatest influence in each lineage, as shares of the sum over all factors. "
        "Colour: the correlation over peaks of what is taken away with what the prediction loses, the mean over cell "
        "types weighted by influence; above 0 the factor opens."
    )
    return Figure(
        "aitac-influence-lineages", "The hierarchy of factors", caption, factor_charts.ladder(shown), ranked
    )


def _table(factors: pl.DataFrame) -> Table:
    ranked = factors.sort("influence", descending=True, nulls_last=True)
    caption = (
        "Signed: the mean fall of r without the factor; null: the mean with heights of other peaks; z and two-sided q "
        "(Benjamini and Hochberg over factors) of the signed influence against it. On predictions: mean squared change "
        "over cell types. Undefined: peaks whose r ends with the factor."
    )
    formats = dict.fromkeys(("influence", "null", "signed", "signed_null", "p", "q", "on_predictions"), ".3g")
    return Table(
        "aitac-influence-factors", "Factors by influence", caption, ranked, formats={**formats, "z": ".1f"}
    )


def _ensemble_table(table: pl.DataFrame) -> Table:
    once = table.unique("cluster", keep="first", maintain_order=True).drop(
        "output", "cell type", "by_output", "by_output_spread"
    )
    ranked = once.sort("influence", descending=True)
    caption = (
        "Overall influence of matched filters, summed within each run: mean and standard deviation over the runs that "
        "have the cluster."
    )
    formats = dict.fromkeys(("influence", "spread", "influence_signed", "spread_signed"), ".3g")
    return Table("aitac-influence-ensemble", "Influence over repetitions", caption, ranked, formats=formats)
