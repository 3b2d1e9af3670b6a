"""Null models: data that keep a statistic and lose the link between sequence and height."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from netassay.formats.bases import UNKNOWN

_LETTERS = UNKNOWN + 1


def permute_rows(heights: Float[Tensor, "peaks cell_types"], generator: torch.Generator) -> Tensor:
    """Heights of the peaks in another order: every profile stays intact and belongs to another peak."""
    return heights[torch.randperm(len(heights), generator=generator)]


def permute_cells(heights: Float[Tensor, "peaks cell_types"], generator: torch.Generator) -> Tensor:
    """Heights of each peak in an order of their own over the cell types: each peak keeps its values."""
    order = torch.rand(heights.shape, generator=generator, dtype=torch.float64).argsort(dim=1)
    return heights.gather(1, order)


def shuffle_mononucleotides(codes: UInt8[Tensor, "n length"], generator: torch.Generator) -> UInt8[Tensor, "n length"]:
    """Every sequence in a random order of its own bases."""
    order = torch.rand(codes.shape, generator=generator, dtype=torch.float64).argsort(dim=1)
    return codes.gather(1, order)


def shuffle_dinucleotides(codes: UInt8[Tensor, "n length"], generator: torch.Generator) -> UInt8[Tensor, "n length"]:
    """Every sequence drawn uniformly from those with the same count of each dinucleotide (and the same ends).

    A sequence is a path through its letters with one edge per dinucleotide; another path takes the edges of each letter
    in another order. Such an order can be walked exactly if the last edges of all letters lead to the final one; last
    edges are drawn again until they do. Unknown bases count as a letter. Altschul and Erickson (1985).
    """
    draw = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    letters = codes.numpy()
    if letters.shape[1] < 3:
        return codes.clone()
    source = letters[:, :-1].astype(np.int64)  # (n, edges)
    key = draw.random(source.shape)
    rows = np.arange(len(source))[:, None]
    end = letters[:, -1].astype(np.int64)
    _put_last(key, source, _last_edges(letters, source, end, draw))
    order = np.lexsort((key, source), axis=1) if source.size else source
    target = letters[:, 1:][rows, order]
    counts = np.stack([(source == letter).sum(axis=1) for letter in range(_LETTERS)], axis=1)
    at = np.cumsum(counts, axis=1) - counts  # where the edges of each letter begin
    shuffled = np.empty_like(letters)
    shuffled[:, 0] = letters[:, 0]
    row = rows[:, 0]
    for position in range(source.shape[1]):
        letter = shuffled[:, position]
        shuffled[:, position + 1] = target[row, at[row, letter]]
        at[row, letter] += 1
    return torch.from_numpy(shuffled)


def _last_edges(codes: np.ndarray, source: np.ndarray, end: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """(n, letters): the place of each letter's last edge, -1 where none is needed; all lead to `end`."""
    n = len(source)
    last = np.full((n, _LETTERS), -1)
    pending = np.arange(n)
    while len(pending):
        part = source[pending]
        chance = draw.random(part.shape)
        edges = np.full((len(pending), _LETTERS), -1)
        leads = np.broadcast_to(np.arange(_LETTERS), edges.shape).copy()  # where each letter's last edge goes
        for letter in range(_LETTERS):
            at_letter = part == letter
            position = np.where(at_letter, chance, -1).argmax(axis=1)
            active = at_letter.any(axis=1) & (end[pending] != letter)
            edges[active, letter] = position[active]
            leads[active, letter] = codes[pending[active], position[active] + 1]
        row = np.arange(len(pending))
        reached = leads.copy()
        for _ in range(_LETTERS):
            reached = leads[row[:, None], reached]
        sound = ((edges < 0) | (reached == end[pending][:, None])).all(axis=1)
        last[pending[sound]] = edges[sound]
        pending = pending[~sound]
    return last


def _put_last(key: np.ndarray, source: np.ndarray, last: np.ndarray) -> None:
    row, letter = np.nonzero(last >= 0)
    key[row, last[row, letter]] = 2.0  # beyond every random key
