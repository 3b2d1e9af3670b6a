"""Parts of torch that must use their plain implementations where a pass is differentiated twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


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
