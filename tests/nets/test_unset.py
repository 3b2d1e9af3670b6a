import subprocess
import sys

SCRIPT = """
import sys
import torch
from torch import nn
from netassay.nets.unset import unset

before = torch.get_rng_state()
layers = [unset(nn.Embedding, 5, 3), unset(nn.Linear, 3, 2, bias=False, dtype=torch.float64), unset(nn.Conv1d, 4, 2, 3)]
for layer in layers:
    nn.init.normal_(next(layer.parameters()), generator=torch.Generator())
assert [type(layer) for layer in layers] == [nn.Embedding, nn.Linear, nn.Conv1d]
assert layers[1].weight.dtype == torch.float64 and layers[1].bias is None
assert torch.equal(before, torch.get_rng_state())
assert not {"sympy", "torch._dynamo"} & sys.modules.keys()
"""


def test_nothing_is_drawn_and_the_compiler_is_not_imported():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
