import json
import math
import os
import shutil

import polars as pl
import pytest

from netassay.errors import RunLocked, StoreError
from netassay.runs import Run, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_a_store_that_is_not_there_yet_is_empty(store):
    assert (store.runs(), store.verify(), store.table().height) == ([], [], 0)
    assert not store.folder.exists()


def test_no_name_is_no_store():
    with pytest.raises(StoreError, match="is not a folder"):
        Store("")


def test_the_table_shows_what_differs(store, new_run):
    runs = [new_run(width=w, rate=r, layers=[w], net={"bias": w == 1}, same=0) for w, r in ((1, 1), (2, 0.5))]
    other, another = new_run(study="capacity", width=3, step=7), new_run(study="capacity", width=3, step=8)
    table = store.table()
    assert table.columns[:7] == ["id", "study", "state", "step", "seconds", "created", "message"]
    assert set(table.columns[7:]) == {"width", "rate", "layers", "net.bias", "config.step"}
    rows = {row["id"]: row for row in table.iter_rows(named=True)}
    assert rows.keys() == {run.id for run in (*runs, other, another)}
    first = rows[runs[0].id]
    assert (first["rate"], first["layers"], first["net.bias"], first["state"]) == (
        1.0,
        "[1]",
        True,
        "planned",
    )
    assert (rows[other.id]["config.step"], rows[other.id]["rate"], rows[other.id]["step"]) == (7, None, 0)


def test_the_table_of_some_runs_shows_what_differs_among_them(store, new_run):
    some = [new_run(width=1, rate=rate) for rate in (0.1, 0.2)]
    new_run(width=2, rate=0.1)
    table = store.table({"width": 1})
    assert set(table["id"]) == {run.id for run in some}
    assert table.columns[7:] == ["width", "rate"]


def test_a_damaged_run_is_shown_and_hides_no_other(store, new_run):
    good, bad = new_run(width=1), new_run(width=2)
    (bad.folder / "run.sqlite").write_bytes(b"")
    assert store.runs() == [good]
    assert [problem.run for problem in store.unreadable()] == [bad.id]
    row = store.table().row(by_predicate=pl.col("id") == bad.id, named=True)
    assert row["state"] == "damaged"
    assert "run.sqlite" in row["message"]


def test_select(store, new_run):
    one, two = new_run(width=1, net={"bias": True}), new_run(width=2, net={"bias": False})
    assert store.select({"width": 1}) == [one]
    assert store.select({"width": 1, "net.bias": False}) == []
    assert store.select({"net.bias": False, "state": "planned", "study": "edge"}) == [two]
    assert store.select({"width": True}) == []
    assert {run.id for run in store.select({})} == {one.id, two.id}
    with pytest.raises(StoreError, match="did you mean 'width'"):
        store.select({"widht": 1})


def test_find(store, new_run):
    runs = [new_run(width=width) for width in range(3)]
    assert store.find(runs[1].id) == runs[1]
    assert store.find(runs[1].id[:-3]) == runs[1]
    with pytest.raises(StoreError, match=r"begins 3 runs: .*give more"):
        store.find("edge-")
    with pytest.raises(StoreError, match=f"did you mean '{runs[0].id}'"):
        store.find("egde" + runs[0].id[4:])
    with pytest.raises(StoreError, match="no run ''"):
        store.find("")


def test_delete(store, new_run):
    runs = [new_run(width=width) for width in range(3)]
    assert store.delete([runs[0].id, runs[2].id, runs[0].id]) == [runs[0].id, runs[2].id]
    assert store.runs() == [runs[1]]
    assert {path.name for path in store.folder.iterdir()} == {runs[1].id, ".lock"}


def test_delete_stays_in_the_store(store, new_run, tmp_path):
    kept = new_run(width=0)
    outside = new_run(store=tmp_path / "other")
    (store.folder / "edge-aaaaaaaaaaaa").symlink_to(outside.folder)
    (store.folder / "edge-bbbbbbbbbbbb").mkdir()
    (store.folder / "edge-cccccccccccc").write_text("")
    (store.folder / "notes").mkdir()
    attacks = [
        f"../other/{outside.id}",
        str(outside.folder),
        "..",
        ".",
        "",
        "notes",
        "edge-aaaaaaaaaaaa",
        "edge-bbbbbbbbbbbb",
        "edge-cccccccccccc",
        "edge-dddddddddddd",
        f"{kept.id}/tensors",
        f"{kept.id}/",
        f"{kept.id}\0",
        f"./{kept.id}",
        3,
    ]
    before = sorted(tmp_path.rglob("*"))
    for attack in attacks:
        with pytest.raises(StoreError):
            store.delete([kept.id, attack])
    assert sorted(path for path in tmp_path.rglob("*") if path.name != ".lock") == [
        path for path in before if path.name != ".lock"
    ]


