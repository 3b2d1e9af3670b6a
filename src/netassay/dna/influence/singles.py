"""Influence of filters, or of factors with several filters: what a network loses without them (Maslova et al. 2020).

With r_i the correlation across cell types of peak i and r_i^(f) the same without filter f: overall influence
mean_i (r_i^(f) - r_i)^2, signed mean_i (r_i - r_i^(f)); of a cell type c mean_i (y_ic^(f) - y_ic)^2, signed
mean_i (y_ic - y_ic^(f)). A mean over the data set replaces the filter's output, so the linear part of a signed effect
on an output cancels over the peaks; `direction` says which way a filter pushes. Factors are filters of the same motif,
joined; each lineage has a hierarchy of them.

Under the null, heights belong to other peaks. With e the change of the centred unit row of predictions and v the same
row of heights, r_i - r_i^(f) = <e_i, v_i>. Over all orders of the peaks its mean has mean <mean e, mean v> and
variance tr(S_e S_v) / (n^2 (n - 1)), S the scatter matrices (Hoeffding, Annals of Mathematical Statistics 22, 1951),
and the squared form has mean tr(M_e M_v), M the second moments: so no order is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import polars as pl
import torch
from jaxtyping import Float, Float32, Float64, Int64, UInt8
from torch import Tensor, nn

from netassay.dna.influence.ablation import BATCH, Ablation, Fill, Removal
from netassay.dna.network.choices import Layout
from netassay.dna.network.forms import Readout, check_heights
from netassay.dna.network.network import Network, unit_rows
from netassay.errors import DataError

_SETS = 32  # sets whose statistics are taken together


@dataclass(frozen=True, eq=False)
class Influence:
    """Influence of sets of filters on the predictions of n peaks, in double precision.

    Attributes:
        names: Names of the sets.
        sets: Numbers of the filters of each set.
        peaks: n.
        undefined: Number of peaks whose r is not defined (a constant row), which are left out.
        undefined_without: (sets,) number of peaks whose r is not defined without the set, left out for it; its null is
            then NaN.
        overall: (sets,) mean squared change of r. NaN without heights, and with fewer than three outputs.
        overall_signed: (sets,) mean change of r; above 0: predictions are worse without it.
        null_overall: (sets,) expectation of `overall` if heights belonged to other peaks.
        null_signed: (sets,) the same of `overall_signed`.
        z: (sets,) z-score of `overall_signed` against that null; `p` is two-sided.
        by_output: (sets, outputs) mean squared change of the output.
        by_output_signed: (sets, outputs) mean change; above 0: predictions are lower without it.
        direction: (sets, outputs) correlation over peaks of what is removed with what the output loses, -1 to 1: the
            set opens (above 0) or closes. NaN where one side does not vary.
        agreement: (sets, outputs) correlation of the loss with the observed height, minus the peak's mean: with other
            peaks' heights it has mean 0 and variance 1 / (n - 1).
        change: (peaks, sets) r_i - r_i^(f), NaN where undefined.
        by_peak: (peaks, sets) mean over outputs of the squared change.

    Source:
        Maslova et al. (2020), filter influence.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> influence = netassay.influence(model, codes)
        >>> influence.names, influence.by_output.shape
        (('filter_0', 'filter_1', 'filter_2', 'filter_3'), torch.Size([4, 3]))
    """

    names: tuple[str, ...]
    sets: tuple[tuple[int, ...], ...]
    peaks: int
    undefined: int
    undefined_without: Int64[Tensor, " sets"]
    overall: Float64[Tensor, " sets"]
    overall_signed: Float64[Tensor, " sets"]
    null_overall: Float64[Tensor, " sets"]
    null_signed: Float64[Tensor, " sets"]
    z: Float64[Tensor, " sets"]
    by_output: Float64[Tensor, "sets outputs"]
    by_output_signed: Float64[Tensor, "sets outputs"]
    direction: Float64[Tensor, "sets outputs"]
    agreement: Float64[Tensor, "sets outputs"]
    change: Float32[Tensor, "peaks sets"]
    by_peak: Float32[Tensor, "peaks sets"]

    def plot(self) -> Any:
        """The influence of the 30 strongest sets beside its null, as an Altair chart."""
        return import_module("netassay.plotting").plot(self)

    @property
    def p(self) -> Float64[Tensor, " sets"]:
        """Two-sided p-value of `z` under a normal law, which the statistic has for many peaks."""
        return torch.special.erfc(self.z.abs() / math.sqrt(2))


def influence(
    model: nn.Module | Network,
    sequences: UInt8[Tensor, "n length"] | Float[Tensor, "n 4 length"],
    heights: Float[Tensor, "n outputs"] | None = None,
    *,
    layer: str | None = None,
    sets: Sequence[Sequence[int]] | None = None,
    names: Sequence[str] | None = None,
    fill: Fill = "mean",
    both_strands: bool | None = None,
    precision: torch.dtype | None = None,
    readout: Readout = None,
    layout: Layout | None = None,
    batch: int = BATCH,
) -> Influence:
    """What a model loses without each filter of its first layer, each set of filters, or another layer's channels.

    AI-TAC takes a fast algorithm, exact in float32; any other module one full pass for each set.

    Args:
        model: The module or network.
        sequences: Codes (n, length) or one-hot (n, 4, length).
        heights: (n, outputs) observed; without them only the influence on outputs is computed.
        layer: Name of the module whose output (n, channels, positions) is replaced, in networks other than AI-TAC (a
            convolution: behind norm and activation).
        sets: Numbers of the filters of each set; by default each filter is a set of its own.
        names: Names of the sets; "filter_3" by default.
        fill: What replaces an ablated filter's output: "mean" (over the peaks at the same position), "zero" or
            "published".
        both_strands: Whether to take the mean over each sequence and its reverse complement.
        precision: torch.float32, or torch.bfloat16 for screening.
        readout: Which of the model's outputs to use (see `Network`).
        layout: "channels_first" or "channels_last".
        batch: Sequences at a time (1 or more).

    Returns:
        The influence of each set.

    Raises:
        DataError: For heights that do not fit.
        ModelError: For a layer that does not exist.

    Source:
        Maslova et al. (2020), filter influence.

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.influence(model, codes, torch.rand(20, 3)).overall.shape
        torch.Size([4])
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
    return influence_of(ablation, heights, sets=sets, names=names)


