"""Shared cases on networks that are not ours: convolution, norm, ReLU; modules that DeepLIFT finds awkward."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parents[3] / "shared" / "cases" / "interpret"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the shared cases are not at {CASES}")


def printed(name):
    done = subprocess.run([sys.executable, CASES / name], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_activation_is_read_behind_norm_and_relu():
    told = printed("bn_before_relu.py")
    assert "[47, 55]" in told  # the true sites
    assert "filter 0 consensus GATAAG sites 47" in told
    assert "filter 1 consensus CCGGAA (truth CCGGAA) sites 55" in told
    assert "layer='norm': ModelError" in told and "layer='relu': ModelError" in told


@pytest.fixture(scope="module")
def awkward():
    pytest.importorskip("tangermeme")
    rows = re.findall(r"^(\w+) +(deepshap N|\w+) +(ok|\w*Error:|!!!)(.*)$", printed("deepshap_cases.py"), re.M)
    return {(kind, what): (how, rest) for kind, what, how, rest in rows}


KINDS = ("Reused", "Overlap", "Inplace", "Attention", "LSTM", "BatchNormTrain", "SoftmaxOut", "Sigmoid")
ATTENTION = {"Attention": "'t.self_attn' (MultiheadAttention)", "LSTM": "'t' (LSTM)"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["gradient", "mutagenesis", "influence"])
def test_ways_without_rules_take_any_module(awkward, kind, what):
    assert awkward[kind, what][0] == "ok"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ATTENTION])
def test_deeplift_is_right(awkward, kind):
    how, rest = awkward[kind, "deepshap"]
    assert how == "ok" and float(rest) < 1e-6
    assert awkward[kind, "deepshap N"] == ("ok", " 0.0")


@pytest.mark.parametrize("kind", ATTENTION)
def test_what_has_no_rule_is_named_with_the_remedy(awkward, kind):
    how, rest = awkward[kind, "deepshap"]
    assert how == "ModelError:" and f"DeepLIFT has no rule for {ATTENTION[kind]}" in rest
