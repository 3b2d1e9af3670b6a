"""The model that is measured: its trainable parameters in named blocks, and what evaluating it must leave as it was.

Blocks are the diagonal blocks of the curvature. An evaluation may change generators, buffers and switches of backends.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy

from netassay.curvature.forward import Batches, Loss
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
            f"{type(model).__name__} has no parameter with requires_grad=True; curvature needs some: unfreeze at least "
            "one with parameter.requires_grad_()"
        )
    kinds = {(str(p.dtype).removeprefix("torch."), str(p.device)) for p in parameters.values()}
    if len(kinds) > 1 or next(iter(kinds))[0] not in ("float32", "float64"):
        mixture = ", ".join(f"{dtype} on {device}" for dtype, device in sorted(kinds))
        raise ModelError(
            f"the trainable parameters are {mixture}; curvature needs all of them in float32 or all in float64, on one "
            "device: convert with model.float(), model.double() or model.to(device)"
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


PYTHON: random.Random = random.random.__self__  # type: ignore[attr-defined]
_NUMPY: np.random.RandomState = np.random.get_state.__self__  # type: ignore[attr-defined]

Generator = torch.Generator | random.Random | np.random.Generator | np.random.RandomState


def shared_generators(batches: Batches) -> list[Generator]:
    """The global ones of Python and NumPy, and those of a loader of the batches."""
    samplers = [getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)]
    samplers.append(getattr(samplers[1], "sampler", None))
    own = [getattr(part, "generator", None) for part in (batches, *samplers)]
    return [PYTHON, _NUMPY, *{id(item): item for item in own if isinstance(item, Generator)}.values()]


def own_generators(model: nn.Module, loss: Loss) -> list[Generator]:
    """Generators that the model's modules or the loss hold as attributes, keywords or in a closure, and the global ones
    that their code names.
    """
    objects: list[Any] = []
    for part in (*model.modules(), loss, getattr(loss, "func", None)):
        objects += getattr(part, "__dict__", {}).values()
        objects += getattr(part, "keywords", {}).values()
        objects += [cell.cell_contents for cell in getattr(part, "__closure__", None) or () if _filled(cell)]
        objects += getattr(part, "__defaults__", None) or ()
    for function in {getattr(part, "forward", part) for part in (*model.modules(), loss)}:
        code = getattr(function, "__code__", None)
        namespace = getattr(function, "__globals__", {})
        objects += [namespace[name] for name in getattr(code, "co_names", ()) if name in namespace]
    generators = {id(item): item for item in objects if isinstance(item, Generator)}
    return [*generators.values()]


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def random_state(model: nn.Module, own: list[Generator]) -> list[Any]:
    """States of torch's own generators together, then of each of `own`."""
    devices = [torch.cuda.get_rng_state(d) for d in cuda_devices(model)]
    torches = _frozen((torch.get_rng_state(), *devices))
    return [torches, *(_frozen(state_of(generator)) for generator in own)]


def draw(generator: Generator) -> None:
    if isinstance(generator, torch.Generator):
        torch.rand((), generator=generator, device=generator.device)
    elif isinstance(generator, np.random.RandomState):
        generator.random_sample()
    else:
        generator.random()


def state_of(generator: Generator) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.get_state()


def put_back(generator: Generator, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


def _frozen(state: Any) -> Any:
    """A state as values that can be compared."""
    if isinstance(state, Tensor):
        return state.cpu().numpy().tobytes()
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, Mapping):
        return {key: _frozen(part) for key, part in state.items()}
    # the parts of long tuples, such as that of Python's generator, are numbers
    if isinstance(state, tuple) and len(state) < 10:
        return tuple(map(_frozen, state))
    return state


@contextmanager
def states_kept(generators: list[Generator]) -> Iterator[None]:
    states = [state_of(generator) for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            put_back(generator, state)


def cuda_devices(model: nn.Module) -> list[int]:
    return sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})


def copy_of(model: nn.Module) -> nn.Module:
    """A copy that shares nothing with the model, and whose trainable weights may be written to.

    A tensor that a module computed in its last forward pass and keeps as an attribute, as `torch.nn.utils.weight_norm`
    keeps the weight, has a graph, which `copy.deepcopy` refuses: only its value is copied.
    """
    computed = [t for m in model.modules() for t in vars(m).values() if isinstance(t, Tensor) and not t.is_leaf]
    return copy.deepcopy(model, {id(t): t.detach().clone() for t in computed})


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Replaces the buffers by copies meanwhile.

    Writing the old values back instead would invalidate the graph that was built on the buffers.
    """
    buffers = [(m, name, b) for m in model.modules() for name, b in m._buffers.items() if b is not None]
    copies = {id(b): b.clone() for _, _, b in buffers}
    for module, name, buffer in buffers:
        module._buffers[name] = copies[id(buffer)]
    try:
        yield
    finally:
        for module, name, buffer in buffers:
            module._buffers[name] = buffer


@contextmanager
def recurrence_step_by_step(model: nn.Module) -> Iterator[None]:
    """Runs LSTM, GRU and other recurrent layers of torch step by step, as they are defined.

    Those of cuDNN and oneDNN have no second derivative. Convolutions lose their fast ones meanwhile, so this applies
    only to models with a recurrent layer.
    """
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        yield
        return
    one_dnn = torch._C._get_mkldnn_enabled()
    with torch.backends.cudnn.flags(enabled=False):
        # the context manager of torch.backends.mkldnn warns about flags that are not changed here
        torch._C._set_mkldnn_enabled(False)
        try:
            yield
        finally:
            torch._C._set_mkldnn_enabled(one_dnn)


@contextmanager
def plain_backends() -> Iterator[None]:
    """Attention by its math backend, no fast path of `torch.nn.TransformerEncoder`, compiled code run
    uncompiled; every flag is restored.

    The fused backends of `scaled_dot_product_attention` have no second derivative, the math backend has one and
    agrees with them up to rounding. Code compiled ahead of time cannot be differentiated twice either.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        # nothing is compiled if the compiler was never loaded, and loading it takes seconds
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
