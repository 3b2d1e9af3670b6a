# made by `make docs` from the contents in __init__.py; change them there
from netassay.nets.decoder import AveragingNetwork as AveragingNetwork
from netassay.nets.decoder import Decoder as Decoder
from netassay.nets.decoder import ExperimentDecoder as ExperimentDecoder
from netassay.nets.mlp import MLP as MLP
from netassay.nets.sequence_cnn import AITAC as AITAC

__all__ = [
    "AITAC",
    "MLP",
    "AveragingNetwork",
    "Decoder",
    "ExperimentDecoder",
]
