"""Every command with every file, path and number that it takes replaced by something bad.

    python tests/bad_inputs.py RESULTS.jsonl [--sample N] [--seed S] [--only WORDS] [--ground FOLDER]

A few cases share a process, forked from a parent that has imported everything, with 6 GB of memory and 60 seconds of
a processor for each. Right is exit code 2, or 0 where the input makes sense, a short message, no traceback, no panic of
a library, nothing new in the folder after a refusal, and never a temporary file. RESULTS.jsonl has a line for each case
and is gone on with; the cases come in a random order, so that whatever has been tried is a sample of all.
"""

import argparse
import collections
import contextlib
import gc
import gzip
import io
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

import numpy as np
from crash_points import BASELINE, UNTRAINED, _ids, forked, imported

MEMORY = 6 << 30
CPU_SECONDS = 60
IDLE_SECONDS = 20
LONGEST_MESSAGE = 4_000
TOGETHER = 20
SECOND = "--threads 1"

RUN, PEER = _ids("finished", "aitac")
EDGE = _ids("finished", "edge")[0]
READ = "{genome.fa} --quiet"
COMMANDS = f"""
aitac --atlas {{atlas}} --split random --epochs 1 --n-filters 2 --n-channels 2 --n-hidden 2 {SECOND}
aitac --config {{aitac.toml}} --atlas atlas --epochs 1 --peaks 60 --n-filters 4 --n-channels 3 --n-hidden 6 {SECOND}
aitac --config {{aitac.toml}} --atlas atlas --start-from runs/{RUN} --epochs 1 --peaks 60 --n-filters 4 --n-channels 3 --n-hidden 6 {SECOND}
atlas background --peaks {{peaks.bed}} --genome {{genome.fa}} --blacklist {{blacklist.bed}} --out new.bed --number 3
atlas background --peaks {{peaks.narrowPeak}} --genome {{genome.2bit}} --out new.bed
atlas build --peaks {{peaks.bed}} --heights {{heights.csv}} --genome {{genome.fa}} --lineages {{lineages.csv}} --out new
atlas build --peaks {{peaks.tsv}} --heights {{heights.parquet}} --genome {{genome.fa.gz}} --width 50 --out new
atlas build --peaks {{peaks.bed}} --heights {{signal.bw}} {{other.bw}} --genome {{genome.2bit}} --out new
atlas build --peaks {{peaks.bed}} --heights {{peaks.bed}} {{other.bed}} --genome {{genome.fa}} --out new
atlas build --peaks {{peaks.bed}} --fragments {{fragments.tsv}} --group-by {{groups.csv}} --genome {{genome.fa}} --out new
atlas build --peaks {{peaks.bed}} --fragments {{fragments.tsv.gz}} --genome {{genome.fa}} --out new
atlas build --peaks {{cells.h5ad}} --out new
atlas build --peaks {{labelled.fa}} --heights {{heights.csv}} --out new
atlas ceiling {{atlas}} --replicate {{other-atlas}}
atlas consensus {{peaks.bed}} {{other.bed}} --width 51 --genome {{genome.fa}} --blacklist {{blacklist.bed}} --out new.bed
atlas export {{atlas}} new.h5ad
atlas info {{atlas}} --verify
atlas info {{atlas}} --show peaks
atlas reads --peaks 5 --length 60 --cells 2 --depth 10 --out new
atlas simulate --peaks 5 --length 60 --noise 0.1 --cells 2 --depth 10 --out new
attribute {RUN} --cell-type stem.1 --fasta {{sequences.fa}} --out new
attribute {RUN} --cell-type stem.1 --bed {{few.bed}} --genome {{genome.fa}} --out new
attribute --module dna.py:make --weights {{dna.safetensors}} --atlas {{atlas}} --cell-type stem.1 --fasta {{sequences.fa}} --out new
bounds {{corpus.txt}} --parameters 1000
bounds --parameters 1e6 --vocabulary 50 --width 20
capacity --corpus {{corpus.txt}} --document line --width 2 --try-steps 3 {SECOND}
capacity --config {{capacity.json}} --width 2 --try-steps 3 {SECOND}
check {{FILE}}
construct {{corpus.txt}} --embedding 4 --width 40 --save new
construct {{corpus.jsonl}} --embedding 4 --tokenizer {{tokenizer.json}} --save new
edge --config {{edge.toml}} --steps 2 --examples 20 --width 2 {SECOND}
edge --data arrays --path {{arrays.npz}} --examples 3 --width 2 --steps 2 {SECOND}
edge --data idx --path {{images}} --examples 3 --width 2 --steps 2 {SECOND}
edge --data cifar10 --path {{cifar}} --examples 3 --width 2 --steps 2 {SECOND}
edge-stepsize --config {{stepsize.toml}} --steps 5 --examples 20 --width 2 --seeds 1 --flow-steps 5 --resolution 4 {SECOND}
entropy {{corpus.txt}} {{corpus.jsonl}} --length 4 --window 2
entropy {{corpus.txt.gz}} --lengths 1,2 --page new.html
entropy {{corpus.csv}} --column text --blocks 4 --stride 2
entropy {{corpus.parquet}} --memory 2GB --scratch {{folder}}
entropy {{corpus.arrow}} --column ids
entropy {{corpus.json}} --tokenizer {{tokenizer.json}}
entropy {{ids.bin}} --dtype uint16 --end 3 --skip 0 --ignore 7
entropy {{ids.npy}} --end 3
entropy {{folder}}
explain edge
export new.csv {EDGE}
figure {EDGE} edge-sharpness --out new.pdf
injectivity {{corpus.txt}} --size 3 --seeds 2 --page new.html
interpret {RUN} --only motifs --motif-database {{motifs.meme}} --peaks all --well-predicted -0.99 --motif-permutations 1 {SECOND}
interpret {RUN} --only binding --chip {{chip.bed}} --chip-factor M1 --motif-database {{motifs.meme}} --peaks all --well-predicted -0.99 --motif-permutations 1 {SECOND}
interpret --module dna.py:make --weights {{dna.safetensors}} --atlas {{atlas}} --only motifs --motif-database {{motifs.meme}} --peaks all --well-predicted -0.99 {SECOND}
memorisation --module untrained.py:make --weights {{weights.safetensors}} --corpus {{corpus.txt}} --tokenizer whitespace {SECOND}
memorisation --module untrained.py:make --weights {{weights.pt}} --corpus {{ids.bin}} --dtype uint16 --end 3 {SECOND}
memorisation {{model}} --corpus {{corpus.txt}} --tokenizer whitespace {SECOND}
memorisation {{transformer}} --corpus {{ids.npy}} --end 3 {SECOND}
predict {RUN} --fasta {{sequences.fa}} --out new.csv
predict {RUN} --bed {{few.bed}} --genome {{genome.2bit}} --out new.parquet
predict --module dna.py:make --weights {{dna.safetensors}} --atlas {{atlas}} --fasta {{sequences.fa.gz}} --out new.csv
rank tanh --size 3 --width 4 --page new.html
reduce {RUN} --filters 0,1 --epochs 1 {SECOND}
report {EDGE} --out new.html
resume {EDGE}
runs --out new.csv
show {EDGE} --what metrics
sweep {{plan.toml}} --dry-run
sweep {{plan.json}} --dry-run --cluster {{cluster.toml}}
tag {EDGE} paper
transfer {RUN} --atlas {{other-atlas}} --cell-types {{map.csv}} --permutations 2 --influence-peaks 2 --trained-on keep --out new.html {SECOND}
variants {RUN} --vcf {{x.vcf}} --genome {{genome.fa}} --null 3 --out new.csv
verify
watch {{plan.toml}} --once
watch {{runs}} --once
""".strip().splitlines()  # noqa: E501

