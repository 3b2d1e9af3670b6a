"""Runs on a Ray cluster: one task a run, which may be started again anywhere; what is done is read from the folders."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from netassay.errors import ConfigError, ExtraMissing
from netassay.sweeps.orders import Orders
from netassay.sweeps.resources import RayResources
from netassay.sweeps.scheduler import follow
from netassay.sweeps.task import arrive_in_ray, perform_in_ray
from netassay.sweeps.versions import difference, versions

_REACH, _CONNECT, _ANSWER = 10.0, 60.0, 120.0  # seconds for a port, for a connection, for all nodes to start a Python


class Ray:
    """An executor; the cluster is reached, and its nodes are asked, when it is made.

    Raises ExtraMissing without ray; ConfigError where no cluster answers, where no node has what a run needs, and where
    a node has other versions or does not see the store.
    """

    def __init__(self, resources: RayResources, store: Path | str, address: str | None = None) -> None:
        self.resources, self.store = resources, Path(store).absolute()
        if find_spec("ray") is None:
            raise ExtraMissing('--on ray needs the package ray; install it with: pip install "netassay[ray]"')
        _connect(address or "auto")
        try:
            self.workers = _require_room(resources)
            self._require_nodes()
        except BaseException:
            _disconnect()
            raise

    def __call__(
        self, folders: Sequence[Path], begun: Callable[[Path], None], ended: Callable[[Path, str], None]
    ) -> None:
        if folders:
            follow(Tasks(self.resources, self.store), folders, begun, ended)
        else:
            _disconnect()

    def _require_nodes(self) -> None:
        """ConfigError unless every node writes its versions, which are ours, into the store."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in _nodes()}
        orders = Orders.write(self.store, [()] * len(nodes), 1, self.resources.commit_seconds)
        try:
            waiting = [
                ray.remote(arrive_in_ray)
                .options(
                    num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
                )
                .remote(str(orders.folder), number)
                for number, node in enumerate(nodes)
            ]
            ray.wait(waiting, num_returns=len(waiting), timeout=_ANSWER, fetch_local=False)
            for number, host in enumerate(nodes.values()):
                _require_node(orders, number, host)
        finally:
            orders.remove()


def _require_node(orders: Orders, number: int, host: str) -> None:
    there = orders.arrival(number)
    if there is None:
        raise ConfigError(
            f"node {host} of the Ray cluster did not answer through the store {orders.store}: either it does not see "
            "this folder (choose one that all nodes see), or the Python of Ray there has no netassay of this version"
        )
    if differs := difference(versions(), there):
        raise ConfigError(f"versions differ between this command and node {host}: {differs}. Install the same there")


def _connect(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if address != "auto":
        if not (colon and host and port.isascii() and port.isdigit() and "/" not in host):
            raise ConfigError(f"address = {address!r:.80} is not allowed: auto or HOST:PORT, such as 10.0.0.1:6379")
        try:
            socket.create_connection((host, int(port)), _REACH).close()
        except (OSError, OverflowError) as cause:
            raise ConfigError(
                f"no Ray cluster answers at {address} ({cause}). Start one with: ray start --head --port={port}"
            ) from None
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns of a change to come
    import ray

    if not ray.is_initialized():
        # Ray takes 127.0.0.1 for the outer address of this machine, other loopback addresses as they are
        words = [address, host if host.startswith("127.") and host != "127.0.0.1" else ""]
        _try(words)
        ray.init(address=address, log_to_driver=False, configure_logging=False, _node_ip_address=words[1] or None)


_TRIAL = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False, _node_ip_address=sys.argv[2] or None)
"""


def _try(words: Sequence[str]) -> None:
    """ConfigError unless another process can connect; Ray may wait for ever where there is a port and no node."""
    try:
        done = subprocess.run([sys.executable, "-c", _TRIAL, *words], capture_output=True, text=True, timeout=_CONNECT)
        lines = [line for line in done.stderr.splitlines() if line.strip()] if done.returncode else []
        cause = lines[-1].strip()[:300] if lines else f"exit code {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        cause = f"no connection within {_CONNECT:.0f} s"
    if cause:
        raise ConfigError(
            f"the Ray cluster at address {words[0]} cannot be reached: {cause}. Start one with: ray start --head, or "
            "start this command on one of its nodes"
        )


def _disconnect() -> None:
    import ray

    ray.shutdown()


def _nodes() -> list[Mapping[str, Any]]:
    import ray

    nodes: list[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call, unused-ignore]
    return [node for node in nodes if node["Alive"]]


def _require_room(resources: RayResources) -> int:
    """How many runs the cluster has room for at a time; ConfigError for none."""
    needs = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": (resources.memory_gb or 0) * 2**30}
    room = 0
    for node in _nodes():
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
        _disconnect()
        for orders in {orders.token: orders for orders in self.newest.values()}.values():
            orders.remove()
