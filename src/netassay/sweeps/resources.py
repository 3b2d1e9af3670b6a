"""What a run needs on a cluster, as a plan or a file says it: its tables [slurm] and [ray]."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netassay.config import read
from netassay.errors import ConfigError, did_you_mean


class Resources(BaseModel):
    """Keys of both tables."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    cpus: int = Field(1, ge=1, le=1024)
    """Cores, and threads, of a run."""
    gpus: int = Field(0, ge=0, le=64)
    """GPUs of a run."""
    memory_gb: float | None = Field(None, gt=0)
    """Memory of a run in GiB; by default what the cluster gives."""
    commit_seconds: float = Field(10.0, gt=0)
    """Seconds between checkpoints of a run."""

    def with_file(self, path: Path | str | None, table: str) -> Self:
        """These resources, overridden by the table of that name in a TOML or JSON file."""
        if path is None:
            return self
        tables = read(Path(path))
        for name in tables:
            if name not in ("slurm", "ray"):
                raise ConfigError(f"{path}: unknown table {name!r}: {did_you_mean(name, ['slurm', 'ray'])}")
        values = tables.get(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {table} is {values!r:.80}; write it as a table, [{table}]")
        given = {key: getattr(self, key) for key in self.model_fields_set}
        try:
            return type(self)(**{**given, **values})
        except ValidationError as refused:
            words = "; ".join(refusal(error, type(self), table) for error in refused.errors(include_url=False))
            raise ConfigError(f"{path}: {words}") from None


class SlurmResources(Resources):
    """The table [slurm]."""

    minutes: int = Field(60, ge=1)
    """Time limit of a job; a run that needs longer goes on from its checkpoint in the next."""
    partition: str | None = None
    tasks: int | None = Field(None, ge=1, le=1000)
    """Tasks of the job array, among which the runs are divided; by default one for each run, at most 1,000."""
    at_once: int = Field(256, ge=1)
    """Tasks of the array that run at a time."""
    python: str = ""
    """Python of the nodes; by default the one that runs this command."""
    setup: list[str] = Field(default_factory=list)
    """Lines of shell before Python is started, such as "module load cuda"."""
    prefix: str = ""
    """Words before Python, such as "apptainer exec image.sif"."""
    options: dict[str, str | int | bool] = Field(default_factory=dict)
    """Other options of sbatch, such as account or qos, by their long names."""
    signal_seconds: int = Field(90, ge=10)
    """How long before the time limit a task writes its checkpoints and is queued again."""
    requeues: int = Field(100, ge=0)
    """How often a task may be queued again after its time limit."""
    check: bool = True
    """Whether the nodes' Python is tried here before anything is submitted."""
    shared: bool = False
    """Whether the nodes see the store, although its file system looks like one of this machine alone."""


class RayResources(Resources):
    """The table [ray]."""


def refusal(error: Any, model: Any, table: str) -> str:
    """What pydantic refused in a table, in words."""
    key = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r:.80} in [{table}]: {did_you_mean(key[:80], model.model_fields)}"
    return f"[{table}] {key}: {error['msg']}, given {error['input']!r:.80}"
