"""Lists of names: as arrays, as words with commas, and with the digests they had when they were text."""

import pytest

from netassay.cli import main
from netassay.config import NameList, read
from netassay.errors import ConfigError
from netassay.studies.aitac.config import AitacConfig
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.study import configure


@pytest.mark.parametrize("given", ["motifs,influence", ["motifs", "influence"], ("motifs", "influence")])
def test_text_and_arrays_are_one_config(given):
    config = InterpretConfig(only=given)
    assert config.only == ("motifs", "influence")
    assert config.mapping()["only"] == "motifs,influence"
    assert config.digest == InterpretConfig(only="motifs,influence").digest


def test_a_text_keeps_its_blanks_and_so_its_digest():
    config = InterpretConfig.from_mapping({"only": "motifs, influence"})
    assert config.only == ("motifs", "influence")
    assert config.mapping()["only"] == "motifs, influence"
    assert config.replace(seed=0).digest == config.digest


def test_digests_of_before():
    # of netassay 0.1.0
    assert InterpretConfig(only="motifs, influence", peers="").digest.startswith("5dfd8a61e76941cf")
    assert AitacConfig(test_chromosomes="chr1,chr8").digest.startswith("56682fbd5ecba969")


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (InterpretConfig, {"peers": "aitac-0123456789ab,edge-1"}),
        (InterpretConfig, {"peers": ["aitac-0123456789ab", 3]}),
        (InterpretConfig, {"only": ","}),
        (InterpretConfig, {"only": "Motifs"}),
        (InterpretConfig, {"only": ["motifs,influence"]}),
        (InterpretConfig, {"only": [""]}),
        (AitacConfig, {"test_chromosomes": ""}),
        (AitacConfig, {"test_chromosomes": []}),
        (AitacConfig, {"validation_chromosomes": ""}),
        (AitacConfig, {"test_chromosomes": 1}),
    ],
)
def test_what_is_no_list_of_such_names_is_refused(config, values):
    key = next(iter(values))
    with pytest.raises(ConfigError, match=f"{key} = .* is not allowed: text such as"):
        config(**values)


def test_an_array_in_a_config_file_is_what_the_flag_says(tmp_path, capsys):
    held = tmp_path / "held.toml"
    held.write_text('test_chromosomes = ["chr1", "chr8"]\n')
    assert configure({"study": "aitac", **read(held)}) == AitacConfig(test_chromosomes="chr1,chr8")
    assert main(["aitac", "--help"]) == 0
    assert "--test-chromosomes" in capsys.readouterr().out


def test_a_list_is_a_tuple():
    assert NameList.read("a, b ,c") == ("a", "b", "c")
    assert NameList.read("") == ()
