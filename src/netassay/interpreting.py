"""Interpreting a trained run: a run made from it, in the same store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netassay.errors import ConfigError
from netassay.performing import Watch, perform
from netassay.runs import Run, State, Store
from netassay.studies.aitac.interpret.config import InterpretConfig


def interpret(
    run: Run,
    peers: Sequence[Run] = (),
    *,
    threads: int | None = None,
    watch: Watch = lambda step, values: None,
    **options: Any,
) -> Run:
    """What the network of a finished aitac run learned, as a run beside it; done from wherever it stands.

    `peers` are repetitions of the run (other seeds) in the same store. `options` are the keys of the config of
    aitac-interpret, all but run and peers (`netassay explain aitac-interpret`). Raises ConfigError for runs of another
    study or store, DataError where they hold no weights or another atlas; what a single chapter lacks is told in it.
    """
    for other in (run, *peers):
        if other.study != "aitac":
            raise ConfigError(
                f"run {other.id} is of study {other.study}; runs of study aitac can be interpreted"
            )
        if other.folder.parent != run.folder.parent:
            raise ConfigError(
                f"{other.folder} is not in the store of {run.folder}; peers stand in the same store"
            )
    ids = [other.id for other in peers]
    if twice := [name for name in ids if name == run.id or ids.count(name) > 1]:
        raise ConfigError(
            f"run {twice[0]} is given twice; a peer is another run of the same config with another seed"
        )
    config = InterpretConfig(run=run.id, peers=",".join(ids), **options)
    return perform(config, run.folder.parent, threads=threads, watch=watch)


def repetitions(run: Run) -> list[Run]:
    """Finished runs in the same store whose config differs from that of `run` by nothing but the seed."""
    found = []
    for other in Store(run.folder.parent).runs():
        alike = other.study == run.study and {**other.config, "seed": run.config["seed"]} == run.config
        if alike and other.id != run.id and other.state is State.FINISHED:
            found.append(other)
    return found
