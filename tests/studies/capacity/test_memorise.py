import numpy as np
import pytest
import torch

from netassay.corpus.context import contexts
from netassay.corpus.target import exact_loss, require_above_bound, targets
from netassay.nets.decoder import ExperimentDecoder
from netassay.numerics.devices import generator
from netassay.studies.capacity import cross_entropy as fused
from netassay.studies.capacity.assay import begin
from netassay.studies.capacity.config import CapacityConfig
from netassay.studies.capacity.cross_entropy import cross_entropy
from netassay.studies.capacity.material import material
from netassay.studies.capacity.soap import BETAS, Soap
from netassay.studies.capacity.widths import Next

LINES = CapacityConfig(document="line", documents=40, length=6, width=8, try_steps=60)


def documents(seed, count=30, vocabulary=5, longest=7):
    random = np.random.default_rng(seed)
    return [random.integers(0, vocabulary, random.integers(1, longest)).tolist() for _ in range(count)]


def by_dictionary(corpus):
    counts = {}
    for document in corpus:
        for t in range(1, len(document)):
            after = counts.setdefault(tuple(document[:t]), {})
            after[document[t]] = after.get(document[t], 0) + 1
    return counts


@pytest.mark.parametrize("seed", range(6))
def test_targets_hold_each_context_once_with_its_counts(seed):
    corpus = documents(seed)
    to = targets(contexts(corpus))
    names = sorted({token for document in corpus for token in document})
    flat, longest = to.sequences.flatten().tolist(), to.sequences.shape[1]
    found = {}
    for i, place in enumerate(to.places.tolist()):
        row = place - place % longest
        context = tuple(names[token] for token in flat[row : place + 1])
        entries = slice(to.edges[i], to.edges[i + 1])
        assert (to.contexts[entries] == i).all()
        pairs = zip(to.tokens[entries].tolist(), to.counts[entries].tolist(), strict=True)
        found[context] = {names[token]: int(count) for token, count in pairs}
        assert to.totals[i] == sum(found[context].values())
    assert found == by_dictionary(corpus)
    # no sequence is the beginning of another
    assert len(to.sequences) < len(to) or longest == 1


def dense_loss(logits, to):
    log_q = logits.double().log_softmax(1)
    return -(to.counts.double() * log_q[to.contexts, to.tokens]).sum()


@pytest.mark.parametrize("cells", [1, 100, 1 << 18])
def test_the_fused_loss_and_its_gradients_equal_the_dense_ones(cells, monkeypatch):
    monkeypatch.setattr(fused, "CELLS_AT_ONCE", cells)
    to = targets(contexts(documents(1, count=60)))
    draw = torch.Generator().manual_seed(0)
    shapes = (len(to), 3), (to.vocabulary, 3), (to.vocabulary,)
    given = [torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in shapes]
    hidden, weight, bias = given
    loss = cross_entropy(hidden, weight, bias, to)
    expected = dense_loss(hidden @ weight.T + bias, to)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    for mine, autograd in zip(
        torch.autograd.grad(2 * loss, given), torch.autograd.grad(2 * expected, given), strict=True
    ):
        torch.testing.assert_close(mine, autograd, rtol=1e-10, atol=1e-10)


def test_logits_far_below_the_largest_stay_finite():
    to = targets(contexts(documents(2)))
    hidden = torch.full((len(to), 1), 1e4)
    weight = torch.linspace(-1, 1, to.vocabulary).unsqueeze(1)
    loss = cross_entropy(hidden, weight, torch.zeros(to.vocabulary), to)
    assert 0 < loss.item() <= -fused.DEEPEST * to.totals.sum().item() + 1e-3


def test_unique_contexts_have_the_loss_and_gradient_of_all_positions():
    read = material(LINES)
    fast = begin(LINES, read, Next(8, 0))
    paper = begin(LINES.replace(solver="paper"), read, Next(8, 0))
    assert fast.measure() == pytest.approx(paper.measure(), rel=1e-6)
    scale = max(p.grad.abs().max().item() for p in paper.parameters)
    for mine, theirs in zip(fast.parameters, paper.parameters, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6 * scale)


def test_the_papers_solver_is_adam_on_all_positions():
    config = LINES.replace(solver="paper", documents=20)
    read = material(config)
    trial = begin(config, read, Next(8, 0))
    model = begin(config, read, Next(8, 0)).model.requires_grad_(True)
    adam = torch.optim.Adam(model.parameters(), lr=1e-4)
    rows = read.documents
    for _ in range(3):
        loss = -sum(
            model(rows[i : i + 1, :t])[0, -1].log_softmax(-1)[rows[i, t]]
            for i in range(len(rows))
            for t in range(1, rows.shape[1])
            if rows[i, t] >= 0
        )
        assert trial.measure() == pytest.approx(loss.item(), rel=1e-5)
        adam.zero_grad()
        loss.backward()
        adam.step()
        trial.advance()


