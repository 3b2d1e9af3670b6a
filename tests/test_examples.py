"""Every public name has an example, and it gives what it says, in a folder that holds the files that it names."""

import doctest
import inspect
import re
import shutil
from pathlib import Path

import pytest
from toy_atlas import make_toy, write_fasta, write_variant

import netassay
from netassay.cli.command import docstring_of

WRITTEN = max((Path(__file__).parent / "baseline").glob("*/written.json")).parent
EXTRAS = {"netassay.dna.attributions.find_patterns": "modiscolite"}
SLOW = {"demo", "sweep"}
"""Examples that make many runs."""


def public(package, names=()):
    """Public names with what they stand for, those of the rooms too, each object once."""
    for name in package.__all__:
        thing = getattr(package, name)
        if inspect.ismodule(thing):
            yield from public(thing)
        elif not name.startswith("__"):
            yield f"{package.__name__}.{name}", thing


NAMES = {}
for name, thing in public(netassay):
    NAMES.setdefault(id(thing), (name, thing))
# what commands on a store are made of
METHODS = [
    (f"netassay.Store.{name}", getattr(netassay.Store, name)) for name in ("table", "export", "verify", "delete")
]
NAMES |= {id(method): (name, method) for name, method in METHODS}


@pytest.fixture
def workshop(tmp_path):
    """A folder with runs of every study, an atlas, a genome with peaks and variants, a corpus and a plan."""
    shutil.copytree(WRITTEN, tmp_path, dirs_exist_ok=True)
    shutil.copytree(WRITTEN / "finished", tmp_path / "runs")
    toy = make_toy(tmp_path)
    length = netassay.Atlas.open("atlas").length
    write_fasta(tmp_path / "enhancers.fa", {f"enhancer_{i}": toy.genome["chr1"][i : i + length] for i in range(3)})
    write_variant(tmp_path / "gwas.vcf", toy)
    (tmp_path / "plan.toml").write_text(
        'study = "edge"\n[base]\nexamples = 60\nwidth = 4\nsteps = 3\n[axes]\ndepth = [0, 1]\n'
    )
    (tmp_path / "fragments.tsv").write_text("chr1\t310\t400\tAAAC-1\t1\nchr1\t320\t345\tAAAG-1\t2\n")
    (tmp_path / "stories.txt").write_text("the cat sat\nthe dog sat\nthe cat ran\n")
    return tmp_path


def with_own_ids(example):
    """The example, with ids of runs that are there in place of those that it shows."""
    ids = {study: min(path.name for path in Path("runs").glob(f"{study}-*")) for study in ("edge", "aitac")}
    return re.sub(r"\b(edge|aitac)-1a2b3c[0-9a-f]*", lambda match: ids[match[1]], example)


def run(name, example):
    test = doctest.DocTestParser().get_doctest(example, {}, name, None, 0)
    said = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize(
    ("name", "thing"),
    [
        pytest.param(name, thing, id=name, marks=pytest.mark.slow if name.split(".")[-1] in SLOW else ())
        for name, thing in NAMES.values()
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_examples_give_what_they_say(name, thing, workshop):
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name], reason=f"an extra is not installed: {EXTRAS[name]}")
    run(name, with_own_ids(docstring_of(thing).example))


@pytest.mark.parametrize(("name", "thing"), NAMES.values(), ids=[name for name, _ in NAMES.values()])
def test_every_public_name_is_documented(name, thing):
    doc = docstring_of(thing)
    assert doc.sentence.endswith("."), f"{name}: the first paragraph is one sentence"
    assert ">>>" in doc.example, f"{name} has no example"
    assert "+SKIP" not in doc.example, f"{name}: the example is not run"
    if inspect.isfunction(thing):
        arguments = {*inspect.signature(thing).parameters} - {"self"}
        assert doc.arguments.keys() == arguments, f"{name}: {arguments ^ doc.arguments.keys()}"
        assert doc.returns or inspect.signature(thing).return_annotation in ("None", None), name
