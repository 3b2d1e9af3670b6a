"""Every call of commands that write that changes storage: refused once, or the last of its process.

    python tests/crash_points.py RESULTS.jsonl [--sample N] [--seed S] [--only WORDS]

Each case is forked from a parent that has imported everything, under the library made from storage.c. After the fault
there must be no traceback and an exit code; then the same command must end well, and its result be that of the
unbroken one with nothing left beside it. RESULTS.jsonl has a line for each point and is gone on with.
"""

import argparse
import collections
import contextlib
import ctypes
import errno
import gc
import hashlib
import importlib
import io
import itertools
import json
import os
import pkgutil
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
BASELINE = next((HERE / "baseline").glob("*/finished")).parent
BEFORE = {path.name for path in BASELINE.glob("*/*-*")}
FAULTS = {"kill": 0, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
SECONDS = 120
NOBODY = contextlib.nullcontext()
UNTRAINED = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(16, 4), nn.Linear(4, 16)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).cumsum(1))


def make():
    torch.manual_seed(0)
    return Model()
"""


def _ids(folder, study):
    return sorted(path.name for path in (BASELINE / folder).glob(f"{study}-{'[0-9a-f]' * 12}"))


@dataclass(frozen=True)
class Case:
    """A command, or a function of this file, and the runs of the baseline that lie in its store when it begins."""

    work: list[str] | str
    finished: tuple[str, ...] = ()
    interrupted: tuple[str, ...] = ()


def cases():
    """Name -> case; each works in a folder of its own that `prepared` fills."""
    aitac, peer = _ids("finished", "aitac")
    edge = _ids("finished", "edge")[0]
    small = ["--examples", "60", "--width", "4", "--steps", "6", "--curvature-every", "3", "--threads", "1"]
    one = ["--threads", "1"]
    heights = ["--peaks", "peaks.bed", "--heights", "heights.csv", "--genome", "genome.fa"]
    made = {
        "edge": Case(["edge", *small]),
        "edge-tracker": Case("tracked"),
        "memorisation": Case(
            [
                "memorisation",
                "--module",
                "untrained.py:make",
                "--tokenizer",
                "whitespace",
                "--corpus",
                "corpus.txt",
                *one,
            ]
        ),
        "reduce": Case(["reduce", aitac, "--filters", "0,1", "--epochs", "1", *one], (aitac,)),
        "export csv": Case(["export", "x.csv"], (aitac, edge)),
        "export parquet": Case(["export", "x.parquet"], (aitac, edge)),
        "report": Case(["report", edge, "--out", "x.html"], (edge,)),
        "figure": Case(["figure", edge, "edge-sharpness", "--out", "x.pdf"], (edge,)),
        "runs": Case(["runs", "--out", "x.csv"], (aitac, edge)),
        "tag": Case(["tag", edge, "paper"], (aitac, edge)),
        "delete": Case(["delete", edge], (aitac, edge)),
        "atlas build": Case(["atlas", "build", *heights, "--out", "built"]),
        "atlas simulate": Case(["atlas", "simulate", "--peaks", "9", "--length", "60", "--out", "simulated"]),
        "atlas consensus": Case(["atlas", "consensus", "peaks.bed", "--width", "51", "--out", "x.bed"]),
        "atlas reads": Case(
            ["atlas", "reads", "--peaks", "9", "--length", "60", "--cells", "2", "--depth", "20", "--out", "reads"]
        ),
        "atlas export": Case(["atlas", "export", "atlas", "x.h5ad"]),
        "construct": Case(["construct", "corpus.txt", "--embedding", "4", "--save", "memorised", *one]),
        "entropy": Case(["entropy", "corpus.txt", "--lengths", "1,2", "--page", "x.html"]),
        "predict": Case(["predict", aitac, "--fasta", "sequences.fa", "--out", "x.parquet", *one], (aitac,)),
        "attribute": Case(
            ["attribute", aitac, "--cell-type", "stem.1", "--fasta", "sequences.fa", "--out", "bases", *one], (aitac,)
        ),
        "variants": Case(
            ["variants", aitac, "--vcf", "x.vcf", "--genome", "genome.fa", "--out", "x.csv", "--null", "4", *one],
            (aitac,),
        ),
    }
    for study in ("edge", "edge-stepsize", "capacity", "aitac", "aitac-interpret", "aitac-transfer"):
        for number, run in enumerate(_ids("interrupted", study), start=1):
            subjects = (aitac, peer) if "-i" in study or "-t" in study else ()
            made[f"resume {study} {number}"] = Case(["resume", run, *one], subjects, (run,))
    return made


def prepared(folder, case):
    """The files that a case begins with."""
    for part, runs in (("finished", case.finished), ("interrupted", case.interrupted)):
        for run in runs:
            shutil.copytree(BASELINE / part / run, folder / "runs" / run)
    (folder / "runs").mkdir(exist_ok=True)
    shutil.copytree(BASELINE / "atlas", folder / "atlas")
    shutil.copy(BASELINE / "corpus.txt", folder)
    (folder / "untrained.py").write_text(UNTRAINED)
    draw = random.Random(0)
    genome = "".join(draw.choices("ACGT", k=2000))
    (folder / "genome.fa").write_text(f">chr1\n{genome}\n")
    (folder / "sequences.fa").write_text(f">one\n{genome[:100]}\n>two\n{genome[100:200]}\n")
    (folder / "peaks.bed").write_text("".join(f"chr1\t{k * 100}\t{k * 100 + 60}\tpeak{k}\n" for k in range(9)))
    rows = "".join(f"peak{k},{draw.random():.3f},{draw.random():.3f}\n" for k in range(9))
    (folder / "heights.csv").write_text(f"peak,B,T\n{rows}")
    change = "A" if genome[700] != "A" else "C"
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (folder / "x.vcf").write_text(f"{head}chr1\t701\tv1\t{genome[700]}\t{change}\t.\t.\t.\n")
    return folder


def trained(tracker, model, optimizer, loss, x, y):
    """The weights after some steps of a loop of one's own."""
    import torch

    with tracker:
        for _ in range(30):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            if tracker is not NOBODY:
                tracker.step(value)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).tolist()


