"""The curvature kit on a GPU: its numbers against the CPU's, and peak memory and cost for a GPT of 124M weights.

Run: python benchmarks/gpu.py [--device cuda]. Under ten minutes; needs torch, numpy and netassay's curvature kit alone.
Without a GPU it says so and ends. Costs are in gradients (a forward and a backward pass over the same tokens, in the
same run), memory is what torch's allocator reached. `--device cpu --small` runs the same lines on a small GPT.
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netassay.curvature import Curvature, critical_sharpness, sharpness

SEED = 0


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.mix(self.before(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(n, length, width))
        return x + self.down(F.gelu(self.up(self.after(x)), approximate="tanh"))


class GPT(nn.Module):
    """GPT-2 with its embedding tied to its head; 12 blocks of width 768 have 124M weights."""

    def __init__(self, blocks: int, width: int, heads: int, words: int, length: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)
        self.head.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.words(x) + self.places(torch.arange(x.shape[1], device=x.device))
        return self.head(self.norm(self.blocks(x))).transpose(1, 2)


def made(device: str, *sizes: int, rows: int = 2) -> tuple[GPT, Tensor, Tensor]:
    torch.manual_seed(SEED)
    model = GPT(*sizes)
    tokens = torch.randint(sizes[3], (rows, sizes[4] + 1))
    return model.to(device), tokens[:, :-1].to(device), tokens[:, 1:].to(device)


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> None:
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()


def compare(device: str) -> bool:
    """The same small GPT in float64 on the CPU and in float32 on the device; whether all numbers agree."""
    print(f"numbers, a GPT of 2 blocks: float64 on the CPU, float32 on {device}, relative difference")
    made_on = {"cpu": made("cpu", 2, 64, 4, 100, 32), device: made(device, 2, 64, 4, 100, 32)}
    rows: dict[str, list[float]] = {}
    for model, x, y in made_on.values() if device != "cpu" else [made_on["cpu"]] * 2:
        model = model.double() if not rows else model.float()
        with Curvature(model, F.cross_entropy, [(x, y)]) as curvature:
            v = torch.linspace(-1, 1, curvature.size).to(curvature.gradient)
            values = {
                "loss": curvature.loss,
                "length of the gradient": float(torch.linalg.vector_norm(curvature.gradient)),
                "length of a product": float(torch.linalg.vector_norm(curvature.product(v))),
            }
        values["sharpness"] = float(sharpness(model, F.cross_entropy, [(x, y)], tolerance=1e-4).values[0])
        gradient(model, x, y)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        critical = critical_sharpness(model, F.cross_entropy, [(x, y)], direction=optimizer, tolerance=0.01)
        values["critical sharpness"] = critical.value
        for name, value in values.items():
            rows.setdefault(name, []).append(value)
    good = True
    for name, (truth, value) in rows.items():
        off = abs(value - truth) / abs(truth)
        fine = off < (0.03 if name == "critical sharpness" else 2e-3)
        good &= fine
        print(f"  {name:24} {truth:.6g} {value:.6g} {off:.1e}{'' if fine else '  TOO FAR'}")
    return good


class Meter:
    """Seconds and peak bytes of what is run on a device."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")

    def run(self, work: Callable[[], object], repeats: int = 1) -> tuple[float, float]:
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(repeats):
            work()
        if self.cuda:
            torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() / 1e9 if self.cuda else float("nan")
        return (time.perf_counter() - begin) / repeats, peak


def cost(device: str, small: bool) -> None:
    sizes = (2, 64, 4, 100, 64) if small else (12, 768, 12, 50257, 1024)
    model, x, y = made(device, *sizes, rows=1)
    count = sum(p.numel() for p in model.parameters())
    print(f"cost, a GPT of {count / 1e6:.3g}M weights, {x.numel()} tokens, float32")
    meter = Meter(device)
    gradient(model, x, y)  # what is made once is made here
    one, peak = meter.run(lambda: gradient(model, x, y), 3)

    def say(name: str, seconds: float, peak: float, times: float = 1.0) -> None:
        print(f"  {name:38} {seconds / times:8.3f} s {seconds / times / one:7.2f} gradients {peak:7.2f} GB")

    say("gradient", one, peak)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    gradient(model, x, y)
    optimizer.step()
    gradient(model, x, y)
    looks = []

    def look() -> None:
        start = looks[-1] if looks else None
        looks.append(critical_sharpness(model, F.cross_entropy, [(x, y)], direction=optimizer, start=start))

    for name in ("critical sharpness, first look", "critical sharpness, from the last"):
        seconds, peak = meter.run(look)
        say(f"{name} ({looks[-1].passes} passes)", seconds, peak)
    model.zero_grad()
    optimizer.state.clear()
    held: list[Curvature] = []
    say(
        "graph of the gradient, kept",
        *meter.run(lambda: held.append(Curvature(model, F.cross_entropy, [(x, y)]))),
    )
    held[0].trust()
    v = torch.ones_like(held[0].gradient)
    say("Hessian product", *meter.run(lambda: held[0].product(v), 3))
    held.pop().release()
    results = []
    seconds, peak = meter.run(
        lambda: results.append(sharpness(model, F.cross_entropy, [(x, y)], tolerance=1e-2, max_products=20))
    )
    top = results[0]
    say(f"sharpness ({top.products} products)", seconds, peak)
    print(f"  sharpness {float(top.values[0]):.4g} +- {float(top.errors[0]):.1g}, critical {looks[-1].value:.4g}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        print("there is no GPU here that torch can use, so nothing was measured")
        return 0
    named = torch.cuda.get_device_name() if given.device.startswith("cuda") else "the CPU"
    print(f"{named}, torch {torch.__version__}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    good = compare(given.device)
    cost(given.device, given.small)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
