"""AI-TAC again as PyTorch writes it, one module a layer, for comparison with the fast ways."""

import torch
from torch import nn

from netassay.nets import AITAC
from netassay.nets.sequence_cnn import STAGES


class Exponential(nn.Module):
    def forward(self, x):
        return x.exp()


class PlainAITAC(nn.Module):
    def __init__(self, model: AITAC):
        super().__init__()
        for i, stage in enumerate(STAGES, start=1):
            given = getattr(model, f"convolution{i}")
            setattr(
                self,
                f"convolution{i}",
                nn.Conv1d(given.in_channels, given.out_channels, stage.width, padding=stage.width // 2),
            )
            exponential = i == 1 and model.first_activation == "exponential"
            setattr(self, f"activation{i}", Exponential() if exponential else nn.ReLU())
            setattr(self, f"pool{i}", nn.MaxPool1d(stage.pool, stage.pool, 1))
            setattr(self, f"norm{i}", nn.BatchNorm1d(given.out_channels))
        for name in ("hidden1", "hidden2", "output"):
            given = getattr(model, name)
            setattr(self, name, nn.Linear(given.in_features, given.out_features))
        self.load_state_dict(model.state_dict())
        self.eval()

    def forward(self, x):
        for i in (1, 2, 3):
            for part in ("convolution", "activation", "pool", "norm"):
                x = getattr(self, f"{part}{i}")(x)
        x = x.flatten(1)
        return self.output(self.hidden2(self.hidden1(x).relu()).relu())


def random_aitac(outputs, *, seed=0, **words):
    """Random weights and random statistics of the norms, scales of either sign."""
    draws = torch.Generator().manual_seed(seed)
    model = AITAC(outputs, generator=draws, **words).eval()
    with torch.no_grad():
        for norm in (model.norm1, model.norm2, model.norm3):
            norm.weight.normal_(generator=draws)
            norm.bias.normal_(generator=draws)
            norm.running_mean.uniform_(0, 1, generator=draws)
            norm.running_var.uniform_(0.5, 2, generator=draws)
        # larger than PyTorch draws them, so that no effect drowns in rounding
        model.convolution2.weight.mul_(3)
        model.hidden1.weight.mul_(2)
        model.output.weight.mul_(5)
    return model
