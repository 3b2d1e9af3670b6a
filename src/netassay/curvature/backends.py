"""The parts of torch that must compute plainly where a pass is differentiated twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


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
