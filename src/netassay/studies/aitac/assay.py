"""One run of the aitac study: from its config to recorded numbers, tables and a summary."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import polars as pl
import torch
from torch import Tensor

from netassay import training
from netassay.dna.ceiling.areas import area_intervals
from netassay.dna.ceiling.bootstrap import blocks_of
from netassay.dna.ceiling.limit import ceiling_of
from netassay.dna.ceiling.verdict import beyond_means
from netassay.dna.network import evaluate
from netassay.dna.network.classes import CLASSES
from netassay.dna.network.network import offset_is_free, pearson_rows, predict
from netassay.nets.sequence_cnn import AITAC
from netassay.numerics.devices import generator
from netassay.runs import Run, State
from netassay.runs.facts import fact_table
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.devices.leader import leading
from netassay.studies.aitac.findings import CENTRED, SPREADS, finite
from netassay.studies.aitac.fit import Fit, Material, material, network_of
from netassay.studies.aitac.fit import config_of as config_of
from netassay.studies.aitac.fit import trained as trained
from netassay.studies.aitac.reduction import reduction
from netassay.studies.aitac.start import start_of

PROFILES = 3
"""Number of peaks of each class whose profile is shown."""

_SETS = {"train": "training", "validation": "validation", "test": "test"}


def model(run: Run) -> AITAC:
    """The network of a run with the weights of its best epoch, in evaluation mode."""
    return trained(run)


def assay(config: AitacConfig, recorder: training.Recorder, **keywords: Any) -> training.Result:
    """Trains the network of `config` and scores its best epoch; keywords go to `training.train`."""
    data = material(config)
    start = start_of(config, outputs=data.heights.shape[1], length=data.codes.shape[1])
    initial = (start.reduced(), start.digest) if start else ()
    with leading(config, data, *initial) if config.devices > 1 else nullcontext(Fit(config, data, *initial)) as fit:
        return training.train(
            fit,
            recorder,
            steps=fit.steps,
            done=fit.ends_at,
            divergence_factor=config.divergence_factor,
            **keywords,
        )


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """Tables of the test set, with the weights of the best epoch, and of the atlas.

    peaks: r, that of the column means, that beyond them, variance and class of each; cell_types; classes; profiles of
    some peaks of each class; predictions; ceiling, if the atlas has halves; reduction, if the run started from another
    network; atlas and dropped, the counts of peaks. A diverged run has only the last two.
    """
    config = config_of(run)
    data = material(config)
    frames = {"atlas": _atlas_table(data), "dropped": _dropped_table(data)}
    rows = data.split.test
    if run.state is not State.FINISHED or not len(rows):
        return frames
    model = trained(run, length=data.codes.shape[1])
    output = predict(network_of(config, model), data.codes[rows])
    frames |= test_tables(data, output, free_offset=offset_is_free(config.loss))
    start = start_of(config, outputs=data.heights.shape[1], length=data.codes.shape[1])
    return frames | ({"reduction": reduction(start, config, data, output)} if start else {})


def test_tables(data: Material, output: Tensor, *, free_offset: bool = False) -> dict[str, pl.DataFrame]:
    """Tables of the test set from its predictions (test peaks, cell types); `free_offset` as for `evaluate.scores`."""
    rows = data.split.test
    observed = data.heights[rows]
    r = pearson_rows(output, observed)
    means = data.heights[data.split.train].mean(dim=0).expand_as(observed)
    classes = evaluate.class_of(r)
    where = data.atlas.peaks[rows.numpy()].select("name", "chromosome", "start", "end")
    r_baseline = pearson_rows(means, observed)
    beyond = beyond_means(r.numpy(), r_baseline.numpy(), pearson_rows(output, means).numpy())
    peaks = where.with_columns(
        r=_column(r),
        r_baseline=_column(r_baseline),
        r_beyond=_column(torch.from_numpy(beyond)),
        variance=_column(observed.double().var(dim=1, correction=0)),
        **{name: _column(values) for name, values in evaluate.height_spread(observed).items()},
        **{"class": pl.Series(classes, dtype=pl.String)},
    )
    types = _cell_type_table(data, output, observed, free_offset)
    ceilings: dict[str, pl.DataFrame] = {}
    if data.atlas.halves is not None:
        ceilings, peaks, types = _ceilings(data, peaks, types, free_offset)
    return {
        **ceilings,
        "peaks": peaks,
        "cell_types": types,
        "classes": class_table(peaks),
        "profiles": _profiles(data, output, observed, peaks),
        "predictions": where.select("name").hstack(
            [pl.Series(f"predicted {name}", output[:, i].numpy()) for i, name in enumerate(data.atlas.cell_types)]
        ),
    }


def _ceilings(
    data: Material, peaks: pl.DataFrame, types: pl.DataFrame, free_offset: bool
) -> tuple[dict[str, pl.DataFrame], pl.DataFrame, pl.DataFrame]:
    """The table of the ceiling, and those of peaks and cell types with their ceilings added."""
    assert data.atlas.halves is not None
    ceiling = ceiling_of(
        data.atlas.halves[data.split.test].numpy(),
        peaks,
        cell_types=data.atlas.cell_types,
        centred=free_offset,
    )
    rows = [("ceiling", *ceiling.overall), ("r of halves", *ceiling.reliability)]
    schema = {"what": pl.String, **dict.fromkeys(("value", "low", "high"), pl.Float64)}
    table = (
        pl.DataFrame(rows, schema=schema, orient="row")
        .fill_nan(None)
        .with_columns(resampled=pl.lit(ceiling.resampled), note=pl.lit(ceiling.note))
    )
    of_types = ceiling.cell_types.select(
        "ceiling", pl.col("low").alias("ceiling low"), pl.col("high").alias("ceiling high")
    )
    return {"ceiling": table}, peaks.hstack(ceiling.peaks), types.hstack(of_types)


def class_table(peaks: pl.DataFrame) -> pl.DataFrame:
    """Peaks in each class of r: count, share of all with a defined r, mean r, spread of their observed heights.

    Of the standard deviation and the interquartile range of a peak's heights over the cell types: median and quartiles
    over the peaks of the class. A class without peaks has count 0 and no numbers.
    """
    defined = peaks.drop_nulls("r")
    rows = []
    for name in CLASSES:
        members = defined.filter(pl.col("class") == name)
        row: dict[str, Any] = {
            "class": name,
            "peaks": len(members),
            "share": len(members) / len(defined) if len(defined) else None,
            "r mean": members["r"].mean(),
        }
        for kind in SPREADS:
            low, middle, high = (members[kind].quantile(q, "linear") for q in (0.25, 0.5, 0.75))
            row |= {kind: middle, f"{kind} lower quartile": low, f"{kind} upper quartile": high}
        rows.append(row)
    numbers = dict.fromkeys(("share", "r mean", *list(rows[0])[4:]), pl.Float64)
    return pl.DataFrame(rows, schema_overrides=numbers)


def _column(values: Tensor) -> pl.Series:
    return pl.Series([finite(value) for value in values.tolist()], dtype=pl.Float64)


def _cell_type_table(data: Material, output: Tensor, observed: Tensor, free_offset: bool) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "cell type": list(data.atlas.cell_types),
        "lineage": list(data.atlas.lineages),
        CENTRED if free_offset else "r": _column(evaluate.pearson_columns(output, observed, free_offset=free_offset)),
    }
    if data.one_of_k or data.labels:
        guess = evaluate.evidence(output, one_of_k=data.one_of_k, free_offset=free_offset)
        ranks = [evaluate.area_scores(guess[:, i], observed[:, i]) for i in range(observed.shape[1])]
        columns |= {
            "AUROC": _column(torch.tensor([rank.auroc for rank in ranks], dtype=torch.float64)),
            "AUPRC": _column(torch.tensor([rank.auprc for rank in ranks], dtype=torch.float64)),
            "share open": _column(torch.tensor([rank.open_share for rank in ranks], dtype=torch.float64)),
        }
        blocks = blocks_of(data.atlas.peaks[data.split.test.numpy()])
        for i in range(observed.shape[1]):
            areas = area_intervals(guess[:, i].numpy(), observed[:, i].numpy() == 1, blocks)
            for name, area in zip(("AUROC", "AUPRC"), areas, strict=True):
                for side, bound in (("low", area.low), ("high", area.high)):
                    columns.setdefault(f"{name} {side}", []).append(finite(bound))
    return pl.DataFrame(columns)


def _profiles(data: Material, output: Tensor, observed: Tensor, peaks: pl.DataFrame) -> pl.DataFrame:
    """Observed and rescaled predicted heights of up to PROFILES random peaks of each class, one row per cell type."""
    draws = generator(0, "profiles")
    scaled = evaluate.rescaled(output, observed)
    frames = []
    for name in CLASSES:
        members = torch.tensor(peaks["class"].eq_missing(name).arg_true().to_list(), dtype=torch.int64)
        sample = members[torch.randperm(len(members), generator=draws)[:PROFILES]].tolist()
        frames += [_profile(data, name, peaks.row(i, named=True), observed[i], scaled[i]) for i in sample]
    words, number = pl.String, pl.Float64
    schema = {
        "class": words,
        "peak": words,
        "r": number,
        "cell type": words,
        "lineage": words,
        "observed": number,
        "predicted": number,
    }
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _profile(data: Material, name: str, peak: dict[str, Any], observed: Tensor, predicted: Tensor) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "class": name,
            "peak": peak["name"],
            "r": peak["r"],
            "cell type": list(data.atlas.cell_types),
            "lineage": list(data.atlas.lineages),
            "observed": observed.tolist(),
            "predicted": predicted.tolist(),
        }
    )


def _atlas_table(data: Material) -> pl.DataFrame:
    atlas = data.atlas
    facts = {
        "source": atlas.source or "not said",
        "simulated": atlas.simulated,
        "digest": atlas.digest,
        "length": atlas.length,
        "cell types": len(atlas.cell_types),
        "peaks": len(atlas),
        **{f"{word} peaks": len(getattr(data.split, name)) for name, word in _SETS.items()},
    }
    return fact_table(facts)


def _dropped_table(data: Material) -> pl.DataFrame:
    rows = [("left out", reason, count) for reason, count in data.atlas.dropped.items()]
    rows += [("kept", reason, count) for reason, count in data.atlas.notes.items()]
    return pl.DataFrame(rows, schema={"what": pl.String, "reason": pl.String, "peaks": pl.Int64}, orient="row")
