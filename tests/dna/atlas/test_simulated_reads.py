"""The files of a simulated experiment, and the tutorial that goes from them to a score with its ceiling."""

import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from netassay import Atlas, Store, build_atlas, simulate_atlas, simulate_reads, summarise
from netassay.cli import main
from netassay.errors import DataError

PAGE = Path(__file__).parents[3] / "docs" / "aitac-reads.md"


def test_files_give_the_simulated_atlas_back(tmp_path):
    folder = simulate_reads(tmp_path / "made", peaks=60, length=100, cells=3, depth=400, seed=2)
    atlas = build_atlas(
        folder / "peaks.bed",
        genome=folder / "genome.fa",
        fragments=[folder / "fragments.tsv.gz"],
        group_by=str(folder / "cells.csv"),
        lineages=folder / "lineages.csv",
    )
    made = simulate_atlas(60, length=100, noise=0.0, seed=2)
    assert (atlas.codes == made.codes).all()
    order = [atlas.cell_types.index(name) for name in made.cell_types]
    assert [atlas.lineages[i] for i in order] == [*made.lineages]
    counts, signal = atlas.heights[:, order].numpy(), made.heights.numpy()
    assert np.corrcoef(np.log2(counts + 1).mean(1), signal.mean(1))[0, 1] > 0.8
    assert atlas.notes["fragments in the files"] == 19 * 3 * 400
    assert "SIMULATED" in (folder / "README.txt").read_text()
    assert pl.read_csv(folder / "signal.csv").shape == (60, 20)
    with pytest.raises(DataError, match="exists"):
        simulate_reads(folder)
    with pytest.raises(DataError, match="length = 900"):
        simulate_reads(tmp_path / "long", length=900)


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            assert main(shlex.split(line)[1:]) == 0, line
    capsys.readouterr()
    assert Atlas.open("my-atlas").halves is not None
    runs = {run.config["null"]: run for run in Store("runs").runs()}
    told = summarise(runs["none"])
    # so small a network on so few peaks learns little more than composition; that it is said is what counts
    assert "what dinucleotide composition explains" in told["verdict"] and "of the ceiling" in told["verdict"]
    assert 0 < told["test"]["r_mean"] < told["ceiling"]["high"] < 1
    page = Path("page.html").read_text()
    assert "Verdict" in page and "of the ceiling" in page