def test_exact_loss_is_that_of_the_models_own_forward_pass():
    read = material(LINES)
    model = ExperimentDecoder(read.to.vocabulary, 8, generator=generator(0, "test"), dtype=torch.float64)
    rows = read.documents
    log_q = model(rows[:, :-1].clamp(min=0)).log_softmax(-1)
    following = rows[:, 1:]
    told = log_q.gather(2, following.clamp(min=0).unsqueeze(2)).squeeze(2)[following >= 0]
    assert exact_loss(model, read.to) == pytest.approx(-told.sum().item(), rel=1e-12)


def test_a_loss_below_the_bound_is_an_error():
    require_above_bound(100 - 1e-8, 100.0)
    with pytest.raises(AssertionError, match="below the entropy bound"):
        require_above_bound(100 - 1e-6, 100.0)


def test_soap_without_bases_is_adam():
    draw = torch.Generator().manual_seed(0)
    mine, theirs = (torch.zeros(4, 3, requires_grad=True) for _ in range(2))
    soap = Soap([mine], [()], factors=[2.0])
    adam = torch.optim.Adam([theirs], lr=0.02, betas=BETAS)
    for _ in range(20):
        mine.grad = torch.randn(4, 3, generator=draw)
        theirs.grad = mine.grad.clone()
        soap.step(0.01)
        adam.step()
    torch.testing.assert_close(mine, theirs)


def test_soap_turns_with_its_axes():
    draw = torch.Generator().manual_seed(0)
    kind = {"generator": draw, "dtype": torch.float64}
    left, right = (torch.linalg.qr(torch.randn(k, k, **kind)).Q for k in (4, 3))
    plain, turned = (torch.zeros(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    one, other = (Soap([p], [(0, 1)], factors=[1.0]) for p in (plain, turned))
    # a first gradient of full rank on both sides: its eigenvectors are then the same up to sign
    for step in range(12):
        gradient = torch.randn(4, 3, **kind) + (step == 0) * torch.eye(4, 3) * torch.tensor([1.0, 3.0, 7.0])
        plain.grad, turned.grad = gradient, left @ gradient @ right.T
        one.step(0.01)
        other.step(0.01)
    torch.testing.assert_close(left @ plain @ right.T, turned.detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("trained", "solver"),
    [("all", "fast"), ("feed_forward", "fast"), ("output", "fast"), ("all", "paper"), ("output", "paper")],
)
def test_a_trial_goes_on_bit_for_bit_from_its_state(trained, solver):
    config = LINES.replace(trained=trained, solver=solver, documents=20, width=6)
    read = material(config)
    whole, half = (begin(config, read, Next(6, 0)) for _ in range(2))
    for _ in range(8):
        whole.measure()
        whole.advance()
    for _ in range(4):
        half.measure()
        half.advance()
    kept = {name: t.clone() for name, t in half.state().items()}
    resumed = begin(config, read, Next(6, 0))
    resumed.load(kept, half.step)
    for _ in range(4):
        resumed.measure()
        resumed.advance()
    assert resumed.measure() == whole.measure()
    assert resumed.exact_loss() == whole.exact_loss()
    for name, t in whole.state().items():
        assert torch.equal(t, resumed.state()[name]), name


@pytest.mark.parametrize("trained", ["feed_forward", "output"])
def test_attention_stays_as_drawn_and_the_model_is_the_one_trained(trained):
    config = LINES.replace(trained=trained, solver="fast", documents=20)
    read = material(config)
    trial = begin(config, read, Next(8, 0))
    untouched = begin(config, read, Next(8, 0)).finished()
    for _ in range(20):
        trial.measure()
        trial.advance()
    loss = trial.measure()
    model = trial.finished()
    assert exact_loss(model, read.to) == pytest.approx(loss, rel=1e-4)
    moved = {
        name
        for name, before in untouched.state_dict().items()
        if not torch.allclose(model.state_dict()[name].double(), before.double(), rtol=0, atol=1e-6)
    }
    assert "feed_forward.output.weight" in moved
    assert all(name.startswith("feed_forward.output" if trained == "output" else "feed_forward") for name in moved)


def test_the_fast_solver_memorises_in_its_budget():
    config = CapacityConfig(document="line", documents=40, length=6, width=32)
    read = material(config)
    for number in range(2):
        trial = begin(config, read, Next(32, number))
        while trial.measure() > 1.01 * read.contexts.bound_nats and trial.step < 300:
            trial.advance()
        assert trial.exact_loss() <= 1.0101 * read.contexts.bound_nats
