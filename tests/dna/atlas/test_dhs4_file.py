"""The sites that come with the package."""

import subprocess
import sys

from netassay.dna.atlas.dhs4 import CELL_TYPES, SOURCE, read_sites


def test_each_site_is_open_in_one_cell_type():
    sites = read_sites()
    assert (sites.table.select(*CELL_TYPES).to_numpy().sum(axis=1) == 1).all()
    assert sites.source == SOURCE


def test_no_other_package_is_read():
    code = (
        "import sys; sys.modules['dnadiffusion'] = None; sys.modules['pyjaspar'] = None;"
        "from netassay import find_atlas, read_database;"
        "print(len(find_atlas('dhs4').peaks), len(read_database('jaspar-vertebrates').names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["47872", "879"]
