"""The subject of an interpretation: a trained network, its repetitions, and the peaks that are used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import polars as pl
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from netassay.dna.motifs.filters import FilterMotifs, filter_motifs, well_predicted
from netassay.dna.motifs.match import Matches, match_motifs
from netassay.dna.motifs.reproducibility import factor_names
from netassay.dna.motifs.truth import matched_filters
from netassay.dna.network.classes import FEWEST, no_correlation
from netassay.dna.network.layers import called_convolutions
from netassay.dna.network.loading import network_of_files
from netassay.dna.network.network import loss_of, offset_is_free, outputs_in_words, pearson_rows, predict
from netassay.errors import DataError
from netassay.formats.jaspar import GROUPS, read_database
from netassay.formats.motifs import UNSURE, Motifs
from netassay.inputs import refuse_odd_file
from netassay.nets.sources import sources
from netassay.numerics import devices
from netassay.numerics.devices import generator
from netassay.runs import Run, Store
from netassay.runs.disk import pack, sha256
from netassay.runs.facts import stored_facts
from netassay.studies.aitac.config import AitacConfig, LossName, Strands
from netassay.studies.aitac.fit import Material, config_of, material, network_of, trained
from netassay.studies.aitac.interpret.config import InterpretConfig


def network_files(config: InterpretConfig) -> tuple[str, ...]:
    """Files of a network that is not of a run: its module, the module's imports from the same folder, its weights.

    If a module's file cannot be read, its imports are left out.
    """
    module = config.module.rpartition(":")[0]
    try:
        code = [str(path) for path in sources(module).values()] if module else []
    except OSError:
        code = [module]
    return tuple(dict.fromkeys(name for name in (*code, config.weights) if name))


def outside_files(config: InterpretConfig) -> tuple[str, ...]:
    """All: ChIP-seq, known motifs unless a group is named, the network."""
    files = (config.chip, "" if config.motif_database in GROUPS else config.motif_database)
    return (*(name for name in files if name), *network_files(config))


def files_digest(config: InterpretConfig) -> str:
    """SHA-256 over the bytes of these files. DataError for one that cannot be read."""
    digest = hashlib.sha256()
    for name in outside_files(config):
        try:
            digest.update(bytes.fromhex(digest_of(name)))
        except OSError as error:
            keys = {config.chip: "chip", config.motif_database: "motif_database", config.weights: "weights"}
            key = keys.get(name, "module")
            groups = f", or one of {', '.join(GROUPS)}" if key == "motif_database" else ""
            raise DataError(
                f"{key} = {name!r}: cannot be read ({error.strerror or error}); give an existing file{groups}"
            ) from error
    return digest.hexdigest()


def digest_of(name: str) -> str:
    """SHA-256 of a file's bytes. OSError if it cannot be read, DataError if it is not a file."""
    refuse_odd_file(name)
    with Path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Subject:
    """The network of a run in evaluation mode, those of its repetitions, sequences and heights of the chosen peaks.

    Or a network of the user's own, from files, on an atlas. `tables` has those of the chapters made so far. Raises
    DataError for runs without weights or of another atlas, and the errors of `network_of_files`.
    """

    def __init__(self, config: InterpretConfig, store: Store) -> None:
        self.config = config
        self.tables: dict[tuple[str, str], pl.DataFrame] = {}
        if config.module or config.weights:
            self._of_files(config)
        else:
            self._of_runs(config, store)

    def _of_runs(self, config: InterpretConfig, store: Store) -> None:
        if not config.run:
            raise DataError(
                "no run is given to interpret; give the id of a finished run of study aitac, or a network of your own: "
                "module, weights and atlas"
            )
        ids = [config.run, *config.peers]
        runs = [store.find(name) for name in ids]
        self.runs = tuple(run.id for run in runs)
        self.trained_by = config_of(runs[0])
        device = devices.device(config.device)
        self.material: Material = material(self.trained_by)
        self.atlas = self.material.atlas
        _check_peers(runs, self.atlas.digest)
        networks = (network_of(self.trained_by, trained(run).to(device), self.atlas.cell_types) for run in runs)
        # applied in float32, whatever they were trained in, without the offset that their loss leaves free
        free = offset_is_free(self.trained_by.loss)
        self.network, *peers = (replace(network, precision=torch.float32, less_mean=free) for network in networks)
        self.peers = tuple(peers)

    def _of_files(self, config: InterpretConfig) -> None:
        if not config.atlas:
            raise DataError("the network to interpret needs an atlas; give one: atlas (--atlas)")
        device = devices.device(config.device)
        loss = cast("LossName", loss_of(config.module, config.loss))
        strands: Strands = "augmented" if config.strands == "both" else "one"
        self.runs, self.peers = (Path(config.weights or config.module).name,), ()
        # its training set is unknown: all but the test chromosomes, or nothing if all peaks are used
        sets: dict[str, Any] = (
            {"split": "random", "test_share": 0, "validation_share": 0}
            if config.peaks == "all"
            else {"test_chromosomes": config.test_chromosomes, "validation_chromosomes": " "}
        )
        self.trained_by = AitacConfig(atlas=config.atlas, loss=loss, strands=strands, **sets)
        self.material = material(self.trained_by)
        self.atlas = self.material.atlas
        network = network_of_files(
            config.module,
            config.weights,
            length=self.atlas.length,
            names=self.atlas.cell_types,
            readout=config.readout,
            layout=None if config.layout == "channels_first" else config.layout,
            both_strands=config.strands == "both" or None,
        )
        network.model.to(device).eval()
        self.network = replace(network, less_mean=offset_is_free(loss))

    @property
    def about(self) -> dict[str, str]:
        """The subject in words: atlas and null; for a network of the user's own also its origin."""
        facts = {"atlas": self.trained_by.atlas, "null": self.trained_by.null}
        if self.config.run:
            return facts
        first, second = (name or "none" for name in self.layers)
        return facts | {
            "module": self.config.module or "AI-TAC",
            "weights": self.config.weights or "as the module is made",
            "loss": self.trained_by.loss,
            "outputs": outputs_in_words(self.network.less_mean),
            "strands": "both" if self.network.hears_both else "one",
            "layer": first,
            "next layer": second,
            **{f"SHA-256 of {name}": digest_of(name) for name in network_files(self.config)},
            "digest of the atlas": self.atlas.digest,
        }

    @cached_property
    def layers(self) -> tuple[str, str]:
        """The convolutions that are interpreted, the first and the next; "" if there is none."""
        requested = (self.config.layer, self.config.next_layer)
        if self.network.aitac:
            return "convolution1", "convolution2"
        called = called_convolutions(self.network, self.atlas.length)
        first = requested[0] or (called[0] if called else "")
        behind = called[called.index(first) + 1 :] if first in called else []
        return first, requested[1] or (behind[0] if behind else "")

    @property
    def ablated_layer(self) -> str | None:
        """The layer whose channels are ablated; None for the first layer of AI-TAC."""
        return None if self.network.aitac else self.layers[0]

    @cached_property
    def index(self) -> Int64[Tensor, " n"]:
        """Rows of the atlas that are used."""
        split, config = self.material.split, self.config
        rows = torch.arange(len(self.atlas)) if config.peaks == "all" else getattr(split, config.peaks)
        if not len(rows):
            raise DataError(f"the {config.peaks} set of {self.runs[0]} is empty; take --peaks all")
        if 0 < config.most_peaks < len(rows):
            order = torch.randperm(len(rows), generator=self.generator("peaks"))[: config.most_peaks]
            rows = rows[order.sort().values]
        return rows

    @cached_property
    def codes(self) -> UInt8[Tensor, "n length"]:
        """Sequences of the peaks, one byte per base."""
        return self.material.codes[self.index]

    @cached_property
    def heights(self) -> Float[Tensor, "n cell_types"]:
        """Their observed heights."""
        return self.atlas.heights[self.index]

    @cached_property
    def predicted(self) -> Float[Tensor, "n cell_types"]:
        """Their predictions by the network, in float32."""
        return predict(self.network, self.codes)

    @cached_property
    def r(self) -> Float[Tensor, " n"]:
        """Pearson correlation of prediction and heights across cell types, NaN where undefined."""
        return pearson_rows(self.predicted, self.heights)

    @cached_property
    def quality(self) -> Float[Tensor, " n"]:
        """How well each peak is predicted, greater is better: r; below three cell types, which have none, minus the
        largest error of an output in its standard deviations over the peaks."""
        if len(self.cell_types) >= FEWEST:
            return self.r
        return -(_standard(self.predicted) - _standard(self.heights)).abs().amax(1)

    @property
    def least_quality(self) -> float:
        """A peak is well predicted above this `quality`."""
        return self.config.well_predicted if len(self.cell_types) >= FEWEST else -1.0

    @property
    def well_in_words(self) -> str:
        """When a peak counts as well predicted."""
        if self.material.one_of_k:
            return "whose own cell type is predicted highest"
        if len(self.cell_types) >= FEWEST:
            return f"with r above {self.config.well_predicted:g}"
        return (
            f"predicted within one standard deviation in every output (there is {no_correlation(len(self.cell_types))})"
        )

    @cached_property
    def well(self) -> Int64[Tensor, " well"]:
        """Rows (of `codes`) of the well-predicted peaks."""
        if self.material.one_of_k:
            return (self.predicted.argmax(1) == self.heights.argmax(1)).nonzero()[:, 0]
        return (self.quality > self.least_quality).nonzero()[:, 0]

    @cached_property
    def motif_peaks(self) -> Int64[Tensor, " k"]:
        """Rows of the peaks for the motifs: the well-predicted ones, or the best `motif_best` of all."""
        defined = int(self.quality.isfinite().sum())
        if self.config.motif_best > defined:
            raise DataError(
                f"motif_best = {self.config.motif_best}: {defined} peaks have a correlation; give at most {defined}"
            )
        if self.config.motif_best:
            return well_predicted(self.quality, best=self.config.motif_best)
        if not len(self.well) and self.material.one_of_k:
            raise DataError("no peak has its own cell type predicted highest; train the network first")
        if not len(self.well) and defined:
            best = (
                f" (the best of {len(self.r):,} has {float(self.r.nan_to_num(-1).max()):.2f})"
                if len(self.cell_types) >= FEWEST
                else ""
            )
            raise DataError(
                f"no peak is predicted {self.well_in_words}{best}; take the best ones instead, such as --motif-best "
                f"{min(500, defined)}, or train longer"
            )
        return self.well if len(self.well) else well_predicted(self.quality, self.least_quality)

    def motifs_of(self, layer: str, threshold: float) -> FilterMotifs:
        """Motifs of a layer on these peaks, with the mean observed heights at its sites."""
        rows, config = self.motif_peaks, self.config
        return filter_motifs(
            self.network,
            self.codes[rows],
            layer,
            threshold=threshold,
            quantile=config.motif_quantile,
            heights=self.heights[rows],
            pseudocount=config.motif_pseudocount,
        )

    @cached_property
    def motifs(self) -> FilterMotifs:
        """Motifs of the first layer."""
        return self.motifs_of(self.layers[0], self.config.motif_threshold)

    @cached_property
    def database(self) -> Motifs:
        """Known motifs for comparison with those of filters."""
        return read_database(self.config.motif_database)

    @cached_property
    def matches(self) -> Matches:
        """Known motifs that match those of the first layer."""
        return self.matches_of(self.motifs)

    def matches_of(self, motifs: Motifs) -> Matches:
        """Known motifs that match the given ones, and those with permuted columns."""
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
        """SHA-256 of all weights, to notice that a run was trained again."""
        models = [network.model for network in (self.network, *self.peers)]
        state = {
            f"{i}/{key}": t.cpu().contiguous()
            for i, model in enumerate(models)
            for key, t in model.state_dict().items()
        }
        return sha256(pack(state))

    def earlier(self, chapter: str, table: str) -> pl.DataFrame:
        """A table of an earlier chapter; DataError if that chapter could not be made."""
        if (chapter, table) not in self.tables:
            raise DataError(f"this needs chapter {chapter}, which could not be made (its section says why)")
        return self.tables[(chapter, table)]

    def generator(self, purpose: str) -> torch.Generator:
        """Random generator for one purpose, independent of all other draws."""
        return generator(self.config.seed, "interpret", purpose)


