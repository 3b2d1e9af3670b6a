"""Influence of 300 first-layer filters: exact and screening against a restatement of the published analysis.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/influence.py [--run FOLDER]. Times are CPU seconds of this process,
medians of interleaved repeats, on the same peaks of 251 bases with 81 outputs. The folder of a trained run gives the
network and the test peaks for the agreement of ranks.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from netassay import Run, influence, pearson_rows
from netassay.formats.bases import one_hot
from netassay.nets import AITAC
from netassay.nets.sequence_cnn import STAGES
from netassay.studies.aitac.assay import config_of, trained
from netassay.studies.aitac.fit import material

LENGTH, OUTPUTS, PEAKS, CHECKED = 251, 81, 100, 20


class Published:
    """Convolutions as Conv2d, one full pass from the second layer on for each filter and batch, float32.

    What is filled in is a mean over the batch: place by place as the project does it, or the authors' own.
    """

    def __init__(self, model: AITAC) -> None:
        self.model = model

    def block(self, x: Tensor, i: int) -> Tensor:
        convolution, norm = getattr(self.model, f"convolution{i}"), getattr(self.model, f"norm{i}")
        width, pool = STAGES[i - 1]
        padding = (0, width // 2)
        x = F.conv2d(
            x,
            convolution.weight[:, :, None] if i > 1 else convolution.weight[:, None],
            convolution.bias,
            padding=padding,
        )
        exponential = i == 1 and self.model.first_activation == "exponential"
        x = x.exp() if exponential else x.relu()
        self.activation = x
        x = F.max_pool2d(x, (1, pool), (1, pool), (0, 1))
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)

    def rest(self, h: Tensor) -> Tensor:
        h = self.block(self.block(h, 2), 3).flatten(1)
        model = self.model
        return model.output(model.hidden2(model.hidden1(h).relu()).relu())

    def ablated(self, x: Tensor, filters: range, *, own_fill: bool) -> tuple[Tensor, Tensor]:
        """Outputs, and those without each filter (filters, peaks, outputs)."""
        h = self.block(x[:, None], 1)
        fill = self.activation.mean((0, 2, 3))[:, None].expand(-1, h.shape[3]) if own_fill else h.mean(0)[:, 0]
        whole, found = self.rest(h), []
        for f in filters:
            changed = h.clone()
            changed[:, f, 0] = fill[f]
            found.append(self.rest(changed))
        return whole, torch.stack(found)


def overall(whole: Tensor, without: Tensor, heights: Tensor) -> Tensor:
    r = pearson_rows(whole, heights)
    return torch.stack([(pearson_rows(y, heights) - r).square().nanmean() for y in without])


def published(
    model: AITAC, codes: Tensor, heights: Tensor, *, own_fill: bool = False, filters: int = 0
) -> dict[str, Tensor]:
    """Overall influence and that of outputs, batch by batch of 100 peaks."""
    chosen = range(filters or model.convolution1.out_channels)
    net, squares, wholes, withouts = Published(model), [], [], []
    with torch.inference_mode():
        for rows in torch.arange(len(codes)).split(PEAKS):
            whole, without = net.ablated(one_hot(codes[rows]), chosen, own_fill=own_fill)
            squares.append((without - whole).square())
            wholes.append(whole)
            withouts.append(without)
        return {
            "overall": overall(torch.cat(wholes), torch.cat(withouts, 1), heights),
            "by_output": torch.cat(squares, 1).mean(1),
        }


def ranks(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation."""
    return float(pearson_rows(a.argsort().argsort()[None].double(), b.argsort().argsort()[None].double()))


def seconds(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    seen: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            begin = time.process_time()
            job()
            seen[name].append(time.process_time() - begin)
    return {name: median(values) for name, values in seen.items()}


def exactness(model: AITAC, codes: Tensor, heights: Tensor) -> None:
    """Largest differences of the fast way from the slow one, for some filters and the first peaks."""
    codes, heights = codes[:PEAKS], heights[:PEAKS]
    slow = published(model, codes, heights, filters=CHECKED)
    fast = influence(model, codes, heights, sets=[(f,) for f in range(CHECKED)])
    for name, words in (("overall", "overall influence"), ("by_output", "influence on outputs")):
        difference, size = (
            float((slow[name] - getattr(fast, name)).abs().max()),
            float(slow[name].abs().max()),
        )
        print(
            f"  {words} of {CHECKED} filters, {len(codes)} peaks: at most {difference:.1e} from the slow way, "
            f"{difference / size:.1e} of the largest value {size:.2g}"
        )


def speed(repeats: int) -> None:
    draws = torch.Generator().manual_seed(0)
    model = AITAC(OUTPUTS, generator=draws).eval()
    codes = torch.randint(0, 4, (PEAKS, LENGTH), generator=draws, dtype=torch.uint8)
    heights = torch.rand(PEAKS, OUTPUTS, generator=draws)
    found = seconds(
        {
            "published": lambda: published(model, codes, heights),
            "exact": lambda: influence(model, codes, heights),
            "screening": lambda: influence(model, codes, heights, precision=torch.bfloat16),
        },
        repeats,
    )
    pairs = PEAKS * model.convolution1.out_channels
    print(f"{PEAKS} peaks x {model.convolution1.out_channels} filters, statistics and null included:")
    for name, aim in (("published", 1), ("exact", 6), ("screening", 12)):
        print(
            f"  {name}: {found[name]:.2f} s, {found[name] / pairs * 1e6:.0f} us an ablated peak, "
            f"{found['published'] / found[name]:.1f}x" + (f" (aim {aim}x)" if aim > 1 else "")
        )


def agreement(folder: Path, peaks: int) -> None:
    """How the ranks of filters agree with those of the exact way on all peaks, for a trained network."""
    run = Run.open(folder)
    data = material(config_of(run))
    model = trained(run)
    rows = data.split.test[torch.randperm(len(data.split.test), generator=torch.Generator().manual_seed(0))[:peaks]]
    codes, heights = data.codes[rows], data.heights[rows]
    print(f"{run.id}, trained:")
    exactness(model, codes, heights)
    exact = influence(model, codes, heights)
    others = {
        "bfloat16": influence(model, codes, heights, precision=torch.bfloat16),
        "float32, a quarter of the peaks": influence(model, codes[::4], heights[::4]),
        "bfloat16, a quarter of the peaks": influence(model, codes[::4], heights[::4], precision=torch.bfloat16),
        "the published fill": influence(model, codes, heights, fill="published"),
        "nought filled in": influence(model, codes, heights, fill="zero"),
    }
    print(
        f"{run.id}, {len(rows):,} test peaks, {exact.overall.numel()} filters: Spearman's rank correlation with the "
        "exact way on all of them"
    )
    for name, other in others.items():
        print(
            f"  {name}: overall {ranks(exact.overall, other.overall):.4f}, "
            f"mean over cell types {ranks(exact.by_output.mean(1), other.by_output.mean(1)):.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--run", type=Path, default=None, help="folder of a trained run, for the rank agreement")
    parser.add_argument("--peaks", type=int, default=800)
    parser.add_argument("--ranks-only", action="store_true", help="no timing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {torch.backends.cpu.get_cpu_capability()}")
    if not options.ranks_only:
        speed(options.repeats)
    if options.run:
        agreement(options.run, options.peaks)


if __name__ == "__main__":
    main()
