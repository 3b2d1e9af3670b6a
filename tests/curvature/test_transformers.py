"""Default models of transformers, from configs with random weights: the curvature of their math, however batched."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import netassay
from netassay.curvature.curvature import Curvature

transformers = pytest.importorskip("transformers")

VOCABULARY = 19


def gpt2():
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=4,
            n_layer=1,
            n_head=2,
            n_positions=8,
            bos_token_id=0,
            eos_token_id=0,
            loss_type="ForCausalLM",
        )
    )


def bert():
    return transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=4,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=4,
            max_position_embeddings=8,
        )
    )


def classifier():
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=4,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=4,
            max_position_embeddings=8,
            num_labels=3,
        )
    )


def t5():
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=VOCABULARY,
            d_model=4,
            d_kv=2,
            d_ff=4,
            num_layers=1,
            num_heads=2,
            decoder_start_token_id=0,
        )
    )


def llama():
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=4,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=4,
            max_position_embeddings=8,
        )
    )


MODELS = {"gpt2": gpt2, "bert": bert, "t5": t5, "llama": llama}


def made(make):
    torch.manual_seed(0)
    model = make().double().eval()
    assert model.config._attn_implementation == "sdpa"  # the default, which has no second derivative on the CPU
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)  # away from a loss that is log(words) whatever the words
    return model


def text(n=6, t=7):
    draws = torch.Generator().manual_seed(1)
    ids = torch.randint(1, VOCABULARY, (n, t), generator=draws)
    mask, labels = torch.ones_like(ids), ids.clone()
    for i in range(n):
        end = 3 + (2 * i) % (t - 2)
        mask[i, end:], labels[i, end:], ids[i, end:] = 0, -100, 0
    labels[n // 2 :, 2:] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def rows(batch, a, b):
    return {key: value[a:b] for key, value in batch.items()}


def loss_inside(output, _):
    return output.loss


@pytest.mark.parametrize("name", MODELS)
def test_products_are_differences_of_the_gradient(name):
    model, batch = made(MODELS[name]), text()
    weights = list(model.parameters())
    curvature = Curvature(model, loss_inside, [batch])

    def gradient():
        return torch.cat(
            [
                (torch.zeros_like(p) if g is None else g).reshape(-1)
                for p, g in zip(
                    weights, torch.autograd.grad(model(**batch).loss, weights, allow_unused=True), strict=True
                )
            ]
        )

    torch.testing.assert_close(curvature.gradient, gradient())
    start = nn.utils.parameters_to_vector(weights).detach().clone()
    for seed in range(3):
        v = torch.randn(curvature.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        product = curvature.product(v)
        slopes = []
        for step in (1e-4, 2e-4):
            nn.utils.vector_to_parameters(start + step * v, weights)
            ahead = gradient()
            nn.utils.vector_to_parameters(start - step * v, weights)
            slopes.append((ahead - gradient()) / (2 * step))
        nn.utils.vector_to_parameters(start, weights)
        slope = (4 * slopes[0] - slopes[1]) / 3
        # transformers computes parts in float32
        assert float((product - slope).norm() / slope.norm()) < 1e-3
        curvature = Curvature(model, loss_inside, [batch])


@pytest.mark.parametrize("name", [*MODELS, "classifier"])
def test_padded_text_in_several_batches_is_that_in_one(name):
    model, batch = made({**MODELS, "classifier": classifier}[name]), text()
    if name == "classifier":
        batch["labels"] = torch.tensor([0, 1, 2, 0, 1, 2])
    whole = Curvature(model, loss_inside, [batch])
    v = torch.linspace(-1, 1, whole.size, dtype=torch.float64)
    for cuts in (((0, 3), (3, 6)), ((0, 1), (1, 5), (5, 6))):
        parts = Curvature(model, loss_inside, [rows(batch, a, b) for a, b in cuts])
        assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
        assert float((parts.gradient - whole.gradient).norm() / whole.gradient.norm()) < 1e-5
        apart = (parts.product(v) - whole.product(v)).norm() / whole.product(v).norm()
        assert float(apart) < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "bert", "llama"])
def test_rows_cut_to_their_own_length_are_those_filled(name):
    """As collators give them: every batch as long as its longest row."""
    model, batch = made(MODELS[name]), text()
    whole = Curvature(model, loss_inside, [batch])
    order = batch["attention_mask"].sum(1).argsort()
    sorted_batch = {key: value[order] for key, value in batch.items()}
    several = []
    for a, b in ((0, 3), (3, 6)):
        part = rows(sorted_batch, a, b)
        length = int(part["attention_mask"].sum(1).max())
        several.append({key: value[:, :length].contiguous() for key, value in part.items()})
    assert several[0]["input_ids"].shape != several[1]["input_ids"].shape
    parts = Curvature(model, loss_inside, several)
    assert float((parts.gradient - whole.gradient).norm() / whole.gradient.norm()) < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_gauss_newton_at_the_logits(name):
    model, batch = made(MODELS[name]), text()
    inside = Curvature(model, loss_inside, [batch], kind="ggn", head="logits")

    def of_logits(output, labels):
        logits = output.logits
        if name in ("gpt2", "llama"):
            logits, labels = logits[:, :-1], labels[:, 1:]
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    outside = Curvature(model, of_logits, [batch], kind="ggn")
    v = torch.linspace(-1, 1, inside.size, dtype=torch.float64)
    a, b = inside.product(v), outside.product(v)
    assert float((a - b).norm() / b.norm()) < 1e-5
    assert float(v @ a) >= 0


def test_a_look_leaves_a_model_of_transformers_as_it_was():
    model, batch = gpt2().eval(), text()
    model.transformer.h[0].train()
    model.transformer.drop.p = model.transformer.h[0].attn.resid_dropout.p = 0.0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.transformer.h[0].attn.attn_dropout.p = 0.0
    optimizer = torch.optim.AdamW(model.parameters())
    model(**batch).loss.backward()
    optimizer.step()
    before = {
        "weights": [p.detach().clone() for p in model.parameters()],
        "gradients": [p.grad.clone() for p in model.parameters()],
        "buffers": [b.clone() for b in model.buffers()],
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) for m in model.modules()],
        "moments": [s.clone() for state in optimizer.state.values() for s in state.values()],
        "random": [torch.get_rng_state()],
    }
    netassay.sharpness(model, loss_inside, [rows(batch, 0, 3), rows(batch, 3, 6)], memory=0, max_products=3)
    netassay.sharpness(model, loss_inside, [batch], kind="ggn", max_products=3)
    after = {
        "weights": [*model.parameters()],
        "gradients": [p.grad for p in model.parameters()],
        "buffers": [*model.buffers()],
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) for m in model.modules()],
        "moments": [s for state in optimizer.state.values() for s in state.values()],
        "random": [torch.get_rng_state()],
    }
    for what, values in before.items():
        for a, b in zip(values, after[what], strict=True):
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, what
