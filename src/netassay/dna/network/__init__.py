"""A network that reads DNA, ready to use.

network: a module, how to run it, the names of its outputs, and which number of them is explained; losses, and what each
leaves free. forms: modules and sequences of other forms, AI-TAC fast and as plain modules. loading: networks from
files. evaluate, classes: how far predictions are from the heights. layers, activation: the convolutions of any module,
the bases that each sees, where they are read. reduced: the same network with fewer filters.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "Network": "netassay.dna.network.network",
        "network_of_files": "netassay.dna.network.loading",
        "predict": "netassay.dna.network.network",
        "pearson_loss": "netassay.dna.network.network",
        "pearson_rows": "netassay.dna.network.network",
        "scores": "netassay.dna.network.evaluate",
        "rank_scores": "netassay.dna.network.evaluate",
        "find_layer": "netassay.dna.network.layers",
        "Layer": "netassay.dna.network.layers",
        "readout": "netassay.dna.network.network",
        "contrast": "netassay.dna.network.network",
        "less_mean": "netassay.dna.network.network",
        "reduced_network": "netassay.dna.network.reduced",
    },
)
