"""Next-token predictors against equation (4) written out in loops, their causality, counts and derivatives."""

import math

import pytest
import torch
from torch.func import functional_call

from netassay.capacity import theorems
from netassay.errors import ConfigError, DataError
from netassay.nets.decoder import AveragingNetwork, Decoder, ExperimentDecoder
from netassay.numerics.devices import generator

ZETA, M, D, T = 7, 5, 3, 6
DTYPE = torch.float64


def decoder(activation="gelu", **sizes):
    return Decoder(
        ZETA,
        M,
        embedding=D,
        longest=T,
        heads=2,
        key=4,
        value=2,
        activation=activation,
        generator=generator(1, "init"),
        **{"dtype": DTYPE, **sizes},
    )


def experiment(activation="gelu", dtype=DTYPE):
    return ExperimentDecoder(ZETA, M, embedding=D, activation=activation, generator=generator(1), dtype=dtype)


def averaging(activation="gelu", dtype=DTYPE):
    return AveragingNetwork(ZETA, M, embedding=D, longest=T, activation=activation, generator=generator(1), dtype=dtype)


MODELS = [decoder, experiment, averaging]
TOKENS = torch.tensor([[3, 1, 4, 1, 5, 0], [2, 6, 6, 6, 3, 3], [3, 1, 4, 1, 5, 2]])
PSI = {"gelu": lambda z: z * (1 + math.erf(z / math.sqrt(2))) / 2, "tanh": math.tanh}


def matvec(rows, vector):
    return [sum(float(w) * x for w, x in zip(row, vector, strict=True)) for row in rows]


def softmax(scores):
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def feed_forward(model, x, psi):
    hidden, output = model.feed_forward.hidden, model.feed_forward.output
    z = [s + float(b) for s, b in zip(matvec(hidden.weight, x), hidden.bias, strict=True)]
    logits = matvec(output.weight, [PSI[psi](s) for s in z])
    return logits if output.bias is None else [s + float(b) for s, b in zip(logits, output.bias, strict=True)]


def attend(query, keys, values):
    weights = softmax([sum(q * k for q, k in zip(query, key, strict=True)) for key in keys])
    return [sum(w * v[i] for w, v in zip(weights, values, strict=True)) for i in range(len(values[0]))]


def slow_decoder(model, context, psi):
    columns = [
        [float(z + u) for z, u in zip(model.embedding.weight[g], model.positions.weight[t], strict=True)]
        for t, g in enumerate(context)
    ]
    concatenated = []
    for r in range(2):
        w1, w2 = model.key.weight[4 * r : 4 * r + 4], model.query.weight[4 * r : 4 * r + 4]
        w3 = model.value.weight[2 * r : 2 * r + 2]
        query = matvec(w2, columns[-1])
        concatenated += attend(query, [matvec(w1, x) for x in columns], [matvec(w3, x) for x in columns])
    return feed_forward(model, matvec(model.attended.weight, concatenated), psi)


def affine(layer, x):
    return [s + float(b) for s, b in zip(matvec(layer.weight, x), layer.bias, strict=True)]


