"""Files that a stranger wrote: no pipe is waited for, no device read, nothing unpacked beyond its bound."""

import gzip
import json
import os
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from netassay import inputs
from netassay.cli import main
from netassay.config import read as read_config
from netassay.dna.atlas import Atlas
from netassay.errors import ConfigError, DataError, NetassayError, reraised
from netassay.formats import (
    arrays,
    corpus,
    fasta,
    fragments,
    images,
    meme,
    npy,
    rows,
    text,
    token_files,
    tokenizers,
    twobit,
    weights,
)
from netassay.studies.edge.config import EdgeConfig

READERS = {
    "config.toml": read_config,
    "config.json": read_config,
    "lines.txt": lambda path: list(text.read_lines(path)),
    "corpus.jsonl": lambda path: corpus.read_corpus(path, column="text"),
    "genome.fa": lambda path: list(fasta.read_fasta(path)),
    "genome.2bit": twobit.is_twobit,
    "motifs.meme": meme.read_meme,
    "words.npy": npy.read_words,
    "numbers.npy": npy.read_array,
    "data.npz": lambda path: arrays.read(path, "x"),
    "images.idx": images.read_idx,
    "data_batch_1.bin": images.read_cifar,
    "tokenizer.json": tokenizers.encoder,
    "weights.safetensors": weights.read_weights,
}


def readers():
    return pytest.mark.parametrize("name", READERS)


@readers()
@pytest.mark.parametrize("kind", ["pipe", "zeros"])
def test_pipes_and_devices_are_refused_and_not_read(name, kind, tmp_path):
    path = tmp_path / name
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(NetassayError, match=r"is a (pipe|device), not a file"):
        READERS[name](path)


@readers()
def test_noise_is_refused_in_words(name, tmp_path):
    """Bytes of a file of another kind, and none at all."""
    for data in (b"\x93NUMPY\x01\x00v\x00" + b"{" * 200, b"PK\x03\x04" + bytes(range(256)), b""):
        (tmp_path / name).write_bytes(data)
        try:
            READERS[name](tmp_path / name)
        except NetassayError as refused:
            assert name in str(refused) or data == b""
            assert len(str(refused)) < 1000


def test_a_line_has_a_bound_that_a_user_can_raise(tmp_path, monkeypatch):
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b"short\n" + b"A" * 50_000 + b"\n"))
    assert [len(line) for line in text.read_lines(path)] == [5, 50_000]
    monkeypatch.setenv("NETASSAY_LONGEST_LINE", "10000")
    with pytest.raises(DataError, match=r"bomb.txt.gz:2: begins a line of at least .*raise NETASSAY_LONGEST_LINE"):
        list(text.read_lines(path))
    monkeypatch.setenv("NETASSAY_LONGEST_LINE", "50001")
    assert len(list(text.read_lines(path))) == 2
    monkeypatch.setenv("NETASSAY_LONGEST_LINE", "many")
    with pytest.raises(ConfigError, match="NETASSAY_LONGEST_LINE='many' is not allowed"):
        list(text.read_lines(path))


@pytest.mark.parametrize(
    ("content", "read", "words"),
    [
        (
            b"chr1\t0\t9\tA\n" + b"B" * 50_000,
            lambda path: list(fragments.read_fragments(path)),
            ":2: begins a line of at least",
        ),
        (b">a\nACGT\n>" + b"B" * 50_000, lambda path: list(fasta.read_fasta(path)), ":3: begins a line of at least"),
        (b">a\n" + b"ACGT\n" * 10_000, lambda path: list(fasta.read_fasta(path)), ": a: holds, unpacked, at least"),
        (b"a\tb\n" + b"1\t2\n" * 10_000, rows.content, ": holds, unpacked, at least"),
    ],
)
def test_what_a_few_bytes_unpack_to_is_bounded(content, read, words, tmp_path, monkeypatch):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(content))
    for name in ("LONGEST_LINE", "LARGEST_ARRAY"):
        monkeypatch.setenv(f"NETASSAY_{name}", "10000")
    with pytest.raises(DataError, match=f"bomb.gz{words} .*raise NETASSAY_L"):
        read(path)


def test_archives_are_asked_for_their_size_before_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("NETASSAY_LARGEST_ARRAY", "100000")
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(20_000))
    with pytest.raises(DataError, match=r"unpacks to .*raise NETASSAY_LARGEST_ARRAY"):
        arrays.read(tmp_path / "bomb.npz", "x")
    (tmp_path / "bomb.idx").write_bytes(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 200_000) + bytes(200_000)))
    with pytest.raises(DataError, match=r"says that it holds .*raise NETASSAY_LARGEST_ARRAY"):
        images.read_idx(tmp_path / "bomb.idx")
    (tmp_path / "none.idx").write_bytes(b"\0\0\x08\x03" + struct.pack(">III", 5, 0, 28))
    with pytest.raises(DataError, match="no entries at all"):
        images.read_idx(tmp_path / "none.idx")


def test_a_sparse_config_is_refused_unread(tmp_path):
    path = tmp_path / "config.toml"
    path.touch()
    os.truncate(path, 1 << 42)
    with pytest.raises(ConfigError, match=r"at most 4,194,304 are read.*NETASSAY_LARGEST_CONFIG"):
        read_config(path)


