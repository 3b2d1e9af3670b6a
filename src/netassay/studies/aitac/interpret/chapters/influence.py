"""Chapters on what the network loses without a factor, and how two factors interact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import torch
from torch import Tensor

from netassay.dna.atlas.atlas import shuffle_dinucleotides
from netassay.dna.influence.ablation import Ablation
from netassay.dna.influence.pairs import Interactions, interactions_of
from netassay.dna.influence.singles import Influence, groups, hierarchy, influence_of, join_filters
from netassay.dna.influence.synergy import Curves, spacing
from netassay.dna.motifs.match import q_values
from netassay.dna.motifs.truth import planted_motifs
from netassay.dna.network.network import Network, outputs_in_words
from netassay.errors import DataError
from netassay.formats.motifs import Motifs
from netassay.nets.sequence_cnn import STAGES
from netassay.runs.facts import fact_table
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.sections.influence import Q_VALUE
from netassay.studies.aitac.interpret.subject import Subject, filter_names


def influence(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
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
        joint = [float(value) for value in (mean, spread, mean_signed, spread_signed)]
        rows += [
            (cluster[0], len(sums), part.height, *joint, i, float(means[i]), float(spreads[i]))
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
    undefined = pl.col("spread", "spread_signed", "by_output_spread").fill_nan(None)
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(undefined)


def _over_runs(values: Tensor) -> tuple[Tensor, Tensor]:
    spread = values.std(0) if len(values) > 1 else torch.full_like(values[0], torch.nan)
    return values.mean(0), spread


_FURTHEST = 60  # bases between the centres of two planted motifs


def pairs(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """pairs: one row per pair and lineage; the tested factors; spacing: planted pairs by distance; facts."""
    factors = subject.earlier("influence", "factors")
    tested = factors.filter(pl.col("on_predictions") > 0).sort("on_predictions", descending=True)
    tested = tested.head(config.pair_factors)
    if tested.height < 2:
        raise DataError(f"{tested.height} factor changes any prediction; pairs need two or more")
    sets = [tuple(int(i) for i in part.split(",")) for part in tested["filters"]]
    interactions = interactions_of(
        ablation_of(subject, config),
        sets,
        names=tested["set"].to_list(),
        lineages=subject.lineages,
        site_share=config.site_share,
        within=reach(subject, config),
        permutations=config.permutations,
        generator=subject.generator("pairs"),
    )
    pairs = _pair_table(interactions, subject.cell_types)
    facts = {
        "peaks": len(subject.codes),
        "pairs": len(interactions.pairs),
        "permutations": config.permutations,
        "backgrounds": config.backgrounds,
        "simulated": subject.atlas.simulated,
        "outputs": outputs_in_words(subject.network.less_mean),
    }
    return {
        "pairs": pairs,
        "factors": tested.select("set", "filters", "on_predictions"),
        "spacing": _spacing(
            subject, config, pairs, dict(zip(interactions.names, interactions.sets, strict=True)), interactions.curves
        ),
        "facts": fact_table(facts),
    }


def reach(subject: Subject, config: InterpretConfig) -> int:
    """`pair_reach` in positions of the ablated layer: after AI-TAC's first pooling, or of a convolution."""
    stride = STAGES[0].pool if subject.network.aitac else subject.motifs.field.stride
    return config.pair_reach // stride


def _pair_table(interactions: Interactions, cell_types: Sequence[str]) -> pl.DataFrame:
    lineages = len(interactions.groups)
    best = interactions.by_output.abs().nan_to_num(-1).argmax(1)
    strongest = interactions.by_output.gather(1, best[:, None])[:, 0]
    first, second = (
        [interactions.names[i] for i in column for _ in range(lineages)] for column in interactions.pairs.T.tolist()
    )
    numbers = {
        "effect": interactions.effect,
        "matched": interactions.matched,
        "difference": interactions.difference,
        "alone": interactions.alone,
        "p": interactions.p,
        "q": interactions.q,
    }
    return pl.DataFrame(
        {
            "first": first,
            "second": second,
            "lineage": list(interactions.groups) * len(interactions.pairs),
            "both": interactions.both_sites.repeat_interleave(lineages).numpy(),
            "one": interactions.one_site.repeat_interleave(lineages).numpy(),
            "apart": interactions.apart.repeat_interleave(lineages).numpy(),
            **{name: values.flatten().numpy() for name, values in numbers.items()},
            "cell type": pl.Series(
                [
                    cell_types[i] if n else None
                    for i, n in zip(best.tolist(), interactions.both_sites, strict=True)
                    for _ in interactions.groups
                ],
                dtype=pl.String,
            ),
            "there": strongest.repeat_interleave(lineages).numpy(),
            "curve": [not interactions.curves.straight] * (lineages * len(interactions.pairs)),
        }
    ).with_columns(pl.col(*numbers, "there").fill_nan(None))


