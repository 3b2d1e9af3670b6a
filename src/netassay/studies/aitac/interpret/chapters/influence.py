"""Which filters and factors the network relies on: overall, by cell type, by lineage, over repetitions."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import torch

from netassay.dna.influence.ablation import Ablation
from netassay.dna.influence.factors import ensemble, groups, hierarchy, join_filters
from netassay.dna.influence.singles import Influence, influence_of
from netassay.dna.motifs.match import q_values
from netassay.dna.network.losses import outputs_in_words
from netassay.dna.network.network import Network
from netassay.runs.facts import fact_table
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.subject import Subject, filter_names


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """filters and factors (filters of one motif ablated together), one row each; outputs: one per factor and cell
    type; hierarchy: factors by lineage; facts; ensemble, if clusters of filters of several runs are known."""
    names = filter_names(subject, config.motif_q)
    ablation = ablation_of(subject, config)
    factors = join_filters(names, ablation.n_channels)
    single = influence_of(ablation, subject.heights)
    joint = influence_of(ablation, subject.heights, sets=factors.sets, names=factors.names)
    frames = {
        "filters": _overall(single).with_columns(
            factor=pl.Series([names.get(i) for i in range(len(single.names))], dtype=pl.String)
        ),
        "factors": _overall(joint),
        "outputs": _outputs(joint, subject),
        "hierarchy": hierarchy(joint, subject.lineages),
        "facts": _facts(subject, config, single),
    }
    if subject.peers and ("reproducible", "members") in subject.tables:
        frames["ensemble"] = _ensemble(subject, config, single)
    return frames


def ablation_of(subject: Subject, config: InterpretConfig, number: int = 0) -> Ablation:
    """The ablation of the subject's network, or of peer `number` (from 1), on its peaks."""
    network = (subject.network, *subject.peers)[number]
    return Ablation(with_precision(network, config), subject.codes, layer=subject.ablated_layer, fill=config.fill)


def with_precision(network: Network, config: InterpretConfig) -> Network:
    """The network in the precision for influence and pairs."""
    return replace(network, precision=torch.bfloat16 if config.screening else torch.float32)


def _overall(influence: Influence) -> pl.DataFrame:
    columns = {
        "influence": influence.overall,
        "null": influence.null_overall,
        "signed": influence.overall_signed,
        "signed_null": influence.null_signed,
        "z": influence.z,
        "p": influence.p,
        "q": q_values(influence.p),
        "on_predictions": influence.by_output.mean(1),
    }
    return pl.DataFrame(
        {
            "set": list(influence.names),
            "filters": [",".join(map(str, part)) for part in influence.sets],
            **{name: values.numpy() for name, values in columns.items()},
            "undefined": influence.undefined_without.tolist(),
        }
    ).with_columns(pl.col(*columns).fill_nan(None))


def _outputs(influence: Influence, subject: Subject) -> pl.DataFrame:
    columns = {
        "influence": influence.by_output,
        "signed": influence.by_output_signed,
        "direction": influence.direction,
        "agreement": influence.agreement,
    }
    types, lineages = list(subject.cell_types), list(subject.lineages)
    return pl.DataFrame(
        {
            "set": [name for name in influence.names for _ in types],
            "cell type": types * len(influence.names),
            "lineage": [lineage or "none" for lineage in lineages] * len(influence.names),
            **{name: values.flatten().numpy() for name, values in columns.items()},
        }
    ).with_columns(pl.col(*columns).fill_nan(None))


def _facts(subject: Subject, config: InterpretConfig, influence: Influence) -> pl.DataFrame:
    facts = {
        "peaks": influence.peaks,
        "r undefined": influence.undefined,
        "filters": len(influence.names),
        "fill": config.fill,
        "dead filters": int((influence.by_output.sum(1) == 0).sum()),
        "strands": "both" if subject.network.hears_both else "one",
        "precision": "bfloat16" if config.screening else "float32",
        "simulated": subject.atlas.simulated,
        "outputs": outputs_in_words(subject.network.less_mean),
        "ablated": f"of layer {layer}" if (layer := subject.ablated_layer) else "after pooling and batch norm",
        "lineages": list(groups(subject.lineages)),
    }
    return fact_table(facts)


def _ensemble(subject: Subject, config: InterpretConfig, single: Influence) -> pl.DataFrame:
    peers = [influence_of(ablation_of(subject, config, i), subject.heights) for i in range(1, len(subject.peers) + 1)]
    numbers = {name: i for i, name in enumerate(subject.runs)}
    members = subject.earlier("reproducible", "members").with_columns(
        pl.col("run").replace_strict(numbers, return_dtype=pl.Int64)
    )
    return ensemble([single, *peers], members).with_columns(
        **{"cell type": pl.col("output").replace_strict(dict(enumerate(subject.cell_types)), return_dtype=pl.String)}
    )
