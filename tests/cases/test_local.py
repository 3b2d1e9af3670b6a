"""The shared cases of local capacity, verdicts and the capacity page: what was wrong once, with the right values."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

import netassay
from netassay.cli import main
from netassay.errors import DataError

CASES = Path(__file__).parents[3] / "shared" / "cases" / "capacity"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the shared cases are not at {CASES}")


def run_case(name, capsys):
    """Names that a case's script defines, and the lines that it prints."""
    spec = importlib.util.spec_from_file_location(name, CASES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, capsys.readouterr().out.splitlines()


def test_rope_repeat(capsys):
    pytest.importorskip("transformers")
    module, lines = run_case("rope_repeat", capsys)
    assert ["rank 5 upper 15 full False certified 0" in line for line in lines if "upper 15" in line] == [True] * 2
    healthy = module.r
    assert (healthy.rank, healthy.upper, healthy.contexts_certified) == (20, 20, 0)
    assert "computes in float32 inside" in healthy.uncertified


def test_float32_norm(capsys):
    module, lines = run_case("float32_norm", capsys)
    assert [line.split("rank ")[1] for line in lines] == ["10 | right: 10"] * 2
    given = [(3,), (3, 3), (1, 2), (2, 1)]
    assert "computes in float32 inside (n)" in netassay.local_capacity(module.LM(True), given).uncertified
    assert netassay.local_capacity(module.LM(False), given).uncertified == ""


def test_last_position(capsys):
    module, _ = run_case("last_position", capsys)
    assert netassay.local_capacity(module.G(), [(1, 2), (2, 1)]).rank == 4  # a sum has no order
    found = netassay.local_capacity(module.G(), netassay.contexts([[1, 2, 3], [1, 2, 4]]))
    assert (found.contexts, found.rank, found.contexts_certified) == (2, 8, 2)
    with pytest.raises(DataError, match="token 99"):
        netassay.local_capacity(module.G(), [(1, 99)])
    with pytest.raises(DataError, match="12 tokens; the model takes at most 8"):
        netassay.local_capacity(module.G(), [tuple(range(4)) * 3])


def test_half_half(capsys):
    module, lines = run_case("half_half", capsys)
    (line,) = lines
    words, bound = line.rsplit(maxsplit=1)
    assert words == "not for almost all frequencies | loss 4.158883094787598 bound"
    assert float(bound) == pytest.approx(math.log(64), rel=1e-13)
    judged = netassay.bounds(module.m, 6, corpus=module.f).verdict
    assert judged.not_for_almost_all_frequencies
    assert (judged.fewest_parameters_this_corpus, judged.degrees_of_freedom_unequal) == (3, 0)


def test_rand(tmp_path, capsys):
    corpus = str(CASES / "rand.txt")
    words = [
        "capacity",
        "--corpus",
        corpus,
        "--length",
        "6",
        "--width",
        "8",
        "--try-steps",
        "20",
        "--threads",
        "1",
    ]
    assert main([*words, "--store", str(tmp_path / "runs"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["share_certain"] == pytest.approx(0.016, abs=5e-4)
    page = tmp_path / "page.html"
    assert main(["report", "--store", str(tmp_path / "runs"), "--out", str(page)]) == 0
    text = page.read_text()
    assert "nine in ten" not in text
    assert "1.61 % of the 62 contexts of" in text
    assert "not for almost all frequencies" in text
