"""The bound at lengths of context and of packed rows, at the command line."""

import json
import math

import pytest
import torch

import netassay
from netassay.cli import main
from netassay.errors import ConfigError

TEXT = "the cat sat on the mat\nthe dog sat on the cat\nthe cat ran\n"


@pytest.fixture
def text(tmp_path):
    (tmp_path / "stories.txt").write_text(TEXT)
    return tmp_path / "stories.txt"


def test_a_row_for_each_length_in_one_pass(text, tmp_path, capsys):
    page = tmp_path / "page.html"
    words = ["entropy", str(text), "--lengths", "1,2,4,...,16", "--page", str(page), "--format", "json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["length"] for row in told["by_context"]] == [1, 2, 4, 8, 16]
    for row in told["by_context"]:
        one = netassay.entropy(text, window=row["length"])
        assert math.isclose(row["nats"], one.bound_nats)
        assert row["share_certain"] == one.share_certain
    assert told["by_context"][-1]["nats"] == pytest.approx(told["bound_nats"])
    assert "once" in page.read_text() and "Entropy bound by length of context" in page.read_text()
    cut = netassay.entropy(text, length=3, lengths=[1]).by_context
    assert cut[0]["predictions"] == 6
    assert netassay.entropy(netassay.contexts_of(text), lengths=[2]).by_context[0]["contexts"] > 3


def test_losses_of_a_model_by_position_beside_the_bound(text, tmp_path, capsys):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(9, 9)).double()
    documents = [[0, 1, 2, 0, 4], [0, 1, 3], [5, 6], [7]]
    result = netassay.entropy(netassay.contexts(documents), lengths=[1, 3, 9], model=model)
    assert (result.documents, result.tokens_predicted) == (4, 7)
    logs = model[0].weight.log_softmax(-1).detach()
    for row in result.by_context:
        pairs = [(d[row["length"] - 1], d[row["length"]]) for d in documents if len(d) > row["length"]]
        assert row["model_predictions"] == len(pairs)
        truth = -sum(float(logs[pair]) for pair in pairs) / math.log(2) / len(pairs) if pairs else math.nan
        assert row["model_bits_per_token"] == pytest.approx(truth, nan_ok=True)
    plain = netassay.entropy(netassay.contexts(documents), lengths=[1, 3, 9]).by_context
    assert [{key: row[key] for key in plain[0]} for row in result.by_context] == plain
    page = tmp_path / "page.html"
    words = ["entropy", str(text), "--lengths", "1,2", "--model", "untrained", "--page", str(page), "--format", "json"]
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out)["by_context"]
    assert [row["model_predictions"] for row in rows] == [3, 3] and rows[0]["model_bits_per_token"] > 1
    assert "loss of the model" in page.read_text()
    with pytest.raises(ConfigError, match="give --lengths"):
        netassay.entropy(text, model=model)
    with pytest.raises(ConfigError, match="blocks is not for losses"):
        netassay.entropy(text, model=model, lengths=[1], blocks=4)


@pytest.mark.parametrize("given", ["1,x", "...,4", "1,2,...", "2,1,...,8", "0,1", ""])
def test_lengths_that_are_none_are_refused(given, text, capsys):
    assert main(["entropy", str(text), "--lengths", given]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_packed_rows_at_the_command_line(text, capsys):
    assert main(["entropy", str(text), "--blocks", "4", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = netassay.memorisation("untrained", text, blocks=4)
    assert told["tokens_predicted"] == found.predictions == 14
    assert math.isclose(told["bound_nats"], found.bound_nats)
    for how, said in (({"blocks": 4, "length": 2}, "give one of the two"), ({"stride": 2}, "give blocks too"),
                      ({"blocks": 2, "stride": 3}, "would be left out")):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            netassay.entropy(text, **how)
    with pytest.raises(ConfigError, match="give --lengths"):
        netassay.entropy(text, page="page.html")
