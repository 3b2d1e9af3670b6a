"""Does a subsample of the data save products for the largest eigenvalue, and do the stated errors hold?

python benchmarks/davidson.py [--draws 10] [--only NAME]       # about two minutes on one core
python benchmarks/davidson.py --clock                          # CPU time on the network of curvature.py

Ten networks and losses at five points of their training each, ten draws of subsample and starting vector: 500 cases
against values converged in float64. Costs are products with all of the data, those with the subsample by their share,
the checks of symmetry included, so that they do not depend on the machine; Lanczos's begin from the same vectors.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

import torch
from curvature import SIZES, digits, half_square, network, seconds, synthetic_images
from sklearn import datasets
from torch import Tensor, nn

import netassay

TOLERANCE, POINTS = 1e-3, 5
PAIRED = 2  # draws of each point that Lanczos's method begins from as well
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Setting:
    """A network, its loss and data, and how it is trained between the points at which it is assayed."""

    model: nn.Module
    loss: Loss
    data: tuple[Tensor, Tensor]
    steps: int  # of training between two points
    rate: float
    adam: bool = False
    block: str | None = None
    kind: str = "hessian"


@dataclass
class Tally:
    """Costs and errors of the cases of a setting."""

    lanczos: list[float] = field(default_factory=list)
    davidson: list[float] = field(default_factory=list)
    unsearched: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)  # cost over that of Lanczos's method at the same point
    wrong: list[tuple[float, float]] = field(default_factory=list)  # true and stated relative error
    wrong_lanczos: list[tuple[float, float]] = field(default_factory=list)
    wrong_unsearched: list[tuple[float, float]] = field(default_factory=list)


def plain(sizes: tuple[int, ...], activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    return nn.Sequential(*(activation() if isinstance(m, nn.Tanh) else m for m in network(sizes)))


class Reader(nn.Module):
    """A transformer that predicts the next of `length` characters."""

    def __init__(self, characters: int, length: int, width: int = 16, layers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.characters = nn.Embedding(characters, width)
        self.places = nn.Parameter(0.1 * torch.randn(length, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.last = nn.Linear(width, characters)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x: Tensor) -> Tensor:
        x = self.characters(x) + self.places
        for layer in self.layers:
            x = layer(x, src_mask=self.mask.to(x))
        return self.last(x)


def characters(length: int = 12, count: int = 400) -> tuple[Tensor, Tensor, int]:
    """Windows of the descriptions of scikit-learn's data sets, and the same moved on by one character."""
    loaders = (datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer, datasets.load_digits)
    text = "".join(load().DESCR for load in loaders)
    alphabet = {c: i for i, c in enumerate(sorted(set(text)))}
    codes = torch.tensor([alphabet[c] for c in text])
    windows = codes.unfold(0, length + 1, max(1, (len(codes) - length) // count))[:count]
    return windows[:, :-1].clone(), windows[:, 1:].clone(), len(alphabet)


def next_character(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten())


def convolution() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 4, 3),
        nn.GELU(),
        nn.Conv2d(4, 8, 3),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def words(n: int = 500, kinds: int = 200, length: int = 8) -> tuple[Tensor, Tensor]:
    """Counts of words of frequencies 1/rank, and which of two classes: most words are in a few examples."""
    g = torch.Generator().manual_seed(0)
    frequency = 1 / torch.arange(1.0, kinds + 1)
    drawn = torch.multinomial(frequency.expand(n, -1), length, replacement=True, generator=g)
    counts = torch.zeros(n, kinds).scatter_add_(1, drawn, torch.ones(n, length))
    return counts, (counts @ torch.randn(kinds, generator=g) > 0).long()


def settings() -> Iterator[tuple[str, Callable[[], Setting]]]:
    cross_entropy = nn.functional.cross_entropy
    x, y = (t[:500] for t in digits())
    label = y.argmax(1)
    g = torch.Generator().manual_seed(1)
    noise, mislabelled, far = torch.randint(0, 10, (len(x),), generator=g), label.clone(), x.clone()
    mislabelled[:3] = (label[:3] + 1) % 10
    far[17] *= 8
    pixels = synthetic_images(500)
    text, following, alphabet = characters()
    small = (64, 40, 40, 10)
    deep = (64, 40, 40, 40, 40, 10)
    yield "images, half squares", lambda: Setting(network((3072, 30, 30, 10)), half_square, pixels, 20, 0.01)
    yield "digits, half squares", lambda: Setting(network(small), half_square, (x, y), 150, 0.1)
    yield "digits, depth 4, at the edge", lambda: Setting(network(deep), half_square, (x, y), 100, 0.5)
    yield (
        "digits, cross-entropy to its end",
        lambda: Setting(network(small), cross_entropy, (x, label), 400, 0.5),
    )
    yield (
        "three labels wrong, to the end",
        lambda: Setting(network(small), cross_entropy, (x, mislabelled), 400, 0.5),
    )
    yield "random labels, ReLU", lambda: Setting(plain(small, nn.ReLU), cross_entropy, (x, noise), 200, 0.1)
    yield "one example eight times as large", lambda: Setting(network(small), half_square, (far, y), 30, 0.02)
    yield (
        "rare words, cross-entropy",
        lambda: Setting(network((200, 50, 2)), cross_entropy, words(), 300, 0.5),
    )
    yield (
        "transformer on text, Adam",
        lambda: Setting(Reader(alphabet, 12), next_character, (text, following), 40, 3e-3, adam=True),
    )
    yield (
        "convolution, a layer's block",
        lambda: Setting(convolution(), cross_entropy, (x, label), 40, 3e-3, adam=True, block="3"),
    )


def train(setting: Setting) -> None:
    weights = list(setting.model.parameters())
    rule = torch.optim.Adam(weights, setting.rate) if setting.adam else torch.optim.SGD(weights, setting.rate)
    x, y = setting.data
    for _ in range(setting.steps):
        rule.zero_grad()
        setting.loss(setting.model(x), y).backward()
        rule.step()
    rule.zero_grad()


def assay(setting: Setting, tally: Tally, draws: int) -> None:
    """All methods at the present weights."""

    def largest(model: nn.Module, data: tuple[Tensor, Tensor], **options: object) -> tuple[object, float]:
        names = [n for n, _ in model.named_parameters() if n.startswith(f"{setting.block}.")]
        blocks = None if setting.block is None else {setting.block: names}
        result = netassay.sharpness(model, setting.loss, [data], blocks=blocks, kind=setting.kind, **options)
        pairs = result if setting.block is None else result.blocks[setting.block]
        return pairs, float(pairs.values[0])

    double = tuple(t.double() if t.is_floating_point() else t for t in setting.data)
    truth = largest(copy.deepcopy(setting.model).double(), double, tolerance=1e-6, k=2)[1]
    check = 1 if setting.block is None else 0  # of symmetry, by a further product

    for draw in range(draws):

        def run(costs: list[float], wrong: list[tuple[float, float]], extra: float, draw=draw, **options) -> None:
            pairs, value = largest(
                setting.model, setting.data, generator=torch.Generator().manual_seed(draw), **options
            )
            costs.append(pairs.cost + extra + 2 * pairs.share)  # the subsample's graph, and its check of symmetry
            wrong.append((abs(value - truth) / abs(truth), float(pairs.errors[0]) / abs(truth)))

        run(tally.davidson, tally.wrong, 0, method="davidson")
        if draw < PAIRED:
            run(tally.lanczos, tally.wrong_lanczos, check)
            run(tally.unsearched, tally.wrong_unsearched, 0, method="davidson", search=False)
            tally.ratios.append(tally.davidson[-1] / tally.lanczos[-1])


def holds(errors: list[tuple[float, float]]) -> float:
    return sum(true <= stated for true, stated in errors) / len(errors)


def row(name: str, tally: Tally) -> str:
    return (
        f"{name:34s} {median(tally.lanczos):7.1f} {median(tally.davidson):8.1f} {max(tally.davidson):6.1f} "
        f"{median(tally.unsearched):10.1f} {median(tally.ratios):6.2f} {max(tally.ratios):6.2f} "
        f"{holds(tally.wrong):7.0%} {max(true for true, _ in tally.wrong):8.0e} {holds(tally.wrong_unsearched):10.0%} "
        f"{holds(tally.wrong_lanczos):8.0%}"
    )


def clock(starts: int = 3) -> None:
    """CPU time of all methods on the network of curvature.py, in gradients taken just before."""
    x, y = synthetic_images()
    model = network(SIZES)
    weights = list(model.parameters())
    double = copy.deepcopy(model).double()
    truth = netassay.sharpness(double, half_square, [(x.double(), y.double())], tolerance=1e-7, k=2).values[0]
    methods = {
        "lanczos": {"method": "lanczos"},
        "davidson": {"method": "davidson"},
        "without a search": {"method": "davidson", "search": False},
    }
    print(f"network of curvature.py, {starts} starting vectors: CPU time in gradients")
    for name, options in methods.items():
        times, results = [], []
        for n in range(starts):
            unit = median(seconds(lambda: torch.autograd.grad(half_square(model(x), y), weights)) for _ in range(5))

            def job(n=n, results=results, options=options) -> None:
                generator = torch.Generator().manual_seed(n)
                results.append(netassay.sharpness(model, half_square, [(x, y)], generator=generator, **options))

            times.append(seconds(job) / unit)
        wrong = " ".join(f"{abs(float(r.values[0] - truth)) / truth:.0e}" for r in results)
        stated = " ".join(f"{float(r.errors[0]) / truth:.0e}" for r in results)
        products = ", ".join(f"{r.products} + {r.sampled}" for r in results)
        print(
            f"{name:17s} {' '.join(f'{t:4.1f}' for t in times)}   products, full + subsampled: {products}   "
            f"relative error {wrong}, stated {stated}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--only", default="")
    parser.add_argument("--clock", action="store_true", help="CPU time on the network of curvature.py instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.clock:
        clock()
        return
    print(
        f"torch {torch.__version__}, float32, tolerance {TOLERANCE:g}; products with all of the data\n"
        f"{'':34s} {'Lanczos':>7s} {'Davidson':>8s} {'most':>6s} {'unsearched':>10s} {'ratio':>6s} {'most':>6s} "
        f"{'holds':>7s} {'largest':>8s} {'unsearched':>10s} {'Lanczos':>8s}"
    )
    tallies = []
    for name, make in settings():
        if options.only not in name:
            continue
        setting, tally, begin = make(), Tally(), time.process_time()
        for point in range(options.points):
            if point:
                train(setting)
            assay(setting, tally, options.draws)
        tallies.append(tally)
        print(row(name, tally), f"{time.process_time() - begin:6.0f} s", flush=True)
    every = [pair for tally in tallies for pair in tally.wrong]
    ratios = [ratio for tally in tallies for ratio in tally.ratios]
    print(
        f"{len(every)} cases: stated error holds in {holds(every):.1%}; cost over Lanczos's {median(ratios):.2f} in "
        f"the median, at most {max(ratios):.2f}, above 1.2 in {sum(r > 1.2 for r in ratios) / len(ratios):.1%}"
    )


if __name__ == "__main__":
    main()
