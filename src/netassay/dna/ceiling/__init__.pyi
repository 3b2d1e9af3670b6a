# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna.ceiling.areas import area_floor as area_floor
from netassay.dna.ceiling.areas import area_intervals as area_intervals
from netassay.dna.ceiling.bootstrap import blocks_of as blocks_of
from netassay.dna.ceiling.bootstrap import mean_interval as mean_interval
from netassay.dna.ceiling.limit import Ceiling as Ceiling
from netassay.dna.ceiling.limit import ceiling_of as ceiling_of
from netassay.dna.ceiling.verdict import Verdict as Verdict
from netassay.dna.ceiling.verdict import beyond_means as beyond_means
from netassay.dna.ceiling.verdict import verdict_of as verdict_of

__all__ = [
    "Ceiling",
    "Verdict",
    "area_floor",
    "area_intervals",
    "beyond_means",
    "blocks_of",
    "ceiling_of",
    "mean_interval",
    "verdict_of",
]
