"""AI-TAC's training step and predictions against a plain restatement of the published ones, in one process.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/sequence_cnn.py [--seeds 3] [--memory]. Times are CPU seconds of
this process, medians of interleaved repeats. Random DNA of 251 bases, 81 outputs, Pearson loss, Adam.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netassay import pearson_loss
from netassay.dna.network.forms import Folded
from netassay.dna.network.network import predict
from netassay.nets import AITAC
from netassay.processes import peak_bytes

LENGTH, OUTPUTS, PUBLISHED_BATCH, BATCH, MANY = 251, 81, 100, 200, 4000
MFLOP_FORWARD, MFLOP_STEP = 138, 403  # of one sequence, by the definition of the convolutions


class Published(nn.Module):
    """Convolutions as Conv2d over (1, 4, length), pooling after activation, as the paper describes them."""

    def __init__(self) -> None:
        super().__init__()

        def block(taken: int, given: int, kernel: tuple[int, int], pool: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(taken, given, kernel, padding=(0, kernel[1] // 2)),
                nn.ReLU(),
                nn.MaxPool2d((1, pool), (1, pool), (0, 1)),
                nn.BatchNorm2d(given),
            )

        self.convolutions = nn.Sequential(
            block(1, 300, (4, 19), 3), block(300, 200, (1, 11), 4), block(200, 200, (1, 7), 4)
        )
        hidden = [nn.Linear(1000, 1000), nn.ReLU(), nn.Dropout(0.03)]
        self.rest = nn.Sequential(*hidden, nn.Linear(1000, 1000), nn.ReLU(), nn.Dropout(0.03), nn.Linear(1000, OUTPUTS))

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.convolutions(x[:, None]).flatten(1))


def dna(n: int) -> Tensor:
    codes = torch.randint(0, 4, (n, LENGTH), generator=torch.Generator().manual_seed(0))
    return F.one_hot(codes, 4).float().transpose(1, 2).contiguous()


def training(model: nn.Module, x: Tensor, bf16: bool, fused: bool) -> Callable[[], object]:
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    heights = torch.rand(len(x), OUTPUTS, generator=torch.Generator().manual_seed(1))

    def step() -> None:
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = model(x)
        optimiser.zero_grad()
        pearson_loss(output.float(), heights).backward()
        optimiser.step()

    return step


def inference(model: nn.Module, x: Tensor) -> Callable[[], object]:
    def run() -> Tensor:
        model.eval()
        with torch.inference_mode():
            return model(x)

    return run


def predictions(model: nn.Module, codes: Tensor, precision: torch.dtype) -> Callable[[], object]:
    """The whole way from codes of bases to outputs, what is prepared once a call included."""
    return lambda: predict(model, codes, precision=precision)


def rates(jobs: dict[str, tuple[Callable[[], object], float]], repeats: int) -> dict[str, float]:
    """Median over interleaved repeats of units (sequences, GFLOP) a CPU second."""
    for job, _ in jobs.values():
        job()
    seen: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, (job, units) in jobs.items():
            begin = time.process_time()
            job()
            seen[name].append(units / (time.process_time() - begin))
    return {name: median(values) for name, values in seen.items()}


def speed(repeats: int) -> None:
    x, y = dna(PUBLISHED_BATCH), dna(BATCH)
    many = torch.randint(0, 4, (MANY, LENGTH), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    a = torch.randn(2048, 2048)
    b = a.bfloat16()
    found = rates(
        {
            "ceiling fp32": (lambda: a @ a, 2 * 2.048**3),
            "ceiling bf16": (lambda: b @ b, 2 * 2.048**3),
            "train published": (training(Published(), x, False, False), len(x)),
            "train fp32": (training(AITAC(OUTPUTS), y, False, True), len(y)),
            "train bf16": (training(AITAC(OUTPUTS), y, True, True), len(y)),
            "infer published": (inference(Published(), x), len(x)),
            "infer fp32": (predictions(AITAC(OUTPUTS), many, torch.float32), len(many)),
            "infer bf16": (predictions(AITAC(OUTPUTS), many, torch.bfloat16), len(many)),
            "prepare": (partial(Folded, AITAC(OUTPUTS), torch.bfloat16), 1),
        },
        repeats,
    )
    ceiling = found["ceiling bf16"]
    print(f"matrix products: {found['ceiling fp32']:.0f} GFLOP/s fp32, {ceiling:.0f} bf16")
    for what, work, target in (("train", MFLOP_STEP, 4.5), ("infer", MFLOP_FORWARD, 8.0)):
        base = found[f"{what} published"]
        print(f"{what}: published form, fp32, batch {PUBLISHED_BATCH}: {base:.0f} sequences/s")
        for form in ("fp32", "bf16"):
            rate = found[f"{what} {form}"]
            print(
                f"{what}: netassay, {form}, batch {BATCH}: {rate:.0f} sequences/s, {rate / base:.1f}x "
                f"(target {target}x)"
            )
        direct = ceiling * 1000 / work
        print(
            f"{what}: direct convolutions at the whole bf16 ceiling would reach {direct:.0f} sequences/s, "
            f"{direct / base:.1f}x; "
            f"netassay works at {found[f'{what} bf16'] / direct:.2f} of that, counted in the operations "
            "of the definition"
        )
    print(
        f"infer: from codes of {MANY:,} sequences, {1000 / found['prepare']:.0f} ms of preparation among it, "
        "where the published form is given one-hot tensors"
    )


def scores(seeds: int) -> None:
    """Test scores of short trainings in both precisions, on dhs4."""
    from netassay.studies.aitac.assay import assay
    from netassay.studies.aitac.config import AitacConfig

    sys.path.insert(0, "tests")
    from memory import Memory

    base = AitacConfig(
        peaks=8000,
        loss="cross_entropy",
        n_filters=100,
        n_channels=64,
        n_hidden=128,
        dropout=0.3,
        epochs=3,
        strands="augmented",
        learning_rate=2e-3,
        schedule="one_cycle",
    )
    for precision in ("float32", "bfloat16"):
        found = []
        for seed in range(seeds):
            memory = Memory()
            assay(base.replace(precision=precision, seed=seed), memory)
            found.append(memory.steps[max(memory.steps)][("auroc", "test")])
        print(f"dhs4, 8,000 peaks, 3 epochs, {precision}: test AUROC " + ", ".join(f"{value:.4f}" for value in found))


def memory() -> None:
    """Peak memory of a process that trains on random data of the size of ImmGen's atlas."""
    script = f"""
import torch, polars as pl
from netassay.dna.atlas.atlas import Atlas
from netassay.processes import peak_bytes
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.fit import Fit
from netassay.studies.aitac.fit import Material
n = 327_927
codes = torch.randint(0, 4, (n, {LENGTH}), dtype=torch.uint8)
heights = torch.rand(n, {OUTPUTS})
peaks = pl.DataFrame({{"name": [f"p{{i}}" for i in range(n)], "chromosome": [f"chr{{i % 19 + 1}}" for i in range(n)],
                      "start": range(n), "end": range({LENGTH}, n + {LENGTH})}})
atlas = Atlas(codes=codes, heights=heights, peaks=peaks, cell_types=tuple(f"c{{i}}" for i in range({OUTPUTS})))
fit = Fit(AitacConfig(batch_size={BATCH}), Material(atlas, atlas.split(), codes, heights, False))
for step in range(5):
    fit.measure(step)
    fit.advance()
fit.state()
print(peak_bytes() / 2**30)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    print(f"peak memory, training on 327,927 x {OUTPUTS} of {LENGTH} bases: {float(done.stdout):.2f} GB (target 4)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, 1 thread, {torch.backends.cpu.get_cpu_capability()}")
    speed(options.repeats)
    print(f"this process at most {(peak_bytes() or 0) / 2**30:.2f} GB")
    if options.memory:
        memory()
    if options.seeds:
        scores(options.seeds)


if __name__ == "__main__":
    main()
