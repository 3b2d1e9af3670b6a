from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dense import evaluate, examples, half_square, network
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from netassay.errors import DataError, ModelError

X, LABEL, Y = examples()


def total(evaluations):
    return sum(e.weight * e.loss.item() for e in evaluations)


def test_full_loss_weights_means_by_their_examples():
    model = network()
    whole = total(evaluate(model, half_square, [(X, Y)]))
    assert total(evaluate(model, half_square, [(X[:3], Y[:3]), (X[3:], Y[3:])])) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    "wrapped",
    [
        (lambda x: x, lambda y: (y, y)),
        (lambda x: x, lambda y: {"target": y}),
        (lambda x: (x,), lambda y: [y, y]),
        (lambda x: {"input": x}, lambda y: (y,)),
        (lambda x: {"input": x}, lambda y: {"target": y}),
    ],
)
def test_targets_of_several_parts_are_as_many_as_their_tensors_are_long(wrapped):
    of_x, of_y = wrapped
    model = network()

    def loss(output, parts):
        return half_square(output, next(iter(parts.values())) if isinstance(parts, dict) else parts[0])

    batches = [(of_x(X[:3]), of_y(Y[:3])), (of_x(X[3:]), of_y(Y[3:]))]
    whole = total(evaluate(model, half_square, [(X, Y)]))
    assert total(evaluate(model, loss, batches)) == pytest.approx(whole, rel=1e-12)


def test_one_target_an_example_is_counted_by_the_inputs():
    batches = [(X[:3], list(Y[:3])), (X[3:], list(Y[3:]))]
    whole = total(evaluate(network(), half_square, [(X, Y)]))
    found = evaluate(network(), lambda o, y: half_square(o, torch.stack(y)), batches)
    assert total(found) == pytest.approx(whole, rel=1e-12)


def test_the_reduction_of_a_partial_function_is_read():
    halves = [(X[:3], LABEL[:3]), (X[3:], LABEL[3:])]
    whole = total(evaluate(network(), F.cross_entropy, [(X, LABEL)]))
    summed = total(evaluate(network(), partial(F.cross_entropy, reduction="sum"), halves))
    assert summed == pytest.approx(len(X) * whole, rel=1e-12)
    with pytest.raises(ModelError, match="reduction of cross_entropy is 'none'"):
        evaluate(network(), partial(F.cross_entropy, reduction="none"), halves)


@pytest.mark.parametrize("shuffle", [False, True])
def test_loaders_are_accepted_and_the_random_state_stays(shuffle):
    loader = DataLoader(TensorDataset(X, Y), batch_size=6, shuffle=shuffle)
    state = torch.get_rng_state()
    expected = total(evaluate(network(), half_square, [(X, Y)]))
    assert total(evaluate(network(), half_square, loader)) == pytest.approx(expected, rel=1e-12)
    assert torch.equal(torch.get_rng_state(), state)


def test_one_pass_sources_are_refused():
    with pytest.raises(DataError, match="gone over only once"):
        evaluate(network(), half_square, ((x, y) for x, y in [(X, Y)]))

    class Spent:
        def __init__(self):
            self.source = iter([(X, Y)])

        def __iter__(self):
            yield from self.source

    with pytest.raises(DataError, match="changed between two passes"):
        evaluate(network(), half_square, Spent())


