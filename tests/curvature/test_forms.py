"""The forms in which people keep batches and in which models answer."""

from collections import UserDict, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from dense import dense_ggn, dense_hessian, examples, half_square, network
from torch import Tensor, nn
from torch.utils.data import DataLoader

import netassay
from netassay.curvature.curvature import Curvature
from netassay.errors import DataError, ModelError

X, LABEL, Y = examples()


class Wrapped(nn.Module):
    """A network, called and answering in another form."""

    def __init__(self):
        super().__init__()
        self.plain = network()


class ByMapping(Wrapped):
    def forward(self, data):
        return self.plain(data["x"])


class ByAnnotatedMapping(Wrapped):
    def forward(self, x: dict[str, Tensor]):
        return self.plain(x["x"])


class ByLabelledMapping(Wrapped):
    def forward(self, batch: Mapping):
        return F.cross_entropy(self.plain(batch["x"]), batch["labels"])


class ByKeyword(Wrapped):
    def forward(self, x, scale=None):
        return self.plain(x) * (1.0 if scale is None else scale)


class ByTuple(Wrapped):
    def forward(self, parts):
        return self.plain(parts[0] + parts[1])


class WithLoss(Wrapped):
    def forward(self, x, labels=None):
        logits = self.plain(x)
        return {"loss": None if labels is None else F.cross_entropy(logits, labels), "logits": logits}


class GptLike(Wrapped):
    def forward(self, x, targets=None):
        logits = self.plain(x)
        return logits, None if targets is None else F.cross_entropy(logits, targets)


Named = namedtuple("Named", ["hidden", "logits"])


class InNamedTuple(Wrapped):
    def forward(self, x):
        hidden = self.plain[:3](x)
        return Named(hidden, self.plain[3:](hidden))


@dataclass
class Answer:
    logits: Tensor
    inputs: Tensor


class InDataclass(Wrapped):
    def forward(self, x):
        return Answer(self.plain(x), x)


class InList(Wrapped):
    def forward(self, x):
        return [{"deep": [self.plain(x)]}, x]


def returned(output, _):
    return output["loss"] if isinstance(output, dict) else output[1]


def of(form, a=0, b=20):
    return {"x": X[a:b], form: LABEL[a:b]}


SAME = (
    ("a mapping as the one argument", ByMapping, F.cross_entropy, lambda a, b: ({"x": X[a:b]}, LABEL[a:b])),
    ("of the user", ByMapping, F.cross_entropy, lambda a, b: (UserDict({"x": X[a:b]}), LABEL[a:b])),
    ("said to be one", ByAnnotatedMapping, F.cross_entropy, lambda a, b: ({"x": X[a:b]}, LABEL[a:b])),
    ("keywords", ByKeyword, F.cross_entropy, lambda a, b: ({"x": X[a:b], "scale": 1.0}, LABEL[a:b])),
    ("a tuple as one argument", ByTuple, F.cross_entropy, lambda a, b: ((X[a:b] / 2, X[a:b] / 2), LABEL[a:b])),
    ("labels inside", ByKeyword, F.cross_entropy, lambda a, b: of("labels", a, b)),
    ("y inside", network, F.cross_entropy, lambda a, b: of("y", a, b)),
    ("target inside", network, nn.CrossEntropyLoss(), lambda a, b: UserDict(of("target", a, b))),
    ("labels the model takes", WithLoss, returned, lambda a, b: of("labels", a, b)),
    ("keys the model takes", GptLike, returned, lambda a, b: of("targets", a, b)),
    ("the model's loss", ByLabelledMapping, lambda o, _: o, lambda a, b: of("labels", a, b)),
    ("its logits", WithLoss, lambda o, t: F.cross_entropy(o["logits"], t), lambda a, b: (X[a:b], LABEL[a:b])),
    ("torch's loss of logits", WithLoss, nn.CrossEntropyLoss(), lambda a, b: of("labels", a, b)),
    ("own loss of logits", InDataclass, lambda o, t: F.cross_entropy(o, t), lambda a, b: (X[a:b], LABEL[a:b])),
    (
        "loss of model and batch",
        network,
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        lambda a, b: (X[a:b], LABEL[a:b]),
    ),
    (
        "three parts",
        network,
        lambda model, batch: F.cross_entropy(model(batch[0] * batch[1]), batch[2]),
        lambda a, b: (X[a:b], torch.ones_like(X[a:b]), LABEL[a:b]),
    ),
)


