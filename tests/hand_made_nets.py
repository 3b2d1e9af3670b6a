"""Networks whose weights are written by hand, so that what they find in a sequence is known."""

import torch
from torch import nn


class Sites(nn.Module):
    """Two filters by hand, one for each dinucleotide of AA and CC; `head` makes outputs of how often each is there."""

    def __init__(self, head):
        super().__init__()
        self.filters = nn.Conv1d(4, 3, 2)
        with torch.no_grad():
            self.filters.weight.zero_()
            self.filters.bias.fill_(-1.0)
            self.filters.weight[0, 0] = self.filters.weight[1, 1] = self.filters.weight[2, 2] = 1.0
        self.found = nn.ReLU()
        self.head = head

    def forward(self, x):
        return self.head(self.found(self.filters(x)).sum(2))


def additive(counts):
    return torch.stack([counts[:, 0].square() + counts[:, 1].exp(), 3 * counts[:, 2]], 1)


def product(counts):
    return torch.stack([counts[:, 0] * counts[:, 1], -2 * counts[:, 0] * counts[:, 1] + counts[:, 2]], 1)
