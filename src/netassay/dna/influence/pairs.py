"""Pairs of factors: the effect of two together beyond the sum of their single effects (Maslova et al. 2020).

With y^(S) the output without the filters of S, the effect of an ablation is y^(S) - y, and the interaction of f and g
effect(f, g) - effect(f) - effect(g) = y - y^(f) - y^(g) + y^(f,g), the second mixed difference: zero for a sum of a
function of f and one of g, the product itself for a product. Above 0 the two open more together (synergy), below less.
A sum behind a curve that bends makes every pair interact in this sense; so y is put on the scale of one rising curve
for each output (`fit_curves`), on which most pairs add up.

Peaks with both sites, near enough to each other, are compared with matched peaks that have one: the labels "both" and
"one" are permuted within fifths of the peaks by their strongest site. The difference must also be a good part of the
single effect of the weaker of the two (`SHARE`), and stand out among those of other pairs.

Where a loss leaves a row of outputs free by an offset (`Network.less_mean`), the rows are centred before the curve is
fitted: only the centred rows are determined by the training, and a curve of the outputs themselves would change with
the offset. A centred output holds a part of every other, so no curve makes a sum behind curves additive again. Only the
comparison with other pairs separates a special pair from what such bends leave in every pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8
from scipy import stats
from torch import Tensor, nn

from netassay.dna.influence.ablation import BATCH, Ablation, Fill
from netassay.dna.influence.limits import FEWEST, SHARE
from netassay.dna.influence.singles import groups
from netassay.dna.influence.synergy import LEAST_PAIRS, Curves, fit_curves, straight_lines
from netassay.dna.motifs.match import q_values
from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout
from netassay.dna.network.network import Network
from netassay.errors import DataError

SITE_SHARE = 0.2
"""A peak has a site of a factor if it is among this share of peaks in which the factor's filters respond most."""

STRATA = 5
_MOST = 1000  # maximum number of peaks of each kind in a test, drawn at random
_FIT_PEAKS, _FIT_PAIRS = 500, 60  # peaks and pairs from which curves are fitted, drawn at random
_CROWD = 5  # minimum number of other pairs to compare a pair with
_LONG_TAILS = 5  # degrees of freedom, Student's t, of shares that bends leave in outputs less their mean
_ROUNDING = 16  # times the precision of the outputs: less is rounding


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions of pairs of sets of filters, in the units of the outputs, by group of outputs (lineage).

    All are on the scale of the `curves` behind the outputs. `q` is Benjamini and Hochberg's over all pairs and groups.

    Attributes:
        names: Names of the sets.
        sets: Numbers of the filters of each set.
        groups: Names of the groups of outputs.
        pairs: (pairs, 2) numbers of `names`.
        both_sites: (pairs,) number of peaks with both sites.
        one_site: (pairs,) number of peaks with one.
        apart: (pairs,) number of peaks in which both sites are too far from each other to count.
        effect: (pairs, groups) mean over the peaks with both sites.
        matched: (pairs, groups) mean over the peaks with one, weighted as their fifths are among those with both.
        alone: (pairs, groups) the smaller of the two single effects, each its root mean square over the peaks with
            both; of outputs less their mean, each of which holds a part of every other, over all outputs too.
        p: (pairs, groups) two-sided: the greater of that by permutation and that among the other pairs; 1 where the
            difference is below `SHARE` of `alone` or could be rounding, and NaN where there are fewer than 10 peaks of
            either kind.
        by_output: (pairs, outputs) mean over the peaks with both.
        by_peak: (pairs, peaks, groups) the interaction in every peak.
        curves: The curves behind the outputs.

    Source:
        Benjamini, Hochberg (1995) for `q`.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> result = netassay.interactions(model, codes, [[0], [1]], generator=torch.Generator(), permutations=20)
        >>> result.effect.shape
        torch.Size([1, 3])
    """

    names: tuple[str, ...]
    sets: tuple[tuple[int, ...], ...]
    groups: tuple[str, ...]
    pairs: Int64[Tensor, "pairs 2"]
    both_sites: Int64[Tensor, " pairs"]
    one_site: Int64[Tensor, " pairs"]
    apart: Int64[Tensor, " pairs"]
    effect: Float64[Tensor, "pairs groups"]
    matched: Float64[Tensor, "pairs groups"]
    alone: Float64[Tensor, "pairs groups"]
    p: Float64[Tensor, "pairs groups"]
    by_output: Float64[Tensor, "pairs outputs"]
    by_peak: Float32[Tensor, "pairs peaks groups"]
    curves: Curves

    def plot(self) -> Any:
        """The 30 strongest pairs by group of outputs, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @property
    def difference(self) -> Float64[Tensor, "pairs groups"]:
        """The interaction that comes with the second site: `effect` less `matched`."""
        return self.effect - self.matched

    @property
    def q(self) -> Float64[Tensor, "pairs groups"]:
        return q_values(self.p)


