"""Modules of PyTorch whose weights are not drawn: a constructor's own draw would be from the global generator."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from torch import nn

Arguments = ParamSpec("Arguments")
Module = TypeVar("Module", bound=nn.Module)


def unset(kind: Callable[Arguments, Module], *args: Arguments.args, **options: Arguments.kwargs) -> Module:
    """`kind(*args, **options)` with memory for its weights and nothing written to it.

    `torch.nn.utils.skip_init` does the same by way of the meta device, the first use of which imports SymPy, and for an
    embedding the compiler: 0.7 and 3 seconds of every process.

    Args:
        kind: a module of PyTorch that draws its weights in `reset_parameters`, such as `nn.Linear`.

    Examples:
        >>> layer = unset(nn.Linear, 3, 2)
        >>> type(layer).__name__, tuple(layer.weight.shape)
        ('Linear', (2, 3))
    """
    blank = type("Blank", (kind,), {"reset_parameters": lambda module: None})  # type: ignore[arg-type]
    module: Module = blank(*args, **options)
    module.__class__ = kind  # type: ignore[assignment]
    return module