def test_delete_does_not_follow_links_inside_a_run(store, new_run, tmp_path):
    run = new_run()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    (run.folder / "tensors" / "link").symlink_to(tmp_path / "precious")
    store.delete([run.id])
    assert (tmp_path / "precious" / "file").read_text() == "kept"


def test_a_run_being_written_is_not_deleted(store, new_run):
    run = new_run()
    with run.writer({}), pytest.raises(RunLocked, match=f"process {os.getpid()}"):
        store.delete([run.id])
    assert run.verify() == []


def test_a_writer_that_comes_after_delete_is_reported(new_run, store, monkeypatch):
    run = new_run()
    aside = run.folder.with_name("aside")
    opened = os.open

    def open_and_lose(path, *arguments, **named):
        handle = opened(path, *arguments, **named)
        if str(path).endswith("/lock") and run.folder.exists():
            shutil.move(run.folder, aside)
        return handle

    monkeypatch.setattr(os, "open", open_and_lose)
    with pytest.raises(StoreError, match="was deleted while"):
        run.writer({})


def test_links_and_look_alikes_are_problems(store, new_run, tmp_path):
    run = new_run()
    (store.folder / "edge-aaaaaaaaaaaa").symlink_to(run.folder)
    (store.folder / "edge-bbbbbbbbbbbb").mkdir()
    assert store.runs() == [run]
    assert [problem.run for problem in store.verify()] == ["edge-aaaaaaaaaaaa", "edge-bbbbbbbbbbbb"]


@pytest.mark.parametrize("format", ["csv", "parquet", "json"])
def test_export(store, new_run, tmp_path, format):
    values = [0.1, math.nan, math.inf, -math.inf, -0.0, 5e-324]
    for number in range(2):
        with new_run(number=number).writer({}) as writer:
            for step, value in enumerate(values):
                writer.record(step, {("loss", 'a,"b'): value})
            writer.finish("finished", step=len(values))
    path = tmp_path / f"metrics.{format}"
    store.export(path)
    if format == "json":
        rows = [tuple(row.values()) for row in json.loads(path.read_text())]
    else:
        frame = pl.read_parquet(path) if format == "parquet" else pl.read_csv(path)
        assert frame.columns == ["run", "study", "step", "name", "part", "value"]
        rows = frame.rows()
    expected = [(r.id, "edge", s, "loss", 'a,"b', v) for r in store.runs() for s, v in enumerate(values)]
    assert [row[:5] for row in rows] == [row[:5] for row in expected]
    assert [float(row[5]).hex() for row in rows] == [row[5].hex() for row in expected]


def test_export_refusals(store, new_run, tmp_path):
    new_run()
    with pytest.raises(StoreError, match="'xls' is not known; allowed: csv, parquet, json"):
        store.export(tmp_path / "metrics.xls")
    (tmp_path / "some.csv").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        store.export(tmp_path / "some.csv" / "metrics.csv")
    store.export(tmp_path / "some.csv", runs=[])
    assert (tmp_path / "some.csv").read_text() == "run,study,step,name,part,value\n"


def test_empty_folders_may_get_lost_in_a_copy(new_run):
    run = new_run()
    (run.folder / "tensors").rmdir()
    (run.folder / "tables").rmdir()
    assert run.verify() == []
    with run.writer({}) as writer:
        writer.write_table("numbers", pl.DataFrame({"a": [1]}))
    assert run.verify() == []


def test_runs_move_with_their_folder(store, new_run, tmp_path, finished):
    shutil.copytree(finished.folder, tmp_path / "copy" / finished.id)
    copied = Run.open(tmp_path / "copy" / finished.id)
    assert copied.verify() == []
    assert copied.metrics().equals(finished.metrics())


def test_a_killed_delete_is_finished_by_the_same_command(new_run):
    run = new_run(width=3)
    store = Store(run.folder.parent)
    left = store.folder / f".deleted-{run.id}-999999999"
    run.folder.rename(left)
    assert store.delete([run.id]) == [run.id]
    assert not left.exists()
    with pytest.raises(StoreError, match="there is no such run"):
        store.delete([run.id])
