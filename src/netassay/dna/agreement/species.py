"""A trained network on another atlas, such as another species': cell types by a map, nulls, ranks of factors."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy import stats
from torch import Tensor, nn

from netassay.dna.agreement.ranking import LEVEL
from netassay.dna.atlas.atlas import permute_rows
from netassay.errors import DataError, did_you_mean
from netassay.nets.sequence_cnn import AITAC
from netassay.nets.unset import unset

LEAST_TYPES = 3
"""Minimum number of cell types for a correlation across them."""

_FEW_TYPES = 4
"""Maximum number of mapped cell types for which all maps without a fixed point are used (nine for four), not a draw."""


@dataclass(frozen=True, eq=False)
class CellTypeMap:
    """Which cell types of a network stand for which of an atlas; `weights` averages several that stand for one.

    `targets` are the mapped cell types of the atlas, in the atlas's order. `unused_sources` and `unused_targets` list
    the cell types of either side that the map leaves out.
    """

    sources: tuple[tuple[str, ...], ...]
    targets: tuple[str, ...]
    columns: tuple[int, ...]
    weights: Float64[Tensor, "network mapped"]
    unused_sources: tuple[str, ...]
    unused_targets: tuple[str, ...]

    def predictions(self, output: Float[Tensor, "n network"]) -> Float[Tensor, "n mapped"]:
        """Outputs of the network as predictions for the mapped cell types of the atlas."""
        return (output.double() @ self.weights).float()

    def heights(self, heights: Float[Tensor, "n atlas"]) -> Float[Tensor, "n mapped"]:
        """The heights of the mapped cell types."""
        return heights[:, list(self.columns)]


def cell_type_map(
    pairs: Sequence[tuple[str, str]],
    network: Sequence[str],
    atlas: Sequence[str],
    *,
    places: Sequence[str] | None = None,
) -> CellTypeMap:
    """The map of pairs of cell types, of the network and of the atlas.

    A source may stand for several targets, and several for one.

    Args:
        pairs: (source, target) names.
        network: Cell types of the network.
        atlas: Cell types of the atlas.
        places: Name of each pair in messages ("map.csv:3").

    Returns:
        The map.

    Raises:
        DataError: For unknown names, a pair that occurs twice, and fewer than three targets.

    Example:
        >>> from netassay.dna.agreement import cell_type_map
        >>> pairs = [("B", "b"), ("T", "t"), ("NK", "nk")]
        >>> cell_type_map(pairs, ["B", "T", "NK"], ["b", "t", "nk", "mono"]).targets
        ('b', 't', 'nk')
    """
    places = places or [f"pair {number}" for number in range(1, len(pairs) + 1)]
    for (source, target), place in zip(pairs, places, strict=True):
        for name, choices, whose in ((source, network, "the network"), (target, atlas, "the atlas")):
            if name not in choices:
                header = place == places[0] and source not in network and target not in atlas
                hint = "; if this line is a header, write it as source,target" if header else ""
                raise DataError(f"{place}: {whose} has no cell type {name!r}; {_advice(name, choices)}{hint}")
    if twice := next((i for i, pair in enumerate(pairs) if pair in pairs[:i]), None):
        raise DataError(f"{places[twice]}: the pair {', '.join(pairs[twice])} occurs twice; give it once")
    targets = [name for name in atlas if any(name == target for _, target in pairs)]
    if len(targets) < LEAST_TYPES:
        raise DataError(
            f"the map gives {len(targets)} of the atlas's {len(atlas)} cell types a source; a correlation across cell "
            f"types needs {LEAST_TYPES} or more"
        )
    sources = [tuple(source for source, target in pairs if target == name) for name in targets]
    weights = torch.zeros(len(network), len(targets), dtype=torch.float64)
    for column, names in enumerate(sources):
        for name in names:
            weights[list(network).index(name), column] = 1 / len(names)
    used = {source for source, _ in pairs}
    return CellTypeMap(
        tuple(sources),
        tuple(targets),
        tuple(list(atlas).index(name) for name in targets),
        weights,
        tuple(name for name in network if name not in used),
        tuple(name for name in atlas if name not in targets),
    )


def mapped_network(model: AITAC, types: CellTypeMap) -> AITAC:
    """A copy of a network with an output for each mapped cell type: its last layer averages those that stand for one.

    Args:
        model: The network.
        types: The map.

    Returns:
        The network.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> from netassay.dna.agreement import cell_type_map, mapped_network
        >>> types = cell_type_map([("B", "x"), ("T", "y"), ("B", "z")], ["B", "T", "NK"], ["x", "y", "z"])
        >>> mapped_network(model, types)(torch.zeros(2, 4, 100)).shape
        torch.Size([2, 3])
    """
    network = copy.deepcopy(model)
    weights = types.weights.T.to(model.output.weight)
    network.output = unset(nn.Linear, model.output.in_features, len(types.targets)).to(model.output.weight)
    with torch.no_grad():
        network.output.weight.copy_(weights @ model.output.weight)
        network.output.bias.copy_(weights @ model.output.bias)
    return network.train(model.training)


def permuted_rows(heights: Float[Tensor, "n mapped"], draws: torch.Generator, times: int) -> list[Tensor]:
    """Null: heights that belong to other peaks, each profile intact."""
    return [permute_rows(heights, draws) for _ in range(times)]


def permuted_maps(
    predictions: Float[Tensor, "n mapped"], draws: torch.Generator, times: int
) -> list[tuple[tuple[int, ...], Tensor]]:
    """Null: predictions under maps in which no cell type keeps its own, with the order of their columns.

    All of these where there are few, else `times` random ones. What they reach comes from cell types that are alike,
    and from what is common to all peaks.
    """
    own = tuple(range(predictions.shape[1]))

    def strange(order: tuple[int, ...]) -> bool:
        return all(a != b for a, b in zip(order, own, strict=True))

    orders: list[tuple[int, ...]] = []
    if len(own) <= _FEW_TYPES:
        orders = [order for order in itertools.permutations(own) if strange(order)]
    while len(own) > _FEW_TYPES and len(orders) < times:
        order = tuple(torch.randperm(len(own), generator=draws).tolist())
        orders += [order] if strange(order) else []
    return [(order, predictions[:, list(order)]) for order in orders]


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rho of n values, its 95 % interval, and p of independence by permutation; NaN where undefined."""

    rho: float
    low: float
    high: float
    p: float
    n: int