PARTS = {
    "atlas": ("atlas.json", "arrays.safetensors", "peaks.parquet"),
    "other-atlas": ("atlas.json",),
    "model": ("model.json", "weights.safetensors"),
    "transformer": ("config.json", "model.safetensors"),
    "images": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "cifar": ("data_batch_1.bin", "test_batch.bin"),
    "folder": ("corpus.txt",),
}
"""Files of the folders that are given, each replaced too."""
DNA = """
import torch
from torch import nn


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(4, 3, 9), nn.ReLU(), nn.Flatten(), nn.Linear(276, 19), nn.Identity())
"""


def ground(folder):
    """All the sound files, in `folder`; made in a process of its own, so that this one starts no threads."""
    answer = forked(lambda: _ground(folder))
    assert answer is None, answer


def _ground(folder):
    import h5py
    import polars as pl
    import torch
    from fuzzing import BED, FRAGMENTS, LINES, MEME, TOKENIZER, VCF, arrow, idx, weights
    from safetensors.torch import save_file

    import netassay.cli

    for run in (RUN, PEER, EDGE):
        shutil.copytree(BASELINE / "finished" / run, folder / "runs" / run)
    for atlas in ("atlas", "other-atlas"):
        shutil.copytree(BASELINE / "atlas", folder / atlas)
    shutil.copytree(BASELINE / "model", folder / "model")
    draw = random.Random(0)
    genome = "".join(draw.choices("ACGT", k=3000))
    corpus = (BASELINE / "corpus.txt").read_text()
    bed = "".join(f"chr1\t{k * 100}\t{k * 100 + 60}\tpeak{k}\n" for k in range(1, 9))
    narrow = "".join(f"chr1\t{k * 100}\t{k * 100 + 60}\tpeak{k}\t10\t.\t5.0\t3\t2\t30\n" for k in range(1, 9))
    values = [[round(draw.random(), 3), round(draw.random(), 3)] for _ in range(1, 9)]
    heights = "peak,B,T\n" + "".join(f"peak{k},{b},{t}\n" for k, (b, t) in enumerate(values, 1))
    change = "A" if genome[700] != "A" else "C"
    edge = {"study": "edge", "examples": 20, "width": 2, "steps": 2, "test_examples": 5}
    aitac = {"study": "aitac", "atlas": "atlas", "split": "random", "epochs": 1, "n_filters": 4, "n_hidden": 6}
    aitac |= {"n_channels": 3, "test_share": 0.3, "validation_share": 0.3, "batch_size": 20}
    stepsize = {"study": "edge-stepsize", "examples": 20, "test_examples": 5, "width": 2, "depth": 1, "seeds": 1}
    stepsize |= {"steps": 5, "resolution": 4.0, "flow_steps": 5, "goal": 0.95}
    capacity = {"study": "capacity", "corpus": "corpus.txt", "document": "line", "width": 2, "try_steps": 3}
    plan = {"study": "edge", "repeats": 2, "base": {"width": 4, "steps": 10}, "axes": {"step_size": [0.1, 0.2]}}

    def toml(mapping):
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in mapping.items())

    cifar = b"".join(bytes([k]) + draw.randbytes(3072) for k in range(3))
    peaks = pl.read_parquet(BASELINE / "atlas" / "peaks.parquet")
    ids = np.array([1, 2, 3, 4, 5, 3, 1, 1, 3] * 5, np.uint16)
    torch.manual_seed(0)
    names = json.loads((BASELINE / "atlas" / "atlas.json").read_text())
    written = {
        "genome.fa": f">chr1\n{genome}\n",
        "genome.fa.gz": gzip.compress(f">chr1\n{genome}\n".encode()),
        "sequences.fa": f">one\n{genome[:100]}\n>two\n{genome[100:200]}\n",
        "sequences.fa.gz": gzip.compress(f">one\n{genome[:100]}\n".encode()),
        "labelled.fa": "".join(f">peak{k}\n{genome[k * 60 : k * 60 + 60]}\n" for k in range(1, 9)),
        "peaks.bed": bed,
        "few.bed": bed[:100].rsplit("\n", 1)[0] + "\n",
        "other.bed": bed.replace("peak", "other"),
        "chip.bed": "".join(
            f"{row[0]}\t{row[1]}\t{row[2]}\n" for row in peaks.select("chromosome", "start", "end").rows()[::2]
        ),
        "blacklist.bed": "chr1\t0\t50\n",
        "peaks.narrowPeak": narrow,
        "peaks.tsv": "chrom\tstart\tend\tname\n" + bed,
        "heights.csv": heights,
        "lineages.csv": "cell type,lineage\nB,lymphoid\nT,lymphoid\n",
        "fragments.tsv": FRAGMENTS.replace("\t10\t60", "\t110\t160").replace("\t20\t90", "\t210\t290"),
        "groups.csv": "barcode,cell type\nAAAC-1,B\nAAAG-1,T\n",
        "map.csv": "".join(f"{name},{name}\n" for name in names["cell_types"]),
        "x.vcf": VCF.split("chr1")[0] + f"chr1\t701\tv1\t{genome[700]}\t{change}\t.\t.\t.\n",
        "motifs.meme": MEME.replace("w= 2", "w= 6") + "0.9 0.0 0.1 0.0\n0.0 1.0 0.0 0.0\n" * 2,
        "corpus.txt": corpus,
        "corpus.txt.gz": gzip.compress(corpus.encode()),
        "corpus.jsonl": LINES,
        "corpus.json": json.dumps([{"text": "the cat"}, {"text": "a dog"}]),
        "corpus.csv": 'text,n\n"the cat sat on a mat",1\n"a dog sat on a cat too",2\n',
        "folder/corpus.txt": corpus,
        "ids.bin": ids.tobytes(),
        "tokenizer.json": json.dumps(TOKENIZER),
        "edge.toml": toml(edge),
        "aitac.toml": toml(aitac),
        "stepsize.toml": toml(stepsize),
        "capacity.json": json.dumps(capacity),
        "plan.json": json.dumps(plan),
        "plan.toml": 'study = "edge"\nrepeats = 2\n[base]\nwidth = 4\nsteps = 10\n[axes]\nstep_size = [0.1, 0.2]\n',
        "cluster.toml": '[slurm]\npartition = "short"\n',
        "untrained.py": UNTRAINED,
        "dna.py": DNA,
        "weights.pt": weights("pt"),
        "images/train-images-idx3-ubyte": idx(np.arange(160).reshape(10, 4, 4)),
        "images/train-labels-idx1-ubyte": idx(np.arange(10) % 3),
        "images/t10k-images-idx3-ubyte": idx(np.arange(160).reshape(10, 4, 4)),
        "images/t10k-labels-idx1-ubyte": idx(np.arange(10) % 3),
        "cifar/test_batch.bin": cifar * 2,
        **{f"cifar/data_batch_{k}.bin": cifar for k in range(1, 6)},
        "FILE": BED,
    }
    for name, data in written.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    frame = pl.DataFrame({"text": ["the cat", "a dog"], "ids": [[1, 2], [3]]})
    frame.write_parquet(folder / "corpus.parquet")
    (folder / "corpus.arrow").write_bytes(arrow(frame))
    pl.read_csv(folder / "heights.csv").write_parquet(folder / "heights.parquet")
    np.save(folder / "ids.npy", ids)
    np.savez(folder / "arrays.npz", x=np.eye(6, dtype=np.float32), y=np.arange(6) % 2)
    own = {}
    exec(UNTRAINED, own)  # noqa: S102
    save_file(own["make"]().state_dict(), folder / "weights.safetensors")
    torch.save(own["make"]().state_dict(), folder / "weights.pt")
    exec(DNA, own)  # noqa: S102
    net = own["make"]()
    net(torch.zeros(1, 4, 100))
    save_file(net.state_dict(), folder / "dna.safetensors")
    (folder / "genome.2bit").write_bytes(_two_bit(genome))
    _binary(folder, genome)
    with contextlib.redirect_stdout(sys.stderr):
        netassay.cli.main(["atlas", "export", str(folder / "atlas"), str(folder / "cells.h5ad")])
    assert h5py.is_hdf5(folder / "cells.h5ad")


