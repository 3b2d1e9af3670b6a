"""However the data are cut into batches, the loss, its gradient and its curvature are those of the whole."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from dense import evaluate, examples, half_square, network
from torch import nn

import netassay
from netassay.curvature.curvature import Curvature
from netassay.errors import DataError, ModelError

CUTS = ((0, 3), (3, 4), (4, 20))
DRAWS = torch.Generator().manual_seed(5)
X, LABEL, Y = examples()
PAIR = torch.rand(20, 3, generator=DRAWS, dtype=torch.float64)
SIGNS = torch.where(PAIR > 0.5, 1.0, -1.0).double()
CLASS_WEIGHT = torch.tensor([1.0, 2.0, 5.0]).double()


def masked(label, ignored=-100):
    label = label.clone()
    label[0:2] = label[5] = label[12:17] = ignored
    return label


def cut(*parts, cuts=CUTS):
    return [tuple(part[a:b] for part in parts) for a, b in cuts]


def assert_same(model, loss, one, several, **keywords):
    """The Hessian and Gauss-Newton matrix of one batch, which torch averages over by itself, and of several."""
    for kind in keywords.pop("kinds", ("hessian", "ggn")):
        whole = Curvature(model, loss, one, kind=kind, **keywords)
        parts = Curvature(model, loss, several, kind=kind, **keywords)
        assert parts.loss == pytest.approx(whole.loss, rel=1e-11)
        torch.testing.assert_close(parts.gradient, whole.gradient, rtol=1e-9, atol=1e-12)
        v = torch.linspace(-1, 1, whole.size, dtype=torch.float64)
        torch.testing.assert_close(parts.product(v), whole.product(v), rtol=1e-8, atol=1e-11)


LOSSES = {
    "cross entropy": (nn.CrossEntropyLoss(), LABEL),
    "ignored labels": (nn.CrossEntropyLoss(), masked(LABEL)),
    "another ignored label": (nn.CrossEntropyLoss(ignore_index=1), LABEL),
    "class weights": (nn.CrossEntropyLoss(weight=CLASS_WEIGHT), LABEL),
    "class weights and ignored": (nn.CrossEntropyLoss(weight=CLASS_WEIGHT), masked(LABEL)),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), masked(LABEL)),
    "smoothed, weighted": (nn.CrossEntropyLoss(weight=CLASS_WEIGHT, label_smoothing=0.2), masked(LABEL)),
    "probabilities": (nn.CrossEntropyLoss(weight=CLASS_WEIGHT), PAIR / PAIR.sum(1, keepdim=True)),
    "function": (F.cross_entropy, masked(LABEL)),
    "partial": (partial(F.cross_entropy, ignore_index=0, weight=CLASS_WEIGHT), LABEL),
    "partial of partial": (partial(partial(F.cross_entropy, ignore_index=0), weight=CLASS_WEIGHT), LABEL),
    "squares": (nn.MSELoss(), Y),
    "squares, function": (F.mse_loss, Y),
    "absolute": (nn.L1Loss(), Y),
    "Huber": (nn.HuberLoss(delta=0.3), Y),
    "smooth": (nn.SmoothL1Loss(), Y),
    "binary": (nn.BCEWithLogitsLoss(pos_weight=CLASS_WEIGHT), PAIR),
    "soft margin": (nn.SoftMarginLoss(), SIGNS),
    "hinge embedding": (nn.HingeEmbeddingLoss(), SIGNS),
    "Poisson": (nn.PoissonNLLLoss(), PAIR),
    "multi label": (nn.MultiLabelSoftMarginLoss(weight=CLASS_WEIGHT), (PAIR > 0.5).double()),
    "own": (lambda o, t: F.cross_entropy(o, t), masked(LABEL)),
    "own, by example": (half_square, Y),
    "own, by entry": (lambda o, t: (o - t).square().mean(), Y),
}


@pytest.mark.parametrize("name", LOSSES)
def test_several_batches_are_the_whole(name):
    loss, target = LOSSES[name]
    assert_same(network(), loss, [(X, target)], cut(X, target))


def test_margins_of_classes_count_by_example():
    margin = nn.MultiMarginLoss(weight=CLASS_WEIGHT)
    whole, *_ = evaluate(network(), margin, [(X, LABEL)])
    several = evaluate(network(), margin, cut(X, LABEL))
    assert sum(float(e.loss.detach()) * e.weight for e in several) == pytest.approx(
        float(whole.loss.detach()), rel=1e-12
    )


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("reduction", ["batchmean", "mean", "sum"])
def test_divergence_by_example_or_by_entry(reduction):
    model = nn.Sequential(network(), nn.LogSoftmax(1))
    target = PAIR / PAIR.sum(1, keepdim=True)
    assert_same(model, nn.KLDivLoss(reduction=reduction), [(X, target)], cut(X, target), kinds=["hessian"])
    divergence = partial(F.kl_div, reduction=reduction)
    assert_same(model, divergence, [(X, target)], cut(X, target), kinds=["hessian"])


def test_a_mean_over_examples_of_any_length():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(-1)).double()
    batches = [(torch.randn(n, t, 4).double(), torch.rand(n, t, 3).double()) for n, t in ((3, 2), (2, 9))]
    value, gradient = of_sum(model, nn.KLDivLoss(reduction="sum"), batches, 5)
    curvature = Curvature(model, nn.KLDivLoss(reduction="batchmean"), batches)
    assert curvature.loss == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(curvature.gradient, gradient)


def test_a_batch_whose_labels_are_all_ignored_has_no_part():
    target = masked(LABEL)
    target[:3] = -100
    for loss in (nn.CrossEntropyLoss(), lambda o, t: F.cross_entropy(o, t)):
        assert_same(network(), loss, [(X, target)], cut(X, target))
    with pytest.raises(DataError, match="no batch has a term"):
        Curvature(network(), nn.CrossEntropyLoss(), [(X, torch.full_like(LABEL, -100))])


class Tagger(nn.Module):
    """A class for every token, (examples, classes, tokens)."""

    def __init__(self, classes=7):
        super().__init__()
        self.embed, self.line = nn.Embedding(12, 5), nn.Linear(5, classes)

    def forward(self, x):
        return self.line(torch.tanh(self.embed(x))).transpose(1, 2)


def ragged(seed=0):
    draws = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    short, long = (torch.randint(12, (4, t), generator=draws) for t in (3, 30))
    return Tagger().double(), [(short, short.flip(1) % 7), (long, long.roll(1, 1) % 7)]


def of_sum(model, loss, batches, terms):
    """Loss and gradient of the sum over all terms, divided by their number."""
    whole = sum(loss(model(x), y) for x, y in batches) / terms
    slopes = torch.autograd.grad(whole, list(model.parameters()))
    return float(whole.detach()), torch.cat([g.reshape(-1) for g in slopes])


def test_sequences_of_unequal_length_count_by_token():
    model, batches = ragged()
    value, gradient = of_sum(model, nn.CrossEntropyLoss(reduction="sum"), batches, 4 * 33)
    for loss, weights in (
        (nn.CrossEntropyLoss(), None),
        (lambda o, t: F.cross_entropy(o, t), None),
        (lambda o, t: F.cross_entropy(o, t), [12, 120]),
    ):
        curvature = Curvature(model, loss, batches, weights=weights)
        assert curvature.loss == pytest.approx(value, rel=1e-12)
        torch.testing.assert_close(curvature.gradient, gradient)


def test_squares_of_sequences_of_unequal_length_count_by_entry():
    torch.manual_seed(0)
    model = nn.Linear(4, 2).double()
    batches = [(torch.randn(n, t, 4).double(), torch.randn(n, t, 2).double()) for n, t in ((3, 2), (2, 9))]
    value, gradient = of_sum(model, nn.MSELoss(reduction="sum"), batches, 2 * (6 + 18))
    curvature = Curvature(model, nn.MSELoss(), batches)
    assert curvature.loss == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(curvature.gradient, gradient)


class Inside(nn.Module):
    """A language model that computes its loss, as those of Hugging Face do; `shifted`, from the second token on."""

    def __init__(self, shifted=False, ignored=-100, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.rnn = nn.Embedding(20, 6), nn.GRU(6, 6, batch_first=True)
        self.line, self.shifted, self.ignored = nn.Linear(6, 20), shifted, ignored

    def forward(self, input_ids, labels=None):
        logits = self.line(self.rnn(self.embed(input_ids))[0])
        if self.shifted:
            logits, labels = logits[:, :-1], labels[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=self.ignored)
        return {"loss": loss, "logits": logits}


def padded(n=8, t=7, seed=0):
    draws = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 20, (n, t), generator=draws)
    labels = ids.clone()
    for i in range(n):
        labels[i, 2 + (i * 3) % (t - 1) :] = -100
    labels[n // 2 :, 3:] = -100
    return ids, labels


def returned_loss(output, _):
    return output["loss"]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("form", ["mapping", "pair"])
@pytest.mark.parametrize("cuts", [((0, 4), (4, 8)), ((0, 1), (1, 6), (6, 8))])
def test_labels_padded_inside_the_model_count_by_those_that_are_not(shifted, form, cuts):
    model, (ids, labels) = Inside(shifted).double(), padded()

    def batch(a, b):
        held = {"input_ids": ids[a:b], "labels": labels[a:b]}
        return held if form == "mapping" else (held, ids[a:b])

    assert_same(model, returned_loss, [batch(0, 8)], [batch(*ends) for ends in cuts])


@pytest.mark.parametrize("ignored", [-100, -1])
def test_rows_of_a_mapping_filled_to_unequal_lengths(ignored):
    model, (ids, labels) = Inside(True, ignored).double(), padded()
    labels[labels == -100] = ignored
    several = [
        {"input_ids": ids[4:, :3], "labels": labels[4:, :3]},
        {"input_ids": ids[:4], "labels": labels[:4]},
    ]
    assert_same(model, returned_loss, [{"input_ids": ids, "labels": labels}], several)


def test_a_mean_over_a_mask():
    model, (x, _, y) = network(), examples()
    mask = (torch.arange(20) % 5 > 1).double()
    mask[:3] = 0.0
    mask[0] = 1.0

    def loss(output, target):
        target, mask = target["target"], target["mask"]
        return ((output - target).square().sum(1) * mask).sum() / mask.sum()

    def batch(a, b):
        return x[a:b], {"target": y[a:b], "mask": mask[a:b]}

    assert_same(model, loss, [batch(0, 20)], [batch(a, b) for a, b in CUTS])
    whole = mask.bool()
    assert_same(
        model,
        loss,
        [(x, {"target": y, "mask": whole})],
        [(x[a:b], {"target": y[a:b], "mask": whole[a:b]}) for a, b in CUTS],
    )


def test_a_mask_that_hides_in_the_loss_is_seen():
    """Batches of one size, whose losses are all but equal: only the gradients tell that the terms are others."""
    model, (x, _, y) = network(), examples()

    def loss(output, target):
        keep = target[:, 0] > 0.5
        return (output - target).square().sum(1)[keep].sum() / keep.sum() * 1e-6 + 1.0

    with pytest.raises(ModelError, match="agree with none of the ways to count"):
        Curvature(model, loss, [(x[:10], y[:10]), (x[10:], y[10:])])


def test_weights_are_given_or_returned():
    model, target = network(), masked(LABEL)
    own = lambda o, t: F.cross_entropy(o, t)  # noqa: E731
    terms = [int((t != -100).sum()) for _, t in cut(X, target)]
    whole = Curvature(model, own, [(X, target)]).gradient

    def with_weight(output, target):
        return F.cross_entropy(output, target), (target != -100).sum()

    def of_model(model, batch):
        x, target = batch
        return F.cross_entropy(model(x), target), int((target != -100).sum())

    unnamed = lambda m, b: (F.cross_entropy(m(b[0]), b[1]), (b[1] != -100).sum())  # noqa: E731
    count = lambda batch: int((batch[1] != -100).sum())  # noqa: E731
    for loss, weights in (
        (own, terms),
        (own, torch.tensor(terms)),
        (own, count),
        (nn.CrossEntropyLoss(), terms),
        (with_weight, None),
        (of_model, None),
        (unnamed, None),
    ):
        found = Curvature(model, loss, cut(X, target), weights=weights)
        torch.testing.assert_close(found.gradient, whole)
        # twice the weights are the same weights
    torch.testing.assert_close(Curvature(model, own, cut(X, target), weights=[2 * t for t in terms]).gradient, whole)


@pytest.mark.parametrize(
    ("weights", "loss", "message"),
    [
        ([1, 2], half_square, "weights holds 2 numbers for 3 batches"),
        ([1, 2, 3, 4], half_square, "weights holds 4 numbers for 3 batches"),
        ([1, -2, 3], half_square, "batch 1: its weight is -2"),
        ([1, float("nan"), 3], half_square, "batch 1: its weight is nan"),
        ([0, 0, 0], half_square, "no batch has a term"),
        (["many", 1, 1], half_square, "batch 0: its weight is 'many'"),
        ([1, 2, 3], nn.MSELoss(reduction="sum"), "the loss is a sum"),
        ([1, 2, 3], lambda o, t: (half_square(o, t), len(t)), "returns weights of its own"),
        (None, lambda o, t: (half_square(o, t), -1.0), "its weight is -1.0"),
    ],
)
def test_weights_that_cannot_be(weights, loss, message):
    with pytest.raises((ModelError, DataError), match=message):
        Curvature(network(), loss, cut(X, Y), weights=weights)


def test_a_weight_of_zero_leaves_a_batch_out():
    model = network()
    found = Curvature(model, half_square, cut(X, Y), weights=[0, 1, 16])
    torch.testing.assert_close(found.gradient, Curvature(model, half_square, [(X[3:], Y[3:])]).gradient)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, t: (o - t).square().sum(), 'add up, as sums do.*reduction="sum"'),
        (lambda o, t: (o - t).square().sum().sqrt(), "agree with none of the ways.*weights="),
        (lambda o, t: (o.mean(0) - t.mean(0)).square().sum(), "agree with none of the ways"),
    ],
)
def test_what_is_no_mean_is_refused_over_several_batches(loss, message):
    with pytest.raises(ModelError, match=message):
        Curvature(network(), loss, cut(X, Y))
    Curvature(network(), loss, [(X, Y)])


def test_batches_that_cannot_be_joined_are_refused_without_weights():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(5, 3).double()

        def forward(self, x):
            return self.line(x).mean(1)

    torch.manual_seed(0)
    batches = [(torch.randn(4, t, 5).double(), torch.randn(4, 3).double()) for t in (2, 6)]
    with pytest.raises(ModelError, match=r"cannot be joined to find out \(x has shapes"):
        Curvature(Pooled(), half_square, batches)
    Curvature(Pooled(), half_square, batches, weights=[4, 4])


def test_reductions_that_contradict_each_other():
    with pytest.raises(ModelError, match="MSELoss takes the mean and reduction is 'sum'"):
        Curvature(network(), nn.MSELoss(), [(X, Y)], reduction="sum")


def test_float32_losses_near_each_other_are_compared_by_their_gradients():
    """At the start all losses are log(classes) to rounding, so that values alone cannot weigh the batches."""
    model = Inside().float()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1e-2)
    ids, labels = padded(64, 7)
    labels[:32] = ids[:32]
    one = [{"input_ids": ids, "labels": labels}]
    two = [{"input_ids": ids[a:b], "labels": labels[a:b]} for a, b in ((0, 32), (32, 64))]
    whole, parts = (Curvature(model, returned_loss, b) for b in (one, two))
    torch.testing.assert_close(parts.gradient, whole.gradient, rtol=1e-3, atol=1e-6)


def test_every_function_takes_weights():
    model, target = network(), masked(LABEL)
    own = lambda o, t: F.cross_entropy(o, t)  # noqa: E731
    keywords = {"weights": [int((t != -100).sum()) for _, t in cut(X, target)], "memory": 0}
    whole, several = [(X, target)], cut(X, target)
    assert float(netassay.sharpness(model, own, several, tolerance=1e-9, **keywords).values[0]) == pytest.approx(
        float(netassay.sharpness(model, own, whole, tolerance=1e-9).values[0]), rel=1e-8
    )
    trace = netassay.trace(model, own, several, products=100, **keywords).value
    assert trace == pytest.approx(netassay.trace(model, own, whole, products=100).value, rel=1e-9)
    density = netassay.spectral_density(model, own, several, steps=100, **keywords)
    torch.testing.assert_close(density.nodes, netassay.spectral_density(model, own, whole, steps=100).nodes)
    step = netassay.step_size(model, own, several, tolerance=1e-9, **keywords).network.value
    assert step == pytest.approx(netassay.step_size(model, own, whole, tolerance=1e-9).network.value, rel=1e-8)
    v = torch.ones(79, dtype=torch.float64)
    torch.testing.assert_close(
        netassay.hessian_operator(model, own, several, **keywords) @ v,
        netassay.hessian_operator(model, own, whole) @ v,
    )
