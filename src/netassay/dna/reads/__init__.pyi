# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna.reads.counting import Counts as Counts
from netassay.dna.reads.counting import count_fragments as count_fragments
from netassay.dna.reads.groups import Groups as Groups
from netassay.dna.reads.groups import read_groups as read_groups
from netassay.dna.reads.profiles import Profiles as Profiles
from netassay.dna.reads.regions import RegionSet as RegionSet
from netassay.dna.reads.scaling import scale_factors as scale_factors

__all__ = [
    "Counts",
    "Groups",
    "Profiles",
    "RegionSet",
    "count_fragments",
    "read_groups",
    "scale_factors",
]
