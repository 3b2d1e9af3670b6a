import json
import os
import shutil
import tracemalloc
from pathlib import Path

import polars as pl
import pytest
import torch

from netassay import Atlas, find_atlas
from netassay.dna.atlas.atlas import with_values
from netassay.errors import DataError

MAPS = Path("/proc/self/maps")


def atlas(n=30, **values):
    draw = torch.Generator().manual_seed(1)
    held = {
        "codes": torch.randint(0, 5, (n, 12), generator=draw, dtype=torch.uint8),
        "heights": torch.randn(n, 3, generator=draw),
        "peaks": pl.DataFrame(
            {
                "name": [f"p{i}" for i in range(n)],
                "chromosome": [f"chr{i % 5 + 1}" for i in range(n)],
                "start": range(n),
                "end": range(12, n + 12),
            }
        ),
        "cell_types": ("B", "T", "NK"),
        "lineages": ("B", "T", ""),
        "dropped": {"without heights": 4},
        "notes": {"kept": 1},
        "source": "made",
    }
    return Atlas(**{**held, **values})


def test_sequences_by_any_kind_of_index():
    made = atlas()
    whole = made.sequences(slice(None))
    assert whole.shape == (30, 4, 12)
    assert whole.dtype == torch.float32
    for index in ([3, 7], torch.tensor([3, 7]), range(3, 8, 4), slice(3, 8, 4)):
        assert torch.equal(made.sequences(index), whole[[3, 7]])
    assert torch.equal(made.sequences(4), whole[[4]])
    assert torch.equal(whole.sum(1) == 0, made.codes == 4)
    assert torch.equal(whole.argmax(1)[made.codes < 4], made.codes[made.codes < 4].long())


def test_saved_and_opened_it_is_the_same_and_mapped(tmp_path):
    made = atlas(truth={"sites": pl.DataFrame({"peak": [1]})}, simulated=True)
    made.save(tmp_path / "a" / "b")
    back = Atlas.open(tmp_path / "a" / "b", verify=True)
    for name in ("cell_types", "lineages", "dropped", "notes", "source", "simulated", "digest"):
        assert getattr(back, name) == getattr(made, name), name
    assert torch.equal(back.codes, made.codes)
    assert torch.equal(back.heights, made.heights)
    assert back.peaks.equals(made.peaks)
    assert back.truth["sites"].equals(made.truth["sites"])
    if MAPS.exists():
        assert str(tmp_path / "a" / "b" / "arrays.safetensors") in MAPS.read_text()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b"]


def test_the_digest_is_of_the_data():
    made = atlas()
    assert atlas().digest == made.digest
    assert with_values(made, source="elsewhere").digest == made.digest
    for name, value in [
        ("codes", made.codes.flip(0)),
        ("heights", made.heights + 1),
        ("cell_types", ("B", "T", "ILC")),
        ("lineages", ("B", "T", "T")),
        ("peaks", made.peaks.with_columns(start=pl.col("start") + 1)),
        ("simulated", True),
    ]:
        assert with_values(made, **{name: value}).digest != made.digest, name


def test_nothing_is_written_over_and_nothing_half(tmp_path, monkeypatch):
    made = atlas()
    made.save(tmp_path / "a")
    with pytest.raises(DataError, match="exists already"):
        made.save(tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="exists already"):
        made.save(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    made.save(tmp_path / "empty")
    with pytest.raises(DataError, match="small letters"):
        atlas(truth={"../x": pl.DataFrame({"a": [1]})}).save(tmp_path / "c")

    def full(*words, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(DataError, match="cannot be written: No space left"):
        made.save(tmp_path / "d")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty", "file"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: (a / "atlas.json").unlink(), "is not an atlas"),
        (lambda a: (a / "atlas.json").write_text("{"), "cannot be read"),
        (lambda a: (a / "atlas.json").write_text("[]"), "describes no atlas"),
        (lambda a: change(a, format=99), "of format 99; this netassay reads 1"),
        (lambda a: change(a, truth=["../x"]), "no plain word"),
        (lambda a: change(a, cell_types=["B"]), "is damaged"),
        (lambda a: (a / "arrays.safetensors").write_bytes(b"x" * 50), "is damaged"),
        (lambda a: (a / "peaks.parquet").write_bytes(b"PAR1"), "is damaged"),
        (lambda a: (a / "peaks.parquet").unlink(), "is damaged"),
        (lambda a: flip(a / "arrays.safetensors"), "the files were changed or damaged"),
    ],
)
def test_damage_is_reported(tmp_path, damage, message):
    folder = tmp_path / "a"
    atlas().save(folder)
    damage(folder)
    with pytest.raises(DataError, match=message):
        Atlas.open(folder, verify=True)


def test_a_large_file_that_is_no_table_is_not_read(tmp_path):
    atlas().save(tmp_path / "a")
    os.truncate(tmp_path / "a" / "peaks.parquet", 1 << 30)
    tracemalloc.start()
    with pytest.raises(DataError, match="is damaged"):
        Atlas.open(tmp_path / "a")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24


def change(folder, **values):
    facts = json.loads((folder / "atlas.json").read_text())
    (folder / "atlas.json").write_text(json.dumps({**facts, **values}))


def flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"codes": torch.zeros(30, 12)}, "one byte per base"),
        ({"heights": torch.zeros(29, 3)}, r"need float32 of shape \(30, 3\)"),
        ({"heights": torch.zeros(30, 3, dtype=torch.float64)}, "need float32"),
        ({"lineages": ("B",)}, "1 lineages for 3 cell types"),
        ({"cell_types": ("B", "T", "B")}, "'B' occurs twice"),
        ({"peaks": pl.DataFrame({"name": ["p"] * 30})}, "table of peaks"),
    ],
)
def test_parts_that_do_not_fit_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        atlas(**values)


def test_a_name_that_is_no_atlas_says_what_may_be_given(tmp_path):
    with pytest.raises(DataError, match='"dhs4", "simulated" or a folder'):
        find_atlas(str(tmp_path / "nothing"))
    atlas().save(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "elsewhere")
    assert len(find_atlas(tmp_path / "elsewhere")) == 30
