"""A network that reads DNA, ready to use.

network: a module, how to run it and the names of its outputs. forms, loading: modules of other forms, and from files.
predicting, folded, words: predictions, and the fast algorithms for AI-TAC. losses, evaluate, offsets: how far they are
from the heights, and what a loss leaves free. layers, activation, fields, reach: the convolutions of any module, where
they are read, the bases that each sees, the effects of a change of one base. readouts: which number of the outputs is
explained. plain, reduced: the same network built from PyTorch's own modules, or with fewer filters. sequences: codes of
bases, from codes or one-hot floats.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "Network": "netassay.dna.network.network",
        "network_of_files": "netassay.dna.network.loading",
        "predict": "netassay.dna.network.predicting",
        "pearson_loss": "netassay.dna.network.losses",
        "pearson_rows": "netassay.dna.network.losses",
        "scores": "netassay.dna.network.evaluate",
        "rank_scores": "netassay.dna.network.evaluate",
        "find_layer": "netassay.dna.network.layers",
        "Layer": "netassay.dna.network.layers",
        "readout": "netassay.dna.network.readouts",
        "contrast": "netassay.dna.network.readouts",
        "less_mean": "netassay.dna.network.readouts",
        "reduced_network": "netassay.dna.network.reduced",
    },
)
