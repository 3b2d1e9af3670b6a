"""Factors joined from filters, and their ranks by lineage."""

import polars as pl
import pytest
import torch
from plain_aitac import random_aitac

from netassay import influence
from netassay.dna.influence.singles import groups, hierarchy, join_filters
from netassay.reporting.heat import cluster_order


def found(seed=0, n_filters=6):
    draws = torch.Generator().manual_seed(3)
    model = random_aitac(4, length=60, n_filters=n_filters, n_channels=8, n_hidden=8, seed=seed)
    codes = torch.randint(0, 4, (25, 60), generator=draws, dtype=torch.uint8)
    return influence(model, codes, torch.rand(25, 4, generator=draws))


def test_filters_with_the_same_name_are_one_factor():
    factors = join_filters({0: "GATA1", 1: "SPI1", 2: "GATA1"}, 5)
    assert factors.names == ("GATA1", "SPI1", "filter 3", "filter 4")
    assert factors.sets == ((0, 2), (1,), (3,), (4,))


def test_cell_types_without_a_lineage_are_in_none():
    assert groups(("B", "", "T", "B")) == {"B": [0, 3], "T": [2]}
    assert groups(("", "")) == {"all cell types": [0, 1]}


def test_ranks_are_by_the_mean_over_the_lineage():
    told = found()
    table = hierarchy(told, ("B", "T", "B", ""))
    here = table.filter(pl.col("lineage") == "B")
    means = told.by_output[:, [0, 2]].mean(1)
    assert here["rank"].to_list() == list(range(1, 7))
    assert here["set"].to_list() == [f"filter_{int(i)}" for i in means.argsort(descending=True)]
    assert here["influence"].to_list() == pytest.approx(means.sort(descending=True).values.tolist())
    assert here["share"].sum() == pytest.approx(1)
    assert table["lineage"].unique(maintain_order=True).to_list() == ["B", "T"]


def test_like_profiles_stand_together():
    up, down = torch.linspace(0, 1, 6), torch.linspace(1, 0, 6)
    rows = torch.stack([up, down, 3 * up + 1, torch.ones(6), 0.5 * down, up + 0.01 * torch.rand(6)]).double()
    order = cluster_order(rows)
    assert sorted(order) == list(range(6))
    places = {row: place for place, row in enumerate(order)}
    assert max(places[i] for i in (0, 2, 5)) - min(places[i] for i in (0, 2, 5)) == 2
    assert abs(places[1] - places[4]) == 1
    assert cluster_order(rows[:2]) == [0, 1]
