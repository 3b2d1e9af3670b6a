"""Regulatory DNA and networks that read it: eight rooms of functions for any module and any atlas.

reads: fragments counted over regions. atlas: open regions, their sequences and heights; read, built, simulated,
split, saved. ceiling: how good a model could be, and what a score is worth. network: a network ready to use, its layers
and receptive fields. motifs: what filters look for. influence: what a network loses without a factor or a pair of them.
attributions: what each base contributes. agreement: whether an experiment or another species agrees.
"""

from netassay.contents import contents

__getattr__, __dir__, __all__ = contents(
    __name__,
    {},
    rooms=("reads", "atlas", "ceiling", "network", "motifs", "influence", "attributions", "agreement"),
)
