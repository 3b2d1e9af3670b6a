"""A next-token predictor in float64 as a function of its parameters: from contexts to the logits after each."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call

from netassay.corpus.context import Contexts
from netassay.curvature.model import trainable_parameters
from netassay.errors import DataError, ModelError

CAUSAL = 1e-9
"""Share of the largest logit by which later tokens, or a second pass, may change a logit in float64."""

Prefixes = list[tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Predictor:
    """A copy of a model in evaluation mode, and the contexts at whose ends its logits are taken.

    `model` is float64, or in its own arithmetic if its forward does not run in float64: `refusal` then says why.
    Contexts of one length are read together, so that none is padded.
    """

    model: nn.Module
    contexts: Prefixes
    refusal: str = ""

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Name -> trainable parameter, detached; a shared one has one name."""
        return {name: p.detach() for name, p in trainable_parameters(self.model).items()}

    def logits(self, parameters: Mapping[str, Tensor] | None = None) -> Float64[Tensor, "n zeta"]:
        """Logits after each context less their mean over the vocabulary, which no softmax sees."""
        alike = groups(self.contexts)
        ends = [self._ends([self.contexts[i] for i in places], parameters) for places in alike]
        sizes = {len(end[0]) for end in ends}
        if len(sizes) > 1:
            raise ModelError(
                f"the model returned {' and '.join(map(str, sorted(sizes)))} logits for contexts of different "
                "lengths; it is to return one for each token of its vocabulary"
            )
        order = torch.tensor([i for places in alike for i in places]).argsort()
        stacked = torch.cat(ends)[order.to(ends[0].device)].double()
        return stacked - stacked.mean(1, keepdim=True)

    def of(self, context: tuple[int, ...]) -> Predictor:
        """The same at one context."""
        return Predictor(self.model, [context], self.refusal)

    def _ends(self, contexts: Prefixes, parameters: Mapping[str, Tensor] | None) -> Float[Tensor, "b zeta"]:
        tokens = tokens_for(self.model, contexts)
        if parameters is None:
            return logits_of(self.model(tokens), tokens)[:, -1]
        return logits_of(functional_call(self.model, dict(parameters), (tokens,)), tokens)[:, -1]


def predictor(model: nn.Module, contexts: Sequence[Sequence[int]] | Contexts) -> Predictor:
    """Copies a model to float64, or keeps its arithmetic if it runs in no other, and reads the contexts once.

    Raises DataError for contexts that are not distinct sequences of token ids, or hold ids or lengths that the model
    does not accept, and ModelError where its forward fails or returns no finite logits.
    """
    ids = prefixes(contexts)
    probe = Predictor(_copied(model).double(), ids)
    trainable_parameters(probe.model)
    cause = _failure(probe.model, ids)
    # some kernels have no float64 form
    if cause is not None and _failure(probe.model, [(0,)]) is not None:
        own = _copied(model)
        if _failure(own, [(0,)]) is None:
            probe = Predictor(own, ids, f"its forward does not run in float64 ({_cause_in_words(cause)})")
            cause = _failure(own, ids)
    if cause is not None:
        _require_accepted(probe.model, ids, cause)
        raise ModelError(f"the model's forward raised {_cause_in_words(cause)}") from cause
    with torch.no_grad():
        if not probe.logits().isfinite().all():
            raise ModelError(
                "the model returned logits that are not finite, whose derivatives say nothing; replace minus infinity "
                "by a large negative number, or leave such tokens out of the vocabulary"
            )
    return probe


def prefixes(contexts: Sequence[Sequence[int]] | Contexts) -> Prefixes:
    """Contexts as tuples of ids; DataError for one that is empty, given twice or holds something that is not an id."""
    if isinstance(contexts, Contexts):
        distributions = contexts.distributions()
        ids = [tuple(distributions.context(i).tolist()) for i in range(len(distributions))]
    else:
        ids = [_ids(i, context) for i, context in enumerate(contexts)]
    for i, context in enumerate(ids):
        if not context:
            raise DataError(f"context {i} is empty; a model reads at least one token")
        if min(context) < 0 or max(context) >= 1 << 63:
            wrong = next(token for token in context if not 0 <= token < 1 << 63)
            raise DataError(f"context {i} holds the token {wrong}; ids are whole numbers from 0 on")
    if not ids or len(set(ids)) < len(ids):
        raise DataError("give at least one context, and none twice: equal contexts have equal logits")
    return ids


def _ids(number: int, context: Any) -> tuple[int, ...]:
    try:
        return tuple(map(operator.index, context))
    except TypeError:
        raise DataError(
            f"context {number} is {context!r}; a context is a sequence of token ids, whole numbers from 0 on"
        ) from None


def tokens_for(model: nn.Module, contexts: Prefixes) -> Tensor:
    """Contexts of one length as the model reads them, (b, T) int64 where its parameters are."""
    return torch.tensor(contexts, device=next(model.parameters()).device)


