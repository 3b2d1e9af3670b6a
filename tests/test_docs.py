"""The documents say what the code does."""

import ast
import importlib
import importlib.util
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from every_kind import EXAMPLE, installed, write_metadata
from toy_atlas import make_toy, write_variant

from netassay.cli.app import build

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "CHANGELOG.md",
]


def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli", "api"])
def test_generated_pages_are_up_to_date(name):
    assert (ROOT / "docs" / f"{name}.md").read_text() == getattr(generate(), name)(), "run `make docs`"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_tables_of_metrics_are_up_to_date(page):
    assert page.read_text() == generate().metric_tables(page.read_text()), "run `make docs`"


def test_stubs_are_up_to_date():
    made = generate().stubs()
    files = set((ROOT / "src").rglob("*.pyi"))
    assert files == set(made), "run `make docs`"
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name} of {path.parent.name}: run `make docs`"
    # and each has the names that the package has when it runs
    for path in made:
        package = importlib.import_module(".".join(path.parent.relative_to(ROOT / "src").parts))
        listed = ast.literal_eval(path.read_text().rpartition("__all__ = ")[2])
        assert sorted(listed) == sorted(package.__all__)


def commands():
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("netassay "):
                    yield pytest.param(line, id=f"{page.name}: {line[:40]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_in_the_documents_parse(line, tmp_path):
    words = shlex.split(line.partition(" | ")[0], comments=True)[1:]
    write_metadata(tmp_path, EXAMPLE)
    with installed(tmp_path, EXAMPLE):
        build(words[0]).parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text()], ids=lambda p: p.name)
def test_python_in_the_documents_compiles(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        if page.name != "api.md":
            compile(block, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_paths_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert "://" not in target, f"{page.name} names a host: {target}"
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", ["reliability.md", "run-format.md"])
def test_named_tests_exist(name):
    page = ROOT / "docs" / name
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    promised = re.findall(r"`(?:\w+::)?(test_[a-z0-9_]+)`", page.read_text())
    assert promised
    for test in promised:
        assert f"def {test}(" in tests, f"{page.name}: {test}"


def blocks(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.S)


def execute(name, names, changes=()):
    """Runs the blocks of a page one after the other, with `names` there and some words changed."""
    for number, block in enumerate(blocks(name)):
        for word, other in dict(changes).items():
            block = block.replace(word, other)
        path = Path(f"block{number}.py")
        path.write_text(block)
        names = runpy.run_path(str(path), init_globals=names)
    return names


def test_python_of_the_step_size_tutorial_runs():
    names = execute("docs/edge-diverges.md", {})
    assert names["tracker"].run is not None
    assert len(list(Path("runs").glob("edge-tracker-*"))) == 1


def test_python_of_the_readme_runs():
    top = execute("README.md", {})["top"]
    assert top.values.shape == (3,)


def test_python_of_the_atlas_tutorial_runs():
    names = execute("docs/aitac-atlas.md", {})
    assert names["x"].shape == (100, 4, 251)
    assert names["y"].shape == (100, 3)


def test_python_of_the_construction_runs():
    Path("stories.txt").write_text("<|endoftext|>".join(f"Story {i} of a {i % 3}." for i in range(9)))
    assert execute("docs/capacity-construction.md", {})["made"].float64.gap < 1e-6


def small_aitac(outputs):
    import torch

    from netassay.nets import AITAC

    return AITAC(outputs, length=100, n_filters=20, n_channels=3, n_hidden=5, generator=torch.Generator())


def test_python_on_attributions_runs(tmp_path):
    import torch

    written = max((ROOT / "tests" / "baseline").glob("*/written.json")).parent
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    run = min(path.name for path in (written / "finished").glob("aitac-*") if "-" not in path.name[6:])
    toy = make_toy(tmp_path)
    write_variant(tmp_path / "gwas.vcf", toy)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4 * 500, 2))
    names = {
        "my_module": module,
        "model": small_aitac(3),
        "codes": torch.randint(4, (5, 100), dtype=torch.uint8),
    }
    changes = {"runs/aitac-1a2b3c": f"finished/{run}", "gwas.vcf.gz": "gwas.vcf", "hg38.fa": "genome.fa"}
    assert execute("docs/aitac-attributions.md", names, changes)["every"].effects.shape == (5, 4, 100, 3)


