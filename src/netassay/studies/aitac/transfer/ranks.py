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
from netassay.dna.atlas.nulls import shuffle_dinucleotides
from netassay.dna.influence.factors import join_filters
from netassay.dna.influence.singles import Influence, influence
from netassay.dna.network.network import Network
from netassay.errors import DataError
from netassay.numerics.seeds import generator
from netassay.studies.aitac.interpret.subject import Subject, filter_names
from netassay.studies.aitac.transfer.config import TransferConfig
from netassay.studies.aitac.transfer.findings import CEILING, CHANGE, FACTORS, FILTERS, LOSS, NULL, OTHER


def rank_tables(
    subject: Subject, config: TransferConfig, codes: Tensor, heights: Tensor, types: CellTypeMap
) -> dict[str, pl.DataFrame]:
    """Tables influence, agreement and remarks; none if no peaks are asked for.

    The network's outputs and heights of its own atlas (the test set) are averaged by the map, so that both atlases have
    the same cell types. Null of the loss of r: what it would be on average if the heights belonged to other peaks. Null
    of the change of predictions, which no height enters: the other atlas's sequences with their dinucleotides shuffled;
    it tells how far the weights alone fix the order. Ceiling: another sample of the network's own peaks.
    """
    if not config.influence_peaks:
        return {}
    draws = generator(config.seed, "transfer", "ranks")
    chosen = torch.randperm(len(codes), generator=draws)[: config.influence_peaks].sort().values
    theirs = codes[chosen]
    own = subject.network
    assert own.aitac
    network = replace(own, model=species.mapped_network(own.aitac, types), names=types.targets)
    names, remarks = _factor_names(subject)
    factors = join_filters(names, len(subject.motifs) if names else 0)
    named = [i for i, name in enumerate(factors.names) if name in set(names.values())]
    frames = [pl.DataFrame(schema=_SCHEMA)]
    ceilings: list[tuple[Any, ...]] = []
    for what in (FILTERS, FACTORS):
        sets = None if what == FILTERS else [factors.sets[i] for i in named]
        if sets == []:
            continue
        ours, other, shuffled = (
            influence(network, read, observed, sets=sets)
            for read, observed in (
                (subject.codes, types.predictions(subject.heights)),
                (theirs, heights[chosen]),
                (shuffle_dinucleotides(theirs, draws), None),
            )
        )
        labels = (
            [names.get(i, "") for i in range(len(ours.names))] if sets is None else [factors.names[i] for i in named]
        )
        frames.append(_influence(what, labels, ours, other, shuffled))
        ceilings += _ceiling(what, network, subject, types, sets, ours, config.seed)
    found = pl.concat(frames)
    told = pl.DataFrame({"text": remarks}, schema={"text": pl.String})
    agreement = _agreement(found, draws)
    held = pl.concat([agreement, pl.DataFrame(ceilings, schema=agreement.schema, orient="row").fill_nan(None)])
    return {"influence": found, "agreement": held, "remarks": told}


def _ceiling(
    what: str,
    network: Network,
    subject: Subject,
    types: CellTypeMap,
    sets: Sequence[Sequence[int]] | None,
    whole: Influence,
    seed: int,
) -> list[tuple[Any, ...]]:
    """Agreement of two samples of the network's own peaks: that of two halves, by the Spearman-Brown formula."""
    draws = generator(seed, "transfer", "ceiling")
    order = torch.randperm(len(subject.codes), generator=draws)
    halves = [
        influence(network, subject.codes[part], types.predictions(subject.heights[part]), sets=sets)
        for part in order.chunk(2)
    ]
    heard = (whole.by_output.mean(dim=1) > 0).numpy()
    rows: list[tuple[Any, ...]] = []
    for measure in (LOSS, CHANGE):
        one, other = (
            (half.overall_signed if measure == LOSS else half.by_output.mean(dim=1)).numpy()[heard] for half in halves
        )
        told = species.rank_agreement(one, other, draws)
        rho, low, high = (2 * value / (1 + value) if value > -1 else value for value in (told.rho, told.low, told.high))
        rows.append((what, measure, CEILING, rho, low, high, told.p, told.n))
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


def _influence(what: str, labels: list[str], own: Influence, other: Influence, shuffled: Influence) -> pl.DataFrame:
    """A row a measure and filter, or factor; filters that change nothing anywhere are left out."""
    measures = {
        LOSS: (own.overall_signed, other.overall_signed, other.null_signed),
        CHANGE: (own.by_output.mean(dim=1), other.by_output.mean(dim=1), shuffled.by_output.mean(dim=1)),
    }
    heard = (sum(measures[CHANGE]) > 0).numpy()  # type: ignore[union-attr]
    frames = [
        pl.DataFrame(
            {
                "of": what,
                "measure": measure,
                "filters": [",".join(map(str, part)) for part in own.sets],
                "factor": labels,
                **dict(zip(("own", OTHER, NULL), (values.numpy() for values in held), strict=True)),
            },
            schema=_SCHEMA,
        ).filter(pl.Series(heard))
        for measure, held in measures.items()
    ]
    return pl.concat(frames).with_columns(pl.col("own", OTHER, NULL).fill_nan(None))


def _agreement(found: pl.DataFrame, draws: torch.Generator) -> pl.DataFrame:
    rows = []
    for what, measure, other in product((FILTERS, FACTORS), (LOSS, CHANGE), (OTHER, NULL)):
        held = found.filter(pl.col("of") == what, pl.col("measure") == measure)
        one, second = (held[name].fill_null(np.nan).to_numpy() for name in ("own", other))
        told = species.rank_agreement(one, second, draws)
        rows.append((what, measure, other, told.rho, told.low, told.high, told.p, told.n))
    numbers = dict.fromkeys(("rho", "low", "high", "p"), pl.Float64)
    words = dict.fromkeys(("of", "measure", "against"), pl.String)
    frame = pl.DataFrame(rows, schema={**words, **numbers, "n": pl.Int64}, orient="row")
    return frame.with_columns(pl.col(*numbers).fill_nan(None))


def _factor_names(subject: Subject) -> tuple[dict[int, str], list[str]]:
    """The factor that each filter's motif matches best, where it does; and why there are none, if so."""
    try:
        return filter_names(subject, subject.config.motif_q), []
    except DataError as reason:
        return {}, [f"Filters have no names: {reason}."]
