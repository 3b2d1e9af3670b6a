"""Do two commits compute the same numbers on this machine, to the last bit?

    python benchmarks/same_numbers.py BEFORE [AFTER]

BEFORE and AFTER (HEAD unless given) are git commits. Both do the same work here, one after the other, with the same
Python, the same libraries and one thread: every study's tiny config; every shipped plan in a small form, each value of
each of its keys at least once; interpretations, a transfer, a reduced network, a tracked loop; the commands on corpora,
atlases and a trained run; and the library's functions on small networks. Then runs (metrics, tables, weights, state),
the numbers of all charts of all pages, and answers are compared byte by byte. Titles and words may differ, times are
left out (WORDS, LEFT_OUT).

A line a thing compared, a last line with counts; a minute or two a commit. Exit code 1 if anything differs, with its
first column and row; 2 if one side could not do its work, or was stopped. The work is done through the command line and
public names alone, so that modules may move in between.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import io
import itertools
import json
import os
import random
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

LEFT_OUT = {"seconds", "wall", "time", "created", "began", "updated", "folder", "peak_bytes"}
"""Columns and keys that tell when something was done, how long it took, in how much memory, and where it stands."""

WORDS = {"text", "words", "message", "remark", "remarks", "title", "caption", "description"}
"""Columns and keys whose text is prose: may differ."""

RENAMED = {
    "both": "both_sites",
    "held": "sequences",
    "one": "one_site",
    "known": "database",
    "others": "other_runs",
    "needed": "runs_needed",
    "whole": "network",
}
"""Attributes of results that have a new name: old -> new. Either is read as the new one."""

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"),
    "1",
)

ALWAYS: dict[str, dict[str, Any]] = {
    "edge": {"examples": 40, "test_examples": 20, "steps": 12, "curvature_every": 4},
    "edge-stepsize": {
        "examples": 40,
        "test_examples": 20,
        "goal": 0.9,
        "steps": 40,
        "flow_steps": 20,
        "seeds": 1,
        "resolution": 2.0,
    },
    "aitac": {"peaks": 200, "epochs": 1},
    "capacity": {"try_steps": 8, "length": 5},
    "aitac-interpret": {"most_peaks": 100},
}
AT_MOST: dict[str, dict[str, float]] = {
    "edge": {"width": 8, "depth": 4, "batch_probes": 4, "batch_size": 10},
    "edge-stepsize": {"width": 6},
    "aitac": {
        "n_filters": 8,
        "n_channels": 6,
        "n_hidden": 8,
        "batch_size": 50,
        "repeat": 1,
        "fold": 1,
        "seed": 1,
    },
    "capacity": {"width": 8, "documents": 20, "narrowest": 2},
}
"""The small form of a shipped config: keys that are set, and keys that are cut down to a number."""

MORE: tuple[dict[str, Any], ...] = (
    {"study": "edge", "depth": 1, "width": 4, "step_size": 0.1, "top": 2, "gauss_newton": True, "alignment": True,
     "trace_products": 6, "density_steps": 4, "projections": 2, "flow": True, "central_flow": True},
    {"study": "edge", "depth": 3, "width": 6, "optimiser": "sgd", "batch_size": 10, "batch_probes": 3, "flow": True,
     "loss": "cross_entropy", "step_size": 0.3},
    {"study": "edge", "depth": 1, "width": 4, "step_size": 40.0},
    *({"study": "capacity", "document": "line", "documents": 30, "trained": trained, "solver": solver, "width": 6,
       "widths": "bisection", "gap": 1.0, "tries": 2}
      for trained in ("all", "feed_forward", "output") for solver in ("fast", "paper")),
    *({"study": "aitac", "atlas": "atlas", "null": null, "n_filters": 4, "n_channels": 3, "n_hidden": 4, "loss": loss,
       "strands": strands, "first_activation": first, "split": "random", "batch_size": 20, "precision": precision}
      for null, loss, strands, first, precision in (
          ("rows", "pearson", "one", "relu", "float32"), ("cells", "mse", "averaged", "exponential", "float32"),
          ("mononucleotide", "pearson", "augmented", "relu", "bfloat16"))),
)  # fmt: skip

LONG = {
    "study": "edge", "examples": 200, "width": 16, "step_size": 0.5, "steps": 120, "curvature_every": 3, "seed": 1,
}  # fmt: skip
"""Long enough for every phase of a training."""

SUBJECT = {
    "study": "aitac", "atlas": "atlas", "split": "random", "n_filters": 8, "n_channels": 6, "n_hidden": 8, "epochs": 4,
    "batch_size": 20, "learning_rate": 0.01, "strands": "augmented", "precision": "float32",
}  # fmt: skip
INTERPRET = {
    "peaks": "all", "well_predicted": -0.99, "motif_permutations": 1, "permutations": 100, "backgrounds": 4,
    "scanned_pairs": 1, "pair_factors": 3, "attribution_cell_types": 2, "attribution_peaks": 3,
    "attribution_references": 2, "motif_logos": 3, "reproducible_q": 0.5, "least_bits": 0.0, "least_sites": 1,
    "chip": "chip.fa", "chip_factor": "SPI1", "chip_words": 1, "chip_word": 12,
}  # fmt: skip
TRANSFER = {"permutations": 3, "influence_peaks": 30}


def main() -> int:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("before", help="git commit")
    words.add_argument("after", nargs="?", default="HEAD", help="git commit; HEAD unless given")
    given = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as place:
        sides = [
            work_of(commit, Path(place), name) for commit, name in ((given.before, "before"), (given.after, "after"))
        ]
        return compare(*sides)


def work_of(commit: str, place: Path, name: str) -> Path:
    """The folder of all that a commit computes. Both work in a folder of one name, which may stand in what they say."""
    git = ["git", "-C", str(Path(__file__).parent)]
    full = subprocess.run([*git, "rev-parse", f"{commit}^{{commit}}"], check=True, capture_output=True, text=True)
    tree, work = place / f"tree-{name}", place / "work"
    subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(tree), full.stdout.strip()], check=True)
    begun = time.monotonic()
    try:
        work.mkdir()
        environment = {
            **os.environ,
            **ONE_THREAD,
            "PYTHONPATH": str(tree / "src"),
            "PYTHONWARNINGS": "ignore",
        }
        script = "import sys; sys.path.insert(0, sys.argv[1]); import same_numbers; same_numbers.work(sys.argv[2])"
        words = [sys.executable, "-c", script, str(Path(__file__).parent.resolve()), str(tree / "src")]
        if code := subprocess.run(words, cwd=work, env=environment).returncode:
            _say(f"{name}, {full.stdout[:12]}: its work ended with exit code {code}, so nothing was compared")
            raise SystemExit(UNFINISHED)
        work.rename(place / name)
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)
    print(f"{name}: {full.stdout[:12]}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return place / name


def work(source: str) -> None:
    """All the work of the netassay in `source`, in the working folder."""
    import torch

    import netassay

    if not Path(netassay.__file__).is_relative_to(source):
        raise SystemExit(f"netassay was imported from {netassay.__file__}, not from {source}")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    _draw_nothing()
    for path in ("answers", "pages", "runs"):
        Path(path).mkdir()
    inputs()
    command("atlas-simulate", "atlas", "simulate", "--peaks", "100", "--length", "100", "--out", "atlas")
    groups = {**shipped_runs(), "tiny": tiny_runs(), "more": more_runs()}
    groups |= runs_on_runs()
    groups["tracker"] = [tracked_run()]
    commands(groups["subject"][0])
    for name, function in library().items():
        answer(f"library-{name}", function)
    for run in netassay.Store("store").runs():
        keep(run)
    for group, runs in groups.items():
        if runs := [run for run in runs if run]:
            pages(group, runs)


def pages(group: str, ids: Sequence[str]) -> None:
    """The numbers of the charts on the page of some runs, as the command writes them, and those of its tables."""
    import netassay
    from netassay import study

    figures = Path("pages", group)
    figures.mkdir()
    command(
        f"report-{group}",
        "report",
        *ids,
        "--store",
        "store",
        "--figures",
        str(figures),
        "--out",
        "page.html",
        form=None,
    )
    runs = [netassay.Store("store").find(name) for name in ids]
    for kind in (getattr(study, "drawable", None) or study.drawn)():
        if held := [run for run in runs if run.study == kind]:
            for section in study.find(kind, tracked=True).pages.sections(held):
                for item in section.items:
                    if hasattr(item, "data") and not hasattr(item, "chart"):
                        flat = item.data.select(~pl.selectors.by_dtype(pl.List, pl.Array, pl.Struct))
                        flat.write_csv(figures / f"table {kind} {item.name}.csv")


def _draw_nothing() -> None:
    """Figures are wanted as CSV: their pictures, drawn by a library, would take most of the time."""
    import vl_convert

    vl_convert.vegalite_to_svg = lambda *_, **__: "<svg></svg>"
    vl_convert.svg_to_png = vl_convert.svg_to_pdf = lambda *_, **__: b""


def inputs() -> None:
    """A corpus, a genome, peaks, heights, sequences and variants, all drawn from one seed."""
    draw = random.Random(0)
    words = [f"word{i}" for i in range(12)]
    stories = [" ".join(draw.choices(words, weights=range(1, 13), k=draw.randint(3, 9))) for _ in range(60)]
    Path("tinystories.txt").write_text("\n<|endoftext|>\n".join(stories))
    Path("lines.txt").write_text("\n".join(stories) + "\n")
    genome = {name: "".join(draw.choices("ACGT", k=4000)) for name in ("chr1", "chr2", "chr3")}
    Path("genome.fa").write_text("".join(f">{name}\n{bases}\n" for name, bases in genome.items()))
    peaks = [(f"peak{i}", f"chr{i % 3 + 1}", 90 * i + 10) for i in range(36)]
    Path("peaks.bed").write_text("".join(f"{where}\t{at}\t{at + 100}\t{name}\n" for name, where, at in peaks))
    rows = [f"{name},{draw.randint(0, 90)},{draw.randint(0, 90)},{draw.randint(0, 90)}" for name, *_ in peaks]
    Path("heights.csv").write_text("\n".join(["name,B,T,NK", *rows]) + "\n")
    some = [(name, genome[where][at : at + 100]) for name, where, at in peaks[:5]]
    Path("sequences.fa").write_text("".join(f">{name}\n{bases}\n" for name, bases in some))
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for i in range(12):
        at = 300 + 200 * i
        reference = genome["chr1"][at]
        lines.append(f"chr1\t{at + 1}\tv{i}\t{reference}\t{'ACGT'.replace(reference, '')[i % 3]}\t.\t.\t.")
    Path("variants.vcf").write_text("\n".join(lines) + "\n")


def tiny_runs() -> list[str]:
    from netassay import study

    return [performed(study.find(name).tiny()) for name in study.names()]


def more_runs() -> list[str]:
    from netassay import study

    return [performed(small(values)) for values in MORE] + [performed(study.configure(LONG))]


def plans() -> list[tuple[str, Any]]:
    """Every plan in the package, with its name."""
    import netassay

    paths = sorted(Path(netassay.__file__).parent.rglob("plans/*.toml"), key=lambda path: path.name)
    return [(path.stem.replace("_", "-"), netassay.Plan.from_file(path)) for path in paths]


def shipped_runs() -> dict[str, list[str]]:
    """Runs of every plan, small: those that show a value of a key not seen before in their plan."""
    groups: dict[str, list[str]] = {}
    for name, plan in plans():
        if plan.study == "aitac-interpret":
            continue  # needs a trained run: in runs_on_runs
        seen: set[tuple[str, str]] = set()
        ids = groups.setdefault(f"{plan.study}-{name}", [])
        for config in plan.configs():
            cut = small({**config.mapping(), "study": plan.study})
            shown = {(key, json.dumps(value)) for key, value in cut.mapping().items()}
            if shown - seen:
                seen |= shown
                ids.append(performed(cut))
    return groups


def small(values: Mapping[str, Any]) -> Any:
    """The config of some values in its small form."""
    from netassay import study

    name = values["study"]
    cut = {**values, **ALWAYS.get(name, {})}
    for key, most in AT_MOST.get(name, {}).items():
        if isinstance(cut.get(key), int | float) and cut[key] > most:
            cut[key] = most
    if values.get("atlas") == "atlas":
        cut["peaks"] = 0
    return study.configure(cut)


def performed(config: Any) -> str:
    """The id of a run; one that is refused is told of, and has the refusal for an answer."""
    import netassay
    from netassay.errors import Interrupted, NetassayError

    try:
        return netassay.perform(config, "store", threads=1).id
    except Interrupted as stopped:
        # a signal came from outside: half a run is no answer of the commit's
        _say(str(stopped))
        raise SystemExit(UNFINISHED) from None
    except NetassayError as refused:
        name = f"{config.study}-{config.digest[:12]}"
        _say(f"refused: {name}: {refused}")
        _write(f"run-{name}", {"refused": type(refused).__name__})
        return ""


def runs_on_runs() -> dict[str, list[str]]:
    """A trained network and two repetitions, and all that is made from them; the shipped interpretation on dhs4."""
    import netassay
    from netassay import study

    seeds = [netassay.perform(study.configure({**SUBJECT, "seed": i}), "store", threads=1) for i in range(3)]
    subject, *peers = seeds
    atlas = netassay.find_atlas("atlas")
    letters = ["".join("ACGTN"[min(code, 4)] for code in row) for row in atlas.codes[:20].tolist()]
    Path("chip.fa").write_text("".join(f">{i}\n{bases}\n" for i, bases in enumerate(letters)))
    netassay.simulate_atlas(80, length=100, seed=1).save("other-atlas")
    pairs = [(name, name) for name in atlas.cell_types]
    reduced = study.configure({**SUBJECT, "epochs": 1, "start_from": f"store/{subject.id}"} | {"filters": "1,3,5"})
    dhs4 = netassay.perform(small({"study": "aitac", "atlas": "dhs4", "loss": "cross_entropy"}), "store", threads=1)
    (plan,) = [plan for plan in plans() if plan[1].study == "aitac-interpret"]
    options = {**plan[1].base, **ALWAYS["aitac-interpret"]}
    return {
        "subject": [run.id for run in seeds],
        "interpret": [
            netassay.interpret(subject, peers, threads=1, **INTERPRET).id,
            netassay.interpret(peers[0], threads=1, **INTERPRET | {"screening": True}).id,
        ],
        "interpret-demo": [netassay.interpret(dhs4, threads=1, **options).id],
        "transfer": [netassay.transfer(subject, "other-atlas", pairs, threads=1, **TRANSFER).id],
        "reduced": [performed(reduced)],
    }


def tracked_run() -> str:
    """A loop of one's own; its clock ticks whenever it is asked, so that it looks at the same steps always."""
    import torch

    import netassay

    ticks = itertools.count()
    torch.manual_seed(0)
    net, batch = (
        torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)),
        torch.randn(30, 5),
    )
    y = batch.sum(dim=1, keepdim=True).sin()
    loss, optimizer = torch.nn.MSELoss(), torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.5)
    with netassay.SharpnessTracker(
        net,
        loss,
        [(batch, y)],
        optimizer,
        store="store",
        name="sines",
        budget=5.0,
        clock=lambda: float(next(ticks)),
    ) as tracker:
        for _ in range(80):
            optimizer.zero_grad()
            value = loss(net(batch), y)
            value.backward()
            optimizer.step()
            tracker.step(value)
    return tracker.run.id


