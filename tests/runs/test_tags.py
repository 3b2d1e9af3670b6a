"""Words of a user's own for runs: kept beside them, listed, selected, and good as the name of one run."""

import json

import pytest

from netassay.errors import RunWarning, StoreError
from netassay.runs import Store, folders


@pytest.fixture
def runs(new_run):
    return [new_run(width=width) for width in range(3)]


@pytest.fixture
def store(runs, tmp_path):
    return Store(tmp_path / "store")


def test_tags_are_listed_selected_and_name_one_run(store, runs):
    assert "tags" not in store.table().columns
    assert store.tag(runs[0].id, ["paper", "baseline"]) == ["baseline", "paper"]
    assert store.tag(runs[1], ["paper", "1"]) == ["1", "paper"]
    rows = {row["id"]: row["tags"] for row in store.table().iter_rows(named=True)}
    assert rows == {runs[0].id: "baseline, paper", runs[1].id: "1, paper", runs[2].id: ""}
    assert {run.id for run in store.select({"tag": "paper"})} == {runs[0].id, runs[1].id}
    assert store.select({"tag": "paper", "width": 0}) == [runs[0]]
    assert store.select({"tag": 1}) == [runs[1]]
    assert store.select({"tag": "none"}) == []
    assert store.find("baseline") == runs[0]
    assert store.tag("baseline") == ["baseline", "paper"]
    assert store.tag(runs[2], "one") == ["one"]
    assert store.tag(runs[2], "one", remove=True) == []
    with pytest.raises(StoreError, match="is a tag of 2 runs"):
        store.find("paper")
    with pytest.raises(StoreError, match="did you mean 'baseline'"):
        store.find("basline")


def test_a_tag_goes_before_the_beginning_of_an_id(store, runs):
    store.tag(runs[1].id, ["edge"])
    assert store.find("edge") == runs[1]


def test_tags_are_taken_away_and_go_with_their_run(store, runs):
    store.tag(runs[0].id, ["a", "b"])
    store.tag(runs[1].id, ["b"])
    assert store.tag(runs[0].id, ["a"], remove=True) == ["b"]
    with pytest.raises(StoreError, match="has no tag 'a'"):
        store.tag(runs[0].id, ["a"], remove=True)
    assert set(store.delete(where={"tag": "b"})) == {runs[0].id, runs[1].id}
    assert json.loads((store.folder / folders.TAGS).read_text()) == {}


@pytest.mark.parametrize(
    "word", ["", "../other", "a/b", "a b", ".hidden", "-x", "x\x1b[31m", "<b>", "ü\ud800", "x" * 65, "latest", 3]
)
def test_what_cannot_be_a_file_name_is_no_tag(store, runs, word):
    with pytest.raises(StoreError, match=r"refused"):
        store.tag(runs[0].id, [word])
    assert not (store.folder / folders.TAGS).exists()


def test_an_id_is_no_tag(store, runs):
    with pytest.raises(StoreError, match="stands for a run already"):
        store.tag(runs[0].id, [runs[1].id])


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"edge-000000000000": "a"}', '{"../x": ["a"]}', '{"edge-000000000000": ["<script>"]}', "[" * 100_000],
)
def test_a_strangers_file_is_left_out_with_a_warning_and_not_written_over(store, runs, text):
    (store.folder / folders.TAGS).write_text(text)
    with pytest.warns(RunWarning, match=r"tags are left out: .*tags\.json"):
        assert store.table().height == 3
    with pytest.raises(StoreError, match=r"tags\.json"):
        store.tag(runs[0].id, ["a"])
    assert (store.folder / folders.TAGS).read_text() == text


def test_a_link_in_its_place_is_not_followed(store, runs, tmp_path):
    (tmp_path / "outside.json").write_text("{}")
    (store.folder / folders.TAGS).symlink_to(tmp_path / "outside.json")
    with pytest.raises(StoreError, match="cannot be read"):
        store.tag(runs[0].id, ["a"])
    assert (tmp_path / "outside.json").read_text() == "{}"


def test_runs_that_are_gone_lose_their_tags_with_the_next_change(store, runs):
    (store.folder / folders.TAGS).write_text(json.dumps({"edge-000000000000": ["a"], runs[0].id: ["b"]}))
    store.tag(runs[1].id, ["c"])
    assert json.loads((store.folder / folders.TAGS).read_text()) == {runs[0].id: ["b"], runs[1].id: ["c"]}
