"""Which filters matter in either atlas, and whether they are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from netassay.dna.agreement import species
from netassay.dna.agreement.species import CellTypeMap
from netassay.dna.atlas.atlas import shuffle_dinucleotides
from netassay.dna.influence.singles import Influence, influence, join_filters
from netassay.dna.network.network import Network
from netassay.errors import DataError
from netassay.numerics.devices import generator
from netassay.studies.aitac.interpret.subject import Subject, filter_names
from netassay.studies.aitac.transfer.config import TransferConfig
from netassay.studies.aitac.transfer.findings import CEILING, CHANGE, FACTORS, FILTERS, LOSS, NULL, OTHER


def rank_tables(
    subject: Subject, config: TransferConfig, codes: Tensor, heights: Tensor, types: CellTypeMap
) -> dict[str, pl.DataFrame]:
    """Tables influence, agreement and remarks; none if no peaks are requested.

    The network's outputs and heights of its own atlas (the test set) are averaged by the map, so that both atlases have
    the same cell types. Null of the loss of r: its mean if the heights belonged to other peaks. Null of the change of
    predictions, which no height enters: the other atlas's sequences with their dinucleotides shuffled; it shows how far
    the weights alone fix the order. Ceiling: another sample of the network's own peaks.
    """
    if not config.influence_peaks:
        return {}
    draws = generator(config.seed, "transfer", "ranks")
    sample = torch.randperm(len(codes), generator=draws)[: config.influence_peaks].sort().values
    their_codes = codes[sample]
    own = subject.network
    assert own.aitac
    network = replace(own, model=species.mapped_network(own.aitac, types), names=types.targets)
    names, remarks = _factor_names(subject)
    factors = join_filters(names, len(subject.motifs) if names else 0)
    factor_numbers = [i for i, name in enumerate(factors.names) if name in set(names.values())]
    frames = [pl.DataFrame(schema=_SCHEMA)]
    ceilings: list[tuple[Any, ...]] = []
    for kind in (FILTERS, FACTORS):
        sets = None if kind == FILTERS else [factors.sets[i] for i in factor_numbers]
        if sets == []:
            continue
        ours, theirs, shuffled = (
            influence(network, sequences, observed, sets=sets)
            for sequences, observed in (
                (subject.codes, types.predictions(subject.heights)),
                (their_codes, heights[sample]),
                (shuffle_dinucleotides(their_codes, draws), None),
            )
        )
        labels = (
            [names.get(i, "") for i in range(len(ours.names))]
            if sets is None
            else [factors.names[i] for i in factor_numbers]
        )
        frames.append(_influence(kind, labels, ours, theirs, shuffled))
        ceilings += _ceiling(kind, network, subject, types, sets, ours, config.seed)
    influences = pl.concat(frames)
    notes = pl.DataFrame({"text": remarks}, schema={"text": pl.String})
    agreement = _agreement(influences, draws)
    with_ceilings = pl.concat([agreement, pl.DataFrame(ceilings, schema=agreement.schema, orient="row").fill_nan(None)])
    return {"influence": influences, "agreement": with_ceilings, "remarks": notes}


def _ceiling(
    kind: str,
    network: Network,
    subject: Subject,
    types: CellTypeMap,
    sets: Sequence[Sequence[int]] | None,
    own: Influence,
    seed: int,
) -> list[tuple[Any, ...]]:
    """Agreement of two samples of the network's own peaks: that of two halves, by the Spearman-Brown formula."""
    draws = generator(seed, "transfer", "ceiling")
    order = torch.randperm(len(subject.codes), generator=draws)
    halves = [
        influence(network, subject.codes[part], types.predictions(subject.heights[part]), sets=sets)
        for part in order.chunk(2)
    ]
    heard = (own.by_output.mean(dim=1) > 0).numpy()
    rows: list[tuple[Any, ...]] = []
    for measure in (LOSS, CHANGE):
        first, second = (
            (half.overall_signed if measure == LOSS else half.by_output.mean(dim=1)).numpy()[heard] for half in halves
        )
        agreement = species.rank_agreement(first, second, draws)
        rho, low, high = (
            2 * value / (1 + value) if value > -1 else value for value in (agreement.rho, agreement.low, agreement.high)
        )
        rows.append((kind, measure, CEILING, rho, low, high, agreement.p, agreement.n))
    return rows


_SCHEMA = {
    "of": pl.String,
    "measure": pl.String,
    "filters": pl.String,
    "factor": pl.String,
    "own": pl.Float64,
    OTHER: pl.Float64,
    NULL: pl.Float64,
}


def _influence(kind: str, labels: list[str], own: Influence, theirs: Influence, shuffled: Influence) -> pl.DataFrame:
    """One row per measure and filter or factor; filters that change nothing anywhere are left out."""
    measures = {
        LOSS: (own.overall_signed, theirs.overall_signed, theirs.null_signed),
        CHANGE: (own.by_output.mean(dim=1), theirs.by_output.mean(dim=1), shuffled.by_output.mean(dim=1)),
    }
    heard = (sum(measures[CHANGE]) > 0).numpy()  # type: ignore[union-attr]
    frames = [
        pl.DataFrame(
            {
                "of": kind,
                "measure": measure,
                "filters": [",".join(map(str, part)) for part in own.sets],
                "factor": labels,
                **dict(zip(("own", OTHER, NULL), (values.numpy() for values in columns), strict=True)),
            },
            schema=_SCHEMA,
        ).filter(pl.Series(heard))
        for measure, columns in measures.items()
    ]
    return pl.concat(frames).with_columns(pl.col("own", OTHER, NULL).fill_nan(None))


def _agreement(influences: pl.DataFrame, draws: torch.Generator) -> pl.DataFrame:
    rows = []
    for kind, measure, reference in product((FILTERS, FACTORS), (LOSS, CHANGE), (OTHER, NULL)):
        subset = influences.filter(pl.col("of") == kind, pl.col("measure") == measure)
        own, second = (subset[name].fill_null(np.nan).to_numpy() for name in ("own", reference))
        agreement = species.rank_agreement(own, second, draws)
        rows.append((kind, measure, reference, agreement.rho, agreement.low, agreement.high, agreement.p, agreement.n))
    numbers = dict.fromkeys(("rho", "low", "high", "p"), pl.Float64)
    words = dict.fromkeys(("of", "measure", "against"), pl.String)
    frame = pl.DataFrame(rows, schema={**words, **numbers, "n": pl.Int64}, orient="row")
    return frame.with_columns(pl.col(*numbers).fill_nan(None))


def _factor_names(subject: Subject) -> tuple[dict[int, str], list[str]]:
    """The factor that each filter's motif matches best, if any; and the reason if there are none."""
    try:
        return filter_names(subject, subject.config.motif_q), []
    except DataError as reason:
        return {}, [f"Filters have no names: {reason}."]
