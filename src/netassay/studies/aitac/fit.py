"""What a run is fitted on, its fit (epochs of AI-TAC on the peaks of an atlas), and the network that comes of it.

All random draws are keyed by seed and step or epoch, so the state is weights, moments and a few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from netassay.dna.atlas.atlas import (
    Atlas,
    Split,
    permute_cells,
    permute_rows,
    shuffle_dinucleotides,
    shuffle_mononucleotides,
    with_values,
)
from netassay.dna.atlas.named import find_atlas
from netassay.dna.network.evaluate import scores
from netassay.dna.network.network import Network, autocast, is_labels, is_one_of_k, loss_named, offset_is_free, predict
from netassay.errors import DataError
from netassay.formats.bases import UNKNOWN, one_hot, reverse_complement
from netassay.nets.sequence_cnn import AITAC
from netassay.numerics import devices
from netassay.numerics.devices import generator
from netassay.runs import Run
from netassay.runs.facts import stored_facts
from netassay.studies.aitac.config import AitacConfig
from netassay.training import Metric, group_of, grouped, load_optimiser, optimiser_state

_SHUFFLED_AT_ONCE = 16_384
_SHUFFLES = {"mononucleotide": shuffle_mononucleotides, "dinucleotide": shuffle_dinucleotides}


@dataclass(frozen=True)
class Material:
    """Sequences and heights of all peaks; under a null, `codes` or the heights of training and validation are changed.

    The heights of the test set are always the real ones. `one_of_k`: each peak is open in one cell type; `labels`:
    heights are 0 and 1 otherwise.
    """

    atlas: Atlas
    split: Split
    codes: UInt8[Tensor, "n length"]
    heights: Float[Tensor, "n cell_types"]
    one_of_k: bool
    labels: bool = False


def material(config: AitacConfig) -> Material:
    """The data of a config. Raises DataError if loss and heights do not fit."""
    atlas = atlas_of(config)
    split = atlas.split(
        config.split,
        test=config.test_chromosomes,
        validation=config.validation_chromosomes,
        # a repetition is another draw of folds; the seed of the weights does not affect the sets
        seed=config.repeat,
        test_share=config.test_share,
        validation_share=config.validation_share,
        folds=config.folds,
        fold=config.fold,
    )
    one_of_k = is_one_of_k(atlas.heights)
    _check(config, atlas, one_of_k)
    labels = not one_of_k and is_labels(atlas.heights)
    return Material(atlas, split, _codes(config, atlas), _heights(config, atlas, split), one_of_k, labels)


def atlas_of(config: AitacConfig) -> Atlas:
    """The atlas of a config, reduced to its number of peaks."""
    if config.atlas == "simulated" and config.peaks:
        from netassay.dna.atlas.simulate import simulate_atlas

        return simulate_atlas(config.peaks)
    atlas = find_atlas(config.atlas)
    if not config.peaks or config.peaks == len(atlas):
        return atlas
    if config.peaks > len(atlas):
        raise DataError(
            f"peaks = {config.peaks}: atlas {config.atlas!r} has {len(atlas)}; give at most that, or 0 for all"
        )
    # one fixed draw, so that runs of other seeds share their data
    rows = torch.randperm(len(atlas), generator=generator(0, "peaks"))[: config.peaks].sort().values
    return with_values(
        atlas,
        codes=atlas.codes[rows],
        heights=atlas.heights[rows],
        halves=None if atlas.halves is None else atlas.halves[rows],
        peaks=atlas.peaks[rows.numpy()],
        truth={},
    )


def _check(config: AitacConfig, atlas: Atlas, one_of_k: bool) -> None:
    finite = atlas.heights.isfinite()
    if not finite.all():
        row, column = (~finite).nonzero()[0].tolist()
        raise DataError(
            f"atlas {config.atlas!r}: {int((~finite).sum()):,} of its heights are NaN or infinite, the first that of "
            f"peak {atlas.peaks['name'][row]!r} in cell type {atlas.cell_types[column]!r}; build it without that one"
        )
    if config.loss == "cross_entropy" and not one_of_k:
        raise DataError(
            f"loss cross_entropy: the heights of atlas {config.atlas!r} are not 1 in one cell type and 0 in the "
            "others; use pearson, mse or poisson"
        )
    if config.loss == "binary_cross_entropy" and not (one_of_k or is_labels(atlas.heights)):
        raise DataError(
            f"loss binary_cross_entropy: the heights of atlas {config.atlas!r} are not all 0 or 1; use pearson, mse or "
            "poisson"
        )
    if config.loss == "poisson" and bool((atlas.heights < 0).any()):
        raise DataError(f"loss poisson: atlas {config.atlas!r} has heights below 0; use pearson or mse")
    if config.loss == "pearson" and atlas.heights.shape[1] < 3:
        raise DataError(
            f"loss pearson: atlas {config.atlas!r} has {atlas.heights.shape[1]} cell types, and a correlation across "
            "them needs three or more; use mse or poisson"
        )


def _codes(config: AitacConfig, atlas: Atlas) -> Tensor:
    if config.null not in _SHUFFLES:
        return atlas.codes
    draws = generator(config.seed, "null", str(config.repeat))
    parts = atlas.codes.split(_SHUFFLED_AT_ONCE)
    return torch.cat([_SHUFFLES[config.null](part, draws) for part in parts])


def _heights(config: AitacConfig, atlas: Atlas, split: Split) -> Tensor:
    if config.null not in ("rows", "cells"):
        return atlas.heights
    permute = permute_rows if config.null == "rows" else permute_cells
    draws = generator(config.seed, "null", str(config.repeat))
    heights = atlas.heights.clone()
    for part in (split.train, split.validation):
        heights[part] = permute(heights[part], draws)
    return heights


_RISE = 0.2  # share of all steps in which a one-cycle step size rises
Weights = dict[str, Tensor]


class Fit:
    """Adam on mini-batches; the weights of the epoch with the smallest validation loss are kept as `best`.

    It starts from the network `start`, whose weights have the digest `origin`, or from random weights. Parameters of
    `start` without gradients do not change.

    `measure` gives the loss of the step's batch; after an epoch also its mean loss and the scores on the validation
    set; at the last step those of `best` on the test set, those of the column means, and as loss the epoch's mean.
    """

    def __init__(self, config: AitacConfig, data: Material, start: AITAC | None = None, origin: str = "") -> None:
        self.config, self.data, self.origin = config, data, origin
        self.device = devices.device(config.device)
        model = start or network(config, outputs=data.heights.shape[1], length=data.codes.shape[1])
        self.model = model.to(self.device)
        self.loss = loss_named(config.loss, config.label_smoothing)
        self.precision = getattr(torch, config.precision)
        self.per_epoch = math.ceil(len(data.split.train) / config.batch_size)
        self.steps = self.per_epoch * config.epochs
        self.optimiser = _adam(self.model, config)
        self.average = _copies(self.model.state_dict()) if config.weight_average else {}
        self.best: Weights = {}
        self.best_epoch, self.best_loss = 0, math.inf
        self.step, self.epoch_loss = 0, 0.0
        # of the epoch that has just ended, to be recorded with the next step
        self.epoch_values: dict[tuple[str, str], float] = {}
        self.pending: Tensor | None = None

    def measure(self, step: int) -> Mapping[Metric, float]:
        values: dict[Metric, float] = {("peaks", ""): float(self._peaks_before(step))}
        values |= {key: value for key, value in self.epoch_values.items()}  # noqa: C416 (a key of values may be a name alone)
        if self.ends_at(step):
            return values | {"loss": values[("epoch_loss", "")]} | self._test()
        batch = self._batch(step)
        loss = self._forward(batch, step)
        self.epoch_loss += loss * len(batch)
        return values | {"loss": loss}

    def advance(self) -> None:
        size = self._step_size(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = size
        self._backward()
        self.optimiser.step()
        self.step += 1
        if self.average:
            decay = min(self.config.weight_average, self.step / (10 + self.step))
            _move(self.average, self.model.state_dict(), 1 - decay)
        self.epoch_values = {}
        if self.step % self.per_epoch == 0:
            self.epoch_values = {("epoch_loss", ""): self.epoch_loss / len(self.data.split.train)}
            self.epoch_values |= self._validate(self.step // self.per_epoch)
            self.epoch_loss = 0.0

    def ends_at(self, step: int) -> bool:
        """Whether training ends here: after the last epoch, or if none of the last `patience` epochs was better."""
        epoch, remainder = divmod(step, self.per_epoch)
        waited = epoch - self.best_epoch
        return step >= self.steps or bool(self.config.patience and not remainder and waited >= self.config.patience)

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        groups = {"model": self.model.state_dict(), "average": self.average, "best": self.best}
        tensors = grouped({**groups, "optimiser": optimiser_state(self.optimiser)})
        facts = {
            "atlas": self.data.atlas.digest,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss if self.best else None,
            "epoch_loss": self.epoch_loss,
            "step": self.step,
            "seen": [
                [name, part, None if math.isnan(value) else value] for (name, part), value in self.epoch_values.items()
            ],
        }
        # runs from random weights have no such key, like runs of versions that had no others
        return tensors, facts | ({"start": self.origin} if self.origin else {})

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        if facts["atlas"] != self.data.atlas.digest:
            raise DataError(
                f"atlas {self.config.atlas!r} is no longer what this run began with (digest "
                f"{self.data.atlas.digest[:12]}, "
                f"then {facts['atlas'][:12]}); put the old one back, or begin another run in another store"
            )
        if facts.get("start", "") != self.origin:
            raise DataError(
                f"the network in {self.config.start_from}, or the choice of its filters, is no longer what this run "
                "began with; put the old one back, or begin another run in another store"
            )
        self.model.load_state_dict(group_of(tensors, "model"))
        self.average = {name: t.to(self.device) for name, t in group_of(tensors, "average").items()}
        self.best = {name: t.to(self.device) for name, t in group_of(tensors, "best").items()}
        load_optimiser(self.optimiser, group_of(tensors, "optimiser"))
        self.best_epoch, self.step, self.epoch_loss = facts["best_epoch"], facts["step"], facts["epoch_loss"]
        self.best_loss = math.inf if facts["best_loss"] is None else facts["best_loss"]
        self.epoch_values = {(name, part): math.nan if value is None else value for name, part, value in facts["seen"]}

    def _forward(self, batch: Tensor, step: int) -> float:
        """The mean loss of the batch; `_backward` computes its gradients."""
        output = self._output(self._augment(batch, step), step)
        self.pending = self.loss(output, self.data.heights[batch].to(self.device))
        return self.pending.item()

    def _output(self, codes: Tensor, step: int) -> Tensor:
        self._train_mode()
        self.model.noise = self._draws("dropout", step, device=self.device)
        with autocast(self.device, self.precision):
            return self.model(one_hot(codes.to(self.device))).float()

    def _backward(self) -> None:
        assert self.pending is not None
        self.optimiser.zero_grad()
        self.pending.backward()
        self.pending = None

    def _validate(self, epoch: int) -> dict[tuple[str, str], float]:
        """Scores on the validation set, updating `best` if they improve; without such a set the last epoch is best."""
        weights, rows = self.average or self.model.state_dict(), self.data.split.validation
        values: dict[tuple[str, str], float] = {}
        if len(rows):
            output = self._predict(weights, rows)
            loss = self.loss(output, self.data.heights[rows]).item()
            marks = self._marks(output, self.data.heights[rows])
            values = {("validation_loss", ""): loss} | {(name, "validation"): mark for name, mark in marks.items()}
            if not loss < self.best_loss and self.best:
                return values
            self.best_loss = loss
        self.best, self.best_epoch = _copies(weights), epoch
        return values

    def _test(self) -> dict[Metric, float]:
        rows = self.data.split.test
        values: dict[Metric, float] = {("best_epoch", ""): float(self.best_epoch)}
        if not len(rows):
            return values
        observed = self.data.heights[rows]
        output = self._predict(self.best, rows)
        values[("test_loss", "")] = self.loss(output, observed).item()
        means = self.data.heights[self.data.split.train].mean(dim=0).expand_as(observed)
        for part, guess in (("test", output), ("baseline", means)):
            marks = self._marks(guess, observed)
            values |= {(name, part): mark for name, mark in marks.items()}
        return values

    def _marks(self, output: Tensor, observed: Tensor) -> dict[str, float]:
        free = offset_is_free(self.config.loss)
        return scores(output, observed, one_of_k=self.data.one_of_k, free_offset=free, labels=self.data.labels)

    def _predict(self, weights: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        own = _copies(self.model.state_dict())
        self.model.load_state_dict(weights)
        output = predict(network_of(self.config, self.model), self.data.codes[rows])
        self.model.load_state_dict(own)
        return output

    def _train_mode(self) -> None:
        """Training mode of all that is trained: a frozen first layer keeps its running mean and variance."""
        self.model.train()
        norm = self.model.get_submodule("norm1")
        if not any(p.requires_grad for p in norm.parameters()):
            norm.eval()

    def _batch(self, step: int) -> Tensor:
        epoch, position = divmod(step, self.per_epoch)
        train, size = self.data.split.train, self.config.batch_size
        order = torch.randperm(len(train), generator=self._draws("order", epoch))
        return train[order[position * size : (position + 1) * size]]

    def _peaks_before(self, step: int) -> int:
        epoch, position = divmod(step, self.per_epoch)
        return epoch * len(self.data.split.train) + position * self.config.batch_size

    def _augment(self, batch: Tensor, step: int) -> Tensor:
        codes, draws = self.data.codes[batch], self._draws("augment", step)
        if self.config.strands == "augmented":
            turned = torch.rand(len(codes), generator=draws) < 0.5
            codes = torch.where(turned[:, None], reverse_complement(codes), codes)
        if limit := min(self.config.shift, codes.shape[1]):
            moves = torch.randint(-limit, limit + 1, (len(codes), 1), generator=draws)
            source = torch.arange(codes.shape[1]) - moves
            inside = (source >= 0) & (source < codes.shape[1])
            codes = torch.where(inside, codes.gather(1, source.clamp(0, codes.shape[1] - 1)), UNKNOWN)
        return codes

    def _draws(self, purpose: str, count: int, device: torch.device | str = "cpu") -> torch.Generator:
        return generator(self.config.seed, purpose, str(self.config.repeat), str(count), device=device)

    def _step_size(self, step: int) -> float:
        if self.config.schedule == "constant":
            return self.config.learning_rate
        part = (step + 1) / self.steps
        share = part / _RISE if part < _RISE else (1 + math.cos(math.pi * (part - _RISE) / (1 - _RISE))) / 2
        return self.config.learning_rate * share


def network(config: AitacConfig, *, outputs: int, length: int) -> AITAC:
    """The network of a config at its first weights."""
    return AITAC(
        outputs,
        length=length,
        n_filters=config.n_filters,
        n_channels=config.n_channels,
        n_hidden=config.n_hidden,
        dropout=config.dropout,
        first_activation=config.first_activation,
        reverse_complement=config.strands == "averaged",
        generator=generator(config.seed, "init", str(config.repeat)),
    )


def config_of(run: Run) -> AitacConfig:
    """The config of a run of this study."""
    return AitacConfig.from_mapping(run.config, where=str(run.folder))


def trained(run: Run, *, length: int | None = None) -> AITAC:
    """The network of a run with the weights of its best epoch so far, in evaluation mode.

    `length`, that of the sequences, is read from the tables of a finished run if not given. Raises DataError before
    the end of the first epoch.
    """
    config = config_of(run)
    checkpoint = run.checkpoint()
    best = group_of(checkpoint.tensors, "best") if checkpoint else {}
    if not best:
        raise DataError(
            f"run {run.id} is {run.state} and has no validated epoch yet; finish it: netassay resume {run.folder}"
        )
    if length is None:
        length = stored_facts(run, "atlas")["length"]
    # a reduced network has fewer filters than its config says, which is that of the full one
    reduced = config.replace(n_filters=len(best["convolution1.bias"]))
    model = network(reduced, outputs=len(best["output.bias"]), length=length)
    model.load_state_dict(best)
    return model.eval()


def network_of(config: AitacConfig, model: AITAC, names: Sequence[str] = ()) -> Network:
    """A model applied as in runs of `config`: to both strands if trained on a random one, in their precision."""
    both_strands, precision = config.strands == "augmented", getattr(torch, config.precision)
    return Network.of(model, both_strands=both_strands, precision=precision, names=names)


def _adam(model: AITAC, config: AitacConfig) -> torch.optim.AdamW:
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1]
    vectors = [p for p in trained if p.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    # without decay AdamW is Adam
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _copies(weights: Mapping[str, Tensor]) -> Weights:
    return {name: t.detach().clone() for name, t in weights.items()}


@torch.no_grad()
def _move(average: Weights, weights: Mapping[str, Tensor], share: float) -> None:
    """average <- average + share (weights - average); integer counts are copied."""
    for name, mean in average.items():
        if mean.is_floating_point():
            mean.lerp_(weights[name], share)
        else:
            mean.copy_(weights[name])
