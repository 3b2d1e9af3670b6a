"""Atlases of regulatory DNA: open regions, their sequences, and how open each is in every cell type.

atlas: the data of one, its training, validation and test sets, and nulls: data that lose the link of sequence and
height. folder: how it is saved. named: by name or folder. building, draft, joins, sample, annotated: from files of the
field. coverage, labels: from fragments, single cells, classes. heights: from raw signal to heights. halves: two
measurements of them. simulate, grammar, drawn_cells, simulated_reads: made up, with a known truth. dhs4: a public one.
description: what one holds, in numbers. new_sequences: sequences that are in none. choices: what may be chosen, in
words.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "Atlas": "netassay.dna.atlas.atlas",
        "find_atlas": "netassay.dna.atlas.named",
        "build_atlas": "netassay.dna.atlas.building",
        "simulate_atlas": "netassay.dna.atlas.simulate",
        "draw_cells": "netassay.dna.atlas.drawn_cells",
        "simulate_reads": "netassay.dna.atlas.simulated_reads",
        "describe_atlas": "netassay.dna.atlas.description",
        "export_atlas": "netassay.dna.atlas.annotated",
        "read_annotated": "netassay.dna.atlas.annotated",
        "Split": "netassay.dna.atlas.atlas",
        "Grammar": "netassay.dna.atlas.grammar",
        "normalise": "netassay.dna.atlas.heights",
        "quantile": "netassay.dna.atlas.heights",
        "sequences_of": "netassay.dna.atlas.new_sequences",
        "regions_of": "netassay.dna.atlas.new_sequences",
    },
)
