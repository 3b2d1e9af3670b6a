"""How good predictions are: correlations by peak and by cell type, shares of well predicted peaks, ranks of classes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from netassay.dna.network.classes import CLASSES, WELL
from netassay.dna.network.network import less_mean, pearson_rows
from netassay.numerics.ranking import average_precision, roc_area

CENTRED = "cell_r_mean_centred"


def scores(
    prediction: Float[Tensor, "peaks cell_types"],
    observed: Float[Tensor, "peaks cell_types"],
    *,
    one_of_k: bool,
    free_offset: bool = False,
    labels: bool = False,
) -> dict[str, float]:
    """Scores of a set of peaks; NaN where undefined.

    Args:
        prediction: (peaks, cell types).
        observed: (peaks, cell types).
        one_of_k: Whether each peak is open in one cell type; then also accuracy, and auroc and auprc as means over the
            cell types.
        free_offset: Whether the loss leaves each row of predictions free by an offset; cell_r_mean is then
            cell_r_mean_centred, of rows minus their mean on both sides.
        labels: Whether heights are labels of which a peak may have several; then also auroc and auprc.

    Returns:
        r_mean and r_median over peaks whose r across cell types is defined (r_undefined counts the others; with fewer
        than three cell types no r is), r_weighted by the variance of the observed row, share_above_075 among the
        defined ones, and cell_r_mean, the mean over cell types of r over peaks.

    Source:
        Maslova et al. (2020) for r across cell types.

    Example:
        >>> import torch
        >>> from netassay.dna.network import scores
        >>> observed = torch.rand(20, 5)
        >>> round(scores(observed, observed, one_of_k=False)["r_mean"], 6)
        1.0
    """
    r = pearson_rows(prediction, observed)
    defined = r[~r.isnan()]
    variance = observed.double().var(dim=1, correction=0)[~r.isnan()]
    values = {
        "r_mean": _mean(defined),
        "r_median": float(np.median(defined)) if len(defined) else math.nan,
        "r_weighted": float((defined * variance).sum() / variance.sum()) if len(defined) else math.nan,
        "share_above_075": _mean((defined > WELL).double()),
        "r_undefined": float(len(r) - len(defined)),
        CENTRED if free_offset else "cell_r_mean": _mean(
            pearson_columns(prediction, observed, free_offset=free_offset)
        ),
    }
    if one_of_k or labels:
        guess = evidence(prediction, one_of_k=one_of_k, free_offset=free_offset)
        ranks = [area_scores(guess[:, i], observed[:, i]) for i in range(observed.shape[1])]
        values |= {
            **({"accuracy": accuracy(prediction, observed)} if one_of_k else {}),
            "auroc": _mean(torch.tensor([rank.auroc for rank in ranks])),
            "auprc": _mean(torch.tensor([rank.auprc for rank in ranks])),
        }
    return values


def pearson_columns(
    prediction: Float[Tensor, "peaks cell_types"],
    observed: Float[Tensor, "peaks cell_types"],
    *,
    free_offset: bool = False,
) -> Float[Tensor, " cell_types"]:
    """Pearson correlation of each cell type over peaks; NaN where a column is constant.

    With `free_offset` the mean of each row is subtracted first, on both sides: after a loss that does not see an offset
    of a row, that offset is noise in every column.
    """
    if free_offset:
        prediction, observed = less_mean(prediction), less_mean(observed)
        # a column that is constant up to rounding has no correlation
        prediction = torch.where(_flat(prediction), 0.0, prediction)
    return pearson_rows(prediction.T, observed.T)


def _flat(columns: Float[Tensor, "peaks cell_types"]) -> Tensor:
    return columns.std(0, correction=0) < 1e-6 * columns.abs().amax().clamp(min=1e-30)


def height_spread(observed: Float[Tensor, "peaks cell_types"]) -> dict[str, Float[Tensor, " peaks"]]:
    """Standard deviation and interquartile range of the observed heights of each peak over the cell types."""
    exact = observed.double()
    low, high = torch.quantile(exact, torch.tensor([0.25, 0.75], dtype=torch.float64), dim=1)
    return {"height SD": exact.std(1, correction=0), "height IQR": high - low}


def accuracy(prediction: Float[Tensor, "peaks cell_types"], observed: Float[Tensor, "peaks cell_types"]) -> float:
    """Share of peaks whose largest prediction is at the cell type they are open in, 0 to 1."""
    return _mean((prediction.argmax(dim=1) == observed.argmax(dim=1)).double())


class RankScores(NamedTuple):
    """Areas under the ROC and the precision-recall curve; a guess has 0.5, and the share of open peaks."""

    auroc: float
    auprc: float
    open_share: float


def rank_scores(prediction: Tensor, observed: Tensor, cell_type: int) -> RankScores:
    """How well a cell type's softmax separates its open peaks from the others; NaN if all are of one kind.

    Args:
        prediction: (peaks, cell types).
        observed: (peaks, cell types), 1 where open.
        cell_type: Number of the cell type.

    Returns:
        Areas under the ROC and the precision-recall curve, and the share of open peaks.

    Example:
        >>> import torch
        >>> from netassay.dna.network import rank_scores
        >>> observed = torch.eye(3).repeat(4, 1)
        >>> rank_scores(observed, observed, 0).auroc
        1.0
    """
    return area_scores(evidence(prediction, one_of_k=True)[:, cell_type], observed[:, cell_type])


def evidence(prediction: Tensor, *, one_of_k: bool, free_offset: bool = False) -> Tensor:
    """Values that rank peaks for a label: the softmax where each peak has one label, else the output, less the mean of
    its row where the loss leaves that free."""
    if one_of_k:
        return prediction.double().softmax(dim=1)
    return less_mean(prediction) if free_offset else prediction


def area_scores(guess: Tensor, observed: Tensor) -> RankScores:
    """How well a guess for each peak separates those with a 1 from those with a 0; NaN if all are of one kind."""
    truth = observed.numpy() == 1
    if not len(truth) or truth.all() or not truth.any():
        return RankScores(math.nan, math.nan, float(truth.mean()) if len(truth) else math.nan)
    values = guess.numpy()
    return RankScores(
        roc_area(truth, values),
        average_precision(truth, values),
        float(truth.mean()),
    )


def class_of(r: Float[Tensor, " peaks"]) -> list[str | None]:
    """The class in `CLASSES` of each correlation, None where it is not defined."""
    return [None if math.isnan(value) else _class(value) for value in r.tolist()]


def rescaled(
    prediction: Float[Tensor, "peaks cell_types"], observed: Float[Tensor, "peaks cell_types"]
) -> Float[Tensor, "peaks cell_types"]:
    """Predictions with the mean and standard deviation of the observed row: r is free of both, a picture is not."""
    spread = prediction.std(dim=1, keepdim=True, correction=0)
    unit = torch.where(spread > 0, (prediction - prediction.mean(dim=1, keepdim=True)) / spread, 0.0)
    return observed.mean(dim=1, keepdim=True) + unit * observed.std(dim=1, keepdim=True, correction=0)


def _class(r: float) -> str:
    return "0 to 0.25" if r == 0 else next(name for name, low in CLASSES.items() if r > low)


def _mean(values: Tensor) -> float:
    defined = values[~values.isnan()]
    return float(defined.double().mean()) if len(defined) else math.nan
