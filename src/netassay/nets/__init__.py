"""Plain modules for any study: mlp, decoder, sequence_cnn, and their parts."""

from netassay.contents import contents

# public name -> module that holds it; imported on first use, so that reading a config loads no torch
__getattr__, __dir__, __all__ = contents(
    __name__,
    {
        "AITAC": "netassay.nets.sequence_cnn",
        "AveragingNetwork": "netassay.nets.decoder",
        "Decoder": "netassay.nets.decoder",
        "ExperimentDecoder": "netassay.nets.decoder",
        "MLP": "netassay.nets.mlp",
    },
)
