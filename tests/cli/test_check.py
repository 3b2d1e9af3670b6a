"""What a file is, by its content; what is left out of it; which command takes it."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

import netassay
from netassay.cli import main
from netassay.errors import DataError

BED = "chr1\t10\t210\ta\nchr2\t5\t300\tb\n"
VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
VCF += "chr1\t5\t.\tA\tC\t.\t.\t.\nchr1\t9\t.\tA\t<DEL>\t.\t.\t.\n"
MEME = """MEME version 4

ALPHABET= ACGT

MOTIF T1 one
letter-probability matrix: alength= 4 w= 2 nsites= 20
0.9 0.0 0.1 0.0
0.0 1.0 0.0 0.0
"""
FILES = {
    "peaks.bed": (BED, "genomic regions", {"regions": 2}, "netassay atlas build --peaks"),
    "v.vcf": (VCF, "variants", {"alleles": 1}, "netassay variants RUN --vcf"),
    "m.meme": (MEME, "motifs in MEME format", {"motifs": 1}, "netassay interpret RUN --motifs"),
    "g.fa": (
        ">a\nACGT\n>b\nACGTAC\n",
        "DNA sequences",
        {"sequences": 2, "longest": 6},
        "netassay predict RUN",
    ),
    "text.txt": ("one two\n\nthree four\n", "corpus", {"form": "text"}, "netassay entropy"),
    "plan.toml": ('study = "edge"\n[axes]\ndepth = [1, 2]\n', "plan of runs", {"runs": 2}, "netassay sweep"),
    "config.toml": (
        'study = "edge"\ndepth = 3\n',
        "config of a run",
        {"study": "edge"},
        "netassay edge --config",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_recognised_by_what_is_in_it(tmp_path, name):
    content, what, facts, command = FILES[name]
    (tmp_path / name).write_text(content)
    checked = netassay.check(tmp_path / name)
    assert checked.what == what and facts.items() <= checked.facts.items()
    assert checked.commands[0].startswith(command) and str(tmp_path / name) in checked.commands[0]


def test_what_would_be_left_out_is_counted_by_reason(tmp_path):
    (tmp_path / "v.vcf").write_text(VCF)
    (reason,) = netassay.check(tmp_path / "v.vcf").left_out
    assert netassay.check(tmp_path / "v.vcf").left_out[reason] == 1


def test_arrays_weights_atlases_runs_and_stores(tmp_path):
    np.save(tmp_path / "ids.npy", np.arange(20).reshape(4, 5) % 7)
    assert netassay.check(tmp_path / "ids.npy").what == "corpus of token ids"
    save_file({"w": torch.zeros(2, 3)}, tmp_path / "w.safetensors")
    assert netassay.check(tmp_path / "w.safetensors").facts == {"tensors": 1, "numbers": 6}
    netassay.simulate_atlas(40, length=80, out=tmp_path / "atlas")
    assert netassay.check(tmp_path / "atlas").facts["peaks"] == 40
    run = netassay.perform(netassay.EdgeConfig(examples=60, width=4, steps=3), tmp_path / "runs", threads=1)
    assert netassay.check(run.folder).facts["state"] == "finished"
    assert netassay.check(tmp_path / "runs").facts == {"edge, finished": 1}


def test_the_command_prints_it_and_refuses_what_is_nothing(tmp_path, capsys):
    (tmp_path / "peaks.bed").write_text(BED)
    assert main(["check", str(tmp_path / "peaks.bed"), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["what"] == "genomic regions" and told["commands"]
    assert main(["check", str(tmp_path / "none")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match=r"pickle"):
        netassay.check(tmp_path / "x.pkl")
    for name in ("bad.bw", "bad.safetensors", "bad.vcf"):
        (tmp_path / name).write_bytes(b"\x00\x01nothing")
        assert main(["check", str(tmp_path / name)]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_tables_of_peaks_count_as_regions(tmp_path):
    pl.DataFrame({"chrom": ["chr1"], "start": [1], "end": [9]}).write_csv(tmp_path / "p.bed", separator="\t")
    assert netassay.check(tmp_path / "p.bed").facts["regions"] == 1
