"""The meaning of outputs under losses that do not see an offset of each peak's row; nothing heavy is loaded here."""

FREE = ("pearson", "cross_entropy")
"""Losses that stay the same when all outputs of a peak rise together: correlation across cell types, softmax."""

LESS_MEAN = "outputs less their mean over the cell types of the peak"
"""How outputs are reported under these losses, in words."""


AS_THEY_ARE = "outputs as the network gives them"


def outputs_in_words(less_mean: bool) -> str:
    """How outputs are reported, in words."""
    return LESS_MEAN if less_mean else AS_THEY_ARE


def offset_is_free(loss: str) -> bool:
    """Whether a network trained by this loss may add any number to a peak's row of outputs."""
    return loss in FREE


def loss_of(module: str, loss: str) -> str:
    """The loss of a user's network; where it is not given, that of AI-TAC (no module) is a correlation."""
    return loss or ("mse" if module else "pearson")
