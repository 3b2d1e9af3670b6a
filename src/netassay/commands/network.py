"""The network of a command: that of a finished run, or one of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from netassay.dna.network.choices import Layout
from netassay.errors import ConfigError, did_you_mean
from netassay.runs import Run, find_run

if TYPE_CHECKING:
    from netassay.dna.network.network import Network


class NetworkArguments(TypedDict, total=False):
    """A network of your own, in place of a run.

    Args:
        module: FILE.py:NAME, a function without arguments that returns a module (or netassay.Network); the file is
            imported. Without it, but with `weights`: AI-TAC as its authors saved it.
        weights: Its weights: safetensors, or a state dict saved by PyTorch; by default those that the function returns.
        atlas: The atlas that gives the length of its sequences and the names of its outputs.
        readout: Which of several outputs of the module is used: a number from 0, or a name.
        layout: Whether the module takes (n, 4, length) or (n, length, 4).
        strands: both: outputs are the mean over each sequence and its reverse complement.
    """

    module: str
    weights: str | Path
    atlas: str | Path
    readout: str
    layout: Layout
    strands: Literal["one", "both"]


NETWORK_DEFAULTS: NetworkArguments = {
    "module": "",
    "weights": "",
    "atlas": "",
    "readout": "",
    "layout": "channels_first",
    "strands": "one",
}


def network_of(run: Run | Network | str, store: Path | str, **own: Unpack[NetworkArguments]) -> Run | Network:
    """The run, or the network that the arguments describe."""
    for name in own:
        if name not in NETWORK_DEFAULTS:
            raise ConfigError(f"argument {name!r} is not known; {did_you_mean(name, NETWORK_DEFAULTS)}")
    arguments: dict[str, Any] = {**NETWORK_DEFAULTS, **own}
    if bool(arguments["module"] or arguments["weights"]) == bool(run):
        raise ConfigError("give RUN, or a network of your own: --module FILE.py:NAME, --weights FILE and --atlas A")
    if run:
        return find_run(run, store) if isinstance(run, str | Path) else run
    if not arguments["atlas"]:
        raise ConfigError("give --atlas A, for the length of the sequences and the names of the outputs")
    from netassay.dna.atlas.named import find_atlas
    from netassay.dna.network.loading import network_of_files

    atlas = find_atlas(arguments["atlas"])
    return network_of_files(
        arguments["module"],
        str(arguments["weights"]),
        length=atlas.length,
        names=atlas.cell_types,
        readout=arguments["readout"],
        layout=None if arguments["layout"] == "channels_first" else arguments["layout"],
        both_strands=arguments["strands"] == "both" or None,
    )