@pytest.mark.parametrize(("make", "loss", "batch"), [s[1:] for s in SAME], ids=[s[0] for s in SAME])
def test_every_form_of_batch_and_loss_is_the_same_curvature(make, loss, batch):
    model = make()
    truth = dense_hessian(network(), F.cross_entropy, X, LABEL)
    eye = torch.eye(len(truth), dtype=torch.float64)
    for batches in ([batch(0, 20)], [batch(0, 7), batch(7, 20)]):
        torch.testing.assert_close(Curvature(model, loss, batches).product(eye), truth)


def test_a_loader_of_mappings():
    data = [{"x": x, "labels": y} for x, y in zip(X, LABEL, strict=True)]
    truth = Curvature(network(), F.cross_entropy, [(X, LABEL)])
    found = Curvature(WithLoss(), returned, DataLoader(data, batch_size=6, shuffle=True))
    torch.testing.assert_close(found.gradient, truth.gradient)


HEADS = (
    (WithLoss, lambda o, t: F.cross_entropy(o["logits"], t), None),
    (WithLoss, lambda o, t: F.cross_entropy(o["logits"], t), "logits"),
    (WithLoss, lambda o, t: F.cross_entropy(o["logits"], t), lambda o: o["logits"]),
    (WithLoss, F.cross_entropy, "logits"),
    (WithLoss, lambda o, t: F.cross_entropy(o, t), "logits"),
    (GptLike, lambda o, t: F.cross_entropy(o[0], t), 0),
    (GptLike, F.cross_entropy, None),
    (InNamedTuple, lambda o, t: F.cross_entropy(o.logits, t), "logits"),
    (InNamedTuple, lambda o, t: F.cross_entropy(o[1], t), 1),
    (InNamedTuple, nn.CrossEntropyLoss(), 1),
    (InDataclass, lambda o, t: F.cross_entropy(o.logits, t), "logits"),
    (InDataclass, nn.CrossEntropyLoss(), "logits"),
    (InList, lambda o, t: F.cross_entropy(o[0]["deep"][0], t), None),
    (InList, F.cross_entropy, lambda o: o[0]["deep"][0]),
    (network, F.cross_entropy, lambda o: o * 1.0),
)


@pytest.mark.parametrize(("make", "loss", "head"), HEADS)
def test_gauss_newton_of_an_output_of_several_parts(make, loss, head):
    truth = dense_ggn(network(), F.cross_entropy, X, LABEL)
    eye = torch.eye(len(truth), dtype=torch.float64)
    for batches in ([(X, LABEL)], [(X[:3], LABEL[:3]), (X[3:], LABEL[3:])]):
        for memory in (None, 0):
            curvature = Curvature(make(), loss, batches, kind="ggn", head=head, memory=memory)
            torch.testing.assert_close(curvature.product(eye), truth)
            torch.testing.assert_close(curvature.gradient, Curvature(network(), F.cross_entropy, [(X, LABEL)]).gradient)


@pytest.mark.parametrize(
    ("make", "loss", "batch", "head"),
    [
        (WithLoss, returned, of("labels"), None),
        (WithLoss, returned, of("labels"), "logits"),
        (GptLike, returned, of("targets"), 0),
        (network, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), (X, LABEL), None),
        (WithLoss, lambda model, batch: model(**batch)["loss"], of("labels"), "logits"),
    ],
)
def test_gauss_newton_where_the_model_computes_its_loss(make, loss, batch, head):
    truth = dense_ggn(network(), F.cross_entropy, X, LABEL)
    curvature = Curvature(make(), loss, [batch], kind="ggn", head=head)
    torch.testing.assert_close(curvature.product(torch.eye(len(truth), dtype=torch.float64)), truth)


