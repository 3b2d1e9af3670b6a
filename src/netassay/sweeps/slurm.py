"""Runs on a Slurm cluster: arrays submitted by submitit, the queue asked by squeue, the rest read from the folders."""

from __future__ import annotations

import math
import shlex
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from netassay.errors import ConfigError, ExtraMissing, RunWarning, StoreError, reraised
from netassay.runs.disk import kind_of, lives_here_alone
from netassay.sweeps.nodes import hosts, try_python
from netassay.sweeps.orders import ROOM, TOKEN, Orders
from netassay.sweeps.resources import SlurmResources
from netassay.sweeps.scheduler import follow
from netassay.sweeps.submission import Submission

NAME = "netassay-"
"""What the names of our jobs begin with; the token of their orders follows."""
TOOLS = ("sbatch", "srun", "squeue", "sinfo", "scontrol")
MOST_TASKS = 1000  # Slurm's own limit of an array, MaxArraySize, is 1001 unless a cluster says otherwise
_ASK = 3.0  # seconds between two questions to the controller
_LIMIT = 30  # seconds that a question may take
_OVER = {"CA", "CD", "F", "TO", "NF", "OOM", "DL", "BF"}
_PASSING = ("None", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "BeginTime", "Prolog", "Cleaning")
"""Reasons to wait that end by themselves; others may need a person."""


class Slurm:
    """An executor; everything that can be wrong before a submission is found when it is made.

    Raises ExtraMissing without submitit, ConfigError without Slurm's tools, without an answer of the cluster, for a
    partition that it has not, a time limit that leaves no time for a checkpoint, a Python that does not start or is
    another, and a store that the nodes cannot see.
    """

    def __init__(self, resources: SlurmResources, store: Path | str) -> None:
        self.resources = resources
        self.workers = min(resources.at_once, resources.tasks or MOST_TASKS)
        _require_tools()
        _require_time(resources)
        _require_partition(resources.partition)
        _require_shared(Path(store), resources)
        if resources.check and (resources.python or resources.setup or resources.prefix):
            try_python(resources)

    def __call__(
        self, folders: Sequence[Path], begun: Callable[[Path], None], ended: Callable[[Path, str], None]
    ) -> None:
        if folders:
            follow(Queue(self.resources, folders[0].parent), folders, begun, ended)


def _require_tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise ConfigError(
            f"Slurm is not here: {', '.join(missing)} not found on PATH. Start the sweep on a login node of the "
            "cluster, or load its module first (often: module load slurm)"
        )
    if find_spec("submitit") is None:
        raise ExtraMissing('--on slurm needs the package submitit; install it with: pip install "netassay[slurm]"')


def _require_time(resources: SlurmResources) -> None:
    least = resources.signal_seconds + resources.commit_seconds
    if resources.minutes * 60 <= least:
        raise ConfigError(
            f"[slurm] minutes = {resources.minutes} is too short: {resources.signal_seconds} s before the end "
            f"(signal_seconds) a task stops, and checkpoints are {resources.commit_seconds:g} s apart "
            f"(commit_seconds). Give at least {math.floor(least / 60) + 1} minutes"
        )


def _require_partition(partition: str | None) -> None:
    answer = ask("sinfo", "--noheader", "--format=%R")
    names = sorted(set(answer.split()))
    if partition is not None and not set(partition.split(",")) <= {*names}:
        raise ConfigError(f"[slurm] partition = {partition!r} is not allowed: {', '.join(names)}")


def _require_shared(store: Path, resources: SlurmResources) -> None:
    elsewhere = [] if resources.shared else hosts(ask("scontrol", "--oneliner", "show", "nodes"))
    if elsewhere and lives_here_alone(store):
        raise ConfigError(
            f"store {store}: lies on a file system of this machine alone ({kind_of(store)}), which {len(elsewhere)} "
            f"nodes ({', '.join(elsewhere[:3])}, ...) do not see. Choose a folder that all nodes see, or say "
            "shared = true in [slurm] if they see this one under the same path"
        )


