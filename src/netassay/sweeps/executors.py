"""What performs the runs of a plan: this machine, Slurm or Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from netassay.errors import ConfigError, did_you_mean
from netassay.sweeps.plan import Plan

On = Literal["local", "slurm", "ray"]
PLACES = ("local", "slurm", "ray")


class Executor(Protocol):
    """Makes runs done, each independent of the others; this machine or a cluster, the contract is the same."""

    def __call__(
        self, folders: Sequence[Path], begun: Callable[[Path], None], ended: Callable[[Path, str], None]
    ) -> None:
        """Calls `begun` and `ended` for each folder; the second argument of `ended` is why it failed, or ""."""


def executor(
    on: str,
    plan: Plan,
    store: Path | str,
    *,
    workers: int | None = None,
    cluster: Path | str | None = None,
    address: str | None = None,
) -> Executor | None:
    """The executor of that name, its cluster reached and looked at; None for this machine.

    ConfigError for another name, and for what the one that is named does not take.
    """
    if on not in PLACES:
        raise ConfigError(f"on = {on!r:.80} is not allowed: {did_you_mean(str(on)[:80], PLACES)}")
    if on != "ray" and address is not None:
        raise ConfigError(f"address = {address!r} is that of a Ray cluster; add --on ray")
    if on == "local":
        if cluster is not None:
            raise ConfigError(
                f"cluster = {str(cluster)!r} says what runs need on a cluster; add --on slurm or --on ray"
            )
        return None
    if workers is not None:
        raise ConfigError(
            f"workers = {workers} is the number of runs at a time on this machine; on a cluster its "
            "resources say it: give tasks and at_once in [slurm], cpus in [ray]"
        )
    if on == "slurm":
        from netassay.sweeps.slurm import Slurm

        return Slurm(plan.slurm.with_file(cluster, "slurm"), store)
    from netassay.sweeps.ray import Ray

    return Ray(plan.ray.with_file(cluster, "ray"), store, address)
