"""Charts of single results hold their numbers."""

import json
import math
from dataclasses import replace

import polars as pl
import pytest
import torch
import vl_convert

import netassay
from netassay.dna.ceiling.bootstrap import Interval
from netassay.dna.ceiling.limit import Ceiling
from netassay.errors import DataError
from netassay.nets import AITAC
from netassay.studies.aitac.answers import Predictions, RunAttributions


@pytest.fixture
def problem():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    return model, torch.nn.functional.mse_loss, [(torch.randn(20, 3), torch.randn(20, 2))]


def drawn(chart):
    """The rows of all data of a chart."""
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def compiled(chart):
    return vl_convert.vegalite_to_vega(chart.to_dict())


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


DOCUMENTS = [[0, 1, 2], [0, 2, 1], [0, 1, 1]]


def test_no_tick_at_half_a_token():
    axes = [axis for axis in compiled(netassay.contexts(DOCUMENTS).plot())["axes"] if axis["scale"] == "x"]
    assert axes and {axis["tickCount"] for axis in axes} == {2}


def test_positions_are_labelled_where_there_is_room(results):
    (effects,) = (result for result in results if type(result).__name__ == "Mutagenesis")
    overlaps = {axis["scale"]: axis.get("labelOverlap", False) for axis in compiled(effects.plot())["axes"]}
    assert overlaps == {"x": True, "y": False}


def test_infinite_step_sizes_are_named(results):
    (sizes,) = (result for result in results if type(result).__name__ == "StepSizes")
    assert "infinite for first" in json.dumps(sizes.plot().to_dict())


WITHOUT = {
    "LargestStep": "one number, drawn by StepSizes",
    "CriticalSharpness": "one number with its interval",
    "LocalCapacity": "one number beside its upper bound",
    "Verdict": "words, and the numbers that Bounds draws",
    "Construction": "one gap in two arithmetics",
    "Motion": "one number a parameter, drawn on the tracker's page",
    "Atlas": "data, not a result",
    "Network": "an input",
    "Plan": "an input",
    "Standing": "a line of `watch`",
    "Check": "words",
    "Demo": "words",
    "Run": "its figures have names: Run.chart",
    "Curvature": "an operator, whose eigenvalues and density are drawn",
    "Follower": "an operator, whose numbers a study draws",
    "CriticalFollower": "as Follower",
    "CentralFlow": "as Follower",
}


@pytest.fixture(scope="module")
def results():
    """One of each result that draws itself, small ones."""
    torch.manual_seed(0)
    model = AITAC(3, length=100, n_filters=4, n_channels=3, n_hidden=5, generator=torch.Generator().manual_seed(0))
    codes = torch.randint(4, (40, 100), dtype=torch.uint8)
    heights = torch.randn(40, 3)
    known = netassay.read_database("jaspar-vertebrates").select(range(12))
    attributions = netassay.attribute(model, codes[:3], output=0)
    table = pl.DataFrame({"name": ["p", "q"], "predicted B": [0.5, 1.0], "predicted T": [-0.5, 2.0]})
    pair = {"blocks": {"first": netassay.Trace(2.0, 0.1, 5)}}
    step = netassay.LargestStep(value=0.5, error=0.01, sharpness=4.0, sharpness_error=0.0, products=9)
    return [
        netassay.Trace(3.0, 0.5, 10, **pair),
        netassay.StepSizes(step, {"first": replace(step, value=math.inf), "second": step}, 1.0),
        netassay.forecast([0, 10, 20, 30], [0.5, 0.55, 0.6, 0.65]),
        netassay.contexts(DOCUMENTS),
        netassay.capacity.memorisation(torch.nn.Embedding(3, 3), DOCUMENTS),
        netassay.bounds(35_442, 690),
        known,
        netassay.filter_motifs(model, codes),
        netassay.match_motifs(known.select([3, 4]), known, permutations=2),
        netassay.influence(model, codes),
        netassay.influence(model, codes, heights),
        netassay.interactions(model, codes, [[0], [1]], generator=torch.Generator(), permutations=20),
        attributions,
        netassay.mutagenesis(model, codes[:2]),
        RunAttributions(None, attributions, table),
        Predictions(table, {}, {}),
        netassay.VariantEffects(
            pl.DataFrame(
                {"chromosome": ["1"], "position": [7], "id": ["rs1"], "ref": ["A"], "alt": ["C"], "line": [3]}
            ),
            ("B", "T"),
            torch.zeros(1, 2),
            torch.tensor([[0.5, -2.0]]),
            torch.zeros(0),
            {},
        ),
        Ceiling(
            Interval(0.5, 0.4, 0.6),
            Interval(0.4, 0.3, 0.5),
            pl.DataFrame({"r_halves": [0.5], "ceiling": [0.6]}),
            pl.DataFrame({"cell_type": ["B"], "r_halves": [0.5], "ceiling": [0.6], "low": [0.5], "high": [0.7]}),
            "peaks",
        ),
    ]


