# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna.atlas.annotated import export_atlas as export_atlas
from netassay.dna.atlas.annotated import read_annotated as read_annotated
from netassay.dna.atlas.atlas import Atlas as Atlas
from netassay.dna.atlas.atlas import Split as Split
from netassay.dna.atlas.building import build_atlas as build_atlas
from netassay.dna.atlas.description import describe_atlas as describe_atlas
from netassay.dna.atlas.drawn_cells import draw_cells as draw_cells
from netassay.dna.atlas.grammar import Grammar as Grammar
from netassay.dna.atlas.heights import normalise as normalise
from netassay.dna.atlas.heights import quantile as quantile
from netassay.dna.atlas.named import find_atlas as find_atlas
from netassay.dna.atlas.new_sequences import regions_of as regions_of
from netassay.dna.atlas.new_sequences import sequences_of as sequences_of
from netassay.dna.atlas.simulate import simulate_atlas as simulate_atlas
from netassay.dna.atlas.simulated_reads import simulate_reads as simulate_reads

__all__ = [
    "Atlas",
    "Grammar",
    "Split",
    "build_atlas",
    "describe_atlas",
    "draw_cells",
    "export_atlas",
    "find_atlas",
    "normalise",
    "quantile",
    "read_annotated",
    "regions_of",
    "sequences_of",
    "simulate_atlas",
    "simulate_reads",
]