def tracked(folder):
    """A loop under the tracker, whose clock counts, so that it always looks at the same steps; 2 without a run.

    Whatever storage does, the loop must come to the weights that it comes to without the tracker.
    """
    import torch

    import netassay

    def parts():
        torch.manual_seed(0)
        x = torch.randn(30, 5)
        y = x.sum(dim=1, keepdim=True).sin()
        model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        return model, torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.MSELoss(), x, y

    ticks = itertools.count()
    model, optimizer, loss, x, y = parts()
    try:
        tracker = netassay.SharpnessTracker(
            model, loss, [(x, y)], optimizer, store=folder / "runs", name="sines", clock=lambda: float(next(ticks))
        )
    except netassay.errors.NetassayError as cause:  # before the training has begun
        print(cause, file=sys.stderr)
        return cause.exit_code
    weights = trained(tracker, model, optimizer, loss, x, y)
    assert weights == trained(NOBODY, *parts()), "the tracker changed the training"
    return 0


def forked(work, seconds=SECONDS):
    """What `work` returned in a process of its own, as JSON; the number of the signal that ended it, below 0."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(20 * seconds)  # what waits does no work
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
    import netassay.cli

    work = partial(netassay.cli.main, words) if isinstance(words, list) else partial(globals()[words], folder)
    storage = ctypes.CDLL(None)
    os.chdir(folder)
    said = io.StringIO()
    storage.storage_arm(str(folder).encode(), ctypes.c_long(point), code)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            exit_code = work()
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
    loops, ids = [], set()  # every loop under a tracker makes a run of its own
    for run in Store(folder / "runs").runs():
        rows = repr(run.metrics().rows()).encode()
        assert run.verify() == [], run.verify()
        row = [str(run.state), run.step, list(run.tables()), hashlib.sha256(rows).hexdigest()]
        ids.add(run.id)
        if run.study == "edge-tracker":
            loops.append(row)
        else:  # the id of a run that is made from another one depends on where that lies
            found[run.id if run.id in BEFORE else f"new {run.study}"] = row
    beside = sorted(path.name for path in (folder / "runs").iterdir() if path.name not in ids)
    return {"result": found, "loop": max(loops, key=lambda row: row[0] == "finished", default=None), "beside": beside}


def differences(left, wanted):
    """What is other than it should be, as text."""
    if "result" not in left:
        return str(left)
    names = sorted(left["result"].keys() | wanted["result"].keys())
    said = {name: (left["result"].get(name), wanted["result"].get(name)) for name in names}
    said |= {name: (left[name], wanted[name]) for name in ("loop", "beside")}
    return json.dumps({name: pair for name, pair in said.items() if pair[0] != pair[1]})[:1500]


def attempted(case, point, fault, wanted):
    """What is wrong after one fault, in words; "" where nothing is."""
    with tempfile.TemporaryDirectory() as name:
        folder = prepared(Path(name).resolve(), case)
        words = case.work
        first = forked(lambda: command(words, folder, point, FAULTS[fault]))
        if "traceback" in first or "Traceback" in first.get("said", ""):
            return f"traceback: {first}"
        if first.get("signal", -signal.SIGKILL) != -signal.SIGKILL:
            return f"ended by signal {first['signal']}"
        again = forked(lambda: command(words, folder))
        done = first.get("code") == 0 or "signal" in first  # then its result may stand already
        once = words[0] in ("delete", "atlas", "construct")  # what is done is refused the second time
        if again.get("code") != 0 and not (done and once and again.get("code") == 2):
            return f"the same command again: {again}, after {first}"
        left = forked(lambda: result(folder))
        return "" if left == wanted else f"another result: {differences(left, wanted)}, after {first}"


def points(only=None):
    """Every (case, point, fault), with the result that the unbroken command leaves."""
    for name, case in cases().items():
        faults = [fault for fault in FAULTS if only is None or re.search(only, f"{name} # {fault}")]
        if faults:
            with tempfile.TemporaryDirectory() as unbroken:
                folder = prepared(Path(unbroken).resolve(), case)
                answer = forked(lambda: command(case.work, folder))  # noqa: B023
                assert answer.get("code") == 0, (name, answer)
                wanted = forked(lambda: result(folder))  # noqa: B023
            for point in range(1, answer["calls"] + 1):
                for fault in faults:
                    yield name, case, point, fault, wanted


def run(results, sample=None, seed=0, only=None):
    """Tries the points that `results` has no line for; yields their number, then each line."""
    results = Path(results)
    before = {}
    if results.exists():
        for line in results.read_text().splitlines():
            row = json.loads(line)
            before[row["case"], row["point"], row["fault"]] = row
    chosen = list(points(only))
    # in a random order, so that whatever has been tried when this is stopped is a sample of all
    chosen = random.Random(seed).sample(chosen, len(chosen) if sample is None else min(sample, len(chosen)))
    yield len(chosen)
    for name, case, point, fault, wanted in chosen:
        if (row := before.get((name, point, fault))) is None:
            row = {
                "case": name,
                "point": point,
                "fault": fault,
                "wrong": attempted(case, point, fault, wanted),
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


def imported():
    """Everything that a case would import, so that it costs its own work alone; nothing is run that starts threads."""
    import altair  # noqa: F401
    import h5py  # noqa: F401
    import narwhals.stable.v1  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch._dynamo  # tensors without memory ask for it
    import torch.fx.experimental.symbolic_shapes  # noqa: F401

    import netassay

    for module in pkgutil.walk_packages(netassay.__path__, "netassay."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # an extra that is not installed
                importlib.import_module(module.name)
    with contextlib.suppress(ImportError):
        import tangermeme.deep_lift_shap  # noqa: F401
    gc.freeze()  # no collection in a case looks at what it was forked with


def main_of_script():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="regular expression of CASE # FAULT")
    words = parser.parse_args()
    if "storage.so" not in os.environ.get("LD_PRELOAD", ""):
        with tempfile.TemporaryDirectory() as folder:
            made = library(folder)
            if made is None:
                sys.exit("crash points need Linux and a C compiler")
            again = [sys.executable, __file__, *sys.argv[1:]]
            sys.exit(subprocess.run(again, env={**os.environ, "LD_PRELOAD": str(made)}).returncode)
    import torch

    torch.set_num_threads(1)
    imported()
    counts, wrong = collections.Counter(), 0
    rows = run(words.results, words.sample, words.seed, words.only)
    print(f"{next(rows)} points to try", flush=True)
    for row in rows:
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