def interactions(
    model: nn.Module | Network,
    sequences: UInt8[Tensor, "n length"] | Float[Tensor, "n 4 length"],
    sets: Sequence[Sequence[int]],
    *,
    generator: torch.Generator,
    names: Sequence[str] | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    lineages: Sequence[str] | None = None,
    site_share: float = SITE_SHARE,
    within: int | None = None,
    permutations: int = 5000,
    curve: bool = True,
    layer: str | None = None,
    fill: Fill = "mean",
    both_strands: bool | None = None,
    precision: torch.dtype | None = None,
    readout: Readout = None,
    layout: Layout | None = None,
    batch: int = BATCH,
) -> Interactions:
    """Interactions of pairs of sets of filters.

    A peak has a site of a set if it is among the `site_share` of peaks in which the set's filters respond most.

    Args:
        model: The module or network.
        sequences: Codes (n, length) or one-hot (n, 4, length).
        sets: Numbers of the filters of each set.
        generator: Draws the permutations.
        names: Names of the sets.
        pairs: Pairs of numbers of sets; by default all.
        lineages: Group of each output ("": in none); by default every output is a group of its own.
        site_share: Share of peaks with a site (0 to 1).
        within: Maximum distance of both sites of a pair, in positions of the layer (of AI-TAC 3 bases); by default
            unlimited.
        permutations: Number of permutations (1 or more); p is at least 1 / (permutations + 1).
        curve: Whether outputs are put on the scale of a fitted curve. Without it, and where fewer than three pairs
            determine a curve, outputs are taken as they are: a bend is then an interaction like any other.
        layer: As for `influence`.
        fill: As for `influence`.
        both_strands: As for `influence`.
        precision: As for `influence`.
        readout: As for `influence`.
        layout: As for `influence`.
        batch: As for `influence`.

    Returns:
        The interactions, by group of outputs.

    Raises:
        DataError: For sets that share filters and pairs that do not exist.
        ModelError: For a layer that does not exist.

    Source:
        Maslova et al. (2020) for pairs of filters; the test is netassay's own.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> result = netassay.interactions(model, codes, [[0], [1]], generator=torch.Generator(), permutations=20)
        >>> result.pairs.tolist()
        [[0, 1]]
    """
    ablation = Ablation(
        model,
        sequences,
        layer=layer,
        fill=fill,
        both_strands=both_strands,
        precision=precision,
        readout=readout,
        layout=layout,
        batch=batch,
    )
    return interactions_of(
        ablation,
        sets,
        generator=generator,
        names=names,
        pairs=pairs,
        lineages=lineages,
        site_share=site_share,
        within=within,
        permutations=permutations,
        curve=curve,
    )


