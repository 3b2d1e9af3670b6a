"""Every kind of run that can be performed, each with a config of seconds, and the package of the example."""

import json
import os
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from netassay import SharpnessTracker, study
from netassay.config import Config
from netassay.runs import Run
from netassay.studies import DERIVED

EXAMPLE = Path(__file__).parents[1] / "examples" / "double-descent"
STUDIES = (*study.builtin(), "double-descent")
PERFORMED = (*STUDIES, *DERIVED)

MOTIF = """MEME version 4

ALPHABET= ACGT

MOTIF T1 one
letter-probability matrix: alength= 4 w= 4 nsites= 20
0.9 0.0 0.1 0.0
0.0 1.0 0.0 0.0
0.0 0.0 1.0 0.0
0.0 0.1 0.0 0.9
"""


@contextmanager
def installed(distribution: Path, code: Path):
    """A package that this process and its children find as if it were installed, from its metadata and its code."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in (distribution, code):
            patch.syspath_prepend(folder)
        own = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(distribution), str(code), *([own] if own else [])]))
        yield


def write_metadata(site: Path, project: Path) -> None:
    """The dist-info that an installer would write for a project, from its pyproject.toml."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    folder = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    folder.mkdir(parents=True)
    head = {"Name": about["name"], "Version": about["version"], "Summary": about["description"]}
    words = "".join(f"{key}: {value}\n" for key, value in head.items())
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\n{words}")
    lines = []
    for group, points in about["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")


def tiny(name: str, subject: Run, folder: Path) -> Config:
    """A config of seconds of that kind; what is made from a run is made from `subject`. Files lie in `folder`."""
    if name not in DERIVED:
        return study.find(name).tiny()
    of = study.find(name).config
    if name == "aitac-interpret":
        (folder / "motifs.meme").write_text(MOTIF)
        return of(
            run=subject.id,
            only="motifs,second_layer,influence,pairs",
            motif_database=str(folder / "motifs.meme"),
            peaks="all",
            most_peaks=60,
            well_predicted=-0.99,
            motif_permutations=1,
            permutations=50,
            backgrounds=2,
            scanned_pairs=1,
            pair_factors=2,
            motif_logos=2,
            least_sites=1,
        )
    from netassay.studies.aitac.assay import config_of
    from netassay.studies.aitac.fit import atlas_of

    assert name == "aitac-transfer", f"{name}: say here what a small run of this kind is"
    atlas = atlas_of(config_of(subject))
    if not (folder / "atlas").exists():
        atlas.save(folder / "atlas")
    pairs = json.dumps([[cell_type, cell_type] for cell_type in atlas.cell_types])
    return of(
        run=subject.id,
        atlas=str(folder / "atlas"),
        cell_types=pairs,
        permutations=2,
        influence_peaks=20,
        trained_on="keep",
    )


def tracked(name, store, fail=None):
    """A run that a loop of the user's own writes; `fail` is called within it."""
    torch.manual_seed(0)
    inputs = torch.linspace(-1, 1, 24).reshape(8, 3)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    loss, data = torch.nn.MSELoss(), [(inputs, inputs.square().sum(dim=1, keepdim=True))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with SharpnessTracker(model, loss, data, optimizer, store=store, budget=1e9) as tracker:
        for step in range(4):
            optimizer.zero_grad()
            value = loss(model(inputs), data[0][1])
            value.backward()
            optimizer.step()
            tracker.step(value)
            if fail and step == 2:
                fail(tracker.run)
    return tracker.run


def python(code: str, *arguments: object):
    """Runs code in a process of its own; the arguments are its `sys.argv[1:]`."""
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
