"""Saturation mutagenesis of AI-TAC against one whole forward pass a mutant, and against tangermeme, in one process.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/mutagenesis.py [--repeats 3]. Random DNA of 251 bases, 81 outputs, a
network whose norms are as training leaves them. Times are CPU seconds, medians of interleaved repeats, all that is
prepared for a call among them. Peer: tangermeme, with and without its recomputation of what an edit reaches.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from scipy.stats import spearmanr
from tangermeme import saturation_mutagenesis as peer
from torch import Tensor, nn

from netassay.dna.attributions.saturation import mutagenesis, mutants
from netassay.dna.network.forms import plain
from netassay.dna.network.network import predict
from netassay.formats.bases import one_hot
from netassay.nets import AITAC

LENGTH, OUTPUTS, PUBLISHED_BATCH, BATCH, SEQUENCES = 251, 81, 100, 200, 4
TARGET, PUBLIC = 2.5, 1.4


def network() -> AITAC:
    draws = torch.Generator().manual_seed(0)
    model = AITAC(OUTPUTS, generator=draws).eval()
    with torch.no_grad():
        for i in (1, 2, 3):
            norm = getattr(model, f"norm{i}")
            norm.running_mean.uniform_(0, 0.3, generator=draws)
            norm.running_var.uniform_(0.05, 0.5, generator=draws)
    return model


def whole(forward: Callable[[Tensor], Tensor], codes: Tensor, batch: int) -> Callable[[], Tensor]:
    """One forward pass a mutant, from codes."""

    def run() -> Tensor:
        rows, places, bases = mutants(codes)
        mutated = codes[rows]
        mutated[torch.arange(len(rows)), places] = bases.to(torch.uint8)
        with torch.inference_mode():
            return torch.cat([forward(part) for part in mutated.split(batch)])

    return run


def theirs(model: nn.Module, codes: Tensor, fast: bool) -> Callable[[], Tensor]:
    x = one_hot(codes)
    return lambda: (
        peer.saturation_mutagenesis(model, x, batch_size=BATCH, raw_outputs=True, device="cpu", fast=fast).y_hat
    )


def fast_rate(model: nn.Module, codes: Tensor) -> tuple[float, float]:
    """Seconds to capture, and mutants a second after that, from calls of one sequence and of all."""
    seconds = []
    for part in (codes[:1], codes[:1], codes):
        begin = time.process_time()
        theirs(model, part, True)()
        seconds.append(time.process_time() - begin)
    each = (seconds[2] - seconds[1]) / (len(codes) - 1)
    return seconds[1] - each, 3 * LENGTH / each


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    # they take their fast way only for jobs of half a minute, unless told so
    peer._FAST_MIN_SECONDS = 0.0
    model = network()
    form = plain(model)
    codes = torch.randint(4, (SEQUENCES, LENGTH), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    one = codes[:1]
    jobs: dict[str, tuple[Callable[[], object], int]] = {
        f"forward pass a mutant, convolutions of PyTorch, batch {PUBLISHED_BATCH}": (
            whole(lambda part: form(one_hot(part)), one, PUBLISHED_BATCH),
            1,
        ),
        f"forward pass a mutant, netassay's network, batch {BATCH}": (
            whole(lambda part: model(one_hot(part)), one, BATCH),
            1,
        ),
        "forward pass a mutant, netassay's predict": (whole(lambda part: predict(model, part), one, 1000), 1),
        "tangermeme, fast=False": (theirs(form, one, False), 1),
        "netassay float32, 1 sequence": (lambda: mutagenesis(model, one), 1),
        f"netassay float32, {SEQUENCES} sequences": (lambda: mutagenesis(model, codes), SEQUENCES),
        f"netassay bf16, {SEQUENCES} sequences": (
            lambda: mutagenesis(model, codes, precision=torch.bfloat16),
            SEQUENCES,
        ),
    }
    seen: dict[str, list[float]] = {name: [] for name in jobs}
    for name, (job, n) in list(jobs.items()) * (options.repeats + 1):
        begin = time.process_time()
        job()
        seen[name].append(n * 3 * LENGTH / (time.process_time() - begin))
    rates = {name: median(values[1:]) for name, values in seen.items()}
    base = next(iter(rates.values()))
    capture, rates["tangermeme, fast=True, without capturing the network"] = fast_rate(form, codes)
    print(
        f"torch {torch.__version__}, 1 thread, {torch.backends.cpu.get_cpu_capability()}; {LENGTH} bases, "
        f"{OUTPUTS} outputs"
    )
    for name, rate in rates.items():
        print(f"{name}: {rate:.0f} mutants/s, {rate / base:.1f}x")
    print(f"tangermeme, fast=True: {capture:.1f} s a call to capture the network and check it")
    print(f"target {TARGET}x, a public implementation gains {PUBLIC}x at this length")
    exact, rough = mutagenesis(model, codes), mutagenesis(model, codes, precision=torch.bfloat16)
    with torch.no_grad():
        slow = whole(lambda part: form.double()(one_hot(part).double()), one, BATCH)() - form(one_hot(one).double())
    rows, places, bases = mutants(one)
    off = (exact.effects[rows, bases, places] - slow).abs().max() / slow.abs().max()
    print(f"float32 differs from a float64 forward pass a mutant by at most {off:.1e} of the largest effect")
    rank = spearmanr(exact.effects.flatten(), rough.effects.flatten()).statistic
    print(f"bf16: rank correlation of effects with float32 {rank:.5f}")


if __name__ == "__main__":
    main()
