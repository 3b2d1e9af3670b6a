"""Sweeps that are killed at random, hour after hour, while readers list, show, draw and export their stores.

    python tests/soak.py MINUTES [--seed N] [--folder FOLDER]

Plans of three studies take turns, each in a store that is removed again. A round is right if the same command, started
again after every kill, ends with the numbers of the sweep that nobody disturbed, all runs whole, none begun twice, no
file beside them, and no process left. One reader lives throughout and does its work in its own process, so that memory
and handles that it does not give back would add up. The last quarter is one sweep of many short runs without a kill,
whose driver is watched in the same way. Nothing is timed but the end.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

from crash_points import BASELINE

HERE = Path(__file__).parent
CORPUS = "the dog sees you\nthe bird hears it\na cat sees me\nthe cat hears you\n"
PLANS = {
    "edge": {
        "study": "edge",
        "base": {"examples": 100, "width": 8, "steps": 400, "curvature_every": 20, "layers": True},
        "axes": {"step_size": [0.1, 0.4], "depth": [1, 2]},
        "repeats": 2,
    },
    "capacity": {
        "study": "capacity",
        "base": {"corpus": "corpus.txt", "document": "line", "widths": "doubling", "width": 4, "try_steps": 200},
        "repeats": 4,
    },
    "aitac": {
        "study": "aitac",
        "base": {
            "atlas": "atlas",
            "split": "random",
            "test_share": 0.3,
            "validation_share": 0.2,
            "n_filters": 4,
            "n_channels": 3,
            "n_hidden": 6,
            "epochs": 8,
            "batch_size": 20,
        },
        "repeats": 4,
    },
}
MANY = {"study": "edge", "base": {"examples": 40, "width": 4, "steps": 2, "layers": False}, "repeats": 5000}

SWEEP = """
import json, sys
from pathlib import Path
from netassay.sweeps import Plan, sweep
from netassay.sweeps.local import LocalProcesses

plan = Plan(**json.loads(Path(sys.argv[1]).read_text()))
done = sweep(plan, "runs", execute=LocalProcesses(2, 1, commit_seconds=0.1))
sys.exit(bool(done.failed))
"""
READER = """
import contextlib, io, json, os, resource, sys, time
from pathlib import Path
from netassay.cli import main
from netassay.runs import Store

store, log = Path("runs"), open("reader.jsonl", "a")
while not Path("end").exists():
    commands = [["runs"], ["runs", "--where", "state=finished", "--format", "json"]]
    with contextlib.suppress(Exception):
        for run in [path.name for path in store.iterdir() if not path.name.startswith(".")][:2]:
            commands += [["show", run], ["show", run, "--format", "json"]]
    commands += [["export", "reader.csv"], ["report", "--out", "reader.html"]]
    for words in commands:
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            try:
                code = main(words + ["--store", "runs"])
            except BaseException as error:
                code = repr(error)
        row = {"words": words, "code": code, "said": said.getvalue()[-500:]}
        row["bytes"] = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        row["handles"] = len(os.listdir("/proc/self/fd"))
        print(json.dumps(row), file=log, flush=True)
    time.sleep(0.5)
