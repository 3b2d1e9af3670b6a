"""Every reading command on a store of 10,000 runs and on a run of a million rows: time, memory, and what is said.

    python tests/large_stores.py [--runs N] [--rows N]

Right is: it ends, below 1 GB of memory, with exit code 0, and says what it thinned or left out. Prints a line of JSON
for each command; exit code 1 if one of them is wrong.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from netassay.performing import perform
from netassay.runs import Run, ledger
from netassay.studies.edge.config import EdgeConfig
from netassay.training import Checkpoint

MOST_MEMORY = 1 << 30
CPU_SECONDS = 900
LONGEST = 20_000
"""Characters that a command may write to standard error."""


def many(store, count):
    """A store of so many runs that differ in seed and step size: one that was performed, under other configs."""
    config = EdgeConfig(examples=40, test_examples=10, width=4, steps=3, layers=False)
    first = perform(config, store, threads=1)
    rows = ledger.read(first.folder, lambda connection: list(ledger.metric_rows(connection)))
    for number in range(1, count):
        other = config.replace(seed=number, step_size=0.1 + 0.01 * (number % 10))
        folder = store / f"edge-{other.digest[:12]}"
        folder.mkdir()
        for path in first.folder.rglob("*"):
            target = folder / path.relative_to(first.folder)
            if path.is_dir():
                target.mkdir()
            elif path.parent != first.folder:
                os.link(path, target)
            elif not path.name.endswith(".sha256"):
                shutil.copyfile(path, target)
        connection = sqlite3.connect(folder / ledger.NAME, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        metrics = hashlib.sha256()
        ledger.absorb(metrics, rows)
        with ledger.transaction(connection, metrics):
            for key, value in (("config", ledger.canonical(other.mapping())), ("digest", json.dumps(other.digest))):
                connection.execute("UPDATE facts SET value = ? WHERE key = ?", (value, key))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        data = (folder / ledger.NAME).read_bytes()
        (folder / ledger.DIGEST).write_text(hashlib.sha256(data).hexdigest())
    return Run.open(folder)


def long(store, rows):
    """A run of so many rows, two at a step, whose last step is its newest checkpoint."""
    steps = rows // 2
    config = EdgeConfig(examples=40, test_examples=10, width=4, steps=steps, layers=False)
    run = Run.create(store, study="edge", config=config.mapping(), digest=config.digest)
    with run.writer({}) as writer:
        for step in range(steps):
            writer.record(step, {"loss": 1 / (step + 1), "sharpness": 20 + math.sin(step / 1000)})
        writer.commit(Checkpoint(steps, {}, {"trainee": {}, "first_loss": 1.0, "steps": steps}))
        writer.finish("interrupted", step=steps)
    return run


def commands(run, several):
    """The reading commands; `several` on the whole store too."""
    yield ["runs"]
    yield ["runs", "--format", "json"]
    yield ["runs", "--where", "step_size=0.1", "--out", "runs.csv"]
    yield ["show", "latest"]
    yield ["show", run, "--format", "json"]
    yield ["show", run, "--what", "metrics"]
    yield ["show", run, "--what", "metrics", "--name", "loss", "--format", "csv"]
    yield ["show", run, "--what", "metrics", "--format", "json"]
    yield ["figure", run, "edge-loss", "--out", "loss.svg"]
    yield ["report", run, "--out", "one.html"]
    yield ["report", "--out", "all.html"]
    if several:
        yield ["report", "--where", "step_size=0.1", "--out", "some.html"]
    yield ["export", "all.csv"]
    yield ["export", "all.parquet"]
    yield ["export", "all.json"]
    yield ["check", "runs"]
    yield ["watch", "runs", "--once"]
    yield ["verify"]


MEASURED = """
import json, resource, sys
words = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
from netassay.cli import main
from netassay.processes import peak_bytes
code = main(words)
open(sys.argv[3], "w").write(str(peak_bytes()))
sys.exit(code)
"""
"""The command itself says its peak: what the system tells of a process that has ended includes that of its parent."""


def measured(words, folder):
    """Exit code, seconds of a processor, peak memory, and what was said, of one command line."""
    words = [*words, *([] if words[0] in ("check", "watch") else ["--store", "runs"])]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        begin = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", MEASURED, json.dumps(words), str(CPU_SECONDS), "peak"],
            cwd=folder,
            stdout=out,
            stderr=err,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    said = (folder / "err").read_text()
    peak = int((folder / "peak").read_text()) if process.returncode in (0, 1, 2) else 0
    row = {
        "words": " ".join(words),
        "code": process.returncode,
        "seconds": round(used.ru_utime + used.ru_stime, 1),
        "wall": round(time.monotonic() - begin, 1),
        "megabytes": peak // 1_000_000,
        "characters": (folder / "out").stat().st_size,
        "said": said[-400:],
    }
    wrong = [] if row["code"] == 0 else [f"exit code {row['code']}"]
    if peak > MOST_MEMORY:
        wrong.append("more than 1 GB")
    if "Traceback" in said or len(said) > LONGEST:
        wrong.append("traceback, or too long a message")
    return row | {"wrong": ", ".join(wrong)}


def attempts(folder, runs, rows):
    """A line for each command, first on many runs, then on a long one."""
    for name, make, size in (("many", many, runs), ("long", long, rows)):
        if size:
            (folder / name).mkdir()
            run = make(folder / name / "runs", size)
            for words in commands(run.id, name == "many"):
                yield {"store": name} | measured(words, folder / name)
            shutil.rmtree(folder / name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    words = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="large-stores-") as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        for row in attempts(Path(folder), words.runs, words.rows):
            wrong += bool(row["wrong"])
            print(json.dumps(row), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
