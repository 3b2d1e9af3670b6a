"""Imports go down only, and the light modules stay light."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import netassay

ROOT = Path(netassay.__file__).parent
STORE = str(next((Path(__file__).parent / "baseline").glob("*/finished")))
CAPACITY = min(path.name for path in Path(STORE).glob("capacity-*"))

# lower may never import higher; modules on one level may import each other only within their own room
LEVELS = [
    {"errors", "contents"},
    {"inputs", "extras"},
    {"config", "files", "plugins", "processes", "training"},
    {"numerics", "formats", "reporting"},
    {"nets", "plotting"},
    {"corpus", "curvature", "dna"},
    {"capacity"},
    {"runs"},
    {"study", "references"},
    {"studies"},
    {"performing", "presenting"},
    {"sweeps", "interpreting"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
KITS = {"curvature", "corpus", "capacity", "dna"}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}


def imported(path):
    """Modules of the package that a file imports, wherever in it, for types too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            inside = name.removeprefix("netassay.")
            if inside != name and (module := inside if inside in MODULES else inside.rpartition(".")[0]):
                assert module in MODULES or "." not in inside, f"{path} imports {name}"
                if module in MODULES:
                    yield module


GRAPH = {name: set(imported(path)) - {name} for name, path in MODULES.items()}
ARROWS = [(source, target) for source, targets in GRAPH.items() for target in targets]


def room(module):
    return module.partition(".")[0]


def level(module):
    return next(i for i, rooms in enumerate(LEVELS) if room(module) in rooms)


def test_every_room_has_a_level():
    assert {room(module) for module in MODULES} == set().union(*LEVELS)


def test_imports_go_down_only():
    assert len(ARROWS) > 500
    for source, target in ARROWS:
        same = room(source) == room(target)
        assert same or level(target) < level(source), f"{source} imports {target}"


def test_kits_know_no_run_config_or_page():
    above = {"config", "runs", "study", "studies", "reporting"}
    for source, target in ARROWS:
        assert room(source) not in KITS or room(target) not in above, f"{source} imports {target}"


def test_studies_never_import_each_other():
    for source, target in ARROWS:
        if room(source) == room(target) == "studies" and "." in source and "." in target:
            assert source.split(".")[1] == target.split(".")[1], f"{source} imports {target}"


def test_findings_and_pages_never_import_what_computes():
    """Whatever a page or a finding reaches within the studies is no assay, and nothing that loads torch."""
    light = [m for m in MODULES if m.startswith("studies.") and re.search(r"pages$|\.findings$|\.sections\.", m)]
    assert len(light) > 20
    for start in light:
        reached, ahead = set(), [start]
        while ahead:
            for target in GRAPH[ahead.pop()] - reached:
                reached.add(target)
                ahead.append(target)
        assert not {m for m in reached if m.endswith(".assay") or ".chapters." in m}, start


def test_no_import_in_circles():
    """By file: whatever is taken away while nothing else needs it, nothing remains."""
    left = {name: set(targets) for name, targets in GRAPH.items()}
    while free := {name for name, targets in left.items() if not targets & left.keys()}:
        for name in free:
            del left[name]
    assert not left, {name: sorted(targets & left.keys()) for name, targets in left.items()}


@pytest.mark.parametrize("kit", sorted(m for m in MODULES if room(m) in KITS and MODULES[m].stem == "__init__"))
def test_no_module_hides_what_its_kit_exports(kit):
    package = importlib.import_module(f"netassay.{kit}")
    modules = {path.stem for path in MODULES[kit].parent.glob("*.py")}
    assert not modules & {*package.__all__}
    assert all(getattr(package, name) is not None for name in package.__all__)


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import netassay", ["torch", "numpy", "polars", "altair", "pydantic", "rich"]),
        (
            "import netassay.study, netassay.config; netassay.study.find('edge').config",
            ["torch", "polars", "altair"],
        ),
        (
            "from netassay.cli import main; main(['--help'])",
            ["torch", "polars", "altair", "scipy", "sklearn", "ray"],
        ),
        (
            "from netassay.cli import main; main(['atlas', 'build', '--help'])",
            ["torch", "numpy", "polars", "altair", "pyfaidx", "pyjaspar", "anndata"],
        ),
        *(
            (
                f"from netassay.cli import main; assert main({[*words, '--store', STORE]}) == 0",
                ["torch", "sklearn", "ray", *([] if words[0] == "report" else ["altair"])],
            )
            for words in (
                ["runs"],
                ["verify"],
                ["show", CAPACITY, "--what", "summary"],
                ["show", CAPACITY, "--what", "tables"],
                ["report", "--out", "PAGE"],
            )
        ),
        (
            "from netassay.cli import main; main(['edge', '--help'])",
            ["torch", "polars", "altair", "scipy", "sklearn"],
        ),
    ],
)
def test_light_things_load_nothing_heavy(code, heavy, tmp_path):
    code = code.replace("PAGE", str(tmp_path / "page.html"))
    script = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_nothing_is_pickled_or_evaluated():
    """But for one call, which reads the weights of others and builds no objects."""
    loads = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle"} & set(names), path
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name == "torch.load" and path == ROOT / "formats" / "weights.py":
                    loads.append({word.arg: ast.unparse(word.value) for word in node.keywords})
                    continue
                assert name not in ("torch.load", "torch.save", "eval", "exec"), f"{path}: {name}"
                assert all(keyword.arg != "allow_pickle" for keyword in node.keywords), path
    assert [words["weights_only"] for words in loads] == ["True"]