def _standard(columns: Float[Tensor, "n outputs"]) -> Float[Tensor, "n outputs"]:
    return (columns - columns.mean(0)) / columns.std(0, correction=0).clamp(min=1e-12)


def _check_peers(runs: list[Run], digest: str) -> None:
    for run in runs:
        if run.config["null"] != runs[0].config["null"]:
            raise DataError(
                f"run {run.id} has null {run.config['null']!r} and run {runs[0].id} {runs[0].config['null']!r}; peers "
                "are repetitions of a run with other seeds"
            )
        if "atlas" not in run.tables():
            raise DataError(f"run {run.id} is {run.state} and not scored; finish it: netassay resume {run.folder}")
        if stored_facts(run, "atlas")["digest"] != digest:
            raise DataError(
                f"run {run.id} was trained on another atlas than {runs[0].config['atlas']!r} is now; interpret "
                "it with the atlas that it was trained on, and with peers of the same atlas"
            )


def filter_names(subject: Subject, q: float) -> dict[int, str]:
    """The factor of each filter that has one: the family that it is surely like in the database (`factor_names`); in a
    simulated atlas the planted motif that it matches (`matched_filters`)."""
    if not subject.truth:
        names = factor_names(subject.matches, q)
        return {int(key.removeprefix("filter_")): name for key, name in names.items() if name != UNSURE}
    matches = matched_filters(subject.motifs, subject.truth)
    return {i: name for name, filters in matches.items() for i in filters}