def influence_of(
    ablation: Ablation,
    heights: Float[Tensor, "n outputs"] | None = None,
    *,
    sets: Sequence[Sequence[int]] | None = None,
    names: Sequence[str] | None = None,
) -> Influence:
    """`influence` of an existing ablation."""
    if sets is not None and any(isinstance(part, int) for part in sets):
        raise DataError(f"sets = {sets!r}: each set is a list of channels; for single ones give [[0], [1]]")
    filters = (
        tuple(tuple(part) for part in sets) if sets is not None else tuple((i,) for i in range(ablation.n_channels))
    )
    words = tuple(names) if names is not None else tuple("+".join(f"filter_{i}" for i in part) for part in filters)
    if len(words) != len(filters):
        raise DataError(f"{len(words)} names for {len(filters)} sets of filters; give one each")
    n = len(ablation.sequences)
    if heights is not None:
        check_heights(heights, n)
        if not bool(heights.isfinite().all()):
            raise DataError("some heights are not finite; give numbers, or leave those sequences out")
    sums = _Sums(len(filters))
    for removal in ablation.removals(filters):
        if heights is not None and heights.shape[1] != removal.intact.shape[1]:
            raise DataError(
                f"heights of {heights.shape[1]} cell types for {removal.intact.shape[1]} outputs; give a column each"
            )
        sums.add(removal, None if heights is None else heights[removal.rows])
    return sums.result(words, filters)


class _Sums:
    """Running sums over batches of peaks, a row for each set."""

    def __init__(self, sets: int) -> None:
        self.sets = sets
        self.parts: list[_Moments] = []
        self.changes: list[Tensor] = []
        self.squares: list[Tensor] = []
        self.peaks = 0
        self.undefined = 0
        self.with_heights = True

    def add(self, removal: Removal, heights: Tensor | None) -> None:
        intact = removal.intact.double()
        self.with_heights = heights is not None
        observed = torch.full_like(intact, torch.nan) if heights is None else heights.double()
        defined = unit_rows(intact).isfinite().all(1) & unit_rows(observed).isfinite().all(1)
        self.peaks += len(intact)
        self.undefined += int((~defined).sum())
        changes, squares = [], []
        for number, start in enumerate(range(0, self.sets, _SETS)):
            if number == len(self.parts):
                self.parts.append(_Moments(min(_SETS, self.sets - start), intact.shape[1]))
            rows = slice(start, start + _SETS)
            change, square = self.parts[number].add(
                intact, removal.without[rows].double(), removal.removed[:, rows].double(), observed, defined
            )
            changes.append(change)
            squares.append(square)
        self.changes.append(torch.cat(changes, dim=1).float())
        self.squares.append(torch.cat(squares, dim=1).float())

    def result(self, names: tuple[str, ...], sets: tuple[tuple[int, ...], ...]) -> Influence:
        results = [part.result(self.peaks) for part in self.parts]
        return Influence(
            names=names,
            sets=sets,
            peaks=self.peaks,
            undefined=self.undefined if self.with_heights else 0,
            change=torch.cat(self.changes),
            by_peak=torch.cat(self.squares),
            **{key: torch.cat([part[key] for part in results]) for key in results[0]},
        )


