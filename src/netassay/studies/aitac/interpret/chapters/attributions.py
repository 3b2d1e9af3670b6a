"""Which bases of the best predicted peaks matter, and how far the answer can be trusted."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import polars as pl
import torch
from torch import Tensor

from netassay.dna.attributions.contributions import METHODS, TOLERANCE, Method, attribute
from netassay.dna.attributions.trust import shuffled_weights, site_auroc
from netassay.dna.network.losses import pearson_rows
from netassay.dna.network.network import Network
from netassay.dna.network.readouts import contrast
from netassay.errors import DataError, ExtraMissing, ModelError
from netassay.formats.bases import decode
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.interpret.sections.attributions import KINDS, LEAD, RAW
from netassay.studies.aitac.interpret.subject import Subject

_STEPS = 20  # of integrated gradients from each reference: they take most of the chapter's time
_QUICK: tuple[Method, ...] = ("gradient", "mutagenesis")


def tables(subject: Subject, config: InterpretConfig) -> dict[str, pl.DataFrame]:
    """peaks that are explained, each for one cell type; bases of some; agreement; missing methods; simulated sites."""
    peaks = _peaks(subject, config)
    made, missing, missed = _contributions(subject, config, peaks)
    found = {
        "peaks": peaks,
        "bases": _bases(subject, peaks, made),
        "agreement": _agreement(made),
        "missing": pl.DataFrame(missing, schema={"method": pl.String, "reason": pl.String}, orient="row"),
        "completeness": pl.DataFrame(missed, schema={"method": pl.String, "missed": pl.Float64}, orient="row"),
    }
    if "sites" in subject.truth:
        found["sites"] = _sites(subject, peaks, made)
    return found


def _peaks(subject: Subject, config: InterpretConfig) -> pl.DataFrame:
    """The best predicted peaks of each cell type: rows, how well predicted, whether a logo is shown."""
    well, heights = subject.well, subject.heights
    if not len(well):
        raise DataError(
            f"no peak of the {config.peaks} set is well predicted ({subject.well_in_words}), so that there is nothing "
            "to explain; train longer, or lower --well-predicted"
        )
    own = heights[well].argmax(1)
    held = torch.bincount(own, minlength=len(subject.cell_types))
    order = held.argsort(descending=True, stable=True)[: config.attribution_cell_types]
    rows = []
    for cell_type in sorted(int(i) for i in order if held[i]):
        mine = well[own == cell_type]
        lead = subject.predicted[mine, cell_type] - subject.predicted[mine].mean(1)
        best = mine[
            (lead if subject.material.one_of_k else subject.quality[mine]).argsort(descending=True, stable=True)
        ]
        for place, row in enumerate(best[: config.attribution_peaks].tolist()):
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
                    "logo": place < config.attribution_logos,
                }
            )
    return pl.DataFrame(rows, schema_overrides={"r": pl.Float64})


def against_mean(subject: Subject) -> bool:
    """Whether an output less the mean of all is explained, as the loss leaves an offset free."""
    return subject.network.less_mean and len(subject.cell_types) > 1


_Made = dict[tuple[str, str], Tensor]


def _contributions(
    subject: Subject, config: InterpretConfig, peaks: pl.DataFrame
) -> tuple[_Made, list[tuple[str, str]], list[tuple[str, float]]]:
    """Contributions (peaks, length) by network ("trained", "shuffled weights", a peer's id) and method.

    Then methods that are not installed, and the share that contributions miss of what they must sum to.
    """
    made: _Made = {}
    missed: list[tuple[str, float]] = []
    missing: list[tuple[str, str]] = []
    own = subject.network
    shuffled = shuffled_weights(own.model, subject.generator("weights"))
    networks = {"trained": own, "shuffled weights": replace(own, model=shuffled)}
    networks |= dict(zip(subject.runs[1:], subject.peers, strict=True))
    for name, network in networks.items():
        for method in METHODS if name == "trained" else _QUICK:
            try:
                made[name, method], share = _of(subject, config, peaks, network, method)
                if name == "trained" and share is not None:
                    missed.append((method, share))
            except (ExtraMissing, ModelError) as reason:
                missing.append((method, str(reason)))
    return made, missing, missed


def _of(
    subject: Subject, config: InterpretConfig, peaks: pl.DataFrame, network: Network, method: Method
) -> tuple[Tensor, float | None]:
    found = torch.zeros(len(peaks), subject.codes.shape[1])
    many = len(subject.cell_types)
    errors, sizes = [], []
    for output in peaks["output"].unique(maintain_order=True).to_list():
        at = torch.tensor((peaks["output"] == output).to_list())
        rows = torch.tensor(peaks["row"].to_list())[at]
        made = attribute(
            network,
            subject.codes[rows],
            method,
            output=contrast(output, many) if against_mean(subject) else output,
            references=config.attribution_references,
            steps=_STEPS,
            # fewer steps than one would take alone: what their sum misses is told, not refused
            tolerance=TOLERANCE if method == "deepshap" else math.inf,
            generator=subject.generator("references"),
        )
        found[at] = made.actual
        if made.error is not None and made.difference is not None:
            errors.append(made.error.abs())
            sizes.append(made.difference.abs())
    return found, float(torch.cat(errors).mean() / torch.cat(sizes).mean()) if errors else None


def _bases(subject: Subject, peaks: pl.DataFrame, made: _Made) -> pl.DataFrame:
    frames = []
    for i, peak in enumerate(peaks.iter_rows(named=True)):
        if peak["logo"]:
            letters = decode(subject.codes[peak["row"]].numpy())
            values = {method: held[i].tolist() for (network, method), held in made.items() if network == "trained"}
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


def _agreement(made: _Made) -> pl.DataFrame:
    """Pearson correlation over the bases of a peak: mean, quantiles over peaks; undefined ones are counted."""
    trained = {method: held for (network, method), held in made.items() if network == "trained"}
    rows = []
    for first, second in combinations(trained, 2):
        rows.append(_row("trained", first, second, trained[first], trained[second]))
        # a peak beside the next one, the last beside the first
        rows.append(_row("another peak", first, second, trained[first], trained[second].roll(1, 0)))
    for (network, method), held in made.items():
        if network != "trained":
            kind = network if network in KINDS else "repetition"
            rows.append(_row(kind, method, method, trained[method], held))
    return pl.DataFrame(rows, infer_schema_length=None)


def _row(kind: str, first: str, second: str, a: Tensor, b: Tensor) -> dict[str, Any]:
    r = pearson_rows(a, b)
    known = pl.Series(r[~r.isnan()].double().numpy())
    return {
        "kind": kind,
        "first": first,
        "second": second,
        "r mean": known.mean(),
        "r lower decile": known.quantile(0.1),
        "r median": known.median(),
        "r upper decile": known.quantile(0.9),
        "peaks": len(known),
        "undefined": len(r) - len(known),
    }


def _sites(subject: Subject, peaks: pl.DataFrame, made: _Made) -> pl.DataFrame:
    """AUROC of |contribution| for bases in sites of factors that act in the cell type, against all other bases."""
    truth = subject.truth
    widths = dict(truth["factors"].select("factor", "width").iter_rows())
    acting = truth["effects"].filter(pl.col("effect").abs() > 0.05)
    inside = torch.zeros(len(peaks), subject.codes.shape[1], dtype=torch.bool)
    for i, peak in enumerate(peaks.iter_rows(named=True)):
        factors = acting.filter(pl.col("cell_type") == peak["cell type"])["factor"]
        here = pl.col("peak") == int(subject.index[peak["row"]])
        sites = truth["sites"].filter(here & pl.col("factor").is_in(factors.to_list()))
        for factor, start in sites.select("factor", "start").iter_rows():
            inside[i, start : start + widths[factor]] = True
    rows = []
    for (network, method), held in made.items():
        auroc = site_auroc(held, inside)
        known = pl.Series(auroc[~auroc.isnan()].numpy())
        rows.append(
            {
                "network": network,
                "method": method,
                "AUROC mean": known.mean(),
                "AUROC median": known.median(),
                "peaks": len(known),
                "without a site": len(auroc) - len(known),
            }
        )
    return pl.DataFrame(rows)
