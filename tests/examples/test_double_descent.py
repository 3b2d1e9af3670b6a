"""The example study: its mathematics, its commands, and the page that quotes it."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from every_kind import EXAMPLE, installed, python, write_metadata

from netassay import study
from netassay.cli import main
from netassay.performing import perform
from netassay.runs import State, Store

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-study.md"


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    write_metadata(site, EXAMPLE)
    with installed(site, EXAMPLE):
        yield


def answer(capsys, *words):
    capsys.readouterr()
    assert main([*map(str, words), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_weights_are_those_of_least_norm():
    from double_descent.assay import least_squares

    draws = np.random.default_rng(0)
    for rows, columns in ((8, 3), (5, 5), (4, 9)):
        inputs, targets = draws.normal(size=(rows, columns)), draws.normal(size=(rows, 2))
        for ridge in (0.0, 0.3):
            # the ridge as more rows of data, solved by singular values
            stacked = np.vstack([inputs, (ridge * rows) ** 0.5 * np.eye(columns)])
            truth = np.linalg.pinv(stacked if ridge else inputs) @ (
                np.vstack([targets, np.zeros((columns, 2))]) if ridge else targets
            )
            weights = least_squares(torch.tensor(inputs), torch.tensor(targets), ridge)
            np.testing.assert_allclose(weights.numpy(), truth, atol=1e-10)


def test_the_loss_peaks_where_the_images_are_just_fitted(tmp_path):
    config = study.configure({"study": "double-descent", "examples": 100, "most_features": 2000, "points": 20})
    run = perform(config, tmp_path, threads=1)
    fits = run.table("fits")
    peak = fits.sort("test_loss").row(-1, named=True)
    assert 70 < peak["features"] < 140
    assert fits.row(-1, named=True)["test_loss"] < peak["test_loss"] / 10
    fitted = fits["features"] > 110
    assert fits.filter(fitted)["loss"].max() < 1e-20
    assert fits.filter(fits["features"] < 90)["loss"].min() > 1e-4


def test_swept_listed_shown_and_reported(tmp_path, capsys):
    plan = {
        "study": "double-descent",
        "base": {"examples": 30, "most_features": 60, "points": 6},
        "repeats": 2,
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    rows = answer(capsys, "sweep", "plan.json", "--store", "s", "--workers", "2")
    assert [row["state"] for row in rows] == ["finished", "finished"]
    listed = answer(capsys, "runs", "--store", "s")
    assert sorted(row["seed"] for row in listed) == [0, 1]
    told = answer(capsys, "show", listed[0]["id"], "--store", "s")
    assert told["fits"] == 6
    assert told["peak"]["test_loss"] > told["best"]["test_loss"]
    assert main(["report", "--store", "s", "--out", "page.html", "--figures", "figures"]) == 0
    assert "Double descent" in Path("page.html").read_text()
    assert (tmp_path / "figures" / "double-descent-loss.svg").exists()
    assert "--most-features" in (main(["double-descent", "--help"]), capsys.readouterr().out)[1]


KILLED = """
import os, signal, sys
from netassay import study
from netassay.performing import perform
def die(step, values):
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
perform(study.find("double-descent").tiny(), sys.argv[1], threads=1, commit_seconds=0, watch=die)
"""


def test_killed_and_resumed_from_the_command_line(tmp_path, capsys):
    died = python(KILLED, tmp_path / "killed")
    assert died.returncode == -signal.SIGKILL, died.stderr
    (run,) = Store(tmp_path / "killed").runs()
    assert run.state is State.KILLED
    assert run.step > 0
    assert answer(capsys, "resume", run.folder, "--threads", "1")["status"] == "finished"
    whole = perform(study.find("double-descent").tiny(), tmp_path / "whole", threads=1)
    assert run.metrics().equals(whole.metrics())


def test_the_page_on_studies_quotes_the_example():
    page = PAGE.read_text()
    files = [path.read_text() for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml")]
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.S)
    assert len(blocks) == 3
    for block in blocks:
        assert any(block in file for file in files), block
    for word in ("`__init__.py`", "`study`", "`example`", '"loss"', "`make docs`", "examples/double-descent"):
        assert word in page, word
    assert sum(file.count("\n") for file in files) < 250
