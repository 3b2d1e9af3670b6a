"""A network from files: the module that a Python file makes, or AI-TAC, and the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netassay.dna.network.network import Network
from netassay.errors import ConfigError, DataError, ModelError, NetassayError
from netassay.formats.weights import read_weights
from netassay.nets.module_file import FORM, load_weights, module_of
from netassay.nets.sequence_cnn import AITAC, pooled_lengths


def network_of_files(
    module: str, weights: str, *, length: int, names: tuple[str, ...], readout: str = "", **how: Any
) -> Network:
    r"""The network that a Python file makes, or AI-TAC, with the tensors of a weights file.

    Args:
        module: "FILE.py:make", a function that returns a module or a `Network`; the file is imported. "": AI-TAC, by
            the names of its authors or by ours, its sizes read from the shapes of the weights.
        weights: File of weights; "": the module's own.
        length: Bases of the sequences.
        names: Names of the outputs.
        readout: Number or name of the output to use.
        how: Other arguments of `Network.of`.

    Returns:
        The network.

    Raises:
        ConfigError: For a file or function that does not exist.
        DataError: For weights that cannot be read.
        ModelError: For weights that do not fit, and other numbers of outputs than `names`.

    Source:
        Maslova et al. (2020) for AI-TAC.

    Example:
        >>> from pathlib import Path
        >>> from netassay.dna.network import network_of_files
        >>> _ = Path("net.py").write_text(
        ...     "import torch\n"
        ...     "def make():\n"
        ...     "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 2))\n"
        ... )
        >>> network_of_files("net.py:make", "", length=10, names=("B", "T")).names
        ('B', 'T')
    """
    if not module and not weights:
        raise ConfigError("neither a module nor weights are given; give --module FILE.py:make, --weights FILE, or both")
    state = read_weights(weights) if weights else {}
    if module:
        model = made_by(module)
        network = model if isinstance(model, Network) else Network(model)
        if weights:
            load_weights(network.model, state, Path(weights))
    else:
        network = Network(aitac_of(state, length, where=weights))
    number = readout.lstrip("-").isdigit()
    selector: Any = None if not readout else int(readout) if number else readout
    network = Network.of(network, length=length, names=names, readout=selector, **how)
    _check_outputs(network, length, len(names))
    return network


def made_by(spec: str) -> nn.Module | Network:
    """The result of the function that `spec` ("FILE.py:make") names. The file is imported: its code runs."""
    return module_of(spec, (nn.Module, Network), or_else=" or netassay.Network")


def aitac_of(state: Mapping[str, Tensor], length: int, *, where: str = "the weights") -> AITAC:
    """AI-TAC with these tensors, by its authors' names or by ours, its sizes read from their shapes.

    Raises ModelError for tensors of another network, or of one for sequences of another length.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    published = "layer1_conv.0.weight" in state
    names = (
        ("layer1_conv.0.weight", "layer2.0.weight", "layer4.0.weight", "layer6.0.weight")
        if published
        else ("convolution1.weight", "convolution2.weight", "hidden1.weight", "output.weight")
    )
    if missing := [name for name in names if name not in state]:
        raise ModelError(
            f"{where}: no tensor {missing[0]!r}, so these are not the weights of AI-TAC; its file holds "
            f"{', '.join(list(state)[:5])} …; name the module that they belong to: --module {FORM}"
        )
    first, second, hidden, output = (state[name] for name in names)
    channels, places = second.shape[0], hidden.shape[1] // max(1, second.shape[0])
    if pooled_lengths(length)[-1] != places:
        raise ModelError(
            f"{where}: these weights take {places} positions after the last pooling, and sequences of {length} bases "
            f"leave {pooled_lengths(length)[-1]}; give an atlas of the length that they were trained on (251 as "
            "published)"
        )
    model = AITAC(
        output.shape[0],
        length=length,
        n_filters=first.shape[0],
        n_channels=channels,
        n_hidden=hidden.shape[0],
        generator=torch.Generator().manual_seed(0),
    )
    if published:
        model.load_published(state)
    else:
        load_weights(model, state, Path(where))
    return model.eval()


def _check_outputs(network: Network, length: int, n_outputs: int) -> None:
    with network.asked():
        try:
            outputs = network.forward()(torch.zeros(2, length, dtype=torch.uint8, device=network.device)).shape[1]
        except NetassayError:
            raise
        except Exception as error:  # of code that is not ours
            raise ModelError(
                f"{type(network.model).__name__} does not take sequences of {length} bases as (n, 4, {length}) "
                f"({type(error).__name__}: {str(error)[:200]}); give an atlas of its length, or layout channels_last"
            ) from error
    if outputs != n_outputs:
        raise DataError(
            f"{type(network.model).__name__} gives {outputs} outputs, and the atlas has {n_outputs} cell types; give "
            "an atlas with a column for each output, in their order"
        )