def logits_of(answer: Any, tokens: Tensor) -> Tensor:
    """Logits (B, t, zeta) in what a forward returned for tokens (B, T): t is T, or 1 for the last position alone.

    The answer is a tensor, an object or mapping with `logits`, or a tuple of which one of these is the first. Logits
    (B, zeta) are those of the last position.
    """
    logits = _find_logits(answer)
    if isinstance(logits, Tensor) and logits.is_floating_point():
        batch, length = tokens.shape
        if logits.ndim == 2 and len(logits) == batch:
            logits = logits[:, None]
        if logits.ndim == 3 and len(logits) == batch and logits.shape[1] in (1, length):
            return logits
    returned = tuple(logits.shape) if isinstance(logits, Tensor) else type(answer).__name__
    raise ModelError(
        f"the model returned {returned} for tokens {tuple(tokens.shape)}; it is to return logits (B, T, zeta) or those "
        "of the last position, (B, 1, zeta) or (B, zeta), alone, first in a tuple, or as .logits of an object"
    )


def _find_logits(answer: Any) -> Any:
    if isinstance(answer, Tensor):
        return answer
    if isinstance(answer, Mapping) and "logits" in answer:
        return answer["logits"]
    if hasattr(answer, "logits"):
        return answer.logits
    if isinstance(answer, tuple | list):
        # a loss or None may come before or after
        parts = [part for part in answer if part is not None and getattr(part, "ndim", 1) != 0]
        return _find_logits(parts[0]) if parts else None
    return answer


def require_causal(probe: Predictor, rounding: float) -> None:
    """Raises ModelError where logits change with later tokens or from one pass to the next.

    `rounding`: the epsilon of the coarsest arithmetic inside. A model that returns its last position alone reads no
    later token.
    """
    room = max(CAUSAL, min(1e3 * rounding, 0.05)) if rounding > torch.finfo(torch.float64).eps else CAUSAL
    longest = tokens_for(probe.model, [max(probe.contexts, key=len)])
    first, again = (logits_of(probe.model(longest), longest) for _ in range(2))
    scale = float(first.abs().max()) or 1.0
    if float((first - again).abs().max()) > room * scale:
        raise ModelError("two passes of the model over the same tokens give different logits; give a deterministic one")
    if longest.shape[1] < 2 or first.shape[1] < longest.shape[1]:
        return
    part = logits_of(probe.model(longest[:, :-1]), longest[:, :-1])
    if float((first[:, :-1] - part).abs().max()) > room * scale:
        raise ModelError(
            "the model's logits change with tokens that come later; give a causal one, whose logits at a position "
            "depend on the tokens up to it"
        )


def _copied(model: nn.Module) -> nn.Module:
    own = copy.deepcopy(model).eval()
    if any(p.device.type == "mps" for p in own.parameters()):
        own = own.cpu()  # Metal has no float64
    for module in own.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            # sparse gradients cannot be stacked, and gradients scaled by the tokens' frequencies are not derivatives
            module.sparse = module.scale_grad_by_freq = False
    return own


def groups(contexts: Prefixes) -> list[list[int]]:
    """Indices of the contexts of each length."""
    by_length: dict[int, list[int]] = {}
    for i, context in enumerate(contexts):
        by_length.setdefault(len(context), []).append(i)
    return list(by_length.values())


def _failure(model: nn.Module, contexts: Prefixes) -> Exception | None:
    """The exception that the forward raises for these contexts."""
    with _RowsChecked(model), torch.no_grad():
        try:
            for places in groups(contexts):
                model(tokens_for(model, [contexts[i] for i in places]))
        except Exception as cause:  # a model is anybody's code
            return cause
    return None


class _RowsChecked:
    """While entered, embeddings refuse ids beyond their rows before a device does, which would then be unusable."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        for module in self._model.modules():
            if isinstance(module, nn.Embedding):
                self._handles.append(module.register_forward_pre_hook(_require_rows))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


def _require_rows(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    if inputs and isinstance(inputs[0], Tensor) and inputs[0].numel():
        largest, rows = int(inputs[0].max()), len(module.get_parameter("weight"))
        if largest >= rows:
            raise IndexError(f"index {largest} is beyond the {rows} rows of an embedding")


def _require_accepted(model: nn.Module, contexts: Prefixes, cause: Exception) -> None:
    """DataError where the failure comes from a context with an id or a length that the model does not accept."""

    def accepts(context: tuple[int, ...]) -> bool:
        return _failure(model, [context]) is None

    if not accepts((0,)):
        return
    for i, context in enumerate(contexts):
        if accepts(context):
            continue
        length = len(context)
        if not accepts((0,) * length):
            limit = _last(lambda size: accepts((0,) * size), 1, length)
            raise DataError(
                f"context {i} has {length:,} tokens; the model takes at most {limit:,} ({_cause_in_words(cause)})"
            ) from None
        for token in dict.fromkeys(context):
            if not accepts((token,)):
                limit = _last(lambda token: accepts((token,)), 0, token)
                raise DataError(
                    f"context {i} holds the token {token}, which is beyond the model's vocabulary of {limit + 1:,} "
                    f"tokens, 0 to {limit:,} ({_cause_in_words(cause)})"
                ) from None


def _last(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The last number from `low` on for which a condition holds that fails for `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _cause_in_words(cause: Exception) -> str:
    first = (str(cause).strip().splitlines() or [""])[0]
    return f"{type(cause).__name__}: {first}" if first else type(cause).__name__
