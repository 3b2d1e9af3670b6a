"""Named groups of trainable parameters: the diagonal blocks of the curvature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Literal

from torch import nn
from torch.nn.parameter import is_lazy

from netassay.errors import ModelError

Blocks = Mapping[str, Sequence[str]]
"""Block name -> names of its parameters, as in `named_parameters()`."""


def original(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given, or the module itself."""
    inner = model._modules.get("_orig_mod") if isinstance(model, nn.Module) else None
    return model if inner is None else inner


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter, for those with `requires_grad`; one that is shared is counted once, under its first
    name. Of a compiled model they are those of the module that was compiled.

    Raises ModelError when there are none, or when they differ in dtype or device or are not float32 or
    float64.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"the model is a {type(model).__name__}; give a torch.nn.Module")
    model = original(model)
    for name, module in model.named_modules():
        if any(is_lazy(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())):
            raise ModelError(
                f"module {name!r} is a lazy {type(module).__name__} that has no weights yet; materialise the lazy "
                "module first: call the model once on an input"
            )
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise ModelError(
            f"{type(model).__name__} has no parameter with requires_grad=True; curvature needs "
            "some: "
            "unfreeze at least one with parameter.requires_grad_()"
        )
    kinds = {(str(p.dtype).removeprefix("torch."), str(p.device)) for p in parameters.values()}
    if len(kinds) > 1 or next(iter(kinds))[0] not in ("float32", "float64"):
        mixture = ", ".join(f"{dtype} on {device}" for dtype, device in sorted(kinds))
        raise ModelError(
            f"the trainable parameters are {mixture}; curvature needs all of them in float32 or all in "
            "float64, "
            "on one device: convert with model.float(), model.double() or model.to(device)"
        )
    return parameters


def layer_blocks(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """One block for each module that owns trainable parameters directly, weight and bias joined.

    Args:
        model: Any module. A shared parameter belongs to the first module that holds it; a module whose own parameters
            are all frozen has no block.

    Returns:
        Block name -> parameter names. Block names are those of `named_modules()`, "" for the root.

    Example:
        >>> import torch
        >>> from netassay.curvature import layer_blocks
        >>> layer_blocks(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)))
        {'0': ('0.weight', '0.bias'), '1': ('1.weight', '1.bias')}
    """
    blocks: dict[str, tuple[str, ...]] = {}
    for name in trainable_parameters(model):
        owner = name.rpartition(".")[0]
        blocks[owner] = (*blocks.get(owner, ()), name)
    return blocks


def resolve_blocks(model: nn.Module, blocks: Literal["layer"] | Blocks | None) -> dict[str, tuple[str, ...]]:
    """The requested blocks, checked against the model: None gives none, "layer" gives `layer_blocks`.

    Raises ModelError for a block that is empty, names a parameter twice, or names one that is unknown or
    frozen.
    """
    if blocks is None:
        return {}
    if isinstance(blocks, str):
        if blocks != "layer":
            raise ModelError(f'blocks={blocks!r}: allowed are None, "layer" or a mapping of block name to parameters')
        return layer_blocks(model)
    if not isinstance(blocks, Mapping):
        raise ModelError(
            f'blocks is a {type(blocks).__name__}: allowed are None, "layer" or a mapping of block name to parameters'
        )
    return {str(name): _checked(model, str(name), members) for name, members in blocks.items()}


def _checked(model: nn.Module, block: str, members: Sequence[str]) -> tuple[str, ...]:
    if isinstance(members, str):
        raise ModelError(f"block {block!r} is the string {members!r}; give a list of parameter names: [{members!r}]")
    trainable, model = trainable_parameters(model), original(model)
    members = [str(name).removeprefix("_orig_mod.") for name in members]
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if not members:
        raise ModelError(f"block {block!r} is empty; give at least one of {', '.join(trainable)}")
    for name in members:
        if name not in parameters:
            close = get_close_matches(str(name), parameters, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(trainable)}"
            raise ModelError(f"block {block!r} names the parameter {name!r}, which the model does not have; {hint}")
        if name not in trainable:
            first = next((key for key, p in trainable.items() if p is parameters[name]), None)
            cure = f"shared with {first!r}; use that name" if first else "frozen; unfreeze it or leave it out"
            raise ModelError(f"block {block!r} names the parameter {name!r}, which is {cure}")
    if len(set(members)) < len(members):
        twice = next(name for name in members if list(members).count(name) > 1)
        raise ModelError(f"block {block!r} names the parameter {twice!r} twice; name it once")
    return tuple(members)
