"""What is interpreted: a trained network, its repetitions, and the peaks it is looked at on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import polars as pl
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from netassay.dna.influence.factors import matched_names
from netassay.dna.motifs.filters import FilterMotifs, filter_motifs, well_predicted
from netassay.dna.motifs.match import Matches, match_motifs
from netassay.dna.motifs.truth import matched_filters
from netassay.dna.network.losses import pearson_rows
from netassay.dna.network.offsets import offset_is_free
from netassay.dna.network.predicting import predict
from netassay.errors import DataError
from netassay.formats.jaspar import read_database
from netassay.formats.motifs import Motifs
from netassay.numerics import devices
from netassay.numerics.seeds import generator
from netassay.runs import Run, Store
from netassay.runs.checkpoints import pack
from netassay.runs.disk import sha256
from netassay.studies.aitac.fit import network_of
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.material import Material, material
from netassay.studies.aitac.weights import config_of, trained


class Subject:
    """The network of a run in evaluation mode, those of its repetitions, sequences and heights of the chosen peaks.

    `found` holds the tables of the chapters made so far. Raises DataError for runs without weights or of another atlas.
    """

    def __init__(self, config: InterpretConfig, store: Store) -> None:
        if not config.run:
            raise DataError("no run is given to interpret; give the id of a finished run of study aitac")
        ids = [config.run, *(name for name in config.peers.split(",") if name)]
        runs = [store.find(name) for name in ids]
        self.config = config
        self.runs = tuple(run.id for run in runs)
        self.found: dict[tuple[str, str], pl.DataFrame] = {}
        self.trained_by = config_of(runs[0])
        device = devices.device(config.device)
        self.material: Material = material(self.trained_by)
        self.atlas = self.material.atlas
        _check_peers(runs, self.atlas.digest)
        networks = (
            network_of(self.trained_by, trained(run).to(device), self.atlas.cell_types) for run in runs
        )
        # asked in float32, whatever they were trained in, and less what their loss leaves free
        free = offset_is_free(self.trained_by.loss)
        self.network, *peers = (
            replace(network, precision=torch.float32, less_mean=free) for network in networks
        )
        self.peers = tuple(peers)

    @cached_property
    def index(self) -> Int64[Tensor, " n"]:
        """Rows of the atlas that are looked at."""
        split, config = self.material.split, self.config
        rows = torch.arange(len(self.atlas)) if config.peaks == "all" else getattr(split, config.peaks)
        if not len(rows):
            raise DataError(f"the {config.peaks} set of run {self.runs[0]} is empty; take --peaks all")
        if 0 < config.most_peaks < len(rows):
            drawn = torch.randperm(len(rows), generator=self.generator("peaks"))[: config.most_peaks]
            rows = rows[drawn.sort().values]
        return rows

    @cached_property
    def codes(self) -> UInt8[Tensor, "n length"]:
        """Sequences of the peaks, a byte a base."""
        return self.material.codes[self.index]

    @cached_property
    def heights(self) -> Float[Tensor, "n cell_types"]:
        """Their observed heights."""
        return self.atlas.heights[self.index]

    @cached_property
    def predicted(self) -> Float[Tensor, "n cell_types"]:
        """What the network predicts for them, in float32."""
        return predict(self.network, self.codes)

    @cached_property
    def r(self) -> Float[Tensor, " n"]:
        """Pearson correlation of prediction and heights across cell types, NaN where undefined."""
        return pearson_rows(self.predicted, self.heights)

    @cached_property
    def well(self) -> Int64[Tensor, " well"]:
        """Rows (of `codes`) of the well-predicted peaks."""
        if self.material.one_of_k:
            return (self.predicted.argmax(1) == self.heights.argmax(1)).nonzero()[:, 0]
        return (self.r > self.config.well_predicted).nonzero()[:, 0]

    @cached_property
    def motif_peaks(self) -> Int64[Tensor, " k"]:
        """Rows of the peaks that motifs are made from: the well-predicted ones, or the best `motif_best` by r."""
        known = int(self.r.isfinite().sum())
        if self.config.motif_best > known:
            raise DataError(
                f"motif_best = {self.config.motif_best}: {known} peaks have a correlation; give at most {known}"
            )
        if self.config.motif_best:
            return well_predicted(self.r, best=self.config.motif_best)
        if not len(self.well) and self.material.one_of_k:
            raise DataError("no peak has its own cell type predicted highest; train the network first")
        if not len(self.well) and known:
            raise DataError(
                f"no peak is predicted with r above {self.config.well_predicted:g} (the best of {len(self.r):,} has "
                f"{float(self.r.nan_to_num(-1).max()):.2f}); take the best ones instead, such as --motif-best "
                f"{min(500, known)}, or train longer"
            )
        return self.well if len(self.well) else well_predicted(self.r, self.config.well_predicted)

    def motifs_of(self, layer: str, threshold: float) -> FilterMotifs:
        """Motifs of a layer on these peaks, with the mean observed heights at its sites."""
        rows, config = self.motif_peaks, self.config
        return filter_motifs(
            self.network, self.codes[rows], layer, threshold=threshold, quantile=config.motif_quantile,
            heights=self.heights[rows], pseudocount=config.motif_pseudocount,
        )  # fmt: skip

    @cached_property
    def motifs(self) -> FilterMotifs:
        """Motifs of the first layer."""
        return self.motifs_of("convolution1", self.config.motif_threshold)

    @cached_property
    def database(self) -> Motifs:
        """Known motifs that those of filters are compared with."""
        return read_database(self.config.motif_database)

    @cached_property
    def matches(self) -> Matches:
        """Known motifs like those of the first layer."""
        return self.matches_of(self.motifs)

    def matches_of(self, motifs: Motifs) -> Matches:
        """Known motifs like the given ones, and like the same with their columns permuted."""
        repeats, draws = self.config.motif_permutations, self.generator("motif columns")
        return match_motifs(motifs, self.database, permutations=repeats, generator=draws)

    @property
    def cell_types(self) -> tuple[str, ...]:
        return self.atlas.cell_types

    @property
    def lineages(self) -> tuple[str, ...]:
        """The lineage of each cell type, "" for one without."""
        return self.atlas.lineages

    @property
    def truth(self) -> Mapping[str, pl.DataFrame]:
        """What a simulated atlas planted; empty for any other."""
        return self.atlas.truth if self.atlas.simulated else {}

    @property
    def weights_digest(self) -> str:
        """SHA-256 of all weights: tells that a run was trained anew since."""
        models = [network.model for network in (self.network, *self.peers)]
        state = {
            f"{i}/{key}": t.cpu().contiguous()
            for i, model in enumerate(models)
            for key, t in model.state_dict().items()
        }
        return sha256(pack(state))

    def earlier(self, chapter: str, table: str) -> pl.DataFrame:
        """A table of a chapter made before; DataError where that chapter could not be made."""
        if (chapter, table) not in self.found:
            raise DataError(f"this needs chapter {chapter}, which could not be made (its section says why)")
        return self.found[(chapter, table)]

    def generator(self, purpose: str) -> torch.Generator:
        """Draws for one purpose, the same whatever else was drawn before."""
        return generator(self.config.seed, "interpret", purpose)


def _check_peers(runs: list[Run], digest: str) -> None:
    for run in runs:
        if run.config["null"] != runs[0].config["null"]:
            raise DataError(
                f"run {run.id} has null {run.config['null']!r} and run {runs[0].id} {runs[0].config['null']!r}; peers "
                "are repetitions of a run with other seeds"
            )
        if "atlas" not in run.tables():
            raise DataError(
                f"run {run.id} is {run.state} and not scored; finish it: netassay resume {run.folder}"
            )
        if dict(run.table("atlas").iter_rows())["digest"] != digest:
            raise DataError(
                f"run {run.id} was trained on another atlas than {runs[0].config['atlas']!r} is now; interpret "
                "it with the atlas that it was trained on, and with peers of the same atlas"
            )


def filter_names(subject: Subject, q: float) -> dict[int, str]:
    """The factor of each filter that has one: its best match in the database, with a q-value below `q`; in a simulated
    atlas the planted motif that it matches (`matched_filters`)."""
    if not subject.truth:
        return matched_names(subject.matches.best(), q)
    held = matched_filters(subject.motifs, subject.truth)
    return {i: name for name, filters in held.items() for i in filters}
