"""What a module's Python file is made of: found by reading it, and imported anew each time."""

import subprocess
import sys

import pytest

from netassay.dna.network.loading import made_by
from netassay.nets.sources import sources

MAKE = "from torch import nn\nfrom blocks import width\ndef make():\n    return nn.Linear(width, 1)\n"


def files(folder, **texts):
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder / "nets.py"


def test_they_are_those_that_python_imports_from_the_folder(tmp_path):
    """Against what an interpreter of its own has in memory after the import."""
    nets = files(
        tmp_path,
        nets="import json\nimport blocks\nfrom parts.deep import x\n\ndef make():\n    import late\n",
        blocks="from circle import y\n",
        circle="y = 2\nimport blocks\n",
        late="z = 3\n",
        unused="w = 4\n",
        parts__init="",
        parts__deep="from .other import x\n",
        parts__other="x = 1\n",
        parts__unused="",
    )
    (tmp_path / "parts" / "init.py").rename(tmp_path / "parts" / "__init__.py")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import nets; nets.make(); print(*("
        "m.__file__ for m in list(sys.modules.values()) if (getattr(m, '__file__', '') or '').startswith(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    assert {str(path) for path in sources(nets).values()} == set(done.stdout.split())
    assert len(sources(nets)) == 7 and "json" not in sources(nets)


def test_a_file_that_is_no_python_is_all_there_is(tmp_path):
    nets = files(tmp_path, nets="def (\n")
    assert sources(nets) == {"__main__": nets}
    with pytest.raises(FileNotFoundError):
        sources(tmp_path / "gone.py")


def test_a_changed_import_and_one_of_another_folder_are_imported_anew(tmp_path):
    (tmp_path / "other").mkdir()
    nets = files(tmp_path, nets=MAKE, blocks="width = 4\n")
    assert made_by(f"{nets}:make").in_features == 4
    other = files(tmp_path / "other", nets=MAKE, blocks="width = 55\n")
    assert made_by(f"{other}:make").in_features == 55
    files(tmp_path, blocks="width = 666\n")
    assert made_by(f"{nets}:make").in_features == 666


def test_what_python_and_packages_call_so_is_left_alone(tmp_path):
    nets = files(tmp_path, nets="import random, torch\nmake = torch.nn.ReLU()\n", random="", torch="")
    random, torch = sys.modules["random"], sys.modules["torch"]
    made_by(f"{nets}:make")
    assert sys.modules["random"] is random and sys.modules["torch"] is torch