def slow_experiment(model, context, psi):
    def position(t, i):
        angle = t / 10_000 ** (2 * (i // 2) / D)
        return math.cos(angle) if i % 2 else math.sin(angle)

    columns = [[float(model.embedding.weight[g][i]) + position(t, i) for i in range(D)] for t, g in enumerate(context)]
    query = [q / math.sqrt(D) for q in affine(model.query, columns[-1])]
    mixed = attend(query, [affine(model.key, x) for x in columns], [affine(model.value, x) for x in columns])
    return feed_forward(model, affine(model.attended, mixed), psi)


def slow_averaging(model, context, psi):
    x = [sum(float(model.embedding.weight[g][i] * model.weights[t]) for t, g in enumerate(context)) for i in range(D)]
    return feed_forward(model, x, psi)


@pytest.mark.parametrize("psi", ["gelu", "tanh"])
@pytest.mark.parametrize(
    ("make", "slow"),
    [(decoder, slow_decoder), (experiment, slow_experiment), (averaging, slow_averaging)],
)
def test_logits_are_those_of_the_equation_written_out(make, slow, psi):
    model = make(psi).requires_grad_(False)
    fast = model(TOKENS)
    for document, logits in zip(TOKENS.tolist(), fast, strict=True):
        for t in range(T):
            expected = torch.tensor(slow(model, document[: t + 1], psi), dtype=DTYPE)
            torch.testing.assert_close(logits[t], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("changed", range(T))
def test_no_token_is_seen_before_its_place(make, changed):
    model = make()
    other = TOKENS.clone()
    other[:, changed] = (other[:, changed] + 1) % ZETA
    differs = (model(TOKENS) != model(other)).any(-1)
    assert not differs[:, :changed].any()
    assert differs[:, changed:].all()


@pytest.mark.parametrize("make", MODELS)
def test_the_read_out_of_gathered_features_is_the_forward_pass(make):
    model = make()
    documents, places = torch.tensor([0, 1, 2]), torch.tensor([5, 0, 3])
    gathered = model.read_out(model.features(TOKENS)[documents, places])
    torch.testing.assert_close(gathered, model(TOKENS)[documents, places], rtol=1e-13, atol=1e-15)


def test_counts_are_those_of_the_bounds():
    size = {"embedding": D, "longest": T}
    assert theorems.trainable_count(decoder()) == theorems.decoder_parameters(ZETA, M, heads=2, key=4, value=2, **size)
    default = Decoder(ZETA, M, generator=generator(1), **size)
    assert theorems.trainable_count(default) == theorems.decoder_parameters(ZETA, M, **size)
    assert theorems.trainable_count(averaging()) == theorems.averaging_parameters(ZETA, M, **size)
    assert theorems.trainable_count(experiment()) == theorems.experiment_parameters(ZETA, M, embedding=D)
    assert theorems.trainable_count(experiment().feed_forward) == theorems.experiment_output_parameters(
        ZETA, M, embedding=D
    )


@pytest.mark.parametrize("make", MODELS)
def test_derivatives_of_first_and_second_order(make):
    model = make("tanh")
    names, held = zip(*((name, p.detach().requires_grad_()) for name, p in model.named_parameters()), strict=True)

    def logits(*parameters):
        return functional_call(model, dict(zip(names, parameters, strict=True)), (TOKENS[:1, :3],))

    torch.autograd.gradcheck(logits, held, fast_mode=True, check_forward_ad=True)
    torch.autograd.gradgradcheck(logits, held, fast_mode=True)


@pytest.mark.parametrize("make", MODELS)
def test_weights_come_from_the_generator_alone(make):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = make(dtype=torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    two = make(dtype=torch.float32)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.dtype == torch.float32
        assert a.isfinite().all()
        assert a.std() > 0


def test_the_default_draw_is_pytorchs():
    model = ExperimentDecoder(400, 300, generator=generator(3))
    assert model.embedding.weight.std().item() == pytest.approx(1, rel=0.02)
    for layer, fan_in in [(model.query, 16), (model.feed_forward.output, 300)]:
        bound = 1 / math.sqrt(fan_in)
        assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.02)
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert 0 < layer.bias.abs().max().item() <= bound


def test_documents_and_sizes_out_of_range_are_refused():
    for model in (decoder(), averaging()):
        with pytest.raises(DataError, match="7 tokens and the model has positions for 6"):
            model(torch.zeros(1, 7, dtype=torch.int64))
    assert experiment()(torch.zeros(1, 50, dtype=torch.int64)).shape == (1, 50, ZETA)
    with pytest.raises(ConfigError, match="width is 0"):
        ExperimentDecoder(5, 0, generator=generator(0))
    with pytest.raises(ConfigError, match="heads is 0"):
        decoder_with = {"embedding": 2, "longest": 2, "generator": generator(0)}
        Decoder(5, 2, heads=0, **decoder_with)