def commands(subject: str) -> None:
    """What the command line says of corpora, models, atlases and a trained run."""
    story = ("tinystories.txt", "--document", "record")
    for name, words in {
        "records": story,
        "lines": ("lines.txt", "--length", "4"),
        "topics": ("topics", "--length", "3"),
    }.items():
        command(f"entropy-{name}", "entropy", *words)
        command(f"entropy-{name}-by-length", "entropy", *words, "--by-length")
        command(f"bounds-{name}", "bounds", *words, "--parameters", "5000", "--width", "32")
    command("bounds-alone", "bounds", "--parameters", "35442", "--vocabulary", "690", "--width", "32")
    for architecture, method in (("averaging", "solve"), ("decoder", "solve"), ("averaging", "ladder")):
        words = ("--architecture", architecture, "--method", method, "--embedding", "8")
        command(f"construct-{architecture}-{method}", "construct", "lines.txt", "--length", "4", *words)
    command("injectivity", "injectivity", *story, "--seeds", "2")
    command("rank", "rank", "tanh", "z + z^3", "--size", "4", "--size", "8")
    command("atlas-info-simulated", "atlas", "info", "atlas")
    command("atlas-info-dhs4", "atlas", "info", "dhs4")
    command(
        "atlas-build",
        "atlas",
        "build",
        "--peaks",
        "peaks.bed",
        "--heights",
        "heights.csv",
        "--genome",
        "genome.fa",
        "--normalise",
        "log2",
        "--out",
        "built",
    )
    for name in ("atlas", "built"):
        for path in Path(name).rglob("*"):
            if path.suffix in (".parquet", ".safetensors"):
                shutil.copy(path, _folder(f"atlas-{name}") / path.name)
    on = (subject, "--store", "store")
    out = {name: _folder(name) for name in ("predict", "predict-regions", "variants", "attribute", "attribute-regions")}
    regions = ("--bed", "peaks.bed", "--genome", "genome.fa")
    command(
        "predict",
        "predict",
        *on,
        "--fasta",
        "sequences.fa",
        "--out",
        f"{out['predict']}/table.csv",
        form=None,
    )
    command(
        "predict-regions",
        "predict",
        *on,
        *regions,
        "--out",
        f"{out['predict-regions']}/table.parquet",
        form=None,
    )
    command(
        "variants",
        "variants",
        *on,
        "--vcf",
        "variants.vcf",
        "--genome",
        "genome.fa",
        "--null",
        "20",
        "--out",
        f"{out['variants']}/table.tsv",
        form=None,
    )
    for name, words in (("attribute", ("--fasta", "sequences.fa")), ("attribute-regions", regions)):
        command(
            name,
            "attribute",
            *on,
            "--cell-type",
            _cell_type(),
            *words,
            "--out",
            f"{out[name]}/contributions",
            form=None,
        )


