# made by `make docs` from the contents in __init__.py; change them there
from netassay.dna.network.evaluate import rank_scores as rank_scores
from netassay.dna.network.evaluate import scores as scores
from netassay.dna.network.layers import Layer as Layer
from netassay.dna.network.layers import find_layer as find_layer
from netassay.dna.network.loading import network_of_files as network_of_files
from netassay.dna.network.network import Network as Network
from netassay.dna.network.network import contrast as contrast
from netassay.dna.network.network import less_mean as less_mean
from netassay.dna.network.network import pearson_loss as pearson_loss
from netassay.dna.network.network import pearson_rows as pearson_rows
from netassay.dna.network.network import predict as predict
from netassay.dna.network.network import readout as readout
from netassay.dna.network.reduced import reduced_network as reduced_network

__all__ = [
    "Layer",
    "Network",
    "contrast",
    "find_layer",
    "less_mean",
    "network_of_files",
    "pearson_loss",
    "pearson_rows",
    "predict",
    "rank_scores",
    "readout",
    "reduced_network",
    "scores",
]
