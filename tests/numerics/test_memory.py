import resource

import pytest
import torch

from netassay.numerics import devices, memory


def test_free_memory_is_within_what_a_container_allows(tmp_path, monkeypatch):
    for name, text in (
        ("max", "1000\n"),
        ("current", "700\n"),
        ("stat", "anon 5\ninactive_file 150\nfile 9\n"),
    ):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory._allowed_by_container(tmp_path) == 450
    (tmp_path / "memory.current").write_text("1200\n")
    assert memory._allowed_by_container(tmp_path) == 0
    (tmp_path / "memory.max").write_text("max\n")
    with pytest.raises(ValueError, match="max"):
        memory._allowed_by_container(tmp_path)
    monkeypatch.setattr(memory, "_allowed_by_container", lambda folder: 17)
    assert memory.free_bytes() == 17
    assert devices.free_memory(torch.device("cpu")) == 17


def test_the_peak_is_that_of_this_process():
    before = memory.peak_bytes()
    block = bytearray(before)  # as much again, and touched
    block[::4096] = b"1" * len(block[::4096])
    assert 1.5 * before < memory.peak_bytes() <= memory.machine_bytes()
    assert memory.peak_bytes() <= 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 2**20
