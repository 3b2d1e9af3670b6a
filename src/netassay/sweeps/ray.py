"""Runs on a Ray cluster: one task a run, which may be started again anywhere; what is done is read from the folders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from netassay.errors import ConfigError
from netassay.sweeps.connection import connect, disconnect, nodes, require_nodes
from netassay.sweeps.orders import Orders
from netassay.sweeps.resources import RayResources
from netassay.sweeps.scheduler import follow
from netassay.sweeps.task import perform_in_ray


class Ray:
    """An executor; the cluster is reached, and its nodes are asked, when it is made.

    Raises ExtraMissing without ray; ConfigError where no cluster answers, where no node has what a run needs, and where
    a node has other versions or does not see the store.
    """

    def __init__(self, resources: RayResources, store: Path | str, address: str | None = None) -> None:
        self.resources, self.store = resources, Path(store).absolute()
        connect(address or "auto")
        try:
            self.workers = _require_room(resources)
            require_nodes(self.store, resources.commit_seconds)
        except BaseException:
            disconnect()
            raise

    def __call__(
        self, folders: Sequence[Path], begun: Callable[[Path], None], ended: Callable[[Path, str], None]
    ) -> None:
        if folders:
            follow(Tasks(self.resources, self.store), folders, begun, ended)
        else:
            disconnect()


def _require_room(resources: RayResources) -> int:
    """How many runs the cluster has room for at a time; ConfigError for none."""
    needs = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": (resources.memory_gb or 0) * 2**30}
    room = 0
    for node in nodes():
        has = node["Resources"]
        room += int(min(has.get(name, 0.0) // need for name, need in needs.items() if need))
    if not room:
        memory = "" if resources.memory_gb is None else f", {resources.memory_gb:g} GiB of memory"
        raise ConfigError(
            f"no node of the Ray cluster has {resources.cpus} CPUs, {resources.gpus} GPUs{memory}, which [ray] says "
            "that a run needs (cpus, gpus, memory_gb)"
        )
    return room


@dataclass
class Tasks:
    """The tasks of one sweep; they end with the connection of this command to the cluster."""

    resources: RayResources
    store: Path
    waiting: dict[Any, Path] = field(default_factory=dict)
    newest: dict[Path, Orders] = field(default_factory=dict)

    def submit(self, folders: Sequence[Path]) -> None:
        """One task a run."""
        import ray

        orders = Orders.write(
            self.store, [[folder.name] for folder in folders], self.resources.cpus, self.resources.commit_seconds
        )
        needs: dict[str, Any] = {"num_cpus": self.resources.cpus, "num_gpus": self.resources.gpus, "max_retries": 3}
        if self.resources.memory_gb is not None:
            needs["memory"] = math.ceil(self.resources.memory_gb * 2**30)
        task = ray.remote(perform_in_ray).options(**needs)
        self.newest |= dict.fromkeys(folders, orders)
        start = partial(task.remote, str(orders.folder))
        self.waiting |= {start(number): folder for number, folder in enumerate(folders)}

    def under_way(self) -> set[Path] | None:
        """Runs whose tasks have not ended; how they ended is not asked."""
        import ray

        if self.waiting:
            over, _ = ray.wait([*self.waiting], num_returns=len(self.waiting), timeout=0, fetch_local=False)
            for task in over:
                del self.waiting[task]
        return set(self.waiting.values())

    def cause(self, folder: Path) -> tuple[str, bool]:
        if answer := self.newest[folder].cause(folder):
            return answer, False
        return "its Ray task ended without a word; ray list tasks and the logs of Ray say more", True

    def after_stop(self) -> str:
        return "runs stop at their checkpoints"

    def close(self, well: bool) -> None:
        disconnect()
        for orders in {orders.token: orders for orders in self.newest.values()}.values():
            orders.remove()