class _Moments:
    """Sums for a few sets of filters, from which their influence and its null follow."""

    def __init__(self, sets: int, outputs: int) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64)

        self.known = torch.zeros(sets, dtype=torch.int64)
        self.lost = torch.zeros(sets, dtype=torch.int64)
        self.r, self.r_squared = zeros(sets), zeros(sets)
        # of e and v, first and second: what the null needs
        self.e, self.ee = zeros(sets, outputs), zeros(sets, outputs, outputs)
        self.v, self.vv = zeros(outputs), zeros(outputs, outputs)
        # loss of outputs, what was removed, heights
        self.loss, self.loss_squared = zeros(sets, outputs), zeros(sets, outputs)
        self.removed, self.removed_squared, self.removed_loss = zeros(sets), zeros(sets), zeros(sets, outputs)
        self.height, self.height_squared, self.height_loss = (
            zeros(outputs),
            zeros(outputs),
            zeros(sets, outputs),
        )

    def add(
        self,
        intact: Float64[Tensor, "n outputs"],
        without: Float64[Tensor, "sets n outputs"],
        removed: Float64[Tensor, "n sets"],
        observed: Float64[Tensor, "n outputs"],
        defined: Tensor,
    ) -> tuple[Float64[Tensor, "n sets"], Float64[Tensor, "n sets"]]:
        """Changes of r and mean squared changes of outputs of these peaks."""
        loss = intact - without
        self.loss += loss.sum(1)
        self.loss_squared += loss.square().sum(1)
        self.removed += removed.sum(0)
        self.removed_squared += removed.square().sum(0)
        self.removed_loss += torch.einsum("ns,snc->sc", removed, loss)
        above = observed - observed.mean(1, keepdim=True)
        self.height += above.sum(0)
        self.height_squared += above.square().sum(0)
        self.height_loss += torch.einsum("nc,snc->sc", above, loss)

        v, e = unit_rows(observed), unit_rows(intact) - unit_rows(without)
        change = torch.einsum("snc,nc->ns", e, v)  # r_i - r_i^(f)
        finite = change.isfinite()
        self.known += finite.sum(0)
        self.lost += (defined[:, None] & ~finite).sum(0)
        r_change = torch.where(finite, change, 0.0)
        self.r += r_change.sum(0)
        self.r_squared += r_change.square().sum(0)
        e = torch.where(finite.T[:, :, None], e, 0.0)
        v = torch.where(defined[:, None], v, 0.0)
        self.e += e.sum(1)
        self.ee += e.transpose(1, 2) @ e
        self.v += v.sum(0)
        self.vv += v.T @ v
        return change, loss.square().mean(2).T

    def result(self, peaks: int) -> dict[str, Tensor]:
        n = self.known.double()
        null_signed = (self.e @ self.v) / n.square()
        null_overall = torch.einsum("sab,ab->s", self.ee, self.vv) / n.square()
        z = (self.r / n - null_signed) / self._spread(n)
        # with heights of peaks that a set leaves undefined the moments of heights are those of other peaks
        z, null_signed, null_overall = (
            torch.where(self.lost == 0, value, torch.nan) for value in (z, null_signed, null_overall)
        )
        return {
            "undefined_without": self.lost,
            "overall": self.r_squared / n,
            "overall_signed": self.r / n,
            "null_overall": null_overall,
            "null_signed": null_signed,
            "z": z,
            "by_output": self.loss_squared / peaks,
            "by_output_signed": self.loss / peaks,
            "direction": _correlation(
                peaks,
                self.removed_loss,
                self.removed[:, None],
                self.removed_squared[:, None],
                self.loss,
                self.loss_squared,
            ),
            "agreement": _correlation(
                peaks, self.height_loss, self.height, self.height_squared, self.loss, self.loss_squared
            ),
        }

    def _spread(self, n: Float64[Tensor, " sets"]) -> Float64[Tensor, " sets"]:
        """Standard deviation of mean_i <e_i, v_pi(i)> over all orders pi; NaN where nothing changes."""
        count = n[:, None, None]
        scatter_e = self.ee - self.e[:, :, None] * self.e[:, None, :] / count
        scatter_v = self.vv - torch.outer(self.v, self.v) / count
        variance = torch.einsum("sab,sab->s", scatter_e, scatter_v) / (n.square() * (n - 1))
        return torch.where(variance > 0, variance.clamp(min=0).sqrt(), torch.nan)


