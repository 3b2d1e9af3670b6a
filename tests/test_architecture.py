"""Imports go down only, and the light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import netassay

ROOT = Path(netassay.__file__).parent

# lower may never import higher; modules on one level may import each other only within their own folder
LEVELS = [
    {"errors"},
    {"config", "numerics", "nets", "formats", "reporting"},
    {"training", "runs"},
    {"study"},
    {"studies"},
    {"performing", "presenting"},
    {"sweeps", "interpreting"},
    {"cli"},
    {"__main__"},
]
# a net may use the mathematics (its generator), never the other way round; a run's checkpoint is training's
SIDEWAYS = {("nets", "numerics"), ("runs", "training")}


def level(room):
    return next(i for i, rooms in enumerate(LEVELS) if room in rooms)


def arrows():
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT).with_suffix("").parts
        if inside[0] == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module, *[f"{node.module}.{alias.name}" for alias in node.names]]
            for name in names:
                parts = name.split(".")
                if parts[0] == "netassay" and len(parts) > 1 and any(parts[1] in rooms for rooms in LEVELS):
                    yield inside, tuple(parts[1:])


def test_every_room_has_a_level():
    rooms = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")}
    assert rooms - {"__init__"} <= set().union(*LEVELS)


def test_imports_go_down_only():
    found = list(arrows())
    assert len(found) > 50
    for source, target in found:
        a, b = source[0], target[0]
        if a == b:
            continue
        assert level(b) < level(a) or (a, b) in SIDEWAYS, f"{'.'.join(source)} imports {'.'.join(target)}"


def test_studies_never_import_each_other():
    for source, target in arrows():
        if source[0] == target[0] == "studies" and len(source) > 2 and len(target) > 1:
            assert source[1] == target[1], f"{'.'.join(source)} imports {'.'.join(target)}"


def test_no_import_in_circles():
    graph = {}
    for source, target in arrows():
        graph.setdefault(source[0], set()).add(target[0])
    for a, targets in graph.items():
        for b in targets - {a}:
            assert a not in graph.get(b, set()), f"{a} and {b} import each other"


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
        (
            "from netassay.cli import main; main(['edge', '--help'])",
            ["torch", "polars", "altair", "scipy", "sklearn"],
        ),
    ],
)
def test_light_things_load_nothing_heavy(code, heavy):
    script = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_nothing_is_pickled_or_evaluated():
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle"} & set(names), path
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("torch.load", "torch.save", "eval", "exec"), f"{path}: {name}"
                assert all(keyword.arg != "allow_pickle" for keyword in node.keywords), path
