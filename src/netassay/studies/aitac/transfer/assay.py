"""One transfer: the scores beside their nulls, then the ranks of the filters in both atlases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool
from torch import Tensor

from netassay.dna.agreement import species
from netassay.dna.agreement.overlap import by_sequence
from netassay.dna.atlas.atlas import Atlas
from netassay.dna.atlas.named import find_atlas
from netassay.dna.network import evaluate
from netassay.dna.network.network import is_one_of_k, outputs_in_words, pearson_rows, predict
from netassay.errors import DataError
from netassay.numerics.devices import generator
from netassay.runs import RunWriter, Store
from netassay.runs.facts import fact_table
from netassay.studies.aitac.findings import CENTRED
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.subject import Subject
from netassay.studies.aitac.transfer.config import TransferConfig
from netassay.studies.aitac.transfer.findings import BASELINE, MAP, ROWS, TRANSFER
from netassay.studies.aitac.transfer.findings import tables as tables
from netassay.studies.aitac.transfer.ranks import rank_tables
from netassay.training import Checkpoint, Metric, Result, stages

_PARTS = ("scores", "ranks")
_WORD, _SHORTEST = 24, 8  # bases of the words that identify a sequence


def assay(
    config: TransferConfig,
    recorder: RunWriter,
    *,
    commit_seconds: float = 10.0,
    watch: Callable[[int, Mapping[Metric, float]], None] = lambda step, values: None,
) -> Result:
    """Makes the missing tables; a checkpoint is committed after the scores and after the ranks."""
    latest = recorder.latest()
    if latest is not None and "trained_on" not in latest.facts:
        config = config.replace(trained_on="keep")  # begun by 0.1.0, which kept them: resuming gives the same numbers
    setting = setting_of(config, Store(recorder.folder.parent))
    facts: dict[str, Any] = {"weights": setting.subject.weights_digest, "atlas": setting.atlas.digest}
    if latest is not None and any(latest.facts[key] != value for key, value in facts.items()):
        raise DataError(
            f"run {config.run} or atlas {config.atlas!r} was changed since this transfer began; begin it again with "
            "--from-step 0"
        )
    facts["trained_on"] = config.trained_on
    if latest is None:
        recorder.commit(Checkpoint(0, {}, facts))

    def make(step: int) -> dict[Metric, float]:
        if _PARTS[step] == "scores":
            frames = score_tables(setting)
        else:
            frames = rank_tables(setting.subject, config, setting.codes, setting.heights, setting.map)
        for name, frame in frames.items():
            recorder.write_table(name, frame)
        return {("rows", _PARTS[step]): float(sum(frame.height for frame in frames.values()))}

    return stages(recorder, make, facts=lambda: facts, names=[f"the {part}" for part in _PARTS], watch=watch)


@dataclass(frozen=True, eq=False)
class Setting:
    """The network, the other atlas, the rows of it that are used, and the map between their cell types."""

    config: TransferConfig
    subject: Subject
    atlas: Atlas
    index: Tensor
    map: species.CellTypeMap
    trained_peaks: int
    """Peaks of the atlas whose sequence was trained on; left out of `index` unless the config keeps them."""

    @property
    def codes(self) -> Tensor:
        """Sequences of the peaks that are used."""
        return self.atlas.codes[self.index]

    @property
    def heights(self) -> Tensor:
        """Their heights in the mapped cell types."""
        return self.map.heights(self.atlas.heights[self.index])


def setting_of(config: TransferConfig, store: Store) -> Setting:
    """The inputs of a transfer. Raises DataError if network, atlas and map do not fit each other."""
    looked_at = InterpretConfig(
        run=config.run, most_peaks=config.influence_peaks, seed=config.seed, device=config.device
    )
    subject = Subject(looked_at, store)
    atlas = find_atlas(config.atlas)
    if atlas.length != subject.atlas.length:
        raise DataError(
            f"the network of run {config.run} reads {subject.atlas.length} bases and the peaks of atlas "
            f"{config.atlas!r} have {atlas.length}; build that atlas with --width {subject.atlas.length}, or train a "
            f"network on peaks of {atlas.length} bases"
        )
    types = species.cell_type_map(config.pairs, subject.cell_types, atlas.cell_types)
    trained = trained_on(subject, atlas)
    usable = ~trained if config.trained_on == "leave-out" else torch.ones_like(trained)
    index = usable.nonzero()[:, 0]
    if not len(index):
        raise DataError(
            f"the network of run {config.run} was trained on the sequences of all {len(atlas):,} peaks of atlas "
            f"{config.atlas!r}; give another atlas, or keep them: --trained-on keep"
        )
    if 0 < config.most_peaks < len(index):
        order = torch.randperm(len(index), generator=generator(config.seed, "transfer", "peaks"))
        index = index[order[: config.most_peaks].sort().values]
    return Setting(config, subject, atlas, index, types, int(trained.sum()))


def trained_on(subject: Subject, atlas: Atlas) -> Bool[Tensor, " peaks"]:
    """Whether the network was trained, or its epoch chosen, on each peak of the atlas, on either strand.

    Compares the bases, to find the same region in another atlas even if shifted or on the other strand: a peak that
    shares at least half of its words (24 bases, fewer in shorter peaks) with one or more such sequences.
    """
    split, codes = subject.material.split, subject.material.codes
    training_codes = codes[torch.cat([split.train, split.validation])]
    k = min(_WORD, atlas.length)
    if k < _SHORTEST or not len(training_codes):
        return torch.zeros(len(atlas), dtype=torch.bool)
    threshold = (atlas.length - k + 2) // 2
    return torch.from_numpy(
        by_sequence(atlas.codes.numpy(), list(training_codes.numpy()), k=k, min_words=threshold).marked
    )


def score_tables(setting: Setting) -> dict[str, pl.DataFrame]:
    """Tables scores, peaks, cell_types, map and facts."""
    config, subject, atlas = setting.config, setting.subject, setting.atlas
    output = predict(subject.network, setting.codes, precision=getattr(torch, subject.trained_by.precision))
    predicted = setting.map.predictions(output)
    observed = setting.heights
    draws = generator(config.seed, "transfer", "nulls")
    rows = species.permuted_rows(observed, draws, config.permutations)
    maps = species.permuted_maps(predicted, draws, config.permutations)
    means = observed.mean(dim=0).expand_as(observed)
    one_of_k, free = is_one_of_k(observed), subject.network.less_mean
    cases = {
        TRANSFER: [(predicted, observed)],
        ROWS: [(predicted, moved) for moved in rows],
        MAP: [(moved, observed) for _, moved in maps],
        BASELINE: [(means, observed)],
    }
    positions = setting.index.numpy()
    peaks = (
        atlas.peaks[positions]
        .select("name", "chromosome", "start", "end")
        .with_columns(
            variance=pl.Series(observed.double().var(dim=1, correction=0).numpy()),
            **{f"r {name}": _column(pearson_rows(*pairs[0])) for name, pairs in cases.items()},
        )
    )
    return {
        "scores": _scores(cases, one_of_k, free),
        "peaks": peaks,
        "cell_types": _cell_types(setting, predicted, observed, rows, one_of_k),
        "map": _map(setting),
        "facts": _facts(setting),
    }


def _scores(cases: Mapping[str, list[tuple[Tensor, Tensor]]], one_of_k: bool, free_offset: bool) -> pl.DataFrame:
    """model, score, value (mean over the draws of a null), low and high (the smallest and largest draw), draws."""
    rows = []
    for model, pairs in cases.items():
        draws = [
            evaluate.scores(predicted, observed, one_of_k=one_of_k, free_offset=free_offset)
            for predicted, observed in pairs
        ]
        for score in draws[0]:
            values = np.array([marks[score] for marks in draws])
            finite = values[np.isfinite(values)]
            summary = (finite.mean(), finite.min(), finite.max()) if len(finite) else (None,) * 3
            rows.append((model, score, *(None if t is None else float(t) for t in summary), len(draws)))
    schema = {
        "model": pl.String,
        "score": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "draws": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _cell_types(
    setting: Setting, predicted: Tensor, observed: Tensor, rows: list[Tensor], one_of_k: bool
) -> pl.DataFrame:
    """One row per cell type: r over peaks, its range under permuted rows, for one-of-k AUROC and AUPRC."""
    free = setting.subject.network.less_mean
    null = torch.stack([evaluate.pearson_columns(predicted, moved, free_offset=free) for moved in rows])
    lineages = dict(zip(setting.atlas.cell_types, setting.atlas.lineages, strict=True))
    columns: dict[str, Any] = {
        "cell type": list(setting.map.targets),
        "lineage": [lineages[name] for name in setting.map.targets],
        "stands for it": [", ".join(names) for names in setting.map.sources],
        CENTRED if free else "r": _column(evaluate.pearson_columns(predicted, observed, free_offset=free)),
        "null low": _column(null.min(dim=0).values),
        "null high": _column(null.max(dim=0).values),
    }
    if one_of_k:
        ranks = [evaluate.rank_scores(predicted, observed, i) for i in range(observed.shape[1])]
        columns["AUROC"] = _column(torch.tensor([rank.auroc for rank in ranks], dtype=torch.float64))
        columns["AUPRC"] = _column(torch.tensor([rank.auprc for rank in ranks], dtype=torch.float64))
    return pl.DataFrame(columns)


def _map(setting: Setting) -> pl.DataFrame:
    """source, target; null on the side without a partner."""
    pairs: list[tuple[str | None, str | None]] = list(setting.config.pairs)
    pairs += [(name, None) for name in setting.map.unused_sources]
    pairs += [(None, name) for name in setting.map.unused_targets]
    return pl.DataFrame(pairs, schema={"source": pl.String, "target": pl.String}, orient="row")


def _facts(setting: Setting) -> pl.DataFrame:
    ours, theirs = setting.subject.atlas, setting.atlas
    facts = {
        "run": setting.config.run,
        "its atlas": ours.source or "not said",
        "other atlas": theirs.source or "not said",
        "simulated": ours.simulated or theirs.simulated,
        "same atlas": ours.digest == theirs.digest,
        "digest of the other atlas": theirs.digest,
        "length": theirs.length,
        "outputs": outputs_in_words(setting.subject.network.less_mean),
        "peaks": len(setting.index),
        "peaks trained on": setting.trained_peaks,
        "they are": "left out" if setting.config.trained_on == "leave-out" else "kept",
        "peaks of the other atlas": len(theirs),
    }
    return fact_table(facts)


def _column(values: Tensor) -> pl.Series:
    return pl.Series(values.double().numpy()).fill_nan(None)