def _correlation(
    n: int, products: Tensor, a: Tensor, a_squared: Tensor, b: Tensor, b_squared: Tensor
) -> Float64[Tensor, "sets outputs"]:
    """Pearson correlation from sums over n; NaN where one does not vary, up to rounding."""
    spread_a, spread_b = a_squared - a.square() / n, b_squared - b.square() / n
    flat = (spread_a <= 1e-12 * a_squared) | (spread_b <= 1e-12 * b_squared)
    r = (products - a * b / n) / (spread_a * spread_b).clamp(min=0).sqrt()
    return torch.where(flat, torch.nan, r).clamp(-1, 1)


@dataclass(frozen=True)
class Factors:
    """Sets of filters of the same factor or family; each filter without a name is a set of its own.

    Attributes:
        names: Names of the sets.
        sets: Numbers of the filters of each.

    Example:
        >>> from netassay.dna.influence import Factors
        >>> Factors(("GATA", "filter 1"), ((0, 2), (1,))).names
        ('GATA', 'filter 1')
    """

    names: tuple[str, ...]
    sets: tuple[tuple[int, ...], ...]


def join_filters(names: Mapping[int, str], filters: int) -> Factors:
    """Factors of filters 0 to `filters` - 1 by their names (`factor_names`); those without are "filter 12"."""
    sets: dict[str, list[int]] = {}
    for i in range(filters):
        sets.setdefault(names.get(i) or f"filter {i}", []).append(i)
    return Factors(tuple(sets), tuple(tuple(part) for part in sets.values()))


def groups(lineages: Sequence[str]) -> dict[str, list[int]]:
    """Outputs of each lineage, in order; those without one are left out. "all cell types" if none has a lineage."""
    outputs: dict[str, list[int]] = {}
    for i, lineage in enumerate(lineages):
        if lineage:
            outputs.setdefault(lineage, []).append(i)
    return outputs or {"all cell types": list(range(len(lineages)))}


def hierarchy(influence: Influence, lineages: Sequence[str]) -> pl.DataFrame:
    """Sets ranked in each lineage by influence, the mean over its cell types of `by_output`.

    Args:
        influence: The influence of the sets.
        lineages: Lineage of each output.

    Returns:
        Columns lineage, rank (from 1), set, filters (how many), influence, share (of the sum over sets), direction
        (mean over the cell types weighted by influence) and agreement (mean over the cell types); both null where not
        defined.

    Source:
        Maslova et al. (2020).

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> influence = netassay.influence(model, codes)
        >>> netassay.dna.influence.hierarchy(influence, ["B", "B", "T"])["rank"].to_list()
        [1, 2, 3, 4, 1, 2, 3, 4]
    """
    frames = []
    for lineage, outputs in groups(lineages).items():
        by_output = influence.by_output[:, outputs]
        squared, weighted = by_output.mean(1), (by_output * influence.direction[:, outputs].nan_to_num(0)).mean(1)
        agreement = influence.agreement[:, outputs].mean(1)
        frames.append(
            pl.DataFrame(
                {
                    "lineage": [lineage] * len(influence.names),
                    "set": list(influence.names),
                    "filters": [len(part) for part in influence.sets],
                    "influence": squared.numpy(),
                    "share": (squared / squared.sum()).numpy(),
                    "direction": (weighted / squared).numpy(),
                    "agreement": agreement.numpy(),
                }
            ).sort("influence", descending=True, maintain_order=True)
        )
    ranked = [frame.with_columns(rank=pl.int_range(1, frame.height + 1)) for frame in frames]
    table = pl.concat(ranked).with_columns(pl.col("direction", "agreement").fill_nan(None))
    return table.select("lineage", "rank", "set", "filters", "influence", "share", "direction", "agreement")
