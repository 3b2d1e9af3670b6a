"""What `netassay runs` costs on a store of 10,000 runs: CPU seconds of the whole command, the first time and again.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/listing.py [RUNS]. Some two minutes, most of them to make the store.

The store is made up: runs of a study `edge`, each with the config of one, 40 rows of metrics and a status, written by
the package's own ledger from one finished run. Five commands, each a process of its own; the first is the one that
finds nothing remembered of the store.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from netassay.config import Config
from netassay.runs import Run, ledger, run_id
from netassay.studies.edge.config import EdgeConfig

WORDS = (
    ("runs",),
    ("runs",),
    ("runs", "--format", "csv"),
    ("runs", "--where", "depth=2", "--where", "state=finished"),
    ("runs", "--where", "state=failed"),
    ("show", "latest", "--what", "config"),
)


def template(store: Path) -> Run:
    """A finished run."""
    config = EdgeConfig()
    run = Run.create(store, study="edge", config=config.mapping(), digest=config.digest)
    with run.writer({"threads": 1}) as writer:
        for step in range(20):
            writer.record(step, {"loss": 1.0 / (step + 1), ("sharpness", "whole"): float(step)})
        writer.finish("finished", step=19)
    return run


def copied(run: Run, config: Config, store: Path, state: str) -> None:
    """The files of `run` as those of the run of another config; its seal is a new one."""
    folder = store / run_id("edge", config.digest)
    shutil.copytree(run.folder, folder)
    connection = ledger.open_for_writing(folder)
    connection.execute("PRAGMA synchronous = OFF")
    facts = {"config": ledger.canonical(config.mapping()), "digest": json.dumps(config.digest)}
    with ledger.transaction(connection, ledger.hashlib.sha256()):
        for key, value in facts.items():
            connection.execute("UPDATE facts SET value = ? WHERE key = ?", (value, key))
        ledger.set_status(connection, state, 19, "", 1.5)
    connection.close()


def made_up(runs: int, folder: Path) -> Path:
    """A store of that many runs: four depths, five step sizes, many seeds, one in fifty failed."""
    run, store = template(folder / "one"), folder / "runs"
    for i in range(runs):
        config = EdgeConfig(depth=1 + i % 4, step_size=0.1 * (1 + i // 4 % 5), seed=i // 20)
        copied(run, config, store, "failed" if i % 50 == 7 else "finished")
    return store


def cpu_seconds(words: tuple[str, ...], store: Path, cache: Path) -> tuple[float, int]:
    """CPU seconds of one command, and how many lines it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "netassay", *words, "--store", str(store)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, done.stdout.count(b"\n")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        store = made_up(runs, Path(folder))
        time.sleep(3)  # a run that changed in the last two seconds is never remembered
        for words in WORDS:
            seconds, lines = cpu_seconds(words, store, Path(folder) / "cache")
            print(f"{runs:,} runs, netassay {' '.join(words)}: {seconds:.2f} CPU seconds, {lines:,} lines", flush=True)


if __name__ == "__main__":
    main()
