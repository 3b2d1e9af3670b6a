"""Trains two small GPTs on different stories of a text, and saves them as transformers does, with their tokenizer.

python train.py stories.txt FOLDER gives FOLDER/shards/{first,second}.parquet, 400 stories each, and
FOLDER/{first,second}, the models trained on them. Needs netassay[transformers,tokenizers] and a few minutes on a core.
"""

import sys
from pathlib import Path

import polars as pl
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel

STORIES, VOCABULARY, BLOCK, STEPS, BATCH = 400, 768, 128, 800, 8
END = "<|endoftext|>"


def tokenizer_of(stories):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        stories,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tokenizer


def train(documents, seed):
    """A GPT of 0.3 million parameters on blocks drawn anywhere in the documents, one after another."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=BLOCK,
        n_embd=80,
        n_layer=3,
        n_head=4,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    stream = torch.tensor([token for document in documents for token in document])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    for step in range(STEPS):
        begin = torch.randint(len(stream) - BLOCK, (BATCH,))
        rows = stream[begin[:, None] + torch.arange(BLOCK)]
        loss = model(rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def main(text, folder):
    folder = Path(folder)
    stories = [story.strip() for story in Path(text).read_text(encoding="utf-8").split(END) if story.strip()]
    tokenizer = tokenizer_of(stories)
    parts = {"first": stories[:STORIES], "second": stories[STORIES : 2 * STORIES]}
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    for seed, (name, part) in enumerate(parts.items()):
        documents = [[*encoding.ids, 0] for encoding in tokenizer.encode_batch(part)]
        pl.DataFrame({"input_ids": documents}).write_parquet(folder / "shards" / f"{name}.parquet")
        print(f"{name}: {len(part)} stories, {sum(map(len, documents))} tokens", flush=True)
        train(documents, seed).save_pretrained(folder / name)
        tokenizer.save(str(folder / name / "tokenizer.json"))


if __name__ == "__main__":
    main(*sys.argv[1:])
