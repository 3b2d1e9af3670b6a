"""Processes that train one network together, one device each, connected by Lightning Fabric; rank 0 leads."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, distributed

from netassay.errors import ConfigError
from netassay.extras import require
from netassay.studies.aitac.config import AitacConfig

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Group:
    """The connection of one process to the others; every process makes the same calls in the same order."""

    rank: int
    size: int
    device: torch.device
    fabric: Any

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def sum(self, part: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        return self.fabric.all_reduce(part, reduce_op="sum")

    def send(self, values: Tensor) -> Tensor:
        """The values of rank 0, in place. (Fabric's own broadcast accepts any object and pickles it.)"""
        distributed.broadcast(values, src=0)
        return values


def require_devices(config: AitacConfig) -> None:
    """Raises ConfigError if this machine has fewer devices than requested, ExtraMissing without Lightning Fabric."""
    kind = torch.device(config.device)
    if kind.index is not None:
        raise ConfigError(
            f"devices = {config.devices} and device = {config.device!r}: several devices are counted from the first; "
            f"give device = {kind.type!r}"
        )
    count = torch.cuda.device_count() if kind.type == "cuda" else os.cpu_count() or 1
    if config.devices > count:
        gpus, cores = f"{count or 'no'} usable GPUs", f"{count} cores, and a process takes one at least"
        hardware = gpus if kind.type == "cuda" else cores
        advice = f"give at most {count}" if count else "use device cpu"
        raise ConfigError(f"devices = {config.devices} is not allowed: this machine has {hardware}; {advice}")
    _fabric()


def device_of(config: AitacConfig, rank: int) -> str:
    """The name of the device of one process."""
    return f"cuda:{rank}" if config.device == "cuda" else config.device


@contextmanager
def process_group(rank: int, config: AitacConfig, port: int, *, patience: timedelta) -> Iterator[Group]:
    """This process as one of `config.devices`, which meet at `port` of this machine; entered when all have connected.

    No call waits longer than `patience` for the others. Backend gloo on CPUs, nccl on GPUs.
    """
    fabric = _fabric()
    environment = fabric.plugins.environments.LightningEnvironment()
    strategy = fabric.strategies.DDPStrategy(cluster_environment=environment, timeout=patience)
    meeting = {
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the leader opened the port before starting any process
    }
    if Path("/sys/class/net/lo").exists():
        meeting["GLOO_SOCKET_IFNAME"] = "lo"  # no connections from other machines
    with _variables(meeting), _quiet():
        launcher = fabric.Fabric(accelerator=config.device, devices=config.devices, strategy=strategy)
        launcher.launch()
        try:
            yield Group(rank, config.devices, torch.device(device_of(config, rank)), launcher)
        finally:
            distributed.destroy_process_group()


def _fabric() -> ModuleType:
    # importing it takes as long as importing torch
    require("lightning_fabric", "devices", "devices above 1")
    import lightning_fabric.plugins.environments
    import lightning_fabric.strategies

    return lightning_fabric


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Fabric from writing about its processes to the terminal."""
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
