"""The connection to a Ray cluster, and what every node of it must have."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from netassay.errors import ConfigError, ExtraMissing
from netassay.sweeps.orders import Orders
from netassay.sweeps.task import arrive_in_ray
from netassay.sweeps.versions import difference, versions

_REACH, _CONNECT, _ANSWER = 10.0, 60.0, 120.0  # seconds for a port, for a connection, for all nodes to start a Python


def require_nodes(store: Path, commit_seconds: float) -> None:
    """ConfigError unless every node writes its versions, which are ours, into a folder."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in nodes()}
    orders = Orders.write(store, [()] * len(hosts), 1, commit_seconds)
    try:
        waiting = [
            ray.remote(arrive_in_ray)
            .options(num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            .remote(str(orders.folder), number)
            for number, node in enumerate(hosts)
        ]
        ray.wait(waiting, num_returns=len(waiting), timeout=_ANSWER, fetch_local=False)
        for number, host in enumerate(hosts.values()):
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


def connect(address: str) -> None:
    """Connects this process to a cluster: auto, or HOST:PORT.

    Raises ExtraMissing without ray; ConfigError where no cluster answers.
    """
    if find_spec("ray") is None:
        raise ExtraMissing('--on ray needs the package ray; install it with: pip install "netassay[ray]"')
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
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return
    # Ray takes 127.0.0.1 for the outer address of this machine, other loopback addresses as they are
    words = [address, host if host.startswith("127.") and host != "127.0.0.1" else ""]
    with subprocess.Popen(
        [sys.executable, "-c", _TRIAL, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as trial:
        import ray  # takes as long as the trial's own import, beside it

        _require_success(trial, address)
    ray.init(address=address, log_to_driver=False, configure_logging=False, _node_ip_address=words[1] or None)


_TRIAL = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False, _node_ip_address=sys.argv[2] or None)
"""


def _require_success(trial: subprocess.Popen[str], address: str) -> None:
    """ConfigError unless another process can connect; Ray may wait for ever where there is a port and no node."""
    try:
        _, said = trial.communicate(timeout=_CONNECT)
        lines = [line for line in said.splitlines() if line.strip()] if trial.returncode else []
        cause = lines[-1].strip()[:300] if lines else f"exit code {trial.returncode}" if trial.returncode else ""
    except subprocess.TimeoutExpired:
        trial.kill()
        cause = f"no connection within {_CONNECT:.0f} s"
    if cause:
        raise ConfigError(
            f"the Ray cluster at address {address} cannot be reached: {cause}. Start one with: ray start --head, or "
            "start this command on one of its nodes"
        )


def disconnect() -> None:
    """Ends the connection, and the tasks of this process with it."""
    import ray

    ray.shutdown()


def nodes() -> list[Mapping[str, Any]]:
    """What Ray says of each node that is alive."""
    import ray

    every: list[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call, unused-ignore]
    return [node for node in every if node["Alive"]]