"""


def command(plan):
    return [sys.executable, "-c", SWEEP, f"{plan}.json"]


def processes(folder):
    """Living processes of this product that work in `folder`, but for the reader."""
    living = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes()
            if (path / "cwd").resolve() == folder and b"netassay" in words and b"reader.jsonl" not in words:
                living.append(int(path.name))
    return living


def numbers(store):
    from cluster import digests

    from netassay.runs import Store

    for run in Store(store).runs():
        assert run.verify() == [], (run.id, run.verify())
        assert str(run.state) == "finished", (run.id, run.state)
        begun = [what for what in run.events()["what"] if what == "started"]
        assert len(begun) == 1, (run.id, begun)
    return digests(store)


def disturbed(plan, folder, draw, counts):
    """One round: the sweep is killed at random until it ends by itself."""
    log = (folder / "sweeps.log").open("ab")
    for _ in range(draw.randrange(3, 9)):
        process = subprocess.Popen(command(plan), cwd=folder, stdout=log, stderr=log)
        with suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(1, 8))
            break
        victims = draw.choice(["driver", "worker", "stop"])
        if victims == "worker":
            workers = [pid for pid in processes(folder) if pid != process.pid]
            for pid in workers[: draw.randrange(1, 3)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(1, 4))
                break
        process.send_signal(signal.SIGKILL if victims != "stop" else draw.choice([signal.SIGTERM, signal.SIGINT]))
        process.wait()
        counts[victims] = counts.get(victims, 0) + 1
    done = subprocess.run(command(plan), cwd=folder, stdout=log, stderr=log)
    assert done.returncode == 0, f"{plan} ended with {done.returncode}; see sweeps.log"


def emptied(folder):
    """Removes the runs by the product's own command."""
    from netassay.runs import Store

    names = [run.id for run in Store(folder / "runs").runs()]
    words = [sys.executable, "-m", "netassay", "delete", *names, "--store", "runs"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    left = [path.name for path in (folder / "runs").rglob("*")]
    assert not [name for name in left if not name.startswith(("tags.json", ".index", ".lock"))], left


def steady(folder, until):
    """Many short runs by one driver; its memory in bytes and its open handles, again and again."""
    with (folder / "many.log").open("ab") as log:
        process = subprocess.Popen(command("many"), cwd=folder, stdout=log, stderr=log)
    rows = []
    while process.poll() is None and time.time() < until:
        time.sleep(1)
        with suppress(OSError, IndexError):
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            handles = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            rows.append({"bytes": pages * os.sysconf("SC_PAGE_SIZE"), "handles": handles})
    process.send_signal(signal.SIGTERM)
    process.wait()
    return rows


def growth(rows, key):
    """The median of the last quarter less that of the second."""
    quarter = len(rows) // 4
    return median(row[key] for row in rows[-quarter:]) - median(row[key] for row in rows[quarter : 2 * quarter])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    begin, draw, counts = time.time(), random.Random(words.seed), {}
    end = begin + 60 * words.minutes
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"TMPDIR": scratch, "OMP_NUM_THREADS": "1"}
        folder = Path(name).resolve()
        shutil.copytree(BASELINE / "atlas", folder / "atlas")
        (folder / "corpus.txt").write_text(CORPUS)
        wanted = {}
        for plan, text in (PLANS | {"many": MANY}).items():
            (folder / f"{plan}.json").write_text(json.dumps(text))
            if plan != "many":
                subprocess.run(command(plan), cwd=folder, check=True, capture_output=True)
                wanted[plan] = numbers(folder / "runs")
                emptied(folder)
        reader = subprocess.Popen([sys.executable, "-c", READER], cwd=folder)
        rounds = 0
        while time.time() < begin + 0.75 * (end - begin):
            plan = draw.choice(sorted(PLANS))
            disturbed(plan, folder, draw, counts)
            assert numbers(folder / "runs") == wanted[plan], plan
            until = time.time() + 60
            while (left := processes(folder)) and time.time() < until:
                time.sleep(0.2)
            assert not left, f"{len(left)} processes are left"
            emptied(folder)
            rounds += 1
            print(f"{(time.time() - begin) / 60:.1f} min: {rounds} rounds, kills {counts}", flush=True)
        driver = steady(folder, max(end, time.time() + 60))
        (folder / "end").touch()
        assert reader.wait() == 0
        rows = [json.loads(line) for line in (folder / "reader.jsonl").read_text().splitlines()]
        from netassay.runs import Store

        runs = len(Store(folder / "runs").runs())
        bad = [row for row in rows if row["code"] not in (0, 2) or "Traceback" in row["said"]]
        print(f"{rounds} rounds right; kills {counts}; {len(rows)} readings, {len(bad)} wrong: {bad[:3]}")
        refused = [row["said"] for row in rows if row["code"] == 2]
        print(f"{len(refused)} readings ended with 2: {sorted(set(refused))[:5]}")
        for who, said in (("reader", rows), ("driver", driver)):
            last = said[-1]
            print(
                f"{who}: {last['bytes'] / 1e6:.0f} MB, {growth(said, 'bytes') / 1e6:+.1f} MB; "
                f"{last['handles']} handles, {growth(said, 'handles'):+.0f}"
            )
        left = sorted(path.name for path in Path(scratch).iterdir())
        print(f"{runs} short runs by one driver; left in the folder for temporary files: {left}")
        print(f"{(time.time() - begin) / 60:.0f} minutes, seed {words.seed}")
        return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