class TwoWays(Wrapped):
    """Its loss sees the weights past the logits too."""

    def forward(self, x, labels=None):
        logits = self.plain(x)
        return {
            "loss": F.cross_entropy(logits, labels) + self.plain[0].weight.square().sum(),
            "logits": logits,
        }


@pytest.mark.parametrize(
    ("make", "loss", "batch", "head", "message"),
    [
        (TwoWays, returned, of("labels"), "logits", "depends on the weights other than through"),
        (InNamedTuple, lambda o, t: F.cross_entropy(o.logits, t), (X, LABEL), "hidden", "other than through|enter"),
        (WithLoss, returned, of("labels"), lambda o: o["logits"] * 1, "must return a scalar tensor"),
        (WithLoss, returned, of("labels"), "probabilities", "head='probabilities' is not a tensor.*loss, logits"),
        (GptLike, returned, of("targets"), 7, "head=7 is not a tensor"),
        (
            network,
            lambda model, b: F.cross_entropy(model(b[0]) + model(b[0]), b[1]),
            (X, LABEL),
            None,
            "calls the model 2 times",
        ),
    ],
)
def test_heads_that_cannot_be(make, loss, batch, head, message):
    with pytest.raises(ModelError, match=message):
        Curvature(make(), loss, [batch], kind="ggn", head=head)


def test_an_output_of_several_tensors_needs_a_head():
    class Two(Wrapped):
        def forward(self, x):
            return {"a": self.plain(x), "b": self.plain(x)}

    loss = lambda o, t: F.cross_entropy(o["a"] + o["b"], t)  # noqa: E731
    with pytest.raises(ModelError, match=r"returns a dict of a, b.*head="):
        Curvature(Two(), loss, [(X, LABEL)], kind="ggn")
    Curvature(Two(), loss, [(X, LABEL)])


@pytest.mark.parametrize(
    ("make", "batches", "message"),
    [
        (
            network,
            [{"input": X, "b": X, "y": LABEL}],
            "batch 0 is a mapping of input, b, y.*forward takes input",
        ),
        (ByKeyword, [{"x": X, "rest": X, "labels": LABEL}], "mapping of x, rest, labels.*takes x, scale"),
        (network, [(X, X, LABEL)], r"batch 0 is 3 parts.*loss\(model, batch\)"),
        (network, {"x": X, "y": Y}, "batches is of type dict"),
    ],
)
def test_batches_that_do_not_fit(make, batches, message):
    with pytest.raises(DataError, match=message):
        Curvature(make(), F.cross_entropy, batches)


def test_a_loss_that_fails_is_reported_as_it_failed():
    with pytest.raises(ModelError, match="batch 0: the loss failed on the model's output: 'nothing'"):
        Curvature(WithLoss(), lambda o, t: o["nothing"], [(X, LABEL)])
    with pytest.raises(ModelError, match="batch 0: the loss of model and batch failed"):
        Curvature(network(), lambda model, batch: model(batch["x"]), [(X, LABEL)])


def test_batch_sharpness_and_flow_take_mappings():
    loss = lambda o, t: F.cross_entropy(o["logits"], t)  # noqa: E731
    pairs = [(X[:9], LABEL[:9]), (X[9:], LABEL[9:])]
    mappings = [of("labels", 0, 9), of("labels", 9, 20)]
    plain = netassay.curvature.batch_sharpness(network(), F.cross_entropy, pairs)
    assert netassay.curvature.batch_sharpness(WithLoss(), loss, mappings).value == pytest.approx(plain.value)
    flow = netassay.gradient_flow(network(), F.cross_entropy, [(X, LABEL)], times=[0.5])
    found = netassay.gradient_flow(WithLoss(), returned, mappings, times=[0.5])
    assert found.losses == pytest.approx(flow.losses, rel=1e-6)


def test_half_squares_of_a_part():
    found = Curvature(InDataclass(), half_square, [(X, Y)]).gradient
    torch.testing.assert_close(found, Curvature(network(), half_square, [(X, Y)]).gradient)
