import math
import subprocess
import sys

import pytest

from netassay.errors import StoreError
from netassay.runs import Run, Store


def test_making_a_run_again_opens_it(new_run, tmp_path):
    first, again = new_run(width=3), new_run(width=3)
    assert first == again
    assert first.folder.name == f"edge-{first.digest[:12]}"
    assert first.config == {"study": "edge", "width": 3}
    assert Run.open(first.folder) == first
    assert new_run(width=4).id != first.id


def test_any_folder_will_do(new_run, tmp_path, monkeypatch):
    run = new_run(store=tmp_path / "a b?mode=rw#c%20'ü")
    with run.writer({}):
        pass
    assert run.verify() == []
    monkeypatch.chdir(run.folder)
    assert Run.open(".") == run
    assert len({run, Run.open(".")}) == 1


def test_a_digest_of_another_config_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"give Config\.digest"):
        Run.create(tmp_path, study="edge", config={"a": 1}, digest="0" * 64)


@pytest.mark.parametrize("study", ["../edge", "a/b", "", "a\n", ".", "\x1b[1m"])
def test_study_names_stay_in_the_store(new_run, study, tmp_path):
    with pytest.raises(StoreError, match=r"study name .* is refused"):
        new_run(study=study)
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_a_file(new_run, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(StoreError, match="a file; give a folder"):
            new_run(store=path)
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "file")


def test_a_link_in_place_of_the_run_is_not_followed(new_run, tmp_path):
    run = new_run()
    run.folder.rename(tmp_path / "moved")
    run.folder.symlink_to(tmp_path / "moved")
    with pytest.raises(StoreError, match="symbolic link"):
        new_run()


def test_a_folder_in_place_of_the_run(new_run):
    folder = new_run().folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(StoreError, match="is not a run"):
        new_run()


def test_two_configs_with_the_same_first_digits(new_run, tmp_path):
    run = new_run(width=3)
    other = new_run(width=4)
    run.folder.rename(tmp_path / "aside")
    (tmp_path / "aside").rename(other.folder.with_name("edge-ffffffffffff"))
    other.folder.rename(run.folder)
    with pytest.raises(StoreError, match="holds the run of another config"):
        new_run(width=3)


def test_last_values_are_the_newest_of_each_metric(new_run):
    run = new_run(width=3)
    assert run.last_values() == {}
    with run.writer({}) as writer:
        writer.record(0, {"loss": 2.0, ("norm", "a"): 1.0, ("norm", "b"): 4.0})
        writer.record(9, {"loss": -0.0, ("norm", "a"): 3.0})
        writer.record(10, {"loss": float("nan"), "gap": 0.5})
        writer.finish("finished", step=10)
    slow = {(name, part): value for _, name, part, value in run.metrics().iter_rows()}
    values = run.last_values()
    assert values.keys() == slow.keys()
    assert math.isnan(values.pop(("loss", "")))
    assert values == {("norm", "a"): 3.0, ("norm", "b"): 4.0, ("gap", ""): 0.5}


def test_importing_loads_nothing_heavy():
    heavy = "{'torch', 'polars', 'altair', 'pydantic'}"
    code = f"import sys, netassay.runs; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
