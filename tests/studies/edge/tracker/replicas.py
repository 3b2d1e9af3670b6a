"""Two processes that train replicas of a network with batch norm, each with a tracker; prints how they ended."""

import datetime
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import netassay

STEPS = 60


def train(rank: int, folder: str, only_first: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group(
        "gloo",
        rank=rank,
        world_size=2,
        init_method=f"file://{folder}/meeting",
        timeout=datetime.timedelta(seconds=10),
    )
    x, y = torch.randn(64, 6), torch.randint(4, (64,))
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    model = torch.nn.parallel.DistributedDataParallel(net)
    loss = torch.nn.functional.cross_entropy
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tracker = None
    if rank == 0 or not only_first:
        # the clocks differ, so that each by itself would look at steps of its own
        tracker = netassay.SharpnessTracker(
            model,
            loss,
            [(x, y)],
            optimizer,
            store=f"{folder}/runs",
            budget=(0.3, 5.0)[rank],
            name=str(rank),
            blocks={"first": ["module.0.weight"]},
        )
    looks = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss(model(x[rank::2]), y[rank::2]).backward()
        optimizer.step()
        if tracker is not None and tracker.step() is not None:
            looks.append(step)
    if tracker is not None:
        tracker.close()
    weights = torch.cat([p.detach().reshape(-1) for p in net.parameters()]).double().sum().item()
    Path(folder, f"ended-{rank}").write_text(
        f"{len(looks)} {weights!r} {tracker is not None and tracker.run is not None}"
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(train, (sys.argv[1], len(sys.argv) > 2), nprocs=2)
