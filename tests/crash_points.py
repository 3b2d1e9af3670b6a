"""Every call of commands that write that changes storage: refused once, or the last of its process.

    python tests/crash_points.py RESULTS.jsonl [--sample N] [--seed S] [--only CASE]

Each case is forked from a parent that has imported everything, under the library made from storage.c. After the fault
there must be no traceback and an exit code; then the same command must end well, and its result be that of the
unbroken one with nothing left beside it. RESULTS.jsonl has a line for each point and is gone on with.
"""

import argparse
import collections
import contextlib
import ctypes
import errno
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

HERE = Path(__file__).parent
BASELINE = next((HERE / "baseline").glob("*/finished")).parent
FAULTS = {"kill": 0, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
SECONDS = 120


def _id(folder, study):
    return min(path.name for path in (BASELINE / folder).glob(f"{study}-{'[0-9a-f]' * 12}"))


def cases():
    """Name -> words of the command; each works in an empty folder that holds a copy of the baseline's runs."""
    edge = ["--examples", "60", "--width", "4", "--steps", "6", "--curvature-every", "3", "--threads", "1"]
    return {
        "edge": ["edge", *edge],
        "resume": ["resume", _id("interrupted", "edge"), "--threads", "1"],
        "export csv": ["export", "x.csv"],
        "export parquet": ["export", "x.parquet"],
        "report": ["report", _id("finished", "edge"), "--out", "x.html"],
        "delete": ["delete", _id("finished", "edge")],
        "atlas simulate": ["atlas", "simulate", "--peaks", "9", "--length", "60", "--out", "simulated"],
        "atlas export": ["atlas", "export", "atlas", "x.h5ad"],
    }


def prepared(folder):
    """The files that every case begins with."""
    for part in ("finished", "interrupted"):
        for run in (BASELINE / part).iterdir():
            if run.is_dir() and not (folder / "runs" / run.name).exists():
                shutil.copytree(run, folder / "runs" / run.name)
    shutil.copytree(BASELINE / "atlas", folder / "atlas")
    return folder


def forked(work):
    """What `work` returned in a process of its own, as JSON; the number of the signal that ended it, below 0."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(20 * SECONDS)  # what waits does no work
        try:
            answer = work()
        except BaseException:
            answer = {"traceback": traceback.format_exc()[-2000:]}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(text) if text else {"signal": status}


def command(words, folder, point=0, code=0):
    """Exit code and words of one command line in `folder`, its storage call number `point` refused or its last."""
    from netassay.cli import main

    storage = ctypes.CDLL(None)
    os.chdir(folder)
    said = io.StringIO()
    storage.storage_arm(str(folder).encode(), ctypes.c_long(point), code)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            exit_code = main(words)
    finally:
        calls = storage.storage_calls()
        storage.storage_arm(b"", ctypes.c_long(0), 0)
    return {"code": exit_code, "calls": calls, "said": said.getvalue()[-2000:]}


def result(folder):
    """What a command left, but for times: files by name; of runs their numbers, tables and state."""
    from netassay.runs import Store

    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or name.startswith("runs/"):
            continue
        same = path.suffix in (".csv", ".safetensors") or path.name == "x.parquet"
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if same else ""
    for run in Store(folder / "runs").runs():
        rows = repr(run.metrics().rows()).encode()
        assert run.verify() == [], run.verify()
        found[run.id] = [str(run.state), run.step, list(run.tables()), hashlib.sha256(rows).hexdigest()]
    return {"result": found, "beside": sorted(path.name for path in (folder / "runs").iterdir())}


def attempted(words, point, fault, wanted):
    """What is wrong after one fault, in words; "" where nothing is."""
    with tempfile.TemporaryDirectory() as name:
        folder = prepared(Path(name).resolve())
        first = forked(lambda: command(words, folder, point, FAULTS[fault]))
        if "traceback" in first or "Traceback" in first.get("said", ""):
            return f"traceback: {first}"
        if first.get("signal", -signal.SIGKILL) != -signal.SIGKILL:
            return f"ended by signal {first['signal']}"
        again = forked(lambda: command(words, folder))
        done = first.get("code") == 0 or "signal" in first  # then its result may stand already
        if again.get("code") != 0 and not (done and words[0] in ("delete", "atlas") and again.get("code") == 2):
            return f"the same command again: {again}, after {first}"
        left = forked(lambda: result(folder))
        return (
            "" if left == wanted else f"another result: {json.dumps(left)[:1500]}, wanted {json.dumps(wanted)[:1500]}"
        )


def points(only=None):
    """Every (case, point, fault), with the result that the unbroken command leaves."""
    for name, words in cases().items():
        if only in (None, name):
            with tempfile.TemporaryDirectory() as unbroken:
                folder = prepared(Path(unbroken).resolve())
                answer = forked(lambda: command(words, folder))  # noqa: B023
                assert answer.get("code") == 0, (name, answer)
                wanted = forked(lambda: result(folder))  # noqa: B023
            for point in range(1, answer["calls"] + 1):
                for fault in FAULTS:
                    yield name, words, point, fault, wanted


def run(results, sample=None, seed=0, only=None):
    """Tries the points that `results` has no line for; yields each line."""
    results = Path(results)
    before = {}
    if results.exists():
        for line in results.read_text().splitlines():
            row = json.loads(line)
            before[row["case"], row["point"], row["fault"]] = row
    chosen = list(points(only))
    if sample is not None:
        chosen = random.Random(seed).sample(chosen, min(sample, len(chosen)))
    for name, words, point, fault, wanted in chosen:
        if (row := before.get((name, point, fault))) is None:
            row = {
                "case": name,
                "point": point,
                "fault": fault,
                "wrong": attempted(words, point, fault, wanted),
            }
            with results.open("a") as file:
                file.write(json.dumps(row) + "\n")
        yield row


def library(folder):
    """The library of storage.c, compiled; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    made = Path(folder) / "storage.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, HERE / "storage.c", "-ldl"], check=True)
    return made


def main_of_script():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only")
    words = parser.parse_args()
    if "storage.so" not in os.environ.get("LD_PRELOAD", ""):
        with tempfile.TemporaryDirectory() as folder:
            made = library(folder)
            if made is None:
                sys.exit("crash points need Linux and a C compiler")
            again = [sys.executable, __file__, *sys.argv[1:]]
            sys.exit(subprocess.run(again, env={**os.environ, "LD_PRELOAD": str(made)}).returncode)
    import altair  # noqa: F401
    import torch

    import netassay.studies.edge.assay  # noqa: F401

    torch.set_num_threads(1)
    counts, wrong = collections.Counter(), 0
    for row in run(words.results, words.sample, words.seed, words.only):
        counts[row["case"], row["fault"]] += 1
        if row["wrong"]:
            wrong += 1
            print(f"{row['case']}, call {row['point']}, {row['fault']}: {row['wrong']}", file=sys.stderr)
    for (case, fault), count in sorted(counts.items()):
        print(f"{case}: {count} calls, {fault}")
    print(f"{sum(counts.values())} points, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main_of_script())