NAMES = (
    *("Trace", "StepSizes", "Forecast", "Contexts", "Memorisation", "Bounds", "Motifs", "FilterMotifs", "Matches"),
    *("Influence", "Influence", "Interactions", "Attributions", "Mutagenesis", "RunAttributions", "Predictions"),
    *("VariantEffects", "Ceiling"),
)


@pytest.mark.parametrize("number", range(len(NAMES)), ids=[f"{i}-{name}" for i, name in enumerate(NAMES)])
def test_every_result_draws_itself(results, number):
    assert type(results[number]).__name__ == NAMES[number]
    svg = vl_convert.vegalite_to_svg(results[number].plot().to_dict())
    assert svg.count("<path") > 2


def test_every_public_result_draws_itself_or_has_a_reason_not_to():
    kinds = [kind for kind in (getattr(netassay, name) for name in netassay.__all__) if isinstance(kind, type)]
    results = {
        kind.__name__ for kind in kinds if "Attributes:" in (kind.__doc__ or "") and not issubclass(kind, Exception)
    }
    drawn = {kind.__name__ for kind in kinds if hasattr(kind, "plot")}
    assert results - drawn <= WITHOUT.keys(), results - drawn - WITHOUT.keys()
    assert drawn - {"Sharpness", "Density", "Entropy", "Eigenpairs"} <= {*NAMES}


def rows_of(result, name="value"):
    return [row[name] for row in drawn(result.plot()) if row.get(name) is not None]


def test_charts_hold_the_numbers_of_their_results(results):
    by_name = dict(zip(NAMES, results, strict=True))
    assert sorted(rows_of(by_name["Trace"])) == [2.0, 3.0]
    assert sorted(rows_of(by_name["Trace"], "high")) == pytest.approx([2.2, 4.0])
    assert rows_of(by_name["StepSizes"]) == [0.5, 0.5]
    assert sorted(rows_of(by_name["VariantEffects"])) == [-2.0, 0.5]
    assert sorted(rows_of(by_name["Predictions"])) == [-0.5, 0.5, 1.0, 2.0]
    assert rows_of(by_name["Ceiling"]) == [0.6]
    influence = by_name["Influence"]
    observed = [row["value"] for row in drawn(influence.plot()) if row["series"] == "observed"]
    assert sorted(observed) == pytest.approx(sorted(influence.overall_signed.tolist()))
    nats = sum(group.loss_nats for group in by_name["Memorisation"].by_length if group.predictions)
    assert nats == pytest.approx(by_name["Memorisation"].loss_nats)
    loss = [row["y"] for row in drawn(by_name["Memorisation"].plot()) if row["series"] == "loss"]
    group = by_name["Memorisation"].by_length[0]
    assert loss[0] == pytest.approx(group.loss_nats / group.predictions / math.log(2))


def test_more_than_thirty_rows_are_said_to_be_more():
    table = pl.DataFrame({"name": [f"s{i}" for i in range(45)], "predicted B": range(45), "predicted T": range(45)})
    chart = Predictions(table, {}, {}).plot()
    assert len(drawn(chart)) == 60
    assert "(30 of 45)" in str(chart.to_dict())
