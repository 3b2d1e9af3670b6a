"""A corpus in shards counted over a real two-node Ray equals the same corpus on one machine."""

import json
import math
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cluster import until

import netassay
from netassay.errors import ConfigError, ExtraMissing

EXACT = [
    *("documents", "documents_empty", "documents_cut", "documents_dropped", "tokens", "tokens_predicted", "vocabulary"),
    *("contexts", "contexts_with_empty", "largest_support", "share_certain", "degrees_of_freedom"),
    *("degrees_of_freedom_unequal", "skipped"),
]


def shards_of(folder, documents, number=4):
    """The documents in Parquet shards; their folder."""
    folder.mkdir()
    for i in range(number):
        column = pl.Series(documents[i::number], dtype=pl.List(pl.Int64))
        pl.DataFrame({"text": column}).write_parquet(folder / f"{i}.parquet")
    return folder


def skewed(documents, tokens):
    """Documents of which half are equal."""
    r = np.random.default_rng(0)
    copy = r.integers(0, 500, tokens).tolist()
    return [copy if i % 2 else (r.zipf(1.4, r.integers(1, tokens)) % 500).tolist() for i in range(documents)]


def common_first_token(documents, tokens):
    """Documents that all begin with one token."""
    r = np.random.default_rng(1)
    return [[7, *(r.zipf(1.3, r.integers(1, tokens)) % 900).tolist()] for _ in range(documents)]


def short(documents, tokens):
    """Documents of up to a few tokens, many equal."""
    r = np.random.default_rng(2)
    return [r.integers(0, 9, r.integers(1, max(tokens // 8, 3))).tolist() for _ in range(documents)]


def same(ours, expected):
    for name in EXACT:
        assert getattr(ours, name) == getattr(expected, name), name
    for name in ("bound_nats", "bound_nats_with_empty", "bound_bits_per_token", "information_bits"):
        assert math.isclose(getattr(ours, name), getattr(expected, name), rel_tol=1e-11), name
    for mine, theirs in zip(ours.by_length, expected.by_length, strict=True):
        for name, value in mine.items():
            assert math.isclose(value, theirs[name], rel_tol=1e-11, abs_tol=1e-11) or math.isnan(value), name


def over_nodes(ray_cluster, folder, scratch, **words):
    return netassay.entropy(folder, by_length=True, on="ray", address=ray_cluster.address, scratch=scratch, **words)


@pytest.mark.slow
@pytest.mark.parametrize("make", [skewed, common_first_token, short])
def test_the_same_numbers_over_nodes(ray_cluster, tmp_path, make):
    folder = shards_of(tmp_path / "corpus", make(600, 60))
    for words in ({}, {"window": 3}, {"length": 5, "exact_length": True}):
        same(
            over_nodes(ray_cluster, folder, tmp_path / "scratch", **words),
            netassay.entropy(folder, by_length=True, **words),
        )
    assert not [*(tmp_path / "scratch").iterdir()]


def workers_of(word):
    """Processes of this machine that are Ray workers at a task of some name and descend from this test."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
            if command.startswith("ray::") and word in command and _descends(int(process.name)):
                yield int(process.name)
        except OSError:
            continue


def _descends(process):
    while process > 1:
        if process == os.getpid():
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


COMMAND = "from netassay.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def started(ray_cluster, folder, scratch):
    words = ["entropy", str(folder), "--by-length", "--on", "ray", "--address", ray_cluster.address]
    words += ["--scratch", str(scratch), "--format", "json"]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [skewed, common_first_token, short])
def test_a_worker_is_killed_and_the_command_and_it_goes_on(ray_cluster, tmp_path, make):
    folder = shards_of(tmp_path / "corpus", make(6000, 120), 8)
    expected = netassay.entropy(folder, by_length=True)
    scratch = tmp_path / "scratch"
    first = started(ray_cluster, folder, scratch)
    until(lambda: [*scratch.glob("netassay-*/shard-*.npz")] or first.poll() is not None)
    assert first.poll() is None, first.stderr.read()
    # as a node does that loses power: the command, and whatever worker is at a task
    for worker in list(workers_of("_answered")):
        os.kill(worker, signal.SIGKILL)
    first.kill()
    first.communicate()
    early = {path: path.stat().st_mtime_ns for path in scratch.glob("netassay-*/shard-*.npz")}
    second = started(ray_cluster, folder, scratch)
    killed = []

    def kill_one():
        if not killed:
            for worker in list(workers_of("_answered"))[:1]:
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
        for path, written in early.items():
            with suppress(FileNotFoundError):  # all is removed at the end
                assert path.stat().st_mtime_ns == written
        return second.poll() is not None

    until(kill_one)
    out, err = second.communicate()
    assert second.returncode == 0, err
    assert killed
    found = json.loads(out)
    for name in EXACT:
        assert found[name] == getattr(expected, name), name
    assert math.isclose(found["bound_nats"], expected.bound_nats, rel_tol=1e-11)


@pytest.mark.slow
def test_a_node_is_lost(ray_cluster, tmp_path):
    folder = shards_of(tmp_path / "corpus", skewed(6000, 120), 8)
    scratch = tmp_path / "scratch"
    first = started(ray_cluster, folder, scratch)
    until(lambda: [*scratch.glob("netassay-*/shard-*.npz")] or first.poll() is not None)
    ray_cluster.lose_second()
    out, err = first.communicate()
    ray_cluster.bring_back()
    assert first.returncode == 0, err
    assert json.loads(out)["contexts"] == netassay.entropy(folder).contexts


def refused(folder, match, error=ConfigError, **words):
    with pytest.raises(error, match=match):
        netassay.entropy(folder, on="ray", **words)


def test_what_is_refused_before_anything_starts(tmp_path, monkeypatch):
    folder = shards_of(tmp_path / "corpus", [[1, 2], [1, 3], [2, 2], [2, 3]], 2)
    text = tmp_path / "stories.txt"
    text.write_text("a b\na c\n")
    refused(folder, "--scratch FOLDER")
    refused(text, "numbers words as they come up", scratch=tmp_path)
    refused("topics", "one small text", scratch=tmp_path)
    refused(folder, "runs on from one file to the next", scratch=tmp_path, blocks=4)
    refused(folder, "lengths and model", scratch=tmp_path, lengths=[1])
    pytest.importorskip("ray")
    refused(folder, "auto or HOST:PORT", scratch=tmp_path, address="ray://x")
    refused(folder, "no Ray cluster answers at 127.0.0.1:9", scratch=tmp_path, address="127.0.0.1:9")
    with pytest.raises(ConfigError, match="add --on ray"):
        netassay.entropy(folder, address="auto")
    monkeypatch.setattr("netassay.sweeps.connection.find_spec", lambda name: None)
    refused(folder, "pip install", ExtraMissing, scratch=tmp_path)
