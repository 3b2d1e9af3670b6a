"""Charts of single results hold their numbers."""

import math

import polars as pl
import pytest
import torch

import netassay
from netassay.errors import DataError


@pytest.fixture
def problem():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    return model, torch.nn.functional.mse_loss, [(torch.randn(20, 3), torch.randn(20, 2))]


def drawn(chart):
    """The rows of all data of a chart."""
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def test_eigenvalues_with_their_errors(problem):
    result = netassay.sharpness(*problem, k=2, blocks="layer")
    rows = drawn(result.plot())
    assert {row["row"] for row in rows} == {
        f"{part}, {number}" for part in ("all parameters", *result.blocks) for number in (1, 2)
    }
    first = next(row for row in rows if row["row"] == "all parameters, 1")
    assert first["value"] == pytest.approx(float(result.values[0]))
    assert first["high"] - first["value"] == pytest.approx(float(result.errors[0]), rel=1e-3, abs=1e-12)


def test_the_density_integrates_to_one(problem):
    density = netassay.spectral_density(*problem)
    rows = pl.DataFrame(drawn(density.plot())).sort("x")
    area = ((rows["y"] + rows["y"].shift(-1)) / 2 * (rows["x"].shift(-1) - rows["x"])).sum()
    assert area == pytest.approx(1, abs=0.02)


def test_the_bound_by_length():
    result = netassay.entropy("topics", document="line", length=6, by_length=True)
    rows = {row["x"]: row["y"] for row in drawn(result.plot()) if row["x"] is not None}
    for row in result.by_length:
        if row["predictions"]:
            assert rows[row["length"]] == pytest.approx(row["nats"] / row["predictions"] / math.log(2))
    with pytest.raises(DataError, match="by_length=True"):
        netassay.entropy("topics", document="line", length=6).plot()
