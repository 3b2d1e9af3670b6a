"""A training script of one's own with the sharpness tracker added: the three lines marked below.

Run it with `python examples/tracker.py`, then look: `netassay report --store runs`.
"""

import torch

import netassay  # 1: the package


def main(steps: int = 400) -> None:
    torch.manual_seed(0)
    x = torch.randn(512, 20)
    y = torch.sin(x[:, :3]).sum(dim=1, keepdim=True)
    model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
    loss = torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
    tracker = netassay.SharpnessTracker(model, loss, [(x, y)], optimizer, name="sines", budget=0.2)  # 2

    for _ in range(steps):
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        value = loss(model(x[batch]), y[batch])
        value.backward()
        optimizer.step()
        tracker.step(value)  # 3: looks when the budget allows


if __name__ == "__main__":
    main()
