"""Reads to numbers: fragments of an accessibility assay counted over regions, by group of cells.

counting: fragments over regions. groups, barcodes: which cell is of which group. segments, tally: one pass in memory
that does not grow with fragments. profiles: insertions at every base. scaling: depths of groups made comparable.
regions: consensus of peak sets, blacklist, background. choices: what may be chosen, in words.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "count_fragments": "netassay.dna.reads.counting",
        "Counts": "netassay.dna.reads.counting",
        "read_groups": "netassay.dna.reads.groups",
        "Groups": "netassay.dna.reads.groups",
        "Profiles": "netassay.dna.reads.profiles",
        "scale_factors": "netassay.dna.reads.scaling",
        "RegionSet": "netassay.dna.reads.regions",
    },
)