def library() -> dict[str, Callable[[], Any]]:
    """The public functions on small networks, a corpus, and motifs."""
    import torch

    import netassay

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    x, y = torch.randn(30, 5), torch.randn(30, 2)
    asked: tuple[Any, ...] = (net, torch.nn.functional.mse_loss, [(x[:20], y[:20]), (x[20:], y[20:])])
    documents = netassay.read_corpus("lines.txt", document="line", limit=4).documents
    contexts = netassay.contexts(documents)
    made = netassay.construct(contexts, embedding=4)
    atlas = netassay.find_atlas("atlas")
    few, heights = atlas.codes[:30], atlas.heights[:30, :3]
    reader = torch.nn.Sequential(
        torch.nn.Conv1d(4, 6, 11),
        torch.nn.ReLU(),
        torch.nn.AdaptiveMaxPool1d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(24, 3),
    ).eval()
    motifs = netassay.filter_motifs(reader, atlas.codes, layer="0")
    sets = [[0], [1], [2]]
    return {
        "sharpness": lambda: netassay.sharpness(*asked, k=2, blocks="layer", generator=seeded()),
        "sharpness-ggn": lambda: netassay.sharpness(*asked, k=2, kind="ggn", generator=seeded()),
        "trace": lambda: netassay.trace(*asked, products=12, blocks="layer", generator=seeded()),
        "spectral-density": lambda: netassay.spectral_density(*asked, steps=8, probes=2, generator=seeded()),
        "batch-sharpness": lambda: netassay.batch_sharpness(*asked),
        "step-size": lambda: netassay.step_size(*asked, momentum=0.5, generator=seeded()),
        "gradient-flow": lambda: netassay.gradient_flow(*asked, times=[0.0, 0.2, 0.5]),
        "contexts": lambda: contexts,
        "side-by-side": lambda: netassay.side_by_side(contexts),
        "bounds": lambda: netassay.bounds(5000, corpus=contexts),
        "upper-to-lower": lambda: netassay.upper_to_lower(50, 20, embedding=8, longest=5),
        "separations": lambda: netassay.separations(contexts, seeds=(0, 1)),
        "ranks": lambda: netassay.ranks(("tanh", "z + z^3"), sizes=(4, 8)),
        "construct": lambda: made,
        "local-capacity": lambda: netassay.local_capacity(made.model, [[0], [0, 1], [1, 2], [2]]),
        "filter-motifs": lambda: motifs,
        "match-motifs": lambda: netassay.match_motifs(motifs, permutations=2, generator=seeded(), threads=1),
        "reproducible-filters": lambda: netassay.reproducible_filters([motifs, motifs], generator=seeded()),
        "cluster-motifs": lambda: netassay.cluster_motifs([motifs, motifs]),
        "recovery": lambda: netassay.recovery(motifs, atlas.truth, least_bits=0.0, least_sites=1, generator=seeded()),
        "influence": lambda: netassay.influence(reader, few, heights, layer="0"),
        "interactions": lambda: netassay.interactions(
            reader, few, sets, layer="0", permutations=50, generator=seeded()
        ),
        "attribute": lambda: netassay.attribute(reader, few[:4], output=0),
        "mutagenesis": lambda: netassay.mutagenesis(reader, few[:4], output=0),
        "variant-effects": lambda: netassay.variant_effects(
            reader,
            "variants.vcf",
            "genome.fa",
            length=100,
            names=("a", "b", "c"),
            null=10,
            generator=seeded(),
        ),
    }


