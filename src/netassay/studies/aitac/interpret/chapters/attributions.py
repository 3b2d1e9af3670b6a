"""Which bases of the best predicted peaks matter, and how reliable the answer is."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import polars as pl
import torch
from torch import Tensor

from netassay.dna.attributions.contributions import METHODS, TOLERANCE, Method, attribute, shuffled_weights, site_auroc
from netassay.dna.network.network import Network, contrast, pearson_rows
from netassay.errors import DataError, ExtraMissing, ModelError
from netassay.formats.bases import decode
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.sections.attributions import KINDS, LEAD, RAW
from netassay.studies.aitac.interpret.subject import Subject

_STEPS = 20  # of integrated gradients from each reference: they take most of the chapter's time
_QUICK: tuple[Method, ...] = ("gradient", "mutagenesis")


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """peaks explained, each for one cell type; bases of some; agreement; missing methods; simulated sites."""
    peaks = _peaks(subject, config)
    contributions, missing, missed = _contributions(subject, config, peaks)
    frames = {
        "peaks": peaks,
        "bases": _bases(subject, peaks, contributions),
        "agreement": _agreement(contributions),
        "missing": pl.DataFrame(missing, schema={"method": pl.String, "reason": pl.String}, orient="row"),
        "completeness": pl.DataFrame(missed, schema={"method": pl.String, "missed": pl.Float64}, orient="row"),
    }
    if "sites" in subject.truth:
        frames["sites"] = _sites(subject, peaks, contributions)
    return frames


def _peaks(subject: Subject, config: InterpretConfig) -> pl.DataFrame:
    """The best predicted peaks of each cell type: rows, how well predicted, whether a logo is shown."""
    well, heights = subject.well, subject.heights
    if not len(well):
        raise DataError(
            f"no peak of the {config.peaks} set is well predicted ({subject.well_in_words}), so there is nothing "
            "to explain; train longer, or lower --well-predicted"
        )
    own = heights[well].argmax(1)
    counts = torch.bincount(own, minlength=len(subject.cell_types))
    order = counts.argsort(descending=True, stable=True)[: config.attribution_cell_types]
    rows = []
    for cell_type in sorted(int(i) for i in order if counts[i]):
        mine = well[own == cell_type]
        lead = subject.predicted[mine, cell_type] - subject.predicted[mine].mean(1)
        best = mine[
            (lead if subject.material.one_of_k else subject.quality[mine]).argsort(descending=True, stable=True)
        ]
        for rank, row in enumerate(best[: config.attribution_peaks].tolist()):
            peak = subject.atlas.peaks.row(int(subject.index[row]), named=True)
            r = float(subject.r[row])
            rows.append(
                {
                    "peak": peak["name"],
                    "chromosome": peak["chromosome"],
                    "start": peak["start"],
                    "row": row,
                    "cell type": subject.cell_types[cell_type],
                    "output": cell_type,
                    "r": r if math.isfinite(r) else None,
                    LEAD if against_mean(subject) else RAW: float(
                        subject.predicted[row, cell_type]
                        - (subject.predicted[row].mean() if against_mean(subject) else 0.0)
                    ),
                    "logo": rank < config.attribution_logos,
                }
            )
    return pl.DataFrame(rows, schema_overrides={"r": pl.Float64})


def against_mean(subject: Subject) -> bool:
    """Whether an output minus the mean of all is explained, as the loss leaves an offset free."""
    return subject.network.less_mean and len(subject.cell_types) > 1


_Contributions = dict[tuple[str, str], Tensor]


def _contributions(
    subject: Subject, config: InterpretConfig, peaks: pl.DataFrame
) -> tuple[_Contributions, list[tuple[str, str]], list[tuple[str, float]]]:
    """Contributions (peaks, length) by network ("trained", "shuffled weights", a peer's id) and method.

    Then methods that are not installed, and the relative error of the sum of contributions.
    """
    contributions: _Contributions = {}
    missed: list[tuple[str, float]] = []
    missing: list[tuple[str, str]] = []
    own = subject.network
    shuffled = shuffled_weights(own.model, subject.generator("weights"))
    networks = {"trained": own, "shuffled weights": replace(own, model=shuffled)}
    networks |= dict(zip(subject.runs[1:], subject.peers, strict=True))
    for name, network in networks.items():
        for method in METHODS if name == "trained" else _QUICK:
            try:
                contributions[name, method], share = _contributions_of(subject, config, peaks, network, method)
                if name == "trained" and share is not None:
                    missed.append((method, share))
            except (ExtraMissing, ModelError) as reason:
                missing.append((method, str(reason)))
    return contributions, missing, missed


def _contributions_of(
    subject: Subject, config: InterpretConfig, peaks: pl.DataFrame, network: Network, method: Method
) -> tuple[Tensor, float | None]:
    contributions = torch.zeros(len(peaks), subject.codes.shape[1])
    many = len(subject.cell_types)
    errors, sizes = [], []
    for output in peaks["output"].unique(maintain_order=True).to_list():
        at = torch.tensor((peaks["output"] == output).to_list())
        rows = torch.tensor(peaks["row"].to_list())[at]
        attributions = attribute(
            network,
            subject.codes[rows],
            method,
            output=contrast(output, many) if against_mean(subject) else output,
            references=config.attribution_references,
            steps=_STEPS,
            # fewer steps than usual: the error of their sum is reported, not refused
            tolerance=TOLERANCE if method == "deepshap" else math.inf,
            generator=subject.generator("references"),
        )
        contributions[at] = attributions.actual
        if attributions.error is not None and attributions.difference is not None:
            errors.append(attributions.error.abs())
            sizes.append(attributions.difference.abs())
    return contributions, float(torch.cat(errors).mean() / torch.cat(sizes).mean()) if errors else None


def _bases(subject: Subject, peaks: pl.DataFrame, contributions: _Contributions) -> pl.DataFrame:
    frames = []
    for i, peak in enumerate(peaks.iter_rows(named=True)):
        if peak["logo"]:
            letters = decode(subject.codes[peak["row"]].numpy())
            values = {
                method: rows[i].tolist() for (network, method), rows in contributions.items() if network == "trained"
            }
            frames.append(
                pl.DataFrame(
                    {
                        "peak": [peak["peak"]] * len(letters),
                        "cell type": [peak["cell type"]] * len(letters),
                        "position": range(len(letters)),
                        "base": list(letters),
                        **values,
                    }
                )
            )
    return pl.concat(frames)


def _agreement(contributions: _Contributions) -> pl.DataFrame:
    """Pearson correlation over the bases of a peak: mean and quantiles over peaks, number of undefined ones."""
    trained = {method: values for (network, method), values in contributions.items() if network == "trained"}
    rows = []
    for first, second in combinations(trained, 2):
        rows.append(_row("trained", first, second, trained[first], trained[second]))
        # a peak beside the next one, the last beside the first
        rows.append(_row("another peak", first, second, trained[first], trained[second].roll(1, 0)))
    for (network, method), values in contributions.items():
        if network != "trained":
            kind = network if network in KINDS else "repetition"
            rows.append(_row(kind, method, method, trained[method], values))
    return pl.DataFrame(rows, infer_schema_length=None)


def _row(kind: str, first: str, second: str, a: Tensor, b: Tensor) -> dict[str, Any]:
    r = pearson_rows(a, b)
    defined = pl.Series(r[~r.isnan()].double().numpy())
    return {
        "kind": kind,
        "first": first,
        "second": second,
        "r mean": defined.mean(),
        "r lower decile": defined.quantile(0.1),
        "r median": defined.median(),
        "r upper decile": defined.quantile(0.9),
        "peaks": len(defined),
        "undefined": len(r) - len(defined),
    }


def _sites(subject: Subject, peaks: pl.DataFrame, contributions: _Contributions) -> pl.DataFrame:
    """AUROC of |contribution| for bases in sites of factors that act in the cell type, against all other bases."""
    truth = subject.truth
    widths = dict(truth["factors"].select("factor", "width").iter_rows())
    acting = truth["effects"].filter(pl.col("effect").abs() > 0.05)
    inside = torch.zeros(len(peaks), subject.codes.shape[1], dtype=torch.bool)
    for i, peak in enumerate(peaks.iter_rows(named=True)):
        factors = acting.filter(pl.col("cell_type") == peak["cell type"])["factor"]
        at_peak = pl.col("peak") == int(subject.index[peak["row"]])
        sites = truth["sites"].filter(at_peak & pl.col("factor").is_in(factors.to_list()))
        for factor, start in sites.select("factor", "start").iter_rows():
            inside[i, start : start + widths[factor]] = True
    rows = []
    for (network, method), values in contributions.items():
        auroc = site_auroc(values, inside)
        defined = pl.Series(auroc[~auroc.isnan()].numpy())
        rows.append(
            {
                "network": network,
                "method": method,
                "AUROC mean": defined.mean(),
                "AUROC median": defined.median(),
                "peaks": len(defined),
                "without a site": len(auroc) - len(defined),
            }
        )
    return pl.DataFrame(rows)
