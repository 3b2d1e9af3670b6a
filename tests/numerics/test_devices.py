import pytest
import torch

from netassay.numerics import devices


def test_free_memory_is_within_what_a_container_allows(tmp_path, monkeypatch):
    for name, text in (
        ("max", "1000\n"),
        ("current", "700\n"),
        ("stat", "anon 5\ninactive_file 150\nfile 9\n"),
    ):
        (tmp_path / f"memory.{name}").write_text(text)
    assert devices._allowed_by_container(tmp_path) == 450
    (tmp_path / "memory.current").write_text("1200\n")
    assert devices._allowed_by_container(tmp_path) == 0
    (tmp_path / "memory.max").write_text("max\n")
    with pytest.raises(ValueError, match="max"):
        devices._allowed_by_container(tmp_path)
    monkeypatch.setattr(devices, "_allowed_by_container", lambda folder: 17)
    assert devices.free_memory(torch.device("cpu")) == 17