def _two_bit(genome):
    import struct

    code = {"T": 0, "C": 1, "A": 2, "G": 3}
    packed = bytes(
        sum(code[base] << (6 - 2 * k) for k, base in enumerate(genome[at : at + 4])) for at in range(0, len(genome), 4)
    )
    head = struct.pack("<4I", 0x1A412743, 0, 1, 0) + b"\x04chr1" + struct.pack("<I", 25)
    return head + struct.pack("<4I", len(genome), 0, 0, 0) + packed


def _binary(folder, genome):
    """Fragments, bigWigs and a transformer, where their libraries are installed."""
    (folder / "fragments.tsv.gz").write_bytes(gzip.compress((folder / "fragments.tsv").read_bytes()))
    with contextlib.suppress(ImportError):
        import pybigtools

        for name in ("signal.bw", "other.bw"):
            file = pybigtools.open(str(folder / name), "w")
            file.write({"chr1": len(genome)}, [("chr1", 0, 2000, 1.5)])
            file.close()
    with contextlib.suppress(ImportError):
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=64, n_embd=8, n_layer=1, n_head=2))
        model.save_pretrained(folder / "transformer")


BIG = 100 << 20


def quarry(folder):
    """Large files that many cases link to."""
    (folder / "line").write_bytes(b"A" * BIG)
    (folder / "digits").write_bytes(b"9" * BIG)
    (folder / "brackets").write_bytes(b"[" * BIG)
    (folder / "lines").write_bytes(b"\n" * (BIG // 10))
    (folder / "bomb").write_bytes(gzip.compress(bytes(BIG), 9) * 25)
    with (folder / "sparse").open("wb") as file:
        file.truncate(10 << 30)


BAD = {}
"""Name of something bad -> what puts it at a path where a sound file or folder was; None: the word itself."""


def _bad(function):
    BAD[function.__name__.replace("_", " ")] = function
    return function


def _data(path):
    return path.read_bytes() if path.is_file() else b"chr1\t1\t2\n"


def _gone(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def _of(name):
    def put(path, large):
        os.link(large / name, _gone(path))

    return put


def _writes(change):
    def put(path, large):
        data = change(_data(path))
        _gone(path).write_bytes(data)

    return put


def _links(target):
    def put(path, large):
        _gone(path).symlink_to(target)

    return put


def _keys(count):
    return b"".join(b"\nkey%d = 1" % k for k in range(count))


NOISE = random.Random(3).randbytes(1 << 16)
RAN = "a-planted-pickle-ran"
PICKLE = f"cposix\nsystem\n(S'touch {RAN}'\ntR.".encode()
"""Makes a file of that name in the working folder where it is opened."""


def _in_an_archive_of_torch():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def _in_an_array():
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    return file.getvalue() + PICKLE


def _in_an_archive_of_arrays():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("x", "y"):
            archive.writestr(f"{name}.npy", _in_an_array())
    return file.getvalue()


BAD |= {
    "pickle": _writes(lambda data: PICKLE),
    "pickle in an archive of torch": _writes(lambda data: _in_an_archive_of_torch()),
    "pickle in an array": _writes(lambda data: _in_an_array()),
    "pickle in an archive of arrays": _writes(lambda data: _in_an_archive_of_arrays()),
    "zeros": _links("/dev/zero"),
    "null": _links("/dev/null"),
    "refused reads": _links("/proc/self/mem"),
    "nothing": lambda path, large: _gone(path),
    "pipe": lambda path, large: os.mkfifo(_gone(path)),
    "folder": lambda path, large: _gone(path).mkdir(),
    "dangling link": _links("nowhere"),
    "itself": lambda path, large: _gone(path).symlink_to(path.name),
    "up": _links(".."),
    "own folder": _links("."),
    "empty": _writes(lambda data: b""),
    "byte": _writes(lambda data: b"\x80"),
    "letter": _writes(lambda data: b"a"),
    "noise": _writes(lambda data: NOISE),
    "noise at the end": _writes(lambda data: data + NOISE),
    "noise within": _writes(lambda data: data[: len(data) // 2] + NOISE + data[len(data) // 2 :]),
    "half": _writes(lambda data: data[: len(data) // 2]),
    "cut": _writes(lambda data: data[:-3]),
    "head": _writes(lambda data: data[:12]),
    "twice": _writes(lambda data: data * 2),
    "zeroed": _writes(lambda data: bytes(len(data))),
    "packed": _writes(gzip.compress),
    "packed and cut": _writes(lambda data: gzip.compress(data)[:-9]),
    "UTF-16": _writes(lambda data: data.decode("latin-1").encode("utf-16")),
    "mark": _writes(lambda data: b"\xef\xbb\xbf" + data),
    "carriage returns": _writes(lambda data: data.replace(b"\n", b"\r")),
    "NUL": _writes(lambda data: data.replace(b"1", b"\0")),
    "long numbers": _writes(lambda data: data.replace(b"1", b"9" * 400)),
    "negative": _writes(lambda data: data.replace(b"1", b"-1")),
    "NaN": _writes(lambda data: data.replace(b"1", b"nan")),
    "no numbers": _writes(lambda data: data.replace(b"1", b"x")),
    "keys": _writes(lambda data: data + _keys(200_000 if data.startswith(b"study") else 20_000)),
    "JSON keys": _writes(lambda data: json.dumps({f"key{k}": 1 for k in range(200_000)}).encode()),
    "long word": _writes(lambda data: data.replace(b"e", b"e" * 100_000, 1)),
    "deep": _of("brackets"),
    "line": _of("line"),
    "digits": _of("digits"),
    "lines": _of("lines"),
    "bomb": _of("bomb"),
    "sparse": _of("sparse"),
    "not UTF-8": None,
    "long name": None,
    "long path": None,
    "no word": None,
    "standard input": None,
}
WORDS = {
    "not UTF-8": lambda name: os.fsdecode(b"\xff\xfe") + Path(name).name,
    "long name": lambda name: "n" * 300 + Path(name).suffix,
    "long path": lambda name: f"{'long/' * 1000}{name}",
    "no word": lambda name: "",
    "standard input": lambda name: "-",
}
NUMBERS = (
    "-1",
    "0",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "1e-320",
    "9223372036854775807",
    "9223372036854775808",
    "1" + "0" * 30,
    "9" * 5000,
    "4611686018427387904",
    "1e18",
    "1.5",
    "",
    "0x10",
    "1_0",
    "none",
    "2147483648",
    "65537",
)
OUTPUTS = {
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "full": lambda path: path.symlink_to("/dev/full"),
    "itself": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nowhere/at/all"),
    "taken": lambda path: path.write_text("the user's own"),
    "odd": None,
    "long": None,
    "of a file": None,
    "no word": None,
    "ending": None,
    "/proc": None,
}
OUT_WORDS = {
    "odd": lambda name: os.fsdecode(b"\xff\xfe") + name,
    "long": lambda name: "n" * 300 + Path(name).suffix,
    "of a file": lambda name: f"corpus.txt/{name}",
    "no word": lambda name: "",
    "ending": lambda name: f"{name}.exe",
    "/proc": lambda name: f"/proc/{name}",
}
# numbers that are allowed here, and ask for more work than anybody has time for
LONG = {
    "--steps",
    "--try-steps",
    "--flow-steps",
    "--epochs",
    "--permutations",
    "--resamples",
    "--repeats",
    "--seeds",
    "--backgrounds",
    "--folds",
    "--peaks",
    "--cells",
    "--depth",
    "--null",
    "--number",
    "--motif-permutations",
    "--tries",
    "--trace-products",
    "--density-steps",
    "--curvature-every",
    "--length",
    "--size",
    "--patience",
    "--width",
    "--attribution-references",
}


def given(line):
    """The words of a command without its braces, and the names within them."""
    return re.sub(r"[{}]", "", line).split(), re.findall(r"{([^}]*)}", line)


def _formats():
    from fuzzing import readers

    return {name: data for name, (_, data, _) in readers().items()}


def numeric(words):
    """The numeric flags of a command."""
    import inspect
    from typing import get_args

    from netassay.cli.app import build, commands

    known = commands(build(words[0]))
    name = " ".join(words[:2]) if words[0] == "atlas" else words[0]
    flags = []
    for flag, parameter in inspect.signature(known[name]).parameters.items():
        kinds = get_args(parameter.annotation)[:1] or (parameter.annotation,)
        kinds = (*kinds, *get_args(kinds[0]))
        if {int, float} & {*kinds} and parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            flags.append("--" + flag.replace("_", "-"))
    if name in ("entropy", "bounds", "construct", "injectivity"):
        flags.append("--memory")
    return flags


def every_case():
    """(line, what is replaced, by what), in a fixed order."""
    formats = forked(lambda: [*_formats()])
    for line in COMMANDS:
        words, names = given(line)
        yield line, "", "nothing"
        for name in dict.fromkeys(names):
            for bad in (*BAD, *(f"as {form}" for form in formats)):
                yield line, name, bad
            for part in PARTS.get(name, ()):
                for bad in BAD:
                    if BAD[bad] is not None:
                        yield line, f"{name}/{part}", bad
        for word in words:
            if word.startswith("new"):
                for bad in OUTPUTS:
                    yield line, word, f"out {bad}"
        for flag in numeric(words):
            for number in NUMBERS:
                yield line, flag, number


class Ground:
    """The sound files, the large ones and the other formats, in a folder of their own."""

    def __init__(self, folder):
        self.folder, self.large = folder / "sound", folder / "large"
        if not (folder / "complete").exists():
            self.large.mkdir()
            self.folder.mkdir()
            quarry(self.large)
            ground(self.folder)
            (folder / "complete").touch()
        formats = forked(lambda: {name: data.hex() for name, data in _formats().items()})
        self.formats = {name: bytes.fromhex(data) for name, data in formats.items()}

    def case(self, folder, line, what, bad):
        """Fills `folder` for a case; its words."""
        shutil.copytree(self.folder, folder, symlinks=True)
        words, _ = given(line)
        if not what:
            return words
        if what.startswith("--"):
            return [*_without(words, what), f"{what}={bad}"]
        if bad.startswith("out "):
            put = OUTPUTS[bad[4:]]
            if put is None:
                return [OUT_WORDS[bad[4:]](word) if word == what else word for word in words]
            put(folder / what)
        elif bad.startswith("as "):
            _gone(folder / what).write_bytes(self.formats[bad[3:]])
        elif BAD[bad] is None:
            named = WORDS[bad](what)
            with contextlib.suppress(OSError):
                (folder / what).rename(folder / named) if named not in ("", "-") else None
            return [named if word == what else word for word in words]
        else:
            BAD[bad](folder / what, self.large)
        return words


def _without(words, flag):
    if flag not in words:
        return words
    at = words.index(flag)
    end = at + 1
    while end < len(words) and not words[end].startswith("--"):
        end += 1
    return words[:at] + words[end:]


def spoken(words, out):
    """Exit code of a command line in this process, what it says going to files in `out`."""
    sys.stdout.flush()
    sys.stderr.flush()
    for number, name in ((0, os.devnull), (1, out / "stdout"), (2, out / "stderr")):
        handle = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    os.environ["TMPDIR"] = tempfile.tempdir = str(out / "scratch")
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + CPU_SECONDS, resource.RLIM_INFINITY))
    try:
        import netassay.cli

        code = netassay.cli.main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 99
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def attempted(cases, sound, scratch, pipe):
    """Tries cases in this process, one after another; a line of JSON for each goes to the pipe."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))  # engines of browsers reserve more addresses
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for at in (1, 2):
        name = "stdout" if at == 1 else "stderr"
        setattr(sys, name, open(at, "w", errors="backslashreplace", closefd=False))  # noqa: SIM115
    environment = dict(os.environ)
    for number, (line, what, bad) in enumerate(cases):
        out = scratch / str(number)
        (out / "scratch").mkdir(parents=True)
        folder = out / "case"
        words = sound.case(folder, line, what, bad)
        before = names(folder)
        os.chdir(folder)
        code = spoken(words, out)
        os.chdir("/")
        os.environ.clear()
        os.environ.update(environment)
        row = judged(line, what, code, before, folder, out)
        os.write(pipe, (json.dumps(row) + "\n").encode())
        shutil.rmtree(out, ignore_errors=True)


def outcomes(cases, sound):
    """A verdict for each of a few cases, from one process as long as that lives."""
    cases = list(cases)
    while cases:
        with tempfile.TemporaryDirectory(prefix="bad-inputs-", ignore_cleanup_errors=True) as scratch:
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                os.close(reading)
                os.setsid()
                try:
                    attempted(cases, sound, Path(scratch), writing)
                except BaseException:
                    traceback.print_exc()
                    sys.stderr.flush()
                os._exit(0)
            os.close(writing)
            buffer, used, since, waits = b"", -1.0, time.monotonic(), False
            while True:
                if select.select([reading], [], [], 0.5)[0]:
                    if not (piece := os.read(reading, 1 << 16)):
                        break
                    buffer += piece
                    since = time.monotonic()
                    while b"\n" in buffer:
                        text, _, buffer = buffer.partition(b"\n")
                        yield cases.pop(0), json.loads(text)
                elif (now := _used(child)) > used:
                    used, since = now, time.monotonic()
                elif time.monotonic() - since > IDLE_SECONDS:
                    waits = True
                    break
            os.close(reading)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if cases:
                what = cases[0][1]
                said = b"".join(path.read_bytes()[-3000:] for path in Path(scratch).glob("*/stderr")).decode(
                    errors="replace"
                )
                wrong = "waits for ever" if waits else f"ended by {code}"
                if code == -signal.SIGXCPU and not waits:
                    wrong = "" if what in LONG else "endless"
                yield cases.pop(0), {"code": None if waits else code, "wrong": wrong, "said": said}


def _used(process):
    """Ticks of a processor used by a process; a process that waits for a processor or a disk counts as at work."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) + (time.monotonic() if fields[0] in "RD" else 0)


def names(folder):
    """What lies in a folder, without what a store may always rewrite."""
    walked = (
        os.path.relpath(f"{at}/{name}", folder) for at, folders, files in os.walk(folder) for name in (*folders, *files)
    )
    return {name for name in walked if not name.startswith(("runs/.index", "runs/.lock"))}


def judged(line, what, code, before, folder, out):
    """What is wrong with one case, in words, and its exit code; "" where nothing is."""
    from netassay.files import is_temporary

    said = (out / "stderr").read_bytes().decode(errors="replace")
    after = names(folder)
    new = {name for name in after - before if "__pycache__" not in name}
    litter = [name for name in after if is_temporary(Path(name).name)]
    left = [path.name for path in (out / "scratch").iterdir() if not path.name.startswith("torchinductor")]
    wrong = []
    if code == 1 and what and re.search(r"netassay: run \S+ failed after .*: no chapter could be made", said):
        pass  # a chapter that such an input leaves nothing to draw
    elif code == 1 and line.startswith("variants "):
        pass  # no allele could be scored
    elif code not in ((0, 2) if what else (0,)):
        wrong.append(f"exit code {code}")
    if RAN in after:
        wrong.append("ran code of a file")
    if "Traceback" in said or "panicked" in said or "Exception ignored" in said:
        wrong.append("traceback")
    if len(said) > LONGEST_MESSAGE:
        wrong.append(f"a message of {len(said):,} characters")
    if code == 2 and not re.search("^netassay: ", said, re.MULTILINE):
        wrong.append("no message")
    if code == 2 and new:
        wrong.append(f"left behind: {sorted(new)[:5]}")
    if code in (0, 2) and (litter or left):
        wrong.append(f"temporary files: {litter[:5]} {left[:5]}")
    shown = said if len(said) < 1500 else f"{said[:500]}...{said[-900:]}"
    return {"code": code, "wrong": ", ".join(wrong), "said": shown}


def run(results, sample=None, seed=0, only=None, kept=None):
    """Tries the cases that `results` has no line for; yields their number, then each line."""
    results = Path(results)
    before = {}
    if results.exists():
        for text in results.read_text().splitlines():
            row = json.loads(text)
            before[row["line"], row["what"], row["bad"]] = row
    chosen = [case for case in every_case() if only is None or re.search(only, f"{case[0]} # {case[1]} # {case[2]}")]
    chosen = random.Random(seed).sample(chosen, len(chosen) if sample is None else min(sample, len(chosen)))
    yield len(chosen)
    yield from (before[case] for case in chosen if case in before)
    left = [case for case in chosen if case not in before]
    with tempfile.TemporaryDirectory(prefix="bad-inputs-ground-") as folder:
        sound = Ground(Path(kept or folder))
        gc.freeze()
        for start in range(0, len(left), TOGETHER):
            for case, verdict in outcomes(left[start : start + TOGETHER], sound):
                if verdict["wrong"] not in ("", "endless"):  # again in a process of its own
                    ((_, verdict),) = outcomes([case], sound)
                row = dict(zip(("line", "what", "bad"), case, strict=True)) | verdict
                with results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="regular expression of LINE # WHAT # BAD")
    parser.add_argument("--ground", help="folder whose sound files are used again, or made")
    words = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    imported()
    counts, wrong = collections.Counter(), 0
    rows = run(words.results, words.sample, words.seed, words.only, words.ground)
    print(f"{next(rows)} cases to try", flush=True)
    for row in rows:
        counts[str(row["code"])] += 1
        if row["wrong"]:
            wrong += 1
            print(
                f"{row['line']}\n  {row['what']} <- {row['bad']:.60}: {row['wrong']}\n  {row['said'][-600:]}",
                flush=True,
            )
    print(f"{counts.total():,} cases, exit codes {dict(counts)}, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
