"""Corpora as they are on disk: data sets of Hugging Face, llm.c, JSON lines of ids, padding, shards that go wrong."""

import gzip
import json
import os
import struct

import numpy as np
import polars as pl
import pytest

from netassay.errors import DataError
from netassay.formats.corpus import read_corpus, read_in_parts
from netassay.formats.token_files import TokenFile

DOCUMENTS = [[1, 2, 3], [4], [5, 6]]


def lists(corpus):
    return [document.tolist() for document in corpus.documents]


def saved_to_disk(folder, shards, column="input_ids"):
    """A folder as `datasets.save_to_disk` writes it."""
    pa = pytest.importorskip("pyarrow")
    folder.mkdir(parents=True)
    names = []
    for number, rows in enumerate(shards):
        names.append(f"data-{number:05d}-of-{len(shards):05d}.arrow")
        table = pa.table({column: pa.array(rows)})
        with (
            pa.OSFile(str(folder / names[-1]), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as stream,
        ):
            stream.write_table(table, max_chunksize=1)
    state = {"_data_files": [{"filename": name} for name in names], "_indices_data_files": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_folders_of_save_to_disk_are_read_by_their_own_list(tmp_path):
    folder = saved_to_disk(tmp_path / "set", [DOCUMENTS[:2], DOCUMENTS[2:]])
    assert lists(read_corpus(folder, column="input_ids")) == DOCUMENTS
    assert lists(read_corpus(folder, column="input_ids", limit=2)) == [[1, 2], [4], [5, 6]]
    # a file that the list does not name is none of the data set
    (folder / "cache-1.arrow").write_bytes(b"no arrow")
    assert lists(read_corpus(folder, column="input_ids")) == DOCUMENTS
    text = saved_to_disk(tmp_path / "text", [["a b", "c"]], column="text")
    assert read_corpus(text).words == ("a", "b", "c")
    saved_to_disk(tmp_path / "both" / "train", [DOCUMENTS])
    (tmp_path / "both" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(DataError, match=r"with the splits train; give one, such as .*both/train"):
        read_corpus(tmp_path / "both", column="input_ids")
    for text in ("{}", "[]", "[" * 100_000):
        (folder / "state.json").write_text(text)
        with pytest.raises(DataError, match="does not list the data set's files"):
            read_corpus(folder, column="input_ids")
    os.truncate(folder / "state.json", 10 << 30)
    with pytest.raises(DataError, match="raise NETASSAY_LARGEST_CONFIG"):
        read_corpus(folder, column="input_ids")


def test_streams_are_read_batch_by_batch(tmp_path):
    folder = saved_to_disk(tmp_path / "set", [[[n, n + 1] for n in range(40)]])
    parts = [*read_in_parts(folder, column="input_ids")]
    assert [d.tolist() for part in parts for d in part] == [[n, n + 1] for n in range(40)]
    cut = next(folder.glob("*.arrow"))
    cut.write_bytes(cut.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        read_corpus(folder, column="input_ids")


@pytest.mark.parametrize(("magic", "dtype", "version"), [(20240520, "<u2", 1), (20240801, "<u4", 7)])
def test_the_header_of_llm_c_tells_all(magic, dtype, version, tmp_path):
    ids = [9, 1, 2, 3, 9, 4, 9, 5, 6]
    head = struct.pack("<256i", magic, version, len(ids), *[0] * 253)
    path = tmp_path / "train.bin"
    path.write_bytes(head + np.array(ids, dtype).tobytes())
    assert lists(read_corpus(path, end=9)) == [[9], [1, 2, 3, 9], [4, 9], [5, 6]]
    assert TokenFile.of(path, end=9).array().dtype == np.dtype(dtype)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"says 9 tokens of uint.. and [78] follow"):
        read_corpus(path, end=9)


def test_lists_of_token_ids_in_json_lines(tmp_path):
    rows = [{"data": {"ids": ids}} for ids in [*DOCUMENTS, None]]
    packed = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    corpus = read_corpus(tmp_path / "a.jsonl.gz", column="data.ids")
    assert lists(corpus) == DOCUMENTS
    assert corpus.skipped == {"data.ids is null": 1}
    for row, said in (
        ('{"ids": "x"}', "holds 'x'"),
        ('{"ids": [1, -2]}', "holds -2, which is not a token"),
        ('{"ids": [true]}', r"holds \[True\]"),
        ("{", "is not JSON"),
    ):
        (tmp_path / "b.jsonl").write_text('{"ids": [1]}\n' + row)
        with pytest.raises(DataError, match=f"b.jsonl:2: .*{said}"):
            read_corpus(tmp_path / "b.jsonl", column="ids")


def test_ids_to_ignore_are_taken_out_of_every_form(tmp_path):
    padded = [[-100, 1, 2, 3], [-100, 4, -100, -100], [-100, -100, 5, 6]]
    np.save(tmp_path / "a.npy", np.array(padded))
    pl.DataFrame({"ids": padded}).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"ids": row}) for row in padded))
    np.array(padded, "<i4").reshape(-1).tofile(tmp_path / "a.bin")
    for name, how in (("a.npy", {}), ("a.parquet", {"column": "ids"}), ("a.jsonl", {"column": "ids"})):
        corpus = read_corpus(tmp_path / name, ignore=-100, **how)
        assert lists(corpus) == DOCUMENTS
        assert corpus.skipped == {"token of id -100": 6}
        assert lists(read_corpus(tmp_path / name, ignore=-100, limit=2, **how)) == [[1, 2], [4], [5, 6]]
        with pytest.raises(DataError, match="-100"):
            read_corpus(tmp_path / name, **how)
    assert lists(read_corpus(tmp_path / "a.bin", dtype="int32", end=3, ignore=-100)) == [[1, 2, 3], [4, 5, 6]]
    (tmp_path / "a.txt").write_text("a b")
    with pytest.raises(DataError, match=r"ignore .it is for token ids"):
        read_corpus(tmp_path / "a.txt", ignore=0)


def test_shards_that_disagree_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1, 2]], np.uint16))
    np.save(tmp_path / "b.npy", np.array([[1, 2]], np.int32))
    with pytest.raises(DataError, match=r"a.npy holds token ids as uint16 and .*b.npy as int32"):
        read_corpus(tmp_path / "*.npy")
    pl.DataFrame({"ids": [[1]]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"tokens": [[1]]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b.parquet: there is no column 'ids'"):
        read_corpus(tmp_path / "*.parquet", column="ids")


def test_an_empty_shard_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("a b")
    (tmp_path / "b.txt").write_text("")
    with pytest.raises(DataError, match=r"b.txt: is an empty shard"):
        read_corpus(tmp_path / "*.txt")
    pl.DataFrame({"ids": [[1]]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"ids": [[1]]}).head(0).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b.parquet: is an empty shard"):
        read_corpus(tmp_path / "*.parquet", column="ids")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a b\n" * 5000)
    parts = read_in_parts(path, tokens_at_once=10)
    next(parts)
    with path.open("a") as file:
        file.write("c\n")
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="changed while it was read"):
        list(parts)