def _spacing(
    subject: Subject,
    config: InterpretConfig,
    pairs: pl.DataFrame,
    sets: Mapping[str, tuple[int, ...]],
    curves: Curves,
) -> pl.DataFrame:
    schema = {
        "first": pl.String,
        "second": pl.String,
        "cell type": pl.String,
        "orientation": pl.String,
        "distance": pl.Float64,
        "synergy": pl.Float64,
        "error": pl.Float64,
        "null": pl.Float64,
        "null_error": pl.Float64,
        "planted": pl.Float64,
    }
    draws = subject.generator("backgrounds")
    sample = torch.randperm(len(subject.codes), generator=draws)[: config.backgrounds]
    if len(sample) < 2:
        return pl.DataFrame(schema=schema)
    backgrounds = shuffle_dinucleotides(subject.codes[sample], draws)
    frames = [pl.DataFrame(schema=schema)]
    for first, second, cell_type in _pairs_to_plant(subject, config, pairs):
        motifs = [_motif(subject, name, sets[name]) for name in (first, second)]
        near = (motifs[0].shape[1] + motifs[1].shape[1] + 1) // 2
        far = min(max(_FURTHEST, near), subject.codes.shape[1] - motifs[0].shape[1] - motifs[1].shape[1])
        if not min(motif.shape[1] for motif in motifs) or far < near:
            continue
        spacings = spacing(
            with_precision(subject.network, config),
            motifs[0],
            motifs[1],
            backgrounds,
            generator=draws,
            distances=range(near, far + 1),
            curves=curves,
        )
        output = subject.cell_types.index(cell_type)
        null, null_error = (values[:, output].tolist() for values in (spacings.null, spacings.null_error))
        frames += [
            pl.DataFrame(
                {
                    "first": first,
                    "second": second,
                    "cell type": cell_type,
                    "orientation": kind,
                    "distance": spacings.distances.tolist(),
                    "synergy": spacings.synergy[i, :, output].tolist(),
                    "error": spacings.error[i, :, output].tolist(),
                    "null": null,
                    "null_error": null_error,
                    "planted": _planted_distance(subject, first, second),
                },
                schema=schema,
            )
            for i, kind in enumerate(spacings.orientations)
        ]
    return pl.concat(frames)


def _pairs_to_plant(subject: Subject, config: InterpretConfig, pairs: pl.DataFrame) -> list[tuple[str, str, str]]:
    """Pairs to plant, each with the cell type of its strongest interaction: planted ones first, then by strength."""
    candidates = (
        pairs.with_columns(sure=(pl.col("q") < Q_VALUE).fill_null(False))
        .group_by("first", "second", "cell type", "there", maintain_order=True)
        .agg(pl.col("sure").any())
        .drop_nulls("there")
        .sort("sure", pl.col("there").abs(), descending=True, maintain_order=True)
    )
    rows = candidates.select("first", "second", "cell type").rows()
    rows.sort(key=lambda row: _planted_distance(subject, row[0], row[1]) is None)
    return rows[: config.scanned_pairs]


def _planted_distance(subject: Subject, first: str, second: str) -> float | None:
    if "pairs" not in subject.truth:
        return None
    for a, b, distance in subject.truth["pairs"].select("first", "second", "distance").iter_rows():
        if {a, b} == {first, second}:
            return float(distance)
    return None


def _motif(subject: Subject, name: str, filters: tuple[int, ...]) -> Tensor:
    """The planted motif of that name, else that of the factor's filter with most information, without its flanks."""
    motifs: Motifs = subject.motifs
    rows = list(filters)
    if subject.truth and name in (truth := planted_motifs(subject.truth)).names:
        motifs, rows = truth, [truth.names.index(name)]
    bits = motifs.information[rows].sum(1)
    best = rows[int(bits.argmax())]
    return motifs.pwm[best][:, slice(*motifs.spans[best])]
