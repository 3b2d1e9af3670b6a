"""Memorising without training: the proof of Theorem 21 of Madden, Fox, Thrampoulidis (2024) as an algorithm."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from netassay import processes
from netassay.capacity.goal import Fit, Goal, features_at, goal_of_contexts, goal_of_corpus, measure
from netassay.capacity.output_layer import Convex, Solved, fit, ladder, solve
from netassay.capacity.theorems import trainable_count
from netassay.corpus.context import Contexts
from netassay.errors import ConfigError
from netassay.nets.decoder import AveragingNetwork, Decoder
from netassay.numerics.devices import generator

Architecture = Literal["averaging", "decoder"]
Method = Literal["solve", "ladder", "fit"]
Analytic = Literal["tanh", "gelu", "silu", "sigmoid", "softplus"]
"""Activations that are real analytic but not polynomial, as Theorems 20-23 require; ReLU is not."""

HEADS = 4
SMOOTHING = 1e-8
STEEPNESS = 4.0
"""Standard deviation of the input of the hidden neurons: steep enough to separate nearby contexts."""


@dataclass(frozen=True, eq=False)
class Construction:
    """A model constructed to give required next-token distributions, and how close it comes.

    Attributes:
        model: The model, weights in float64.
        architecture: "averaging" or "decoder".
        method: "solve", "ladder" or "fit".
        contexts: n, the number of contexts.
        vocabulary: zeta, the number of tokens.
        width: Hidden neurons.
        parameters: Trainable parameters.
        bound: Entropy of the required distributions in nats.
        float64: Loss, gap and deviation, measured by the model's own forward pass in float64.
        float32: The same in float32.
        smoothing: Weight of the uniform distribution that was mixed in, so that the required distributions lie inside
            the simplex.
        smoothing_gap: Cost of the smoothing alone, in nats.
        rank: By a solve: rank of the hidden features of the contexts.
        condition: By a solve: their condition number.
        residual: By a solve: the largest residual of a logit.
        spacing: By a ladder: distance of the two nearest contexts over the range of all.
        lower: By a fit: lower bound on the loss of any output layer of up to `certified_norm` times its norm.
        certified_norm: By a fit: see `lower`.
        steps: By a fit: steps taken.
        token_ids: (zeta,) the corpus's ids of the model's tokens 0..zeta - 1.
        words: (zeta,) the words of the tokens, if the corpus was read from text.
        skipped: Documents that reading left out, by reason.

    Source:
        Madden, Fox, Thrampoulidis (2024), proofs of Theorems 21 and 23.

    Example:
        >>> import netassay
        >>> result = netassay.construct(netassay.contexts([[0, 1, 2], [0, 2, 1]]))
        >>> isinstance(result, netassay.Construction), result.contexts
        (True, 3)
    """

    model: AveragingNetwork | Decoder
    architecture: Architecture
    method: Method
    contexts: int
    vocabulary: int
    width: int
    parameters: int
    bound: float
    float64: Fit
    float32: Fit
    smoothing: float
    smoothing_gap: float
    rank: int | None = None
    condition: float | None = None
    residual: float | None = None
    spacing: float | None = None
    lower: float | None = None
    certified_norm: float | None = None
    steps: int | None = None
    token_ids: Int64[np.ndarray, " zeta"] = field(repr=False, default_factory=lambda: np.empty(0, np.int64))
    words: tuple[str, ...] | None = field(repr=False, default=None)
    skipped: Mapping[str, int] = field(repr=False, default_factory=dict)


def construct(
    contexts: Contexts,
    *,
    width: int | None = None,
    architecture: Architecture = "averaging",
    method: Method = "solve",
    embedding: int = 64,
    activation: Analytic | None = None,
    smoothing: float = SMOOTHING,
    seed: int = 0,
) -> Construction:
    """A model that memorises the corpus of these contexts without training, up to a stated gap to the entropy bound.

    `netassay.construct` does the same for a corpus in files.

    Args:
        contexts: Contexts of the corpus.
        width: Hidden neurons (n contexts or more, except with "fit"); by default 10% more with "solve", n with
            "ladder".
        architecture: "averaging" (Theorem 23) or "decoder" (Theorem 21).
        method: "solve": a linear system for the logits, exact up to `smoothing`. "ladder": steep sigmoids between
            neighbours on a line, no solve. "fit": the best output layer for these random features at any width, by a
            convex fit with a lower bound.
        embedding: Size of a token's vector (1 or more).
        activation: Activation of the hidden neurons; by default tanh, for a ladder sigmoid.
        smoothing: Weight of the uniform distribution (above 0, below 1).
        seed: Seed of the random embedding, attention and neurons.

    Returns:
        The model and how close it comes.

    Raises:
        ConfigError: For a width below n (the message says which n is reachable) and too little memory.
        DataError: For a corpus without a context.

    Source:
        Madden, Fox, Thrampoulidis (2024), proofs of Theorems 21 and 23.

    Example:
        >>> import netassay
        >>> netassay.capacity.construct(netassay.contexts([[0, 1, 2], [0, 2, 1]]), method="ladder").width
        3
    """
    _require_memory(contexts.n, contexts.vocabulary, width or contexts.n)
    goal, token_ids = goal_of_corpus(contexts)
    options = _options(goal, width, architecture, method, embedding, activation, smoothing)
    construction = _construct(goal, token_ids, options, seed)
    return replace(construction, words=contexts.corpus.words(token_ids.tolist()))


def realise(
    contexts: Sequence[Sequence[int]],
    probabilities: Float64[np.ndarray, "n zeta"],
    *,
    width: int | None = None,
    architecture: Architecture = "averaging",
    method: Method = "solve",
    embedding: int = 64,
    activation: Analytic | None = None,
    smoothing: float = SMOOTHING,
    seed: int = 0,
) -> Construction:
    """A model that gives any distributions after any distinct contexts of tokens 0..zeta - 1, without training.

    Distributions inside the simplex are matched as they are; others are smoothed first.

    Args:
        contexts: n distinct contexts, each a sequence of tokens.
        probabilities: (n, zeta), each row a distribution.
        width: Hidden neurons (n or more, except with "fit"), as for `construct`.
        architecture: "averaging" or "decoder", as for `construct`.
        method: "solve", "ladder" or "fit", as for `construct`.
        embedding: Size of a token's vector (1 or more).
        activation: Activation of the hidden neurons, as for `construct`.
        smoothing: Weight of the uniform distribution (above 0, below 1).
        seed: Seed of the random weights.

    Returns:
        The model and how close it comes.

    Raises:
        ConfigError: For a width below n (except with "fit") and too little memory.
        DataError: For contexts given twice, and rows that are not distributions.

    Source:
        Madden, Fox, Thrampoulidis (2024), proof of Theorem 21.

    Example:
        >>> import netassay, numpy as np
        >>> result = netassay.realise([[0], [1]], np.array([[0.25, 0.75], [0.5, 0.5]]))
        >>> result.float64.deviation < 1e-9
        True
    """
    goal = goal_of_contexts(contexts, probabilities)
    options = _options(goal, width, architecture, method, embedding, activation, smoothing)
    _require_memory(len(goal), goal.vocabulary, options.width)
    return _construct(goal, np.arange(goal.vocabulary), options, seed)


class _Options(NamedTuple):
    width: int
    architecture: Architecture
    method: Method
    embedding: int
    activation: str
    smoothing: float


def _construct(goal: Goal, token_ids: np.ndarray, options: _Options, seed: int) -> Construction:
    draws = generator(seed, "construct")
    model = _random_model(goal, options, draws)
    features = features_at(model, goal)
    smoothing = 0.0 if goal.interior or options.method == "fit" else options.smoothing
    target = goal.probabilities.lerp(torch.full_like(goal.probabilities[:1], 1 / goal.vocabulary), smoothing)
    layer: Solved | Convex | None = None
    numbers: dict[str, float | int | None] = {}
    if options.method == "ladder":
        steps = ladder(features, _logits(target), options.width, draws)
        _fill(model, steps.weight, steps.bias, steps.output)
        numbers = {"spacing": steps.spacing}
    else:
        weight, bias = _neurons(features, options.width, draws)
        _fill(model, weight, bias)
        hidden = _hidden(model, features)
        if options.method == "fit":
            layer = fit(hidden, goal.probabilities, goal.weights)
            numbers = {"lower": layer.lower, "certified_norm": layer.times, "steps": layer.steps}
        else:
            layer = solve(hidden, _logits(target))
            numbers = {"rank": layer.rank, "condition": layer.condition, "residual": layer.residual}
        _fill(model, weight, bias, layer.weight)
    return Construction(
        model=model,
        architecture=options.architecture,
        method=options.method,
        contexts=len(goal),
        vocabulary=goal.vocabulary,
        width=options.width,
        parameters=trainable_count(model),
        bound=goal.entropy,
        float64=measure(model, goal),
        float32=measure(copy.deepcopy(model).float(), goal),
        smoothing=smoothing,
        smoothing_gap=_divergence(goal, target),
        token_ids=token_ids,
        **numbers,  # type: ignore[arg-type]
    )


@torch.no_grad()
def _random_model(goal: Goal, options: _Options, draws: torch.Generator) -> AveragingNetwork | Decoder:
    """A model whose attention or averaging is random; all of it fits float32, so that rounding the weights later
    changes the output layer alone."""
    zeta, d, longest = goal.vocabulary, options.embedding, goal.sequences.shape[1]
    model: AveragingNetwork | Decoder
    if options.architecture == "averaging":
        model = AveragingNetwork(
            zeta,
            options.width,
            embedding=d,
            longest=longest,
            generator=draws,
            activation=options.activation,
            dtype=torch.float64,
        )
        # no weight may be small, and no two equal: of T weights in [1/2, 3/2] the nearest are about 1/T apart
        order = torch.randperm(longest, generator=draws)
        model.weights.copy_(0.5 + (order + torch.rand(longest, generator=draws) / 4) / longest)
    else:
        model = Decoder(
            zeta,
            options.width,
            embedding=d,
            longest=longest,
            heads=HEADS,
            generator=draws,
            activation=options.activation,
            dtype=torch.float64,
        )
        # scores x' W1 W2' x of standard deviation 1: a sharper softmax would forget all but one token
        for layer in (model.key, model.query):
            layer.weight.normal_(std=(2 * d) ** -0.5, generator=draws)
        model.key.weight /= d**0.5
    for parameter in model.parameters():
        parameter.copy_(parameter.float())
    return model


def _neurons(features: Tensor, width: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random directions in standardised features, each neuron centred at a context so that it bends near the data."""
    n, d = features.shape
    spread = features.std(0, correction=0)
    spread = torch.where(spread > 0, spread, 1)
    weight = torch.randn(width, d, generator=draws, dtype=torch.float64) * (STEEPNESS / d**0.5) / spread
    weight = weight.float().double()
    rounds = [torch.randperm(n, generator=draws) for _ in range(-(-width // n))]
    centres = features[torch.cat(rounds)[:width]]
    return weight, -(weight * centres).sum(1).float().double()


@torch.no_grad()
def _fill(model: AveragingNetwork | Decoder, weight: Tensor, bias: Tensor, output: Tensor | None = None) -> None:
    hidden = model.feed_forward.get_submodule("hidden")
    hidden.get_parameter("weight").copy_(weight)
    hidden.get_parameter("bias").copy_(bias)
    if output is not None:
        model.feed_forward.get_submodule("output").get_parameter("weight").copy_(output)


@torch.no_grad()
def _hidden(model: AveragingNetwork | Decoder, features: Tensor) -> Tensor:
    return model.feed_forward[1](model.feed_forward[0](features))


def _logits(target: Tensor) -> Tensor:
    """ln p, each row less its mean, which no softmax sees."""
    logs = target.log()
    return logs - logs.mean(1, keepdim=True)


def _divergence(goal: Goal, target: Tensor) -> float:
    p = goal.probabilities
    return max(0.0, float((torch.xlogy(p, p) - torch.xlogy(p, target)).sum(1) @ goal.weights))


def _options(
    goal: Goal,
    width: int | None,
    architecture: Architecture,
    method: Method,
    embedding: int,
    activation: str | None,
    smoothing: float,
) -> _Options:
    n = len(goal)
    for name, word, choices in (
        ("architecture", architecture, get_args(Architecture)),
        ("method", method, get_args(Method)),
        ("activation", activation or "tanh", get_args(Analytic)),
    ):
        if word not in choices:
            raise ConfigError(f"{name} is {word!r}; allowed are {', '.join(choices)}")
    if method == "ladder" and activation not in (None, "sigmoid"):
        raise ConfigError(f"activation is {activation!r}; the steps of a ladder are sigmoids, leave it out")
    if not 0 < smoothing < 1:
        raise ConfigError(f"smoothing is {smoothing}; it is above 0 and below 1 (1e-8, say)")
    if embedding < 1 or (width is not None and width < 1):
        raise ConfigError(f"embedding is {embedding} and width {width}; both are at least 1")
    if width is None:
        width = n + n // 10 if method == "solve" else n
    if width < n and method != "fit":
        raise ConfigError(_reachable(goal, width))
    return _Options(
        width,
        architecture,
        method,
        embedding,
        "sigmoid" if method == "ladder" else activation or "tanh",
        smoothing,
    )


def _reachable(goal: Goal, width: int) -> str:
    n = len(goal)
    within = np.bincount(goal.documents).cumsum()
    documents = int(np.searchsorted(within, width, side="right"))
    beginning = f"the first {documents:,} documents have {within[documents - 1]:,}; " if documents else ""
    return (
        f"a width of {width:,} holds any {width:,} contexts and no more for certain (Theorems 21 and 23), and here are "
        f"{n:,}; {beginning}give a width of at least {n:,} ({n + n // 10:,} holds in float32 too), or the method "
        "'fit', which says how near these neurons come"
    )


def _require_memory(n: int, vocabulary: int, width: int) -> None:
    need = 8 * (3 * n * max(width, n) + 4 * n * vocabulary)
    free = processes.free_bytes()
    if free is not None and need > free:
        raise ConfigError(
            f"{n:,} contexts with a width of {width:,} need {need / 1e9:,.1f} GB of memory and {free / 1e9:,.1f} are "
            "free; cut the documents (length) or take fewer of them"
        )
