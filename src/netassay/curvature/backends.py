"""The parts of torch that must compute plainly where a pass is differentiated twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def recurrence_step_by_step(model: nn.Module) -> Iterator[None]:
    """LSTM, GRU and other recurrent layers of torch by the steps that they are defined by.

    Those of cuDNN and oneDNN have no second derivative. Convolutions lose theirs meanwhile, so this is for models with
    a recurrent layer alone.
    """
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        yield
        return
    one_dnn = torch._C._get_mkldnn_enabled()
    with torch.backends.cudnn.flags(enabled=False):
        # the context of torch.backends.mkldnn warns of flags that are not touched here
        torch._C._set_mkldnn_enabled(False)
        try:
            yield
        finally:
            torch._C._set_mkldnn_enabled(one_dnn)


@contextmanager
def plain_backends() -> Iterator[None]:
    """Attention by its math backend, no fast path of `torch.nn.TransformerEncoder`, compiled code as it was
    written; every flag is put back.

    The fused backends of `scaled_dot_product_attention` have no second derivative, the math backend has and
    agrees with it to rounding. Code compiled ahead of time cannot be differentiated twice either.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        # nothing is compiled where the compiler was never loaded, and loading it takes seconds
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
