"""Two processes that train one network, in shards or as replicas, and look at it together; writes what they saw."""

import datetime
import hashlib
import json
import os
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import netassay

LOSS = nn.functional.cross_entropy
STEPS = 3


def data():
    draws = torch.Generator().manual_seed(0)
    return torch.randn(24, 6, generator=draws), torch.randint(4, (24,), generator=draws)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 4))


def digest(model, optimizer):
    """What a look must leave alone, on this process."""
    tensors = [*model.parameters(), *(p.grad for p in model.parameters() if p.grad is not None)]
    for state in optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    tensors = [t.to_local() if hasattr(t, "to_local") else t for t in tensors]
    numbers = b"".join(t.detach().numpy().tobytes() for t in (*tensors, torch.get_rng_state()))
    kinds = [type(p.data).__name__ for p in model.parameters()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    return hashlib.sha256(numbers).hexdigest(), kinds, hooks, [m.training for m in model.modules()]


def wrapped(kind):
    net = network()
    if kind == "replicas":
        return nn.parallel.DistributedDataParallel(net)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    keep = {"mesh": mesh, "reshard_after_forward": kind == "resharded"}
    fully_shard(net[2], **keep)
    return fully_shard(net, **keep)


def train_each(rank, folder, kinds):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", rank=rank, world_size=2, init_method=f"file://{folder}/meeting", timeout=datetime.timedelta(seconds=40)
    )
    for kind in kinds:
        train(rank, folder, kind)
    dist.barrier()  # a process that leaves while the other still talks aborts now and then
    dist.destroy_process_group()
    # everything is written; torch's threads of a group that was destroyed now and then abort a process that exits
    os._exit(0)


def train(rank, folder, kind):
    x, y = data()
    mine = x[rank::2], y[rank::2]
    model = wrapped(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    tracker = netassay.SharpnessTracker(
        model,
        LOSS,
        [mine],
        optimizer,
        store=f"{folder}/{kind}-{rank}",
        every=1,
        level="layers",
        processes="all",
        tolerance=1e-5,
        name=kind,
    )
    said, same = [], True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(STEPS):
            optimizer.zero_grad()
            LOSS(model(mine[0]), mine[1]).backward()
            before = digest(model, optimizer)
            critical = tracker.before_step()
            same &= digest(model, optimizer) == before
            optimizer.step()
            before = digest(model, optimizer)
            seen = tracker.step()
            same &= digest(model, optimizer) == before
            layers = {} if seen is None else {n: float(b.values[0]) for n, b in seen.blocks.items()}
            along = None
            if critical is not None:
                along = [critical.value, critical.lower, critical.upper, critical.edge_ratio]
            said.append(
                {
                    "critical": along,
                    "sharpness": None if seen is None else float(seen.values[0]),
                    "layers": layers,
                    "ratio": tracker.edge_ratio,
                    "loss": None if seen is None else seen.loss,
                }
            )
        tracker.close()
    words = [str(w.message) for w in caught if issubclass(w.category, netassay.TrackerWarning)]
    weights = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    total = float(torch.cat([p.detach().reshape(-1) for p in weights]).double().sum())
    made = {"said": said, "same": same, "warnings": words, "run": tracker.run is not None, "weights": total}
    Path(folder, f"{kind}-{rank}.json").write_text(json.dumps(made))


if __name__ == "__main__":
    mp.spawn(train_each, (sys.argv[1], sys.argv[2:]), nprocs=2)
