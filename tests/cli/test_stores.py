"""Commands on stores: what is listed, cut, written, chosen and deleted, and stores that are not there."""

import polars as pl
import pytest

from netassay.cli import main, output
from netassay.performing import perform
from netassay.runs import Run, Store
from netassay.studies.edge.config import EdgeConfig


@pytest.fixture
def store(tmp_path):
    """Three runs that have not begun, and one of them with numbers."""
    runs = []
    for width in (4, 5, 6):
        config = EdgeConfig(width=width)
        runs.append(Run.create(tmp_path, study="edge", config=config.mapping(), digest=config.digest))
    with runs[0].writer({}) as writer:
        for step in range(600):
            writer.record(step, {"loss": 1.0, "sharpness": 2.0})
        writer.finish("finished", step=600)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["runs"],
        ["report"],
        ["verify"],
        ["export", "all.csv"],
        ["show", "latest"],
        ["delete", "--where", "width=4"],
    ],
    ids=lambda words: words[0],
)
def test_a_store_that_is_not_there_is_an_error(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--store", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_long_table_is_cut_and_says_so_and_csv_is_whole(store, capsys):
    words = ["show", next(run.id for run in Store(store).runs() if run.step), "--store", str(store)]
    assert main([*words, "--what", "metrics"]) == 0
    out = capsys.readouterr().out
    assert "... 200 rows left out; --format csv or json gives all 1,200 ..." in out
    assert out.count("loss") == output.MOST_ROWS // 2
    assert main([*words, "--what", "metrics", "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1201


def test_a_metric_that_is_not_there_is_an_error_with_the_nearest(store, capsys):
    run = next(run.id for run in Store(store).runs() if run.step)
    assert main(["show", run, "--store", str(store), "--what", "metrics", "--name", "sharpnes"]) == 2
    assert "did you mean 'sharpness'" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_runs_as_a_file(store, tmp_path, capsys, ending):
    file = tmp_path / f"table.{ending}"
    assert main(["runs", "--store", str(store), "--out", str(file)]) == 0
    read = pl.read_csv(file) if ending == "csv" else pl.read_parquet(file)
    assert sorted(read["width"].to_list()) == [4, 5, 6]
    assert main(["runs", "--store", str(store), "--out", str(tmp_path / "table.xls")]) == 2


def test_latest_is_the_run_that_was_created_last(store):
    config = EdgeConfig(width=7)
    last = Run.create(store, study="edge", config=config.mapping(), digest=config.digest)
    assert Store(store).find("latest") == last


def test_runs_are_deleted_by_a_condition_once_they_were_shown(store, capsys):
    words = ["delete", "--where", "width=5", "--store", str(store)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out.count("edge-") == 1
    assert "1 run would be deleted; add --yes" in err
    assert len(Store(store).runs()) == 3
    assert main([*words, "--yes"]) == 0
    assert sorted(run.config["width"] for run in Store(store).runs()) == [4, 6]
    assert main([*words, "edge-0123456789ab", "--yes"]) == 2


def test_the_listing_is_that_of_each_run_by_itself(store):
    config = EdgeConfig(examples=60, width=3, steps=2)
    perform(config, store, threads=1)
    table = Store(store).table()
    for row in table.iter_rows(named=True):
        run = Run.open(store / row["id"])
        assert (row["state"], row["step"], row["seconds"]) == (str(run.state), run.step, run.seconds)
        assert (row["message"], row["width"]) == (run.message, run.config["width"])
    (planned, *_) = Store(store).select({"state": "planned"})
    with planned.writer({}):
        assert [run.id for run in Store(store).select({"state": "running"})] == [planned.id]


def test_a_plan_of_very_many_runs_asks(tmp_path, capsys):
    plan = tmp_path / "plan.toml"
    plan.write_text('study = "edge"\nrepeats = 20000\n')
    assert main(["sweep", str(plan), "--store", str(tmp_path / "runs"), "--dry-run"]) == 2
    assert "20,000 runs; add --yes" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