def command(name: str, *words: str, form: str | None = "json") -> None:
    """Keeps what a command answers; one that refuses has its exit code for an answer."""
    asked = ["netassay", *words, *(("--format", form) if form else ())]
    output, before, code = io.StringIO(), sys.argv, 0
    try:
        sys.argv = asked
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()) as errors:
            runpy.run_module("netassay", run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    if code:
        _say(f"refused: {' '.join(asked)}: {errors.getvalue().strip()[-300:]}")
    text = output.getvalue()
    told = json.loads(text) if form and not code else None
    _write(name, {"exit code": code, "answer": told})


def answer(name: str, make: Callable[[], Any]) -> None:
    """Keeps what a function of the library gives, or that it refuses."""
    try:
        value = plain(make())
    except Exception as refused:
        value = {"refused": type(refused).__name__}
        _say(f"refused: {name}: {refused}")
    _write(name, value)


def keep(run: Any) -> None:
    """Metrics, tables, weights and state of a run. A tracked one goes by its name: its id tells when it began."""
    from safetensors.torch import save_file

    folder = Path("runs") / (f"{run.study}-{run.config['name']}" if run.study == "edge-tracker" else run.id)
    folder.mkdir()
    run.metrics().write_parquet(folder / "recorded.parquet")
    for name in run.tables():
        run.table(name).write_parquet(folder / f"table {name}.parquet")
    checkpoint = run.checkpoint()
    if checkpoint is not None and checkpoint.tensors:
        save_file(
            {key: value.contiguous() for key, value in checkpoint.tensors.items()},
            folder / "weights.safetensors",
        )
    (folder / "state.json").write_text(json.dumps({"state": str(run.state), "step": run.step}))


def plain(value: Any, depth: int = 0) -> Any:
    """A result as JSON holds it, every digit kept."""
    import torch

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        return {"shape": list(value.shape), "values": value.detach().flatten().tolist()}
    if isinstance(value, np.ndarray | np.generic):
        return {"shape": list(value.shape), "values": value.ravel().tolist()}
    if isinstance(value, pl.DataFrame):
        return value.to_dict(as_series=False)
    if isinstance(value, torch.nn.Module):
        return plain(value.state_dict(), depth + 1)
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name), depth + 1) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict(), depth + 1)
    if isinstance(value, Mapping):
        return {str(key): plain(part, depth + 1) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [plain(part, depth + 1) for part in value]
    return str(type(value).__name__)


def _folder(name: str) -> Path:
    folder = Path("answers", name)
    folder.mkdir(exist_ok=True)
    return folder


def _write(name: str, value: Any) -> None:
    (_folder(name) / "answer.json").write_text(json.dumps(value))


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _cell_type() -> str:
    import netassay

    return netassay.find_atlas("atlas").cell_types[0]


def compare(before: Path, after: Path) -> int:
    """Prints a line for everything that either side has, and counts; 1 if anything differs."""
    things = {path.relative_to(side) for side in (before, after) for path in side.glob("*/*")}
    columns, differing = 0, 0
    chosen = sorted(str(thing) for thing in things if thing.parts[0] in ("runs", "pages", "answers"))
    for thing in chosen:
        count, first = compare_thing(before / thing, after / thing)
        columns += count
        differing += bool(first)
        print(
            f"{'DIFFERS' if first else 'same'}  {thing}  {count} columns{f'; {first}' if first else ''}",
            flush=True,
        )
    print(f"{len(chosen)} things, {columns} columns compared: {differing or 'none'} of the things differ")
    return int(differing > 0)


def compare_thing(before: Path, after: Path) -> tuple[int, str]:
    """How many columns of its files were compared, and the first difference, "" if there is none."""
    files = {path.relative_to(side) for side in (before, after) for path in side.rglob("*") if path.is_file()}
    count, first = 0, ""
    for file in sorted(file for file in files if file.suffix not in PICTURES):
        one, other = before / file, after / file
        if not (one.exists() and other.exists()):
            first = first or f"{file} is only {'before' if one.exists() else 'after'}"
            continue
        compared, difference = KINDS.get(file.suffix, lines)(one, other)
        count += compared
        first = first or (f"{file}: {difference}" if difference else "")
    return count, first


def tables(one: Path, other: Path) -> tuple[int, str]:
    """Column by column, floats by their bits."""
    a, b = pl.read_parquet(one), pl.read_parquet(other)
    keys = [key for key in dict.fromkeys([*a.columns, *b.columns]) if key not in LEFT_OUT | WORDS]
    for count, key in enumerate(keys):
        if key not in a.columns or key not in b.columns:
            return count, f"column {key!r} is only {'before' if key in a.columns else 'after'}"
        if a[key].dtype != b[key].dtype or a.height != b.height:
            return (
                count,
                f"column {key!r}: {a.height} x {a[key].dtype} before, {b.height} x {b[key].dtype} after",
            )
        if (row := _row(a[key], b[key])) is not None:
            return (
                count,
                f"column {key!r}, row {row}: {a[key][row]!r} before, {b[key][row]!r} after; {_at(a, row)}",
            )
    return len(keys), ""


def _row(a: pl.Series, b: pl.Series) -> int | None:
    """The first row in which two columns differ."""
    if a.dtype.is_float():
        kind = "u4" if a.dtype == pl.Float32 else "u8"
        bits = [column.fill_null(0).to_numpy().view(kind) for column in (a, b)]
        rows = np.flatnonzero((bits[0] != bits[1]) | (a.is_null() != b.is_null()).to_numpy())
    elif a.equals(b, null_equal=True):
        return None
    else:
        rows = np.flatnonzero([x != y for x, y in zip(a.to_list(), b.to_list(), strict=True)])
    return int(rows[0]) if len(rows) else None


def _at(frame: pl.DataFrame, row: int) -> str:
    """What else stands in a row, to know it by."""
    named = {key: frame[key][row] for key in frame.columns if not frame[key].dtype.is_float()}
    return ", ".join(f"{key} {value}" for key, value in named.items())[:120]


def charts(one: Path, other: Path) -> tuple[int, str]:
    """The columns of numbers in their order, cell by cell; what they are called, and columns of words, may differ."""
    (names, a), (_, b) = _numbers(one), _numbers(other)
    if len(a) != len(b):
        return 0, f"{len(a)} columns of numbers before, {len(b)} after"
    for count, (name, left, right) in enumerate(zip(names, a, b, strict=True)):
        if len(left) != len(right):
            return count, f"{len(left)} rows before, {len(right)} after"
        for row, (x, y) in enumerate(zip(left, right, strict=True)):
            if x != y:
                return count, f"column {name!r}, row {row}: {x} before, {y} after"
    return len(a), ""


def _numbers(path: Path) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines()) or [[]]
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in header]
    chosen = [i for i, column in enumerate(columns) if header[i] not in LEFT_OUT and all(map(_is_number, column))]
    return [header[i] for i in chosen], [list(columns[i]) for i in chosen]


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return text in ("true", "false")
    return True


