"""Which filters matter in either atlas, and whether they are the same."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor

from netassay.errors import DataError
from netassay.numerics.seeds import generator
from netassay.studies.aitac.interpret import species
from netassay.studies.aitac.interpret.influence import influence
from netassay.studies.aitac.interpret.match import NAMED
from netassay.studies.aitac.interpret.naming import filter_names
from netassay.studies.aitac.interpret.subject import Subject
from netassay.studies.aitac.nulls import shuffle_dinucleotides
from netassay.studies.aitac.transfer.config import TransferConfig

OTHER, SHUFFLED = "other atlas", "its sequences shuffled"
"""What the influence in the network's own atlas is compared with; the second is the null."""


def rank_tables(subject: Subject, config: TransferConfig, codes: Tensor) -> dict[str, pl.DataFrame]:
    """Tables filters, factors, agreement and remarks; none if no peaks are asked for.

    Influence is the mean squared change of the outputs, so no heights are needed, on the test set of the network's own
    atlas and on as many peaks of the other. The null are the other atlas's sequences with their dinucleotides shuffled:
    how alike the ranks are from the network's weights alone, whatever is read.
    """
    if not config.influence_peaks:
        return {}
    draws = generator(config.seed, "transfer", "ranks")
    chosen = torch.randperm(len(codes), generator=draws)[: config.influence_peaks].sort().values
    theirs = codes[chosen]
    read = {"own": subject.codes, OTHER: theirs, SHUFFLED: shuffle_dinucleotides(theirs, draws)}
    both = subject.trained_by.strands == "augmented"
    found = {
        name: influence(subject.model, held, both_strands=both).by_output.mean(dim=1).numpy()
        for name, held in read.items()
    }
    names, remarks = factor_names(subject, len(found["own"]))
    filters = pl.DataFrame({"filter": range(len(names)), "factor": names, **found}).sort(
        "own", descending=True
    )
    factors = species.by_factor(names, **found)
    rows = []
    for what, frame in (("filters", filters), ("factors", factors)):
        heard = frame.filter(pl.any_horizontal(pl.col("own", OTHER, SHUFFLED) > 0))
        for other in (OTHER, SHUFFLED):
            one = species.rank_agreement(heard["own"].to_numpy(), heard[other].to_numpy(), draws)
            rows.append((what, other, one.rho, one.low, one.high, one.p, one.n))
    schema = {"ranks of": pl.String, "against": pl.String, "rho": pl.Float64, "low": pl.Float64, "high": pl.Float64,
              "p": pl.Float64, "n": pl.Int64}  # fmt: skip
    agreement = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("rho", "low", "high", "p").fill_nan(None)
    )
    told = pl.DataFrame({"text": remarks}, schema={"text": pl.String})
    return {"filters": filters, "factors": factors, "agreement": agreement, "remarks": told}


def factor_names(subject: Subject, filters: int) -> tuple[list[str], list[str]]:
    """The factor that each filter's motif matches best, "" where none does; and why there are none, if so."""
    try:
        names = filter_names(subject, NAMED)
    except DataError as reason:
        return [""] * filters, [f"Filters have no names: {reason}."]
    return [names.get(i, "") for i in range(filters)], []
