import json

import numpy as np

from netassay.capacity.injectivity import separations
from netassay.capacity.rank import ranks
from netassay.cli import main
from netassay.corpus.context import contexts
from netassay.runs.models import describe_model, load_model
from netassay.studies.capacity.theory_pages import sections_of_theory

DOCUMENTS = np.random.default_rng(2).integers(0, 6, (40, 5))


def test_sections_say_what_was_measured():
    found = contexts(DOCUMENTS)
    injectivity, rank = sections_of_theory(
        separations(found, sizes=[10, 40], seeds=[0, 1]), ranks(["tanh"], sizes=[2, 12])
    )
    assert injectivity.title == "Injectivity"
    data = injectivity.items[0].data
    assert set(data["series"]) == {"float32", "float64", "1/n²"}
    assert data["contexts"].max() == found.n
    assert rank.items[1].kind == "info"
    assert rank.items[0].data.filter(series="float64", n=12)["rank"].item() < 12
    assert sections_of_theory() == []


def test_commands_write_tables_and_pages(tmp_path, capsys):
    np.save(tmp_path / "c.npy", DOCUMENTS)
    assert main(["injectivity", str(tmp_path / "c.npy"), "--seeds", "1", "--page", "i.html", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["dtype"] for row in rows} == {"float32", "float64"}
    assert "Theorem 17" in (tmp_path / "i.html").read_text()
    assert main(["rank", "tanh", "--size", "8", "--page", "r.html", "--format", "csv"]) == 0
    assert "tanh,8,8,400 digits,8,8,0" in capsys.readouterr().out
    assert main(["rank", "relu"]) == 2
    assert "allowed are tanh" in capsys.readouterr().err


def test_construct_saves_what_it_measured(tmp_path, capsys):
    np.save(tmp_path / "c.npy", DOCUMENTS)
    words = ["construct", str(tmp_path / "c.npy"), "--embedding", "8", "--save", "m", "--format", "json"]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["deviation_float64"] < 2e-8
    assert answer["width"] == answer["contexts"] + answer["contexts"] // 10
    assert describe_model(tmp_path / "m")["about"]["token_ids"] == list(range(6))
    assert sum(p.numel() for p in load_model(tmp_path / "m").parameters()) == answer["parameters"]
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*words[:-3], "n", "--width", "3"]) == 2
    assert "holds any 3 contexts" in capsys.readouterr().err
    assert not (tmp_path / "n").exists()
