"""Small AI-TACs with norms as training leaves them, and random sequences."""

import torch

from netassay.nets import AITAC


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def network(length, outputs=3, seed=0, **keywords):
    """Norms with scales of either sign, means and variances as training leaves them."""
    sizes = {"n_filters": 12, "n_channels": 8, "n_hidden": 16} | keywords
    model = AITAC(outputs, length=length, generator=draws(seed), **sizes)
    for i in (1, 2, 3):
        norm = getattr(model, f"norm{i}")
        for values, law in ((norm.running_mean, 0.1), (norm.weight, 1.0), (norm.bias, 0.1)):
            values.copy_(law * torch.randn(values.shape, generator=draws(i)))
        norm.running_var.copy_(0.2 + torch.rand(norm.running_var.shape, generator=draws(i)))
    return model


def sequences(n, length, letters=4, seed=1):
    return torch.randint(letters, (n, length), generator=draws(seed)).to(torch.uint8)