def test_data_that_change_are_refused():
    draws = np.random.default_rng(0)  # seeded, and none of torch's that would be put back

    class Augmented:
        def __iter__(self):
            yield X + 0.1 * torch.randn_like(X), Y

    with pytest.raises(DataError, match="changed between two passes"):
        evaluate(network(), half_square, Augmented())

    class HardlyAugmented:
        def __iter__(self):
            yield (
                X.float() + 0.03 * torch.from_numpy(draws.standard_normal(X.shape, dtype=np.float32)),
                Y.float(),
            )

    with pytest.raises(DataError, match="changed between two passes"):
        evaluate(network().float(), half_square, HardlyAugmented())


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no \\(x, y\\) pair"),
        (3, "batches is of type int"),
        ([(X, Y, X)], "batch 0 is 3 parts"),
        ([(X, Y), X], "batch 1 is a Tensor"),
        ([(X[:0], Y[:0])], "no examples"),
        ([(X, torch.full_like(Y, torch.nan))], "batch 0: y holds NaN"),
        ([(X, Y), (X * torch.inf, Y)], "batch 1: x holds NaN or infinity"),
    ],
)
def test_bad_batches(batches, message):
    with pytest.raises(DataError, match=message):
        evaluate(network(), half_square, batches)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, t: (o - t).square().mean(1), r"shape \(20,\)"),
        (lambda o, t: 1.0, "a float"),
        (lambda o, t: half_square(o.detach(), t), "does not depend"),
        (lambda o, t: half_square(o, t).to(torch.complex128), "complex number"),
        (lambda o, t: half_square(o, t) * torch.inf, "the loss is inf"),
        (lambda o, t: (o @ t).sum(), "batch 0: the loss failed"),
        (lambda o, t: F.cross_entropy(o, LABEL + 3), "batch 0: the loss failed.*out of bounds"),
        (lambda o, t: F.cross_entropy(o, LABEL[:5]), "batch 0: the loss failed.*batch_size"),
        (nn.MSELoss(reduction="none"), "reduction of MSELoss is 'none'"),
        (lambda o, t: half_square(o + 0.1 * torch.randn_like(o), t), "drew random numbers"),
    ],
)
def test_bad_losses(loss, message):
    with pytest.raises(ModelError, match=message):
        evaluate(network(), loss, [(X, Y)])


class Noisy(nn.Module):
    """Adds noise of a generator of its own, which the global random state does not show."""

    def __init__(self):
        super().__init__()
        self.plain, self.own = network(), torch.Generator().manual_seed(0)

    def forward(self, x):
        output = self.plain(x)
        return output + 0.1 * torch.randn(output.shape, generator=self.own, dtype=output.dtype)


def test_generators_of_ones_own_are_found_out_and_put_back():
    model, own = Noisy(), torch.Generator().manual_seed(1)
    before = model.own.get_state()

    def noisy_loss(output, target, own=own):
        return half_square(output + torch.randn(output.shape, generator=own, dtype=output.dtype), target)

    for noisy, loss in (
        (model, half_square),
        (network(), noisy_loss),
        (network(), partial(noisy_loss, own=own)),
    ):
        with pytest.raises(ModelError, match="drew random numbers"):
            evaluate(noisy, loss, [(X, Y)])
    assert torch.equal(model.own.get_state(), before)
    assert torch.equal(own.get_state(), torch.Generator().manual_seed(1).get_state())


def test_bad_reduction():
    with pytest.raises(ModelError, match="reduction is 'median'"):
        evaluate(network(), half_square, [(X, Y)], reduction="median")


def test_input_of_the_wrong_width():
    with pytest.raises(ModelError, match="batch 1: Sequential failed on its input"):
        evaluate(network(), half_square, [(X, Y), (X[:, :3], Y)])


def test_dropout_in_train_mode_is_refused_and_in_eval_mode_not():
    model = nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5)).double()
    with pytest.raises(ModelError, match=r"'1' is Dropout\(p=0.5\) in train mode.*model.eval\(\)"):
        evaluate(model, half_square, [(X, Y)])
    evaluate(model.eval(), half_square, [(X, Y)])
    model.train()[1].p = 0.0
    evaluate(model, half_square, [(X, Y)])


def test_functional_dropout_is_found_out():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(5, 3).double()

        def forward(self, x):
            return nn.functional.dropout(self.line(x), 0.5, self.training)

    model, state = Hidden(), torch.get_rng_state()
    with pytest.raises(ModelError, match="drew random numbers"):
        evaluate(model, half_square, [(X, Y)])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_that_writes_into_its_input_is_refused():
    class Doubling(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(5, 3).double()

        def forward(self, x):
            return self.line(x.mul_(2))

    with pytest.raises(ModelError, match="Doubling or the loss changes its input in place"):
        evaluate(Doubling(), half_square, [(X.clone(), Y)])


def test_buffers_stay_even_when_the_model_fails():
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(4, 3)).double()
    before = {n: b.clone() for n, b in model.named_buffers()}
    with pytest.raises(ModelError):
        evaluate(model, half_square, [(X, Y)])
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())