def interactions_of(
    ablation: Ablation,
    sets: Sequence[Sequence[int]],
    *,
    generator: torch.Generator,
    names: Sequence[str] | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    lineages: Sequence[str] | None = None,
    site_share: float = SITE_SHARE,
    within: int | None = None,
    permutations: int = 5000,
    curve: bool = True,
) -> Interactions:
    """`interactions` of an existing ablation."""
    filters = tuple(tuple(part) for part in sets)
    numbers = list(pairs) if pairs is not None else list(combinations(range(len(filters)), 2))
    ablation.check(filters)
    _check(filters, numbers, site_share, permutations)
    strengths, places = set_strengths(ablation, filters)
    sites = sites_of(strengths, site_share)
    index = torch.tensor(numbers, dtype=torch.int64)
    first, second = index.T
    with_both, one = sites[:, first] & sites[:, second], sites[:, first] ^ sites[:, second]
    near = torch.ones_like(one) if within is None else (places[:, first] - places[:, second]).abs() <= within
    both = with_both & near
    curves = _curves(ablation, filters, generator) if curve else None
    by_peak, by_output, alone, floor, members = _measure(ablation, filters, index, both, lineages, curves)
    strongest = torch.maximum(strengths[:, first], strengths[:, second])
    tests = [
        stratified_test(
            by_peak[i].double(),
            both[:, i],
            one[:, i],
            strongest[:, i],
            permutations=permutations,
            generator=generator,
        )
        for i in range(len(index))
    ]
    effect, matched, p = (torch.stack([test[i] for test in tests]) for i in range(3))
    return Interactions(
        names=tuple(names) if names is not None else tuple("+".join(f"filter_{i}" for i in part) for part in filters),
        sets=filters,
        groups=tuple(members),
        pairs=index,
        both_sites=both.sum(0),
        one_site=one.sum(0),
        apart=(with_both & ~near).sum(0),
        effect=effect,
        matched=matched,
        alone=alone,
        p=_among_others(effect - matched, alone, floor, p, long_tails=ablation.network.less_mean),
        by_output=by_output,
        by_peak=by_peak,
        curves=curves or straight_lines(by_output.shape[1]),
    )


def set_strengths(
    ablation: Ablation, sets: Sequence[Sequence[int]]
) -> tuple[Float[Tensor, "n sets"], Int64[Tensor, "n sets"]]:
    """How strongly each set's filters respond to each sequence, from the lowest (0) to the greatest (1) response
    anywhere, and at which position."""
    strength, position = ablation.survey.strength, ablation.survey.position
    best = [strength[:, list(part)].max(1) for part in sets]
    where = [
        position[:, list(part)].gather(1, top.indices[:, None])[:, 0] for part, top in zip(sets, best, strict=True)
    ]
    return torch.stack([top.values for top in best], dim=1), torch.stack(where, dim=1)


def sites_of(strengths: Float[Tensor, "n sets"], share: float) -> Bool[Tensor, "n sets"]:
    """Whether each sequence is among the `share` with the greatest strength; strength zero is no site."""
    lowest = torch.quantile(strengths.double(), 1 - share, dim=0)
    return (strengths >= lowest) & (strengths > 0)


