"""What evaluating a model may change and must leave as it was: generators, buffers, switches of backends."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from netassay.curvature.forward import Batches, Loss

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
