"""What the filters of a convolution look for, as motifs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from netassay.dna.network.choices import Layout
from netassay.dna.network.classes import WELL
from netassay.dna.network.forms import KINDS, LETTERS, WORD, as_codes, check_batch, check_heights, starts, words
from netassay.dna.network.layers import Activation, Field, Layer, find_layer
from netassay.dna.network.network import BATCH, Network, evaluating
from netassay.errors import DataError
from netassay.formats.motifs import UNIFORM, Motifs

__all__ = ["FilterMotifs", "Motifs", "filter_motifs", "well_predicted"]

_MAX_SITES = 1 << 20  # sites gathered before they are counted
# bins of a quantile: the first bits of a float32, sign and 8 of exponent and 7 of mantissa, for values 2^-32 ... 2^32
_BIN_BITS, _LOWEST, _BINS = 16, 0x2F80, 64 * 128


@dataclass(frozen=True, eq=False, kw_only=True)
class FilterMotifs(Motifs):
    """Motifs of the filters of a layer, a column for each base that the filter sees; filter k is called "filter_k".

    Attributes:
        names: Names of the filters.
        counts: (motifs, 4, width) counts of A, C, G, T.
        sites: (motifs,) number of active positions.
        titles: Other names of the motifs.
        background: Distribution of bases.
        pseudocount: Number of sequences that are added to every column.
        notes: What was read differently, by reason.
        layer: Name of the layer.
        field: The bases that a position sees.
        peaks: (filters,) number of sequences with one or more sites.
        n_peaks: Number of sequences.
        positions: (filters, positions) number of sites at each position.
        profile: (filters, outputs) mean of the heights of the sequences with sites, NaN where there are none; None
            without heights.
        references: (filters,) greatest activation of each filter (or a quantile); 0 for a filter that is `silent`.
        thresholds: (filters,) activation above which a filter is active.

    Source:
        Alipanahi et al. (2015); Maslova et al. (2020).

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.filter_motifs(model, codes).n_peaks
        20
    """

    layer: str
    field: Field
    peaks: Int64[Tensor, " filters"]
    n_peaks: int
    positions: Int64[Tensor, "filters positions"]
    profile: Float64[Tensor, "filters outputs"] | None
    references: Float64[Tensor, " filters"]
    thresholds: Float64[Tensor, " filters"]

    @property
    def silent(self) -> tuple[str, ...]:
        """Filters that are active nowhere."""
        return tuple(name for name, count in zip(self.names, self.sites.tolist(), strict=True) if not count)


def filter_motifs(
    model: nn.Module | Network,
    sequences: Tensor,
    layer: str = "convolution1",
    *,
    threshold: float = 0.5,
    quantile: float = 1.0,
    heights: Float[Tensor, "n outputs"] | None = None,
    pseudocount: float = 0.0,
    background: tuple[float, float, float, float] = UNIFORM,
    activation: Activation | None = None,
    layout: Layout | None = None,
    batch: int = BATCH,
) -> FilterMotifs:
    """Motifs of all filters of a layer of any network.

    A filter is active where it exceeds `threshold` times its greatest activation over all positions and sequences.
    Every active position is a site: the bases that it sees are counted, except unknown ones and those beyond the ends.
    Sequences pass twice, `batch` at a time, and memory does not grow with their number.

    Args:
        model: The module or network.
        sequences: Codes (n, length) or one-hot (n, 4, length).
        layer: Name of the layer, as for `find_layer`.
        threshold: Share of the greatest activation (0 to below 1).
        quantile: Instead of the greatest activation, this quantile of the greatest activations of the sequences (above
            0 to 1), known to 1 %.
        heights: (n, outputs) observed, for the profiles.
        pseudocount: Number of sequences with the background's bases to add to every column.
        background: Distribution of bases.
        activation: As for `find_layer`.
        layout: As for `find_layer`.
        batch: Sequences at a time (1 or more).

    Returns:
        The motifs.

    Raises:
        ModelError: For a layer that cannot be read.
        DataError: For no sequences and numbers out of range.

    Source:
        Alipanahi et al. (2015); Maslova et al. (2020).

    Example:
        >>> import torch, netassay
        >>> from netassay.nets import AITAC
        >>> model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator())
        >>> codes = torch.randint(4, (20, 100), dtype=torch.uint8)
        >>> netassay.filter_motifs(model, codes).counts.shape
        torch.Size([4, 4, 19])
    """
    if not 0 <= threshold < 1 or not 0 < quantile <= 1:
        raise DataError(
            f"threshold {threshold}, quantile {quantile}: a threshold is a share from 0 to below 1, a quantile above 0 "
            "and at most 1"
        )
    check_batch(batch)
    if not len(sequences):
        raise DataError("no sequences to look at; give one or more")
    as_codes(sequences[:1])  # refuses what is not a sequence before its length is used
    if heights is not None:
        check_heights(heights, len(sequences))
    with evaluating(Network.of(model).model), torch.inference_mode():
        filters = find_layer(model, layer, sequences.shape[-1], activation=activation, layout=layout)
        references = _references(filters, sequences, quantile, batch)
        counts = _Counts(filters, sequences.shape[-1], 0 if heights is None else heights.shape[1])
        for first in range(0, len(sequences), batch):
            rows = slice(first, first + batch)
            counts.add(as_codes(sequences[rows]), threshold * references, None if heights is None else heights[rows])
    peaks = torch.from_numpy(counts.peaks)
    return FilterMotifs(
        names=tuple(f"filter_{i}" for i in range(filters.channels)),
        counts=counts.matrices(),
        sites=torch.from_numpy(counts.positions.sum(1)),
        background=background,
        pseudocount=pseudocount,
        layer=layer,
        field=filters.field,
        peaks=peaks,
        n_peaks=len(sequences),
        positions=torch.from_numpy(counts.positions),
        profile=None if heights is None else counts.profile.clone() / peaks[:, None],
        references=references.clone(),
        thresholds=threshold * references,
    )


def well_predicted(r: Float[Tensor, " n"], above: float = WELL, *, best: int | None = None) -> Int64[Tensor, " k"]:
    """Rows with r above `above`, or the `best` rows of greatest r, ascending; never rows without an r.

    Raises DataError, with the greatest r, where there are none.
    """
    defined = r.isfinite()
    if best is not None:
        if not 1 <= best <= int(defined.sum()):
            raise DataError(f"best {best}: give 1 to {int(defined.sum())}, the number of peaks with a correlation")
        return r.masked_fill(~defined, -math.inf).topk(best).indices.sort().values
    rows = (r > above).nonzero().flatten()
    if not len(rows):
        nearest, advice = "none has a correlation", ""
        if defined.any():
            nearest = f"the best of {len(r):,} has {float(r[defined].max()):.2f}"
            advice = f"; take the best ones instead, such as best = {min(500, int(defined.sum()))}"
        raise DataError(f"no peak is predicted with r above {above:g} ({nearest}){advice}")
    return rows


def _references(layer: Layer, sequences: Tensor, quantile: float, batch: int) -> Float64[Tensor, " filters"]:
    """Greatest activation of each filter, or a quantile over sequences of theirs; at least 0."""
    greatest = torch.full((layer.channels,), -math.inf, dtype=torch.float64)
    bins = torch.zeros(layer.channels, _BINS, dtype=torch.int64) if quantile < 1 else None
    for first in range(0, len(sequences), batch):
        best: Tensor | None = None  # (batch, channels)
        for _, part in layer.sums(as_codes(sequences[first : first + batch])):
            top = part.amax(0)
            best = top if best is None else torch.maximum(best, top, out=best)
        assert best is not None
        active = layer.activation(best).cpu()
        greatest = torch.maximum(greatest, active.amax(0).double())
        if bins is not None:
            bins.scatter_add_(1, _bin(active.float()).T, torch.ones_like(active.T, dtype=torch.int64))
    if not bool(greatest.isfinite().all()):
        raise DataError("some activations are not finite; was the network trained to the end?")
    if bins is None:
        return greatest.clamp(min=0)
    reached = bins.cumsum(1) >= math.ceil(quantile * len(sequences))
    return torch.minimum(_bin_top(reached.int().argmax(1)).double(), greatest).clamp(min=0)


def _bin(values: Tensor) -> Tensor:
    """Bin of each value: 0 for all up to 2^-32, then 128 bins to each doubling."""
    return ((values.view(torch.int32) >> _BIN_BITS) - _LOWEST).clamp(0, _BINS - 1).long()


def _bin_top(bins: Tensor) -> Tensor:
    """The greatest value of a bin; 0 for the first."""
    top = ((bins.int() + _LOWEST + 1) << _BIN_BITS).view(torch.float32)
    return torch.where(bins > 0, top, 0.0)


class _Counts:
    """Sites of every filter, gathered as they come and counted by position and by words of bases."""

    def __init__(self, layer: Layer, length: int, outputs: int) -> None:
        self.layer, field = layer, layer.field
        end = field.first + field.stride * (layer.positions - 1) + field.width
        self.before, self.after = max(0, -field.first), max(0, end - length) + WORD
        self.words = np.zeros((layer.channels, len(starts(field.width)), KINDS), np.int64)
        self.positions = np.zeros((layer.channels, layer.positions), np.int64)
        self.peaks = np.zeros(layer.channels, np.int64)
        self.profile = torch.zeros(layer.channels, outputs, dtype=torch.float64)
        self.pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, codes: Tensor, thresholds: Tensor, heights: Tensor | None) -> None:
        """Counts the sites of a batch of sequences."""
        letters = words(codes, self.before, self.after).numpy()
        active_in = np.zeros((len(codes), self.layer.channels), bool)
        for first, part in self.layer.sums(codes):
            # above a threshold of 0 or more ReLU changes nothing
            values = part if self.layer.activation is torch.relu else self.layer.activation(part)
            active = np.flatnonzero((values > thresholds.to(values)).numpy(force=True))
            position, sequence, channel = np.unravel_index(active, values.shape)
            position += first
            active_in[sequence, channel] = True
            begin = position * self.layer.field.stride + self.layer.field.first + self.before
            self._hold(position, channel, begin * len(codes) + sequence, letters)
        self._count(letters)
        self.peaks += active_in.sum(0)
        if heights is not None:
            self.profile += torch.from_numpy(active_in.T).double() @ heights.double().cpu()

    def _hold(self, position: np.ndarray, channel: np.ndarray, at: np.ndarray, letters: np.ndarray) -> None:
        self.pending.append((position, channel, at))
        if sum(len(channels) for _, channels, _ in self.pending) > _MAX_SITES:
            self._count(letters)

    def _count(self, letters: np.ndarray) -> None:
        position, channel, at = (np.concatenate(part) for part in zip(*self.pending, strict=True))
        self.pending = []
        _raise(self.positions, channel * self.positions.shape[1] + position)
        flat, sequences = letters.reshape(-1), letters.shape[1]
        for i, start in starts(self.layer.field.width):
            _raise(self.words[:, i], channel * KINDS + flat[at + start * sequences])

    def matrices(self) -> Float64[Tensor, "filters 4 width"]:
        """Counts of the four bases in every column."""
        by_letter = self.words.reshape(*self.words.shape[:2], *[LETTERS] * WORD)
        axes = range(2, 2 + WORD)
        columns = [by_letter.sum(axis=tuple(set(axes) - {axis})) for axis in axes]  # (filters, words, letters) each
        counts = np.stack(columns, axis=2).reshape(len(self.words), -1, LETTERS)
        return torch.from_numpy(counts[:, : self.layer.field.width, :4].transpose(0, 2, 1).astype(np.float64))


def _raise(counts: np.ndarray, entries: np.ndarray) -> None:
    """Adds to each entry of `counts` the number of times that it occurs in `entries`."""
    counts += np.bincount(entries, minlength=counts.size).reshape(counts.shape)