def rank_agreement(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], draws: torch.Generator, times: int = 999
) -> RankAgreement:
    """Whether the factors that matter in one species matter in the other: Spearman's rho.

    Pairs with a value that is not finite are left out.

    Args:
        first: (n,) values in one species.
        second: (n,) values in the other.
        draws: Draws the permutations.
        times: Number of permutations (1 or more).

    Returns:
        rho, its 95 % interval by Fisher's z with the variance (1 + rho^2 / 2) / (n - 3), and p (two-sided) from the
        permutations and the observed order. NaN for fewer than four values, or where either side is constant.

    Source:
        Bonett, Wright (2000).

    Example:
        >>> import numpy as np, torch
        >>> from netassay.dna.agreement import rank_agreement
        >>> rank_agreement(np.arange(10.0), np.arange(10.0), torch.Generator()).rho
        1.0
    """
    finite = np.isfinite(first) & np.isfinite(second)
    a, b = stats.rankdata(first[finite]), stats.rankdata(second[finite])
    n = len(a)
    if n < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return RankAgreement(math.nan, math.nan, math.nan, math.nan, n)
    a, b = (ranks - ranks.mean() for ranks in (a, b))
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    rho = max(-1.0, min(1.0, float(a @ b) / scale))
    orders = torch.rand(times, n, generator=draws, dtype=torch.float64).argsort(dim=1).numpy()
    chance = b[orders] @ a / scale
    p = (1 + int((np.abs(chance) >= abs(rho) - 1e-12).sum())) / (times + 1)
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    middle = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rho)))
    return RankAgreement(rho, math.tanh(middle - reach), math.tanh(middle + reach), p, n)


def _advice(name: str, choices: Sequence[str]) -> str:
    near = did_you_mean(name, choices)
    everything = f"allowed are: {', '.join(choices)}"
    return everything if near.startswith("known") else f"{near} {everything[0].upper()}{everything[1:]}"