def ask(*words: str) -> str:
    """What a tool of Slurm's answers. ConfigError where the cluster cannot be reached."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"the Slurm cluster gives no answer: {words[0]} took more than {_LIMIT} s") from None
    if done.returncode:
        cause = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"exit code {done.returncode}"]
        raise ConfigError(
            f"the Slurm cluster cannot be reached: {words[0]} says: {cause[0]}. Is slurmctld running (scontrol ping)?"
        )
    return done.stdout


@dataclass
class Queue:
    """The jobs of one sweep, those that an earlier command submitted for the same store included."""

    resources: SlurmResources
    store: Path
    orders: dict[str, Orders] = field(default_factory=dict)
    newest: dict[Path, tuple[Orders, int]] = field(default_factory=dict)
    _asked: float = -math.inf
    _answer: set[Path] | None = None
    _reasons: set[str] = field(default_factory=set)

    def submit(self, folders: Sequence[Path]) -> None:
        """One array, the runs dealt out to its tasks."""
        from submitit import SlurmExecutor

        count = min(len(folders), self.resources.tasks or MOST_TASKS)
        tasks = [[folder.name for folder in folders[start::count]] for start in range(count)]
        orders = Orders.write(self.store, tasks, self.resources.cpus, self.resources.commit_seconds)
        with reraised(lambda cause: StoreError(f"sbatch refused the array, and nothing was submitted: {cause}")):
            executor = SlurmExecutor(
                orders.folder, max_num_timeout=self.resources.requeues, python=_python(self.resources)
            )
            executor.update_parameters(**_parameters(self.resources, orders))
            executor.submit_array(
                [Submission(["netassay.sweeps.task", str(orders.folder), str(number)]) for number in range(count)]
            )
        self._asked = -math.inf
        self._know(orders)

    def under_way(self) -> set[Path] | None:
        """Runs of tasks that the queue names; asked again after some seconds only."""
        if time.monotonic() - self._asked < _ASK:
            return self._answer
        try:
            lines = ask("squeue", "--me", "--noheader", "--array", "--format=%i|%t|%r|%j").splitlines()
        except ConfigError:
            self._answer = None
        else:
            rows = [(line.split("|", 3), self._folders(line)) for line in lines]
            self._answer = {folder for _, folders in rows for folder in folders}
            self._warn([words for words, folders in rows if folders])
        self._asked = time.monotonic()
        return self._answer

    def cause(self, folder: Path) -> tuple[str, bool]:
        orders, number = self.newest[folder]
        if answer := orders.cause(folder):
            return answer, False
        if orders.arrival(number) is None:
            return (
                f"its task never began; does the node see {orders.folder}, and does its Python have netassay and "
                f"submitit? Its last words: {_last_words(orders, number) or 'none'}",
                True,
            )
        return f"its task ended without a word; its last words: {_last_words(orders, number) or 'none'}", True

    def after_stop(self) -> str:
        names = ",".join(NAME + token for token in self.orders)
        return f"the jobs go on (to end them: scancel --name={names})"

    def close(self, well: bool) -> None:
        """Removes the orders once no task is left that might write among them."""
        if not well:
            return
        for _ in range(60):
            self._asked = -math.inf
            if not self.under_way():
                break
            time.sleep(0.5)
        for orders in self.orders.values():
            orders.remove()

    def _warn(self, rows: Sequence[Sequence[str]]) -> None:
        """Says, once for each reason, why no task of ours is at work where Slurm holds all of them back."""
        if any(state != "PD" for _, state, *_ in rows):
            return
        for job, _, reason, _ in rows:
            if reason.startswith(_PASSING) or reason in self._reasons:
                continue
            self._reasons.add(reason)
            warnings.warn(
                RunWarning(
                    f"Slurm holds back all {len(rows)} tasks of this sweep ({reason}); it waits. For one of them see "
                    f"scontrol show job {job}"
                ),
                stacklevel=2,
            )

    def _folders(self, line: str) -> list[Path]:
        """The runs of the task in a line of the queue; none of one that is over or not ours."""
        job, state, _, name = line.split("|", 3)
        token = name.strip().removeprefix(NAME)
        if state in _OVER or not name.startswith(NAME) or not TOKEN.fullmatch(token):
            return []
        if token not in self.orders:
            folder = self.store.absolute() / ROOM / token
            if not folder.is_dir():  # a sweep of another store
                return []
            self._know(Orders.read(folder))
        index = job.rpartition("_")[2] if "_" in job else "0"
        return self.orders[token].folders(int(index))

    def _know(self, orders: Orders) -> None:
        self.orders[orders.token] = orders
        for number in range(len(orders.tasks)):
            self.newest |= dict.fromkeys(orders.folders(number), (orders, number))


def _python(resources: SlurmResources) -> str | None:
    if not (resources.python or resources.prefix):
        return None
    from sys import executable

    return f"{resources.prefix} {shlex.quote(resources.python or executable)}".strip()


def _parameters(resources: SlurmResources, orders: Orders) -> dict[str, Any]:
    """As submitit's executor names them."""
    memory = {} if resources.memory_gb is None else {"mem": f"{math.ceil(resources.memory_gb * 1024)}MB"}
    gpus = {"gpus_per_node": resources.gpus} if resources.gpus else {}
    partition = {"partition": resources.partition} if resources.partition else {}
    return {
        "job_name": NAME + orders.token,
        "time": resources.minutes,
        "cpus_per_task": resources.cpus,
        "setup": resources.setup or None,
        "signal_delay_s": resources.signal_seconds,
        "array_parallelism": resources.at_once,
        "srun_args": [f"--cpus-per-task={resources.cpus}"],  # srun has not taken it over from sbatch since 22.05
        "additional_parameters": {"requeue": True, **resources.options},
        **memory,
        **gpus,
        **partition,
    }


def _last_words(orders: Orders, number: int) -> str:
    """The last line that a task wrote to standard error."""
    endings = (f"_{number}_0_log.err", "_0_log.err") if len(orders.tasks) == 1 else (f"_{number}_0_log.err",)
    logs = [path for path in sorted(orders.folder.glob("*_log.err")) if path.name.endswith(endings)]
    lines = [line for path in logs for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
