"""The shared small inputs about models, losses and batches, each against its right answer."""

import contextlib
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[3] / "shared" / "cases"

pytestmark = [
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"the shared cases are not at {SHARED}"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def _settings_of_torch_are_put_back():
    dtype, state = torch.get_default_dtype(), torch.get_rng_state()
    yield
    torch.set_default_dtype(dtype)
    torch.set_rng_state(state)


def printed(name, until=None):
    """What a case prints, up to the line that begins with `until`."""
    text = (SHARED / f"{name}.py").read_text()
    here = Path(f"{Path(name).name}.py")
    here.write_text(text.partition(f"\n{until}")[0] if until else text)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        runpy.run_path(str(here), run_name="case")
    return said.getvalue()


def numbers(text):
    return [float(number) for number in re.findall(r"\d+\.\d+(?:e-?\d+)?", text)]


def test_04_padded_text_in_two_batches_is_that_in_one():
    one, loss, two, again, tokens, truth = numbers(printed("edge/04_lm_padding"))
    assert two == pytest.approx(one, rel=1e-6) and again == pytest.approx(loss, rel=1e-12)
    assert tokens == pytest.approx(truth, rel=1e-6)


def test_05_attention_is_that_of_the_math_backend():
    default, math = re.findall(r"tensor\(\[(.*?)\]", printed("edge/05_attention"))
    assert default == math == "2.1059"


ALLOWED = """
import functools, runpy, sys
import netassay
netassay.sharpness = functools.partial(netassay.sharpness, memory=0)
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_07_memory_is_flat_where_no_graph_may_be_kept():
    def added(count):
        # by way of a small process, since a child begins with the peak of its parent
        command = f"'{sys.executable}' -c '{ALLOWED}' '{SHARED / 'edge' / '07_memory.py'}' {count}; :"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    assert added(8) <= 1.2 * added(1)


def test_08_compiled_batchmean_mappings_lazy_and_gauss_newton():
    said = printed("edge/08_small_ones", until="from netassay.numerics.eigen")
    lines = {line[0]: line for line in said.splitlines()}
    for letter in "bcdf":
        assert re.search(r": \[\d+\.\d+\]$", lines[letter]), lines[letter]
    assert "materialise the lazy module first" in lines["e"]


@pytest.mark.parametrize("name", ["attention_default", "dict_batches"])
def test_practice_gives_numbers(name):
    said = printed(f"practice/{name}")
    assert numbers(said) and "Error" not in said


def test_practice_of_tracking_attention():
    assert "trained on" in printed("practice/tracker_attention")