def test_python_on_influence_runs(tmp_path):
    import torch

    written = max((ROOT / "tests" / "baseline").glob("*/written.json")).parent
    shutil.copytree(written / "atlas", tmp_path / "atlas")
    network = torch.nn.Sequential()
    network.blocks = torch.nn.ModuleList([torch.nn.Module()])
    network.blocks[0].conv = torch.nn.Conv1d(4, 3, 9)
    network.forward = lambda x: network.blocks[0].conv(x).relu().amax(2)
    names = {
        "model": small_aitac(19),
        "my_network": network,
        "one_hot": torch.eye(4)[torch.randint(4, (5, 60))].mT.contiguous(),
        "heights": torch.rand(5, 3),
    }
    names = execute("docs/aitac-influence.md", names, {'"dhs4"': '"atlas"'})
    assert names["other"].overall.shape == (3,)
    assert names["pairs"].pairs.tolist() == [[0, 1]]


def test_python_on_language_models_runs():
    import torch

    transformers = pytest.importorskip("transformers")
    import netassay

    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=20, n_positions=8)
    ).eval()

    def tokenizer(texts, **words):
        ids = torch.randint(20, (len(texts), 6))
        return {"input_ids": ids, "labels": ids}

    names = {"netassay": netassay, "model": model, "tokenizer": tokenizer, "chunks": [["a", "b"], ["c", "d"]]}
    assert len(execute("docs/edge.md", names)["batches"]) == 2


def test_python_on_findings_runs():
    names = execute("docs/findings.md", {})
    assert names["run"].findings and Path("loss.pdf").read_bytes().startswith(b"%PDF")


def test_python_on_memorisation_runs():
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    import polars as pl

    config = transformers.GPT2Config(vocab_size=50, n_positions=128, n_embd=16, n_layer=1, n_head=2)
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained("tiny/first")
    Path("tiny/shards").mkdir()
    rows = [[(7 * i + j * j) % 50 for j in range(100)] for i in range(20)]
    pl.DataFrame({"input_ids": rows}).write_parquet("tiny/shards/first.parquet")
    memory = execute("docs/memorisation.md", {})["memory"]
    assert memory.gap_bits > 0


def test_every_page_with_python_is_run():
    run = re.findall(r'execute\("(.*?)"', Path(__file__).read_text())
    pages = {str(page.relative_to(ROOT)) for page in PAGES if "```python" in page.read_text()}
    # the examples of the one are run by test_examples.py; the other quotes the code of a package that has its tests
    elsewhere = {"docs/api.md", "docs/writing-a-study.md"}
    assert pages - elsewhere == set(run)


def test_python_of_the_page_on_critical_sharpness_runs(capsys):
    execute("docs/edge-critical.md", {})
    assert len(capsys.readouterr().out.split()) == 5


@pytest.mark.filterwarnings("ignore")
def test_python_on_training_loops_runs(monkeypatch):
    for extra in ("lightning", "transformers", "accelerate"):
        pytest.importorskip(extra, reason=f"an extra is not installed: {extra}")
    for name, value in {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
        "RANK": "0",
        "WORLD_SIZE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    execute("docs/edge-loops.md", {})
    import polars as pl

    import netassay

    runs = netassay.Store("runs").select({})
    assert {run.config["name"] for run in runs} == {
        "plain",
        "scaled",
        "compiled",
        "lightning",
        "trainer",
        "accelerate",
        "replicas",
        "shards",
    }
    for run in runs:
        assert str(run.state) == "finished", f"{run.config}: {run.message}"
        metrics = run.metrics().filter(pl.col("part") == "")
        looked = {"critical_sharpness"} | ({"sharpness"} if run.config["name"] != "plain" else set())
        assert looked <= set(metrics["name"]), run.config["name"]


def test_the_tutorial_on_interpretations_names_every_figure():
    page = " ".join((ROOT / "docs" / "aitac-interpret.md").read_text().split())
    told = set(re.findall(r"\*\*(.*?)[.,]?\*\*", page))
    for name in (
        "sections/binding.py",
        "sections/influence.py",
        "sections/motifs.py",
    ):
        code = (ROOT / "src/netassay/studies/aitac/interpret" / name).read_text()
        titles = re.findall(r'Figure\(\s*"[a-z-]+",\s*"([^"]+)"', code)
        assert titles, name
        assert set(titles) <= told, f"{name}: {set(titles) - told}"
