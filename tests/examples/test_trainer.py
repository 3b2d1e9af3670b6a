"""The example of a GPT under Hugging Face's Trainer, on a small one."""

import runpy
from pathlib import Path

import pytest

from netassay.presenting import report
from netassay.runs import Store
from netassay.studies.edge.tracker.findings import verdict

EXAMPLE = Path(__file__).parents[2] / "examples" / "trainer.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_gpt_is_trained_with_its_sharpness_beside_it(tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    Path("text.txt").write_text("A cat sat on a mat. " * 2000)
    runpy.run_path(str(EXAMPLE))["main"]("text.txt", steps=6, looks=3, layers=1, width=16)
    (tracked,) = Store("runs").select({})
    assert str(tracked.state) == "finished"
    assert "edge of stability" in verdict(tracked)
    assert "next step" in verdict(tracked)
    assert "tracker-critical" in report([tracked], tmp_path / "page.html").read_text()