@pytest.mark.parametrize("shape", ["(-1,)", "(9223372036854775808, 9)", "('a',)", "(1.5,)", "[3]", "7"])
def test_shapes_that_are_none(shape, tmp_path):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(24)
    for name in ("x.npy", "words.npy"):
        (tmp_path / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("x.npy", data)
    for read in (
        lambda: npy.read_array(tmp_path / "x.npy"),
        lambda: arrays.read(tmp_path, "x"),
        lambda: arrays.read(tmp_path / "x.npz", "x"),
        lambda: token_files.TokenFile(tmp_path / "x.npy")._npy(),
    ):
        with pytest.raises(DataError, match=r"x\.npy|x\.npz"):
            read()


def test_a_zip_archive_is_no_array(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(DataError, match="zip archive"):
        npy.read_array(tmp_path / "x.npy")


def test_numbers_beyond_64_bits(tmp_path, capsys):
    with pytest.raises(ConfigError, match="seed = 1180591620717411303424 is not allowed"):
        EdgeConfig(seed=2**70)
    for words, says in (
        (["edge", "--seed", str(2**70)], "whole numbers have 64 bits"),
        (["injectivity", "topics", "--seeds", str(2**70)], "whole numbers have 64 bits"),
        (["injectivity", "topics", "--seeds", "0"], "seeds = 0 is not allowed"),
        (["edge", "--seed", "9" * 6000], "is not a whole number"),
        (["atlas", "simulate", "--peaks", "9", "--noise", "nan", "--out", "a"], "is not a finite number"),
        (["entropy", "topics", "--memory", "9" * 400], "more than any machine has"),
    ):
        assert main(words) == 2
        assert says in (told := capsys.readouterr().err)
        assert len(told) < 1000


@pytest.mark.parametrize("number", [1e-320, -1e-310, 5e-324])
def test_numbers_that_runs_would_flush_to_0(number, tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"momentum = -?\S+e-3\d\d? is not allowed: within 2.2e-308 of 0"):
        EdgeConfig(momentum=number)
    words = ["edge", "--width", "2", "--examples", "20", "--steps", "2", f"--step-size={abs(number)}"]
    assert main([*words, "--store", str(tmp_path / "runs")]) == 2
    assert "runs compute it as 0" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    assert EdgeConfig(momentum=0.0, optimiser="polyak").momentum == 0


def test_a_refusal_quotes_no_more_than_a_few_lines(tmp_path, capsys):
    (tmp_path / "keys.json").write_text(json.dumps({f"key{number}" * 20: number for number in range(3000)}))
    assert main(["edge", "--config", str(tmp_path / "keys.json")]) == 2
    told = capsys.readouterr().err
    assert "3,000 unknown keys" in told
    assert len(told) < 6000
    assert main(["edge", "--config", str(tmp_path / "keys.json"), "--width", "7" * 3000]) == 2
    assert main(["edge", "--optimiser", "x" * 100_000]) == 2
    assert len(capsys.readouterr().err) < 8000


@pytest.mark.parametrize("name", ["\udcff\udcfe", "a" * 300, "\x1b[31mred", "new\nline"])
def test_names_of_files_that_are_odd(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        ["edge", "--config", f"{name}.toml"],
        ["sweep", f"{name}.toml"],
        ["runs", "--store", name],
        ["show", name],
        ["verify", name],
        ["resume", f"./{name}"],
        ["delete", name],
        ["report", name],
        ["export", f"{name}.csv"],
        ["report", "--out", f"{name}.html"],
        ["entropy", f"{name}.txt"],
        ["atlas", "info", name],
        ["atlas", "export", name, "x.h5ad"],
    ):
        assert main(words) in (0, 2), words
        assert "\x1b" not in capsys.readouterr().err


ATLAS = next((Path(__file__).parent / "baseline").glob("*/atlas"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("digest", 5),
        ("digest", "x"),
        ("cell_types", "BT"),
        ("cell_types", [1]),
        ("lineages", None),
        ("truth", {}),
        ("source", ["a"]),
        ("simulated", "no"),
        ("dropped", []),
        ("notes", {"a": "b"}),
        ("truth", ["../x"]),
    ],
)
def test_types_inside_an_atlas(key, value, tmp_path):
    import shutil

    shutil.copytree(ATLAS, tmp_path / "atlas")
    facts = json.loads((ATLAS / "atlas.json").read_text())
    (tmp_path / "atlas" / "atlas.json").write_text(json.dumps({**facts, key: value}))
    with pytest.raises(DataError, match=key if value != ["../x"] else "truth table"):
        Atlas.open(tmp_path / "atlas")


def test_panics_of_libraries_are_refusals_and_interrupts_are_not():
    class PanicException(BaseException):
        pass

    for raised in (PanicException("a\nb"), ValueError("a\nb"), KeyboardInterrupt()):
        is_refused = not isinstance(raised, KeyboardInterrupt)
        with pytest.raises(DataError if is_refused else KeyboardInterrupt) as refused, reraised(DataError):
            raise raised
        assert not is_refused or str(refused.value) == "a"


def test_random_bytes_in_a_bigwig(tmp_path):
    pytest.importorskip("pybigtools", reason="the extra dna is not installed")
    from netassay.formats.signals import read_signal

    draws = np.random.default_rng(0)
    for _ in range(30):
        (tmp_path / "x.bw").write_bytes(b"\x26\xfc\x8f\x88" + draws.bytes(int(draws.integers(0, 200))))
        with pytest.raises(DataError, match=r"x\.bw"):
            read_signal(tmp_path / "x.bw", ["chr1"], np.array([0]), np.array([5]))


def test_polars_with_no_thread_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setenv("POLARS_MAX_THREADS", "0")
    assert main(["runs"]) == 2
    assert "POLARS_MAX_THREADS='0' is not allowed" in capsys.readouterr().err


def test_bounds_are_far_above_what_is_right():
    assert inputs.bound("LONGEST_LINE") > 249_250_621, "chromosome 1 of human on one line"
    assert sys.maxsize > inputs.bound("LARGEST_FILE")