def stratified_test(
    values: Float64[Tensor, "n groups"],
    both: Bool[Tensor, " n"],
    one: Bool[Tensor, " n"],
    strength: Float[Tensor, " n"],
    *,
    permutations: int,
    generator: torch.Generator,
) -> tuple[Float64[Tensor, " groups"], Float64[Tensor, " groups"], Float64[Tensor, " groups"]]:
    """Mean of `values` over `both`, over matched rows of `one`, and the two-sided p of their difference.

    Rows are matched within fifths by `strength`; a fifth that lacks rows of either kind is ignored. Labels are permuted
    within fifths. With fewer than `FEWEST` rows of either kind p is NaN, as is a mean of no rows.
    """
    nothing = torch.full(values.shape[1:], torch.nan, dtype=torch.float64)
    rows_both, rows_one = (_draw_rows(mask, generator) for mask in (both, one))
    effect = values[rows_both].mean(0)
    if min(len(rows_both), len(rows_one)) < FEWEST:
        return effect, values[rows_one].mean(0), nothing
    rows = torch.cat([rows_both, rows_one])
    labels = torch.arange(len(rows)) < len(rows_both)
    edges = torch.quantile(strength[rows].double(), torch.linspace(0, 1, STRATA + 1, dtype=torch.float64)[1:-1])
    stratum = torch.bucketize(strength[rows].double(), edges)
    observed, means, total = torch.zeros_like(nothing), torch.zeros_like(nothing), 0
    permuted = torch.zeros(permutations, len(nothing), dtype=torch.float64)
    for number in range(STRATA):
        in_stratum = stratum == number
        inside, flags = values[rows[in_stratum]], labels[in_stratum]
        n_both, n = int(flags.sum()), len(flags)
        if not 0 < n_both < n:
            continue
        mean_one = inside[~flags].mean(0)
        total += n_both
        observed += n_both * (inside[flags].mean(0) - mean_one)
        means += n_both * mean_one
        # means of a random part and of the rest differ by an affine function of the part's sum
        keys = torch.rand(permutations, n, generator=generator)
        part = (keys <= keys.kthvalue(n_both, dim=1, keepdim=True).values).double() @ inside
        permuted += part - n_both * (inside.sum(0) - part) / (n - n_both)
    if not total:
        return effect, nothing, nothing
    # sums in another order differ in the last digits
    reached = (permuted.abs() >= observed.abs() * (1 - 1e-9)).sum(0)
    return effect, means / total, (1 + reached).double() / (1 + permutations)


def _among_others(
    difference: Float64[Tensor, "pairs groups"],
    alone: Float64[Tensor, "pairs groups"],
    floor: Float64[Tensor, "pairs groups"],
    p: Float64[Tensor, "pairs groups"],
    *,
    long_tails: bool,
) -> Float64[Tensor, "pairs groups"]:
    """The p of pairs that stand out among others: against their interactions as shares of the smaller single effect.

    The others' shares are taken as normal about 0, with their root mean square as spread. With `long_tails` they are
    taken as Student's t with 5 degrees of freedom: bends that no curve removes leave a few large shares.
    """
    combined = p.clone()
    share = difference.abs() / torch.maximum(alone, floor)
    for group in range(p.shape[1]):
        tested = (~p[:, group].isnan()).nonzero()[:, 0]
        values = share[tested, group]
        for number, pair in enumerate(tested.tolist()):
            rest = torch.cat([values[:number], values[number + 1 :]])
            if len(rest) >= _CROWD:
                spread = max(float(rest.square().mean().sqrt()), 1e-12)
                freedom = min(len(rest) - 1, _LONG_TAILS) if long_tails else len(rest) - 1
                chance = 2 * float(stats.t.sf(float(values[number]) / spread, freedom))
                combined[pair, group] = max(float(p[pair, group]), chance)
    small = difference.abs() <= torch.maximum(SHARE * alone, floor)
    return torch.where(small & ~p.isnan(), 1.0, combined)


def _curves(ablation: Ablation, sets: tuple[tuple[int, ...], ...], generator: torch.Generator) -> Curves | None:
    """Curves behind the outputs, from all pairs of sets in some of the peaks; None where the pairs are too few."""
    pairs = [(a, b) for a, b in combinations(range(len(sets)), 2) if not set(sets[a]) & set(sets[b])]
    if len(pairs) < LEAST_PAIRS:
        return None
    order = torch.randperm(len(pairs), generator=generator)[:_FIT_PAIRS].tolist()
    index = torch.tensor([pairs[i] for i in order])
    rows = torch.randperm(len(ablation.sequences), generator=generator)[:_FIT_PEAKS]
    joint = [sets[a] + sets[b] for a, b in index.tolist()]
    removals = list(ablation.removals([*sets, *joint], ablation.sequences[rows]))
    intact = torch.cat([removal.intact for removal in removals])
    without = torch.cat([removal.without for removal in removals], dim=1)
    return fit_curves(intact, without[: len(sets)], without[len(sets) :], index)


