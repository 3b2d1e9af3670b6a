"""A network that reads DNA, ready to be asked.

network: a module, how it is asked and what its outputs are called. forms, loading: modules of other forms, and out of
files. predicting, folded, words: predictions, and the fast ways that AI-TAC allows. losses, evaluate, offsets: how far
they are from the heights, and what a loss leaves free. layers, activation, fields, reach: the convolutions of any
module, where they are read, the bases that each sees, what a change of one base reaches. readouts: which number of the
outputs is explained. plain, reduced: the same network out of PyTorch's own modules, or with fewer filters. sequences:
codes of bases or one-hot floats, whichever a caller has.
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
