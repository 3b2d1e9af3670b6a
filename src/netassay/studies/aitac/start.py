"""The run that another starts from: its network, or only some of its filters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from netassay.dna.network.reduced import reduced_network
from netassay.errors import ConfigError, DataError, ModelError, RunDamaged, StoreError
from netassay.nets.sequence_cnn import AITAC
from netassay.numerics.devices import generator
from netassay.runs import Run, Store
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.fit import config_of, trained

# the study that finds reproducible filters, and the table that lists them
_INTERPRETATION, _TABLE = "aitac-interpret", "reproducible_filters"
_SIZES = ("n_filters", "n_channels", "n_hidden", "first_activation")


@dataclass(frozen=True, eq=False)
class Start:
    """A trained network and those of its filters (numbers, ascending) that a run starts from."""

    run: Run
    model: AITAC
    filters: tuple[int, ...]
    digest: str
    """SHA-256 of the weights and the chosen filters, so that a resumed run can check that neither has changed."""

    def reduced(self) -> AITAC:
        """The network at the beginning of the run."""
        return reduced_network(self.model, self.filters)


def start_of(config: AitacConfig, *, outputs: int, length: int) -> Start | None:
    """The network that the run of `config` starts from; None for random initial weights.

    Raises ConfigError, DataError or ModelError if there is no such run or filter, or the network does not fit.
    """
    if not config.start_from:
        if config.filters != "all":
            raise ConfigError(
                f"filters = {config.filters!r} are chosen from a trained network; give its run: start_from"
            )
        return None
    run = _start_run(config.start_from)
    if run.study != config.study:
        raise DataError(f"start_from = {config.start_from!r} is a run of study {run.study}, not {config.study}")
    model = trained(run, length=length)
    _check(config, config_of(run), model, outputs)
    filters = _filter_numbers(config, run, model.n_filters)
    return Start(run, model, filters, _digest(model.state_dict(), filters))


def reduced_config(
    run: Run,
    filters: str = "reproducible",
    *,
    epochs: int = 10,
    learning_rate: float = 1e-4,
    seed: int = 0,
    device: str = "",
) -> AitacConfig:
    """The config of a run that starts from a trained network with only some of its first-layer filters.

    The first layer is frozen, the others are trained on at a constant step size; everything else is as in `run`.

    Args:
        run: Finished run of study aitac.
        filters: "all", "1,5,9", "random:20" or "reproducible".
        epochs: Passes over the training set (1 or more).
        learning_rate: Step size (above 0).
        seed: Seed of order, augmentation and random filters.
        device: cpu, cuda, cuda:N or mps; by default that of `run`.

    Returns:
        The config.

    Raises:
        ConfigError: For a run of another study.

    Source:
        Maslova et al. (2020), the network of reproducible filters.

    Example:
        >>> import netassay
        >>> netassay.reduced_config(netassay.Store("runs").find("aitac-1a2b3c"), "1,2").filters
        '1,2'
    """
    if run.study != "aitac":
        raise ConfigError(f"run {run.id} is of study {run.study}; networks of study aitac can be reduced")
    return config_of(run).replace(
        start_from=str(run.folder),
        filters=filters,
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        schedule="constant",
        **({"device": device} if device else {}),
    )


def _start_run(folder: str) -> Run:
    try:
        return Run.open(Path(folder))
    except RunDamaged:
        raise
    except StoreError as cause:
        raise DataError(f"start_from: {cause}") from None


def _check(config: AitacConfig, start: AitacConfig, model: AITAC, outputs: int) -> None:
    own = {key: (getattr(config, key), getattr(start, key)) for key in _SIZES}
    if wrong := [f"{key} = {ours!r}, there {theirs!r}" for key, (ours, theirs) in own.items() if ours != theirs]:
        raise ModelError(
            f"start_from = {config.start_from!r} holds another network: {'; '.join(wrong)}; give its sizes, or let "
            f"netassay reduce {config.start_from} take them over"
        )
    if model.reverse_complement != (config.strands == "averaged"):
        raise ModelError(f"strands = {config.strands!r}, and the network of start_from has {start.strands!r}")
    if len(model.output.bias) != outputs:
        raise ModelError(
            f"atlas {config.atlas!r} has {outputs} cell types, the network of start_from {len(model.output.bias)} "
            "outputs; give the atlas it was trained on"
        )


def _filter_numbers(config: AitacConfig, run: Run, n_filters: int) -> tuple[int, ...]:
    words = config.filters
    if words == "all":
        return tuple(range(n_filters))
    if words == "reproducible":
        numbers = _reproducible(run)
    elif words.startswith("random:"):
        count = int(words.removeprefix("random:"))
        if count > n_filters:
            raise ConfigError(f"filters = {words!r}: the network of start_from has {n_filters} filters")
        numbers = torch.randperm(n_filters, generator=generator(config.seed, "filters"))[:count].tolist()
    else:
        numbers = [int(word) for word in words.split(",")]
    return tuple(sorted(set(numbers)))


def _reproducible(run: Run) -> list[int]:
    """Filters that interpretations of the run in the same store found reproducible; all must agree."""
    answers = {}
    for interpretation in Store(run.folder.parent).runs():
        if (
            interpretation.study == _INTERPRETATION
            and interpretation.config["run"] == run.id
            and _TABLE in interpretation.tables()
        ):
            table = interpretation.table(_TABLE).filter(pl.col("run") == run.id, "reproducible")
            answers[interpretation.id] = table["filter"].to_list()
    if not answers:
        raise DataError(
            f"no interpretation in {run.folder.parent} says which filters of run {run.id} are reproducible; run: "
            f"netassay interpret {run.folder} --ensemble --only reproducible"
        )
    if len({tuple(numbers) for numbers in answers.values()}) > 1:
        raise DataError(
            f"interpretations {', '.join(answers)} name different reproducible filters of run {run.id}; delete all "
            'but one, or give numbers, as in filters = "1,5,9"'
        )
    (numbers,) = {tuple(numbers) for numbers in answers.values()}
    if not numbers:
        raise DataError(f'no filter of run {run.id} is reproducible; give numbers, as in filters = "1,5,9"')
    return list(numbers)


def _digest(weights: Mapping[str, Tensor], filters: tuple[int, ...]) -> str:
    digest = hashlib.sha256(repr(filters).encode())
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