def _measure(
    ablation: Ablation,
    sets: tuple[tuple[int, ...], ...],
    pairs: Int64[Tensor, "pairs 2"],
    both: Bool[Tensor, "n pairs"],
    lineages: Sequence[str] | None,
    curves: Curves | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, list[int]]]:
    """Interactions (pairs, peaks, groups), their means over peaks with both sites (pairs, outputs), the smaller of the
    single effects there and what could be rounding (both: pairs, groups), and the groups."""
    joint = [sets[a] + sets[b] for a, b in pairs.tolist()]
    by_peak: list[Tensor] = []
    sums, squares, blurs = torch.zeros(()), torch.zeros(()), torch.zeros(())
    members: dict[str, list[int]] = {}
    for removal in ablation.removals([*sets, *joint]):
        outputs = removal.intact.shape[1]
        if not members:
            names = [f"output_{i}" for i in range(outputs)] if lineages is None else lineages
            if len(names) != outputs:
                raise DataError(f"{len(names)} lineages for {outputs} outputs; give one each, '' for none")
            members, sums = groups(names), torch.zeros(len(pairs), outputs, dtype=torch.float64)
            squares = torch.zeros(2, len(pairs), len(members), dtype=torch.float64)
            blurs = torch.zeros_like(squares[0])
        scale = curves or straight_lines(outputs)
        intact, without = scale(removal.intact), scale(removal.without)
        single, double = without[: len(sets)], without[len(sets) :]
        mixed = intact - single[pairs[:, 0]] - single[pairs[:, 1]] + double
        weights = both[removal.rows].double()
        sums += torch.einsum("np,pnc->pc", weights, mixed)
        alone = _squares(intact - single, members, over_all=ablation.network.less_mean)
        squares += torch.stack([torch.einsum("np,png->pg", weights, alone[pairs[:, i]]) for i in (0, 1)])
        by_peak.append(torch.stack([mixed[:, :, part].mean(2) for part in members.values()], dim=2).float())
        blur = removal.intact.double().abs() * scale.slope(removal.intact)
        blurs += weights.T @ torch.stack([blur[:, part].mean(1) for part in members.values()], dim=1)
    count = both.sum(0)[:, None]
    floor = _ROUNDING * torch.finfo(ablation.network.precision).eps * blurs / count
    return torch.cat(by_peak, dim=1), sums / count, (squares / count).amin(0).sqrt(), floor, members


def _squares(
    effects: Float64[Tensor, "sets n outputs"], members: dict[str, list[int]], *, over_all: bool
) -> Float64[Tensor, "sets n groups"]:
    """Squares of the mean effect on each group; with `over_all` the mean square over all outputs, for each alike."""
    if over_all:
        return effects.square().mean(2, keepdim=True).expand(-1, -1, len(members))
    return torch.stack([effects[:, :, part].mean(2) for part in members.values()], dim=2).square()


def _draw_rows(mask: Bool[Tensor, " n"], generator: torch.Generator) -> Int64[Tensor, " rows"]:
    rows = mask.nonzero()[:, 0]
    return rows[torch.randperm(len(rows), generator=generator)[:_MOST]] if len(rows) > _MOST else rows


def _check(
    sets: tuple[tuple[int, ...], ...], pairs: list[tuple[int, int]], site_share: float, permutations: int
) -> None:
    if not pairs:
        raise DataError(f"{len(sets)} sets of filters make no pair; give two or more")
    for a, b in pairs:
        if not (0 <= a < len(sets) and 0 <= b < len(sets)) or a == b:
            raise DataError(f"pair {(a, b)}: give two different numbers from 0 to {len(sets) - 1}")
        if shared := sorted(set(sets[a]) & set(sets[b])):
            raise DataError(f"pair {(a, b)}: both sets hold channel {shared[0]}; the sets of a pair share none")
    if not 0 < site_share < 1 or permutations < 1:
        raise DataError(
            f"site_share = {site_share:g}, permutations = {permutations}: allowed are a share between 0 and 1 and at "
            "least one permutation"
        )
