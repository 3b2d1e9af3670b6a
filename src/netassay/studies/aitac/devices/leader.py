"""Rank 0 of a training on several devices: it starts the other processes and outlives them all."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

from netassay.errors import DataError, RunFailed
from netassay.nets.sequence_cnn import AITAC
from netassay.processes import Child
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.devices.group import HOST, device_of, process_group, require_devices
from netassay.studies.aitac.devices.shared_fit import Order, SharedFit
from netassay.studies.aitac.fit import Material
from netassay.training import Metric

_PATIENCE = timedelta(minutes=30)  # of the leader, for one step of the slowest process
_FAREWELL = 10.0  # seconds that a process has to end by itself


class LeadingFit(SharedFit):
    """A `SharedFit` that raises RunFailed naming the process that was lost."""

    processes: list[Process]

    def measure(self, step: int) -> Mapping[Metric, float]:
        with _reporting_losses(self.processes):
            return super().measure(step)

    def advance(self) -> None:
        with _reporting_losses(self.processes):
            super().advance()


@contextmanager
def leading(config: AitacConfig, data: Material, start: AITAC | None = None, origin: str = "") -> Iterator[LeadingFit]:
    """The trainee of a run on `config.devices` devices; the other processes live as long as the context.

    It starts from the network `start`, if given, whose weights have the digest `origin`.

    Raises ConfigError for more devices than there are, ExtraMissing without Lightning Fabric, RunFailed if another
    process cannot begin or is lost.
    """
    require_devices(config)
    before = torch.get_num_threads()
    threads = max(1, before // config.devices) if config.device == "cpu" else before
    server = socket.create_server((HOST, 0))
    port = server.getsockname()[1]
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        HOST, port, is_master=True, wait_for_workers=False, master_listen_fd=server.detach()
    )
    processes = [Process(config, rank, port, threads) for rank in range(1, config.devices)]
    try:
        torch.set_num_threads(threads)
        for process in processes:
            process.wait_until_ready(data.atlas.digest)
        with _reporting_losses(processes), process_group(0, config, port, patience=_PATIENCE) as group:
            fit = LeadingFit(config, data, group, start, origin)
            fit.processes = processes
            yield fit
            fit.tell(Order.END)
            for process in processes:
                process.ended()
    finally:
        torch.set_num_threads(before)
        for process in processes:
            process.close()
        del store


class Process(Child):
    """One of the other processes, as rank 0 sees it."""

    def __init__(self, config: AitacConfig, rank: int, port: int, threads: int) -> None:
        super().__init__("netassay.studies.aitac.devices.rank", [str(n) for n in (rank, port, threads)], heard=True)
        self.name = f"process {rank + 1} of {config.devices} ({device_of(config, rank)})"
        self.tell(config.canonical)

    def wait_until_ready(self, digest: str) -> None:
        """Returns when the process has its data. DataError if these are not the atlas of `digest`."""
        reply = self.hear().split()
        if not reply:
            self.wait()
            raise RunFailed(self.cause() or f"{self.name} did not begin")
        if reply != ["ready", digest]:
            raise DataError(f"the atlas changed while {self.name} read it; begin again when it is left alone")

    def ended(self) -> bool:
        """Whether the process has ended, or ends within some seconds."""
        return self.wait(_FAREWELL)

    def cause(self) -> str:
        """Why the process ended too early, or "" while it runs."""
        code = self.exit_code()
        if code is None:
            return ""
        if name := self.killed_by():
            return f"{self.name} was killed by {name}"
        return f"{self.name} ended with code {code}: {self.last_words() or 'no message'}"


@contextmanager
def _reporting_losses(processes: list[Process]) -> Iterator[None]:
    """An error of the connection is reported as the loss of the process behind it."""
    try:
        yield
    except RuntimeError as error:
        # a connection is lost before the end of its process is noticed
        losses = [process.cause() for process in processes if process.ended() and process.cause()]
        if not losses:
            raise
        raise RunFailed(f"{'; '.join(losses)}; the checkpoint is kept, resume the run to go on from it") from error