def answers(one: Path, other: Path) -> tuple[int, str]:
    """Leaf by leaf, by the digits they are written with."""
    a, b = (dict(_leaves(json.loads(path.read_text()))) for path in (one, other))
    for count, key in enumerate(dict.fromkeys([*a, *b])):
        if key not in a or key not in b:
            return count, f"{key} is only {'before' if key in a else 'after'}"
        if a[key] != b[key]:
            return count, f"{key}: {a[key]} before, {b[key]} after"
    return len(a), ""


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name not in LEFT_OUT | WORDS:
                yield from _leaves(part, f"{key}/{RENAMED.get(name, name)}")
    elif isinstance(value, list):
        if all(isinstance(part, float | int | str | None) for part in value):
            yield key, json.dumps(value)
        else:
            for i, part in enumerate(value):
                yield from _leaves(part, f"{key}/{i}")
    else:
        yield key, json.dumps(value)


def weights(one: Path, other: Path) -> tuple[int, str]:
    from safetensors.numpy import load_file

    a, b = load_file(one), load_file(other)
    for count, name in enumerate(sorted({*a, *b})):
        if name not in a or name not in b:
            return count, f"tensor {name} is only {'before' if name in a else 'after'}"
        if a[name].shape != b[name].shape or a[name].dtype != b[name].dtype:
            return (
                count,
                f"tensor {name}: {a[name].dtype} {a[name].shape} before, {b[name].dtype} {b[name].shape} after",
            )
        if a[name].tobytes() != b[name].tobytes():
            place = np.flatnonzero(a[name].ravel() != b[name].ravel())[:1]
            at = [f"at {i}: {a[name].ravel()[i]} before, {b[name].ravel()[i]} after" for i in place]
            return count, f"tensor {name} {''.join(at)}"
    return len(a), ""


def lines(one: Path, other: Path) -> tuple[int, str]:
    """Any other file, by its lines, or else by its bytes."""
    a, b = one.read_bytes(), other.read_bytes()
    if a != b:
        pairs = itertools.zip_longest(a.split(b"\n"), b.split(b"\n"), fillvalue=b"nothing")
        row, (x, y) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
        return 0, f"line {row}: {x[:100]!r} before, {y[:100]!r} after"
    return 1, ""


UNFINISHED = 2
"""Exit code where one side's work could not be done."""

PICTURES = {".png", ".svg", ".pdf"}
KINDS: dict[str, Callable[[Path, Path], tuple[int, str]]] = {
    ".parquet": tables,
    ".csv": charts,
    ".json": answers,
    ".safetensors": weights,
}


if __name__ == "__main__":
    sys.exit(main())
